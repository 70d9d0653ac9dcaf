//! The form learned and adaptive schedules take: piecewise linear, monotone by construction.

use serde::{Deserialize, Serialize};

use super::{LogSnrRange, NoiseSchedule};
use crate::{Error, LogSnr};

/// `λ` falls through `n` equal intervals of time by positive amounts that sum to the whole range.
///
/// The amounts come from unconstrained numbers `wᵢ` as `softplus(wᵢ)/Σ softplus(wⱼ)`, so every
/// setting of them is a legal schedule and the end points cannot drift.
///
/// ```
/// use vdm_core::schedule::{LogSnrRange, Monotone};
/// use vdm_core::NoiseSchedule;
/// let schedule = Monotone::new(LogSnrRange::new(6.0, -2.0)?, vec![0.0; 4])?;
/// assert!((schedule.log_snr(0.25).value() - 4.0).abs() < 1e-12); // equal amounts: a line
/// # Ok::<(), vdm_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawMonotone", into = "RawMonotone")]
pub struct Monotone {
    range: LogSnrRange,
    increments: Vec<f64>,
    /// `λ` at the `n + 1` knots, from `max` down to `min`.
    knots: Vec<f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMonotone {
    log_snr_max: f64,
    log_snr_min: f64,
    increments: Vec<f64>,
}

impl TryFrom<RawMonotone> for Monotone {
    type Error = Error;
    fn try_from(raw: RawMonotone) -> Result<Self, Error> {
        Self::new(LogSnrRange::new(raw.log_snr_max, raw.log_snr_min)?, raw.increments)
    }
}

impl From<Monotone> for RawMonotone {
    fn from(schedule: Monotone) -> Self {
        Self {
            log_snr_max: schedule.range.max(),
            log_snr_min: schedule.range.min(),
            increments: schedule.increments,
        }
    }
}

fn softplus(w: f64) -> f64 {
    w.max(0.0) + (-w.abs()).exp().ln_1p()
}

impl Monotone {
    /// From one unconstrained number per interval.
    ///
    /// # Errors
    /// [`Error::ScheduleIncrements`] if there is none, or one is not finite or so far below the
    /// others (by about 36) that its share of the range rounds to nothing.
    pub fn new(range: LogSnrRange, increments: Vec<f64>) -> Result<Self, Error> {
        let amounts: Vec<f64> = increments.iter().map(|w| softplus(*w)).collect();
        let total: f64 = amounts.iter().sum();
        let fall = range.max() - range.min();
        let mut knots = vec![range.max()];
        let mut done = 0.0;
        for amount in &amounts {
            done += amount;
            knots.push(range.max() - fall * (done / total));
        }
        if let Some(last) = knots.last_mut() {
            *last = range.min();
        }
        let falling = knots.len() > 1 && knots.windows(2).all(|pair| pair[0] > pair[1]);
        if !falling || !total.is_finite() {
            return Err(Error::ScheduleIncrements { found: increments });
        }
        Ok(Self { range, increments, knots })
    }

    /// The end points.
    #[must_use]
    pub fn range(&self) -> LogSnrRange {
        self.range
    }

    fn intervals(&self) -> f64 {
        self.increments.len() as f64
    }

    /// The interval that holds `t`, and where in it.
    fn locate(&self, t: f64) -> (usize, f64) {
        let position = t.clamp(0.0, 1.0) * self.intervals();
        let index = (position as usize).min(self.increments.len() - 1);
        let within = position - index as f64;
        (index, within)
    }
}

impl NoiseSchedule for Monotone {
    fn log_snr(&self, t: f64) -> LogSnr {
        self.range.pin(t, |t| {
            let (i, within) = self.locate(t);
            self.knots[i] + (self.knots[i + 1] - self.knots[i]) * within
        })
    }
    fn slope(&self, t: f64) -> f64 {
        let (i, _) = self.locate(t);
        (self.knots[i + 1] - self.knots[i]) * self.intervals()
    }
    fn time(&self, log_snr: LogSnr) -> f64 {
        let target = log_snr.value().clamp(self.range.min(), self.range.max());
        let i = self.knots.partition_point(|knot| *knot > target).clamp(1, self.increments.len());
        let (above, below) = (self.knots[i - 1], self.knots[i]);
        let within = (above - target) / (above - below);
        let index = (i - 1) as f64;
        (index + within) / self.intervals()
    }
}
