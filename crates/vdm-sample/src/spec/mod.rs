//! A sampler named in a configuration.

mod named;
mod solver;

pub use solver::{Entry, SingleStepMemory, SingleStepSpec, SolverMemory, SolverSpec};

use serde::{Deserialize, Serialize};
use vdm_core::{NoiseSchedule, Scaling};

use crate::{GridError, TimeGrid};

/// Solver, grid and number of steps.
///
/// ```
/// use vdm_sample::SamplerSpec;
/// let spec: SamplerSpec =
///     serde_json::from_str(r#"{"solver": "dpm_solver_pp_2m", "grid": "uniform_log_snr", "steps": 20}"#)?;
/// assert_eq!(spec.solver.name(), "dpm_solver_pp_2m");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplerSpec {
    /// How a step is taken.
    pub solver: SolverSpec,
    /// Where the steps lie.
    pub grid: GridSpec,
    /// How many there are, at least 1.
    pub steps: usize,
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
}
