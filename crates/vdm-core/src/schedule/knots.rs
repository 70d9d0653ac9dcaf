//! Piecewise linear curves: what learned, adaptive and tabulated schedules have in common.

use super::{LogSnrRange, Time};
use crate::Scalar;

/// Straight lines through `(tᵢ, λᵢ)`, with `t` rising from 0 to 1 and `λ` falling.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Knots {
    times: Vec<f64>,
    log_snrs: Vec<f64>,
}

impl Knots {
    /// `None` unless there are two knots at least and both columns are strictly monotone.
    pub(super) fn new(times: Vec<f64>, log_snrs: Vec<f64>) -> Option<Self> {
        let rising = times.windows(2).all(|pair| pair[0] < pair[1]);
        let falling = log_snrs.windows(2).all(|pair| pair[0] > pair[1]);
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

    pub(super) fn log_snr<C: Scalar>(&self, t: C) -> C {
        let i = segment(self.times.partition_point(|knot| *knot <= t.value()), self.times.len());
        interpolate(t, &self.times[i..], &self.log_snrs[i..])
    }

    pub(super) fn time<C: Scalar>(&self, log_snr: C) -> Time<C> {
        let above = self.log_snrs.partition_point(|knot| *knot >= log_snr.value());
        let i = segment(above, self.times.len());
        Time::early(interpolate(log_snr, &self.log_snrs[i..], &self.times[i..]))
    }
}

/// The segment that ends at knot `next`, for arguments within and beyond the ends.
fn segment(next: usize, knots: usize) -> usize {
    next.clamp(1, knots - 1) - 1
}

/// `y` at `x` on the line through the first two points; exact at both of them, and `y₀` where the
/// line falls to infinity beyond it.
fn interpolate<C: Scalar>(x: C, xs: &[f64], ys: &[f64]) -> C {
    let share = (x - x.lift(xs[0])) / x.lift(xs[1] - xs[0]);
    if share.value() == 0.0 && ys[1].is_infinite() {
        return x.lift(ys[0]);
    }
    x.lift(ys[0]) * (x.lift(1.0) - share) + x.lift(ys[1]) * share
}
