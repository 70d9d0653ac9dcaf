//! Sampling from the hierarchy itself.

use vdm_core::{Denoiser, Latent, Parameterization, Posterior};

use super::{Properties, Solver, Step};
use crate::Run;

/// `z_s ~ p(z_s|z_t) = q(z_s|z_t, x = x̂(z_t))`: the generative model whose bound is trained.
///
/// Ho et al. 2020; monograph §2.2.1 (its printed noise scale has an erratum, E2: the standard
/// deviation is `σ_s·√(−expm1(λ_t − λ_s))`). Converges to the reverse-time SDE at order 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ancestral;

impl<Z: Latent> Solver<Z> for Ancestral {
    type Memory = ();

    fn properties(&self) -> Properties {
        Properties { order: 1, calls_per_step: 1, stochastic: true }
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
        let q = Posterior::between(s, t);
        let eps = run.unit_normal(&z, t, s);
        let z_s = run.lincomb(&[
            (q.on_z + q.on_x * x_hat.on_z, &z),
            (q.on_x * x_hat.on_output, &output.value),
            (q.var.sqrt(), &eps),
        ]);
        for buffer in [z, output.value, eps] {
            run.recycle(buffer);
        }
        Ok(z_s)
    }
}
