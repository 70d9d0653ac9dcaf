//! Predicted images, corrected by what is known of them.

use vdm_core::setting::{InvalidSetting, at_least_one, require};
use vdm_core::{Denoiser, Latent, NoiseLevel, Parameterization, Prediction, Real, Scalar};

/// A correction of the predicted image.
///
/// Any closure on `(image, level)` is one. A projection onto linear observations `y = Ax`, for
/// example, is `x̂ + A⁺(y − Ax̂)` (Wang et al. 2023), with which one comes for one's own `A`.
pub trait Projection<Z> {
    /// Corrects `x_hat`, which was predicted at level `at`.
    fn project(&self, x_hat: &mut Z, at: &NoiseLevel);
}

impl<Z, F: Fn(&mut Z, &NoiseLevel)> Projection<Z> for F {
    fn project(&self, x_hat: &mut Z, at: &NoiseLevel) {
        self(x_hat, at);
    }
}

/// A model whose predicted image is corrected at every call: `x̂ ← P(x̂)`. What it predicts of the
/// noise follows, since `z = αx̂ + σε̂`. The level must have an image to predict: a model of the
/// noise has none at `α = 0`.
///
/// ```
/// use vdm_core::{Denoiser, GaussianMixture, Scaling};
/// use vdm_sample::guidance::{Clip, Projected};
/// let data = GaussianMixture::new(vec![1.0], vec![vec![0.0]], vec![2.0])?;
/// let clipped = Projected::new(data, Clip::default());
/// let at = Scaling::VariancePreserving.level(3.0);
/// assert_eq!(clipped.denoise(&vec![1.8_f64], &at)?.value, [1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Projected<D, P> {
    model: D,
    projection: P,
}

impl<D, P> Projected<D, P> {
    /// From a model and a correction; for several corrections wrap several times.
    pub fn new(model: D, projection: P) -> Self {
        Self { model, projection }
    }

    fn project<Z: Latent>(&self, mut output: Prediction<Z>, z: &Z, at: &NoiseLevel) -> Prediction<Z>
    where
        P: Projection<Z>,
    {
        if output.of != Parameterization::Image {
            output = Prediction { value: output.image(z, at), of: Parameterization::Image };
        }
        self.projection.project(&mut output.value, at);
        output
    }
}

impl<Z: Latent, D: Denoiser<Z>, P: Projection<Z>> Denoiser<Z> for Projected<D, P> {
    type Error = D::Error;

    fn denoise(&self, z: &Z, at: &NoiseLevel) -> Result<Prediction<Z>, D::Error> {
        Ok(self.project(self.model.denoise(z, at)?, z, at))
    }

    fn denoise_into(
        &self,
        z: &Z,
        at: &NoiseLevel,
        out: &mut Z,
    ) -> Result<Parameterization, D::Error> {
        let of = self.model.denoise_into(z, at, out)?;
        if of != Parameterization::Image {
            let map = of.to(Parameterization::Image, at);
            *out = Z::lincomb(&[(map.on_z, z), (map.on_output, &*out)]);
        }
        self.projection.project(out, at);
        Ok(Parameterization::Image)
    }

    fn denoise_each(&self, items: &[(&Z, NoiseLevel)]) -> Result<Vec<Prediction<Z>>, D::Error> {
        let outputs = self.model.denoise_each(items)?;
        Ok(outputs.into_iter().zip(items).map(|(o, (z, at))| self.project(o, z, at)).collect())
    }
}

/// Latents whose components lie in plain memory, sample after sample. What lives on a device
/// implements [`Projection`] with operations of its own.
pub trait Components {
    /// `f32` or `f64`.
    type Float: Scalar + PartialOrd;
    /// All components, in row-major order.
    fn components_mut(&mut self) -> &mut [Self::Float];
}

impl Components for Vec<f32> {
    type Float = f32;
    fn components_mut(&mut self) -> &mut [f32] {
        self
    }
}

impl Components for Vec<f64> {
    type Float = f64;
    fn components_mut(&mut self) -> &mut [f64] {
        self
    }
}

/// Every component between two bounds, where the data is known to lie (`clip_denoised` of Ho et al.
/// 2020). The default is `[−1, 1]`, the range of scaled pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clip {
    low: f64,
    high: f64,
}

impl Clip {
    /// # Errors
    /// [`InvalidSetting`] unless `low < high`.
    pub fn new(low: f64, high: f64) -> Result<Self, InvalidSetting> {
        let value = format_args!("{low}, guidance.high = {high}");
        require(low < high, "guidance.low", value, "use a low below high")?;
        Ok(Self { low, high })
    }

    /// `(low, high)`.
    #[must_use]
    pub fn bounds(self) -> (f64, f64) {
        (self.low, self.high)
    }
}

impl Default for Clip {
    fn default() -> Self {
        Self { low: -1.0, high: 1.0 }
    }
}

impl<Z: Components> Projection<Z> for Clip {
    fn project(&self, x_hat: &mut Z, _: &NoiseLevel) {
        for x in x_hat.components_mut() {
            let clipped = x.value().clamp(self.low, self.high);
            *x = x.lift(clipped);
        }
    }
}

