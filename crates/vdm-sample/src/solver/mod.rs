//! One step from a noisier level to a cleaner one; one solver a file, each like its paper's box.

mod adams;
mod ancestral;
mod ancestral_step;
mod angular_adams;
mod churn;
mod corrector;
mod ddim;
mod dpm_2;
mod dpm_solver_multistep;
mod dpm_solver_pp_2s_ancestral;
mod dpm_solver_pp_sde;
mod dpm_solver_singlestep;
mod history;
mod lms;
mod multistep;
pub(crate) mod parameter;
mod predictor_corrector;
mod restart;
mod reverse_sde;
mod runge_kutta;
mod sa_solver;
mod taylor;
mod unipc;

pub use crate::coordinate::Coordinate;
pub use crate::solve::{Run, Statistics};
pub use adams::ExponentialAdams;
pub use ancestral::{Ancestral, PosteriorVariance};
pub use angular_adams::{AngularAdams, AngularAdamsMemory};
pub use churn::Churn;
pub use corrector::CorrectorMemory;
pub use ddim::Ddim;
pub use dpm_2::{Dpm2, Dpm2Ancestral};
pub use dpm_solver_multistep::{DpmSolverMultistep, SolverType};
pub use dpm_solver_pp_2s_ancestral::DpmSolverPp2SAncestral;
pub use dpm_solver_pp_sde::DpmSolverPpSde;
pub use dpm_solver_singlestep::DpmSolverSinglestep;
pub use history::{History, Past};
pub use lms::Lms;
pub use multistep::{FinalOrder, Order};
pub use parameter::{DpmSolverOrder, EdmSigmaRange, StageShare};
pub use predictor_corrector::PredictorCorrector;
pub use restart::Restart;
pub use reverse_sde::{EulerMaruyama, StochasticHeun};
pub use runge_kutta::{Heun, Midpoint};
pub use sa_solver::SaSolver;
pub(crate) use taylor::Taylor;
pub use unipc::{UniPc, UniPcVariant};

use vdm_core::{Denoiser, Latent, NoiseLevel};

use crate::{SolveError, TimeGrid};

/// What a solver says of itself; tests measure all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Properties {
    /// Global error falls like `steps^{−order}` (for stochastic solvers, of expectations).
    pub order: u32,
    /// Model calls per step; [`Solver::calls`] knows the exceptions at the ends.
    pub calls_per_step: usize,
    /// Whether it draws noise.
    pub stochastic: bool,
}

/// One step of a grid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step<'a> {
    /// The grid it belongs to.
    pub grid: &'a TimeGrid,
    /// Its number, from 0.
    pub index: usize,
    /// The level `t` it starts at.
    pub from: NoiseLevel,
    /// The cleaner level `s` it ends at.
    pub to: NoiseLevel,
}

impl<'a> Step<'a> {
    /// Step `index` of a grid.
    ///
    /// # Panics
    /// If the grid has no such step.
    #[must_use]
    pub fn of(grid: &'a TimeGrid, index: usize) -> Self {
        Self { grid, index, from: grid.levels()[index], to: grid.levels()[index + 1] }
    }

    /// `h = (λ_s − λ_t)/2 > 0`, the step in the `λ` of the DPM-Solver papers; `∞` at a singular end.
    #[must_use]
    pub fn half_gap(&self) -> f64 {
        0.5 * (self.to.log_snr - self.from.log_snr)
    }

    /// How many steps of the grid are left, this one included.
    #[must_use]
    pub fn left(&self) -> usize {
        self.grid.steps() - self.index
    }

    /// Whether it starts at pure noise or ends at clean data, where only first order is defined.
    #[must_use]
    pub fn is_singular(&self) -> bool {
        self.from.alpha == 0.0 || self.to.sigma == 0.0
    }
}

/// A way to get from a level to the next; [`solve`](crate::solve) goes over all of a grid.
pub trait Solver<Z: Latent> {
    /// What is carried from step to step: `()` for single-step methods.
    type Memory: Default;

    /// Order, cost and kind.
    fn properties(&self) -> Properties;

    /// Model calls over a whole grid: exactly, or at least if the solver chooses its steps.
    fn calls(&self, grid: &TimeGrid) -> usize {
        self.properties().calls_per_step * grid.steps()
    }

    /// From `z` at the step's first level to its second.
    ///
    /// # Errors
    /// Those of the model and of the noise source.
    fn step<D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step<'_>,
        memory: &mut Self::Memory,
    ) -> Result<Z, SolveError<D::Error>>;
}
