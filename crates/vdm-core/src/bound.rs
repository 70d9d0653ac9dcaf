//! The terms of the variational bound, in nats.
//!
//! ```text
//! −log p(x) ≤ KL(q(z_1|x) ‖ p(z_1)) + E[−log p(x|z_0)] + L_T(x)
//! L_T = ½ Σᵢ expm1(λ_s − λ_t) E‖ε − ε̂‖²   →   L_∞ = ½ E_t[−dλ/dt ‖ε − ε̂‖²]
//! ```
//!
//! The reconstruction term is in [`likelihood`](crate::likelihood).

use crate::LogSnr;

/// `KL(q(z_1|x_i) ‖ N(0, 1))` of one dimension, in nats, for the variance-preserving scaling.
/// Monograph §2.2; `σ² − 1 − ln σ²` is written with `ln_1p`, since it vanishes like `α⁴/2`.
///
/// ```
/// use vdm_core::{bound::prior_kl, LogSnr};
/// assert!(prior_kl(LogSnr::new(-20.0), 1.0) < 2e-9); // pure noise says nothing about x
/// ```
#[must_use]
pub fn prior_kl(log_snr: LogSnr, x: f64) -> f64 {
    let var_signal = crate::Real::sigmoid(&log_snr.value());
    0.5 * (var_signal * x * x - var_signal - (-var_signal).ln_1p())
}

/// `½·expm1(λ_s − λ_t)`: what `‖ε − ε̂‖²` counts for in one step of the discrete bound from the
/// noisier level `t` to the cleaner level `s`. Monograph §2.2.4.
#[must_use]
pub fn discrete_factor(s: LogSnr, t: LogSnr) -> f64 {
    0.5 * (s.value() - t.value()).exp_m1()
}

/// `−½·dλ/dt`: what `‖ε − ε̂‖²` counts for per unit of time in the continuous bound.
/// Monograph §2.3.2.
#[must_use]
pub fn continuous_factor(slope: f64) -> f64 {
    -0.5 * slope
}

/// `KL(N(m, var_q) ‖ N(m + d, var_p))` of one dimension, in nats.
#[must_use]
pub fn gaussian_kl(mean_difference: f64, var_q: f64, var_p: f64) -> f64 {
    0.5 * (mean_difference * mean_difference / var_p + var_q / var_p - 1.0 - (var_q / var_p).ln())
}

/// Nats of one item to bits per dimension.
///
/// ```
/// use vdm_core::bound::bits_per_dim;
/// assert_eq!(bits_per_dim(8.0 * std::f64::consts::LN_2, 4), 2.0);
/// ```
#[must_use]
pub fn bits_per_dim(nats: f64, dims: usize) -> f64 {
    nats / (dims as f64 * std::f64::consts::LN_2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Posterior, Scaling};
    use proptest::prelude::*;

    proptest! {
        /// M25 against the generic formula; it cancels, hence the absolute 1e-13.
        #[test]
        fn prior_kl_is_a_gaussian_kl(log_snr in -10.0..5.0_f64, x in -2.0..2.0_f64) {
            let level = Scaling::VariancePreserving.level(log_snr);
            let generic = gaussian_kl(level.alpha * x, level.sigma.powi(2), 1.0);
            let closed = prior_kl(LogSnr::new(log_snr), x);
            prop_assert!((generic - closed).abs() < 1e-13 * (1.0 + closed));
        }

        /// M39: the KL of one top-down step, from the two Gaussians themselves, equals the factor
        /// times the squared noise error, under every scaling.
        #[test]
        fn a_step_of_the_bound_is_a_gaussian_kl(s in -5.0..10.0_f64, gap in 0.01..5.0_f64,
                                                x in -1.0..1.0_f64, x_hat in -1.0..1.0_f64) {
            for scaling in [Scaling::VariancePreserving, Scaling::VarianceExploding,
                            Scaling::StraightLine] {
                let (to, from) = (scaling.level(s), scaling.level(s - gap));
                let q = Posterior::between(&to, &from);
                let kl = gaussian_kl(q.on_x * (x - x_hat), q.var, q.var);
                let noise_error = from.alpha / from.sigma * (x - x_hat);
                let factor = discrete_factor(LogSnr::new(s), LogSnr::new(s - gap));
                prop_assert!((factor * noise_error.powi(2) - kl).abs() < 1e-10 * (1.0 + kl));
            }
        }
    }

    /// M45: T·expm1 tends to the slope; at T = 1e5 the difference is the second-order term.
    #[test]
    fn the_discrete_factor_tends_to_the_continuous_one() {
        let (slope, steps) = (-18.3_f64, 1e5);
        let discrete = steps * discrete_factor(LogSnr::new(2.0 - slope / steps), LogSnr::new(2.0));
        let second_order = 0.25 * slope * slope / steps;
        let difference = discrete - continuous_factor(slope) - second_order;
        assert!(difference.abs() < 1e-6, "{difference}");
    }
}
