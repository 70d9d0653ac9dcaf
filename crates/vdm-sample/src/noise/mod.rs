//! The random path a stochastic solver follows.
//!
//! | source | one sample gets | when |
//! |---|---|---|
//! | [`NoNoise`] | an error | deterministic solvers |
//! | [`Iid`] | fresh noise at every draw | sampling |
//! | [`Antithetic`] | the negative of its partner's | expectations over samples, at less variance |
//! | [`BrownianPath`] | increments of one Brownian motion | the same image at any number of steps, strong orders, adaptive steps |
//! | [`Recorded`] | what another program drew | replays |
//!
//! All but the last are functions of (seed, sample), whatever batch a sample is drawn in.

mod antithetic;
#[cfg(feature = "ndarray")]
mod arrays;
mod brownian;
mod iid;
mod recorded;

pub use antithetic::{Antithetic, antithetic_prior};
pub use brownian::BrownianPath;
pub use iid::{Iid, prior};
pub use recorded::Recorded;
pub use vdm_random::{Purpose, fill_normal};

use thiserror::Error;
use vdm_core::LogSnr;

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
    /// A path has no increment over an interval of length 0.
    #[error(
        "a Brownian path has no increment from log-SNR {from} to {to}: the levels are not distinct \
         within its resolution of 2^-29 of its clock; take longer steps or independent noise"
    )]
    Unresolved {
        /// `λ` at one end.
        from: LogSnr,
        /// `λ` at the other.
        to: LogSnr,
    },
    /// A path that is followed towards data has no new noise for the way back.
    #[error(
        "noise is added from log-SNR {from} back to {to}, as churn and restart do: a Brownian path \
         would undo what it gave on the way there; use independent noise"
    )]
    Backwards {
        /// `λ` before the noise is added.
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
