//! A sampler named in a configuration.

mod any;
mod elsewhere;
mod fields;
mod guidance;
pub(crate) mod named;
mod noise;
mod solver;

pub use any::{AnyMemory, AnySolver};
pub use elsewhere::{Elsewhere, NameError, NameOf};
pub use fields::Field;
pub use guidance::{Correction, GuidanceSpec};
pub use noise::{NoisePath, NoiseSpec};
pub use solver::{
    AdaptiveMemory, AdaptiveSpec, Entry, SingleStepMemory, SingleStepSpec, SolverMemory, SolverSpec,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use vdm_core::count::TooMany;
use vdm_core::setting::InvalidSetting;
use vdm_core::{Denoiser, NoiseLevel, NoiseSchedule, Scaling};

use crate::grid::GridError;
use crate::{GridSpec, InnerProduct, NoiseSource, Solution, SolveError, TimeGrid, solve};

/// A solver with its steps, the noise it follows and a correction of the model.
///
/// ```
/// use vdm_sample::{Method, SamplerSpec};
/// use vdm_sample::spec::NoiseSpec;
/// let spec: SamplerSpec =
///     serde_json::from_str(r#"{"solver": "ancestral", "grid": "uniform_log_snr", "steps": 20}"#)?;
/// assert!(matches!(spec.method, Method::OnGrid { steps: 20, .. }));
/// let spec: SamplerSpec = serde_json::from_str(r#"{"solver": "adaptive_ode", "noise": "antithetic"}"#)?;
/// assert_eq!(spec.noise, NoiseSpec::Antithetic);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "SamplerFields", into = "SamplerFields")]
pub struct SamplerSpec {
    /// How one gets from noise to data.
    pub method: Method,
    /// What randomness it follows.
    pub noise: NoiseSpec,
    /// What corrects the model.
    pub guidance: GuidanceSpec,
}

/// A solver and its steps.
#[derive(Debug, Clone, PartialEq)]
pub enum Method {
    /// Steps between given levels.
    OnGrid {
        /// How a step is taken.
        solver: SolverSpec,
        /// Where the steps lie.
        grid: GridSpec,
        /// How many there are, at least 1.
        steps: usize,
    },
    /// Steps as long as a tolerance allows.
    Adaptive(AdaptiveSpec),
}

/// A sampler as a configuration or a command line writes it, each field possibly left out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplerFields {
    /// Which solver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub solver: Option<AnySolver>,
    /// Where its steps lie, unless it chooses them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grid: Option<GridSpec>,
    /// How many there are, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// By default independent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<NoiseSpec>,
    /// By default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guidance: Option<GuidanceSpec>,
}

/// Fields that make no sampler together.
#[derive(Debug, Error)]
pub enum SpecError {
    /// No solver.
    #[error("a sampler needs a solver, such as \"ancestral\"; `vdm solvers` lists them")]
    NoSolver,
    /// A solver on a grid without one.
    #[error("{solver} steps along a grid: set {field}, such as {example}")]
    Missing {
        /// The solver.
        solver: &'static str,
        /// What is not set.
        field: &'static str,
        /// A value for it.
        example: &'static str,
    },
    /// A grid for a solver that has none.
    #[error(
        "{solver} chooses its own steps: leave out {field}, and set its tolerances as fields of the \
         solver, as in {example}"
    )]
    ChoosesItsSteps {
        /// The solver.
        solver: &'static str,
        /// What is set.
        field: &'static str,
        /// A solver with tolerances.
        example: &'static str,
    },
    /// A setting of an adaptive solver or of a correction that is out of its bounds.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// More model calls or steps than a sample may cost.
    #[error(transparent)]
    Count(#[from] TooMany),
}

impl SamplerFields {
    /// These, and where they are left out those of `base`, whose grid goes with its solver: a solver
    /// that chooses its steps takes none over.
    ///
    /// # Errors
    /// Any [`SpecError`].
    pub fn over(self, base: SamplerSpec) -> Result<SamplerSpec, SpecError> {
        let base = Self::from(base);
        let solver = self.solver.or(base.solver);
        let on_grid = matches!(solver, Some(AnySolver::OnGrid(_)));
        let fields = Self {
            solver,
            grid: self.grid.or(base.grid.filter(|_| on_grid)),
            steps: self.steps.or(base.steps.filter(|_| on_grid)),
            noise: self.noise.or(base.noise),
            guidance: self.guidance.or(base.guidance),
        };
        fields.try_into()
    }

