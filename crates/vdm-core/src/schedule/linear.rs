//! `λ` linear in `t`: VDM's fixed schedule.

use serde::{Deserialize, Serialize};

use super::{LogSnrRange, NoiseSchedule};
use crate::LogSnr;

/// `λ_t = λ_max + (λ_min − λ_max) t`. Every level is visited equally often.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Linear {
    range: LogSnrRange,
}

impl Linear {
    /// Between two levels.
    #[must_use]
    pub fn new(range: LogSnrRange) -> Self {
        Self { range }
    }

    /// The end points.
    #[must_use]
    pub fn range(&self) -> LogSnrRange {
        self.range
    }
}

impl NoiseSchedule for Linear {
    fn log_snr(&self, t: f64) -> LogSnr {
        self.range.pin(t, |t| self.range.max() + (self.range.min() - self.range.max()) * t)
    }
    fn slope(&self, _t: f64) -> f64 {
        self.range.min() - self.range.max()
    }
    fn time(&self, log_snr: LogSnr) -> f64 {
        (1.0 - self.range.fraction(log_snr.value())).clamp(0.0, 1.0)
    }
}
