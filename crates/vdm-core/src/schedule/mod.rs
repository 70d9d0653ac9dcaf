//! Noise schedules: how log-SNR falls from data (`t = 0`) to noise (`t = 1`).
//!
//! The value of a diffusion bound depends on a schedule only through its end points
//! (monograph §2.3.3); its shape decides how often each noise level is visited,
//! `p(λ) = −dt/dλ`, hence the variance of every estimator.
//!
//! | name in a configuration | type | log-SNR |
//! |---|---|---|
//! | `linear` | [`Linear`] | linear in `t` (VDM; geometric VE) |
//! | `cosine` | [`Cosine`] | `−2 ln tan(πt/2) + shift` |
//! | `cosine_interpolated` | [`CosineInterpolated`] | the same, the shift moving with `t` |
//! | `vp_linear` | [`VpLinear`] | `−ln(e^{B(t)} − 1)`, `B' = β` linear in `t` |
//! | `iddpm_cosine` | [`IddpmCosine`] | `ᾱ` a squared cosine with an offset |
//! | `sigmoid` | [`Sigmoid`] | `ᾱ` a piece of a logistic curve |
//! | `normal` | [`Normal`] | `p(λ)` Gaussian (EDM training, logit-normal times) |
//! | `laplace` | [`Laplace`] | `p(λ)` Laplace |
//! | `straight_line` | [`StraightLine`] | `2 ln((1 − t)/t) + shift` (flow matching) |
//! | `karras` | [`Karras`] | `−2ρ ln` of a line in `t` (EDM's sampling grid) |
//! | `polyexponential` | [`Polyexponential`] | linear in `t^ρ` |
//! | `monotone` | [`Monotone`] | piecewise linear in `t`, learned |
//! | `monotone_network` | [`MonotoneNetwork`] | a monotone network between two ends, learned (VDM) |
//! | `histogram` | [`Histogram`] | `p(λ)` piecewise constant, adaptive |
//! | `discrete` | [`Discrete`] | a table for integer timesteps (DDPM, iDDPM) |
//!
//! Those that run to infinity, `karras` and `polyexponential` may be cut to a range: [`Truncated`].
//! Those that training can learn have parameters: [`Parametric`].
//! One of your own is written once as a [`Curve`] over any [`Scalar`], for [`Schedule::custom`]; slope and density
//! come from dual numbers.

/// The form a schedule has in a configuration, for one that keeps it in `raw`: read by `new`, with
/// its checks, and written as it was given.
macro_rules! built_from {
    ($schedule:ident from $raw:ident { $($field:ident),* }) => {
        impl TryFrom<$raw> for $schedule {
            type Error = Error;
            fn try_from($raw { $($field),* }: $raw) -> Result<Self, Error> {
                Self::new($($field),*)
            }
        }

        impl From<$schedule> for $raw {
            fn from(schedule: $schedule) -> Self {
                schedule.raw
            }
        }
    };
}

mod cosine;
mod density;
mod discrete;
mod histogram;
mod knots;
mod linear;
mod monotone;
mod network;
mod parametric;
mod sound;
mod truncated;
mod vp;

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

pub use cosine::{Cosine, CosineInterpolated};
pub use density::{Karras, Laplace, Normal, Polyexponential, StraightLine};
pub use discrete::{Betas, Discrete, Spacing};
pub use histogram::Histogram;
pub use linear::Linear;
pub use monotone::Monotone;
pub use network::{MonotoneNetwork, MonotoneWeights};
pub use parametric::{Parameters, Parametric, Partials};
pub use truncated::Truncated;
pub use vp::{IddpmCosine, Sigmoid, VpLinear};

use crate::custom::CustomSchedule;
use crate::setting::positive;
use crate::{Dual, Error, LogSnr, Scalar};
use sound::sound;

/// `f_λ: [0, 1] → [λ_min, λ_max]`, strictly decreasing. Object safe; learned schedules implement it
/// too. What a [`Curve`] implements follows from it.
pub trait NoiseSchedule: Debug {
    /// The end points, `λ` at `t = 1` and at `t = 0`.
    fn range(&self) -> LogSnrRange;

    /// `λ_t`; exact at both ends.
    fn log_snr(&self, t: f64) -> LogSnr;

    /// `dλ/dt < 0`, in nats per unit of time; −∞ at an end whose `λ` is infinite.
    fn slope(&self, t: f64) -> f64;

    /// The inverse: the time at which a level is reached, clamped to `[0, 1]`. Unless overridden it
    /// is found by bisection, to the last digit.
    fn time(&self, log_snr: LogSnr) -> f64 {
        if log_snr.value() >= self.range().max() {
            return 0.0;
        }
        bisect(0.0, 1.0, |t| self.log_snr(t).value() > log_snr.value())
    }

