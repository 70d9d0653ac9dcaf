//! Schedules with parameters: what it takes to learn one.
//!
//! A schedule `λ_t(η)` moves with its parameters `η` in two ways: an item whose time `t` is drawn once
//! sees another level and another slope. For a function of both, such as an item's loss,
//!
//! ```text
//! df/dη = ∂f/∂λ_t · ∂λ_t/∂η + ∂f/∂(dλ/dt) · ∂(dλ/dt)/∂η        at fixed t
//! ```
//!
//! The two derivatives of `f` are [`Partials`], those of the schedule are [`Parametric`]'s. What to
//! follow with them: the ends go down the bound itself, `∂L`; the interior does not change the bound
//! (monograph §2.3.3) and goes down its estimator's variance, `∂L²` (VDM, appendix I).

use std::iter;

use serde::{Deserialize, Serialize};

use super::{Linear, LogSnrRange, Monotone, MonotoneNetwork, NoiseSchedule, Schedule};
use crate::Error;

/// The parameters of a schedule, or one number for each of them: a gradient, a moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// For `λ` at `t = 0` and at `t = 1`.
    pub ends: [f64; 2],
    /// For what lies between; unconstrained numbers.
    pub interior: Vec<f64>,
}

impl Parameters {
    /// Zeros for as many parameters.
    #[must_use]
    pub fn zeros_like(&self) -> Self {
        Self { ends: [0.0; 2], interior: vec![0.0; self.interior.len()] }
    }

    /// Adds what a function moves by with the ends of `λ = λ_max − (λ_max − λ_min) c(t)`, where `c` and
    /// `dc/dt` are the share of the fall that is done and its speed.
    fn add_ends(&mut self, by: &Partials, [done, speed]: [f64; 2]) {
        self.ends[0] += by.by_log_snr * (1.0 - done) - by.by_slope * speed;
        self.ends[1] += by.by_log_snr * done + by.by_slope * speed;
    }

    /// Each number, the ends first.
    pub fn iter(&self) -> impl Iterator<Item = &f64> {
        self.ends.iter().chain(&self.interior)
    }

    /// Each number, to change it.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut f64> {
        self.ends.iter_mut().chain(&mut self.interior)
    }
}

/// What a function of a time's level and slope changes by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Partials {
    /// The time, which stays.
    pub t: f64,
    /// `∂f/∂λ_t`, per nat of log-SNR.
    pub by_log_snr: f64,
    /// `∂f/∂(dλ/dt)`.
    pub by_slope: f64,
}

impl Partials {
    /// Those of an item's loss, `L = ½ w(λ_t)(−dλ/dt) h(λ_t)` with `h = ‖ε − ε̂‖²`, from its value, in
    /// nats, the slope `dλ/dt` and `∂L/∂λ_t`.
    #[must_use]
    pub fn of_loss(t: f64, loss: f64, slope: f64, by_log_snr: f64) -> Self {
        Self { t, by_log_snr, by_slope: loss / slope }
    }

    /// Those of `L²` from those of `L`. The mean of `L²` is the estimator's variance but for the
    /// squared bound, which the interior of a schedule does not change.
    #[must_use]
    pub fn squared(self, loss: f64) -> Self {
        let by = 2.0 * loss;
        Self { by_log_snr: by * self.by_log_snr, by_slope: by * self.by_slope, ..self }
    }
}

/// A schedule that can be learned.
///
/// ```
/// use vdm_core::schedule::{Partials, Schedule};
/// let schedule = Schedule::linear(6.0, -2.0)?;
/// let parametric = schedule.parametric().unwrap();
/// // λ_t itself, a quarter of the way from data to noise.
/// let gradient = parametric.gradient(&[Partials { t: 0.25, by_log_snr: 1.0, by_slope: 0.0 }]);
/// assert_eq!(gradient.ends, [0.75, 0.25]);
/// # Ok::<(), vdm_core::Error>(())
/// ```
pub trait Parametric: NoiseSchedule {
    /// `η` as it is.
    fn parameters(&self) -> Parameters;

    /// The same schedule with other parameters, as many.
    ///
    /// # Errors
    /// [`Error::ScheduleRange`] unless the ends are finite and in order, or what else the schedule's
    /// constructor refuses.
    fn with(&self, parameters: Parameters) -> Result<Schedule, Error>;

    /// `Σ df/dη` over functions of single times.
    fn gradient(&self, partials: &[Partials]) -> Parameters;
}

