//! Gaussian transitions between two levels, forward and top-down.

use crate::{NoiseLevel, Real};

/// `q(z_t | z_s) = N(alpha_ts·z_s, var_ts·I)` for `s < t`. Monograph §2.1.1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Transition<C = f64> {
    /// `α_{t|s} = α_t/α_s`.
    pub alpha_ts: C,
    /// `σ²_{t|s} = σ_t² − α²_{t|s}σ_s²`, computed as `−σ_t²·expm1(λ_t − λ_s)`, which does not
    /// cancel when the levels are close.
    pub var_ts: C,
}

impl<C: Real> Transition<C> {
    /// From the cleaner level `s` to the noisier level `t`.
    #[must_use]
    pub fn between(s: &NoiseLevel<C>, t: &NoiseLevel<C>) -> Self {
        let gap = t.log_snr.clone() - s.log_snr.clone();
        Self {
            alpha_ts: t.alpha.clone() / s.alpha.clone(),
            var_ts: -(t.sigma.clone() * t.sigma.clone() * gap.exp_m1()),
        }
    }
}

/// `q(z_s | z_t, x) = N(on_z·z_t + on_x·x, var·I)` for `s < t`. Monograph §2.1.2.
///
/// ```
/// use vdm_core::{Posterior, Scaling};
/// let vp = Scaling::VariancePreserving;
/// let q = Posterior::between(&vp.level(2.0_f64), &vp.level(-2.0));
/// // Given the image, the top-down step starts from less variance than the marginal has.
/// assert!(q.var < vp.level(2.0_f64).sigma.powi(2));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Posterior<C = f64> {
    /// `α_{t|s}σ_s²/σ_t²`.
    pub on_z: C,
    /// `α_sσ²_{t|s}/σ_t² = −α_s·expm1(λ_t − λ_s)`.
    pub on_x: C,
    /// `σ_Q² = σ_s²σ²_{t|s}/σ_t² = −σ_s²·expm1(λ_t − λ_s)`, in squared latent units.
    pub var: C,
}

impl<C: Real> Posterior<C> {
    /// Of the cleaner level `s` given the noisier level `t` and the image.
    #[must_use]
    pub fn between(s: &NoiseLevel<C>, t: &NoiseLevel<C>) -> Self {
        let kept = -(t.log_snr.clone() - s.log_snr.clone()).exp_m1();
        let ratio = s.sigma.clone() / t.sigma.clone();
        Self {
            on_z: t.alpha.clone() / s.alpha.clone() * ratio.clone() * ratio,
            on_x: s.alpha.clone() * kept.clone(),
            var: s.sigma.clone() * s.sigma.clone() * kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scaling;
    use proptest::prelude::*;

    fn scaling() -> impl Strategy<Value = Scaling> {
        prop_oneof![
            Just(Scaling::VariancePreserving),
            Just(Scaling::VarianceExploding),
            Just(Scaling::StraightLine)
        ]
    }

    proptest! {
        /// M16: q(u|t) after q(t|s) equals q(u|s). Tolerance: a few roundings of f64.
        #[test]
        fn transitions_compose(scaling in scaling(), s in 4.0..10.0_f64, t in -2.0..4.0_f64,
                               u in -8.0..-2.0_f64) {
            let [s, t, u] = [s, t, u].map(|l| scaling.level(l));
            let (ts, ut, us) =
                (Transition::between(&s, &t), Transition::between(&t, &u), Transition::between(&s, &u));
            prop_assert!((ut.alpha_ts * ts.alpha_ts / us.alpha_ts - 1.0).abs() < 1e-13);
            let var = ut.alpha_ts.powi(2) * ts.var_ts + ut.var_ts;
            prop_assert!((var / us.var_ts - 1.0).abs() < 1e-12);
        }

        /// M18: the closed form equals conjugacy (precision-weighted product of likelihood
        /// q(z_t|z_s) and prior q(z_s|x)), which shares no formula with it.
        #[test]
        fn posterior_is_bayes_rule(scaling in scaling(), s in 0.0..10.0_f64, gap in 0.1..10.0_f64) {
            let (s, t) = (scaling.level(s), scaling.level(s - gap));
            let alpha_ts = t.alpha / s.alpha;
            let var_ts = t.sigma.powi(2) - alpha_ts.powi(2) * s.sigma.powi(2);
            let precision = alpha_ts.powi(2) / var_ts + 1.0 / s.sigma.powi(2);
            let q = Posterior::between(&s, &t);
            prop_assert!((q.var * precision - 1.0).abs() < 1e-9);
            prop_assert!((q.on_z * precision * var_ts / alpha_ts - 1.0).abs() < 1e-9);
            prop_assert!((q.on_x * precision * s.sigma.powi(2) / s.alpha - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn a_step_to_clean_data_is_the_image_itself() {
        let vp = Scaling::VariancePreserving;
        let q = Posterior::between(&vp.level(f64::INFINITY), &vp.level(3.0_f64));
        assert_eq!((q.on_z, q.on_x, q.var), (0.0, 1.0, 0.0));
    }

    #[test]
    fn a_step_from_pure_noise_forgets_the_noise() {
        let vp = Scaling::VariancePreserving;
        let s = vp.level(3.0_f64);
        let q = Posterior::between(&s, &vp.level(f64::NEG_INFINITY));
        assert_eq!((q.on_z, q.on_x, q.var), (0.0, s.alpha, s.sigma.powi(2)));
    }
}
