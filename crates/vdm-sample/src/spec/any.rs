//! Whatever a sampler's configuration may name as its solver.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de::Error};
use serde_json::Value;
use vdm_core::Denoiser;

use super::solver::solver_by_variant;
use super::{AdaptiveSpec, Method, NameError, NameOf, SolverSpec, SpecError};
use crate::solver::{Properties, Run, Solver, Step};
use crate::{GridSpec, InnerProduct, SolveError, TimeGrid};

/// What the field `solver` of a sampler may name; a [`Solver`] itself.
///
/// ```
/// use vdm_sample::AnySolver;
/// assert!(matches!("dpm_solver_pp_2m".parse()?, AnySolver::OnGrid(_)));
/// assert!(matches!("adaptive_ode".parse()?, AnySolver::Adaptive(_)));
/// assert!("dpm_solver_qq".parse::<AnySolver>().is_err());
/// # Ok::<(), vdm_sample::spec::NameError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum AnySolver {
    /// One that steps from level to level of a grid.
    OnGrid(SolverSpec),
    /// One that chooses its levels.
    Adaptive(AdaptiveSpec),
}

solver_by_variant! {
    AnySolver, AnyMemory of InnerProduct; { OnGrid(SolverSpec) Adaptive(AdaptiveSpec) }
}

impl AnySolver {
    /// The method of this solver along `steps` steps of a grid, which one that chooses its levels has
    /// no need of.
    ///
    /// # Errors
    /// [`SpecError::Count`] for more model calls than a sample may cost, or those of [`AdaptiveSpec::check`].
    pub fn along(self, grid: GridSpec, steps: usize) -> Result<Method, SpecError> {
        match self {
            Self::OnGrid(solver) => {
                solver.check_calls(steps)?;
                Ok(Method::OnGrid { solver, grid, steps })
            }
            Self::Adaptive(solver) => {
                solver.check()?;
                Ok(Method::Adaptive(solver))
            }
        }
    }
}

impl FromStr for AnySolver {
    type Err = NameError;

    /// From a name, with the settings it stands for.
    fn from_str(name: &str) -> Result<Self, NameError> {
        let name = NameOf::Solver.named(name, &NameOf::Solver.here())?;
        let adaptive = AdaptiveSpec::entries().into_iter().find(|entry| entry.name == name);
        let on_grid = SolverSpec::entries().into_iter().find(|entry| entry.name == name);
        adaptive
            .map(|entry| Self::Adaptive(entry.solver))
            .or(on_grid.map(|entry| Self::OnGrid(entry.solver)))
            .ok_or_else(|| NameError::Unknown {
                of: NameOf::Solver,
                name: name.to_owned(),
                known: NameOf::Solver.here(),
            })
    }
}

impl<'de> Deserialize<'de> for AnySolver {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let name = value.as_str().or_else(|| value.get("kind")?.as_str());
        let named = |name| NameOf::Solver.named(name, &NameOf::Solver.here());
        let name = name.map(named).transpose().map_err(D::Error::custom)?;
        let adaptive = AdaptiveSpec::entries().iter().any(|entry| Some(entry.name) == name);
        if adaptive {
            AdaptiveSpec::deserialize(value).map(Self::Adaptive).map_err(D::Error::custom)
        } else {
            SolverSpec::deserialize(value).map(Self::OnGrid).map_err(D::Error::custom)
        }
    }
}
