use thiserror::Error;

/// What a constructor of this crate can refuse. Every message names the value and the remedy.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Error {
    /// The end points of a schedule are not finite or not in order.
    #[error(
        "a noise schedule needs finite log-SNRs with log_snr_max > log_snr_min, \
         got log_snr_max = {max} and log_snr_min = {min}"
    )]
    ScheduleRange {
        /// log-SNR at `t = 0`.
        max: f64,
        /// log-SNR at `t = 1`.
        min: f64,
    },
    /// A piecewise schedule has no increments, or one that is not a finite number.
    #[error(
        "a monotone schedule needs finite increments of which none vanishes beside the others, \
         got {found:?}"
    )]
    ScheduleIncrements {
        /// The unconstrained increments as given.
        found: Vec<f64>,
    },
    /// A mixture whose parts do not fit together.
    #[error("a Gaussian mixture needs {wanted}, got {found}")]
    Mixture {
        /// The condition that failed.
        wanted: &'static str,
        /// What was given.
        found: String,
    },
    /// A discretized likelihood over fewer than two values.
    #[error("a discretized likelihood needs at least 2 levels, got {found}")]
    Levels {
        /// The number of levels as given.
        found: u16,
    },
}
