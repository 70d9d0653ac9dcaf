//! The part of a step that has a closed form: exponential integrators in half the log-SNR.
//!
//! Between two levels the mixture of image and noise changes fast, in a known way; what the model
//! predicts changes slowly. With `ℓ = λ/2`, `h = ℓ_s − ℓ_t` and a strength `η ≥ 0` of new noise,
//! the generative process from `t` to the cleaner `s` is, without approximation,
//!
//! ```text
//! of images: z_s = (σ_s/σ_t)e^{−ηh} z_t + (1+η)α_s ∫ e^{−(1+η)(ℓ_s−ℓ)} x̂ dℓ + σ_s√(1−e^{−2ηh}) ε
//! of noise:  z_s = (α_s/α_t) z_t        − (1+η)σ_s ∫ e^{ℓ_s−ℓ} ε̂ dℓ         + σ_s√(η(e^{2h}−1)) ε
//! ```
//!
//! `η = 0` is the probability-flow ODE, `η = 1` the reverse-time SDE (Lu et al. 2022; Xue et al.
//! 2023, whose `τ²` is `η`). It is the `strength` of the solvers here, which k-diffusion calls `eta`; the
//! [`Ddim::eta`](crate::Ddim::eta) of DDIM and of ancestral steps is another number, a share of the noise. With `θ = (ℓ − ℓ_t)/h`, which runs from 0 to 1, both are
//!
//! ```text
//! z_s = on_z·z_t + gain·∫₀¹ a e^{−a(1−θ)} f(θ) dθ + std·ε,     a = (1+η)h or −h
//! ```
//!
//! and a polynomial `f` through known predictions is integrated exactly by the moments `∫₀¹ a
//! e^{−a(1−θ)} θ^k dθ = a·k!·φ_{k+1}(−a)`. The multistep solvers differ in their nodes and in the
//! moments that they use; this module serves those who write one more.
//!
//! ```
//! use vdm_core::Scaling;
//! use vdm_sample::exponential::{ExponentialStep, PredictionForm, weights};
//!
//! // Two-step Adams–Bashforth: weights on the predictions here and one step before.
//! let level = |log_snr| Scaling::VariancePreserving.level(log_snr);
//! let step = ExponentialStep::between(&level(0.0), &level(0.2), PredictionForm::Data, 0.0);
//! let nodes = [0.0, step.position(&level(-0.2))];
//! let [here, before] = weights(&step.moments(), &nodes);
//! assert!((here + before - (1.0 - (-0.1_f64).exp())).abs() < 1e-16);
//! assert!(before < 0.0); // it extrapolates
//! ```

use serde::{Deserialize, Serialize};
use vdm_core::{NoiseLevel, Parameterization};

/// `φ_1(z), …, φ_K(z)`, where `φ_k(z) = ∫₀¹ e^{(1−θ)z} θ^{k−1}/(k−1)! dθ`, for finite `z`; to a
/// relative 1e-13 for `K ≤ 5`.
///
/// `φ_1 = (e^z − 1)/z` and `φ_{k+1} = (φ_k − 1/k!)/z` (Hochbruck and Ostermann 2010, §2).
///
/// ```
/// use vdm_sample::exponential::phi;
/// assert_eq!(phi::<3>(0.0), [1.0, 1.0 / 2.0, 1.0 / 6.0]);
/// ```
///
/// # Panics
/// If `K` is 0.
#[must_use]
pub fn phi<const K: usize>(z: f64) -> [f64; K] {
    let mut phi = [0.0; K];
    let mut inverse_factorial = [1.0; K]; // of 1, …, K
    for k in 1..K {
        inverse_factorial[k] = inverse_factorial[k - 1] / (k + 1) as f64;
    }
    if z.abs() < 2.0 {
        // Near 0 the recurrence upwards cancels; the series of the last one does not, nor does
        // the recurrence downwards. 2^24/25! is below one rounding.
        let series = (1..=24).rev().fold(1.0, |sum, j| 1.0 + z / (K + j) as f64 * sum);
        phi[K - 1] = inverse_factorial[K - 1] * series;
        for k in (0..K - 1).rev() {
            phi[k] = z * phi[k + 1] + inverse_factorial[k];
        }
    } else {
        phi[0] = z.exp_m1() / z;
        for k in 1..K {
            phi[k] = (phi[k - 1] - inverse_factorial[k - 1]) / z;
        }
    }
    phi
}

