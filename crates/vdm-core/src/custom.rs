//! Schedules and weightings that a program brings, beside those that configurations can name.
//!
//! Both are written once, as a function of a level or a time, and everything else follows from dual numbers: of
//! a schedule its slope, density and distribution function, of a weighting where it rises
//! ([`Weighting::rises`]) and the distribution of noise that makes it a bound
//! ([`Augmentation`](crate::weighting::Augmentation)).
//!
//! In files they have a name and nothing else, so only the program that brings one can read it back.
//!
//! ```
//! use vdm_core::{LogSnr, Scalar, Schedule, Weighting};
//!
//! let schedule = Schedule::linear(10.0, -10.0)?;
//! // 1/(1 + SNR): the sigmoid weighting without a bias.
//! let mine = Weighting::custom("mine", |log_snr| -log_snr.softplus());
//! let sigmoid = Weighting::Sigmoid { bias: 0.0 };
//! let at = LogSnr::new(1.5);
//! assert_eq!(mine.at(at, &schedule), sigmoid.at(at, &schedule));
//! assert_eq!(mine.slope(at, &schedule), sigmoid.slope(at, &schedule));
//! # Ok::<(), vdm_core::Error>(())
//! ```

use std::fmt::{self, Debug};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::schedule::{Curve, LogSnrRange, Time};
use crate::setting::{InvalidSetting, require};
use crate::{Dual, Scalar, Schedule, Weighting};

/// `ln w(λ)` and its name.
#[derive(Clone)]
pub struct CustomWeighting {
    name: String,
    log_weight: Arc<dyn Fn(Dual) -> Dual + Send + Sync>,
}

/// A [`Curve`] and its name.
#[derive(Clone)]
pub struct CustomSchedule {
    name: String,
    curve: Arc<dyn DualCurve>,
}

impl Weighting {
    /// A weighting of your own: `ln w` as a function of `λ`, the same for all values of a dual number.
    #[must_use]
    pub fn custom(
        name: impl Into<String>,
        log_weight: impl Fn(Dual) -> Dual + Send + Sync + 'static,
    ) -> Self {
        Self::Custom(CustomWeighting { name: name.into(), log_weight: Arc::new(log_weight) })
    }
}

impl Schedule {
    /// A schedule of your own.
    #[must_use]
    pub fn custom(name: impl Into<String>, curve: impl Curve + Send + Sync + 'static) -> Self {
        Self::Custom(CustomSchedule { name: name.into(), curve: Arc::new(curve) })
    }
}

/// A function of one number over any scalar, from its value and slope there.
fn along<C: Scalar>(at: &C, dual: Dual) -> C {
    at.lift(dual.value) + at.lift(dual.derivative) * (*at - at.lift(at.value()))
}

impl CustomWeighting {
    pub(crate) fn log_weight<C: Scalar>(&self, log_snr: C) -> C {
        along(&log_snr, (self.log_weight)(Dual::variable(log_snr.value())))
    }

    /// Itself, if its weights are numbers at the levels in use.
    pub(crate) fn checked(self) -> Result<Self, InvalidSetting> {
        for level in (-30..=30).map(f64::from) {
            let Dual { value, derivative } = self.log_weight(Dual::variable(level));
            let legal = value.is_finite() && derivative.is_finite();
            let remedy = "use one whose log-weight and slope there are finite";
            require(legal, "custom weighting at log-SNR", level, remedy)?;
        }
        Ok(self)
    }
}

/// A [`Curve`] as an object: over dual numbers alone.
trait DualCurve: Send + Sync {
    fn ends(&self) -> LogSnrRange;
    fn at(&self, at: &Time<Dual>) -> Dual;
    fn inverse(&self, log_snr: &Dual) -> Time<Dual>;
}

impl<T: Curve + Send + Sync> DualCurve for T {
    fn ends(&self) -> LogSnrRange {
        Curve::ends(self)
    }
    fn at(&self, at: &Time<Dual>) -> Dual {
        Curve::at(self, at)
    }
    fn inverse(&self, log_snr: &Dual) -> Time<Dual> {
        Curve::inverse(self, log_snr)
    }
}

impl Curve for CustomSchedule {
    fn ends(&self) -> LogSnrRange {
        self.curve.ends()
    }

