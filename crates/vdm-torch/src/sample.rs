//! Drawing data from a model.

use vdm_core::{NoiseLevel, Scaling};
use vdm_sample::{Iid, Purpose, SamplerSpec, Seed, fill_normal, integrate};

use crate::model::Model;
use crate::{Batch, Error};

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
/// of libtorch's kernels, which may differ with the batch size. `keep` evenly spaced latents on the
/// way are decoded too, as they are: noise at first.
///
/// # Errors
/// [`Error::Torch`] from the network, [`Error::Config`] for an empty batch, [`Error::Grid`],
/// [`Error::NonFiniteSamples`].
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
    let grid = sampler.time_grid(&model.spec().diffusion.schedule, Scaling::VariancePreserving)?;
    let kept: Vec<usize> = (0..keep).map(|k| kept_step(k, keep, grid.steps())).collect();
    let mut samples = Samples { pixels: Vec::new(), along_the_way: vec![Vec::new(); keep] };
    for start in (0..count).step_by(batch) {
        let items = batch.min(count - start);
        let first = first + start as u64;
        let mut noise = vec![0.0_f32; items * dims];
        fill_normal(&mut noise, dims, seed, Purpose::Prior, 0, first);
        let size = [items, shape.channels, shape.height, shape.width].map(|s| s as i64);
        let z1 = Batch::from_slice(&noise, size, model.device());
        let mut path = Iid::new(seed, first, dims);
        let on_step = |step: usize, z: &Batch, at: &NoiseLevel| {
            let places = kept.iter().enumerate().filter(|(_, kept)| **kept == step);
            for (place, _) in places {
                samples.along_the_way[place].extend(picture(model, z, at));
            }
        };
        let z0 = tch::no_grad(|| integrate(&sampler.solver, model, z1, &grid, &mut path, on_step))?;
        if z0.0.isfinite().all().int64_value(&[]) == 0 {
            return Err(Error::NonFiniteSamples);
        }
        let clean = grid.levels()[grid.steps()];
        samples.pixels.extend(model.decode(&z0, &clean));
    }
    Ok(samples)
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

    #[test]
    fn kept_steps_are_evenly_spaced_and_end_at_the_last() {
        assert_eq!([0, 1, 2, 3].map(|k| kept_step(k, 4, 100)), [24, 49, 74, 99]);
        assert_eq!([0, 1, 2].map(|k| kept_step(k, 3, 1)), [0, 0, 0]);
    }
}
