//! The form learned schedules take: piecewise linear in time, monotone by construction.

use serde::{Deserialize, Serialize};

use super::LogSnrRange;
use super::knots::{self, Knots};
use crate::setting::InvalidSetting;
use crate::{Error, Scalar};

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
    increments: Vec<f64>,
    knots: Knots,
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
        let range = schedule.knots.range();
        Self { log_snr_max: range.max(), log_snr_min: range.min(), increments: schedule.increments }
    }
}

impl Monotone {
    /// From one unconstrained number per interval; both ends of the range finite.
    ///
    /// # Errors
    /// [`Error::ScheduleRange`] if an end is infinite. [`Error::Setting`] if there is no
    /// increment, or one is not finite or so far below the others (by about 27) that levels within its share
    /// of the range could not be told apart.
    pub fn new(range: LogSnrRange, increments: Vec<f64>) -> Result<Self, Error> {
        let range = range.finite()?;
        let amounts: Vec<f64> = increments.iter().map(Scalar::softplus).collect();
        let total: f64 = amounts.iter().sum();
        let fall = range.max() - range.min();
        let mut done = 0.0;
        let mut log_snrs = vec![range.max()];
        log_snrs.extend(amounts.iter().map(|amount| {
            done += amount;
            range.max() - fall * (done / total)
        }));
        if let Some(last) = log_snrs.last_mut() {
            *last = range.min();
        }
        match Knots::uniform(log_snrs) {
            Some(knots) if total.is_finite() && !increments.is_empty() => {
                Ok(Self { increments, knots })
            }
            _ => {
                let remedy = "use finite numbers of which none vanishes beside the others";
                let value = format_args!("{increments:?}");
                Err(InvalidSetting::new("schedule.increments", value, remedy).into())
            }
        }
    }

    /// The unconstrained numbers, from data to noise.
    pub(super) fn increments(&self) -> &[f64] {
        &self.increments
    }

    /// What they stand for, up to a common factor.
    pub(super) fn amounts(&self) -> impl Iterator<Item = f64> {
        self.increments.iter().map(Scalar::softplus)
    }

    /// The interval of a time, and how far into it the time is, from 0 to 1.
    pub(super) fn interval(&self, t: f64) -> (usize, f64) {
        self.knots.interval(t)
    }
}

knots::curve_of!(Monotone);
