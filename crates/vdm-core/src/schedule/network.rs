//! The form VDM's code learns: a monotone network of one hidden layer.
//!
//! `γ(t) = b + |w| t + (1/H) Σⱼ |oⱼ| tanh(½(|hⱼ|(2t − 1) + cⱼ))` and `λ = −γ`. Every summand rises
//! with `t`, whatever the signs of the weights. Kingma et al. 2021, appendix H, as their code has it:
//! the end points are those the weights give. (The paper's text fixes them instead; since that is a
//! linear map of `γ`, it is the same family with `b`, `w` and `o` rescaled.)

use serde::{Deserialize, Serialize};

use super::{Curve, LogSnrRange, Time, finite};
use crate::{Dual, Error, Scalar};

/// A noise schedule learned as a monotone network, with its weights.
///
/// To learn a schedule here, [`Monotone`](super::Monotone) and
/// [`Histogram`](super::Histogram) are simpler; this one is for weights trained elsewhere. A level
/// costs one pass over the hidden units, a time about five.
///
/// ```
/// use vdm_core::schedule::{MonotoneNetwork, MonotoneWeights};
/// use vdm_core::{LogSnr, NoiseSchedule};
/// let schedule = MonotoneNetwork::new(MonotoneWeights {
///     bias: -9.0,
///     slope: 12.0,
///     hidden: vec![4.0, -2.0],
///     hidden_bias: vec![0.5, -1.0],
///     output: vec![3.0, 1.5],
/// })?;
/// let t = schedule.time(LogSnr::new(1.0));
/// assert!((schedule.log_snr(t).value() - 1.0).abs() < 1e-13);
/// # Ok::<(), vdm_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "MonotoneWeights", into = "MonotoneWeights")]
pub struct MonotoneNetwork {
    weights: MonotoneWeights,
    range: LogSnrRange,
}

/// The weights of a [`MonotoneNetwork`]; of all but the biases only the size counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MonotoneWeights {
    /// `b`.
    pub bias: f64,
    /// `w`.
    pub slope: f64,
    /// `hⱼ`, one per hidden unit; there may be none.
    pub hidden: Vec<f64>,
    /// `cⱼ`.
    pub hidden_bias: Vec<f64>,
    /// `oⱼ`.
    pub output: Vec<f64>,
}

impl TryFrom<MonotoneWeights> for MonotoneNetwork {
    type Error = Error;
    fn try_from(weights: MonotoneWeights) -> Result<Self, Error> {
        Self::new(weights)
    }
}

impl From<MonotoneNetwork> for MonotoneWeights {
    fn from(schedule: MonotoneNetwork) -> Self {
        schedule.weights
    }
}

impl MonotoneWeights {
    /// `λ` at a time.
    fn log_snr<C: Scalar>(&self, at: &Time<C>) -> C {
        let Self { bias, slope, hidden, hidden_bias, output } = self;
        // 2t − 1, exact at both ends.
        let centered = at.t - at.rest;
        let units = hidden.iter().zip(hidden_bias).zip(output);
        let rise = units.fold(at.t.lift(0.0), |sum, ((hidden, bias), output)| {
            let input = centered.lift(0.5 * hidden.abs()) * centered + centered.lift(0.5 * bias);
            sum + centered.lift(output.abs()) * input.tanh()
        });
        let gamma = at.t.lift(*bias) + at.t.lift(slope.abs()) * at.t;
        -(gamma + rise / at.t.lift(hidden.len().max(1) as f64))
    }
}

impl MonotoneNetwork {
    /// From weights.
    ///
    /// # Errors
    /// [`Error::Schedule`] if one is not finite or the three lists differ in length,
    /// [`Error::ScheduleRange`] if `λ` does not fall.
    pub fn new(weights: MonotoneWeights) -> Result<Self, Error> {
        let MonotoneWeights { bias, slope, hidden, hidden_bias, output } = &weights;
        finite("bias", *bias)?;
        finite("slope", *slope)?;
        for (name, list) in [("hidden", hidden), ("hidden_bias", hidden_bias), ("output", output)] {
            for value in list {
                finite(name, *value)?;
            }
        }
        for (field, list) in
            [("the length of hidden_bias", hidden_bias), ("the length of output", output)]
        {
            if list.len() != hidden.len() {
                let value = list.len() as f64;
                return Err(Error::Schedule { field, value, wanted: "that of hidden" });
            }
        }
        let end = |t| weights.log_snr(&Time::new(t));
        let range = LogSnrRange::new(end(0.0), end(1.0))?.finite()?;
        Ok(Self { weights, range })
    }

    /// The weights.
    #[must_use]
    pub fn weights(&self) -> &MonotoneWeights {
        &self.weights
    }
}

