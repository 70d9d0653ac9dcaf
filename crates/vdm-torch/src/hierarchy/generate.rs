//! Data from latents: samples, ways between them, and a map of two latents.

use tch::Tensor;
use vdm_core::Scalar;
use vdm_core::count::{Cost, bounded, bounded_product};
use vdm_core::setting::{at_least_one, require};
use vdm_sample::Seed;
use vdm_sample::noise::{Purpose, fill_normal};

use super::{Hierarchy, bytes};
use crate::Error;

impl Hierarchy {
    /// Data values of samples `first, first + 1, …` of a seed, `batch` at a time: the most likely ones given latents
    /// drawn from the prior, whose layers' standard deviations are multiplied by `temperature`.
    ///
    /// Sample `i` is the same whatever `first`, `count` and `batch` are, up to the rounding of libtorch's kernels.
    ///
    /// # Errors
    /// [`Error::Setting`] for an empty batch, [`Error::Count`], [`Error::Torch`] if the device has no memory for a batch.
    pub fn samples(
        &self,
        seed: Seed,
        first: u64,
        count: usize,
        batch: usize,
        temperature: f64,
    ) -> Result<Vec<u8>, Error> {
        self.of_normals(&self.normals(seed, first, count)?, batch, temperature)
    }

    /// The ways from each of `count` samples to the next, in `steps` items each, the first of them the sample itself:
    /// along the great circle through the standard normals of both, whose distribution is that of a sample all the
    /// way.
    ///
    /// # Errors
    /// As [`samples`](Self::samples); [`Error::Setting`] also for no steps.
    pub fn latent_walk(
        &self,
        seed: Seed,
        first: u64,
        count: usize,
        steps: usize,
        batch: usize,
        temperature: f64,
    ) -> Result<Vec<u8>, Error> {
        at_least_one("steps", steps as u64)?;
        self.check_count(&[count, steps])?;
        let ends = self.normals(seed, first, count + 1)?;
        let ends: Vec<&[f32]> = ends.chunks(self.latent_dims()).collect();
        let mut between = Vec::new();
        for pair in ends.windows(2) {
            for step in 0..steps {
                between.extend(on_the_circle(pair[0], pair[1], step as f64 / steps as f64));
            }
        }
        self.of_normals(&between, batch, temperature)
    }

    /// What a model of two latents makes of `side²` of them: at the middle quantiles of the prior, so that each stands
    /// for as much of it, the first latent from left to right, the second from top to bottom.
    ///
    /// # Errors
    /// As [`samples`](Self::samples); [`Error::Setting`] also for a side of 0, and for a model of other than two latents.
    pub fn latent_grid(&self, side: usize, batch: usize) -> Result<Vec<u8>, Error> {
        at_least_one("side", side as u64)?;
        let latents = self.latent_dims();
        require(
            latents == 2,
            "latents of the model",
            latents,
            "use a model of two, such as clusters-vae",
        )?;
        self.check_count(&[side, side])?;
        let at = |i: usize| ((i as f64 + 0.5) / side as f64).normal_quantile() as f32;
        let row = |j: usize| (0..side).flat_map(move |i| [at(i), at(j)]);
        let normals: Vec<f32> = (0..side).flat_map(row).collect();
        self.of_normals(&normals, batch, 1.0)
    }

    fn check_count(&self, factors: &[usize]) -> Result<(), Error> {
        let dims = self.spec.shape.dims().max(self.latent_dims());
        bounded_product("count", factors, Cost::Items)?;
        bounded_product("count times components", &[factors, &[dims]].concat(), Cost::Numbers)?;
        Ok(())
    }

    /// Standard normals of samples, `[count, D]`.
    pub(super) fn normals(&self, seed: Seed, first: u64, count: usize) -> Result<Vec<f32>, Error> {
        self.check_count(&[count])?;
        bounded("first", first, Cost::Numbered)?;
        let dims = self.latent_dims();
        let mut normals = vec![0.0; count * dims];
        fill_normal(&mut normals, dims, seed, Purpose::Prior, 0, first);
        Ok(normals)
    }

    fn of_normals(
        &self,
        normals: &[f32],
        batch: usize,
        temperature: f64,
    ) -> Result<Vec<u8>, Error> {
        at_least_one("batch", batch as u64)?;
        let dims = self.latent_dims();
        let mut pixels = Vec::with_capacity(normals.len() / dims * self.spec.shape.dims());
        for normals in normals.chunks(batch * dims) {
            let eps = Tensor::from_slice(normals).view([-1, dims as i64]).to_device(self.device());
            pixels.extend(tch::no_grad(|| {
                let noise = self.noise(&(eps * temperature), true);
                bytes(&self.graphs((normals.len() / dims) as i64, false).generate(&noise)[0].1)
            })?);
        }
        Ok(pixels)
    }
}

/// `share` of the way from one point to another at the angle between them.
fn on_the_circle(from: &[f32], to: &[f32], share: f64) -> Vec<f32> {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let cosine = dot(from, to) / (dot(from, from) * dot(to, to)).sqrt();
    let angle = cosine.clamp(-1.0, 1.0).acos();
    let ways = [1.0 - share, share];
    let [a, b] = if angle.sin() > 1e-6 {
        ways.map(|share| (share * angle).sin() / angle.sin())
    } else {
        // Of one direction, or of opposite ones, where every circle goes through both.
        ways
    };
    from.iter().zip(to).map(|(x, y)| (a * f64::from(*x) + b * f64::from(*y)) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_begins_at_one_end_and_keeps_the_length() {
        let (from, to) = ([3.0, 0.0], [0.0, 3.0]);
        assert_eq!(on_the_circle(&from, &to, 0.0), from);
        let middle = on_the_circle(&from, &to, 0.5);
        assert!(middle.iter().all(|x| (x - 3.0 * 0.5_f32.sqrt()).abs() < 1e-6), "{middle:?}");
        assert_eq!(on_the_circle(&from, &from, 0.5), from);
        assert_eq!(on_the_circle(&[0.0, 0.0], &[0.0, 0.0], 0.5), [0.0, 0.0]);
    }
}