    fn method(&self) -> Result<Method, SpecError> {
        let any = self.solver.ok_or(SpecError::NoSolver)?;
        match any {
            AnySolver::OnGrid(solver) => {
                let missing =
                    |field, example| SpecError::Missing { solver: solver.name(), field, example };
                let grid = self.grid.clone().ok_or(missing("grid", "\"uniform_time\""))?;
                any.along(grid, self.steps.ok_or(missing("steps", "100"))?)
            }
            AnySolver::Adaptive(solver) => {
                let example = match solver {
                    AdaptiveSpec::Ode(_) => r#"{"kind": "adaptive_ode", "relative": 1e-3}"#,
                    AdaptiveSpec::Dpm(_) => r#"{"kind": "dpm_adaptive", "rtol": 0.01}"#,
                };
                let set = [("grid", self.grid.is_some()), ("steps", self.steps.is_some())];
                if let Some((field, _)) = set.into_iter().find(|(_, set)| *set) {
                    let solver = solver.name();
                    return Err(SpecError::ChoosesItsSteps { solver, field, example });
                }
                solver.check()?;
                Ok(Method::Adaptive(solver))
            }
        }
    }
}

impl Method {
    /// Its solver.
    #[must_use]
    pub fn solver(&self) -> AnySolver {
        match self {
            Self::OnGrid { solver, .. } => AnySolver::OnGrid(*solver),
            Self::Adaptive(solver) => AnySolver::Adaptive(*solver),
        }
    }

    /// The levels between which [`solve`] goes under a schedule and scaling: its own grid, or for a solver
    /// that chooses its steps, the ends of `stops` equal parts of time.
    ///
    /// # Errors
    /// The grid's own.
    pub fn time_grid(
        &self,
        stops: usize,
        schedule: &dyn NoiseSchedule,
        scaling: Scaling,
    ) -> Result<TimeGrid, GridError> {
        match self {
            Self::OnGrid { grid, steps, .. } => grid.time_grid(*steps, schedule, scaling),
            Self::Adaptive(_) => TimeGrid::uniform_time(stops, schedule, scaling),
        }
    }

    /// Takes `start`, a latent at the noisiest level of a schedule, to data: [`solve`] with the solver and
    /// the levels of this method. `on_step` is told of each step of a grid, and of the end.
    ///
    /// ```
    /// use vdm_core::{GaussianMixture, Scaling, Schedule};
    /// use vdm_sample::{NoNoise, SamplerSpec, Seed, prior};
    ///
    /// let json = r#"{"solver": "dpm_solver_pp_2m", "grid": "uniform_log_snr", "steps": 20}"#;
    /// let spec: SamplerSpec = serde_json::from_str(json)?;
    /// let data = GaussianMixture::new(vec![0.5, 0.5], vec![vec![-2.0], vec![2.0]], vec![0.1, 0.1])?;
    /// let (schedule, scaling) = (Schedule::cosine(10.0, -10.0)?, Scaling::VariancePreserving);
    /// let z1: Vec<f64> = prior(Seed(7), 0, 1);
    /// let found = spec.method.sample(&data, z1, &schedule, scaling, &mut NoNoise, |_, _, _| ())?;
    /// assert!((found.latent[0].abs() - 2.0).abs() < 0.5); // one of the two clusters
    /// assert_eq!(found.statistics.calls, 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The first [`SolveError`].
    pub fn sample<Z: InnerProduct, D: Denoiser<Z> + ?Sized>(
        &self,
        model: &D,
        start: Z,
        schedule: &dyn NoiseSchedule,
        scaling: Scaling,
        noise: &mut dyn NoiseSource<Z>,
        on_step: impl FnMut(usize, &Z, &NoiseLevel),
    ) -> Result<Solution<Z>, SolveError<D::Error>> {
        let grid = self.time_grid(1, schedule, scaling)?;
        solve(&self.solver(), model, start, &grid, noise, on_step)
    }
}

impl TryFrom<SamplerFields> for SamplerSpec {
    type Error = SpecError;

    fn try_from(fields: SamplerFields) -> Result<Self, SpecError> {
        let method = fields.method()?;
        let guidance = fields.guidance.unwrap_or_default();
        // What is wrong with its numbers does not depend on the size of samples.
        guidance.correction(1)?;
        Ok(Self { method, noise: fields.noise.unwrap_or_default(), guidance })
    }
}

impl From<SamplerSpec> for SamplerFields {
    fn from(spec: SamplerSpec) -> Self {
        let SamplerSpec { method, noise, guidance } = spec;
        let (noise, guidance) = (Some(noise), Some(guidance));
        match method {
            Method::OnGrid { solver, grid, steps } => {
                let solver = Some(AnySolver::OnGrid(solver));
                Self { solver, grid: Some(grid), steps: Some(steps), noise, guidance }
            }
            Method::Adaptive(solver) => {
                let solver = Some(AnySolver::Adaptive(solver));
                Self { solver, grid: None, steps: None, noise, guidance }
            }
        }
    }
}

