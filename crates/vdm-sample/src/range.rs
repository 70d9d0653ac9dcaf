//! Where a solver can be trusted: its error on data whose answer is known.
//!
//! On Gaussian data every step of every solver is linear in the latent and in each draw, so mean and
//! standard deviation of what it makes follow from one run, without sampling error:
//! [`gaussian_error`]. What overshoots, diverges or takes too few steps there does so on other data,
//! so a solver is judged on a grid before a network is asked: [`SolverSpec::cautions`]. What is exact
//! there need not be so elsewhere: `docs/solvers.md` has the errors on a mixture too.
//!
//! ```
//! use vdm_core::{Scaling, Schedule};
//! use vdm_sample::range::Caution;
//! use vdm_sample::{SolverSpec, TimeGrid};
//!
//! let schedule = Schedule::cosine(10.0, -10.0)?;
//! let grid = |steps| TimeGrid::uniform_time(steps, &schedule, Scaling::VariancePreserving);
//! let solver: SolverSpec = serde_json::from_str(r#""ancestral""#)?;
//! assert_eq!(solver.cautions(&grid(200)?), []);
//! assert!(matches!(solver.cautions(&grid(5)?)[..], [Caution::Inexact { error, .. }] if error > 0.3));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::convert::Infallible;

use thiserror::Error;
use vdm_core::schedule::{Betas, Discrete, LogSnrRange, Spacing, StraightLine, Truncated};
use vdm_core::{FromFn, LogSnr, NoiseLevel, Parameterization, Prediction, Scaling, Schedule};

use crate::grid::{GridError, GridKind};
use crate::noise::NoiseError;
use crate::{GridSpec, NoiseSource, SolveError, Solver, SolverSpec, TimeGrid, solve};

/// Mean of the data that solvers are judged on.
pub const MEAN: f64 = 0.4;

/// Its standard deviation: as narrow as the clusters of images between −1 and 1 are.
pub const STD: f64 = 0.3;

/// The [`gaussian_error`] above which a grid is outside the range of a solver.
pub const BOUND: f64 = 0.25;

/// The numbers of steps at which solvers are judged.
pub const STEPS: [usize; 4] = [5, 10, 20, 50];

/// The share of the signal above which latents of the first level are no pure noise.
const MOST_SIGNAL: f64 = 0.05;

/// The share above which what is made of pure noise there has nothing to do with the data.
const MORE_SIGNAL_THAN_NOISE: f64 = 0.5;

/// Draws beyond which a run is not judged, as that costs their square.
const MOST_DRAWS: usize = 1000;

/// What speaks against drawing samples by a solver on a grid.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum Caution {
    /// The solver is too far from the truth on this grid.
    #[error(
        "{solver} on these {steps} steps misses Gaussian data by {:.0} % of its standard deviation: \
         take more steps, another grid or another solver (`vdm solvers {solver}` shows its range)",
        100.0 * error
    )]
    Inexact {
        /// The solver.
        solver: &'static str,
        /// Steps of the grid.
        steps: usize,
        /// [`gaussian_error`].
        error: f64,
    },
    /// The grid begins where latents still show the data, so that noise is none of them.
    #[error(
        "the grid begins at log-SNR {log_snr:.2}, where a latent is not noise but {:.0} % data: begin it \
         at more noise (with the leading spacing take more steps, or take the trailing spacing)",
        100.0 * signal(*log_snr)
    )]
    SignalAtStart {
        /// The first level.
        log_snr: f64,
    },
}

impl Caution {
    /// What speaks against starting from pure noise at a level.
    #[must_use]
    pub fn of_start(log_snr: f64) -> Option<Self> {
        (signal(log_snr) > MOST_SIGNAL).then_some(Self::SignalAtStart { log_snr })
    }

    /// Whether what is drawn all the same would be no samples of the data at all.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::SignalAtStart { log_snr } if signal(*log_snr) > MORE_SIGNAL_THAN_NOISE)
    }
}

/// The share of the signal, `α²/(α² + σ²)`.
fn signal(log_snr: f64) -> f64 {
    1.0 / (1.0 + (-log_snr).exp())
}

/// The Wasserstein-2 distance between what a solver makes on a grid and data from `N(MEAN, STD²)`,
/// noised to the grid's last level, in standard deviations of the data. None for solvers of more than
/// a thousand draws, of which it would cost the square.
///
/// The run starts from the exact marginal of the grid's first level, so the error is the solver's.
///
/// # Errors
/// Those of [`solve`]; no solver of this crate has any here.
pub fn gaussian_error(
    solver: &impl Solver<Vec<f64>>,
    grid: &TimeGrid,
) -> Result<Option<f64>, SolveError<Infallible>> {
    let (_, draws) = responses(solver, grid, 0)?;
    if draws > MOST_DRAWS {
        return Ok(None);
    }
    let (end, _) = responses(solver, grid, draws)?;
    let last = grid.levels()[grid.steps()];
    let std = end[1..].iter().map(|response| response * response).sum::<f64>().sqrt();
    let off = (end[0] - last.alpha * MEAN).hypot(std - marginal_std(&last));
    Ok(Some(off / (last.alpha * STD)))
}

fn marginal_std(at: &NoiseLevel) -> f64 {
    (at.alpha * STD).hypot(at.sigma)
}

