//! What ends a run early.

use std::error::Error;

use thiserror::Error as ThisError;
use vdm_core::Parameterization;
use vdm_core::count::TooMany;
use vdm_core::setting::InvalidSetting;

use crate::grid::GridError;
use crate::noise::NoiseError;

/// Why there is no [`Solution`](crate::Solution): the one error of every solver, on a grid or with
/// steps of its own. `E` is the model's.
#[derive(Debug, ThisError)]
pub enum SolveError<E: Error + 'static> {
    /// The model reports a fault.
    #[error(transparent)]
    Model(E),
    /// The noise source has nothing to give.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// The levels to visit are no grid.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// A setting of the solver that is out of its bounds.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// A count beyond what it may cost.
    #[error(transparent)]
    Count(#[from] TooMany),
    /// A prediction that does not say what a step needs: of noise, say, where a latent is noise alone.
    #[error(
        "at log-SNR {log_snr} a prediction of {of:?} does not determine {wanted:?}: let the grid begin and \
         end at finite levels (truncate the schedule), or use a model that predicts {wanted:?}"
    )]
    Undetermined {
        /// What the model predicts.
        of: Parameterization,
        /// What the step needs.
        wanted: Parameterization,
        /// `λ` of the level.
        log_snr: f64,
    },
    /// A level at which no latent exists.
    #[error(
        "an end of the path, at log-SNR {log_snr}, has scales alpha = {alpha} and sigma = {sigma}: \
         end at a finite level (truncate the schedule) or use another scaling"
    )]
    NoLatent {
        /// `λ` of the end.
        log_snr: f64,
        /// Its `α`.
        alpha: f64,
        /// Its `σ`.
        sigma: f64,
    },
    /// An end where log-SNR is infinite, for a solver whose steps are measured in log-SNR.
    #[error(
        "dpm_adaptive needs finite ends, but these run from log-SNR {from} to {to}: start a \
         little below pure noise and end at a small sigma, then take one ddim step from there"
    )]
    InfiniteEnds {
        /// `λ` at the start.
        from: f64,
        /// `λ` at the end.
        to: f64,
    },
    /// Infinite or undefined numbers on the path.
    #[error(
        "sample {sample} is no longer finite near log-SNR {log_snr}: look for a fault in the model \
         or in what it was given, or for a latent of 0 where the absolute tolerance is 0"
    )]
    NotFinite {
        /// Number of the sample, from 0.
        sample: usize,
        /// `λ` before the step.
        log_snr: f64,
    },
    /// The tolerance cannot be met with steps that numbers can tell apart.
    #[error(
        "sample {sample} is at log-SNR {log_snr} and would need steps below the resolution of the \
         level: loosen the tolerances, the model is not smooth (or not precise) enough for them"
    )]
    StepTooSmall {
        /// Number of the sample, from 0.
        sample: usize,
        /// `λ` where it stands.
        log_snr: f64,
    },
    /// More steps than allowed.
    #[error(
        "sample {sample} is at log-SNR {log_snr} after {steps} steps: loosen the tolerances, choose \
         a method of higher order, or raise max_steps"
    )]
    TooManySteps {
        /// Number of the sample, from 0.
        sample: usize,
        /// `λ` where it stands.
        log_snr: f64,
        /// Steps tried.
        steps: usize,
    },
}

impl<E: Error + 'static> SolveError<E> {
    /// The same of a sample that the caller knows by another number.
    #[must_use]
    pub fn renumbered(mut self, number: impl FnOnce(usize) -> usize) -> Self {
        if let Self::NotFinite { sample, .. }
        | Self::StepTooSmall { sample, .. }
        | Self::TooManySteps { sample, .. } = &mut self
        {
            *sample = number(*sample);
        }
        self
    }
}