    fn at<C: Scalar>(&self, at: &Time<C>) -> C {
        let time = Time {
            t: Dual { value: at.t.value(), derivative: 1.0 },
            rest: Dual { value: at.rest.value(), derivative: -1.0 },
        };
        along(&at.t, self.curve.at(&time))
    }

    fn inverse<C: Scalar>(&self, log_snr: &C) -> Time<C> {
        let Time { t, rest } = self.curve.inverse(&Dual::variable(log_snr.value()));
        Time { t: along(log_snr, t), rest: along(log_snr, rest) }
    }
}

/// What both kinds have in files and comparisons: their name.
macro_rules! known_by_name {
    ($type:ident, $what:literal) => {
        impl Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type)).field("name", &self.name).finish_non_exhaustive()
            }
        }

        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                self.name == other.name
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Name { name: self.name.clone() }.serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let Name { name } = Name::deserialize(deserializer)?;
                Err(serde::de::Error::custom(format!(
                    concat!(
                        "\"{}\" is a ",
                        $what,
                        " of another program, of which a file has the name only: \
                         use that program, or a ",
                        $what,
                        " that configurations can name"
                    ),
                    name.escape_debug()
                )))
            }
        }
    };
}

known_by_name!(CustomWeighting, "weighting");
known_by_name!(CustomSchedule, "schedule");

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Name {
    name: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Cosine;
    use crate::weighting::Augmentation;
    use crate::{LogSnr, NoiseSchedule, Real};

    /// A schedule of the library brought as one's own is the same to the last bit.
    #[test]
    fn a_custom_schedule_has_the_numbers_of_its_curve() {
        let custom = Schedule::custom("cosine", Cosine::default());
        for t in [1e-9, 0.1, 0.5, 0.9] {
            assert_eq!(custom.log_snr(t), Cosine::default().log_snr(t));
            assert_eq!(custom.slope(t), Cosine::default().slope(t));
            assert_eq!(custom.quantile(t), Cosine::default().quantile(t));
        }
        for log_snr in [-12.0, 0.5, 7.0].map(LogSnr::new) {
            assert_eq!(custom.density(log_snr), Cosine::default().density(log_snr));
            assert_eq!(custom.cdf(log_snr), Cosine::default().cdf(log_snr));
        }
    }

    /// The same of a weighting: monotone where it falls, else with its rises; `p_w` comes along.
    #[test]
    fn a_custom_weighting_has_monotonicity_and_augmentation_for_nothing() {
        let schedule = Schedule::cosine(15.0, -15.0).unwrap();
        let range = schedule.range();
        let falls = Weighting::custom("falls", |log_snr| -(log_snr - log_snr.lift(2.0)).softplus());
        let same = Weighting::Sigmoid { bias: 2.0 };
        assert!(falls.rises(range, &schedule).unwrap().is_empty());
        let point_mass =
            |w: &Weighting| Augmentation::new(w.clone(), &schedule).unwrap().point_mass();
        assert_eq!(point_mass(&falls), point_mass(&same));
        let bump = Weighting::custom("bump", |log_snr| {
            let half = log_snr.lift(0.5) * (log_snr - log_snr.lift(1.0));
            -(half * half)
        });
        let rises = bump.rises(range, &schedule).unwrap();
        assert!(rises.len() == 1 && (rises[0].levels.max() - 1.0).abs() < 1e-9, "{rises:?}");
        let pole = Weighting::custom("pole", |log_snr| log_snr.lift(1.0) / log_snr);
        let error = pole.checked().unwrap_err().to_string();
        assert!(error.contains("custom weighting at log-SNR = 0: use one"), "{error}");
    }

    #[test]
    fn files_have_the_name_alone_and_say_so() {
        let schedule = Schedule::custom("mine", Cosine::default());
        let json = serde_json::to_string(&schedule).unwrap();
        assert_eq!(json, r#"{"kind":"custom","name":"mine"}"#);
        let error = serde_json::from_str::<Schedule>(&json).unwrap_err().to_string();
        assert!(error.contains("\"mine\" is a schedule of another program"), "{error}");
        let json = serde_json::to_string(&Weighting::custom("its", |log_snr| log_snr)).unwrap();
        let error = serde_json::from_str::<Weighting>(&json).unwrap_err().to_string();
        assert!(error.contains("\"its\" is a weighting of another program"), "{error}");
    }
}
