//! Error for a number of model calls: our solvers beside those of other libraries, on mixtures of
//! Gaussians where the probability-flow ODE's solution is known.
//!
//! `fixtures/work_precision.json`, written by `benches/peers/problems.py`, holds starting points
//! and where the ODE takes them; the other libraries' errors come from `work_precision.py` beside
//! it, which starts at the same points, asks the same exact denoiser and counts in the same way.

mod plot;
mod report;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vdm_core::{Counted, GaussianMixture, Scaling, Schedule};
use vdm_sample::{GridSpec, NoNoise, Solver, SolverSpec, TimeGrid, solve};

pub use plot::draw;
pub use report::markdown;

/// The numbers of model calls that are compared.
pub const CALLS: [usize; 7] = [5, 8, 10, 15, 20, 35, 50];
const FORMAT: u32 = 1;

/// One sampler on one grid with one number of model calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The range of noise levels.
    pub range: String,
    /// The data.
    pub mixture: String,
    /// The sampler by its library's name.
    pub sampler: String,
    /// Whose it is.
    pub library: String,
    /// The spacing of levels, and where it ends.
    pub grid: String,
    /// Model calls allowed.
    pub calls: usize,
    /// Root mean square over points and components; none for a run that blew up.
    pub error: Option<f64>,
}

/// A choice and what tables call it.
#[derive(Debug, Clone)]
pub struct Labeled<T> {
    /// Its name, with what differs from the defaults.
    pub label: String,
    /// The choice.
    pub choice: T,
}

impl<T: DeserializeOwned> Labeled<T> {
    /// From a configuration: `{"kind": "uni_pc", "order": 3}` is called `uni_pc, order 3`.
    ///
    /// # Errors
    /// A configuration that is none of a `T`.
    pub fn read(json: &str) -> Result<Self> {
        let choice = serde_json::from_str(json).with_context(|| format!("{json} is no choice"))?;
        let fields: serde_json::Map<String, Value> = serde_json::from_str(json)?;
        let kind = fields.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        let settings = fields.iter().filter(|(field, _)| *field != "kind");
        let label = settings.fold(kind, |label, (field, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("{label}, {field} {value}")
        });
        Ok(Self { label, choice })
    }
}

/// What `work_precision.py` writes.
#[derive(Debug, Deserialize)]
pub struct Peers {
    /// Versions of the libraries.
    pub versions: std::collections::BTreeMap<String, String>,
    /// Deterministic samplers.
    pub ode: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Fixture {
    format: u32,
    mixtures: Vec<Mixture>,
    problems: Vec<Known>,
}

#[derive(Debug, Deserialize)]
struct Mixture {
    name: String,
    weights: Vec<f64>,
    means: Vec<Vec<f64>>,
    stds: Vec<f64>,
    noise: Vec<Vec<f64>>,
}

#[derive(Debug, Deserialize)]
struct Known {
    range: String,
    mixture: String,
    sigma_max: f64,
    sigma_min: f64,
    scale: f64,
    truth: Vec<Vec<f64>>,
}

/// Starting points, and where the probability-flow ODE takes them.
#[derive(Debug)]
pub struct Problem {
    range: String,
    mixture: String,
    model: GaussianMixture,
    schedule: Schedule,
    starts: Vec<Vec<f64>>,
    truth: Vec<Vec<f64>>,
}

/// The problems of the fixture.
///
/// # Errors
/// A file that cannot be read or is of another format.
pub fn problems(path: &Path) -> Result<Vec<Problem>> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let Fixture { format, mixtures, problems } = serde_json::from_slice(&text)
        .with_context(|| format!("{} is not what problems.py writes", path.display()))?;
    ensure!(
        format == FORMAT,
        "{} has format {format}, not {FORMAT}: write it again with benches/peers/problems.py",
        path.display()
    );
    problems
        .into_iter()
        .map(|known| {
            let found = mixtures.iter().find(|mixture| mixture.name == known.mixture);
            let m = found.with_context(|| format!("no mixture {} in it", known.mixture))?;
            let scaled = |noise: &Vec<f64>| noise.iter().map(|n| known.scale * n).collect();
            Ok(Problem {
                model: GaussianMixture::new(m.weights.clone(), m.means.clone(), m.stds.clone())?,
                schedule: Schedule::geometric(known.sigma_min, known.sigma_max)?,
                starts: m.noise.iter().map(scaled).collect(),
                range: known.range,
                mixture: known.mixture,
                truth: known.truth,
            })
        })
        .collect()
}

impl Problem {
    /// The most steps of which the solver's calls fit.
    fn grid(&self, solver: &SolverSpec, grid: &GridSpec, calls: usize) -> Option<TimeGrid> {
        (1..=calls + 1).rev().find_map(|steps| {
            let grid = grid.time_grid(steps, &self.schedule, Scaling::VarianceExploding).ok()?;
            (Solver::<Vec<f64>>::calls(solver, &grid) <= calls).then_some(grid)
        })
    }

    /// Root mean square distance from the truth, and the calls it took.
    fn error(&self, solver: &SolverSpec, grid: &TimeGrid) -> Result<(f64, usize)> {
        let model = Counted::new(&self.model);
        let mut squares = 0.0;
        for (start, truth) in self.starts.iter().zip(&self.truth) {
            let x = solve(solver, &model, start.clone(), grid, &mut NoNoise, |_, _, _| ())?.latent;
            squares += x.iter().zip(truth).map(|(x, t)| (x - t).powi(2)).sum::<f64>();
        }
        let components = self.truth.iter().map(Vec::len).sum::<usize>();
        Ok(((squares / components as f64).sqrt(), model.calls() / self.starts.len()))
    }

    /// A row for each deterministic solver and grid.
    ///
    /// # Errors
    /// A run that fails, or a solver that calls the model more often than it says.
    pub fn rows(
        &self,
        solvers: &[Labeled<SolverSpec>],
        grids: &[Labeled<GridSpec>],
    ) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for (solver, spec) in solvers.iter().flat_map(|s| grids.iter().map(move |g| (s, g))) {
            for calls in CALLS {
                let Some(grid) = self.grid(&solver.choice, &spec.choice, calls) else { continue };
                let (error, taken) = self.error(&solver.choice, &grid)?;
                ensure!(taken <= calls, "{solver:?} takes {taken} calls for {calls}");
                rows.push(Row {
                    range: self.range.clone(),
                    mixture: self.mixture.clone(),
                    sampler: solver.label.clone(),
                    library: "vdm".into(),
                    grid: spec.label.clone(),
                    calls,
                    error: error.is_finite().then_some(error),
                });
            }
        }
        Ok(rows)
    }
}
