//! Drawing data from a model.

use tch::{Device, Kind};
use vdm_core::count::{Cost, bounded, bounded_product};
use vdm_core::setting::at_least_one;
use vdm_core::{Denoiser, Latent, NoiseLevel, NoiseSchedule, Scaling, Schedule};
use vdm_sample::guidance::{Clip, DynamicThreshold, Projected, Projection};
use vdm_sample::range::Caution;
use vdm_sample::spec::Correction;
use vdm_sample::{Method, SamplerSpec, Seed, Solution, solve};

use crate::model::Model;
use crate::{Batch, Error};

/// Draws from a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// Data values, `[N, C, H, W]`.
    pub pixels: Vec<u8>,
    /// The same before they were rounded to data values: `z_0/α_0` at the cleanest level, from about −1
    /// to 1.
    pub latents: Vec<f32>,
    /// The share of components of `latents` that lie far outside of the data: beyond ±1.1 by four standard
    /// deviations of the noise that is left.
    pub outside: f64,
    /// Kept latents as they are, `[kept levels, N, C, H, W]`, noisiest first.
    pub snapshots: Vec<Vec<u8>>,
}

/// Draws under the model's own specification; see [`Sampling::draw`].
///
/// # Errors
/// As [`Sampling::draw`].
pub fn sample(
    model: &Model,
    sampler: &SamplerSpec,
    seed: Seed,
    first: u64,
    count: usize,
    batch: usize,
    keep: usize,
) -> Result<Samples, Error> {
    Sampling::new(model, sampler, seed, batch).draw(first, count, keep, |_| ())
}

/// No network with finite weights makes samples that large of noise, unless a solver diverges.
const LARGEST: f64 = 1e6;

/// A model, how it is sampled, and the specification that is followed.
///
/// Schedule and scaling are the model's own to begin with. Under another scaling the samples of a seed
/// are the same up to rounding, with every solver on a grid: latents at equal log-SNR are proportional, prior
/// and added noise included (monograph §2.3.3). Latents are f64, so that this rounding is below that of the
/// network's f32 input: the network magnifies a difference there a thousandfold over many steps.
/// `dpm_adaptive` alone measures errors in the scaling's units, and agrees to its tolerance. Another schedule
/// with the same end points is another grid, except for grids laid out in log-SNR; one with other end points is
/// another model.
#[derive(Debug, Clone)]
pub struct Sampling<'a> {
    /// The model.
    pub model: &'a Model,
    /// Solver, grid, noise and guidance.
    pub sampler: &'a SamplerSpec,
    /// How levels follow from time.
    pub schedule: Schedule,
    /// The scaling that latents are in.
    pub scaling: Scaling,
    /// Of all draws.
    pub seed: Seed,
    /// Samples per pass of the network, at least 1.
    pub batch: usize,
}

impl<'a> Sampling<'a> {
    /// Under the model's own specification.
    #[must_use]
    pub fn new(model: &'a Model, sampler: &'a SamplerSpec, seed: Seed, batch: usize) -> Self {
        let diffusion = &model.spec().diffusion;
        let (schedule, scaling) = (diffusion.schedule.clone(), diffusion.scaling);
        Self { model, sampler, schedule, scaling, seed, batch }
    }

