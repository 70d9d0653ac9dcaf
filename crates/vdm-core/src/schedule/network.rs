//! A monotone network of one hidden layer between two ends: the form VDM learns.
//!
//! ```text
//! g(t) = |w| t + (1/H) Σⱼ |oⱼ| tanh(½(|hⱼ|(2t − 1) + cⱼ))
//! λ(t) = λ_max − (λ_max − λ_min) c(t)         c(t) = (g(t) − g(0))/(g(1) − g(0))
//! ```
//!
//! Every summand of `g` rises with `t`, whatever the signs of the weights. Kingma et al. 2021,
//! appendix H: the ends are parameters of their own, so that the rest cannot move them. Their code
//! takes `γ = b + g` instead, with the ends that this has; that is the same family, and
//! [`MonotoneNetwork::with_bias`] reads it.

use serde::{Deserialize, Serialize};

use super::{Curve, LogSnrRange, Time, sound};
use crate::setting::{InvalidSetting, finite, positive, require};
use crate::{Dual, Error, Scalar};

/// A noise schedule that a small monotone network bends, smooth where
/// [`Monotone`](super::Monotone) has corners.
///
/// A level costs one pass over the hidden units, a time about five.
///
/// ```
/// use vdm_core::schedule::{LogSnrRange, MonotoneNetwork, MonotoneWeights};
/// use vdm_core::{LogSnr, NoiseSchedule};
/// let weights = MonotoneWeights {
///     slope: 12.0,
///     hidden: vec![4.0, -2.0],
///     hidden_bias: vec![0.5, -1.0],
///     output: vec![3.0, 1.5],
/// };
/// let schedule = MonotoneNetwork::new(LogSnrRange::new(9.0, -6.0)?, weights)?;
/// let t = schedule.time(LogSnr::new(1.0));
/// assert!((schedule.log_snr(t).value() - 1.0).abs() < 1e-13);
/// assert_eq!(schedule.log_snr(1.0).value(), -6.0);
/// # Ok::<(), vdm_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawMonotoneNetwork", into = "RawMonotoneNetwork")]
pub struct MonotoneNetwork {
    range: LogSnrRange,
    weights: MonotoneWeights,
    /// `g(0)`.
    start: f64,
    /// `g(1) − g(0)`.
    rise: f64,
}

/// The weights of a [`MonotoneNetwork`]. Of all but the biases only the size counts, and a factor
/// common to slope and output changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct MonotoneWeights {
    /// `w`.
    pub slope: f64,
    /// `hⱼ`, one per hidden unit; there may be none.
    pub hidden: Vec<f64>,
    /// `cⱼ`.
    pub hidden_bias: Vec<f64>,
    /// `oⱼ`.
    pub output: Vec<f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMonotoneNetwork {
    log_snr_max: f64,
    log_snr_min: f64,
    slope: f64,
    hidden: Vec<f64>,
    hidden_bias: Vec<f64>,
    output: Vec<f64>,
}

impl TryFrom<RawMonotoneNetwork> for MonotoneNetwork {
    type Error = Error;
    fn try_from(raw: RawMonotoneNetwork) -> Result<Self, Error> {
        let RawMonotoneNetwork { log_snr_max, log_snr_min, slope, hidden, hidden_bias, output } =
            raw;
        let weights = MonotoneWeights { slope, hidden, hidden_bias, output };
        Self::new(LogSnrRange::new(log_snr_max, log_snr_min)?, weights)
    }
}

impl From<MonotoneNetwork> for RawMonotoneNetwork {
    fn from(schedule: MonotoneNetwork) -> Self {
        let (log_snr_max, log_snr_min) = (schedule.range.max(), schedule.range.min());
        let MonotoneWeights { slope, hidden, hidden_bias, output } = schedule.weights;
        Self { log_snr_max, log_snr_min, slope, hidden, hidden_bias, output }
    }
}

impl MonotoneWeights {
    fn units(&self) -> impl Iterator<Item = (&f64, &f64, &f64)> {
        let inputs = self.hidden.iter().zip(&self.hidden_bias);
        inputs.zip(&self.output).map(|((hidden, bias), output)| (hidden, bias, output))
    }

    /// `H`, for the mean over hidden units.
    fn count(&self) -> f64 {
        self.hidden.len().max(1) as f64
    }

    /// `g`.
    fn at<C: Scalar>(&self, at: &Time<C>) -> C {
        let lift = |constant: f64| at.t.lift(constant);
        // 2t − 1, exact at both ends.
        let centered = at.t - at.rest;
        let rise = self.units().fold(lift(0.0), |sum, (hidden, bias, output)| {
            let input = lift(0.5 * hidden.abs()) * centered + lift(0.5 * bias);
            sum + lift(output.abs()) * input.tanh()
        });
        lift(self.slope.abs()) * at.t + rise / lift(self.count())
    }

