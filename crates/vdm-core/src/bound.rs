//! The terms of the variational bound, in nats.
//!
//! ```text
//! −log p(x) ≤ KL(q(z_1|x) ‖ p(z_1)) + E[−log p(x|z_0)] + L_T(x)
//! L_T = ½ Σᵢ expm1(λ_s − λ_t) E‖ε − ε̂‖²   →   L_∞ = ½ E_t[−dλ/dt ‖ε − ε̂‖²]
//! ```
//!
//! The reconstruction term is in [`likelihood`](crate::likelihood). [`discrete`] and [`continuous`]
//! take the expected error `E‖ε − ε̂‖²` as a function of the level: a mixture's exact one, or one
//! measured with a network.
//!
//! Erratum E14. "Doubling `T` always improves the bound" holds on average over the data, not for
//! every single `x`:
//!
//! ```
//! use vdm_core::{bound, GaussianMixture, LogSnr, Scaling, Schedule};
//! let data = GaussianMixture::new(vec![1.0], vec![vec![0.0]], vec![1.0])?; // N(0, 1)
//! let schedule = Schedule::linear(5.0, -5.0)?;
//! let level = |l: LogSnr| Scaling::VariancePreserving.level(l.value());
//!
//! // At x = 0 the bound of two steps is far worse than that of one …
//! let at_zero = |steps| bound::discrete(&schedule, steps, |l| data.noise_error(&[0.0], &level(l)));
//! println!("x = 0:   L_1 = {:.2}, L_2 = {:.1}", at_zero(1), at_zero(2));
//! assert!((at_zero(1) - 0.49).abs() < 0.005 && (at_zero(2) - 18.4).abs() < 0.05);
//!
//! // … while on average over the data every doubling helps.
//! let average = |steps| {
//!     bound::discrete(&schedule, steps, |l| l.snr() * data.mmse(&level(l)))
//! };
//! println!("average: L_1 = {:.1}, L_2 = {:.1}, L_1024 = {:.2}", average(1), average(2), average(1024));
//! assert!((average(1) - 73.7).abs() < 0.05 && (average(2) - 37.3).abs() < 0.05);
//! assert!((average(1024) - 2.51).abs() < 0.005);
//! # Ok::<(), vdm_core::Error>(())
//! ```

use crate::schedule::LogSnrRange;
use crate::{LogSnr, NoiseSchedule, Real, Scalar, quadrature};

/// `KL(q(z_1|x_i) ‖ N(0, 1))` of one dimension, in nats, for the variance-preserving scaling.
/// Monograph §2.2, `½(α²x² − α² − ln σ²)`. `−ln σ²` is `softplus(λ)`: `1 − α²` would lose its digits near
/// data. Near noise the last two terms cancel to `α⁴/2`, to an error of an ulp of `α²`.
///
/// ```
/// use vdm_core::{bound::prior_kl, LogSnr};
/// assert!(prior_kl(LogSnr::new(-20.0), 1.0) < 2e-9); // pure noise says nothing about x
/// ```
#[must_use]
pub fn prior_kl(log_snr: LogSnr, x: f64) -> f64 {
    let log_snr = log_snr.value();
    let var_signal = log_snr.sigmoid();
    0.5 * (var_signal * x * x - var_signal + log_snr.softplus())
}

