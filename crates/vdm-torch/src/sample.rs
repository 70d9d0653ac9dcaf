//! Drawing data from a model.

use tch::Tensor;
use vdm_core::{Denoiser, LogSnr, NoiseLevel, NoiseSchedule, Scaling};
use vdm_sample::guidance::{Clip, DynamicThreshold, Projected, Projection};
use vdm_sample::{
    AdaptiveSpec, Correction, Method, NoisePath, SamplerSpec, Seed, dpm_adaptive, integrate,
};

use crate::model::Model;
use crate::{Batch, Error};

/// The process whose levels are visited; a model answers under any.
const SCALING: Scaling = Scaling::VariancePreserving;

/// Data values drawn from a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Samples {
    /// `[N, C, H, W]`.
    pub pixels: Vec<u8>,
    /// Kept latents as they are, `[kept levels, N, C, H, W]`, noisiest first.
    pub along_the_way: Vec<Vec<u8>>,
}

/// Draws samples `first, first + 1, …, first + count − 1` of a seed, `batch` at a time.
///
/// Sample `i` of a seed is the same whatever `first`, `count` and `batch` are, up to the rounding
/// of libtorch's kernels, which may differ with the batch size. An adaptive solver turns such rounding
/// into differences within its tolerance. `keep` evenly spaced latents on the way are decoded too, as
/// they are: noise at first. Adaptive solvers begin anew at each.
///
/// # Errors
/// [`Error::Torch`] from the network, [`Error::Config`] for an empty batch, [`Error::Grid`],
/// [`Error::Noise`] for noise that does not serve the solver, [`Error::Ode`] or
/// [`Error::AdaptiveSteps`] for tolerances that cannot be met, [`Error::NonFiniteSamples`].
pub fn sample(
    model: &Model,
    sampler: &SamplerSpec,
    seed: Seed,
    first: u64,
    count: usize,
    batch: usize,
    keep: usize,
) -> Result<Samples, Error> {
    if batch == 0 {
        return Err(Error::Config { field: "batch", value: "0".into(), remedy: "use at least 1" });
    }
    let shape = model.spec().shape;
    let dims = shape.dims();
    let correction = sampler.guidance.correction(dims)?;
    let mut samples = Samples { pixels: Vec::new(), along_the_way: vec![Vec::new(); keep] };
    for start in (0..count).step_by(batch) {
        let items = batch.min(count - start);
        let first = first + start as u64;
        let prior = |item: usize| sampler.noise.prior::<f32>(seed, first + item as u64, dims);
        let noise: Vec<f32> = (0..items).flat_map(prior).collect();
        let size = [items, shape.channels, shape.height, shape.width].map(|s| s as i64);
        let z1 = Batch::from_slice(&noise, size, model.device());
        let mut path = sampler.noise.path(seed, first, dims);
        let on_kept = |place: usize, z: &Batch, at: &NoiseLevel| {
            samples.along_the_way[place].extend(picture(model, z, at));
        };
        let schedule = &model.spec().diffusion.schedule;
        let mut draw = Draw { method: &sampler.method, schedule, path: &mut path, keep, on_kept };
        let (z0, clean) = tch::no_grad(|| match correction {
            Correction::None => draw.run(model, z1),
            Correction::Clip(clip) => draw.run(&Projected::new(model, clip), z1),
            Correction::DynamicThreshold(bound) => draw.run(&Projected::new(model, bound), z1),
        })?;
        if z0.0.isfinite().all().int64_value(&[]) == 0 {
            return Err(Error::NonFiniteSamples);
        }
        samples.pixels.extend(model.decode(&z0, &clean));
    }
    Ok(samples)
}

/// How one batch gets from noise to data.
struct Draw<'a, F> {
    method: &'a Method,
    schedule: &'a dyn NoiseSchedule,
    path: &'a mut NoisePath,
    keep: usize,
    on_kept: F,
}

impl<F: FnMut(usize, &Batch, &NoiseLevel)> Draw<'_, F> {
    /// The latents at the cleanest level, and that level.
    fn run<D>(&mut self, model: &D, z1: Batch) -> Result<(Batch, NoiseLevel), Error>
    where
        D: Denoiser<Batch, Error = Error>,
    {
        match self.method {
            Method::Adaptive(solver) => self.adaptive(solver, model, &z1),
            Method::OnGrid { solver, grid, steps } => {
                let grid = grid.time_grid(*steps, self.schedule, SCALING)?;
                let kept: Vec<usize> =
                    (0..self.keep).map(|k| kept_step(k, self.keep, grid.steps())).collect();
                let on_step = |step: usize, z: &Batch, at: &NoiseLevel| {
                    let places = kept.iter().enumerate().filter(|(_, kept)| **kept == step);
                    places.for_each(|(place, _)| (self.on_kept)(place, z, at));
                };
                let z0 = integrate(solver, model, z1, &grid, self.path, on_step)?;
                Ok((z0, grid.levels()[grid.steps()]))
            }
        }
    }

    /// From each kept level to the next.
    fn adaptive<D>(
        &mut self,
        solver: &AdaptiveSpec,
        model: &D,
        z1: &Batch,
    ) -> Result<(Batch, NoiseLevel), Error>
    where
        D: Denoiser<Batch, Error = Error>,
    {
        let stretches = self.keep.max(1);
        let level = |k: usize| self.schedule.log_snr(1.0 - k as f64 / stretches as f64);
        let mut singles: Vec<Batch> = z1.0.split(1, 0).into_iter().map(Batch).collect();
        for k in 0..stretches {
            let (from, to) = (level(k), level(k + 1));
            singles = stretch(solver, model, singles, from, to)?;
            if k < self.keep {
                (self.on_kept)(k, &joined(&singles), &SCALING.level(to.value()));
            }
        }
        Ok((joined(&singles), SCALING.level(level(stretches).value())))
    }
}

/// Single samples from one level to another.
fn stretch<D: Denoiser<Batch, Error = Error>>(
    solver: &AdaptiveSpec,
    model: &D,
    singles: Vec<Batch>,
    from: LogSnr,
    to: LogSnr,
) -> Result<Vec<Batch>, Error> {
    match solver {
        AdaptiveSpec::Ode(solver) => {
            let ends = solver.solve(model, singles, from, to, SCALING)?;
            Ok(ends.into_iter().map(|end| end.z).collect())
        }
        // Its steps are those of all it is given, so that a sample would depend on its batch.
        AdaptiveSpec::Dpm(options) => singles
            .into_iter()
            .map(|z| {
                let [from, to] = [from, to].map(|end| SCALING.level(end.value()));
                let (z, _) = dpm_adaptive(model, z, from, to, SCALING, options)?;
                Ok(z)
            })
            .collect(),
    }
}

fn joined(singles: &[Batch]) -> Batch {
    Batch(Tensor::cat(&singles.iter().map(|z| &z.0).collect::<Vec<_>>(), 0))
}

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

/// A latent as it is: not divided by α, which would show nothing but noise until late.
fn picture(model: &Model, z: &Batch, at: &NoiseLevel) -> Vec<u8> {
    model.decode(z, &NoiseLevel { alpha: 1.0, ..*at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    /// The same correction as of plain memory.
    #[test]
    fn corrections_of_tensors_are_those_of_vectors() {
        let values: Vec<f32> = (0..10).map(|i| (i as f32 * 1.7).sin() * 2.5).collect();
        let at = SCALING.level(0.0);
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
