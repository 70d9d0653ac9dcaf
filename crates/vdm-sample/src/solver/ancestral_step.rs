//! The first-order update of a known image, with any share of the noise drawn anew.

use vdm_core::NoiseLevel;

/// `z_s = on_z·z_t + on_x·x̂ + sigma_up·noise`, whose first two terms are the noise-free step to a
/// level with less noise than `s`, from where fresh noise leads back to `s`.
///
/// Song et al. 2021, equation 12. The two scales are k-diffusion's and diffusers' `sigma_down` and
/// `sigma_up`, in the units of the scaling at hand. All factors
/// keep their limits where `s` is clean data or `t` pure noise.
pub(crate) struct AncestralStep {
    /// `sigma_down/σ_t`.
    pub(crate) on_z: f64,
    /// `−α_s·expm1(−half_gap)`.
    pub(crate) on_x: f64,
    /// Noise of `z_t` that is left at `s`: `√(σ_s² − sigma_up²)`.
    pub(crate) sigma_down: f64,
    /// Standard deviation of the fresh noise: `η σ_Q`, at most `σ_s`.
    pub(crate) sigma_up: f64,
    /// Half the gap in log-SNR from `t` to the level with scales `(α_s, sigma_down)`.
    pub(crate) half_gap: f64,
}

impl AncestralStep {
    /// From `t` to the cleaner `s`, with share `eta` of new noise.
    pub(crate) fn between(eta: f64, t: &NoiseLevel, s: &NoiseLevel) -> Self {
        let gap = s.log_snr - t.log_snr;
        // 1 − η²(1 − e^{−gap}), written as a sum of positive terms for η ≤ 1.
        let share_kept = ((1.0 - eta) * (1.0 + eta) + eta * eta * (-gap).exp()).max(0.0);
        let sigma_down = s.sigma * share_kept.sqrt();
        let half_gap = 0.5 * (gap - share_kept.ln());
        Self {
            on_z: sigma_down / t.sigma,
            on_x: -s.alpha * (-half_gap).exp_m1(),
            sigma_down,
            sigma_up: s.sigma * (eta * (-(-gap).exp_m1()).sqrt()).min(1.0),
            half_gap,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vdm_core::{Posterior, Scaling};

    proptest! {
        /// With all noise drawn anew it is the posterior of the hierarchy, computed elsewhere by other
        /// formulas; 1e-13 is a few roundings.
        #[test]
        fn all_noise_renewed_is_the_posterior(from in -8.0..4.0_f64, gap in 1e-3..10.0_f64) {
            let vp = Scaling::VariancePreserving;
            let (t, s) = (vp.level(from), vp.level(from + gap));
            let (ancestral, q) = (AncestralStep::between(1.0, &t, &s), Posterior::between(&s, &t));
            prop_assert!((ancestral.on_z - q.on_z).abs() <= 1e-13);
            prop_assert!((ancestral.on_x - q.on_x).abs() <= 1e-13);
            prop_assert!((ancestral.sigma_up - q.var.sqrt()).abs() <= 1e-13);
        }

        /// Whatever the share, a latent at level `t` becomes one at level `s`: its image has scale
        /// `α_s` and its noise variance `σ_s²`.
        #[test]
        fn the_level_reached_is_the_one_asked_for(
            eta in 0.0..3.0_f64, from in -8.0..4.0_f64, gap in 1e-3..10.0_f64,
        ) {
            let vp = Scaling::VariancePreserving;
            let (t, s) = (vp.level(from), vp.level(from + gap));
            let AncestralStep { on_z, on_x, sigma_down, sigma_up, .. } = AncestralStep::between(eta, &t, &s);
            prop_assert!((on_z * t.alpha + on_x - s.alpha).abs() <= 1e-13);
            prop_assert!((on_z * t.sigma - sigma_down).abs() <= 1e-13);
            prop_assert!((sigma_down.hypot(sigma_up) - s.sigma).abs() <= 1e-13);
        }
    }

    #[test]
    fn singular_ends_have_finite_limits() {
        let vp = Scaling::VariancePreserving;
        let (noise, middle, clean) =
            (vp.level(f64::NEG_INFINITY), vp.level(0.0), vp.level(f64::INFINITY));
        for eta in [0.0, 0.5, 1.0, 2.0] {
            let end = AncestralStep::between(eta, &middle, &clean);
            assert_eq!((end.on_z, end.on_x, end.sigma_up), (0.0, 1.0, 0.0), "{eta}");
            let start = AncestralStep::between(eta, &noise, &middle);
            assert_eq!(start.on_x, middle.alpha, "{eta}");
            assert!((start.sigma_down.hypot(start.sigma_up) - middle.sigma).abs() < 1e-15, "{eta}");
        }
    }
}