/// `d KL/dλ` of [`prior_kl`], per nat of log-SNR: how the prior term moves with a learned end.
/// `½α²(σ²x² + α²)`: more signal at the noise end always costs.
#[must_use]
pub fn prior_kl_slope(log_snr: LogSnr, x: f64) -> f64 {
    let level = crate::Scaling::VariancePreserving.level(log_snr.value());
    let (var_signal, var_noise) = (level.alpha.powi(2), level.sigma.powi(2));
    0.5 * var_signal * (var_noise * x * x + var_signal)
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

/// `L_T = ½ Σᵢ expm1(λ_s − λ_t) E‖ε − ε̂‖²` with `t = i/T` and `s = (i − 1)/T`: the model is called
/// at `t = 1, …, 1/T` and never at 0. Monograph §2.2.3.
///
/// # Panics
/// If `steps` is 0.
#[must_use]
pub fn discrete(
    schedule: &(impl NoiseSchedule + ?Sized),
    steps: usize,
    mut noise_error: impl FnMut(LogSnr) -> f64,
) -> f64 {
    assert!(steps > 0, "a discrete bound has at least one step");
    let level = |i: usize| schedule.log_snr(i as f64 / steps as f64);
    (1..=steps).map(|i| discrete_factor(level(i - 1), level(i)) * noise_error(level(i))).sum()
}

/// `L_∞ = ½ ∫ E‖ε − ε̂‖² dλ` between the end points: which schedule connects them makes no
/// difference. Monograph §2.3.3. Over a part of the range it is the diffusion loss of the latents in
/// that part alone, `L(t; x)` of §2.4.4 without its prior term (erratum E11).
#[must_use]
pub fn continuous(range: LogSnrRange, mut noise_error: impl FnMut(LogSnr) -> f64) -> f64 {
    0.5 * quadrature::interval(range.min(), range.max(), |l| noise_error(LogSnr::new(l)))
}

/// `L_{2T} − L_T`, what twice the steps change, from the errors `E‖x − x̂‖²` alone:
/// `½ Σᵢ (SNR(s) − SNR(t'))(E‖x − x̂(z_{t'})‖² − E‖x − x̂(z_t)‖²)`, `t' = t − 1/(2T)`. Monograph §2.3.1.
///
/// Negative on average over the data, since the error falls with noise; not for every `x` (erratum
/// E14).
///
/// # Panics
/// If `steps` is 0.
#[must_use]
pub fn doubling(
    schedule: &(impl NoiseSchedule + ?Sized),
    steps: usize,
    mut image_error: impl FnMut(LogSnr) -> f64,
) -> f64 {
    assert!(steps > 0, "a discrete bound has at least one step");
    let level = |half_steps: usize| schedule.log_snr(half_steps as f64 / (2 * steps) as f64);
    (1..=steps)
        .map(|i| {
            let [s, middle, t] = [2 * i - 2, 2 * i - 1, 2 * i].map(level);
            // SNR(s) − SNR(t')
            let gain = middle.snr() * (s.value() - middle.value()).exp_m1();
            0.5 * gain * (image_error(middle) - image_error(t))
        })
        .sum()
}

/// `I(x; z_λ) = ½ ∫₀^SNR MMSE dSNR` in nats: how much a latent knows of the data, from the error of
/// the best denoiser (the I-MMSE relation of Guo, Shamai and Verdú 2005). It rises with `λ`
/// whatever the network does, which is why a fixed posterior cannot collapse (monograph §3).
///
/// `mmse` is [`GaussianMixture::mmse`](crate::GaussianMixture::mmse) or a trained network's error,
/// which makes the result an upper bound.
#[must_use]
pub fn mutual_information(log_snr: LogSnr, mut mmse: impl FnMut(LogSnr) -> f64) -> f64 {
    // Below −40 a latent of unit variance knows less than 1e-17 nats.
    let low = (log_snr.value() - 1.0).min(-40.0);
    let information = |l: f64| LogSnr::new(l).snr() * mmse(LogSnr::new(l));
    0.5 * quadrature::interval(low, log_snr.value(), information)
}

/// Nats of one item to bits per dimension.
///
/// ```
/// use vdm_core::bound::bits_per_dim;
/// assert_eq!(bits_per_dim(8.0 * std::f64::consts::LN_2, 4), 2.0);
/// ```
#[doc(alias = "bpd")]
#[must_use]
pub fn bits_per_dim(nats: f64, dims: usize) -> f64 {
    nats / (dims as f64 * std::f64::consts::LN_2)
}

/// Bits per dimension of discrete data from the log-density of a continuous model, in nats of one
/// item: `−log p/(D ln 2) − log₂ bin_width`, with the width of one data level in the model's units
/// (`2/256` for 8-bit data encoded in `[−1, 1]`). Exact under uniform dequantization, where it is an
/// upper bound on the discrete code length.
///
/// ```
/// use vdm_core::bound::bits_per_dim_of_density;
/// // Uniform over [−1, 1]: every one of 256 levels costs 8 bits.
/// let bits = bits_per_dim_of_density(3.0 * 0.5_f64.ln(), 3, 2.0 / 256.0);
/// assert!((bits - 8.0).abs() < 1e-14);
/// ```
#[must_use]
pub fn bits_per_dim_of_density(log_density: f64, dims: usize, bin_width: f64) -> f64 {
    bits_per_dim(-log_density, dims) - bin_width.log2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hlvm::Normal;
    use crate::{Posterior, Scaling};
    use proptest::prelude::*;

    proptest! {
        /// M25 against the generic formula; it cancels, hence the absolute 1e-13.
        #[test]
        fn prior_kl_is_a_gaussian_kl(log_snr in -10.0..5.0_f64, x in -2.0..2.0_f64) {
            let level = Scaling::VariancePreserving.level(log_snr);
            let q = Normal::new(level.alpha * x, level.sigma.powi(2));
            let generic = q.kl(&Normal::new(0.0, 1.0));
            let closed = prior_kl(LogSnr::new(log_snr), x);
            prop_assert!((generic - closed).abs() < 1e-13 * (1.0 + closed));
        }

        /// Against a central difference with a step of 1e-4, which errs by 1e-8 and 1e-12 of rounding.
        #[test]
        fn prior_kl_has_its_slope(log_snr in -10.0..5.0_f64, x in -2.0..2.0_f64) {
            let at = |step| prior_kl(LogSnr::new(log_snr + step), x);
            let numeric = (at(1e-4) - at(-1e-4)) / 2e-4;
            let exact = prior_kl_slope(LogSnr::new(log_snr), x);
            prop_assert!((numeric - exact).abs() < 1e-7, "{numeric}, not {exact}");
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
                let kl = Normal::new(q.on_x * x, q.var).kl(&Normal::new(q.on_x * x_hat, q.var));
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
