//! Adams–Bashforth with exact exponential weights, of order one to four.

use serde::{Deserialize, Serialize};
use vdm_core::{Denoiser, Latent};

use super::multistep::Explicit;
use super::{FinalOrder, History, Order, Properties, Run, Solver, Step};
use crate::SolveError;
use crate::exponential::PredictionForm;

/// The polynomial in `λ` through the last `order` predictions, integrated exactly.
///
/// ```text
/// z_s = on_z·z_t + gain·∫₀¹ a e^{−a(1−θ)} P(θ) dθ + std·ε,   P through f_t, f_before, …
/// ```
///
/// in the notation of [`exponential`](crate::exponential). One rule of two names:
///
/// | `prediction` | also known as |
/// |---|---|
/// | noise | DEIS, with the polynomial in `ln σ/α` (Zhang and Chen 2023; diffusers' `logrho`) |
/// | data | DPM-Solver++(2M) in its Taylor form, DPM-Solver++(3M) corrected |
///
/// [`DpmSolverMultistep::PP_3M`](super::DpmSolverMultistep::PP_3M) has half of the weight that third order needs on the
/// second difference; `ExponentialAdams::new(Order::Three)` is that method with all of it.
///
/// The measured order is the declared one; the first steps use the predictions there are. Where steps are
/// large order 3 gains little on order 2: on Gaussian mixtures it passes it somewhere between 10 and 50
/// model calls.
///
/// With `strength > 0` it is the SDE form of the same (the predictor of Xue et al. 2023), in which
/// expectations converge with order 2 at most and paths with order 1. Take images there: on noise,
/// large steps at high noise blow up.
#[doc(alias = "deis")]
#[doc(alias = "dpm_solver_pp_3m")]
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExponentialAdams {
    /// Number of predictions combined.
    pub order: Order,
    /// What the polynomial is of.
    pub prediction: PredictionForm,
    /// Strength `η ≥ 0` of new noise: 0 for the ODE, 1 for the reverse-time SDE.
    #[serde(deserialize_with = "super::parameter::strength")]
    pub strength: f64,
    /// The order of the last steps.
    pub final_order: FinalOrder,
}

impl Default for ExponentialAdams {
    /// Order 3 on images.
    fn default() -> Self {
        Self::new(Order::Three)
    }
}

impl ExponentialAdams {
    /// On images, deterministic, of bounded order on long steps: DPM-Solver++(kM) with the weights that
    /// give order `k`.
    #[must_use]
    pub const fn new(order: Order) -> Self {
        let final_order = FinalOrder::Bounded { below: 15 };
        Self { order, prediction: PredictionForm::Data, strength: 0.0, final_order }
    }

    /// DEIS in `ln ρ`: the same on noise.
    #[must_use]
    pub const fn deis(order: Order) -> Self {
        Self { prediction: PredictionForm::Noise, ..Self::new(order) }
    }
}

impl<Z: Latent> Solver<Z> for ExponentialAdams {
    type Memory = History<Z>;

    fn properties(&self) -> Properties {
        Properties {
            order: if self.strength > 0.0 { self.order.min(Order::Two) } else { self.order }.into(),
            calls_per_step: 1,
            stochastic: self.strength > 0.0,
        }
    }

    fn step<D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step<'_>,
        memory: &mut Self::Memory,
    ) -> Result<Z, SolveError<D::Error>> {
        let Self { order, prediction, strength, final_order } = *self;
        let method = Explicit { order, prediction, strength, final_order };
        method.step(run, z, step, memory, |form, _| form.moments())
    }
}
