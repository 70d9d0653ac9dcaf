//! Any closed-form schedule, or the part of it between two levels.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::{Curve, LogSnrRange, Time, sound};
use crate::{Error, Scalar};

/// The part of a schedule between two of its levels, stretched over `[0, 1]`, exact at both ends.
///
/// Truncation is what makes a bound finite under schedules that run from `+∞` to `−∞`. An infinite
/// end keeps the schedule's own: a range down to `−∞` is zero terminal SNR.
///
/// In a configuration the two ends stand beside the schedule's own fields, and may be left out:
///
/// ```
/// use vdm_core::{NoiseSchedule, Schedule};
/// let schedule: Schedule = serde_json::from_str(
///     r#"{"kind": "cosine", "shift": -2.77, "log_snr_max": 12.0}"#).unwrap();
/// assert_eq!(schedule.log_snr(0.0).value(), 12.0);
/// assert_eq!(schedule.log_snr(1.0).value(), f64::NEG_INFINITY);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawTruncated<F>", into = "RawTruncated<F>")]
#[serde(bound(
    serialize = "F: Curve + Clone + Serialize",
    deserialize = "F: Curve + DeserializeOwned"
))]
pub struct Truncated<F> {
    of: F,
    range: LogSnrRange,
    /// The times of the two ends under `of`.
    ends: [Time<f64>; 2],
}

#[derive(Serialize, Deserialize)]
struct RawTruncated<F> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log_snr_max: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log_snr_min: Option<f64>,
    #[serde(flatten)]
    of: F,
    /// Whatever nobody asked for; `deny_unknown_fields` does not go with `flatten`.
    #[serde(flatten, skip_serializing)]
    unknown: BTreeMap<String, IgnoredAny>,
}

impl<F: Curve> TryFrom<RawTruncated<F>> for Truncated<F> {
    type Error = Error;
    fn try_from(raw: RawTruncated<F>) -> Result<Self, Error> {
        if let Some(name) = raw.unknown.into_keys().next() {
            return Err(Error::ScheduleField { name });
        }
        let max = raw.log_snr_max.unwrap_or(f64::INFINITY);
        Self::new(raw.of, LogSnrRange::new(max, raw.log_snr_min.unwrap_or(f64::NEG_INFINITY))?)
    }
}

impl<F: Curve> From<Truncated<F>> for RawTruncated<F> {
    fn from(truncated: Truncated<F>) -> Self {
        let (whole, range) = (truncated.of.ends(), truncated.range);
        Self {
            log_snr_max: (range.max() < whole.max()).then_some(range.max()),
            log_snr_min: (range.min() > whole.min()).then_some(range.min()),
            of: truncated.of,
            unknown: BTreeMap::new(),
        }
    }
}

impl<F: Curve> Truncated<F> {
    /// The part of `of` within `range`; where that is infinite, up to the schedule's own end.
    ///
    /// # Errors
    /// [`Error::Truncation`] if a finite end lies beyond the schedule's own, [`Error::ScheduleShape`] if
    /// double precision has no such schedule.
    pub fn new(of: F, range: LogSnrRange) -> Result<Self, Error> {
        let whole = of.ends();
        let beyond = |end: f64| end.is_finite() && !(whole.min()..=whole.max()).contains(&end);
        if beyond(range.max()) || beyond(range.min()) {
            return Err(Error::Truncation {
                max: range.max(),
                min: range.min(),
                whole: (whole.max(), whole.min()),
            });
        }
        let range = LogSnrRange::new(range.max().min(whole.max()), range.min().max(whole.min()))?;
        let end =
            |level: f64, own: f64, t| if level == own { Time::new(t) } else { of.inverse(&level) };
        let ends = [end(range.max(), whole.max(), 0.0), end(range.min(), whole.min(), 1.0)];
        sound(Self { of, range, ends })
    }
}

impl<F: Curve> From<F> for Truncated<F> {
    /// All of the schedule.
    fn from(of: F) -> Self {
        Self { range: of.ends(), of, ends: [Time::new(0.0), Time::new(1.0)] }
    }
}

/// `b − a`, from whichever of `t` and `1 − t` tells the two apart better.
fn span<C: Scalar>(a: &Time<C>, b: &Time<C>) -> C {
    if b.t.value() < 0.5 { b.t - a.t } else { a.rest - b.rest }
}

impl<F: Curve> Curve for Truncated<F> {
    fn ends(&self) -> LogSnrRange {
        self.range
    }
    fn at<C: Scalar>(&self, at: &Time<C>) -> C {
        let blend = |first: f64, last: f64| at.t.lift(first) * at.rest + at.t.lift(last) * at.t;
        let [first, last] = &self.ends;
        self.of.at(&Time { t: blend(first.t, last.t), rest: blend(first.rest, last.rest) })
    }
    fn inverse<C: Scalar>(&self, log_snr: &C) -> Time<C> {
        let [first, last] =
            self.ends.map(|end| Time { t: log_snr.lift(end.t), rest: log_snr.lift(end.rest) });
        let inner = self.of.inverse(log_snr);
        let whole = span(&first, &last);
        Time { t: span(&first, &inner) / whole, rest: span(&inner, &last) / whole }
    }
}