    /// `p(λ) = −dt/dλ`, the density of levels when `t` is uniform; 0 beyond the end points.
    fn density(&self, log_snr: LogSnr) -> f64 {
        if self.range().contains(log_snr) { -1.0 / self.slope(self.time(log_snr)) } else { 0.0 }
    }

    /// The distribution function of `p(λ)`: the share of time spent below a level, `1 − t(λ)`.
    fn cdf(&self, log_snr: LogSnr) -> f64 {
        1.0 - self.time(log_snr)
    }

    /// Its inverse: the level below which a share `u` of the time is spent, `λ_{1−u}`. Applied to
    /// uniform numbers it draws from `p(λ)`.
    fn quantile(&self, u: f64) -> LogSnr {
        self.log_snr(1.0 - u)
    }
}

/// A time with its complement, `t` and `1 − t`, so that neither end of the interval loses digits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Time<C = f64> {
    /// `t`, from data.
    pub t: C,
    /// `1 − t`, to noise.
    pub rest: C,
}

impl<C: Scalar> Time<C> {
    /// From `t` alone.
    #[must_use]
    pub fn new(t: C) -> Self {
        Self::early(t)
    }

    /// From a `t` that may be close to 0.
    #[must_use]
    pub fn early(t: C) -> Self {
        Self { t, rest: t.lift(1.0) - t }
    }

    /// From a `1 − t` that may be close to 0.
    #[must_use]
    pub fn late(rest: C) -> Self {
        Self { t: rest.lift(1.0) - rest, rest }
    }
}

/// A schedule written once, in both directions, over any [`Scalar`].
///
/// Implementing it gives [`NoiseSchedule`]: end points are pinned, and slope and density are
/// derivatives of these two functions by dual numbers.
///
/// ```
/// use vdm_core::schedule::{Curve, LogSnrRange, NoiseSchedule, Time};
/// use vdm_core::{LogSnr, Scalar};
///
/// /// λ = 9 − 12 t², which lingers near the data.
/// #[derive(Debug)]
/// struct Parabola;
/// impl Curve for Parabola {
///     fn ends(&self) -> LogSnrRange {
///         LogSnrRange::new(9.0, -3.0).unwrap()
///     }
///     fn at<C: Scalar>(&self, at: &Time<C>) -> C {
///         at.t.lift(9.0) - at.t.lift(12.0) * at.t * at.t
///     }
///     fn inverse<C: Scalar>(&self, log_snr: &C) -> Time<C> {
///         Time::new(((log_snr.lift(9.0) - *log_snr) / log_snr.lift(12.0)).sqrt())
///     }
/// }
/// assert_eq!(Parabola.slope(0.5), -12.0);
/// assert!((Parabola.density(LogSnr::new(6.0)) - 1.0 / 12.0).abs() < 1e-15);
/// ```
pub trait Curve: Debug {
    /// The end points.
    fn ends(&self) -> LogSnrRange;
    /// `λ` at a time in `(0, 1)`.
    fn at<C: Scalar>(&self, at: &Time<C>) -> C;
    /// The time of a level between the end points.
    fn inverse<C: Scalar>(&self, log_snr: &C) -> Time<C>;
}

impl<F: Curve> NoiseSchedule for F {
    fn range(&self) -> LogSnrRange {
        self.ends()
    }
    fn log_snr(&self, t: f64) -> LogSnr {
        pinned(self, &Time::early(t))
    }
    fn slope(&self, t: f64) -> f64 {
        let (t, range) = (t.clamp(0.0, 1.0), self.ends());
        // The product rule would find 0·∞ there.
        if (t == 0.0 && range.max().is_infinite()) || (t == 1.0 && range.min().is_infinite()) {
            return f64::NEG_INFINITY;
        }
        self.at(&Time::new(Dual::variable(t))).derivative
    }
    fn time(&self, log_snr: LogSnr) -> f64 {
        clamped(self, log_snr).t
    }
    fn density(&self, log_snr: LogSnr) -> f64 {
        if self.ends().contains(log_snr) && log_snr.value().is_finite() {
            -self.inverse(&Dual::variable(log_snr.value())).t.derivative
        } else {
            0.0
        }
    }
    fn cdf(&self, log_snr: LogSnr) -> f64 {
        clamped(self, log_snr).rest
    }
    fn quantile(&self, u: f64) -> LogSnr {
        pinned(self, &Time::late(u))
    }
}

/// The curve inside the interval and its end points at, or beyond, its ends.
fn pinned(curve: &impl Curve, at: &Time) -> LogSnr {
    let range = curve.ends();
    LogSnr::new(if at.t <= 0.0 {
        range.max()
    } else if at.rest <= 0.0 {
        range.min()
    } else {
        curve.at(at)
    })
}

