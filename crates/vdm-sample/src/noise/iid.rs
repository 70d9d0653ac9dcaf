//! Independent noise.

use vdm_core::LogSnr;

use super::{NoiseError, NoiseSource};
use crate::Seed;
use crate::noise::{Purpose, fill_normal};

/// Independent noise, a function of (seed, sample, number of the draw).
#[derive(Debug, Clone)]
pub struct Iid {
    seed: Seed,
    first_sample: u64,
    dims: usize,
    draws: u64,
}

impl Iid {
    /// For latents that hold samples `first_sample, first_sample + 1, …` of `dims` components
    /// each, in row-major order.
    #[must_use]
    pub fn new(seed: Seed, first_sample: u64, dims: usize) -> Self {
        Self { seed, first_sample, dims, draws: 0 }
    }

    /// The next draw, into plain memory; other latent types build their [`NoiseSource`] on this.
    ///
    /// # Panics
    /// If the source was made for samples of 0 components.
    pub fn fill_slice<T: From<f32>>(&mut self, out: &mut [T]) {
        let purpose = Purpose::SamplingPath;
        fill_normal(out, self.dims, self.seed, purpose, self.draws, self.first_sample);
        self.draws += 1;
    }
}

impl NoiseSource<Vec<f32>> for Iid {
    fn fill(&mut self, out: &mut Vec<f32>, _: LogSnr, _: LogSnr) -> Result<(), NoiseError> {
        self.fill_slice(out);
        Ok(())
    }
}

impl NoiseSource<Vec<f64>> for Iid {
    fn fill(&mut self, out: &mut Vec<f64>, _: LogSnr, _: LogSnr) -> Result<(), NoiseError> {
        self.fill_slice(out);
        Ok(())
    }
}

/// The latent at `t = 1` of one sample: `dims` unit normals. For a scaling with `σ_1 ≠ 1`
/// multiply by it.
///
/// ```
/// use vdm_sample::{Seed, prior};
/// let z1: Vec<f32> = prior(Seed(1), 0, 3);
/// assert!(z1.iter().all(|z| z.abs() < 6.0));
/// ```
///
/// # Panics
/// If `dims` is 0.
#[must_use]
pub fn prior<T: Default + Clone + From<f32>>(seed: Seed, sample: u64, dims: usize) -> Vec<T> {
    let mut out = vec![T::default(); dims];
    fill_normal(&mut out, dims, seed, Purpose::Prior, 0, sample);
    out
}
