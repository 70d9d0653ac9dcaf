//! The reconstruction term: discrete data behind a continuous latent.
//!
//! Data of `levels` values `k = 0, 1, …` are encoded as cell centers in `(−1, 1)`, and the
//! likelihood of a value given the cleanest latent is the categorical
//! `p(x = k | z_0) ∝ q(z_0 | x = k)`, normalized over all values through log-sum-exp.
//! Monograph §2.2; Kingma et al. 2021.
//!
//! DDPM integrates a Gaussian over each value's cell instead ([`Discretized::log_prob_of_cell`]). As
//! the noise of `z_0` falls well below the width of a cell both tend to certainty.

use std::f64::consts::TAU;

use crate::setting::{InvalidSetting, require};
use crate::{LogSnr, Scalar, quadrature};

/// The categorical likelihood over a number of levels (256 for 8-bit images, 17 for digits).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discretized {
    levels: u16,
}

impl Discretized {
    /// # Errors
    /// [`InvalidSetting`] for fewer than two.
    pub fn new(levels: u16) -> Result<Self, InvalidSetting> {
        require(levels >= 2, "levels", levels, "use at least 2").map(|()| Self { levels })
    }

    /// How many values a dimension takes.
    #[must_use]
    pub fn levels(self) -> u16 {
        self.levels
    }

    /// The center of cell `k`: `2(k + ½)/levels − 1`.
    #[must_use]
    pub fn encode(self, k: u16) -> f64 {
        2.0 * (f64::from(k) + 0.5) / f64::from(self.levels) - 1.0
    }

    /// The value whose cell holds `y`, clamped to the legal ones: the mode of the likelihood.
    #[must_use]
    pub fn decode(self, y: f64) -> u16 {
        let cell = (y + 1.0) * f64::from(self.levels) / 2.0;
        cell.floor().clamp(0.0, f64::from(self.levels - 1)) as u16
    }

    /// `log p(x = k | z_0)` of one dimension in nats, with `y = z_0/α_0` and the level of `z_0`.
    ///
    /// ```
    /// use vdm_core::{likelihood::Discretized, LogSnr};
    /// let eight_bit = Discretized::new(256)?;
    /// let total: f64 = (0..256).map(|k| eight_bit.log_prob(k, 0.3, LogSnr::new(9.0)).exp()).sum();
    /// assert!((total - 1.0).abs() < 1e-12);
    /// # Ok::<(), vdm_core::Error>(())
    /// ```
    #[must_use]
    pub fn log_prob(self, k: u16, y: f64, log_snr: LogSnr) -> f64 {
        self.distribution(y, log_snr)(k)
    }

    /// [`log_prob`](Self::log_prob) of every value, `k = 0, 1, …`, for the price of two.
    pub fn log_probs(self, y: f64, log_snr: LogSnr) -> impl Iterator<Item = f64> {
        (0..self.levels).map(self.distribution(y, log_snr))
    }

    /// `k → log p(x = k | z_0)`, normalized once.
    fn distribution(self, y: f64, log_snr: LogSnr) -> impl Fn(u16) -> f64 {
        let std = log_snr.edm_sigma();
        let logit = move |k: u16| -0.5 * ((y - self.encode(k)) / std).powi(2);
        // The largest logit is that of the cell `y` falls in. What the others add may be far below the last
        // digit of 1, and is all that a sharp likelihood leaves open.
        let cell = self.decode(y);
        let largest = logit(cell);
        let others = (0..self.levels).filter(|j| *j != cell);
        let log_sum = others.map(|j| (logit(j) - largest).exp()).sum::<f64>().ln_1p();
        move |k| logit(k) - largest - log_sum
    }

    /// `log ∫ N(u; y, std²) du` over the cell of `k` in nats, with `y = z_0/α_0` and the Gaussian's
    /// standard deviation; the outer cells reach to infinity (Ho et al. 2020). `std = σ_0/α_0` makes
    /// it the counterpart of [`log_prob`](Self::log_prob).
    ///
    /// ```
    /// use vdm_core::likelihood::Discretized;
    /// let eight_bit = Discretized::new(256)?;
    /// let total: f64 = (0..256).map(|k| eight_bit.log_prob_of_cell(k, 0.3, 0.01).exp()).sum();
    /// assert!((total - 1.0).abs() < 1e-12);
    /// # Ok::<(), vdm_core::Error>(())
    /// ```
    #[must_use]
    pub fn log_prob_of_cell(self, k: u16, y: f64, std: f64) -> f64 {
        let half = 1.0 / f64::from(self.levels);
        let edge = |inner: bool, side: f64| {
            if inner { (self.encode(k) + side * half - y) / std } else { side * f64::INFINITY }
        };
        log_normal_mass(edge(k > 0, -1.0), edge(k + 1 < self.levels, 1.0))
    }

