//! The single-step second-order update with noise drawn anew after it.

use serde::{Deserialize, Serialize};
use vdm_core::{Denoiser, Latent, Parameterization};

use super::ancestral_step::AncestralStep;
use super::runge_kutta::calls_in_pairs;
use super::{Ddim, Properties, Run, Solver, Step};
use crate::{SolveError, TimeGrid};

/// DPM-Solver++(2S), ancestral: the midpoint rule in log-SNR down to a level below `s`, then fresh
/// noise up to `s` (`dpmpp_2s_ancestral` of k-diffusion).
///
/// With `η` shares of the noise drawn anew, `d` the level with scales `(α_s, √(σ_s² − η²σ_Q²))`,
/// `h = (λ_d − λ_t)/2`, and `u` the level half way from `λ_t` to `λ_d`,
///
/// ```text
/// z_u = (σ_u/σ_t) z_t − α_u expm1(−h/2) x̂(z_t, t)
/// z_s = (σ_d/σ_t) z_t − α_s expm1(−h) x̂(z_u, u) + ησ_Q·noise
/// ```
///
/// Lu et al. 2022b, algorithm 1 with `r = ½`, and Song et al. 2021 for the noise. Steps from pure
/// noise, to clean data, or that renew all noise are [`Ddim`]'s and take one call instead of two.
///
/// Both halves of a step keep the distribution of `z` at its level but for the error of the midpoint rule, so
/// that expectations converge at order 2 for every `η`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DpmSolverPp2SAncestral {
    /// Share of new noise, `≥ 0`; where `η σ_Q` would exceed `σ_s` it is `σ_s`.
    #[serde(deserialize_with = "super::parameter::eta")]
    pub eta: f64,
}

impl Default for DpmSolverPp2SAncestral {
    /// All noise drawn anew, `η = 1`.
    fn default() -> Self {
        Self { eta: 1.0 }
    }
}

impl DpmSolverPp2SAncestral {
    /// How the noise is drawn anew, unless first order is all there is.
    fn ancestral(&self, step: &Step<'_>) -> Option<AncestralStep> {
        let ancestral = AncestralStep::between(self.eta, &step.from, &step.to);
        ancestral.half_gap.is_finite().then_some(ancestral)
    }
}

impl<Z: Latent> Solver<Z> for DpmSolverPp2SAncestral {
    type Memory = ();

    fn properties(&self) -> Properties {
        Properties { order: 2, calls_per_step: 2, stochastic: self.eta > 0.0 }
    }

    fn calls(&self, grid: &TimeGrid) -> usize {
        calls_in_pairs(grid, |step| self.ancestral(step).is_none())
    }

    fn step<D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step<'_>,
        (): &mut (),
    ) -> Result<Z, SolveError<D::Error>> {
        let Some(whole) = self.ancestral(step) else {
            return Ddim { eta: self.eta }.step(run, z, step, &mut ());
        };
        let Step { from: t, to: s, .. } = step;
        let u = step.grid.between(t.log_snr + whole.half_gap);
        let half = AncestralStep::between(0.0, t, &u);
        let x_t = run.predict_as(Parameterization::Image, &z, t)?;
        let z_u = run.lincomb(&[(half.on_z, &z), (half.on_x, &x_t)]);
        let x_u = run.predict_as(Parameterization::Image, &z_u, &u)?;
        let mean = [(whole.on_z, &z), (whole.on_x, &x_u)];
        let z_s = run.sample(&mean, whole.sigma_up, t, s)?;
        [z, x_t, z_u, x_u].into_iter().for_each(|buffer| run.recycle(buffer));
        Ok(z_s)
    }
}
