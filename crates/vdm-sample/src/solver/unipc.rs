//! The unified predictor-corrector.

use serde::{Deserialize, Serialize};
use vdm_core::{Denoiser, Latent};

use super::corrector::{CorrectorMemory, Open};
use super::multistep::{MAX_NODES, nodes, singular_step};
use super::{FinalOrder, Order, Properties, Run, Solver, Step};
use crate::SolveError;
use crate::exponential::{ExponentialStep, PredictionForm, weights};

/// UniPC: exponential Adams–Bashforth of order `p`, corrected by Adams–Moulton through one node
/// more, which costs no model call because the next step starts with the one it needs.
///
/// ```text
/// predict   z_s = on_z·z_t + gain·Σ_j w_j f_j          through f_t, f_before, …   (p of them)
/// call      f_s = f(z_s, s)
/// correct   z_s = on_z·z_t + gain·(Σ_j w'_j f_j + w'_s f_s)
/// ```
///
/// Zhao et al. 2023, algorithms 1 and 2. Of order `p + 1`, or `p` without the corrector, as long as
/// the first and last steps, which are of lower order, lie where the prediction hardly moves. The
/// choice for 10 to 20 model calls, with order 2; higher orders need smaller steps.
///
/// ```
/// use vdm_sample::UniPc;
/// use vdm_sample::solver::{Order, UniPcVariant};
/// let solver: UniPc = serde_json::from_str(r#"{"order": 3, "variant": "bh1"}"#)?;
/// assert_eq!(solver, UniPc { variant: UniPcVariant::Bh1, ..UniPc::new(Order::Three) });
/// # Ok::<(), serde_json::Error>(())
/// ```
#[doc(alias = "UniPCMultistepScheduler")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UniPc {
    /// Number of predictions that the predictor combines, `p`.
    pub order: Order,
    /// The weights where they are not determined by the order.
    pub variant: UniPcVariant,
    /// What the polynomial is of.
    pub prediction: PredictionForm,
    /// Whether to correct.
    pub corrector: bool,
    /// The order of the last steps; the authors lower it on every grid.
    pub final_order: FinalOrder,
}

impl Default for UniPc {
    /// Order 2, as other libraries have it.
    fn default() -> Self {
        Self::new(Order::Two)
    }
}

/// How UniPC weighs a slope known from two predictions alone: in the predictor of order 2 and the
/// corrector of order 1. All other weights are those of the exact integral, because there the
/// function `B(h)` of the paper drops out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UniPcVariant {
    /// `B(h) = h`: half of `h`. Diffusers' documentation advises it for unconditional models and
    /// fewer than 10 steps.
    Bh1,
    /// `B(h) = e^h − 1`: half of the weight on the prediction, as DPM-Solver++(2M) has it.
    #[default]
    Bh2,
    /// The exact integral here too: `UniPC_v` of the paper's appendix.
    VaryCoefficients,
    /// `vary_coeff` of the authors' code. Its corrector of order 2 or more leaves the highest
    /// derivative out of the weights on the past and keeps one term of the weight on the new
    /// prediction, which makes the method one of order **1**: for comparison with that code only.
    VaryCoefficientsReleased,
}

impl UniPc {
    /// With the corrector, on images, in the `bh2` variant, of bounded order.
    #[must_use]
    pub const fn new(order: Order) -> Self {
        Self {
            order,
            variant: UniPcVariant::Bh2,
            prediction: PredictionForm::Data,
            corrector: true,
            final_order: FinalOrder::ALWAYS_BOUNDED,
        }
    }

    /// The moments of a polynomial through so many nodes.
    fn moments(&self, form: &ExponentialStep, nodes: usize) -> [f64; MAX_NODES] {
        let mut moments = form.moments();
        if nodes == 2 {
            match self.variant {
                UniPcVariant::Bh1 => moments[1] = 0.5 * form.rate,
                UniPcVariant::Bh2 => moments[1] = 0.5 * moments[0],
                UniPcVariant::VaryCoefficients | UniPcVariant::VaryCoefficientsReleased => {}
            }
        }
        moments
    }

    /// The weights that correct a step, the first of them on the prediction at its end.
    fn corrected(&self, form: &ExponentialStep, nodes: &[f64]) -> [f64; MAX_NODES] {
        let moments = self.moments(form, nodes.len());
        if self.variant == UniPcVariant::VaryCoefficientsReleased && nodes.len() > 2 {
            released(moments, nodes)
        } else {
            weights(&moments, nodes)
        }
    }
}

/// The corrector of the authors' code for varying coefficients, of order 2 or more.
fn released(moments: [f64; MAX_NODES], nodes: &[f64]) -> [f64; MAX_NODES] {
    let order = nodes.len() - 1;
    let (mut past, mut newest) = (moments, [0.0; MAX_NODES]);
    past[order] = 0.0;
    newest[order - 1] = moments[order] / order as f64;
    let mut corrected = weights(&past, nodes);
    let on_newest = weights(&newest, nodes)[0];
    // The prediction at the start stands in every difference: the weights add up to the first
    // moment.
    corrected[1] += corrected[0] - on_newest;
    corrected[0] = on_newest;
    corrected
}

impl<Z: Latent> Solver<Z> for UniPc {
    type Memory = CorrectorMemory<Z>;

    fn properties(&self) -> Properties {
        let order = match self.order.into() {
            order if !self.corrector => order,
            2.. if self.variant == UniPcVariant::VaryCoefficientsReleased => 1,
            order => order + 1,
        };
        Properties { order, calls_per_step: 1, stochastic: false }
    }

    fn step<D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step<'_>,
        memory: &mut Self::Memory,
    ) -> Result<Z, SolveError<D::Error>> {
        if step.is_singular() {
            return singular_step(run, z, step, 0.0);
        }
        let Step { from: t, to: s, .. } = step;
        let order = self.order.get();
        let prediction = run.predict_as(self.prediction.parameterization(), &z, t)?;
        memory.past.push(run, prediction, *t, order + 1);
        let z = memory.correct(run, z, |form, nodes| self.corrected(form, nodes));
        let form = ExponentialStep::between(t, s, self.prediction, 0.0);
        let nodes = nodes(&form, &memory.past);
        let weights = |order: usize| weights(&self.moments(&form, order), &nodes[..order]);
        let order = self.final_order.of_step(order.min(memory.past.len()), step, weights);
        let corrector = if self.corrector { order + 1 } else { 0 };
        let base = run.lincomb(&[(form.on_z, &z)]);
        run.recycle(z);
        Ok(memory.predict(run, Open { base, form, order, corrector }, &self.moments(&form, order)))
    }
}
