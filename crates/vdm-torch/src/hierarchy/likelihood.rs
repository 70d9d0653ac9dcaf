//! The distribution of data values given the latents.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use vdm_core::setting::require;

use crate::Error;

/// What the decoder says of a component of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum LikelihoodSpec {
    /// A probability for each value.
    Categorical {},
    /// A mixture of logistic distributions: [`Logistics`].
    Logistics {
        /// How many.
        components: u16,
    },
}

impl Default for LikelihoodSpec {
    fn default() -> Self {
        Self::Categorical {}
    }
}

impl LikelihoodSpec {
    pub(super) fn check(self) -> Result<(), Error> {
        if let Self::Logistics { components } = self {
            let legal = (1..=256).contains(&components);
            require(legal, "hierarchy.likelihood.components", components, "use 1 to 256")?;
        }
        Ok(())
    }

    /// Numbers that a component's distribution takes.
    pub(super) fn parameters(self, values: u16) -> i64 {
        match self {
            Self::Categorical {} => i64::from(values),
            Self::Logistics { components } => 3 * i64::from(components),
        }
    }
}

/// Scales of networks lie within `e^±LARGEST` of where they start.
const LARGEST: f64 = 6.0;

/// The logarithm of a scale, a Gaussian's or a logistic's, from a network's output: `x` becomes `6·tanh(x/6)`, so that
/// no step of a training can make the scale vanish (NVAE).
pub(super) fn bounded_log(x: &Tensor) -> Tensor {
    (x / LARGEST).tanh() * LARGEST
}

/// The logarithm of a logistic's scale before any training, on `[−1, 1]`.
const FIRST_LOG_SCALE: f64 = -2.0;

/// For each component of the data a mixture of logistic distributions on `[−1, 1]`, of which a value has the part
/// that is nearer to it than to any other value, the first and the last all that lies beyond (Salimans et al. 2017,
/// `PixelCNN++`). Components are independent given the latents, channels of a pixel too.
///
/// Unlike a probability for each value it knows that values are numbers, and its size does not grow with theirs.
#[derive(Debug)]
pub struct Logistics {
    /// Normalized over the mixture, `[B, C, M, H, W]`, as the others.
    log_weights: Tensor,
    means: Tensor,
    log_scales: Tensor,
    values: u16,
}

impl Logistics {
    /// Of a network's output `[B, C, 3M, H, W]`; means start spread over the range of the data.
    pub(super) fn of(output: &Tensor, values: u16) -> Self {
        let parts = output.chunk(3, 2);
        let mixture = parts[1].size()[2];
        let first = (Tensor::arange(mixture, (Kind::Float, output.device())) * 2.0 + 1.0)
            / mixture as f64
            - 1.0;
        Self {
            log_weights: parts[0].log_softmax(2, Kind::Float),
            means: &parts[1] + first.view([-1, 1, 1]),
            log_scales: bounded_log(&parts[2]) + FIRST_LOG_SCALE,
            values,
        }
    }

    /// Log-probability of data values `[B, C, H, W]`, in nats.
    pub(super) fn log_density(&self, value: &Tensor) -> Tensor {
        let count = f64::from(self.values);
        let value = value.to_kind(Kind::Float).unsqueeze(2);
        let inverse = (-&self.log_scales).exp();
        let width = &inverse * (2.0 / count);
        let upper = ((&value + 1.0) * (2.0 / count) - 1.0 - &self.means) * inverse;
        let lower = &upper - &width;
        let is_open = |at: f64| value.not_equal(at).to_kind(Kind::Float);
        let (above, below) = (is_open(count - 1.0), is_open(0.0));
        // σ(a) − σ(b) = σ(a) σ(−b) (1 − e^{b−a}): no difference of near numbers, however far out both are. Beyond
        // the first and the last value nothing is cut off.
        let cut = (-(-width).expm1()).log();
        let part =
            upper.log_sigmoid() * &above + (-lower).log_sigmoid() * &below + cut * above * below;
        (&self.log_weights + part).logsumexp([2_i64].as_slice(), false)
    }

    /// Log-probabilities of all values, `[B, C, K, H, W]`.
    pub(super) fn log_probabilities(&self) -> Tensor {
        let of = |value| {
            self.log_density(&Tensor::full([1, 1, 1, 1], value, (Kind::Int64, self.means.device())))
        };
        let table: Vec<Tensor> = (0..i64::from(self.values)).map(of).collect();
        Tensor::stack(&table, 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn output(components: i64, size: f64) -> Tensor {
        tch::manual_seed(7);
        Tensor::randn([2, 3, 3 * components, 4, 5], (Kind::Float, Device::Cpu)) * size
    }

    /// Whatever the network says, also of scales far below the distance of values, and of means far outside.
    #[test]
    fn probabilities_of_all_values_sum_to_one() {
        for (values, components, size) in [(2, 1, 1.0), (17, 5, 3.0), (256, 3, 30.0)] {
            let log_probabilities =
                Logistics::of(&output(components, size), values).log_probabilities();
            assert_eq!(log_probabilities.size(), [2, 3, i64::from(values), 4, 5]);
            let sums =
                log_probabilities.to_kind(Kind::Double).exp().sum_dim_intlist(2, false, None);
            // f32 exponents of up to 256 terms.
            let off = (sums - 1.0).abs().max().double_value(&[]);
            assert!(off < 2e-5, "{values} values: {off}");
        }
    }

    /// The difference of two logistic functions in double precision, where that does not cancel.
    #[test]
    fn a_value_has_the_part_that_is_nearest_to_it() {
        let (values, output) = (17, output(1, 1.0));
        let logistics = Logistics::of(&output, values);
        let table = logistics.log_probabilities();
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let at = |tensor: &Tensor| tensor.double_value(&[1, 2, 0, 3, 4]);
        let (mean, scale) = (at(&logistics.means), at(&logistics.log_scales).exp());
        for value in 0..values {
            let edge =
                |k: u16| sigmoid((2.0 * f64::from(k) / f64::from(values) - 1.0 - mean) / scale);
            let [below, above] = [edge(value), edge(value + 1)];
            let expected = match value {
                0 => above,
                16 => 1.0 - below,
                _ => above - below,
            };
            let p = table.double_value(&[1, 2, i64::from(value), 3, 4]).exp();
            assert!((p - expected).abs() < 1e-6, "value {value}: {p}, not {expected}");
        }
    }

    /// Where a scale is smallest and a mean far away, neither a probability nor its slope is lost.
    #[test]
    fn slopes_stay_finite() {
        let output = (output(2, 1.0) * 1e3).set_requires_grad(true);
        let values = Tensor::full([2, 3, 4, 5], 128, (Kind::Uint8, Device::Cpu));
        let nats = Logistics::of(&output, 256).log_density(&values).sum(Kind::Float);
        nats.backward();
        assert!(nats.double_value(&[]).is_finite());
        assert!(output.grad().isfinite().all().double_value(&[]) == 1.0);
    }
}
