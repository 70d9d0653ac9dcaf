//! The reverse-time SDEs of every diffusion strength, from the probability-flow ODE upwards.
//!
//! To the probability-flow ODE one may add Langevin dynamics of any strength `s ≥ 0` without
//! changing the distribution at any level (Karras et al. 2022, eq. 6). With `ℓ = λ/2` and the coordinate
//! `z/α`, whose noise is `e^{−ℓ}`,
//!
//! ```text
//! d(z/α) = −(1 + s)(z/α − x̂) dℓ + √(2s) e^{−ℓ} dW_ℓ
//! ```
//!
//! `s = 0` is the ODE, `s = 1` the time reversal of the forward process. Taken like this it is
//! stiff: Euler's step is unstable once `(1 + s)dℓ > 2`. But with the time `ω = e^{(1+s)ℓ} =
//! (α/σ)^{1+s}` and the state `y = ω z/α` the linear part is gone:
//!
//! ```text
//! dy = x̂ dω + dN,   Var N = e^{2sℓ_s} − e^{2sℓ_t} over a step
//! ```
//!
//! The drift is the model's prediction alone and the noise does not depend on the state, so the
//! textbook methods for additive noise apply and no step is too long. Back in `z`, with
//! `h = ℓ_s − ℓ_t`,
//!
//! ```text
//! z_s = (σ_s/σ_t) e^{−sh} z_t + α_s(1 − e^{−(1+s)h})·x̂ + σ_s √(1 − e^{−2sh})·noise
//! ```
//!
//! the [exponential](crate::exponential) step of images, where [`EulerMaruyama`] takes `x̂` at the start and [`StochasticHeun`] the mean of both ends.

use serde::{Deserialize, Serialize};
use vdm_core::{Denoiser, Latent, Parameterization};

use super::runge_kutta::calls_in_pairs;
use super::{Properties, Run, Solver, Step};
use crate::exponential::{ExponentialStep, PredictionForm};
use crate::{SolveError, TimeGrid};

/// Euler and Maruyama's method: `x̂` of the step's start.
///
/// Weak and strong order 1. At strength 0 it is [`Ddim`](super::Ddim), at strength 1
/// [`Ancestral`](super::Ancestral) with small variance; between and above, the first-order step of
/// SDE-DPM-Solver++ (Lu et al. 2022). Strengths above 1 forget errors of the model faster and need
/// more steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EulerMaruyama {
    /// `s ≥ 0`, 0 for the ODE, 1 for the reverse SDE.
    #[serde(deserialize_with = "super::parameter::strength")]
    pub strength: f64,
}

impl Default for EulerMaruyama {
    /// The reverse SDE.
    fn default() -> Self {
        Self { strength: 1.0 }
    }
}

impl<Z: Latent> Solver<Z> for EulerMaruyama {
    type Memory = ();

    fn properties(&self) -> Properties {
        Properties { order: 1, calls_per_step: 1, stochastic: self.strength > 0.0 }
    }

    fn step<D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step<'_>,
        (): &mut (),
    ) -> Result<Z, SolveError<D::Error>> {
        let Step { from: t, to: s, .. } = step;
        let form = ExponentialStep::between(t, s, PredictionForm::Data, self.strength);
        let x_hat = run.predict_as(Parameterization::Image, &z, t)?;
        let mean = [(form.on_z, &z), (form.on_constant(), &x_hat)];
        let z_s = run.sample(&mean, form.std, t, s)?;
        run.recycle(z);
        run.recycle(x_hat);
        Ok(z_s)
    }
}

/// Heun's method with noise: the mean of `x̂` at both ends, the far one reached by
/// [`EulerMaruyama`]'s step, noise included.
///
/// Weak order 2: for additive noise `dy = a dω + dN`,
///
/// ```text
/// y_s = y_t + ½[a(y_t, t) + a(y_t + a(y_t, t)Δω + ΔN, s)]Δω + ΔN
/// ```
///
/// has the mean and variance of the solution to second order in `Δω`. The terms in `a` alone are
/// those of Heun's method; that the same `ΔN` enters drift and state gives `¼a″·Var ΔN·Δω` of the
/// mean and `a′·Var ΔN·Δω` of the variance. Strong order 1, as the drift sees where the noise's
/// path ends but not its integral. One call and first order where a step ends at `σ = 0`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StochasticHeun {
    /// `s ≥ 0`, 0 for the ODE, 1 for the reverse SDE.
    #[serde(deserialize_with = "super::parameter::strength")]
    pub strength: f64,
}

impl Default for StochasticHeun {
    /// The reverse SDE.
    fn default() -> Self {
        Self { strength: 1.0 }
    }
}

impl<Z: Latent> Solver<Z> for StochasticHeun {
    type Memory = ();

    fn properties(&self) -> Properties {
        Properties { order: 2, calls_per_step: 2, stochastic: self.strength > 0.0 }
    }

    fn calls(&self, grid: &TimeGrid) -> usize {
        calls_in_pairs(grid, |step| step.to.sigma == 0.0)
    }

    fn step<D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step<'_>,
        (): &mut (),
    ) -> Result<Z, SolveError<D::Error>> {
        let Step { from: t, to: s, .. } = step;
        let form = ExponentialStep::between(t, s, PredictionForm::Data, self.strength);
        let on_x = form.on_constant();
        let near = run.predict_as(Parameterization::Image, &z, t)?;
        let mut z_s = run.sample(&[(form.on_z, &z), (on_x, &near)], form.std, t, s)?;
        if s.sigma > 0.0 {
            let far = run.predict_as(Parameterization::Image, &z_s, s)?;
            let mean = run.lincomb(&[(1.0, &z_s), (0.5 * on_x, &far), (-0.5 * on_x, &near)]);
            run.recycle(std::mem::replace(&mut z_s, mean));
            run.recycle(far);
        }
        run.recycle(z);
        run.recycle(near);
        Ok(z_s)
    }
}
