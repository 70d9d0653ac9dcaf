//! Orders of convergence as they are observed: slopes of the logarithm of an error whose truth is
//! known.

use vdm_core::{GaussianMixture, LogSnr, NoiseLevel, Scaling};
use vdm_sample::noise::{BrownianPath, NoiseError};
use vdm_sample::{NoiseSource, Seed, SolverSpec, TimeGrid, prior, solve};

use crate::convergence::{HALVINGS, Paths, STARTS, distance, mixture, order, whole_range};

const SCALING: Scaling = Scaling::VariancePreserving;
/// Divisible by 2 and 3, so that solvers that walk in blocks take whole ones.
const FEWEST_STEPS: usize = 36;
/// As fine for the whole range of levels as [`FEWEST_STEPS`] for a third of it, and a little finer, as the
/// steps there differ in size.
const FEWEST_STEPS_OF_ALL: usize = 216;

/// Equal steps of log-SNR from −6 to 6, where the prediction still moves at both ends.
fn grid(steps: usize) -> TimeGrid {
    let level = |i: usize| 12.0 * (i as f64 / steps as f64 - 0.5);
    TimeGrid::from_log_snrs((0..=steps).map(level), SCALING).unwrap()
}

/// Of the probability-flow ODE's solution over all levels, for deterministic solvers.
pub(crate) fn of_the_ode(solver: &SolverSpec) -> f64 {
    let paths = Paths::over_the_whole_range(STARTS);
    order(FEWEST_STEPS_OF_ALL, |steps| paths.error(solver, &whole_range(steps)))
}

/// The same where the grid begins and ends among levels at which the prediction still moves: what
/// first and last steps of lower order cost.
pub(crate) fn of_the_ode_between(solver: &SolverSpec) -> f64 {
    let paths = Paths::new(mixture(), STARTS, -6.0, 6.0);
    order(FEWEST_STEPS, |steps| paths.error(solver, &grid(steps)))
}

/// 1 for one component of one draw, 0 for all others.
struct Impulse {
    at: usize,
    drawn: usize,
}

impl NoiseSource<Vec<f64>> for Impulse {
    fn fill(&mut self, out: &mut Vec<f64>, _: LogSnr, _: LogSnr) -> Result<(), NoiseError> {
        out.fill(f64::from(u8::from(self.drawn == self.at)));
        self.drawn += 1;
        Ok(())
    }
}

/// Of the distribution of the result, for stochastic solvers: on Gaussian data every step is linear in the
/// latent and in the noise, so mean and variance of the result follow exactly from its response to
/// each draw alone, without any sampling error.
pub(crate) fn weak_order(solver: &SolverSpec) -> f64 {
    let (mean, std) = (0.7, 0.3);
    let model = GaussianMixture::new(vec![1.0], vec![vec![mean]], vec![std]).unwrap();
    let moments = |at: NoiseLevel| (at.alpha * mean, (at.alpha * std).powi(2) + at.sigma.powi(2));
    order(FEWEST_STEPS, |steps| {
        let grid = grid(steps);
        let end = |z1: f64, at: usize| {
            let mut noise = Impulse { at, drawn: 0 };
            let z =
                solve(solver, &model, vec![z1], &grid, &mut noise, |_, _, _| ()).unwrap().latent;
            (z[0], noise.drawn)
        };
        let (start_mean, start_var) = moments(grid.levels()[0]);
        let (end_mean, draws) = end(start_mean, usize::MAX);
        let response = |z1: f64, at: usize| end(z1, at).0 - end_mean;
        let from_start = response(start_mean + 1.0, usize::MAX).powi(2) * start_var;
        let from_noise: f64 = (0..draws).map(|at| response(start_mean, at).powi(2)).sum();
        let (true_mean, true_var) = moments(grid.levels()[steps]);
        (end_mean - true_mean).abs() + (from_start + from_noise - true_var).abs()
    })
}

/// Of the single path, for stochastic solvers: root mean square over 32 Brownian paths on the
/// mixture; the truth is the same solver's with eight times the steps of the finest grid, on the
/// same paths.
pub(crate) fn strong_order(solver: &SolverSpec) -> f64 {
    let model = mixture();
    let ends = |steps: usize| -> Vec<f64> {
        let grid = grid(steps);
        let end = |path| {
            let z1: Vec<f64> = prior(Seed(1), path, 2);
            let mut noise = BrownianPath::new(Seed(1), path, 2);
            solve(solver, &model, z1, &grid, &mut noise, |_, _, _| ()).unwrap().latent
        };
        (0..32).flat_map(end).collect()
    };
    let truth = ends(FEWEST_STEPS << (HALVINGS + 3));
    order(FEWEST_STEPS, |steps| distance(&ends(steps), &truth))
}