/// The prediction that a solver takes for a polynomial in the log-SNR, in the DPM-Solver papers' words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PredictionForm {
    /// Data prediction, `x̂`: DPM-Solver++, stable for large steps.
    #[default]
    Data,
    /// Noise prediction, `ε̂`: DPM-Solver and DEIS, more exact where steps are small at high noise.
    Noise,
}

impl PredictionForm {
    /// What the model is asked for.
    #[must_use]
    pub fn parameterization(self) -> Parameterization {
        match self {
            Self::Data => Parameterization::Image,
            Self::Noise => Parameterization::Noise,
        }
    }
}

/// The closed-form part of one step; see the [module](self).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExponentialStep {
    /// What the latent is multiplied by.
    pub on_z: f64,
    /// What the integral of the prediction is multiplied by: `α_s`, or `(1+η)σ_s` for noise.
    pub gain: f64,
    /// `a`, the exponent over the step: `(1+η)h`, or `−h` for noise.
    pub rate: f64,
    /// Standard deviation of the new noise, in latent units.
    pub std: f64,
    from: f64,
    to: f64,
}

impl ExponentialStep {
    /// From `t` to the cleaner `s` with a `strength ≥ 0` of new noise, `η` above. Of infinite log-SNR only what
    /// [`on_constant`](Self::on_constant) says is defined.
    #[must_use]
    pub fn between(
        t: &NoiseLevel,
        s: &NoiseLevel,
        prediction: PredictionForm,
        strength: f64,
    ) -> Self {
        let h = 0.5 * (s.log_snr - t.log_snr);
        // Nothing is renewed at strength 0, however long the step.
        let renewed = if strength == 0.0 { 0.0 } else { strength * h };
        let (on_z, gain, rate, var) = match prediction {
            PredictionForm::Data => (
                s.sigma / t.sigma * (-renewed).exp(),
                s.alpha,
                h + renewed,
                -(-2.0 * renewed).exp_m1(),
            ),
            PredictionForm::Noise => {
                (s.alpha / t.alpha, (1.0 + strength) * s.sigma, -h, strength * (2.0 * h).exp_m1())
            }
        };
        Self { on_z, gain, rate, std: s.sigma * var.sqrt(), from: t.log_snr, to: s.log_snr }
    }

    /// What a prediction that does not change over the step counts for: the gain times `1 − e^{−a}`. With
    /// data prediction it is finite at infinite ends too, as are `on_z` and `std`.
    #[must_use]
    pub fn on_constant(&self) -> f64 {
        -self.gain * (-self.rate).exp_m1()
    }

    /// `θ` of a level: 0 at the start of the step, 1 at its end, negative before it.
    #[must_use]
    pub fn position(&self, at: &NoiseLevel) -> f64 {
        (at.log_snr - self.from) / (self.to - self.from)
    }

    /// `∫₀¹ a e^{−a(1−θ)} θ^k dθ` for `k = 0, …, N−1`.
    ///
    /// # Panics
    /// If `N` is 0.
    #[must_use]
    pub fn moments<const N: usize>(&self) -> [f64; N] {
        let mut moments = phi(-self.rate);
        let mut scale = self.rate;
        for (k, moment) in moments.iter_mut().enumerate() {
            scale *= k.max(1) as f64;
            *moment *= scale;
        }
        moments
    }
}

