//! What a schedule must be in double precision, whatever its numbers are.

use std::cmp::Ordering;

use super::{Curve, LogSnrRange, NoiseSchedule, Time};
use crate::{Error, LogSnr};

/// Equal parts of the interval, at whose inner ends a schedule is looked at.
const PARTS: u32 = 32;
/// How near to the ends it is looked at too. So near that a curve may be flat by its formula (a power of
/// time) it must not rise.
const NEAR: f64 = 1e-3;
const NEXT_TO: [f64; 2] = [1e-9, 1e-6];
/// The least fall between two places, in units of the larger level: some roundings.
const LEAST_FALL: f64 = 4.0 * f64::EPSILON;
/// How far the time of a level may be from the time whose level it is. More is lost where a formula
/// subtracts numbers that its parameters make equal in nearly all digits.
const SAME_TIME: f64 = 1e-9;

/// The curve, if it falls strictly from its first end to its last, with finite levels, slopes and densities
/// between them and times in `[0, 1]`.
///
/// Which parameters a formula survives in double precision is no simple region, so the curve itself
/// is looked at, where the constructor of every formula ends. Lines between knots are sound by their knots.
///
/// # Errors
/// [`Error::ScheduleShape`] with the first thing that is not so.
pub(super) fn sound<F: Curve>(curve: F) -> Result<F, Error> {
    match fault(&curve) {
        None => Ok(curve),
        Some(Fault { what, value, t }) => {
            let mut schedule = format!("{curve:?}");
            if schedule.len() > LONGEST {
                schedule = schedule.chars().take(LONGEST).chain("…".chars()).collect();
            }
            Err(Error::ScheduleShape { what, value, t, schedule })
        }
    }
}

/// Characters of a schedule in a message: a table's entries are not all told.
const LONGEST: usize = 300;

struct Fault {
    what: &'static str,
    value: f64,
    t: f64,
}

/// The places, from data to noise.
fn places() -> impl Iterator<Item = Time> {
    let inner = (1..PARTS).map(|i| f64::from(i) / f64::from(PARTS));
    let inner = inner.map(|t| if t < 0.5 { Time::early(t) } else { Time::late(1.0 - t) });
    [Time::early(NEAR)].into_iter().chain(inner).chain([Time::late(NEAR)])
}

fn fault<F: Curve>(curve: &F) -> Option<Fault> {
    let range = curve.ends();
    if let Some(fault) = fault_at_ends(curve, range).or_else(|| rise_at_ends(curve, range)) {
        return Some(fault);
    }
    let mut before = range.max();
    for at in places() {
        let level = curve.at(&at);
        if let Some((what, value)) = fault_at(curve, &at, level, before) {
            return Some(Fault { what, value, t: at.t });
        }
        before = level;
    }
    let last = (!falls(before, range.min())).then_some(("log-SNR does not fall to", range.min()));
    last.map(|(what, value)| Fault { what, value, t: 1.0 })
}

/// An end may be infinite, and so may the slope there; neither is no number.
fn fault_at_ends<F: Curve>(curve: &F, range: LogSnrRange) -> Option<Fault> {
    if range.max().partial_cmp(&range.min()) != Some(Ordering::Greater) {
        let what = "log-SNR does not fall below that of the data, but ends at";
        return Some(Fault { what, value: range.min(), t: 1.0 });
    }
    [0.0, 1.0].into_iter().find_map(|t| {
        let slope = curve.slope(t);
        let legal = slope <= 0.0;
        (!legal).then_some(Fault { what: "the slope of log-SNR is", value: slope, t })
    })
}

fn rise_at_ends<F: Curve>(curve: &F, range: LogSnrRange) -> Option<Fault> {
    let what = "log-SNR does not lie between its ends, but is";
    NEXT_TO.into_iter().find_map(|near| {
        [Time::early(near), Time::late(near)].into_iter().find_map(|at| {
            let value = curve.at(&at);
            let legal = (range.min()..=range.max()).contains(&value);
            (!legal).then_some(Fault { what, value, t: at.t })
        })
    })
}

fn fault_at<F: Curve>(
    curve: &F,
    at: &Time,
    level: f64,
    before: f64,
) -> Option<(&'static str, f64)> {
    if !level.is_finite() {
        return Some(("log-SNR is", level));
    }
    if !falls(before, level) {
        return Some(("log-SNR does not fall, but is", level));
    }
    let slope = curve.slope(at.t);
    if !(slope < 0.0 && slope.is_finite()) {
        return Some(("the slope of log-SNR is", slope));
    }
    let density = curve.density(LogSnr::new(level));
    if !(density > 0.0 && density.is_finite()) {
        return Some(("the density of levels is", density));
    }
    let found: Time = curve.inverse(&level);
    // Of the two numbers the smaller one has the digits.
    let off = if at.t < 0.5 { found.t - at.t } else { found.rest - at.rest };
    let legal = off.abs() <= SAME_TIME && (-SAME_TIME..=1.0 + SAME_TIME).contains(&found.t);
    (!legal).then_some(("the time found for its log-SNR is", found.t))
}

fn falls(from: f64, to: f64) -> bool {
    let infinite = from.is_infinite() || to.is_infinite();
    let least = if infinite { 0.0 } else { LEAST_FALL * from.abs().max(to.abs()) };
    from - to > least
}