/// Where independent components end, and how many draws it took: the first follows the mean, the
/// second starts a standard deviation off a mean of 0, and each other answers to one draw alone.
fn responses(
    solver: &impl Solver<Vec<f64>>,
    grid: &TimeGrid,
    draws: usize,
) -> Result<(Vec<f64>, usize), SolveError<Infallible>> {
    let model = FromFn(|z: &Vec<f64>, at: &NoiseLevel| {
        let gain = at.alpha * STD * STD / marginal_std(at).powi(2);
        let mean = |i: usize| if i == 0 { MEAN } else { 0.0 };
        let image = |(i, z): (usize, &f64)| mean(i) + gain * (z - at.alpha * mean(i));
        let value = z.iter().enumerate().map(image).collect();
        Ok::<_, Infallible>(Prediction { value, of: Parameterization::Image })
    });
    let first = grid.levels()[0];
    let mut start = vec![0.0; 2 + draws];
    start[0] = first.alpha * MEAN;
    start[1] = marginal_std(&first);
    let mut noise = UnitVectors { drawn: 0 };
    let end = solve(solver, &model, start, grid, &mut noise, |_, _, _| ())?;
    Ok((end.latent, noise.drawn))
}

/// Noise of which draw `i` is the unit vector `2 + i`.
struct UnitVectors {
    drawn: usize,
}

impl NoiseSource<Vec<f64>> for UnitVectors {
    fn fill(&mut self, out: &mut Vec<f64>, _: LogSnr, _: LogSnr) -> Result<(), NoiseError> {
        out.fill(0.0);
        if let Some(component) = out.get_mut(2 + self.drawn) {
            *component = 1.0;
        }
        self.drawn += 1;
        Ok(())
    }
}

impl SolverSpec {
    /// What speaks against drawing samples by this solver on a grid.
    #[must_use]
    pub fn cautions(&self, grid: &TimeGrid) -> Vec<Caution> {
        let inexact = match gaussian_error(self, grid) {
            Ok(Some(error)) if error <= BOUND => None,
            Ok(Some(error)) => {
                // The name of these very settings, if there is one: its range is another than its family's.
                let named = Self::entries().into_iter().find(|entry| entry.solver == *self);
                let solver = named.map_or_else(|| self.name(), |entry| entry.name);
                Some(Caution::Inexact { solver, steps: grid.steps(), error })
            }
            Ok(None) | Err(_) => None,
        };
        Caution::of_start(grid.levels()[0].log_snr).into_iter().chain(inexact).collect()
    }
}

/// The worst [`gaussian_error`] of a solver on a grid of so many steps, given with its spacing, under the
/// [`schedules`].
///
/// # Errors
/// Those of the grid.
pub fn worst_errors(
    solver: &SolverSpec,
    steps: usize,
) -> Result<Vec<(&'static str, f64)>, GridError> {
    let mut worst: Vec<(&'static str, f64)> = Vec::new();
    for (_, schedule) in schedules()? {
        for (name, grid) in grids(&schedule) {
            let levels = grid.time_grid(steps, &schedule, Scaling::VariancePreserving)?;
            let error = gaussian_error(solver, &levels).ok().flatten().unwrap_or(f64::INFINITY);
            match worst.iter_mut().find(|(known, _)| *known == name) {
                Some((_, worst)) => *worst = error.max(*worst),
                None => worst.push((name, error)),
            }
        }
    }
    Ok(worst)
}

/// The schedules that solvers are judged under, by name: VDM's line, the cosine, DDPM's table, and the
/// straight line of flow matching shifted as for large images.
///
/// # Errors
/// None: their numbers are legal.
pub fn schedules() -> Result<[(&'static str, Schedule); 4], vdm_core::Error> {
    let line = StraightLine { shift: -2.0 * f64::ln(3.0) };
    let shifted = Truncated::new(line, LogSnrRange::new(12.0, -12.0)?)?;
    Ok([
        ("linear", Schedule::linear(13.3, -5.0)?),
        ("cosine", Schedule::cosine(10.0, -10.0)?),
        ("DDPM", Schedule::Discrete(ddpm()?)),
        ("shifted", Schedule::StraightLine(shifted)),
    ])
}

fn ddpm() -> Result<Discrete, vdm_core::Error> {
    Discrete::new(Betas::Linear { steps: 1000, beta_start: 1e-4, beta_end: 0.02 }, false)
}

/// The grids that solvers are judged on under a schedule, by name; only a table has timesteps.
#[must_use]
pub fn grids(schedule: &Schedule) -> Vec<(&'static str, GridSpec)> {
    let kinds = [
        GridKind::UniformTime,
        GridKind::QuadraticTime,
        GridKind::Beta { alpha: 0.6, beta: 0.6 },
        GridKind::UniformLogSnr,
        GridKind::Polyexponential { rho: 2.0 },
        GridKind::Karras { rho: 7.0 },
        GridKind::Angle { data_std: 0.9, power: 1.15 },
    ];
    let mut grids: Vec<_> = kinds.map(|kind| (kind.name(), kind.into())).into();
    let clean = GridSpec { clean: true, ..GridSpec::UNIFORM_TIME };
    grids.push(("uniform_time to clean", clean));
    if let Schedule::Discrete(table) = schedule {
        let spacings = [
            ("leading timesteps", Spacing::Leading),
            ("trailing timesteps", Spacing::Trailing),
            ("linspace timesteps", Spacing::Linspace),
        ];
        grids.extend(spacings.map(|(name, spacing)| {
            let table = Box::new(table.clone());
            (name, GridKind::Timesteps { table, spacing, offset: 0 }.into())
        }));
    }
    grids
}
