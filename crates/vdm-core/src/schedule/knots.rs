//! Piecewise linear curves: what learned, adaptive and tabulated schedules have in common.

use super::{LogSnrRange, Time};
use crate::Scalar;

/// Straight lines through `(tᵢ, λᵢ)`, with `t` rising from 0 to 1 and `λ` falling. If the last level is
/// `−∞`, which no line reaches, it is `e^{λ/2} = α/σ` that falls on a line, to 0.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Knots {
    times: Vec<f64>,
    log_snrs: Vec<f64>,
}

/// The least fall from knot to knot, in units of the larger level: thousands of roundings.
const LEAST_FALL: f64 = 1e-12;
/// The least time from knot to knot, over which any fall has a finite slope.
const LEAST_TIME: f64 = 1e-100;

impl Knots {
    /// `None` unless there are two knots at least, times rise by enough for a finite slope, and levels fall by enough for levels between two
    /// knots to fall too.
    pub(super) fn new(times: Vec<f64>, log_snrs: Vec<f64>) -> Option<Self> {
        let rising = times.windows(2).all(|pair| pair[1] - pair[0] > LEAST_TIME);
        let falls = |pair: &[f64]| {
            let size = pair.iter().map(|level| level.abs()).filter(|size| size.is_finite());
            pair[0].is_finite() && pair[0] - pair[1] > LEAST_FALL * size.fold(0.0, f64::max)
        };
        let falling = log_snrs.windows(2).all(falls);
        let enough = times.len() >= 2 && times.len() == log_snrs.len();
        (rising && falling && enough).then_some(Self { times, log_snrs })
    }

    /// The same with knots at equal distances of time.
    pub(super) fn uniform(log_snrs: Vec<f64>) -> Option<Self> {
        let last = log_snrs.len().max(2) - 1;
        Self::new((0..=last).map(|i| i as f64 / last as f64).collect(), log_snrs)
    }

    pub(super) fn log_snrs(&self) -> &[f64] {
        &self.log_snrs
    }

    pub(super) fn range(&self) -> LogSnrRange {
        LogSnrRange::ordered(self.log_snrs[0], self.log_snrs[self.log_snrs.len() - 1])
    }

    /// The segment of a time, and how far into it the time is, from 0 to 1.
    pub(super) fn interval(&self, t: f64) -> (usize, f64) {
        let i = self.segment_at(t);
        (i, (t - self.times[i]) / (self.times[i + 1] - self.times[i]))
    }

    fn segment_at(&self, t: f64) -> usize {
        segment(self.times.partition_point(|knot| *knot <= t), self.times.len())
    }

    pub(super) fn log_snr<C: Scalar>(&self, t: C) -> C {
        let i = self.segment_at(t.value());
        let (times, levels) = (&self.times[i..], &self.log_snrs[i..]);
        if levels[1].is_finite() {
            return interpolate(t, times, levels);
        }
        let left = (t.lift(times[1]) - t) / t.lift(times[1] - times[0]);
        t.lift(levels[0]) + t.lift(2.0) * left.ln()
    }

    /// The number of the knot at a level, counted from 0 and fractional between two; exact at every knot,
    /// and clamped beyond the ends.
    pub(super) fn index(&self, log_snr: f64) -> f64 {
        let i = segment(self.log_snrs.partition_point(|knot| *knot >= log_snr), self.times.len());
        let (from, to) = (self.log_snrs[i], self.log_snrs[i + 1]);
        let share = if to.is_finite() {
            (log_snr - from) / (to - from)
        } else {
            -(0.5 * (log_snr - from)).exp_m1()
        };
        i as f64 + share.clamp(0.0, 1.0)
    }

    pub(super) fn time<C: Scalar>(&self, log_snr: C) -> Time<C> {
        let above = self.log_snrs.partition_point(|knot| *knot >= log_snr.value());
        let i = segment(above, self.times.len());
        let (times, levels) = (&self.times[i..], &self.log_snrs[i..]);
        if levels[1].is_finite() {
            return Time::early(interpolate(log_snr, levels, times));
        }
        let left = (log_snr.lift(0.5) * (log_snr - log_snr.lift(levels[0]))).exp();
        Time::late(left.lift(times[1] - times[0]) * left)
    }
}

/// `Curve` for a schedule whose `knots` are all there is to it.
macro_rules! curve_of {
    ($schedule:ident) => {
        impl $crate::schedule::Curve for $schedule {
            fn ends(&self) -> $crate::schedule::LogSnrRange {
                self.knots.range()
            }
            fn at<C: $crate::Scalar>(&self, at: &$crate::schedule::Time<C>) -> C {
                self.knots.log_snr(at.t)
            }
            fn inverse<C: $crate::Scalar>(&self, log_snr: &C) -> $crate::schedule::Time<C> {
                self.knots.time(*log_snr)
            }
        }
    };
}
pub(super) use curve_of;

/// The segment that ends at knot `next`, for arguments within and beyond the ends.
fn segment(next: usize, knots: usize) -> usize {
    next.clamp(1, knots - 1) - 1
}

/// `y` at `x` on the line through the first two points; exact at both of them.
fn interpolate<C: Scalar>(x: C, xs: &[f64], ys: &[f64]) -> C {
    let share = (x - x.lift(xs[0])) / x.lift(xs[1] - xs[0]);
    x.lift(ys[0]) * (x.lift(1.0) - share) + x.lift(ys[1]) * share
}
