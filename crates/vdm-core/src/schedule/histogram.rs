//! A schedule from a measured density of levels.

use serde::{Deserialize, Serialize};

use super::LogSnrRange;
use super::knots::{self, Knots};
use crate::Error;
use crate::setting::InvalidSetting;

/// `p(λ)` constant on each of `n` equal intervals of `λ`, in proportion to a mass given for each.
///
/// An adaptive schedule: with masses `∝ E[w(λ)‖ε − ε̂‖²]` every interval of time sees the same loss
/// (Kingma and Gao 2023); with masses `∝ √E[(w(λ)‖ε − ε̂‖²)²]` the estimator's variance is least. The
/// value of the bound does not change (monograph §2.4.3).
/// [`Adaptive`](crate::importance::Adaptive) gathers the latter.
///
/// ```
/// use vdm_core::schedule::{Histogram, LogSnrRange};
/// use vdm_core::{LogSnr, NoiseSchedule};
/// // Three quarters of the time on the upper half of the levels.
/// let schedule = Histogram::new(LogSnrRange::new(6.0, -2.0)?, vec![1.0, 3.0])?;
/// assert_eq!(schedule.log_snr(0.75).value(), 2.0);
/// assert_eq!(schedule.density(LogSnr::new(5.0)), 0.75 / 4.0);
/// # Ok::<(), vdm_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawHistogram", into = "RawHistogram")]
pub struct Histogram {
    masses: Vec<f64>,
    knots: Knots,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHistogram {
    log_snr_max: f64,
    log_snr_min: f64,
    masses: Vec<f64>,
}

impl TryFrom<RawHistogram> for Histogram {
    type Error = Error;
    fn try_from(raw: RawHistogram) -> Result<Self, Error> {
        Self::new(LogSnrRange::new(raw.log_snr_max, raw.log_snr_min)?, raw.masses)
    }
}

impl From<Histogram> for RawHistogram {
    fn from(schedule: Histogram) -> Self {
        let range = schedule.knots.range();
        Self { log_snr_max: range.max(), log_snr_min: range.min(), masses: schedule.masses }
    }
}

impl Histogram {
    /// One mass per interval from `log_snr_min` upward, of any scale; both ends finite.
    ///
    /// # Errors
    /// [`Error::ScheduleRange`] if an end is infinite. [`Error::Setting`] if there is no
    /// mass, or one is not a positive number, or too small beside the others to take any time.
    pub fn new(range: LogSnrRange, masses: Vec<f64>) -> Result<Self, Error> {
        let range = range.finite()?;
        let total: f64 = masses.iter().sum();
        let n = masses.len() as f64;
        let mut done = 0.0;
        // Time runs from the highest level down.
        let (mut times, mut log_snrs) = (vec![0.0], vec![range.max()]);
        for (i, mass) in masses.iter().rev().enumerate() {
            done += mass;
            times.push(done / total);
            let share = (i + 1) as f64 / n;
            log_snrs.push(range.max() * (1.0 - share) + range.min() * share);
        }
        if let Some(last) = times.last_mut() {
            *last = 1.0;
        }
        let legal = masses.iter().all(|mass| *mass > 0.0) && total.is_finite();
        match Knots::new(times, log_snrs) {
            Some(knots) if legal && !masses.is_empty() => Ok(Self { masses, knots }),
            _ => {
                let remedy = "use positive numbers of which none vanishes beside the others";
                let value = format_args!("{masses:?}");
                Err(InvalidSetting::new("schedule.masses", value, remedy).into())
            }
        }
    }
}

knots::curve_of!(Histogram);
