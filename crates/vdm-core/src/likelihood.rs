//! The reconstruction term: discrete data behind a continuous latent.
//!
//! Data of `levels` values `k = 0, 1, …` are encoded as cell centers in `(−1, 1)`, and the
//! likelihood of a value given the cleanest latent is the categorical
//! `p(x = k | z_0) ∝ q(z_0 | x = k)`, normalized over all values through log-sum-exp.
//! Monograph §2.2; Kingma et al. 2021.

use crate::{Error, LogSnr};

/// The categorical likelihood over a number of levels (256 for 8-bit images, 17 for digits).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discretized {
    levels: u16,
}

impl Discretized {
    /// # Errors
    /// [`Error::Levels`] for fewer than two.
    pub fn new(levels: u16) -> Result<Self, Error> {
        if levels < 2 { Err(Error::Levels { found: levels }) } else { Ok(Self { levels }) }
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
        let std = log_snr.edm_sigma();
        let logit = |k: u16| -0.5 * ((y - self.encode(k)) / std).powi(2);
        // The largest logit is that of the cell `y` falls in.
        let largest = logit(self.decode(y));
        let sum: f64 = (0..self.levels).map(|j| (logit(j) - largest).exp()).sum();
        logit(k) - largest - sum.ln()
    }
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
        assert_eq!(Discretized::new(1), Err(Error::Levels { found: 1 }));
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
