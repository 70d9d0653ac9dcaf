//! Items to bits and back.

use serde::{Deserialize, Serialize};
use vdm_core::likelihood::Discretized;
use vdm_core::{Denoiser, LogSnr, NoiseSchedule, Scaling};
use vdm_sample::TimeGrid;
use vdm_sample::grid::GridError;

use crate::batches::batches;
use crate::distribution::Categorical;
use crate::error::{CodecError, Error};
use crate::hierarchy::Hierarchy;
use crate::stack::{Code, Stack};

/// How items are coded. The reader needs the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `T`: model calls per batch, and the bound that the code length meets; 1 to 2^20.
    pub steps: u32,
    /// Where the latents lie.
    #[serde(default, skip_serializing_if = "LatentLevels::are_uniform")]
    pub levels: LatentLevels,
    /// Items per model call once enough have been coded; 1 to 65,536. Does not change the length,
    /// but the reader must use the same: libtorch's results depend on it in their last digits.
    pub batch: u32,
    /// Cells of a latent's grid per standard deviation of the narrowest Gaussian it is coded with;
    /// 1 to 4,096. Each doubling costs one more initial bit per latent. See [`Settings::CELLS`].
    pub cells_per_std: u32,
}

/// The noise levels of the latents. A reader takes them from the file, so they are listed where they are not
/// the schedule's own: a grid that is computed anew has to come out the same to the last bit.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LatentLevels {
    /// At equal steps of the schedule's time.
    #[default]
    UniformTime,
    /// `T + 1` log-SNRs that rise, the last of them finite.
    LogSnrs(Vec<f64>),
}

impl LatentLevels {
    fn are_uniform(&self) -> bool {
        *self == Self::UniformTime
    }

    pub(crate) fn grid(
        &self,
        steps: usize,
        schedule: &dyn NoiseSchedule,
    ) -> Result<TimeGrid, GridError> {
        let scaling = Scaling::VariancePreserving;
        match self {
            Self::UniformTime => TimeGrid::uniform_time(steps, schedule, scaling),
            Self::LogSnrs(log_snrs) if log_snrs.len() == steps + 1 => {
                TimeGrid::from_log_snrs(log_snrs.iter().copied(), scaling)
            }
            Self::LogSnrs(log_snrs) => {
                Err(GridError::Steps { asked: steps, found: log_snrs.len().saturating_sub(1) })
            }
        }
    }
}

impl Settings {
    /// A good number of cells: rounding to one adds at most 1/768 to any variance.
    pub const CELLS: u32 = 8;

    fn check(&self) -> Result<(), Error> {
        let bounds = [
            ("steps", self.steps, 1 << 20, "1 to 1048576"),
            ("batch", self.batch, 1 << 16, "1 to 65536"),
            ("cells_per_std", self.cells_per_std, 1 << 12, "1 to 4096"),
        ];
        for (field, value, most, wanted) in bounds {
            if !(1..=most).contains(&value) {
                return Err(Error::Setting { field, value: value.into(), wanted });
            }
        }
        Ok(())
    }
}

/// A model with everything that coding adds to it.
///
/// The model sees latents of whole batches: one `Vec<f32>` of `B·D` numbers, `B` items of `D`
/// components one after the other, all at one level of the variance-preserving scaling.
#[derive(Debug)]
pub struct Codec<'a, D> {
    model: &'a D,
    data: Discretized,
    dims: usize,
    hierarchy: Hierarchy,
    batch: usize,
}

impl<'a, D: Denoiser<Vec<f32>>> Codec<'a, D> {
    /// For items of `dims` pixels with the levels of `data`, at most 256, under a schedule with a
    /// finite clean end.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Grid`], [`Error::CleanEnd`] or [`Error::Cells`].
    pub fn new(
        model: &'a D,
        data: Discretized,
        dims: usize,
        schedule: &dyn NoiseSchedule,
        settings: &Settings,
    ) -> Result<Self, Error> {
        settings.check()?;
        if data.levels() > 256 {
            let value = data.levels().into();
            return Err(Error::Setting { field: "levels", value, wanted: "at most 256" });
        }
        if dims == 0 {
            return Err(Error::Setting { field: "dims", value: 0, wanted: "at least 1" });
        }
        let hierarchy = Hierarchy::new(schedule, settings)?;
        Ok(Self { model, data, dims, hierarchy, batch: settings.batch as usize })
    }

    /// Codes items, `[N, D]` pixels. `progress(done)` is told how many items are done.
    ///
    /// # Errors
    /// [`Error::PixelCount`], [`Error::PixelRange`], [`Error::NonFinite`], or the model's own.
    pub fn compress(
        &self,
        pixels: &[u8],
        mut progress: impl FnMut(usize),
    ) -> Result<Code, CodecError<D::Error>> {
        self.check(pixels)?;
        let mut stack = Stack::new();
        for items in batches(pixels.len() / self.dims, self.batch) {
            self.push(&mut stack, &pixels[items.start * self.dims..items.end * self.dims])?;
            progress(items.end);
        }
        Ok(stack.into_code())
    }

