//! Discrete data under a model of continuous latents.
//!
//! A density of latents says nothing of discrete data until something joins the two. All that is here
//! is one inequality, for any distribution `q(z_0|x)` that one can draw from:
//!
//! ```text
//! −log p(x) ≤ E_q[log q(z_0|x) − log p(z_0) − log p(x|z_0)]
//! ```
//!
//! | distribution of `z_0` | `p(x|z_0)` | the model whose likelihood is bounded |
//! |---|---|---|
//! | [`Uniform`](Dequantization::Uniform): `α_0(x + u)`, `u` uniform over the cell | 1 in the cell of `x` | the cell's share of the density of `z_0/α_0` |
//! | [`TruncatedNormal`](Dequantization::TruncatedNormal): `u ~ N(0, σ_0²/α_0²)` within the cell (Zheng et al. 2023) | the same | the same |
//! | [`Posterior`](Dequantization::Posterior): `q(z_0|x)` of the diffusion itself | that of the reconstruction term | latents decoded as in the variational bound |
//!
//! The first two bound the same number and can be compared with each other: the closer `q` is to the
//! posterior of the cell, the tighter. `Uniform` is the usual one (Theis, van den Oord and Bethge
//! 2016), yet as a distribution of `z_0` it is not what the model was trained on: `TruncatedNormal` looks like
//! the training latents where `σ_0/α_0` is below the cell's width. The third needs neither a cell nor
//! a network of its own, since the diffusion's first posterior is a dequantizing distribution; its model is
//! that of `L_T` but for the way from `z_1` to `z_0`.
//!
//! The logarithm of `q` is taken at the draw, not in expectation: its noise cancels most of
//! `log p(z_0)`'s, and all of it where `q` is the exact posterior.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};

use rand::RngExt;
use serde::{Deserialize, Serialize};
use vdm_core::{NoiseLevel, Scalar};

use crate::Seed;
use crate::noise::{Purpose, fill_normal};

/// How a clean latent is drawn for an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dequantization {
    /// Evenly over the item's cell.
    Uniform,
    /// Normal with the standard deviation `σ_0/α_0` of the noise, truncated to the cell.
    TruncatedNormal,
    /// The diffusion's own posterior `q(z_0|x)`.
    Posterior,
}

impl Dequantization {
    /// Whether `p(x|z_0)` is that of a cell; else it is the items' own.
    #[must_use]
    pub fn is_of_cells(self) -> bool {
        self != Self::Posterior
    }

    /// What is added to `α_0 x`, and `log q(z_0|x)` in nats; `width` is that of a cell in units of `x`.
    pub(super) fn draw(
        self,
        at: &NoiseLevel,
        width: f64,
        dims: usize,
        seed: Seed,
        key: (u64, u64),
    ) -> (Vec<f64>, f64) {
        let (number, item) = key;
        let mut rng = seed.stream(Purpose::EvaluationNoise, number, item);
        match self {
            Self::Uniform => {
                let span = at.alpha * width;
                let offsets = (0..dims).map(|_| span * (rng.random::<f64>() - 0.5)).collect();
                (offsets, -(dims as f64) * span.ln())
            }
            Self::TruncatedNormal => {
                let cut = 0.5 * width * at.alpha / at.sigma;
                let units: Vec<f64> =
                    (0..dims).map(|_| truncated_normal(rng.random(), cut)).collect();
                let inside = libm::erf(cut * FRAC_1_SQRT_2).ln();
                let log_q = units.iter().map(|u| log_normal(*u, at.sigma) - inside).sum();
                (units.into_iter().map(|u| at.sigma * u).collect(), log_q)
            }
            Self::Posterior => {
                let mut units = vec![0.0_f64; dims];
                fill_normal(&mut units, dims, seed, Purpose::EvaluationNoise, number, item);
                let log_q = units.iter().map(|u| log_normal(*u, at.sigma)).sum();
                (units.into_iter().map(|u| at.sigma * u).collect(), log_q)
            }
        }
    }
}

/// A unit normal within `±cut` from a uniform number in `[0, 1)`.
fn truncated_normal(uniform: f64, cut: f64) -> f64 {
    // The left half from the quantile there, which keeps its digits; the right one mirrors it.
    let (sign, share) =
        if uniform < 0.5 { (1.0, 2.0 * uniform) } else { (-1.0, 2.0 * (1.0 - uniform)) };
    let tail = (-cut).normal_cdf();
    sign * (tail + share * (0.5 - tail)).normal_quantile().max(-cut)
}

/// `log N(std·u; 0, std²)`.
fn log_normal(u: f64, std: f64) -> f64 {
    -0.5 * (u * u + (TAU * std * std).ln())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vdm_core::{Scaling, quadrature};

    /// Its density integrates to 1 over the cell, and its draws have the density's variance: the mean
    /// of 20,000 squares of standard deviation below 1 is within 4/√20000 of it.
    #[test]
    fn truncated_normals_are_normal_within_the_cell() {
        for (log_snr, width) in [(9.0, 0.02), (6.0, 0.02), (13.3, 2.0 / 256.0)] {
            let at = Scaling::VariancePreserving.level(log_snr);
            let cut = 0.5 * width * at.alpha / at.sigma;
            let distribution = |u: f64| (log_normal(u, 1.0)).exp() / libm::erf(cut * FRAC_1_SQRT_2);
            assert!((quadrature::interval(-cut, cut, distribution) - 1.0).abs() < 1e-12);
            let variance = quadrature::interval(-cut, cut, |u| u * u * distribution(u));
            let n = 20_000;
            let distribution = Dequantization::TruncatedNormal;
            let (offsets, _) = distribution.draw(&at, width, n, Seed(5), (0, 0));
            let units = offsets.iter().map(|z| z / at.sigma);
            assert!(units.clone().all(|u| u.abs() <= cut));
            let found = units.map(|u| u * u).sum::<f64>() / n as f64;
            assert!(
                (found - variance).abs() < 4.0 / (n as f64).sqrt() * variance,
                "{found} {variance}"
            );
        }
    }
}