impl Curve for MonotoneNetwork {
    fn ends(&self) -> LogSnrRange {
        self.range
    }
    fn at<C: Scalar>(&self, at: &Time<C>) -> C {
        self.weights.log_snr(at)
    }
    /// Newton's method on the distance from the nearer end, so that neither end loses digits.
    fn inverse<C: Scalar>(&self, log_snr: &C) -> Time<C> {
        let early = log_snr.value() > self.at(&Time::new(0.5));
        if early {
            let from_data = |t: Dual| self.at(&Time::early(t));
            Time::early(root(from_data, log_snr))
        } else {
            let from_noise = |rest: Dual| self.at(&Time::late(rest));
            Time::late(root(from_noise, log_snr))
        }
    }
}

/// The `x` in `[0, ½]` at which a strictly monotone `f` takes a value, with its derivative.
///
/// Newton's method between bounds that close in. A step that would leave them, or is no shorter than
/// half the one before, is replaced by a bisection, so that every step at least halves.
fn root<C: Scalar>(f: impl Fn(Dual) -> Dual, value: &C) -> C {
    let rising = f(Dual::constant(0.5)).value > f(Dual::constant(0.0)).value;
    let (mut low, mut high) = (0.0_f64, 0.5_f64);
    let (mut x, mut step) = (0.25, 0.5_f64);
    loop {
        let at = f(Dual::variable(x));
        let missing = value.value() - at.value;
        if (missing > 0.0) == rising {
            low = x;
        } else {
            high = x;
        }
        let newton = x + missing / at.derivative;
        let taken = (low..=high).contains(&newton) && (newton - x).abs() < 0.5 * step;
        let next = if taken { newton } else { 0.5 * (low + high) };
        step = (next - x).abs();
        if step <= f64::EPSILON * x {
            break;
        }
        x = next;
    }
    // One more step moves the value by a rounding and carries the derivative.
    let at = f(Dual::variable(x));
    value.lift(x) + (*value - value.lift(at.value)) / value.lift(at.derivative)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LogSnr, NoiseSchedule, Real, Schedule};
    use proptest::prelude::*;

    fn weights() -> MonotoneWeights {
        MonotoneWeights {
            bias: -8.0,
            slope: -5.0,
            hidden: vec![12.0, -3.0, 0.0, 40.0],
            hidden_bias: vec![6.0, -2.0, 1.0, -35.0],
            output: vec![-7.0, 9.0, 4.0, 5.0],
        }
    }

    /// `tanh(x/2) = 2σ(x) − 1`, term by term as VDM's code writes it.
    #[test]
    fn levels_are_those_of_the_published_network() {
        let schedule = MonotoneNetwork::new(weights()).unwrap();
        let MonotoneWeights { bias, slope, hidden, hidden_bias, output } = weights();
        for t in [0.0, 0.1, 0.5, 0.77, 1.0_f64] {
            let units: f64 = (0..4)
                .map(|j| {
                    let input = hidden[j].abs() * 2.0 * (t - 0.5) + hidden_bias[j];
                    output[j].abs() * 2.0 * (f64::sigmoid(&input) - 0.5)
                })
                .sum();
            let gamma = bias + slope.abs() * t + units / 4.0;
            assert!((schedule.log_snr(t).value() + gamma).abs() < 1e-13, "{t}");
        }
    }

    #[test]
    fn it_survives_its_own_json_and_bad_weights_are_named() {
        let schedule = Schedule::MonotoneNetwork(MonotoneNetwork::new(weights()).unwrap());
        let json = serde_json::to_string(&schedule).unwrap();
        assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), schedule);

        let refused = |change: fn(&mut MonotoneWeights)| {
            let mut weights = weights();
            change(&mut weights);
            MonotoneNetwork::new(weights).unwrap_err().to_string()
        };
        assert!(refused(|w| w.output[2] = f64::NAN).contains("output to be finite, got NaN"));
        assert!(refused(|w| w.output.truncate(3)).contains("length of output"));
        let flat = refused(|w| (w.slope, w.output) = (0.0, vec![0.0; 4]));
        assert!(flat.contains("log_snr_max = 8"), "{flat}");
    }

    proptest! {
        /// The bound is the rounding of λ, some 1e-14, over the smallest slope, 5.
        #[test]
        fn time_inverts_log_snr_also_at_the_ends(exponent in -12.0..-0.31_f64, late: bool) {
            let schedule = MonotoneNetwork::new(weights()).unwrap();
            let distance = 10.0_f64.powf(exponent);
            let time = if late { Time::late(distance) } else { Time::early(distance) };
            let again = schedule.inverse(&schedule.at(&time));
            let got = if late { again.rest } else { again.t };
            prop_assert!((got - distance).abs() < 5e-15, "{got} for {distance}");
        }

        #[test]
        fn slope_and_density_are_derivatives(t in 0.01..0.99_f64) {
            let schedule = MonotoneNetwork::new(weights()).unwrap();
            let h = 1e-6;
            let rise = schedule.log_snr(t + h).value() - schedule.log_snr(t - h).value();
            let slope = schedule.slope(t);
            prop_assert!((rise / (2.0 * h) / slope - 1.0).abs() < 1e-6);
            let density = schedule.density(LogSnr::new(schedule.log_snr(t).value()));
            prop_assert!((-density * slope - 1.0).abs() < 1e-9, "{density} {slope}");
        }
    }
}
