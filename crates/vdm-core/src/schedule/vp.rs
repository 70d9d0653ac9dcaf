//! Schedules born as variance-preserving diffusions with a linear `β(t)`, a cosine `ᾱ(t)`, or a
//! sigmoid `ᾱ(t)`. Each is written in `λ`, where the cancellation of `1 − α²` does not arise.

use std::f64::consts::FRAC_PI_2;

use serde::{Deserialize, Serialize};

use super::{Curve, LogSnrRange, Time, sound};
use crate::setting::{positive, require};
use crate::{Error, Scalar};

/// `α² = e^{−B}` with `B(t) = β_min t + ½(β_max − β_min)t²`: the VP SDE of Song et al. 2021, the
/// limit of DDPM's linear table.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawVpLinear", into = "RawVpLinear")]
pub struct VpLinear {
    raw: RawVpLinear,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct RawVpLinear {
    beta_min: f64,
    beta_max: f64,
}

built_from!(VpLinear from RawVpLinear { beta_min, beta_max });

impl VpLinear {
    /// `β` at `t = 0` and at `t = 1`, per unit of time; the usual pair is 0.1 and 20.
    ///
    /// # Errors
    /// [`Error::Setting`] unless both are positive and finite, [`Error::ScheduleShape`] if double
    /// precision has no such schedule.
    pub fn new(beta_min: f64, beta_max: f64) -> Result<Self, Error> {
        let [min, max] = [("schedule.beta_min", beta_min), ("schedule.beta_max", beta_max)];
        positive(min.0, beta_min)?;
        positive(max.0, beta_max)?;
        // λ at t = 1, which is their mean below 0 where that is large.
        let legal = 0.5 * beta_min + 0.5 * beta_max <= LogSnrRange::LARGEST;
        let (field, larger) = if beta_min > beta_max { min } else { max };
        require(legal, field, larger, "use one whose mean with the other is at most 1400")?;
        sound(Self { raw: RawVpLinear { beta_min, beta_max } })
    }

    /// `B(t) = ∫₀ᵗ β`.
    fn integral<C: Scalar>(&self, t: C) -> C {
        let RawVpLinear { beta_min, beta_max } = self.raw;
        t * (t.lift(beta_min) + t.lift(0.5 * (beta_max - beta_min)) * t)
    }
}

impl Curve for VpLinear {
    fn ends(&self) -> LogSnrRange {
        LogSnrRange::ordered(f64::INFINITY, self.at(&Time::new(1.0)))
    }
    /// `−ln(e^B − 1)`.
    fn at<C: Scalar>(&self, at: &Time<C>) -> C {
        let b = self.integral(at.t);
        -b - (-(-b).exp_m1()).ln()
    }
    /// The root of `B(t) = softplus(−λ)` in the form without a difference.
    fn inverse<C: Scalar>(&self, log_snr: &C) -> Time<C> {
        let RawVpLinear { beta_min, beta_max } = self.raw;
        let b = (-*log_snr).softplus();
        let min = b.lift(beta_min);
        // β(t)², which rounding must not take below its least: there is no root of less than 0.
        let square = min * min + b.lift(2.0 * (beta_max - beta_min)) * b;
        let least = beta_min.min(beta_max).powi(2);
        let root = (square + b.lift((least - square.value()).max(0.0))).sqrt();
        Time::early(b.lift(2.0) * b / (min + root))
    }
}

/// `α² = f(t)/f(0)` with `f = cos²(π/2·(t + s)/(1 + s))`: the cosine schedule as Nichol and Dhariwal
/// 2021 published it, with its offset `s`, for continuous `t`.
///
/// With `θ` the angle, `e^{−λ} = cos²θ₀ (tan²θ − tan²θ₀)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawIddpm", into = "RawIddpm")]
pub struct IddpmCosine {
    raw: RawIddpm,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct RawIddpm {
    #[serde(default = "usual_offset")]
    offset: f64,
}

fn usual_offset() -> f64 {
    0.008
}

built_from!(IddpmCosine from RawIddpm { offset });

impl IddpmCosine {
    /// With the offset `s`, 0.008 in the paper.
    ///
    /// # Errors
    /// [`Error::Setting`] unless it is positive and finite; without an offset it is
    /// [`Cosine`](super::Cosine). [`Error::ScheduleShape`] if double precision has no such schedule.
    pub fn new(offset: f64) -> Result<Self, Error> {
        positive("schedule.offset", offset)?;
        sound(Self { raw: RawIddpm { offset } })
    }

    /// Radians per unit of `t`.
    fn speed(self) -> f64 {
        FRAC_PI_2 / (1.0 + self.raw.offset)
    }