/// The time of a level, 0 or 1 beyond the end points.
fn clamped(curve: &impl Curve, log_snr: LogSnr) -> Time {
    let range = curve.ends();
    if log_snr.value() >= range.max() {
        Time::early(0.0)
    } else if log_snr.value() <= range.min() {
        Time::late(0.0)
    } else {
        let Time { t, rest } = curve.inverse(&log_snr.value());
        Time { t: t.clamp(0.0, 1.0), rest: rest.clamp(0.0, 1.0) }
    }
}

/// The place between `low` and `high` up to which `before` holds, to the last digit.
pub(crate) fn bisect(mut low: f64, mut high: f64, before: impl Fn(f64) -> bool) -> f64 {
    loop {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            return high;
        }
        if before(middle) { low = middle } else { high = middle }
    }
}

/// The time of a level for a curve without a closed inverse, with its derivative `1/λ'(t)`.
fn solve<C: Scalar>(curve: &impl Curve, log_snr: &C) -> Time<C> {
    let t = bisect(0.0, 1.0, |t| curve.at(&Time::early(t)) > log_snr.value());
    let at = curve.at(&Time::new(Dual::variable(t)));
    // One step of Newton's method: it moves the value by a rounding and carries the derivative.
    let correction = (*log_snr - log_snr.lift(at.value)) / log_snr.lift(at.derivative);
    Time::early(correction.lift(t) + correction)
}

/// End points of a schedule, checked: `max` (data) above `min` (noise). Either may be infinite: no
/// noise at all, or zero terminal SNR.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawRange", into = "RawRange")]
pub struct LogSnrRange {
    max: f64,
    min: f64,
}

/// An end that is left out is infinite, which JSON has no number for.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRange {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log_snr_max: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log_snr_min: Option<f64>,
}

impl TryFrom<RawRange> for LogSnrRange {
    type Error = Error;
    fn try_from(raw: RawRange) -> Result<Self, Error> {
        Self::new(
            raw.log_snr_max.unwrap_or(f64::INFINITY),
            raw.log_snr_min.unwrap_or(f64::NEG_INFINITY),
        )
    }
}

impl From<LogSnrRange> for RawRange {
    fn from(range: LogSnrRange) -> Self {
        let finite = |end: f64| end.is_finite().then_some(end);
        Self { log_snr_max: finite(range.max), log_snr_min: finite(range.min) }
    }
}

impl LogSnrRange {
    /// Every level there is.
    pub const WHOLE: Self = Self { max: f64::INFINITY, min: f64::NEG_INFINITY };

    /// The largest log-SNR, of either sign, whose noise scale `σ/α = e^{−λ/2}` is a number.
    pub const LARGEST: f64 = 1400.0;

    /// # Errors
    /// [`Error::ScheduleRange`] unless `max > min`, each infinite or within
    /// ±[`LARGEST`](Self::LARGEST).
    pub fn new(max: f64, min: f64) -> Result<Self, Error> {
        let legal = |end: f64| end.is_infinite() || end.abs() <= Self::LARGEST;
        if max > min && legal(max) && legal(min) {
            Ok(Self { max, min })
        } else {
            Err(Error::ScheduleRange { max, min })
        }
    }

    /// Of ends known to be in order.
    fn ordered(max: f64, min: f64) -> Self {
        debug_assert!(max > min, "{max} > {min}");
        Self { max, min }
    }