    /// The items of a code, `[N, D]` pixels. `progress(done)` is told how many items are done.
    ///
    /// Whether they are those that were coded is not known here: keep a checksum
    /// ([`Archive`](crate::Archive) does).
    ///
    /// # Errors
    /// [`Error::Exhausted`], [`Error::Growing`], [`Error::NonFinite`], or the model's own.
    pub fn decompress(
        &self,
        words: &[u64],
        items: usize,
        mut progress: impl FnMut(usize),
    ) -> Result<Vec<u8>, CodecError<D::Error>> {
        let mut stack = Stack::from_words(words)?;
        // From the last pixel to the first: a code is read backwards. Memory grows with what was
        // read, not with what is promised.
        let mut pixels = Vec::new();
        for batch in batches(items, self.batch).rev() {
            // Where the prior has its highest probability, 0.39, a latent still takes more than a bit:
            // a batch that cannot be there is not allocated.
            let count = batch.len().saturating_mul(self.dims);
            if count > stack.bits() {
                return Err(Error::Exhausted.into());
            }
            self.pop(&mut stack, count, &mut pixels)?;
            // What is left is what the writer had before this batch, which cannot exceed the whole by
            // more than one batch gave back. Without this, a wrong model and a forged number of items
            // could go on for ever.
            if stack.len() > words.len() + count {
                return Err(Error::Growing.into());
            }
            progress(items - batch.start);
        }
        pixels.reverse();
        Ok(pixels)
    }

    fn check(&self, pixels: &[u8]) -> Result<(), Error> {
        if pixels.is_empty() || !pixels.len().is_multiple_of(self.dims) {
            return Err(Error::PixelCount { found: pixels.len(), dims: self.dims });
        }
        let levels = self.data.levels();
        match pixels.iter().position(|pixel| u16::from(*pixel) >= levels) {
            Some(index) => Err(Error::PixelRange { index, value: pixels[index], levels }),
            None => Ok(()),
        }
    }

    /// Pops the latents of a batch as they are noised, pushing each under the model as soon as the
    /// next one is known.
    fn push(&self, stack: &mut Stack, pixels: &[u8]) -> Result<(), CodecError<D::Error>> {
        let Self { hierarchy, .. } = self;
        let mut z = Vec::with_capacity(pixels.len());
        for pixel in pixels {
            z.push(stack.sample(&hierarchy.clean(self.encode(*pixel)))?);
        }
        let mut distribution = Categorical::default();
        for (pixel, k) in pixels.iter().zip(&z) {
            self.set_distribution(&mut distribution, *k);
            stack.push(*pixel, &distribution);
        }
        for latent in 0..hierarchy.steps() {
            let mut noisier = Vec::with_capacity(z.len());
            for k in &z {
                noisier.push(stack.sample(&hierarchy.forward(latent, *k))?);
            }
            let images = self.predict(latent, &noisier)?;
            for ((k, above), x_hat) in z.iter().zip(&noisier).zip(&images) {
                stack.push(*k, &hierarchy.reverse(latent, *above, f64::from(*x_hat)));
            }
            z = noisier;
        }
        for k in &z {
            stack.push(*k, &hierarchy.prior());
        }
        Ok(())
    }

    /// [`push`](Self::push) step by step in reverse; appends the batch's pixels, last first.
    fn pop(
        &self,
        stack: &mut Stack,
        count: usize,
        pixels: &mut Vec<u8>,
    ) -> Result<(), CodecError<D::Error>> {
        let Self { hierarchy, .. } = self;
        let mut z = vec![0; count];
        for k in z.iter_mut().rev() {
            *k = stack.pop(&hierarchy.prior())?;
        }
        for latent in (0..hierarchy.steps()).rev() {
            let images = self.predict(latent, &z)?;
            let mut cleaner = vec![0; count];
            for ((k, above), x_hat) in cleaner.iter_mut().zip(&z).zip(&images).rev() {
                *k = stack.pop(&hierarchy.reverse(latent, *above, f64::from(*x_hat)))?;
            }
            for (above, k) in z.iter().zip(&cleaner).rev() {
                stack.restore(*above, &hierarchy.forward(latent, *k));
            }
            z = cleaner;
        }
        let first = pixels.len();
        let mut distribution = Categorical::default();
        for k in z.iter().rev() {
            self.set_distribution(&mut distribution, *k);
            pixels.push(stack.pop(&distribution)?);
        }
        for (pixel, k) in pixels[first..].iter().zip(z.iter().rev()) {
            stack.restore(*k, &hierarchy.clean(self.encode(*pixel)));
        }
        Ok(())
    }

    fn encode(&self, pixel: u8) -> f64 {
        self.data.encode(pixel.into())
    }

    /// `p(x|z_0)` of one pixel.
    fn set_distribution(&self, distribution: &mut Categorical, k: i32) {
        let at = self.hierarchy.level(0);
        let y = self.hierarchy.value(0, k) / at.alpha;
        let log_probs = self.data.log_probs(y, LogSnr::new(at.log_snr));
        distribution.set(log_probs.map(f64::exp), self.data.levels());
    }

    /// The images predicted from the latents above `latent`, of which the mean of `latent` is made.
    fn predict(&self, latent: usize, above: &[i32]) -> Result<Vec<f32>, CodecError<D::Error>> {
        let at = self.hierarchy.level(latent + 1);
        let z: Vec<f32> =
            above.iter().map(|k| self.hierarchy.value(latent + 1, *k) as f32).collect();
        let images = self.model.denoise(&z, at).map_err(CodecError::Model)?.image(&z, at);
        match images.iter().find(|x_hat| !x_hat.is_finite()) {
            Some(value) => Err(Error::NonFinite { latent, value: f64::from(*value) }.into()),
            None => Ok(images),
        }
    }
}
