//! The stochastic Adams method.

use serde::{Deserialize, Serialize};
use vdm_core::{Denoiser, Latent, Parameterization};

use super::corrector::{CorrectorMemory, Open};
use super::multistep::{nodes, singular_step};
use super::parameter::EdmSigmaRange;
use super::{FinalOrder, Order, Properties, Run, Solver, Step};
use crate::SolveError;
use crate::exponential::{ExponentialStep, PredictionForm, weights};

/// SA-Solver: Adams–Bashforth predictor and Adams–Moulton corrector for the reverse-time SDE of any
/// strength, with the exact weights of the polynomial in `λ`.
///
/// ```text
/// predict   z_s = (σ_s/σ_t)e^{−ηh} z_t + α_s Σ_j w_j x̂_j + σ_s√(1−e^{−2ηh}) ε
/// call      x̂_s = x̂(z_s, s)
/// correct   the same with x̂_s as one more node, and the same ε
/// ```
///
/// Xue et al. 2023, algorithm 1, where `η = τ²` and `x̂` is what is predicted. One model call per
/// step: the next step starts with the one that corrects this. Without noise it has the order of
/// the corrector, but at most one more than the predictor's. With noise, paths have an error of
/// `O(τh + h^order)`, as the authors prove, and expectations converge with order 2 at most. Noise
/// heals errors made at earlier levels: the authors find better images with some of it from about
/// 20 model calls on.
///
/// ```
/// use vdm_sample::solver::{EdmSigmaRange, Order, SaSolver};
/// // Noise at medium levels only.
/// let solver = SaSolver {
///     strength: 1.0,
///     noisy: Some(EdmSigmaRange { min: 0.05, max: 1.0 }),
///     ..SaSolver::default()
/// };
/// assert_eq!((solver.predictor, solver.corrector), (Order::Three, Some(Order::Three)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SaSolver {
    /// Number of predictions that the predictor combines.
    pub predictor: Order,
    /// Number of predictions that the corrector combines, the one at the end of the step
    /// included; none for no corrector.
    pub corrector: Option<Order>,
    /// `τ²`, strength of new noise, `≥ 0`: 0 for the ODE, 1 for the reverse-time SDE.
    #[serde(deserialize_with = "super::parameter::strength")]
    pub strength: f64,
    /// Where noise is added, if not everywhere: steps that start at a level in this range.
    pub noisy: Option<EdmSigmaRange>,
    /// The order of the last steps, of predictor and corrector; the authors lower it on every grid.
    pub final_order: FinalOrder,
}

impl Default for SaSolver {
    fn default() -> Self {
        Self {
            predictor: Order::Three,
            corrector: Some(Order::Three),
            strength: 1.0,
            noisy: None,
            final_order: FinalOrder::ALWAYS_BOUNDED,
        }
    }
}

impl<Z: Latent> Solver<Z> for SaSolver {
    type Memory = CorrectorMemory<Z>;

    fn properties(&self) -> Properties {
        let predictor = u32::from(self.predictor);
        let order = match self.corrector {
            None => predictor,
            Some(corrector) => u32::from(corrector).min(predictor + 1),
        };
        let stochastic = self.strength > 0.0;
        let order = if stochastic { order.min(2) } else { order };
        Properties { order, calls_per_step: 1, stochastic }
    }

    fn step<D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step<'_>,
        memory: &mut Self::Memory,
    ) -> Result<Z, SolveError<D::Error>> {
        let Step { from: t, to: s, .. } = step;
        let strength =
            if self.noisy.is_none_or(|range| range.contains(t)) { self.strength } else { 0.0 };
        if step.is_singular() {
            return singular_step(run, z, step, strength);
        }
        let (predictor, corrector) = (self.predictor.get(), self.corrector.map_or(0, Order::get));
        let prediction = run.predict_as(Parameterization::Image, &z, t)?;
        memory.past.push(run, prediction, *t, predictor.max(corrector));
        let z = memory.correct(run, z, |form, nodes| weights(&form.moments(), nodes));
        let form = ExponentialStep::between(t, s, PredictionForm::Data, strength);
        let (nodes, known) = (nodes(&form, &memory.past), memory.past.len());
        let of_past = |most: usize| {
            let weights = |order: usize| weights(&form.moments(), &nodes[..order]);
            self.final_order.of_step(most.min(known), step, weights)
        };
        let order = of_past(predictor);
        let corrector = corrector.checked_sub(1).map_or(0, |most| 1 + of_past(most));
        let base = run.sample(&[(form.on_z, &z)], form.std, t, s)?;
        run.recycle(z);
        Ok(memory.predict(run, Open { base, form, order, corrector }, &form.moments()))
    }
}
