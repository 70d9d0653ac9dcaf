//! `λ` linear in `t`: VDM's fixed schedule, and the geometric one of variance-exploding models.

use serde::{Deserialize, Serialize};

use super::{Curve, LogSnrRange, Time, sound};
use crate::{Error, Scalar};

/// `λ_t = λ_max (1 − t) + λ_min t`. Every level is visited equally often.
///
/// A geometric sequence of EDM noise scales, `σ_min (σ_max/σ_min)^t`, is this one:
/// [`Schedule::geometric`](super::Schedule::geometric).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "LogSnrRange", into = "LogSnrRange")]
pub struct Linear {
    range: LogSnrRange,
}

impl TryFrom<LogSnrRange> for Linear {
    type Error = Error;
    fn try_from(range: LogSnrRange) -> Result<Self, Error> {
        Self::new(range)
    }
}

impl From<Linear> for LogSnrRange {
    fn from(linear: Linear) -> Self {
        linear.range
    }
}

impl Linear {
    /// Between two finite levels.
    ///
    /// # Errors
    /// [`Error::ScheduleRange`] if an end is infinite, [`Error::ScheduleShape`] if the ends are so close or so
    /// large that nothing lies between.
    pub fn new(range: LogSnrRange) -> Result<Self, Error> {
        sound(Self { range: range.finite()? })
    }
}

impl Curve for Linear {
    fn ends(&self) -> LogSnrRange {
        self.range
    }
    fn at<C: Scalar>(&self, at: &Time<C>) -> C {
        let (max, min) = (at.t.lift(self.range.max()), at.t.lift(self.range.min()));
        max * at.rest + min * at.t
    }
    fn inverse<C: Scalar>(&self, log_snr: &C) -> Time<C> {
        let (max, min) = (log_snr.lift(self.range.max()), log_snr.lift(self.range.min()));
        let fall = max - min;
        Time { t: (max - *log_snr) / fall, rest: (*log_snr - min) / fall }
    }
}