/// The weights on values at distinct `nodes` that integrate the polynomial through them, given the
/// integrals of `1, θ, θ², …`; 0 beyond the last node.
///
/// Lagrange's form. Where all nodes lie at `θ ≤ 0`, as in extrapolation, nothing cancels.
///
/// ```
/// use vdm_sample::exponential::weights;
/// let simpson = weights(&[1.0, 1.0 / 2.0, 1.0 / 3.0], &[0.0, 0.5, 1.0]);
/// assert!((simpson[1] - 2.0 / 3.0).abs() < 1e-15);
/// ```
///
/// # Panics
/// If there are more nodes than moments.
#[must_use]
pub fn weights<const N: usize>(moments: &[f64; N], nodes: &[f64]) -> [f64; N] {
    assert!(nodes.len() <= N, "{} nodes need as many moments, got {N}", nodes.len());
    let mut weights = [0.0; N];
    for (j, node) in nodes.iter().enumerate() {
        // Π_{i≠j} (θ − θ_i), lowest power first, and its value at θ_j.
        let mut product = [0.0; N];
        product[0] = 1.0;
        let mut value = 1.0;
        for (_, other) in nodes.iter().enumerate().filter(|(i, _)| *i != j) {
            for k in (1..N).rev() {
                product[k] = product[k - 1] - other * product[k];
            }
            product[0] *= -other;
            value *= node - other;
        }
        weights[j] = product.iter().zip(moments).map(|(c, m)| c * m).sum::<f64>() / value;
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vdm_core::Scaling;

    /// `φ_1(z), …, φ_5(z)` from their series in 80 digits. 1e-13 is several hundred roundings; the
    /// recurrence upwards alone would lose 12 digits at 1e-3.
    #[test]
    fn phi_equals_its_series_in_80_digits() {
        let table = [
            (-40.0, [0.025, 0.024375, 0.011890625, 0.003869401041666667, 0.000944931640625]),
            (
                -6.5,
                [
                    0.15361485550877269,
                    0.13021309915249651,
                    0.05689029243807746,
                    0.016888672958244495,
                    0.0038119990320649496,
                ],
            ),
            (
                -2.0,
                [
                    0.43233235838169365,
                    0.28383382080915315,
                    0.10808308959542341,
                    0.029291788535621626,
                    0.00618743906552252,
                ],
            ),
            (
                -1.9999,
                [
                    0.4323472086396143,
                    0.2838405877095783,
                    0.10808511040073088,
                    0.02929224274510515,
                    0.006187521336847601,
                ],
            ),
            (
                -0.7,
                [
                    0.7191638517265578,
                    0.4011944975334888,
                    0.14115071780930172,
                    0.03645135551052137,
                    0.0074504445087789925,
                ],
            ),
            (
                -0.001,
                [
                    0.9995001666250083,
                    0.4998333749916681,
                    0.16662500833194463,
                    0.041658334722023835,
                    0.008331944642832344,
                ],
            ),
            (
                -1e-09,
                [
                    0.9999999995,
                    0.4999999998333333,
                    0.166666666625,
                    0.04166666665833333,
                    0.008333333331944444,
                ],
            ),
            (
                1e-12,
                [
                    1.0000000000005,
                    0.5000000000001666,
                    0.16666666666670835,
                    0.041666666666675,
                    0.008333333333334723,
                ],
            ),
            (
                0.05,
                [
                    1.0254219275204808,
                    0.5084385504096158,
                    0.16877100819231758,
                    0.04208683051301827,
                    0.008403276927032056,
                ],
            ),
            (
                1.3,
                [
                    2.0533051289378803,
                    0.8102347145676001,
                    0.23864208812892318,
                    0.05536570881712039,
                    0.010537724731118251,
                ],
            ),
            (
                2.0,
                [
                    3.194528049465325,
                    1.0972640247326626,
                    0.2986320123663313,
                    0.06598267284983231,
                    0.01215800309158282,
                ],
            ),
            (
                3.7,
                [
                    10.661433610829025,
                    2.611198273197034,
                    0.5705941278910902,
                    0.10916958411470906,
                    0.01824403174271416,
                ],
            ),
            (
                25.0,
                [
                    2880195973.455435,
                    115207838.8982174,
                    4608313.535928695,
                    184332.53477048117,
                    7373.29972415258,
                ],
            ),
        ];
        for (z, wanted) in table {
            for (k, (got, wanted)) in phi::<5>(z).into_iter().zip(wanted).enumerate() {
                assert!((got / wanted - 1.0).abs() < 1e-13, "phi_{}({z}) = {got}", k + 1);
            }
        }
    }

    /// `∫₀¹ a e^{−a(1−θ)} L_j(θ) dθ` from 40-digit quadrature, for steps of both signs, short and
    /// long, with nodes close together and with one at the end. Errors count against the largest
    /// weight, since only the sum over predictions of like size matters.
    #[test]
    fn weights_equal_40_digit_quadrature() {
        let table: [(f64, &[f64], &[f64]); 6] = [
            (
                0.05,
                &[0.0, -0.5, -2.25],
                &[0.12350723947089776, -0.08203943081248359, 0.0073027668408718275],
            ),
            (
                1.75,
                &[0.0, -1.25, -2.0, -4.5],
                &[1.9314945682817006, -2.510579358713214, 1.4854181751408462, -0.08010732815977793],
            ),
            (
                -0.375,
                &[0.0, -0.75, -1.5, -2.5],
                &[-1.2354199706696856, 1.4748264035776082, -0.8431852551139737, 0.1487874075878499],
            ),
            (
                12.5,
                &[1.0, 0.0, -0.25, -1.5],
                &[0.8424729727266697, 0.5468560980386702, -0.405177496577747, 0.01584469915923508],
            ),
            (
                1e-06,
                &[1.0, 0.0, -1.125, -2.0, -3.0],
                &[
                    3.5220578692812536e-07,
                    8.700612188273366e-07,
                    -3.7394733070240476e-07,
                    1.821427742063725e-07,
                    -3.0462949259263074e-08,
                ],
            ),
            (
                -3.5,
                &[1.0, 0.0, -0.0625, -1.0, -2.0],
                &[
                    -2.679947647804837,
                    -145.6560045696865,
                    118.34431330251235,
                    -2.3470022749840176,
                    0.22318923127069573,
                ],
            ),
        ];
        for (rate, nodes, wanted) in table {
            let step = ExponentialStep { on_z: 1.0, gain: 1.0, rate, std: 0.0, from: 0.0, to: 1.0 };
            let got: [f64; 5] = weights(&step.moments(), nodes);
            let scale = wanted.iter().fold(0.0_f64, |m, w| m.max(w.abs()));
            for (got, wanted) in got.iter().zip(wanted) {
                assert!((got - wanted).abs() < 1e-13 * scale, "{rate} {nodes:?}: {got} {wanted}");
            }
            assert!(got[nodes.len()..].iter().all(|w| *w == 0.0));
        }
    }

    fn scaling() -> impl Strategy<Value = Scaling> {
        prop_oneof![
            Just(Scaling::VariancePreserving),
            Just(Scaling::VarianceExploding),
            Just(Scaling::StraightLine)
        ]
    }

    proptest! {
        /// Where the prediction is right and does not move, a step of any length and strength ends
        /// with the distribution of its end. Tolerance: roundings of exponentials of up to 10.
        #[test]
        fn a_constant_prediction_is_integrated_exactly(
            scaling in scaling(), from in -10.0..9.0_f64, gap in 0.01..10.0_f64,
            strength in 0.0..2.0_f64,
        ) {
            let (t, s) = (scaling.level(from), scaling.level(from + gap));
            let image = ExponentialStep::between(&t, &s, PredictionForm::Data, strength);
            let [on_x] = image.moments();
            let alpha = image.on_z * t.alpha + image.gain * on_x;
            prop_assert!((alpha / s.alpha - 1.0).abs() < 1e-13);
            let var = (image.on_z * t.sigma).powi(2) + image.std.powi(2);
            prop_assert!((var / s.sigma.powi(2) - 1.0).abs() < 1e-13);
            let noise = ExponentialStep::between(&t, &s, PredictionForm::Noise, 0.0);
            let [on_eps] = noise.moments();
            prop_assert!((noise.on_z * t.alpha / s.alpha - 1.0).abs() < 1e-13);
            let sigma = noise.on_z * t.sigma + noise.gain * on_eps;
            // Two terms of size α_sσ_t/α_t cancel to σ_s.
            prop_assert!((sigma - s.sigma).abs() < 1e-13 * noise.on_z * t.sigma);
            prop_assert_eq!(noise.std, 0.0);
        }

        /// Both forms are one SDE: the drift and the noise of a short step agree to first order in
        /// its length, `5e-7`; second order is below `1e-11` for the strengths tried.
        #[test]
        fn both_forms_have_the_same_small_steps(
            scaling in scaling(), from in -5.0..5.0_f64, strength in 0.0..2.0_f64,
        ) {
            let gap = 1e-6;
            let (t, s) = (scaling.level(from), scaling.level(from + gap));
            let image = ExponentialStep::between(&t, &s, PredictionForm::Data, strength);
            let noise = ExponentialStep::between(&t, &s, PredictionForm::Noise, strength);
            // What becomes of the noise in z_t when the image is known, and so the noise too.
            let [on_eps] = noise.moments();
            let of_images = image.on_z * t.sigma / s.sigma;
            let of_noise = (noise.on_z * t.sigma + noise.gain * on_eps) / s.sigma;
            prop_assert!((of_images - of_noise).abs() < 1e-11, "{of_images} {of_noise}");
            prop_assert!((image.std - noise.std).abs() <= 3e-6 * image.std);
        }
    }
}
