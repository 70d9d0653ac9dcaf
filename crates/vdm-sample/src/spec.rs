//! A sampler named in a configuration.

use serde::{Deserialize, Serialize};
use vdm_core::{Denoiser, Latent, NoiseLevel, NoiseSchedule, Scaling};

use crate::{
    Ancestral, Ddim, DpmSolverPp2M, GridError, NoiseSource, Properties, RunError, Solver, TimeGrid,
    integrate,
};

/// Solver, grid and number of steps.
///
/// ```
/// use vdm_sample::{SamplerSpec, SolverSpec};
/// let spec: SamplerSpec =
///     serde_json::from_str(r#"{"solver": "dpm_solver_pp_2m", "grid": "uniform_log_snr", "steps": 20}"#)?;
/// assert_eq!(spec.solver, SolverSpec::DpmSolverPp2M);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplerSpec {
    /// How a step is taken.
    pub solver: SolverSpec,
    /// Where the steps lie.
    pub grid: GridSpec,
    /// How many there are, at least 1.
    pub steps: usize,
}

/// The solvers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SolverSpec {
    /// [`Ancestral`].
    Ancestral,
    /// [`Ddim`].
    Ddim,
    /// [`DpmSolverPp2M`].
    #[serde(rename = "dpm_solver_pp_2m")]
    DpmSolverPp2M,
}

impl SolverSpec {
    /// Order, cost and kind of the solver named.
    #[must_use]
    pub fn properties(self) -> Properties {
        match self {
            Self::Ancestral => Solver::<f64>::properties(&Ancestral::default()),
            Self::Ddim => Solver::<f64>::properties(&Ddim::default()),
            Self::DpmSolverPp2M => Solver::<f64>::properties(&DpmSolverPp2M),
        }
    }
}

/// The grids by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GridSpec {
    /// [`TimeGrid::uniform_time`].
    UniformTime,
    /// [`TimeGrid::uniform_log_snr`].
    UniformLogSnr,
}

impl SamplerSpec {
    /// The levels of this sampler under a schedule and scaling.
    ///
    /// # Errors
    /// The grid's own.
    pub fn time_grid(
        &self,
        schedule: &dyn NoiseSchedule,
        scaling: Scaling,
    ) -> Result<TimeGrid, GridError> {
        match self.grid {
            GridSpec::UniformTime => TimeGrid::uniform_time(self.steps, schedule, scaling),
            GridSpec::UniformLogSnr => TimeGrid::uniform_log_snr(self.steps, schedule, scaling),
        }
    }

    /// [`integrate`] with the solver named.
    ///
    /// # Errors
    /// Those of the model and of the noise source.
    pub fn run<Z: Latent, D: Denoiser<Z> + ?Sized>(
        &self,
        model: &D,
        z1: Z,
        grid: &TimeGrid,
        noise: &mut dyn NoiseSource<Z>,
        on_step: impl FnMut(usize, &Z, &NoiseLevel),
    ) -> Result<Z, RunError<D::Error>> {
        match self.solver {
            SolverSpec::Ancestral => {
                integrate(&Ancestral::default(), model, z1, grid, noise, on_step)
            }
            SolverSpec::Ddim => integrate(&Ddim::default(), model, z1, grid, noise, on_step),
            SolverSpec::DpmSolverPp2M => integrate(&DpmSolverPp2M, model, z1, grid, noise, on_step),
        }
    }
}