impl Schedule {
    /// Itself, if it has parameters that can be learned: `linear`, `monotone` and `monotone_network`
    /// do.
    #[must_use]
    pub fn parametric(&self) -> Option<&dyn Parametric> {
        match self {
            Self::Linear(linear) => Some(linear),
            Self::Monotone(monotone) => Some(monotone),
            Self::MonotoneNetwork(network) => Some(network),
            _ => None,
        }
    }
}

impl Parametric for Linear {
    fn parameters(&self) -> Parameters {
        let range = self.range();
        Parameters { ends: [range.max(), range.min()], interior: vec![] }
    }

    fn with(&self, Parameters { ends: [max, min], .. }: Parameters) -> Result<Schedule, Error> {
        Schedule::linear(max, min)
    }

    fn gradient(&self, partials: &[Partials]) -> Parameters {
        let mut sum = self.parameters().zeros_like();
        partials.iter().for_each(|by| sum.add_ends(by, [by.t, 1.0]));
        sum
    }
}

impl Parametric for Monotone {
    fn parameters(&self) -> Parameters {
        let range = self.range();
        Parameters { ends: [range.max(), range.min()], interior: self.increments().to_vec() }
    }

    fn with(
        &self,
        Parameters { ends: [max, min], interior }: Parameters,
    ) -> Result<Schedule, Error> {
        Ok(Schedule::Monotone(Self::new(LogSnrRange::new(max, min)?, interior)?))
    }

    /// With amounts `aⱼ = softplus(wⱼ)`, their sum `S`, the fall `F` and the share `c` of it that is
    /// done a part `s` into interval `i` of `n`:
    ///
    /// ```text
    /// λ = λ_max − cF          c = (Σ_{j<i} aⱼ + s·aᵢ)/S       ∂c/∂aⱼ = ([j < i] + s·[j = i] − c)/S
    /// dλ/dt = −F·dc/dt    dc/dt = n·aᵢ/S                  ∂(dc/dt)/∂aⱼ = (n·[j = i] − dc/dt)/S
    /// ```
    fn gradient(&self, partials: &[Partials]) -> Parameters {
        let amounts: Vec<f64> = self.amounts().collect();
        let (n, total) = (amounts.len() as f64, amounts.iter().sum::<f64>());
        let before: Vec<f64> = iter::once(0.0)
            .chain(amounts.iter().scan(0.0, |done, amount| {
                *done += amount;
                Some(*done)
            }))
            .collect();
        let fall = self.range().max() - self.range().min();
        let mut sum = self.parameters().zeros_like();
        for by @ Partials { t, by_log_snr, by_slope } in partials {
            let (i, s) = self.interval(*t);
            let done = (before[i] + s * amounts[i]) / total;
            let speed = n * amounts[i] / total;
            sum.add_ends(by, [done, speed]);
            let (on_done, on_speed) = (-fall * by_log_snr / total, -fall * by_slope / total);
            for (j, sum) in sum.interior.iter_mut().enumerate() {
                let (earlier, here) = (f64::from(j < i), f64::from(j == i));
                *sum += on_done * (earlier + s * here - done) + on_speed * (n * here - speed);
            }
        }
        for (sum, increment) in sum.interior.iter_mut().zip(self.increments()) {
            // The derivative of softplus.
            *sum *= crate::Real::sigmoid(increment);
        }
        sum
    }
}

impl Parametric for MonotoneNetwork {
    fn parameters(&self) -> Parameters {
        let range = self.range();
        Parameters { ends: [range.max(), range.min()], interior: self.weights().to_vec() }
    }

    fn with(
        &self,
        Parameters { ends: [max, min], interior }: Parameters,
    ) -> Result<Schedule, Error> {
        let weights = self.weights().with(&interior)?;
        Ok(Schedule::MonotoneNetwork(Self::new(LogSnrRange::new(max, min)?, weights)?))
    }

