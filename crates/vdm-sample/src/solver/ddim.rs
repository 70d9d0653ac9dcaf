//! The first-order probability-flow step.

use vdm_core::{Denoiser, Latent, Parameterization};

use super::{Properties, Solver, Step};
use crate::Run;

/// `z_s = α_s x̂ + σ_s ε̂`: keep the predicted image and noise, change only their mixture.
///
/// Song et al. 2021 with η = 0. The exact solution if the prediction were constant over the step.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ddim;

impl<Z: Latent> Solver<Z> for Ddim {
    type Memory = ();

    fn properties(&self) -> Properties {
        Properties { order: 1, calls_per_step: 1, stochastic: false }
    }

    fn step<D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step,
        (): &mut (),
    ) -> Result<Z, D::Error> {
        let Step { from: t, to: s, .. } = step;
        let output = run.predict(&z, t)?;
        let x_hat = output.of.to(Parameterization::Image, t);
        let eps_hat = output.of.to(Parameterization::Noise, t);
        let z_s = run.lincomb(&[
            (s.alpha * x_hat.on_z + s.sigma * eps_hat.on_z, &z),
            (s.alpha * x_hat.on_output + s.sigma * eps_hat.on_output, &output.value),
        ]);
        run.recycle(z);
        run.recycle(output.value);
        Ok(z_s)
    }
}