impl From<Method> for SamplerSpec {
    fn from(method: Method) -> Self {
        Self { method, noise: NoiseSpec::default(), guidance: GuidanceSpec::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::GridKind;
    use serde_json::{Value, json};

    fn parse(json: Value) -> Result<SamplerSpec, serde_json::Error> {
        serde_json::from_value(json)
    }

    #[test]
    fn samplers_survive_their_own_json() {
        for json in [
            json!({"solver": "ancestral", "grid": "karras", "steps": 7}),
            json!({"solver": "euler", "grid": "karras", "steps": 7, "noise": "brownian"}),
            json!({"solver": "prince_dormand_87", "guidance": "dynamic_threshold"}),
            json!({"solver": {"kind": "dpm_adaptive", "rtol": 0.1}, "noise": "antithetic"}),
            json!({"solver": "adaptive_ode", "guidance": {"kind": "clip", "high": 0.5}}),
        ] {
            let spec = parse(json.clone()).unwrap();
            assert_eq!(parse(serde_json::to_value(&spec).unwrap()).unwrap(), spec, "{json}");
        }
        let spec = parse(json!({"solver": "ancestral", "grid": "karras", "steps": 7})).unwrap();
        assert_eq!((spec.noise, spec.guidance), (NoiseSpec::Iid, GuidanceSpec::None));
    }

    #[test]
    fn every_adaptive_name_reads_as_what_it_stands_for() {
        for Entry { name, when, solver } in AdaptiveSpec::entries() {
            let bare: AnySolver = serde_json::from_value(name.into()).unwrap();
            assert_eq!(bare, AnySolver::Adaptive(solver), "{name}");
            assert!(!when.is_empty() && SolverSpec::entries().iter().all(|e| e.name != name));
        }
    }

    #[test]
    fn what_makes_no_sampler_is_refused_with_a_remedy() {
        let grid = |solver: Value| json!({"solver": solver, "grid": "uniform_time", "steps": 5});
        for (json, named) in [
            (json!({}), "a sampler needs a solver"),
            (json!({"solver": "ddim", "steps": 5}), "set grid, such as \"uniform_time\""),
            (json!({"solver": "ddim", "grid": "karras"}), "set steps, such as 100"),
            (json!({"solver": "adaptive_ode", "steps": 5}), "own steps: leave out steps"),
            (grid("dpm_adaptive".into()), "own steps: leave out grid"),
            (grid("eulr".into()), "unknown solver `eulr`: the solvers are ancestral,"),
            (grid("eulr".into()), ", deis, adaptive_ode, dpm_adaptive, bogacki_shampine_32"),
            (
                json!({"solver": {"kind": "adaptive_ode", "absolute": 0}}),
                "absolute = 0: use a finite number",
            ),
            (json!({"solver": {"kind": "adaptive_ode", "rtol": 0.1}}), "unknown field `rtol`"),
            (json!({"solver": {"kind": "dpm_adaptive", "safety": 2}}), "unknown field `safety`"),
            (
                json!({"solver": {"kind": "dpm_adaptive", "h_init": 0}}),
                "h_init = 0: use a finite number above 0",
            ),
            (json!({"solver": "adaptive_ode", "noise": "pink"}), "unknown noise `pink`"),
            (json!({"solver": "adaptive_ode", "guidance": "clap"}), "unknown variant `clap`"),
            (
                json!({"solver": "adaptive_ode", "guidance": {"kind": "clip", "low": 2}}),
                "guidance.low = 2, guidance.high = 1: use a low below high",
            ),
            (
                json!({"solver": "adaptive_ode",
                       "guidance": {"kind": "dynamic_threshold", "quantile": 0}}),
                "guidance.quantile = 0: use a number above 0 and at most 1",
            ),
        ] {
            let error = parse(json.clone()).unwrap_err().to_string();
            assert!(error.contains(named), "{json}: {error}");
        }
    }

    #[test]
    fn what_is_set_goes_over_what_was_configured() {
        let base = || parse(json!({"solver": "ddim", "grid": "karras", "steps": 7})).unwrap();
        let over = |json: Value, base: SamplerSpec| {
            serde_json::from_value::<SamplerFields>(json).unwrap().over(base)
        };
        let steps = over(json!({"steps": 3}), base()).unwrap();
        let solver = SolverSpec::Ddim(crate::Ddim::default());
        let grid: GridSpec = GridKind::Karras { rho: 7.0 }.into();
        assert_eq!(steps.method, Method::OnGrid { solver, grid, steps: 3 });
        let adaptive = over(json!({"solver": "dpm_adaptive"}), base()).unwrap();
        assert!(matches!(adaptive.method, Method::Adaptive(_)));
        let refused = over(json!({"solver": "dpm_adaptive", "steps": 3}), base()).unwrap_err();
        assert!(refused.to_string().contains("leave out steps"), "{refused}");
        let back = over(json!({"solver": "ddim"}), adaptive).unwrap_err();
        assert!(back.to_string().contains("set grid"), "{back}");
    }
}
