//! A multistep predictor whose end point is corrected once the model has been called there.
//!
//! The call that starts step `i + 1` is made at the predicted end of step `i`. It first corrects
//! that end, as one more node of the polynomial, and then serves the next prediction: one model
//! call per step (the PEC mode of Adams methods). What `on_step` sees is the predicted end.

use vdm_core::{Denoiser, Latent};

use super::multistep::{MAX_NODES, nodes, terms};
use super::{History, Run};
use crate::exponential::{ExponentialStep, weights};

/// The last predictions, and the step whose end can still be corrected.
#[derive(Debug)]
pub struct CorrectorMemory<Z> {
    pub(super) past: History<Z>,
    open: Option<Open<Z>>,
}

/// A step that was predicted.
#[derive(Debug)]
pub(super) struct Open<Z> {
    /// All of it but the integral of the prediction: `on_z·z_t + std·ε`, so that predictor and
    /// corrector share the noise.
    pub(super) base: Z,
    pub(super) form: ExponentialStep,
    /// How many predictions the predictor combined.
    pub(super) order: usize,
    /// How many the corrector combines, the one at the end of the step included; 0 for no correction.
    pub(super) corrector: usize,
}

impl<Z> Default for CorrectorMemory<Z> {
    fn default() -> Self {
        Self { past: History::default(), open: None }
    }
}

impl<Z: Latent> CorrectorMemory<Z> {
    /// `z`, the predicted end of the last step, corrected with the prediction made there, which is
    /// the newest of the past. `weights(form, nodes)` has the positions of the predictions that the
    /// corrector combines, the newest at 1.
    pub(super) fn correct<D: Denoiser<Z> + ?Sized>(
        &mut self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        weights: impl FnOnce(&ExponentialStep, &[f64]) -> [f64; MAX_NODES],
    ) -> Z {
        let Some(Open { base, form, corrector, .. }) = self.open.take() else { return z };
        let corrected = if corrector == 0 {
            z
        } else {
            run.recycle(z);
            let weights = weights(&form, &nodes(&form, &self.past)[..corrector]);
            run.lincomb(&terms((1.0, &base), form.gain, &weights, &self.past))
        };
        run.recycle(base);
        corrected
    }

    /// The end of a step, predicted with these moments and open to be corrected.
    pub(super) fn predict<D: Denoiser<Z> + ?Sized>(
        &mut self,
        run: &mut Run<'_, Z, D>,
        step: Open<Z>,
        moments: &[f64; MAX_NODES],
    ) -> Z {
        let Open { base, form, order, .. } = &step;
        let weights = weights(moments, &nodes(form, &self.past)[..*order]);
        let z_s = run.lincomb(&terms((1.0, base), form.gain, &weights, &self.past));
        self.open = Some(step);
        z_s
    }
}