    /// Samples `first, first + 1, …, first + count − 1` of the seed, `batch` at a time.
    ///
    /// Sample `i` of a seed is the same whatever `first`, `count` and `batch` are, up to the rounding
    /// of libtorch's kernels, which may differ with the batch size. An adaptive solver turns such
    /// rounding into differences within its tolerance. `keep` evenly spaced latents on the way are
    /// decoded too, as they are: noise at first. Adaptive solvers stop at each.
    /// `progress(share)` is told how much of all is done, from 0 to 1: after each step of a grid, and at
    /// each kept latent by an adaptive solver.
    ///
    /// # Errors
    /// [`Error::Torch`] from the network, [`Error::Setting`] for an empty batch, [`Error::Count`],
    /// [`Error::Grid`],
    /// [`Error::Noise`] for noise that does not serve the solver, [`Error::Solve`] for
    /// tolerances that cannot be met, [`Error::Caution`] for levels that no sample can begin at, [`Error::NonFiniteSamples`], [`Error::DivergedSamples`].
    pub fn draw(
        &self,
        first: u64,
        count: usize,
        keep: usize,
        mut progress: impl FnMut(f64),
    ) -> Result<Samples, Error> {
        let Self { model, sampler, schedule, scaling, seed, batch } = self;
        let (batch, seed, scaling) = (*batch, *seed, *scaling);
        at_least_one("batch", batch)?;
        let shape = model.spec().shape;
        let dims = shape.dims();
        bounded("first", first, Cost::Numbered)?;
        bounded("count", count, Cost::Items)?;
        bounded_product("count times components", &[count, dims], Cost::Numbers)?;
        bounded_product("batch times components", &[batch.min(count), dims], Cost::Numbers)?;
        let correction = sampler.guidance.correction(dims)?;
        let mut pixels = Vec::new();
        let mut latents = Vec::new();
        let mut outside = 0;
        let mut snapshots = vec![Vec::new(); keep];
        let grid = sampler.method.time_grid(keep.max(1), schedule, scaling)?;
        let kept: Vec<usize> = (0..keep).map(|k| kept_step(k, keep, grid.steps())).collect();
        let (solver, noisiest) = (sampler.method.solver(), grid.levels()[0]);
        if let Some(fatal) = Caution::of_start(noisiest.log_snr).filter(Caution::is_fatal) {
            return Err(fatal.into());
        }
        for start in (0..count).step_by(batch) {
            let items = batch.min(count - start);
            let first = first + start as u64;
            let prior = |item: usize| sampler.noise.prior::<f32>(seed, first + item as u64, dims);
            let noise: Vec<f32> = (0..items).flat_map(prior).collect();
            let size = [items, shape.channels, shape.height, shape.width].map(|s| s as i64);
            let z1 = Batch(Batch::from_slice(&noise, size, model.device()).0.to_kind(Kind::Double));
            let z1 = Batch::lincomb(&[(scale_ratio(model, &noisiest), &z1)]);
            let mut path = sampler.noise.path(seed, first, dims);
            let on_step = |step: usize, z: &Batch, at: &NoiseLevel| {
                let places = kept.iter().enumerate().filter(|(_, kept)| **kept == step);
                places.for_each(|(place, _)| snapshots[place].extend(picture(model, z, at)));
                let share = (step + 1) as f64 / grid.steps() as f64;
                progress((start as f64 + share * items as f64) / count as f64);
            };
            let (clipped, bounded);
            let corrected: &AnyModel<'_> = match correction {
                Correction::None => model,
                Correction::Clip(clip) => {
                    clipped = Projected::new(*model, clip);
                    &clipped
                }
                Correction::DynamicThreshold(bound) => {
                    bounded = Projected::new(*model, bound);
                    &bounded
                }
            };
            let solution =
                tch::no_grad(|| solve(&solver, corrected, z1, &grid, &mut path, on_step));
            let Solution { latent: z0, level: clean, .. } =
                solution.map_err(|error| error.renumbered(|i| first as usize + i))?;
            if z0.0.isfinite().all().int64_value(&[]) == 0 {
                return Err(Error::NonFiniteSamples);
            }
            pixels.extend(model.decode(&z0, &clean));
            let sizes = z0.0.abs() / clean.alpha;
            let largest = sizes.max().double_value(&[]);
            if largest > LARGEST {
                return Err(Error::DivergedSamples { largest });
            }
            outside +=
                sizes.gt(1.1 + 4.0 * clean.sigma / clean.alpha).sum(Kind::Int64).int64_value(&[]);
            let z0 =
                (z0.0 / clean.alpha).to_kind(Kind::Float).to_device(Device::Cpu).flatten(0, -1);
            latents.extend(Vec::<f32>::try_from(z0)?);
        }
        let outside = outside as f64 / latents.len().max(1) as f64;
        Ok(Samples { pixels, latents, outside, snapshots })
    }

    /// What speaks against this solver with its steps, or against where they begin.
    ///
    /// # Errors
    /// [`Error::Grid`].
    pub fn cautions(&self) -> Result<Vec<Caution>, Error> {
        Ok(match &self.sampler.method {
            Method::OnGrid { solver, grid, steps } => {
                solver.cautions(&grid.time_grid(*steps, &self.schedule, self.scaling)?)
            }
            Method::Adaptive(_) => {
                Caution::of_start(self.schedule.log_snr(1.0).value()).into_iter().collect()
            }
        })
    }
}

