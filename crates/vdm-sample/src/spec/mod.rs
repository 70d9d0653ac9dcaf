//! A sampler named in a configuration.

pub(crate) mod named;
mod solver;

pub use solver::{Entry, SingleStepMemory, SingleStepSpec, SolverMemory, SolverSpec};

use serde::{Deserialize, Serialize};
use vdm_core::{NoiseSchedule, Scaling};

use crate::{GridError, GridSpec, TimeGrid};

/// Solver, grid and number of steps.
///
/// ```
/// use vdm_sample::SamplerSpec;
/// let spec: SamplerSpec =
///     serde_json::from_str(r#"{"solver": "dpm_solver_pp_2m", "grid": "uniform_log_snr", "steps": 20}"#)?;
/// assert_eq!(spec.solver.name(), "dpm_solver_pp_2m");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplerSpec {
    /// How a step is taken.
    pub solver: SolverSpec,
    /// Where the steps lie.
    pub grid: GridSpec,
    /// How many there are, at least 1.
    pub steps: usize,
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
        self.grid.time_grid(self.steps, schedule, scaling)
    }
}