    /// Every weight: slope, then hidden, their biases and outputs.
    pub(super) fn to_vec(&self) -> Vec<f64> {
        let Self { slope, hidden, hidden_bias, output } = self;
        [&[*slope][..], hidden, hidden_bias, output].concat()
    }

    /// As many units with other weights, in the order of [`to_vec`](Self::to_vec).
    ///
    /// # Errors
    /// [`InvalidSetting`] if there are not as many.
    pub(super) fn with(&self, weights: &[f64]) -> Result<Self, InvalidSetting> {
        let units = self.hidden.len();
        match weights {
            [slope, lists @ ..] if lists.len() == 3 * units => {
                let [hidden, hidden_bias, output] =
                    [0, 1, 2].map(|i| lists[i * units..(i + 1) * units].to_vec());
                Ok(Self { slope: *slope, hidden, hidden_bias, output })
            }
            _ => {
                let (field, remedy) = ("schedule's number of weights", "use that of its network");
                Err(InvalidSetting::new(field, weights.len(), remedy))
            }
        }
    }

    /// `∂g/∂η` and `∂g'/∂η` at a time, in the order of [`to_vec`](Self::to_vec).
    fn slopes(&self, t: f64) -> Vec<[f64; 2]> {
        let (units, share) = (self.hidden.len(), 1.0 / self.count());
        // u = ½(|h|(2t − 1) + c) moves by this with |h|.
        let lever = t - 0.5;
        let mut slopes = vec![[t, 1.0].map(|slope| slope * self.slope.signum()); 1 + 3 * units];
        for (j, (hidden, bias, output)) in self.units().enumerate() {
            let value = (hidden.abs() * lever + 0.5 * bias).tanh();
            // A unit's part of g' is |o| |h| (1 − T²)/H, and 1 − T² moves by −2T(1 − T²) with u.
            let by_input = share * (1.0 - value * value);
            let steep = by_input * hidden.abs();
            let [by_hidden, by_bias] = [hidden.signum() * output.abs(), output.abs()];
            slopes[1 + j] = [
                by_hidden * by_input * lever,
                by_hidden * (by_input - 2.0 * value * lever * steep),
            ];
            slopes[1 + units + j] = [by_bias * 0.5 * by_input, -by_bias * value * steep];
            slopes[1 + 2 * units + j] = [share * value, steep].map(|slope| output.signum() * slope);
        }
        slopes
    }
}

impl MonotoneNetwork {
    /// From finite ends and weights.
    ///
    /// # Errors
    /// [`Error::ScheduleRange`] if an end is infinite. [`Error::Setting`] if a weight is not finite,
    /// the three lists differ in length, or the network is flat; [`Error::ScheduleShape`] if it is flat somewhere.
    pub fn new(range: LogSnrRange, weights: MonotoneWeights) -> Result<Self, Error> {
        let range = range.finite()?;
        let MonotoneWeights { slope, hidden, hidden_bias, output } = &weights;
        finite("schedule.slope", *slope)?;
        let lists = [
            ("schedule.hidden", hidden),
            ("schedule.hidden_bias", hidden_bias),
            ("schedule.output", output),
        ];
        for (field, list) in lists {
            list.iter().try_for_each(|value| finite(field, *value))?;
        }
        for (field, list) in lists {
            let value = format_args!("{} numbers", list.len());
            require(list.len() == hidden.len(), field, value, "use as many as in hidden")?;
        }
        let [start, end] = [0.0, 1.0].map(|t| weights.at(&Time::new(t)));
        let rise: f64 = end - start;
        positive("rise of the schedule's network", rise)?;
        sound(Self { range, weights, start, rise })
    }

    /// `λ = −(b + g(t))`, as VDM's code has it: the ends are those the weights give.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_bias(bias: f64, weights: MonotoneWeights) -> Result<Self, Error> {
        let [max, min] = [0.0, 1.0].map(|t| -(bias + weights.at(&Time::new(t))));
        Self::new(LogSnrRange::new(max, min)?, weights)
    }

    /// The weights.
    #[must_use]
    pub fn weights(&self) -> &MonotoneWeights {
        &self.weights
    }

    /// At each of some times `c` and `dc/dt`, and what each weight moves them by, in the order of
    /// [`MonotoneWeights::to_vec`].
    pub(super) fn shares(
        &self,
        times: impl Iterator<Item = f64>,
    ) -> impl Iterator<Item = ([f64; 2], Vec<[f64; 2]>)> {
        let [start, end] = [0.0, 1.0].map(|t| self.weights.slopes(t));
        times.map(move |t| {
            let share = self.share(&Time::new(Dual::variable(t)));
            let (done, speed) = (share.value, share.derivative);
            let mut slopes = self.weights.slopes(t);
            for (slope, ([start, _], [end, _])) in slopes.iter_mut().zip(start.iter().zip(&end)) {
                let rise = end - start;
                let [by_g, by_speed] = *slope;
                *slope =
                    [by_g - start - done * rise, by_speed - speed * rise].map(|s| s / self.rise);
            }
            ([done, speed], slopes)
        })
    }

    /// `c`.
    fn share<C: Scalar>(&self, at: &Time<C>) -> C {
        (self.weights.at(at) - at.t.lift(self.start)) / at.t.lift(self.rise)
    }
}