/// `x̂ ← clamp(x̂, −s, s)/s` with `s` the `quantile` of a sample's own `|x̂|`, at least 1: keeps
/// strongly guided images from saturating (Saharia et al. 2022, who take quantiles near 0.995).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DynamicThreshold {
    quantile: f64,
    dims: usize,
}

impl DynamicThreshold {
    /// For samples of `dims` components each.
    ///
    /// # Errors
    /// [`InvalidSetting`] unless `quantile` is in `(0, 1]` and `dims` at least 1.
    pub fn new(quantile: f64, dims: usize) -> Result<Self, InvalidSetting> {
        let legal = quantile > 0.0 && quantile <= 1.0;
        require(legal, "guidance.quantile", quantile, "use a number above 0 and at most 1")?;
        at_least_one("components of a sample", dims)?;
        Ok(Self { quantile, dims })
    }

    /// Of a sample's magnitudes.
    #[must_use]
    pub fn quantile(self) -> f64 {
        self.quantile
    }

    /// The quantile of the magnitudes, linear between the two nearest.
    fn of<T: Scalar>(self, sample: &[T]) -> f64 {
        let mut sizes: Vec<f64> = sample.iter().map(|x| x.value().abs()).collect();
        let place = self.quantile * (sizes.len() - 1) as f64;
        let (_, below, above) = sizes.select_nth_unstable_by(place as usize, f64::total_cmp);
        let next = above.iter().copied().fold(f64::INFINITY, f64::min);
        let between = place.fract();
        if between == 0.0 { *below } else { *below + between * (next - *below) }
    }
}

impl<Z: Components> Projection<Z> for DynamicThreshold {
    fn project(&self, x_hat: &mut Z, _: &NoiseLevel) {
        for sample in x_hat.components_mut().chunks_mut(self.dims) {
            let bound = self.of(sample).max(1.0);
            for x in sample {
                let inside = x.value().clamp(-bound, bound) / bound;
                *x = x.lift(inside);
            }
        }
    }
}

/// Components of the image that have been observed without noise: inpainting by replacement.
///
/// With `x̂ = y` in the observed part, every solver carries that part of the latent along
/// `z = αy + σε` and ends exactly on `y`: start it at `α₁y + σ₁ε`, which is the prior where `α₁` is
/// 0. The rest sees the observation as it is noised at each level (Song et al. 2021, appendix I;
/// Lugmayr et al. 2022). That draws from `p(x|y)` exactly if the rest is independent of the observed
/// part. If not, it is an approximation, whose error more steps do not remove (Trippe et al. 2023).
///
/// ```
/// use vdm_core::{Denoiser, GaussianMixture, Scaling};
/// use vdm_sample::guidance::{Known, Projected};
/// let data = GaussianMixture::new(vec![1.0], vec![vec![0.0, 0.0]], vec![1.0])?;
/// let model = Projected::new(data, Known::new(vec![Some(0.8), None])?);
/// let at = Scaling::StraightLine.level(0.0);
/// assert_eq!(model.denoise(&vec![3.0, 1.0], &at)?.value, [0.8, 1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Known<T> {
    observed: Vec<Option<T>>,
}

impl<T> Known<T> {
    /// One entry per component of a sample, `None` where nothing is known; a batch has them in
    /// common, unless they are listed for the whole of it.
    ///
    /// # Errors
    /// [`InvalidSetting`] without components.
    pub fn new(observed: Vec<Option<T>>) -> Result<Self, InvalidSetting> {
        at_least_one("components of a sample", observed.len())?;
        Ok(Self { observed })
    }
}

