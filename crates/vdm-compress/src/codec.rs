//! Items to bits and back.

use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Serialize};
use vdm_core::count::{Cost, bounded_product};
use vdm_core::hlvm::Factorized;
use vdm_core::likelihood::Discretized;
use vdm_core::setting::{InvalidSetting, at_least_one, require};
use vdm_core::{Denoiser, NoiseSchedule};

use crate::batches::{Batches, LEAST_GROWTH};
use crate::chain::{Chain, CodedChain};
use crate::error::{CodecError, Error, check_pixels};
use crate::layers::{CodedLayers, Hierarchy, Layers};
use crate::stack::{Code, Stack};
use crate::walk::{self, Coded};

/// How items are coded. The reader needs the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Items per model call once enough have been coded; 1 to 65,536. Does not change the length,
    /// but the reader must use the same: libtorch's results depend on it in their last digits.
    pub batch: u32,
    /// What is coded beside the items.
    pub latents: Latents,
}

/// The latents of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Latents {
    /// Of a diffusion model: a chain of the data's own shape.
    Chain(Chain),
    /// Of a hierarchy whose posterior is learned.
    Layers(Layers),
}

impl Settings {
    /// A good number of cells: rounding to one adds at most 1/768 to any variance.
    pub const CELLS: u32 = 8;

    /// Which items pass through the model together.
    pub(crate) fn batches(&self) -> Result<Batches, InvalidSetting> {
        let growth = match &self.latents {
            Latents::Chain(_) => LEAST_GROWTH,
            Latents::Layers(layers) => layers.growth,
        };
        Batches::new(self.batch, growth)
    }

    /// How many latents follow each other, and the field that says so.
    pub(crate) fn depth(&self) -> (&'static str, u64) {
        match &self.latents {
            Latents::Chain(chain) => ("settings.latents.chain.steps", chain.steps.into()),
            Latents::Layers(layers) => ("settings.latents.layers.cells", layers.cells.len() as u64),
        }
    }
}

/// A model with everything that coding adds to it. `E` is what the model can fail with.
pub struct Codec<'a, E> {
    model: Box<dyn Coded<E> + 'a>,
    item: Item,
    batches: Batches,
}

/// What is known of an item without the model.
#[derive(Debug, Clone, Copy)]
struct Item {
    dims: usize,
    levels: u16,
    /// Numbers that reading begins with, each of them more than a bit.
    first: usize,
    /// Numbers that are put back while others are read.
    back: usize,
}

impl<E> fmt::Debug for Codec<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { item, batches, .. } = self;
        f.debug_struct("Codec")
            .field("item", item)
            .field("batches", batches)
            .finish_non_exhaustive()
    }
}

impl<'a, E: StdError + 'static> Codec<'a, E> {
    /// Of a diffusion model, for items of `dims` pixels with the levels of `data`, at most 256, under a schedule
    /// with a finite clean end; up to `batch` items pass through the model together.
    ///
    /// The model sees latents of whole batches: one `Vec<f32>` of `B·D` numbers, `B` items of `D`
    /// components one after the other, all at one level of the variance-preserving scaling.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Count`], [`Error::Grid`], [`Error::CleanEnd`] or [`Error::Cells`].
    pub fn diffusion<D: Denoiser<Vec<f32>, Error = E>>(
        model: &'a D,
        data: Discretized,
        dims: usize,
        schedule: &dyn NoiseSchedule,
        chain: &Chain,
        batch: u32,
    ) -> Result<Self, Error> {
        let coded = CodedChain::new(model, data, schedule, chain)?;
        let item = Item { dims, levels: data.levels(), first: dims, back: dims };
        Self::new(Box::new(coded), item, Batches::new(batch, LEAST_GROWTH)?)
    }

    /// Of a hierarchy whose posterior is learned; up to `batch` items pass through the model together.
    ///
    /// # Errors
    /// [`Error::Count`], or [`Error::Setting`], also for other than one [`Cells`](crate::Cells) for each latent.
    ///
    /// # Panics
    /// Later, if other than one node of the graphs is observed, or a latent is no Gaussian.
    pub fn hierarchy<H: Hierarchy<Distribution: Factorized<Error = E>> + 'a>(
        model: H,
        layers: &Layers,
        batch: u32,
    ) -> Result<Self, Error> {
        let (dims, levels, back) = (model.dims(), model.values(), model.latents());
        let coded = CodedLayers::new(model, layers)?;
        let batches = Batches::new(batch, layers.growth)?;
        Self::new(Box::new(coded), Item { dims, levels, first: 1, back }, batches)
    }

    fn new(model: Box<dyn Coded<E> + 'a>, item: Item, batches: Batches) -> Result<Self, Error> {
        require(item.levels <= 256, "levels", item.levels, "use at most 256")?;
        at_least_one("dims", item.dims)?;
        let numbers = [batches.largest(), item.dims, item.levels.into()];
        bounded_product("batch times pixels times levels", &numbers, Cost::Numbers)?;
        Ok(Self { model, item, batches })
    }

    /// Codes items, `[N, D]` pixels. `progress(done)` is told how many items are done.
    ///
    /// # Errors
    /// [`Error::PixelCount`], [`Error::PixelRange`], [`Error::NonFinite`], or the model's own.
    pub fn compress(
        &self,
        pixels: &[u8],
        mut progress: impl FnMut(usize),
    ) -> Result<Code, CodecError<E>> {
        check_pixels(pixels, self.item.dims, self.item.levels)?;
        let mut stack = Stack::new();
        for items in self.batches.of(pixels.len() / self.item.dims) {
            let own = &pixels[items.start * self.item.dims..items.end * self.item.dims];
            walk::write(&mut *self.model.walk(own.len()), own, &mut stack)?;
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
    ) -> Result<Vec<u8>, CodecError<E>> {
        let mut stack = Stack::from_words(words)?;
        // From the last batch to the first: a code is read backwards. Memory grows with what was
        // read, not with what is promised.
        let mut read = Vec::new();
        for batch in self.batches.of(items).rev() {
            let count = batch.len().saturating_mul(self.item.dims);
            // A latent takes more than a bit where a standard deviation has several cells, as it does unless the
            // settings are forged: a batch that cannot be there is not allocated.
            if batch.len().saturating_mul(self.item.first) > stack.bits() {
                return Err(Error::Exhausted.into());
            }
            read.push(walk::read(&mut *self.model.walk(count), count, &mut stack)?);
            // What is left is what the writer had before this batch, which cannot exceed the whole by
            // more than one batch gave back. Without this, a wrong model and a forged number of items
            // could go on for ever.
            if stack.len() > words.len() + batch.len() * self.item.back {
                return Err(Error::Growing.into());
            }
            progress(items - batch.start);
        }
        read.reverse();
        Ok(read.concat())
    }
}
