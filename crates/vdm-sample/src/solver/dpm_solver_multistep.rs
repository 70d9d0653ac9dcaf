//! DPM-Solver and DPM-Solver++ multistep, in the forms that were published.

use serde::{Deserialize, Serialize};
use vdm_core::{Denoiser, Latent};

use super::multistep::{Explicit, MAX_NODES};
use super::{DpmSolverOrder, FinalOrder, History, Properties, Run, Solver, Step};
use crate::SolveError;
use crate::exponential::{ExponentialStep, PredictionForm};

/// How a step of second order is made of two predictions, in the words of DPM-Solver's code. Both types
/// have the same limit of small steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SolverType {
    /// The slope weighs half of what the prediction does: the form of the authors' algorithm 2.
    #[default]
    Midpoint,
    /// The exact integral of `θ`: `heun` in diffusers, `taylor` in the authors' code.
    #[serde(alias = "taylor")]
    Heun,
}

/// DPM-Solver and DPM-Solver++ multistep: the prediction extrapolated in log-SNR from the last two or three
/// model calls.
///
/// With `h = (λ_s − λ_t)/2` (their `λ` is half of ours) and `r = h_before/h`, of order 2 and the midpoint
/// type, without noise,
///
/// ```text
/// data:   D = (1 + 1/2r) x̂_t − (1/2r) x̂_before    z_s = (σ_s/σ_t) z_t − α_s expm1(−h) D
/// noise:  D = (1 + 1/2r) ε̂_t − (1/2r) ε̂_before    z_s = (α_s/α_t) z_t − σ_s expm1(h) D
/// ```
///
/// and of order 3, with `D₀ + D₁θ + D₂θ²` the polynomial and `m_k` the exact moments of
/// [`exponential`](crate::exponential),
///
/// ```text
/// z_s = (σ_s/σ_t)e^{−ηh} z_t + α_s (m₀ D₀ + m₁ D₁ + ½m₂ D₂)
/// ```
///
/// The exact weight on `D₂` is `m₂`; the half is in the authors' code, in diffusers and in k-diffusion
/// alike, and makes this a method of order **2** as well. For third order use
/// [`ExponentialAdams`](super::ExponentialAdams), which is also what order 2 with the Heun type is.
///
/// Lu et al. 2022a (noise) and 2022b, algorithm 2 (data); with `η > 0` SDE-DPM-Solver++ (theirs is `η = 1`)
/// as generalised in k-diffusion. The first step, and a last step to `σ = 0`, are first order. Under strong
/// guidance and with few steps prefer data prediction: the other multiplies errors of the noise by `e^h`.
///
/// | in configurations | order | prediction | also known as |
/// |---|---|---|---|
/// | `dpm_solver_pp_2m` | 2 | data | k-diffusion's `dpmpp_2m`, diffusers' `DPMSolverMultistepScheduler` |
/// | `dpm_solver_pp_3m` | 3 | data | the same with `solver_order=3` |
/// | `dpm_solver_2m` | 2 | noise | the same with `algorithm_type="dpmsolver"` |
/// | `dpm_solver_3m` | 3 | noise | both |
#[doc(alias = "dpmpp_2m")]
#[doc(alias = "dpmpp_2m_sde")]
#[doc(alias = "dpmpp_3m_sde")]
#[doc(alias = "DPMSolverMultistepScheduler")]
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DpmSolverMultistep {
    /// How many predictions a step combines.
    pub order: DpmSolverOrder,
    /// What is extrapolated.
    pub prediction: PredictionForm,
    /// Strength `η ≥ 0` of new noise: 0 for the ODE, 1 for the reverse-time SDE.
    #[serde(deserialize_with = "super::parameter::strength")]
    pub strength: f64,
    /// The weights of a step of second order, of which the second step of a run is one. Of order 3 it is
    /// Heun in k-diffusion, midpoint in diffusers and the authors' code.
    pub solver_type: SolverType,
    /// The order of the last steps.
    pub final_order: FinalOrder,
}

impl DpmSolverMultistep {
    /// DPM-Solver++(2M).
    pub const PP_2M: Self = Self {
        order: DpmSolverOrder::Two,
        prediction: PredictionForm::Data,
        strength: 0.0,
        solver_type: SolverType::Midpoint,
        final_order: FinalOrder::Bounded { below: 15 },
    };

    /// DPM-Solver++(3M) as published.
    pub const PP_3M: Self = Self { order: DpmSolverOrder::Three, ..Self::PP_2M };

    /// DPM-Solver(2M).
    pub const NOISE_2M: Self = Self { prediction: PredictionForm::Noise, ..Self::PP_2M };

    /// DPM-Solver(3M) as published.
    pub const NOISE_3M: Self = Self { prediction: PredictionForm::Noise, ..Self::PP_3M };
}

impl Default for DpmSolverMultistep {
    /// DPM-Solver++(2M).
    fn default() -> Self {
        Self::PP_2M
    }
}

/// The moments of the published forms.
fn published(form: &ExponentialStep, solver_type: SolverType, order: usize) -> [f64; MAX_NODES] {
    let mut moments = form.moments();
    if order == 2 && solver_type == SolverType::Midpoint {
        moments[1] = 0.5 * moments[0];
    }
    moments[2] *= 0.5;
    moments
}

impl<Z: Latent> Solver<Z> for DpmSolverMultistep {
    type Memory = History<Z>;

    fn properties(&self) -> Properties {
        let order = u32::from(u8::from(self.order)).min(2);
        Properties { order, calls_per_step: 1, stochastic: self.strength > 0.0 }
    }

    fn step<D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step<'_>,
        memory: &mut Self::Memory,
    ) -> Result<Z, SolveError<D::Error>> {
        let Self { order, prediction, strength, solver_type, final_order } = *self;
        let method = Explicit { order: order.into(), prediction, strength, final_order };
        method.step(run, z, step, memory, |form, order| published(form, solver_type, order))
    }
}
