//! The first-order step that every other converges to, with any share of noise.

use serde::{Deserialize, Serialize};
use vdm_core::{Denoiser, Latent, Parameterization};

use super::ancestral_step::AncestralStep;
use super::{Properties, Run, Solver, Step};
use crate::SolveError;
use crate::solve::express;

/// `z_s = α_s x̂ + √(σ_s² − η²σ_Q²) ε̂ + ησ_Q·noise`: keep the predicted image and noise, change
/// only their mixture, and renew the share `η` of the noise.
///
/// Song et al. 2021. One rule of many names, equal in exact arithmetic under every scaling:
///
/// | `η` | also known as |
/// |---|---|
/// | 0 | Euler's step for the probability-flow ODE in EDM's `σ` (Karras et al. 2022) and in flow matching's `t`, DPM-Solver-1, DPM-Solver++(1) |
/// | 1 | [`Ancestral`](super::Ancestral) with small variance, Euler ancestral of k-diffusion |
#[doc(alias = "euler")]
#[doc(alias = "euler_a")]
#[doc(alias = "DDIMScheduler")]
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ddim {
    /// Share of new noise, `≥ 0`; where `η σ_Q` would exceed `σ_s` it is `σ_s`.
    #[serde(default)]
    #[serde(deserialize_with = "super::parameter::eta")]
    pub eta: f64,
}

impl<Z: Latent> Solver<Z> for Ddim {
    type Memory = ();

    fn properties(&self) -> Properties {
        Properties { order: 1, calls_per_step: 1, stochastic: self.eta > 0.0 }
    }

    fn step<D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step<'_>,
        (): &mut (),
    ) -> Result<Z, SolveError<D::Error>> {
        let Step { from: t, to: s, .. } = step;
        let output = run.predict(&z, t)?;
        let x_hat = express(output.of, Parameterization::Image, t)?;
        let eps_hat = express(output.of, Parameterization::Noise, t)?;
        let AncestralStep { sigma_down, sigma_up, .. } = AncestralStep::between(self.eta, t, s);
        let mean = [
            (s.alpha * x_hat.on_z + sigma_down * eps_hat.on_z, &z),
            (s.alpha * x_hat.on_output + sigma_down * eps_hat.on_output, &output.value),
        ];
        let z_s = run.sample(&mean, sigma_up, t, s)?;
        run.recycle(z);
        run.recycle(output.value);
        Ok(z_s)
    }
}
