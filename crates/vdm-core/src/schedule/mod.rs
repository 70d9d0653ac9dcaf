//! Noise schedules: how log-SNR falls from data (`t = 0`) to noise (`t = 1`).
//!
//! The value of a diffusion bound depends on a schedule only through its end points
//! (monograph §2.3.3); its shape decides how often each noise level is visited,
//! `p(λ) = −dt/dλ`, hence the variance of every estimator.

mod cosine;
mod linear;
mod monotone;

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

pub use cosine::Cosine;
pub use linear::Linear;
pub use monotone::Monotone;

use crate::{Error, LogSnr};

/// `f_λ: [0, 1] → ℝ`, strictly decreasing. Object safe; learned schedules implement it too.
pub trait NoiseSchedule: Debug {
    /// `λ_t`; exact at both ends.
    fn log_snr(&self, t: f64) -> LogSnr;

    /// `dλ/dt < 0`, in nats per unit of time.
    fn slope(&self, t: f64) -> f64;

    /// The inverse: the time at which a level is reached, clamped to `[0, 1]`.
    fn time(&self, log_snr: LogSnr) -> f64;

    /// `p(λ) = −dt/dλ`, the density of levels when `t` is uniform.
    fn density(&self, log_snr: LogSnr) -> f64 {
        -1.0 / self.slope(self.time(log_snr))
    }
}

/// End points of a schedule, checked: both finite, `max` (data) above `min` (noise).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawRange", deny_unknown_fields)]
pub struct LogSnrRange {
    #[serde(rename = "log_snr_max")]
    max: f64,
    #[serde(rename = "log_snr_min")]
    min: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRange {
    log_snr_max: f64,
    log_snr_min: f64,
}

impl TryFrom<RawRange> for LogSnrRange {
    type Error = Error;
    fn try_from(raw: RawRange) -> Result<Self, Error> {
        Self::new(raw.log_snr_max, raw.log_snr_min)
    }
}

impl LogSnrRange {
    /// # Errors
    /// [`Error::ScheduleRange`] unless both are finite and `max > min`.
    pub fn new(max: f64, min: f64) -> Result<Self, Error> {
        if max.is_finite() && min.is_finite() && max > min {
            Ok(Self { max, min })
        } else {
            Err(Error::ScheduleRange { max, min })
        }
    }

    /// `λ` at `t = 0`.
    #[must_use]
    pub fn max(self) -> f64 {
        self.max
    }

    /// `λ` at `t = 1`.
    #[must_use]
    pub fn min(self) -> f64 {
        self.min
    }

    /// Where `λ` lies between noise (0) and data (1); outside of it beyond the end points.
    #[must_use]
    pub fn fraction(self, log_snr: f64) -> f64 {
        (log_snr - self.min) / (self.max - self.min)
    }

    /// `inner(t)` inside the interval and the end points themselves at (or beyond) its ends.
    fn pin(self, t: f64, inner: impl FnOnce(f64) -> f64) -> LogSnr {
        LogSnr::new(if t <= 0.0 {
            self.max
        } else if t >= 1.0 {
            self.min
        } else {
            inner(t)
        })
    }
}

/// The schedules a configuration can name.
///
/// ```
/// use vdm_core::{NoiseSchedule, Schedule};
/// let schedule: Schedule =
///     serde_json::from_str(r#"{"kind": "cosine", "log_snr_max": 7, "log_snr_min": -4}"#).unwrap();
/// assert_eq!(schedule.log_snr(1.0).value(), -4.0);
/// let refused = serde_json::from_str::<Schedule>(
///     r#"{"kind": "linear", "log_snr_max": -4, "log_snr_min": 7}"#).unwrap_err();
/// assert!(refused.to_string().contains("log_snr_max = -4"));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Schedule {
    /// `λ` linear in `t` (VDM).
    Linear(Linear),
    /// The cosine schedule, truncated to its end points.
    Cosine(Cosine),
    /// Piecewise linear with positive increments, the form learned schedules take.
    Monotone(Monotone),
}

impl Schedule {
    /// `λ` linear in `t`.
    ///
    /// # Errors
    /// [`Error::ScheduleRange`] unless `log_snr_max > log_snr_min`, both finite.
    pub fn linear(log_snr_max: f64, log_snr_min: f64) -> Result<Self, Error> {
        Ok(Self::Linear(Linear::new(LogSnrRange::new(log_snr_max, log_snr_min)?)))
    }