impl Curve for MonotoneNetwork {
    fn ends(&self) -> LogSnrRange {
        self.range
    }
    fn at<C: Scalar>(&self, at: &Time<C>) -> C {
        let fall = at.t.lift(self.range.max() - self.range.min());
        at.t.lift(self.range.max()) - fall * self.share(at)
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
            slope: -5.0,
            hidden: vec![12.0, -3.0, 0.0, 40.0],
            hidden_bias: vec![6.0, -2.0, 1.0, -35.0],
            output: vec![-7.0, 9.0, 4.0, 5.0],
        }
    }

    /// `tanh(x/2) = 2σ(x) − 1`, term by term as VDM's code writes it.
    #[test]
    fn levels_are_those_of_the_published_network() {
        let schedule = MonotoneNetwork::with_bias(-8.0, weights()).unwrap();
        let MonotoneWeights { slope, hidden, hidden_bias, output } = weights();
        for t in [0.0, 0.1, 0.5, 0.77, 1.0_f64] {
            let units: f64 = (0..4)
                .map(|j| {
                    let input = hidden[j].abs() * 2.0 * (t - 0.5) + hidden_bias[j];
                    output[j].abs() * 2.0 * (f64::sigmoid(&input) - 0.5)
                })
                .sum();
            let gamma = -8.0 + slope.abs() * t + units / 4.0;
            assert!((schedule.log_snr(t).value() + gamma).abs() < 1e-13, "{t}");
        }
    }

    #[test]
    fn a_common_factor_of_the_weights_changes_nothing() {
        let range = LogSnrRange::new(7.0, -5.0).unwrap();
        let MonotoneWeights { slope, output, .. } = weights();
        let doubled = output.iter().map(|o| 2.0 * o).collect();
        let twice = MonotoneWeights { slope: 2.0 * slope, output: doubled, ..weights() };
        let [one, two] = [weights(), twice].map(|w| MonotoneNetwork::new(range, w).unwrap());
        for t in [0.0, 0.2, 0.9, 1.0] {
            assert!((one.log_snr(t).value() - two.log_snr(t).value()).abs() < 1e-14, "{t}");
        }
    }

    #[test]
    fn it_survives_its_own_json_and_bad_weights_are_named() {
        let range = LogSnrRange::new(8.0, -3.0).unwrap();
        let schedule = Schedule::MonotoneNetwork(MonotoneNetwork::new(range, weights()).unwrap());
        let json = serde_json::to_string(&schedule).unwrap();
        assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), schedule);

        let refused = |change: fn(&mut MonotoneWeights)| {
            let mut weights = weights();
            change(&mut weights);
            MonotoneNetwork::new(range, weights).unwrap_err().to_string()
        };
        assert!(refused(|w| w.output[2] = f64::NAN).contains("output = NaN: use a finite"));
        assert!(refused(|w| w.output.truncate(3)).contains("output = 3 numbers"));
        let flat = refused(|w| (w.slope, w.output) = (0.0, vec![0.0; 4]));
        assert!(flat.contains("rise of the schedule's network = 0"), "{flat}");
    }

    proptest! {
        /// The bound is the rounding of λ, some 1e-14, over the smallest slope, 5.
        #[test]
        fn time_inverts_log_snr_also_at_the_ends(exponent in -12.0..-0.31_f64, late: bool) {
            let schedule = MonotoneNetwork::with_bias(-8.0, weights()).unwrap();
            let distance = 10.0_f64.powf(exponent);
            let time = if late { Time::late(distance) } else { Time::early(distance) };
            let again = schedule.inverse(&schedule.at(&time));
            let got = if late { again.rest } else { again.t };
            prop_assert!((got - distance).abs() < 5e-15, "{got} for {distance}");
        }

        #[test]
        fn slope_and_density_are_derivatives(t in 0.01..0.99_f64) {
            let schedule = MonotoneNetwork::with_bias(-8.0, weights()).unwrap();
            let h = 1e-6;
            let rise = schedule.log_snr(t + h).value() - schedule.log_snr(t - h).value();
            let slope = schedule.slope(t);
            prop_assert!((rise / (2.0 * h) / slope - 1.0).abs() < 1e-6);
            let density = schedule.density(LogSnr::new(schedule.log_snr(t).value()));
            prop_assert!((-density * slope - 1.0).abs() < 1e-9, "{density} {slope}");
        }
    }
}
