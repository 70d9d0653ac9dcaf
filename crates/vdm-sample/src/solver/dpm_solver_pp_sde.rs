//! The single-step second-order update of the reverse-time SDE.

use serde::{Deserialize, Serialize};
use vdm_core::{Denoiser, Latent, Parameterization};

use super::ancestral_step::AncestralStep;
use super::runge_kutta::calls_in_pairs;
use super::{Ddim, Properties, Run, Solver, StageShare, Step};
use crate::{SolveError, TimeGrid};

/// DPM-Solver++ for the SDE, single-step: a noisy first-order move to a stage `u` inside the step,
/// then a noisy move over the whole step with the image extrapolated from both (`dpmpp_sde` of
/// k-diffusion).
///
/// With `λ_u = λ_t + r(λ_s − λ_t)`, and `↓` the first-order move with share `η` of new noise,
///
/// ```text
/// z_u = z_t ↓ u  by x̂_t
/// z_s = z_t ↓ s  by (1 − 1/2r) x̂_t + (1/2r) x̂_u
/// ```
///
/// Lu et al. 2022b (SDE-DPM-Solver++); the shares of noise are those of Song et al. 2021. Steps from pure noise and
/// to clean data are [`Ddim`]'s and take one call instead of two.
///
/// Noise is drawn twice, for `(t, u)` and for `(t, s)`, intervals that overlap. Expectations
/// converge at order 2 if the [`NoiseSource`](crate::NoiseSource) answers both from one Brownian
/// path, whose clock is `e^λ`; with independent draws variances do so at order 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DpmSolverPpSde {
    /// Share of new noise, `≥ 0`; where `η σ_Q` would exceed `σ_s` it is `σ_s`.
    #[serde(deserialize_with = "super::parameter::eta")]
    pub eta: f64,
    /// Where the stage lies.
    pub r: StageShare,
}

impl Default for DpmSolverPpSde {
    /// The SDE itself, `η = 1`, with the stage in the middle.
    fn default() -> Self {
        Self { eta: 1.0, r: StageShare::MIDDLE }
    }
}

impl<Z: Latent> Solver<Z> for DpmSolverPpSde {
    type Memory = ();

    fn properties(&self) -> Properties {
        let stochastic = self.eta > 0.0;
        Properties { order: if stochastic { 1 } else { 2 }, calls_per_step: 2, stochastic }
    }

    fn calls(&self, grid: &TimeGrid) -> usize {
        calls_in_pairs(grid, |step| step.is_singular())
    }

    fn step<D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step<'_>,
        (): &mut (),
    ) -> Result<Z, SolveError<D::Error>> {
        if step.is_singular() {
            return Ddim { eta: self.eta }.step(run, z, step, &mut ());
        }
        let Step { from: t, to: s, .. } = step;
        let r = self.r.value();
        let u = step.grid.between(t.log_snr + r * (s.log_snr - t.log_snr));
        let part = AncestralStep::between(self.eta, t, &u);
        let x_t = run.predict_as(Parameterization::Image, &z, t)?;
        let z_u = run.sample(&[(part.on_z, &z), (part.on_x, &x_t)], part.sigma_up, t, &u)?;
        let x_u = run.predict_as(Parameterization::Image, &z_u, &u)?;
        let whole = AncestralStep::between(self.eta, t, s);
        let on_u = whole.on_x * 0.5 / r;
        let mean = [(whole.on_z, &z), (whole.on_x - on_u, &x_t), (on_u, &x_u)];
        let z_s = run.sample(&mean, whole.sigma_up, t, s)?;
        [z, x_t, z_u, x_u].into_iter().for_each(|buffer| run.recycle(buffer));
        Ok(z_s)
    }
}
