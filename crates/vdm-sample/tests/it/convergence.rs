//! Orders of convergence as they are observed: slopes of the logarithm of an error over halvings of
//! the step. Shared by the tests of orders and by the `solvers` example, which prints them.

use std::f64::consts::PI;

use vdm_core::{GaussianMixture, LogSnr, Scaling};
use vdm_sample::ode::Pair;
use vdm_sample::{AdaptiveOde, NoNoise, Seed, Solver, TimeGrid, prior, solve};

/// From the coarsest to the finest grid measured.
pub(crate) const HALVINGS: u32 = 5;

/// How many paths a typical error is taken over where time allows.
pub(crate) const STARTS: u64 = 16;

/// Slope of the log of `error(steps)` from `coarsest` steps over the halvings.
pub(crate) fn order(coarsest: usize, error: impl Fn(usize) -> f64) -> f64 {
    (error(coarsest) / error(coarsest << HALVINGS)).log2() / f64::from(HALVINGS)
}

/// The mean of the logarithms: one path whose leading error happens to vanish, or one that is
/// magnified between two clusters, moves it little, where it would decide a sum of squares.
pub(crate) fn typical(errors: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, count) =
        errors.into_iter().fold((0.0, 0.0), |(sum, count), error| (sum + error.ln(), count + 1.0));
    f64::exp(sum / count)
}

pub(crate) fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

/// Three clusters in two dimensions.
pub(crate) fn mixture() -> GaussianMixture {
    GaussianMixture::new(
        vec![0.3, 0.5, 0.2],
        vec![vec![-1.0, 0.5], vec![0.8, 0.8], vec![0.2, -1.1]],
        vec![0.3, 0.2, 0.25],
    )
    .unwrap()
}

/// `λ` from −18 to 18 in steps of changing size, as an even grid hides errors in the weights of
/// past predictions. At its ends the prediction hardly moves, so that the first and last steps,
/// which are of lower order, do not hide the order between.
pub(crate) fn whole_range(steps: usize) -> TimeGrid {
    let log_snr = |i: usize| {
        let u = 2.0 * i as f64 / steps as f64 - 1.0;
        18.0 * u + 0.8 * (2.0 * PI * u).sin()
    };
    TimeGrid::from_log_snrs((0..=steps).map(log_snr), Scaling::VariancePreserving).unwrap()
}

/// Paths of the probability-flow ODE and where they end.
pub(crate) struct Paths {
    model: GaussianMixture,
    starts: Vec<Vec<f64>>,
    truth: Vec<Vec<f64>>,
}

impl Paths {
    /// That many from unit normals at log-SNR `noise` to `data`, variance preserving. The adaptive
    /// solver, which knows no grid, says where they end, to about 1e-13.
    pub(crate) fn new(model: GaussianMixture, starts: u64, noise: f64, data: f64) -> Self {
        let starts: Vec<Vec<f64>> =
            (0..starts).map(|start| prior(Seed(0), start, model.dims())).collect();
        let tight = AdaptiveOde {
            method: Pair::PrinceDormand87,
            absolute: 1e-14,
            relative: 1e-14,
            ..AdaptiveOde::default()
        };
        let (from, to) = (LogSnr::new(noise), LogSnr::new(data));
        let ends = tight
            .solve_each(&model, starts.clone(), from, to, Scaling::VariancePreserving)
            .unwrap();
        let truth = ends.into_iter().map(|end| end.latent).collect();
        Self { model, starts, truth }
    }

    /// Between the ends of [`whole_range`]; with wider clusters than [`mixture`]'s, since high orders
    /// need smooth paths to show before rounding does.
    pub(crate) fn over_the_whole_range(starts: u64) -> Self {
        let means = vec![vec![-1.0, 0.5], vec![0.8, 0.8], vec![0.2, -1.1]];
        let model = GaussianMixture::new(vec![0.3, 0.5, 0.2], means, vec![0.6, 0.5, 0.7]);
        Self::new(model.unwrap(), starts, -18.0, 18.0)
    }

    /// Where a solver ends them.
    pub(crate) fn ends<S: Solver<Vec<f64>>>(&self, solver: &S, grid: &TimeGrid) -> Vec<Vec<f64>> {
        let end = |z1: &Vec<f64>| {
            solve(solver, &self.model, z1.clone(), grid, &mut NoNoise, |_, _, _| ()).unwrap().latent
        };
        self.starts.iter().map(end).collect()
    }

    /// The typical distance of a solver's ends from the true ones.
    pub(crate) fn error<S: Solver<Vec<f64>>>(&self, solver: &S, grid: &TimeGrid) -> f64 {
        let ends = self.ends(solver, grid);
        typical(ends.iter().zip(&self.truth).map(|(end, truth)| distance(end, truth)))
    }
}
