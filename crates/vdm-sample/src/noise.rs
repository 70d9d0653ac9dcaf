//! The random path a stochastic solver follows.

use std::collections::VecDeque;

use rand_distr::StandardNormal;
use thiserror::Error;
use vdm_core::LogSnr;

use crate::seed::{Purpose, Seed, fill_normal};

/// Unit normals for the interval between two levels.
///
/// The interval is part of the question because a source may answer consistently with what it
/// said about finer or coarser intervals (a Brownian path); independent sources ignore it.
pub trait NoiseSource<Z> {
    /// Overwrites `out`, whose shape says how much is wanted.
    ///
    /// # Errors
    /// [`NoiseError`] from sources that can run dry.
    fn fill(&mut self, out: &mut Z, from: LogSnr, to: LogSnr) -> Result<(), NoiseError>;
}

/// Why a source gave no noise.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum NoiseError {
    /// A stochastic solver was run without a source.
    #[error(
        "this solver draws noise (for the step from log-SNR {from} to {to}), but the run has none: \
         give it a noise source, or use a deterministic solver such as ddim with eta = 0"
    )]
    None {
        /// `λ` before the step.
        from: LogSnr,
        /// `λ` after it.
        to: LogSnr,
    },
    /// A replay asks for more than was recorded.
    #[error(
        "all {recorded} recorded draws are used, and the step from log-SNR {from} to {to} asks for \
         one more: the record is of another solver or grid"
    )]
    Exhausted {
        /// Number of draws in the record.
        recorded: usize,
        /// `λ` before the step.
        from: LogSnr,
        /// `λ` after it.
        to: LogSnr,
    },
}

/// For deterministic solvers: an error when asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNoise;

impl<Z> NoiseSource<Z> for NoNoise {
    fn fill(&mut self, _out: &mut Z, from: LogSnr, to: LogSnr) -> Result<(), NoiseError> {
        Err(NoiseError::None { from, to })
    }
}

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
    pub fn fill_slice<T>(&mut self, out: &mut [T])
    where
        StandardNormal: rand_distr::Distribution<T>,
    {
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

/// Noise from elsewhere, used in order: replays another program's run exactly.
#[derive(Debug, Clone)]
pub struct Recorded<Z> {
    draws: VecDeque<Z>,
    recorded: usize,
}

impl<Z> Recorded<Z> {
    /// The draws in the order of their use.
    pub fn new(draws: impl IntoIterator<Item = Z>) -> Self {
        let draws: VecDeque<Z> = draws.into_iter().collect();
        Self { recorded: draws.len(), draws }
    }

    /// How many draws have not been used.
    #[must_use]
    pub fn left(&self) -> usize {
        self.draws.len()
    }
}

impl<Z> NoiseSource<Z> for Recorded<Z> {
    fn fill(&mut self, out: &mut Z, from: LogSnr, to: LogSnr) -> Result<(), NoiseError> {
        let exhausted = NoiseError::Exhausted { recorded: self.recorded, from, to };
        *out = self.draws.pop_front().ok_or(exhausted)?;
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
pub fn prior<T: Default + Clone>(seed: Seed, sample: u64, dims: usize) -> Vec<T>
where
    StandardNormal: rand_distr::Distribution<T>,
{
    let mut out = vec![T::default(); dims];
    fill_normal(&mut out, dims, seed, Purpose::Prior, 0, sample);
    out
}