    /// `θ₀`.
    fn start(self) -> f64 {
        self.speed() * self.raw.offset
    }
}

impl Curve for IddpmCosine {
    fn ends(&self) -> LogSnrRange {
        LogSnrRange::WHOLE
    }
    /// `2 ln cos θ − ln(sin(θ − θ₀) sin(θ + θ₀))`.
    fn at<C: Scalar>(&self, at: &Time<C>) -> C {
        let speed = at.t.lift(self.speed());
        let (turned, left) = (speed * at.t, speed * at.rest);
        let noise = turned.sin() * (turned + turned.lift(2.0 * self.start())).sin();
        let signal = left.sin();
        (signal * signal / noise).ln()
    }
    fn inverse<C: Scalar>(&self, log_snr: &C) -> Time<C> {
        let (start, speed) = (log_snr.lift(self.start()), log_snr.lift(self.speed()));
        let (tan_start, cos_start) = (start.tan(), start.cos());
        let excess = (-*log_snr).exp() / (cos_start * cos_start);
        let tan = (tan_start * tan_start + excess).sqrt();
        // tan(θ − θ₀) by the addition theorem.
        let turned =
            (excess / (tan + tan_start) / (tan.lift(1.0) + tan * tan_start)).atan() / speed;
        let left = (tan.lift(1.0) / tan).atan() / speed;
        Time { t: turned, rest: left }
    }
}

/// `α²` falls from 1 to 0 along a piece of a logistic curve (Jabri et al. 2023, Chen 2023):
/// `α² = (S(b) − S(u))/(S(b) − S(a))`, `S = sigmoid`, `a = start/τ`, `b = end/τ`, `u` from `a` to `b`.
///
/// In `λ` the differences are exact: `λ = c + ln((e^{a−u} − e^{a−b})/(1 − e^{a−u}))` with a constant
/// `c`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawSigmoid", into = "RawSigmoid")]
pub struct Sigmoid {
    raw: RawSigmoid,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct RawSigmoid {
    start: f64,
    end: f64,
    tau: f64,
}

built_from!(Sigmoid from RawSigmoid { start, end, tau });

impl Sigmoid {
    /// The piece of the curve and its temperature; −3, 3 and 1 are usual.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `start < end` are finite and `tau` is positive,
    /// [`Error::ScheduleShape`] if double precision has no such schedule.
    pub fn new(start: f64, end: f64, tau: f64) -> Result<Self, Error> {
        positive("schedule.end - start", end - start)?;
        positive("schedule.tau", tau)?;
        sound(Self { raw: RawSigmoid { start, end, tau } })
    }

    /// `b − a`.
    fn length(self) -> f64 {
        (self.raw.end - self.raw.start) / self.raw.tau
    }

    /// `c = ln(S(b)/S(a))`.
    fn offset(self) -> f64 {
        let (a, b) = (self.raw.start / self.raw.tau, self.raw.end / self.raw.tau);
        (-a).softplus() - (-b).softplus()
    }
}

impl Curve for Sigmoid {
    fn ends(&self) -> LogSnrRange {
        LogSnrRange::WHOLE
    }
    fn at<C: Scalar>(&self, at: &Time<C>) -> C {
        let length = at.t.lift(self.length());
        let (done, left) = (length * at.t, length * at.rest);
        let ratio = (-left).exp_m1() / (-done).exp_m1();
        done.lift(self.offset()) - done + ratio.ln()
    }
    /// With `y = 1 − e^{a−u}` of at most `Y = 1 − e^{a−b}`: `e^{λ−c} = (Y − y)/y`.
    fn inverse<C: Scalar>(&self, log_snr: &C) -> Time<C> {
        let length = log_snr.lift(self.length());
        let centered = *log_snr - log_snr.lift(self.offset());
        let whole = -(-length).exp_m1();
        let (y, missing) = (whole * (-centered).sigmoid(), whole * centered.sigmoid());
        let done = -(-y).ln_1p();
        let left = (missing * length.exp()).ln_1p();
        Time { t: done / length, rest: left / length }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::NoiseSchedule;

    /// Where noise stops coming in, times and densities of levels are numbers to the end.
    #[test]
    fn a_beta_that_falls_to_nothing_has_a_density_to_the_end() {
        let schedule = VpLinear::new(0.1, 1e-16).unwrap();
        for t in [0.5, 0.999, 1.0 - 1e-9, 1.0 - 1e-16] {
            let level = schedule.log_snr(t);
            assert!(schedule.density(level) > 0.0, "{t}: {}", schedule.density(level));
            assert!((schedule.time(level) - t).abs() < 1e-7, "{t}: {}", schedule.time(level));
        }
    }
}