    /// `E[−log p(x = k | z_0)]` over `z_0 ~ q(z_0 | x = k)` of one dimension, in nats, by quadrature:
    /// the reconstruction term of the bound.
    #[must_use]
    pub fn reconstruction(self, k: u16, log_snr: LogSnr) -> f64 {
        let std = log_snr.edm_sigma();
        quadrature::normal(1, |eps| -self.log_prob(k, self.encode(k) + std * eps[0], log_snr))
    }
}

/// `ln(Φ(b) − Φ(a))` for `a < b`, in the tail where the two do not cancel.
fn log_normal_mass(a: f64, b: f64) -> f64 {
    if a + b > 0.0 {
        return log_normal_mass(-b, -a);
    }
    let (low, high) = (log_normal_cdf(a), log_normal_cdf(b));
    high + (-(low - high).exp_m1()).ln()
}

/// `ln Φ(x)`; by its asymptotic series where `Φ` itself would underflow.
fn log_normal_cdf(x: f64) -> f64 {
    if x > -25.0 {
        return x.normal_cdf().ln();
    }
    if x == f64::NEG_INFINITY {
        return x;
    }
    // 1 − 1/x² + 3/x⁴ − 15/x⁶ + …, of which the first term left out is below 2e-13,
    // beside a logarithm above 300.
    let inverse = 1.0 / (x * x);
    let series = [9.0, 7.0, 5.0, 3.0, 1.0].iter().fold(1.0, |sum, odd| 1.0 - odd * inverse * sum);
    -0.5 * x * x - (-x).ln() - 0.5 * TAU.ln() + series.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_inverts_encoding_for_every_level() {
        for levels in [2, 17, 256, 1000] {
            let code = Discretized::new(levels).unwrap();
            assert!((0..levels).all(|k| code.decode(code.encode(k)) == k), "{levels} levels");
            assert_eq!((code.decode(-9.0), code.decode(9.0)), (0, levels - 1));
        }
    }

    #[test]
    fn fewer_than_two_levels_are_refused() {
        assert_eq!(Discretized::new(1).unwrap_err().to_string(), "levels = 1: use at least 2");
    }

    /// Reference values from 50-digit arithmetic.
    #[test]
    fn log_normal_cdf_is_accurate_in_the_tail() {
        let cases = [
            (-1.0, -1.841_021_645_009_263_5),
            (-20.0, -203.917_155_371_097_26),
            (-24.9, -314.140_412_761_613_15),
            (-25.1, -319.148_387_405_888_6),
            (-40.0, -804.608_442_013_753_8),
            (-1000.0, -500_007.826_694_812_2),
        ];
        for (x, wanted) in cases {
            assert!((log_normal_cdf(x) / wanted - 1.0_f64).abs() < 1e-14, "ln Φ({x})");
        }
    }

    /// Both forms are distributions of a discrete variable, and agree where a cell is narrow beside the
    /// Gaussian: there the mass of a cell is its density times its width.
    #[test]
    fn cells_sum_to_one_and_agree_with_the_categorical_form() {
        let code = Discretized::new(256).unwrap();
        for (y, std) in [(0.3, 0.2), (-1.7, 0.01), (5.0, 0.001), (0.0, 1e-5)] {
            let total: f64 = (0..256).map(|k| code.log_prob_of_cell(k, y, std).exp()).sum();
            assert!((total - 1.0).abs() < 1e-12, "y = {y}, std = {std}: {total}");
            assert!((0..256).all(|k| code.log_prob_of_cell(k, y, std).is_finite()));
        }
        let level = LogSnr::from_edm_sigma(0.1);
        let [categorical, cell] =
            [code.log_prob(130, 0.05, level), code.log_prob_of_cell(130, 0.05, 0.1)];
        // Second order in the width of a cell: (2/256)²/(24·0.1²) = 2.5e-4.
        assert!((categorical - cell).abs() < 3e-4, "{categorical} {cell}");
    }

    #[test]
    fn probabilities_sum_to_one_however_sharp() {
        for (levels, log_snr) in [(2, -3.0), (17, 4.0), (256, 13.3), (256, 40.0)] {
            let code = Discretized::new(levels).unwrap();
            for y in [-1.5, -0.2, 0.0, 0.77, 3.0] {
                let total: f64 =
                    (0..levels).map(|k| code.log_prob(k, y, LogSnr::new(log_snr)).exp()).sum();
                assert!((total - 1.0).abs() < 1e-12, "{levels} {log_snr} {y}: {total}");
            }
        }
    }
}