    /// `λ = λ_max − F c`, `F` the fall: the weights move it by what they move `c` by.
    fn gradient(&self, partials: &[Partials]) -> Parameters {
        let fall = self.range().max() - self.range().min();
        let mut sum = self.parameters().zeros_like();
        let shares = self.shares(partials.iter().map(|partials| partials.t));
        for (by, (share, moves)) in partials.iter().zip(shares) {
            let Partials { by_log_snr, by_slope, .. } = by;
            sum.add_ends(by, share);
            for (sum, [of_done, of_speed]) in sum.interior.iter_mut().zip(moves) {
                *sum -= fall * (by_log_snr * of_done + by_slope * of_speed);
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::MonotoneWeights;
    use crate::{Dual, Real, Scalar};
    use proptest::prelude::*;

    const INCREMENTS: [f64; 5] = [0.3, -2.0, 4.0, 1.0, -6.0];

    fn monotone() -> Schedule {
        let range = LogSnrRange::new(9.0, -6.0).unwrap();
        Schedule::Monotone(Monotone::new(range, INCREMENTS.to_vec()).unwrap())
    }

    fn network() -> Schedule {
        let weights = MonotoneWeights {
            slope: -0.7,
            hidden: vec![3.0, -8.0, 0.5],
            hidden_bias: vec![1.0, -3.0, 0.2],
            output: vec![0.9, 2.0, -1.5],
        };
        let range = LogSnrRange::new(9.0, -6.0).unwrap();
        Schedule::MonotoneNetwork(MonotoneNetwork::new(range, weights).unwrap())
    }

    /// A function of level and slope that is linear in neither.
    fn f(level: f64, slope: f64) -> f64 {
        (0.3 * level).sin() * slope + level * level
    }

    fn gradient(schedule: &Schedule, t: f64) -> Parameters {
        let (level, slope) = (schedule.log_snr(t).value(), schedule.slope(t));
        let by_log_snr = 0.3 * (0.3 * level).cos() * slope + 2.0 * level;
        let partials = Partials { t, by_log_snr, by_slope: (0.3 * level).sin() };
        schedule.parametric().unwrap().gradient(&[partials])
    }

    proptest! {
        /// Central differences with steps of 1e-5 err by 1e-10 of third derivatives and by 1e-10 of
        /// rounding, both times values up to some hundreds.
        #[test]
        fn gradients_are_slopes_at_a_fixed_time(t in 0.0..1.0_f64) {
            for schedule in [Schedule::linear(9.0, -6.0).unwrap(), monotone(), network()] {
                let parameters = schedule.parametric().unwrap().parameters();
                let at = |i: usize, step: f64| {
                    let mut moved = parameters.clone();
                    *moved.iter_mut().nth(i).unwrap() += step;
                    let moved = schedule.parametric().unwrap().with(moved).unwrap();
                    f(moved.log_snr(t).value(), moved.slope(t))
                };
                for (i, exact) in gradient(&schedule, t).iter().enumerate() {
                    let numeric = (at(i, 1e-5) - at(i, -1e-5)) / 2e-5;
                    prop_assert!((numeric - exact).abs() < 1e-6 * (1.0 + exact.abs()),
                                 "{schedule:?}, parameter {i}: {numeric}, not {exact}");
                }
            }
        }
    }

    /// The formula of the level over dual increments, one of them the variable at a time.
    #[test]
    fn gradients_of_increments_are_those_of_dual_numbers() {
        let schedule = monotone();
        for (i, s) in [(0, 0.0), (2, 0.7), (3, 0.2), (4, 0.999)] {
            let t = (f64::from(i) + s) / 5.0;
            let level = Partials { t, by_log_snr: 1.0, by_slope: 0.0 };
            let slope = Partials { t, by_log_snr: 0.0, by_slope: 1.0 };
            for j in 0..5 {
                let amounts: Vec<Dual> = (0..5)
                    .map(|k| {
                        Dual { value: INCREMENTS[k], derivative: f64::from(k == j) }.softplus()
                    })
                    .collect();
                let zero = Dual::constant(0.0);
                let total = amounts.iter().fold(zero, |sum, a| sum + *a);
                let before = amounts[..i as usize].iter().fold(zero, |sum, a| sum + *a);
                let here = amounts[i as usize];
                let fall = |share: Dual| -(share.lift(15.0) * share);
                for (partials, wanted) in [
                    (level, fall((before + here * zero.lift(s)) / total)),
                    (slope, fall(here.lift(5.0) * here / total)),
                ] {
                    let found = schedule.parametric().unwrap().gradient(&[partials]).interior[j];
                    let off = (found - wanted.derivative).abs();
                    assert!(off < 1e-12, "t = {t}, increment {j}: {found}, not {wanted:?}");
                }
            }
        }
    }

    #[test]
    fn only_schedules_with_parameters_can_be_learned() {
        for schedule in [Schedule::linear(9.0, -6.0).unwrap(), monotone(), network()] {
            let parametric = schedule.parametric().unwrap();
            assert_eq!(parametric.with(parametric.parameters()).unwrap(), schedule);
            let crossed = Parameters { ends: [-6.0, 9.0], ..parametric.parameters() };
            assert!(parametric.with(crossed).unwrap_err().to_string().contains("log_snr_min = 9"));
        }
        let too_few = Parameters { ends: [9.0, -6.0], interior: vec![1.0; 9] };
        let error = network().parametric().unwrap().with(too_few).unwrap_err().to_string();
        assert!(error.contains("number of weights = 9: use that of its network"), "{error}");
        assert!(Schedule::cosine(9.0, -6.0).unwrap().parametric().is_none());
    }
}
