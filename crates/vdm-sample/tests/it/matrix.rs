//! Grids under schedules, and data whose answer is known, to judge solvers by their error. Shared by the
//! tests and by the `solvers` example, which writes the table of the worst.

use std::convert::Infallible;
use std::f64::consts::SQRT_2;

use vdm_core::{Denoiser, NoiseLevel, Parameterization, Prediction, Scaling};
use vdm_sample::range::{gaussian_error, grids, schedules};
use vdm_sample::{Iid, Seed, Solver, SolverSpec, TimeGrid, solve};

pub(crate) const SCALING: Scaling = Scaling::VariancePreserving;

/// Starts of a deterministic solver, at equal steps of probability.
pub(crate) const STARTS: usize = 32;

/// A mixture of Gaussians on a line: its marginals, quantiles and denoiser, for any number of
/// independent latents at once.
pub(crate) struct Line {
    pub(crate) weights: [f64; 3],
    pub(crate) means: [f64; 3],
    pub(crate) stds: [f64; 3],
}

impl Line {
    /// Three clusters, between −1 and 1 as images are, the narrowest of a standard deviation of 0.05.
    pub(crate) const CLUSTERS: Self =
        Self { weights: [0.3, 0.5, 0.2], means: [-0.8, 0.3, 0.9], stds: [0.1, 0.2, 0.05] };

    fn components(&self) -> impl Iterator<Item = (f64, f64, f64)> {
        (0..3).map(|k| (self.weights[k], self.means[k], self.stds[k]))
    }

    /// Standard deviation of the data.
    pub(crate) fn std(&self) -> f64 {
        let mean: f64 = self.components().map(|(w, m, _)| w * m).sum();
        let square: f64 = self.components().map(|(w, m, s)| w * (m * m + s * s)).sum();
        (square - mean * mean).sqrt()
    }

    /// The latent below which a share `u` of the data lies, noised to a level; the probability-flow ODE
    /// takes that of one level to that of any other.
    pub(crate) fn quantile(&self, u: f64, at: &NoiseLevel) -> f64 {
        // The smaller tail keeps its digits.
        let tail = |z: f64, sign: f64| -> f64 {
            let part = |(w, m, s): (f64, f64, f64)| {
                let score = (z - at.alpha * m) / (at.alpha * s).hypot(at.sigma);
                0.5 * w * libm::erfc(-sign * score / SQRT_2)
            };
            self.components().map(part).sum()
        };
        let below = |z| if u < 0.5 { tail(z, 1.0) < u } else { tail(z, -1.0) > 1.0 - u };
        let (mut low, mut high) = (-1e3, 1e3);
        for _ in 0..80 {
            let middle = 0.5 * (low + high);
            if below(middle) { low = middle } else { high = middle }
        }
        0.5 * (low + high)
    }

    /// At equal steps of probability.
    pub(crate) fn quantiles(&self, count: usize, at: &NoiseLevel) -> Vec<f64> {
        (0..count).map(|i| self.quantile((i as f64 + 0.5) / count as f64, at)).collect()
    }

    /// Where so many quantiles start on a grid, and where the probability-flow ODE takes them.
    pub(crate) fn paths(&self, grid: &TimeGrid, count: usize) -> Paths {
        let ends = [0, grid.steps()].map(|level| self.quantiles(count, &grid.levels()[level]));
        let [starts, ends] = ends;
        Paths { starts, ends }
    }

    /// In standard deviations of the data, for a deterministic solver the root mean square distance of
    /// where it ends from where the ODE does; for a stochastic one the Wasserstein-1 distance of what it
    /// draws from the data, one sample a path.
    pub(crate) fn error(&self, solver: &SolverSpec, grid: &TimeGrid, paths: &Paths) -> f64 {
        let mut noise = Iid::new(Seed(2401), 0, paths.starts.len());
        let starts = paths.starts.clone();
        let mut ends = solve(solver, self, starts, grid, &mut noise, |_, _, _| ()).unwrap().latent;
        let stochastic = Solver::<Vec<f64>>::properties(solver).stochastic;
        if stochastic {
            ends.sort_by(f64::total_cmp);
        }
        self.distance(&ends, &paths.ends, stochastic) / grid.levels()[grid.steps()].alpha
    }

    pub(crate) fn distance(&self, ends: &[f64], truth: &[f64], stochastic: bool) -> f64 {
        let off = ends.iter().zip(truth).map(|(end, truth)| (end - truth).abs());
        let count = ends.len() as f64;
        let mean = if stochastic {
            off.sum::<f64>() / count
        } else {
            (off.map(|off| off * off).sum::<f64>() / count).sqrt()
        };
        mean / self.std()
    }
}

/// Ends of paths of the probability-flow ODE.
pub(crate) struct Paths {
    starts: Vec<f64>,
    ends: Vec<f64>,
}

impl Denoiser<Vec<f64>> for Line {
    type Error = Infallible;

    fn denoise(&self, z: &Vec<f64>, at: &NoiseLevel) -> Result<Prediction<Vec<f64>>, Infallible> {
        let parts: Vec<_> = self
            .components()
            .map(|(w, m, s)| {
                let var = (at.alpha * s).powi(2) + at.sigma.powi(2);
                (w / var.sqrt(), m, var, at.alpha * s * s / var)
            })
            .collect();
        let image = |z: &f64| {
            let exponents =
                parts.iter().map(|(_, m, var, _)| -0.5 * (z - at.alpha * m).powi(2) / var);
            let highest = exponents.clone().fold(f64::NEG_INFINITY, f64::max);
            let (mut sum, mut total) = (0.0, 0.0);
            for ((w, m, _, gain), exponent) in parts.iter().zip(exponents) {
                let share = w * (exponent - highest).exp();
                sum += share * (m + gain * (z - at.alpha * m));
                total += share;
            }
            sum / total
        };
        let value = z.iter().map(image).collect();
        Ok(Prediction { value, of: Parameterization::Image })
    }
}

/// One grid under one schedule.
pub(crate) struct Case {
    pub(crate) schedule: &'static str,
    pub(crate) grid: &'static str,
    /// As many as asked for; a grid that ends at clean data has one more.
    pub(crate) steps: usize,
    pub(crate) levels: TimeGrid,
}

/// All of them with so many steps.
pub(crate) fn cases(steps: usize) -> Vec<Case> {
    let mut cases = Vec::new();
    for (schedule, curve) in schedules().unwrap() {
        for (grid, spec) in grids(&curve) {
            let levels = spec.time_grid(steps, &curve, SCALING).unwrap();
            cases.push(Case { schedule, grid, steps, levels });
        }
    }
    cases
}

/// The error on Gaussian data, in distribution and exact.
pub(crate) fn on_a_gaussian(solver: &SolverSpec, case: &Case) -> f64 {
    gaussian_error(solver, &case.levels).unwrap().unwrap()
}