    /// The cosine schedule between two levels.
    ///
    /// # Errors
    /// [`Error::ScheduleRange`] unless `log_snr_max > log_snr_min`, both finite.
    pub fn cosine(log_snr_max: f64, log_snr_min: f64) -> Result<Self, Error> {
        Ok(Self::Cosine(Cosine::new(LogSnrRange::new(log_snr_max, log_snr_min)?)))
    }

    /// The end points.
    #[must_use]
    pub fn range(&self) -> LogSnrRange {
        match self {
            Self::Linear(s) => s.range(),
            Self::Cosine(s) => s.range(),
            Self::Monotone(s) => s.range(),
        }
    }

    fn role(&self) -> &dyn NoiseSchedule {
        match self {
            Self::Linear(s) => s,
            Self::Cosine(s) => s,
            Self::Monotone(s) => s,
        }
    }
}

impl NoiseSchedule for Schedule {
    fn log_snr(&self, t: f64) -> LogSnr {
        self.role().log_snr(t)
    }
    fn slope(&self, t: f64) -> f64 {
        self.role().slope(t)
    }
    fn time(&self, log_snr: LogSnr) -> f64 {
        self.role().time(log_snr)
    }
    fn density(&self, log_snr: LogSnr) -> f64 {
        self.role().density(log_snr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schedules() -> Vec<Schedule> {
        let range = LogSnrRange::new(9.0, -6.0).unwrap();
        vec![
            Schedule::linear(9.0, -6.0).unwrap(),
            Schedule::cosine(9.0, -6.0).unwrap(),
            Schedule::Monotone(Monotone::new(range, vec![0.3, -2.0, 4.0, 1.0, -6.0]).unwrap()),
        ]
    }

    #[test]
    fn end_points_are_exact() {
        for schedule in schedules() {
            assert_eq!(schedule.log_snr(0.0).value(), 9.0, "{schedule:?}");
            assert_eq!(schedule.log_snr(1.0).value(), -6.0, "{schedule:?}");
        }
    }

    #[test]
    fn a_schedule_survives_its_own_json() {
        for schedule in schedules() {
            let json = serde_json::to_string(&schedule).unwrap();
            assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), schedule, "{json}");
        }
    }

    #[test]
    fn increments_without_a_share_are_refused() {
        let range = LogSnrRange::new(9.0, -6.0).unwrap();
        for increments in [vec![], vec![f64::NAN], vec![f64::INFINITY, 1.0], vec![1.0, -50.0, 1.0]]
        {
            let error = Monotone::new(range, increments).unwrap_err();
            assert!(matches!(error, Error::ScheduleIncrements { .. }), "{error}");
        }
        assert!(Monotone::new(range, vec![1.0, -30.0]).is_ok());
    }

    #[test]
    fn unknown_fields_are_named() {
        let error = serde_json::from_str::<Schedule>(
            r#"{"kind": "linear", "log_snr_max": 7, "log_snr_min": -4, "logsnr": 1}"#,
        );
        assert!(error.unwrap_err().to_string().contains("logsnr"));
    }

    #[test]
    fn densities_integrate_to_one() {
        for schedule in schedules() {
            // Midpoint rule over λ: a cell that straddles a jump of the piecewise density, about 36
            // high here, errs by up to 36·15/n = 2.7e-3.
            let n = 200_000;
            let mass: f64 = (0..n)
                .map(|i| -6.0 + 15.0 * (f64::from(i) + 0.5) / f64::from(n))
                .map(|l| schedule.density(LogSnr::new(l)) * 15.0 / f64::from(n))
                .sum();
            assert!((mass - 1.0).abs() < 5e-3, "{schedule:?}: {mass}");
        }
    }

    proptest! {
        #[test]
        fn time_inverts_log_snr(t in 0.001..0.999_f64) {
            for schedule in schedules() {
                let again = schedule.time(schedule.log_snr(t));
                prop_assert!((again - t).abs() < 1e-9, "{schedule:?} {t} {again}");
            }
        }

        #[test]
        fn slope_is_the_derivative_and_negative(t in 0.01..0.99_f64) {
            for schedule in schedules() {
                let h = 1e-6;
                let numeric =
                    (schedule.log_snr(t + h).value() - schedule.log_snr(t - h).value()) / (2.0 * h);
                let exact = schedule.slope(t);
                let knot = matches!(schedule, Schedule::Monotone(_)) && ((t * 5.0).round() - t * 5.0).abs() < 1e-4;
                prop_assert!(exact < 0.0);
                prop_assert!(knot || (numeric / exact - 1.0).abs() < 1e-4,
                             "{schedule:?} {t} {numeric} {exact}");
            }
        }
    }
}
