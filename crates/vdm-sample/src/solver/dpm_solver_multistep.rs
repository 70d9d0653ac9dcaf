//! DPM-Solver and DPM-Solver++ multistep, in the forms that were published.

use serde::{Deserialize, Serialize};
use vdm_core::{Denoiser, Latent};

use super::multistep::{Explicit, MAX_NODES};
use super::{FinalOrder, History, Order, Properties, Solver, Step};
use crate::exponential::{ExponentialStep, Predicts};
use crate::{Run, SolveError};

/// The weight on the slope in a step of second order. Both have the same limit of small steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlopeWeight {
    /// Half of the weight on the prediction: the form of the authors' algorithm 2.
    #[default]
    Midpoint,
    /// The exact integral of `θ`: `heun` in diffusers, `taylor` in the authors' code.
    #[serde(alias = "taylor")]
    Heun,
}

/// DPM-Solver++(2M): `x̂` extrapolated linearly in log-SNR from the last two model calls.
///
/// With `h = (λ_s − λ_t)/2` (their `λ` is half of ours) and `r = h_before/h`, for `η = 0` and the
/// midpoint form,
///
/// ```text
/// D   = (1 + 1/2r) x̂_t − (1/2r) x̂_before
/// z_s = (σ_s/σ_t) z_t − α_s expm1(−h) D
/// ```
///
/// Lu et al. 2022, algorithm 2; with `η > 0` their SDE-DPM-Solver++(2M) (theirs is `η = 1`) as
/// generalised in k-diffusion. The first step, and a last step to `σ = 0`, are first order.
/// With the Heun weight it is [`ExponentialAdams`](super::ExponentialAdams) of order 2.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DpmSolverPp2M {
    /// Strength of new noise, `≥ 0`: 0 for the ODE, 1 for the reverse-time SDE.
    #[serde(deserialize_with = "super::parameter::eta")]
    pub eta: f64,
    /// The weight on the slope.
    pub slope: SlopeWeight,
    /// The order of the last steps.
    pub final_order: FinalOrder,
}

/// DPM-Solver++(3M) as published: `x̂` extrapolated quadratically from the last three model calls.
///
/// ```text
/// z_s = (σ_s/σ_t)e^{−ηh} z_t + α_s (m₀ D₀ + m₁ D₁ + ½m₂ D₂)
/// ```
///
/// with `D₀ + D₁θ + D₂θ²` the polynomial and `m_k` the exact moments of
/// [`exponential`](crate::exponential). The exact weight on `D₂` is `m₂`; the half is in the
/// authors' code, in diffusers and in k-diffusion alike, and makes this a method of order **2**.
/// For third order use [`ExponentialAdams`](super::ExponentialAdams).
///
/// Lu et al. 2022, third order of the authors' code; `η > 0` as k-diffusion's `dpmpp_3m_sde`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DpmSolverPp3M {
    /// Strength of new noise, `≥ 0`: 0 for the ODE, 1 for the reverse-time SDE.
    #[serde(deserialize_with = "super::parameter::eta")]
    pub eta: f64,
    /// The weight on the slope in steps of second order, of which the second step is one: Heun in
    /// k-diffusion, midpoint in diffusers and the authors' code.
    pub slope: SlopeWeight,
    /// The order of the last steps.
    pub final_order: FinalOrder,
}

/// DPM-Solver of order 2, multistep: as [`DpmSolverPp2M`], of the predicted noise.
///
/// ```text
/// D   = (1 + 1/2r) ε̂_t − (1/2r) ε̂_before
/// z_s = (α_s/α_t) z_t − σ_s expm1(h) D
/// ```
///
/// Lu et al. 2022 (DPM-Solver). Under strong guidance and with few steps prefer images: this form
/// multiplies errors of the noise by `e^h`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DpmSolver2M {
    /// Strength of new noise, `≥ 0`: 0 for the ODE, 1 for the reverse-time SDE.
    #[serde(deserialize_with = "super::parameter::eta")]
    pub eta: f64,
    /// The weight on the slope.
    pub slope: SlopeWeight,
    /// The order of the last steps.
    pub final_order: FinalOrder,
}

/// DPM-Solver of order 3, multistep, as published: as [`DpmSolverPp3M`], of the predicted noise,
/// and of order **2** for the same reason. For third order use
/// [`ExponentialAdams::deis`](super::ExponentialAdams::deis).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DpmSolver3M {
    /// Strength of new noise, `≥ 0`: 0 for the ODE, 1 for the reverse-time SDE.
    #[serde(deserialize_with = "super::parameter::eta")]
    pub eta: f64,
    /// The weight on the slope in steps of second order, of which the second step is one.
    pub slope: SlopeWeight,
    /// The order of the last steps.
    pub final_order: FinalOrder,
}

/// The moments of the published forms.
fn published(form: &ExponentialStep, slope: SlopeWeight, order: usize) -> [f64; MAX_NODES] {
    let mut moments = form.moments();
    if order == 2 && slope == SlopeWeight::Midpoint {
        moments[1] = 0.5 * moments[0];
    }
    moments[2] *= 0.5;
    moments
}

macro_rules! impl_solver {
    ($($solver:ident: $order:ident of $predicts:ident;)*) => {$(
        impl<Z: Latent> Solver<Z> for $solver {
            type Memory = History<Z>;

            fn properties(&self) -> Properties {
                Properties { order: 2, calls_per_step: 1, stochastic: self.eta > 0.0 }
            }

            fn step<D: Denoiser<Z> + ?Sized>(
                &self,
                run: &mut Run<'_, Z, D>,
                z: Z,
                step: &Step<'_>,
                memory: &mut Self::Memory,
            ) -> Result<Z, SolveError<D::Error>> {
                let Self { eta, slope, final_order } = *self;
                let (order, predicts) = (Order::$order, Predicts::$predicts);
                let method = Explicit { order, predicts, eta, final_order };
                method.step(run, z, step, memory, |form, order| published(form, slope, order))
            }
        }
    )*};
}
impl_solver!(
    DpmSolverPp2M: Two of Image;
    DpmSolverPp3M: Three of Image;
    DpmSolver2M: Two of Noise;
    DpmSolver3M: Three of Noise;
);
