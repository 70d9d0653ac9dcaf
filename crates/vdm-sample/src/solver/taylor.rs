//! How single-step solvers weigh the stages of a step.
//!
//! A Taylor series of the prediction under the integral of [`exponential`](crate::exponential), its
//! derivatives from the polynomial through the stages (Lu et al. 2022a, proposition 3.1; Lu et al.
//! 2022b, proposition 4.1).

use vdm_core::NoiseLevel;

use super::SolverType;
use crate::exponential::{ExponentialStep, PredictionForm};

/// `z_s = on_z·z_t + Σ_k weights[k] h^k m^{(k)}`, where `m` is what the model predicts.
pub(crate) struct Taylor {
    pub(crate) on_z: f64,
    weights: [f64; 3],
}

impl Taylor {
    /// From `t` to `s`, both of finite log-SNR.
    pub(crate) fn between(prediction: PredictionForm, t: &NoiseLevel, s: &NoiseLevel) -> Self {
        let step = ExponentialStep::between(t, s, prediction, 0.0);
        let [m0, m1, m2] = step.moments();
        Self { on_z: step.on_z, weights: [m0, m1, 0.5 * m2].map(|m| step.gain * m) }
    }

    /// The weight of `m_t` in the update of order 1.
    pub(crate) fn first(&self) -> f64 {
        self.weights[0]
    }

    /// Weights of `m` at `t` and at a share `r` of the way: order 2.
    pub(crate) fn second(&self, solver_type: SolverType, r: f64) -> [f64; 2] {
        let [w0, w1, _] = self.weights;
        let on_stage = match solver_type {
            SolverType::Midpoint => 0.5 * w0,
            SolverType::Heun => w1,
        } / r;
        [w0 - on_stage, on_stage]
    }

    /// Weights of `m` at `t` and at shares `r1 < r2` of the way: order 3, for
    /// [`SolverType::Midpoint`] if `r2 = ⅔`.
    pub(crate) fn third(&self, solver_type: SolverType, r1: f64, r2: f64) -> [f64; 3] {
        let [w0, w1, w2] = self.weights;
        let (on_first, on_second) = match solver_type {
            SolverType::Midpoint => (0.0, w1 / r2),
            SolverType::Heun => {
                ((w1 * r2 - 2.0 * w2) / (r1 * (r2 - r1)), (2.0 * w2 - w1 * r1) / (r2 * (r2 - r1)))
            }
        };
        [w0 - on_first - on_second, on_first, on_second]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vdm_core::Scaling;

    proptest! {
        /// Order conditions, read off the integral itself: the Taylor forms are exact for a
        /// prediction that is a polynomial in log-SNR of degree 1 or 2, and both forms for a
        /// constant. 1e-12 covers the divisions by r and r2 − r1.
        #[test]
        fn taylor_forms_integrate_polynomials(
            gap in 1e-2..6.0_f64, r1 in 0.1..0.4_f64, r2 in 0.5..0.9_f64, c in -1.0..1.0_f64,
        ) {
            let vp = Scaling::VariancePreserving;
            let (t, s) = (vp.level(-1.0), vp.level(gap - 1.0));
            for predicted in [PredictionForm::Data, PredictionForm::Noise] {
                let step = Taylor::between(predicted, &t, &s);
                let [w0, w1, w2] = step.weights;
                let [a, b] = step.second(SolverType::Heun, r1);
                prop_assert!((a + b * (1.0 + c * r1) - (w0 + c * w1)).abs() < 1e-12);
                let m = |r: f64| 1.0 + c * r + r * r;
                let [a, b, d] = step.third(SolverType::Heun, r1, r2);
                prop_assert!((a + b * m(r1) + d * m(r2) - (w0 + c * w1 + 2.0 * w2)).abs() < 1e-11);
                for weights in [
                    step.second(SolverType::Midpoint, r1).to_vec(),
                    step.third(SolverType::Midpoint, r1, r2).to_vec(),
                ] {
                    prop_assert!((weights.iter().sum::<f64>() - w0).abs() < 1e-12);
                }
            }
        }
    }
}
