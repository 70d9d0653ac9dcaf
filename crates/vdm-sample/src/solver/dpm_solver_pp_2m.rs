//! The second-order multistep probability-flow step.

use serde::{Deserialize, Serialize};
use vdm_core::{Denoiser, Latent, Parameterization};

use super::{Properties, Solver, Step};
use crate::{Run, RunError};

/// DPM-Solver++(2M): `x̂` extrapolated linearly in log-SNR from the last two model calls.
///
/// With `h = (λ_s − λ_t)/2` (their `λ` is half of ours) and `r = h_before/h`,
///
/// ```text
/// D   = (1 + 1/2r) x̂_t − (1/2r) x̂_before
/// z_s = (σ_s/σ_t) z_t − α_s expm1(−h) D
/// ```
///
/// Lu et al. 2022, algorithm 2. The first step, and a last step to `σ = 0`, are first order.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DpmSolverPp2M {}

/// The image predicted at the step before, and that step's `h`.
#[derive(Debug)]
pub struct Before<Z> {
    x_hat: Z,
    h: f64,
}

impl<Z: Latent> Solver<Z> for DpmSolverPp2M {
    type Memory = Option<Before<Z>>;

    fn properties(&self) -> Properties {
        Properties { order: 2, calls_per_step: 1, stochastic: false }
    }

    fn step<D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step<'_>,
        memory: &mut Self::Memory,
    ) -> Result<Z, RunError<D::Error>> {
        let Step { from: t, to: s, .. } = step;
        let x_hat = run.predict_as(Parameterization::Image, &z, t)?;
        let h = step.half_gap();
        let (on_z, on_x) = (s.sigma / t.sigma, -s.alpha * (-h).exp_m1());
        let z_s = match memory.take() {
            Some(before) if h.is_finite() => {
                let half_inverse_r = 0.5 * h / before.h;
                let z_s = run.lincomb(&[
                    (on_z, &z),
                    (on_x * (1.0 + half_inverse_r), &x_hat),
                    (-on_x * half_inverse_r, &before.x_hat),
                ]);
                run.recycle(before.x_hat);
                z_s
            }
            _ => run.lincomb(&[(on_z, &z), (on_x, &x_hat)]),
        };
        *memory = Some(Before { x_hat, h });
        run.recycle(z);
        Ok(z_s)
    }
}