impl<Z: Components> Projection<Z> for Known<Z::Float> {
    /// # Panics
    /// If the latent does not hold whole samples.
    fn project(&self, x_hat: &mut Z, _: &NoiseLevel) {
        let (components, dims) = (x_hat.components_mut(), self.observed.len());
        assert_eq!(components.len() % dims, 0, "a latent of samples of {dims} components");
        for (x, known) in components.iter_mut().zip(self.observed.iter().cycle()) {
            if let Some(known) = known {
                *x = *known;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guidance::tests::{PARAMETERIZATIONS, Predicting, assert_same, normal};
    use crate::{Ancestral, Ddim, Iid, NoNoise, Seed, TimeGrid, prior, solve};
    use vdm_core::{GaussianMixture, Scaling, Schedule};

    const AT: NoiseLevel = NoiseLevel { log_snr: 0.0, alpha: 0.5, sigma: 0.5 };

    #[test]
    fn a_projection_sees_the_image_of_every_parameterization() {
        let halve = |x: &mut Vec<f64>, _: &NoiseLevel| x[0] *= 0.5;
        let wanted = Projected::new(normal(0.7), halve);
        for of in PARAMETERIZATIONS {
            assert_same(&Projected::new(Predicting(normal(0.7), of), halve), &wanted, 1);
        }
    }

    #[test]
    fn clipping_touches_only_what_lies_outside() {
        let mut x = vec![-3.0_f32, -0.5, 0.25, 9.0];
        Clip::default().project(&mut x, &AT);
        assert_eq!(x, [-1.0, -0.5, 0.25, 1.0]);
        Clip::new(-0.25, 2.0).unwrap().project(&mut x, &AT);
        assert_eq!(x, [-0.25, -0.25, 0.25, 1.0]);
        for (low, high) in [(1.0, 1.0), (2.0, 1.0), (f64::NAN, 1.0)] {
            assert!(Clip::new(low, high).is_err());
        }
    }

    #[test]
    fn thresholds_are_quantiles_of_each_sample_alone() {
        // Magnitudes 1 to 5: their median is 3, and three quarters lie below 4.
        let sample = [1.0, -2.0, 3.0, -4.0, 5.0];
        let mut batch: Vec<f64> =
            sample.iter().chain(&[0.1, 0.2, -0.3, 0.4, 0.5]).copied().collect();
        DynamicThreshold::new(0.5, 5).unwrap().project(&mut batch, &AT);
        let wanted = [1.0 / 3.0, -2.0 / 3.0, 1.0, -1.0, 1.0];
        assert!(batch.iter().zip(wanted).all(|(x, w): (&f64, f64)| (x - w).abs() < 1e-15));
        assert_eq!(batch[5..], [0.1, 0.2, -0.3, 0.4, 0.5], "a sample within [−1, 1] stays");
        let median_of_four = DynamicThreshold::new(0.5, 4).unwrap().of(&[1.0, -2.0, 3.0, 4.0]);
        assert_eq!(median_of_four, 2.5);
        assert_eq!(DynamicThreshold::new(1.0, 5).unwrap().of(&sample), 5.0);
        for (quantile, dims) in [(0.0, 5), (1.1, 5), (f64::NAN, 5), (0.5, 0)] {
            assert!(DynamicThreshold::new(quantile, dims).is_err());
        }
    }

    /// Components of one normal distribution are independent: the rest must be drawn bit for bit as without
    /// an observation, and the observed part must end on it.
    #[test]
    fn an_observation_leaves_what_is_independent_of_it_alone() {
        let data = GaussianMixture::new(vec![1.0], vec![vec![0.3, -0.2, 1.0]], vec![0.4]).unwrap();
        let schedule = Schedule::linear(8.0, -8.0).unwrap();
        let vp = Scaling::VariancePreserving;
        let grid = TimeGrid::uniform_time(20, &schedule, vp).unwrap().to_clean();
        let known = Known::new(vec![None, Some(1.7), None]).unwrap();
        let inpainted = Projected::new(&data, known);
        for i in 0..5 {
            let start: Vec<f64> = prior(Seed(6), i, 3);
            let mut noise = [Iid::new(Seed(6), i, 3), Iid::new(Seed(6), i, 3)];
            let solver = Ancestral::default();
            let z1 = start.clone();
            let free =
                solve(&solver, &data, z1, &grid, &mut noise[0], |_, _, _| ()).unwrap().latent;
            let z1 = start.clone();
            let got =
                solve(&solver, &inpainted, z1, &grid, &mut noise[1], |_, _, _| ()).unwrap().latent;
            assert_eq!([got[0], got[2]], [free[0], free[2]]);
            assert_eq!(got[1], 1.7);
            let ode = solve(&Ddim::default(), &inpainted, start, &grid, &mut NoNoise, |_, _, _| ());
            assert_eq!(ode.unwrap().latent[1], 1.7);
        }
    }

    /// Two clusters on the diagonal: seeing one coordinate tells which, and so the other. By chance
    /// 100 of 200 would be right, by the exact conditional distribution all 200; replacement, an
    /// approximation where coordinates depend on each other, gets 193 here.
    #[test]
    fn an_observation_carries_over_to_what_depends_on_it() {
        let data = GaussianMixture::new(
            vec![0.5, 0.5],
            vec![vec![-1.0, -1.0], vec![1.0, 1.0]],
            vec![0.2, 0.2],
        )
        .unwrap();
        let schedule = Schedule::linear(8.0, -8.0).unwrap();
        let vp = Scaling::VariancePreserving;
        let grid = TimeGrid::uniform_time(100, &schedule, vp).unwrap().to_clean();
        let inpainted = Projected::new(&data, Known::new(vec![Some(1.1), None]).unwrap());
        let right = (0..200).filter(|i| {
            let mut noise = Iid::new(Seed(6), *i, 2);
            let z1 = prior(Seed(6), *i, 2);
            let solver = Ancestral::default();
            let x: Vec<f64> =
                solve(&solver, &inpainted, z1, &grid, &mut noise, |_, _, _| ()).unwrap().latent;
            (x[1] - 1.0).abs() < 1.0
        });
        let right = right.count();
        assert!(right >= 180, "{right} of 200");
    }

    #[test]
    fn an_observation_holds_for_every_sample_of_a_batch() {
        let mut batch = vec![0.0_f32; 4];
        Known::new(vec![Some(2.0), None]).unwrap().project(&mut batch, &AT);
        assert_eq!(batch, [2.0, 0.0, 2.0, 0.0]);
        assert!(Known::<f32>::new(vec![]).is_err());
    }
}