/// What a latent of the model's own scaling is multiplied by to be one of `at`'s.
fn scale_ratio(model: &Model, at: &NoiseLevel) -> f64 {
    model.spec().diffusion.scaling.level(at.log_snr).ratio_to(at)
}

/// A model with what corrects it. Behind a pointer, so that every solver is compiled once for all.
type AnyModel<'a> = dyn Denoiser<Batch, Error = Error> + 'a;

impl Projection<Batch> for Clip {
    fn project(&self, x_hat: &mut Batch, _: &NoiseLevel) {
        let (low, high) = self.bounds();
        x_hat.0 = x_hat.0.clamp(low, high);
    }
}

impl Projection<Batch> for DynamicThreshold {
    fn project(&self, x_hat: &mut Batch, _: &NoiseLevel) {
        let sizes = x_hat.0.abs().flatten(1, -1);
        let bound = sizes.quantile_scalar(self.quantile(), 1, true, "linear").clamp_min(1.0);
        let bound = bound.view([-1, 1, 1, 1]);
        x_hat.0 = x_hat.0.clamp_tensor(Some(&-&bound), Some(&bound)) / bound;
    }
}

/// The step after which the `k`-th of `keep` pictures is taken; the last is the result itself.
fn kept_step(k: usize, keep: usize, steps: usize) -> usize {
    ((k + 1) * steps / keep).max(1) - 1
}

/// A latent as it is in the model's own scaling: not divided by α, which would show nothing but noise
/// until late.
fn picture(model: &Model, z: &Batch, at: &NoiseLevel) -> Vec<u8> {
    model.decode(z, &NoiseLevel { alpha: scale_ratio(model, at), ..*at })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same correction as of plain memory.
    #[test]
    fn corrections_of_tensors_are_those_of_vectors() {
        let values: Vec<f32> = (0..10).map(|i| (i as f32 * 1.7).sin() * 2.5).collect();
        let at = Scaling::VariancePreserving.level(0.0);
        let check = |batch: Batch, vector: Vec<f32>| {
            let got: Vec<f32> = Vec::try_from(batch.0.flatten(0, -1)).unwrap();
            assert!(got.iter().zip(&vector).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?}");
            assert_ne!(vector, values);
        };
        let mut vector = values.clone();
        let mut batch = Batch::from_slice(&values, [2, 1, 1, 5], Device::Cpu);
        Clip::default().project(&mut vector, &at);
        Clip::default().project(&mut batch, &at);
        check(batch, vector);
        let threshold = DynamicThreshold::new(0.6, 5).unwrap();
        let mut vector = values.clone();
        let mut batch = Batch::from_slice(&values, [2, 1, 1, 5], Device::Cpu);
        threshold.project(&mut vector, &at);
        threshold.project(&mut batch, &at);
        check(batch, vector);
    }

    #[test]
    fn kept_steps_are_evenly_spaced_and_end_at_the_last() {
        assert_eq!([0, 1, 2, 3].map(|k| kept_step(k, 4, 100)), [24, 49, 74, 99]);
        assert_eq!([0, 1, 2].map(|k| kept_step(k, 3, 1)), [0, 0, 0]);
    }
}