    /// Itself, if both ends are finite.
    ///
    /// # Errors
    /// [`Error::ScheduleRange`] if one is not.
    pub fn finite(self) -> Result<Self, Error> {
        if self.max.is_finite() && self.min.is_finite() {
            Ok(self)
        } else {
            Err(Error::ScheduleRange { max: self.max, min: self.min })
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

    /// Where a level lies between noise (0) and data (1); outside of that beyond the end points.
    #[must_use]
    pub fn fraction(self, log_snr: f64) -> f64 {
        (log_snr - self.min) / (self.max - self.min)
    }

    /// Whether a level lies within, ends included.
    #[must_use]
    pub fn contains(self, log_snr: LogSnr) -> bool {
        (self.min..=self.max).contains(&log_snr.value())
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
    /// The cosine schedule.
    Cosine(Truncated<Cosine>),
    /// The cosine schedule with a shift that moves with `t`.
    CosineInterpolated(CosineInterpolated),
    /// The VP SDE with a linear `β`.
    VpLinear(Truncated<VpLinear>),
    /// The cosine schedule as iDDPM published it.
    IddpmCosine(Truncated<IddpmCosine>),
    /// The sigmoid schedule.
    Sigmoid(Truncated<Sigmoid>),
    /// Normally distributed levels.
    Normal(Truncated<Normal>),
    /// Laplace distributed levels.
    Laplace(Truncated<Laplace>),
    /// The straight line of flow matching.
    StraightLine(Truncated<StraightLine>),
    /// EDM's sampling grid.
    Karras(Truncated<Karras>),
    /// `λ` linear in a power of `t`.
    Polyexponential(Truncated<Polyexponential>),
    /// Piecewise linear with positive increments, the form learned schedules take.
    Monotone(Monotone),
    /// A monotone network, as VDM's code learns it.
    MonotoneNetwork(MonotoneNetwork),
    /// Piecewise constant density of levels, the form adaptive schedules take.
    Histogram(Histogram),
    /// A table for integer timesteps.
    Discrete(Discrete),
    /// One that a program brings: [`Schedule::custom`].
    Custom(CustomSchedule),
}

/// Runs an expression on whichever schedule it is.
macro_rules! dispatch {
    ($schedule:expr, $inner:ident => $body:expr) => {
        match $schedule {
            Schedule::Linear($inner) => $body,
            Schedule::Cosine($inner) => $body,
            Schedule::CosineInterpolated($inner) => $body,
            Schedule::VpLinear($inner) => $body,
            Schedule::IddpmCosine($inner) => $body,
            Schedule::Sigmoid($inner) => $body,
            Schedule::Normal($inner) => $body,
            Schedule::Laplace($inner) => $body,
            Schedule::StraightLine($inner) => $body,
            Schedule::Karras($inner) => $body,
            Schedule::Polyexponential($inner) => $body,
            Schedule::Monotone($inner) => $body,
            Schedule::MonotoneNetwork($inner) => $body,
            Schedule::Histogram($inner) => $body,
            Schedule::Discrete($inner) => $body,
            Schedule::Custom($inner) => $body,
        }
    };
}

impl Curve for Schedule {
    fn ends(&self) -> LogSnrRange {
        dispatch!(self, inner => inner.ends())
    }
    fn at<C: Scalar>(&self, at: &Time<C>) -> C {
        dispatch!(self, inner => inner.at(at))
    }
    fn inverse<C: Scalar>(&self, log_snr: &C) -> Time<C> {
        dispatch!(self, inner => inner.inverse(log_snr))
    }
}

impl Schedule {
    /// `λ` linear in `t`.
    ///
    /// # Errors
    /// [`Error::ScheduleRange`] unless `log_snr_max > log_snr_min`, both finite.
    pub fn linear(log_snr_max: f64, log_snr_min: f64) -> Result<Self, Error> {
        Ok(Self::Linear(Linear::new(LogSnrRange::new(log_snr_max, log_snr_min)?)?))
    }

    /// EDM noise scales in geometric sequence, `σ_t = σ_min (σ_max/σ_min)^t` (VE of Song et al. 2021).
    ///
    /// # Errors
    /// [`Error::Setting`] or [`Error::ScheduleRange`] unless `0 < sigma_min < sigma_max`.
    pub fn geometric(sigma_min: f64, sigma_max: f64) -> Result<Self, Error> {
        let level = |sigma| LogSnr::from_edm_sigma(sigma).value();
        positive("schedule.sigma_min", sigma_min)?;
        Self::linear(level(sigma_min), level(sigma_max))
    }

    /// The cosine schedule between two levels.
    ///
    /// # Errors
    /// [`Error::ScheduleRange`] unless `log_snr_max > log_snr_min`.
    pub fn cosine(log_snr_max: f64, log_snr_min: f64) -> Result<Self, Error> {
        let range = LogSnrRange::new(log_snr_max, log_snr_min)?;
        Ok(Self::Cosine(Truncated::new(Cosine::default(), range)?))
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

    /// A level that is infinitely far is reached at an infinite rate.
    #[test]
    fn slopes_at_infinite_ends_are_infinite() {
        for kind in ["cosine", "straight_line", "iddpm_cosine", "normal", "laplace", "vp_linear"] {
            let Ok(schedule) =
                serde_json::from_str::<Schedule>(&format!(r#"{{"kind": "{kind}"}}"#))
            else {
                continue;
            };
            let range = schedule.range();
            for (t, end) in [(0.0, range.max()), (1.0, range.min())] {
                let slope = schedule.slope(t);
                assert!(slope < 0.0, "{kind} at {t}: {slope}");
                assert_eq!(slope.is_infinite(), end.is_infinite(), "{kind} at {t}: {slope}");
            }
        }
    }

    #[test]
    fn increments_without_a_share_are_refused() {
        let range = LogSnrRange::new(9.0, -6.0).unwrap();
        for increments in [vec![], vec![f64::NAN], vec![f64::INFINITY, 1.0], vec![1.0, -50.0, 1.0]]
        {
            let error = Monotone::new(range, increments).unwrap_err();
            assert!(error.to_string().starts_with("schedule.increments = ["), "{error}");
        }
        assert!(Monotone::new(range, vec![1.0, -25.0]).is_ok());
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
