use thiserror::Error;

use crate::count::TooMany;
use crate::schedule::LogSnrRange;
use crate::setting::{InvalidSetting, short};

/// What a constructor of this crate can refuse. Every message names the value and the remedy.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Error {
    /// A setting outside of what it may be.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// The end points of a schedule are not in order, too far out, or infinite where they must not be.
    #[error(
        "a noise schedule needs log_snr_max > log_snr_min, both finite unless it runs to infinity \
         by itself and no further than 1400 from 0, got log_snr_max = {} and log_snr_min = {}",
        short(*max), short(*min)
    )]
    ScheduleRange {
        /// log-SNR at `t = 0`.
        max: f64,
        /// log-SNR at `t = 1`.
        min: f64,
    },
    /// Numbers with which a formula is no schedule in double precision.
    #[error(
        "a noise schedule falls strictly from data to noise at finite slopes, but at t = {t} {what} \
         {value} with these numbers, at least one of which is too large, too small or too near another: \
         {schedule}"
    )]
    ScheduleShape {
        /// What is wrong.
        what: &'static str,
        /// The number that is wrong.
        value: f64,
        /// The time at which it is.
        t: f64,
        /// The schedule with all its numbers.
        schedule: String,
    },
    /// A configuration names a field that the schedule does not have.
    #[error("this noise schedule has no field \"{name}\"; remove it")]
    ScheduleField {
        /// The field as given.
        name: String,
    },
    /// The part of a schedule that is asked for reaches beyond the schedule.
    #[error(
        "a schedule with log-SNRs from {} down to {} cannot be cut to log_snr_max = {max}, \
         log_snr_min = {min}; choose ends within", whole.0, whole.1
    )]
    Truncation {
        /// The upper end as given.
        max: f64,
        /// The lower end as given.
        min: f64,
        /// The schedule's own ends.
        whole: (f64, f64),
    },
    /// A table of β that is no diffusion.
    #[error(
        "a table of betas needs at least 2, all between 0 and 1 and large enough to change the level, got \
         {steps}{}",
        found.map_or_else(String::new, |(n, beta)| format!(" with beta[{n}] = {beta}"))
    )]
    ScheduleBetas {
        /// Number of entries.
        steps: usize,
        /// The first entry out of bounds.
        found: Option<(usize, f64)>,
    },
    /// More timesteps asked of a table than it has, or none.
    #[error("a table of {steps} timesteps cannot give {count}; ask for 1 to {steps}")]
    Timesteps {
        /// How many were asked for.
        count: usize,
        /// How many there are.
        steps: usize,
    },
    /// A count beyond what it may cost.
    #[error(transparent)]
    Count(#[from] TooMany),
    /// Factors, or a pair of graphs, that do not fit together.
    #[error("a graph of factors needs {wanted}, got {found}")]
    Graph {
        /// The condition that failed.
        wanted: &'static str,
        /// What was given.
        found: String,
    },
    /// A weight that is no distribution of noise levels.
    #[error(
        "a weighted loss is a bound on noisy data only if its weight never rises with log-SNR; this \
         one rises from {from} to {to} (negative mass {mass} in all); choose a monotone weighting"
    )]
    NotMonotone {
        /// The lower end of the largest rise, in nats of log-SNR.
        from: f64,
        /// Its upper end.
        to: f64,
        /// What all rises add up to, in units of the largest weight.
        mass: f64,
    },
    /// A proposal that does not visit the levels of the objective.
    #[error(
        "an objective over log-SNRs from {} down to {} cannot be estimated at levels from {} down to \
         {}; give the proposal the same end points",
        wanted.max(), wanted.min(), found.max(), found.min()
    )]
    Proposal {
        /// The levels of the objective.
        wanted: LogSnrRange,
        /// The levels of the proposal.
        found: LogSnrRange,
    },
}
