//! Solvers in EDM's and the flow's coordinates, and the wrappers and SDEs around them.

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt::Debug;

use vdm_core::{
    Counted, Denoiser, GaussianMixture, LogSnr, NoiseLevel, Prediction, Scaling, Schedule,
    quadrature,
};
use vdm_sample::noise::{NoiseError, Recorded};
use vdm_sample::solver::{
    Churn, Coordinate, Dpm2, Dpm2Ancestral, EdmSigmaRange, EulerMaruyama, Heun, Lms, Midpoint,
    Order, PredictorCorrector, Restart, Run, Step, StochasticHeun,
};
use vdm_sample::{
    Ddim, DpmSolverMultistep, Iid, NoNoise, NoiseSource, Seed, Solver, TimeGrid, prior, solve,
};

use super::{FEW_STARTS, assert_order};
use crate::convergence::{HALVINGS, Paths, STARTS, distance, mixture, order};

const VP: Scaling = Scaling::VariancePreserving;
/// Even steps of log-SNR from a noisy level to 8.
fn grid_from(noisiest: f64, steps: usize, scaling: Scaling) -> TimeGrid {
    let schedule = Schedule::linear(8.0, noisiest).unwrap();
    TimeGrid::uniform_log_snr(steps, &schedule, scaling).unwrap()
}

fn even_grid(steps: usize, scaling: Scaling) -> TimeGrid {
    grid_from(-8.0, steps, scaling)
}

fn lms(order: u8, coordinate: Coordinate) -> Lms {
    Lms { order: Order::try_from(order).unwrap(), coordinate }
}

#[test]
fn ode_solvers_have_their_declared_order() {
    fn check<S: Solver<Vec<f64>> + Debug>(solver: &S, paths: &Paths) {
        let measured = order(100, |steps| paths.error(solver, &even_grid(steps, VP)));
        assert_order(&format!("{solver:?}"), measured, solver.properties().order);
    }
    let paths = Paths::new(mixture(), FEW_STARTS, -8.0, 8.0);
    check(&Dpm2, &paths);
    for coordinate in [Coordinate::Edm, Coordinate::Flow] {
        check(&Heun { coordinate }, &paths);
        check(&Midpoint { coordinate }, &paths);
        check(&lms(1, coordinate), &paths);
        check(&lms(2, coordinate), &paths);
    }
}

/// With more slopes the order is 2, that of the warm-up, where a run starts among the data; from
/// high noise, where the first slopes hardly differ, it is the number of slopes.
fn the_warm_up_alone_limits_the_order(solver: Lms, slopes: u32, starts: u64) {
    let paths = |noisiest| Paths::new(mixture(), starts, noisiest, 8.0);
    let (near, far) = (paths(0.0), paths(-24.0));
    let what = format!("{solver:?}");
    let declared = Solver::<Vec<f64>>::properties(&solver).order;
    let near = order(400, |steps| near.error(&solver, &grid_from(0.0, steps, VP)));
    assert_order(&what, near, declared);
    let far = order(200, |steps| far.error(&solver, &grid_from(-24.0, steps, VP)));
    assert_order(&what, far, slopes);
}

#[test]
#[ignore = "slow: cargo xtask test --full"]
fn the_warm_up_alone_limits_some_multistep_orders() {
    the_warm_up_alone_limits_the_order(lms(3, Coordinate::Edm), 3, FEW_STARTS);
    the_warm_up_alone_limits_the_order(lms(4, Coordinate::Flow), 4, FEW_STARTS);
}

#[test]
#[ignore = "slow: cargo xtask test --full"]
fn multistep_orders_are_limited_by_the_warm_up_alone() {
    for slopes in [2, 3, 4] {
        for coordinate in [Coordinate::Edm, Coordinate::Flow] {
            let solver = lms(slopes, coordinate);
            the_warm_up_alone_limits_the_order(solver, slopes.into(), STARTS);
        }
    }
}

/// Draw `i` is 1 in component `i + 2` and 0 elsewhere; counts how many are asked for.
struct Pulses {
    asked: usize,
}

impl NoiseSource<Vec<f64>> for Pulses {
    fn fill(&mut self, out: &mut Vec<f64>, _: LogSnr, _: LogSnr) -> Result<(), NoiseError> {
        out.fill(0.0);
        if let Some(component) = out.get_mut(2 + self.asked) {
            *component = 1.0;
        }
        self.asked += 1;
        Ok(())
    }
}

/// What one step makes of its latent and its draws, `z' = az + b + Σ cᵢ·drawᵢ`: affine where the data
/// are normal.
struct Responses {
    a: f64,
    b: f64,
    c: Vec<f64>,
}

impl Responses {
    /// For `N(0.7, std²)`. Components are independent and alike, so that each takes one response.
    fn of<S: Solver<Vec<f64>, Memory = ()>>(solver: &S, std: f64, step: &Step<'_>) -> Self {
        let respond = |draws: usize| {
            let dims = 2 + draws;
            let model = GaussianMixture::new(vec![1.0], vec![vec![0.7; dims]], vec![std]).unwrap();
            let mut noise = Pulses { asked: 0 };
            let mut z = vec![0.0; dims];
            z[1] = 1.0;
            let mut run = Run::new(&model, &mut noise);
            (solver.step(&mut run, z, step, &mut ()).unwrap(), noise.asked)
        };
        let (_, draws) = respond(0);
        let (z, _) = respond(draws);
        let b = z[0];
        Self { a: z[1] - b, b, c: z[2..].iter().map(|z| z - b).collect() }
    }
}

const STD: f64 = 0.3;

/// Mean and variance of `z` for data of `N(0.7, STD²)`.
fn distribution(at: &NoiseLevel) -> (f64, f64) {
    (0.7 * at.alpha, (STD * at.alpha).powi(2) + at.sigma.powi(2))
}

/// Mean and variance that a solver ends with, exactly.
fn moments<S: Solver<Vec<f64>, Memory = ()>>(solver: &S, grid: &TimeGrid) -> (f64, f64) {
    (0..grid.steps()).fold(distribution(&grid.levels()[0]), |(mean, var), index| {
        let Responses { a, b, c } = Responses::of(solver, STD, &Step::of(grid, index));
        (a * mean + b, a * a * var + c.iter().map(|c| c * c).sum::<f64>())
    })
}

fn weak_error<S: Solver<Vec<f64>, Memory = ()>>(solver: &S, grid: &TimeGrid) -> f64 {
    let (mean, var) = moments(solver, grid);
    let (exact_mean, exact_var) = distribution(&grid.levels()[grid.steps()]);
    (mean - exact_mean).hypot(var.sqrt() - exact_var.sqrt())
}

#[test]
fn stochastic_solvers_have_their_declared_weak_order() {
    fn check<S: Solver<Vec<f64>, Memory = ()> + Debug>(solver: &S) {
        let error = |steps| weak_error(solver, &even_grid(steps, VP));
        assert_order(&format!("{solver:?}"), order(50, error), solver.properties().order);
    }
    for strength in [0.0, 0.5, 1.0, 2.0] {
        check(&EulerMaruyama { strength });
        check(&StochasticHeun { strength });
    }
    for eta in [0.5, 1.0] {
        check(&Dpm2Ancestral { eta });
    }
    check(&Churn::new(Ddim::default(), 5.0));
    check(&Churn::new(Heun::default(), 5.0));
    check(&Restart::<Heun>::default());
}

/// One step from the exact distribution of a one-dimensional mixture, where the model is not linear: the
/// error of `E z`, `E z²` and `E z³` falls one order faster than the error of a whole run.
fn one_step_matches_the_moments_of_a_mixture(strengths: &[f64]) {
    let data =
        GaussianMixture::new(vec![0.3, 0.7], vec![vec![-0.8], vec![0.6]], vec![0.5, 0.3]).unwrap();
    let moments_at = |at: &NoiseLevel, map: &dyn Fn(f64, f64) -> f64| {
        let expect = |power: i32| -> f64 {
            let part = |(weight, mean, std): (f64, &[f64], f64)| {
                let spread = (at.alpha * std).hypot(at.sigma);
                weight
                    * quadrature::normal(2, |xi| {
                        map(at.alpha * mean[0] + spread * xi[0], xi[1]).powi(power)
                    })
            };
            data.components().map(part).sum()
        };
        [1, 2, 3].map(expect)
    };
    fn local<S: Solver<Vec<f64>, Memory = ()>>(
        solver: &S,
        model: &GaussianMixture,
        grid: &TimeGrid,
    ) -> impl Fn(f64, f64) -> f64 {
        move |z, draw| {
            let mut noise = Recorded::new([vec![draw]]);
            solve(solver, model, vec![z], grid, &mut noise, |_, _, _| ()).unwrap().latent[0]
        }
    }
    for &strength in strengths {
        let grid = |halving: u32| {
            let gap = 0.2 / f64::from(1 << halving);
            TimeGrid::from_log_snrs([0.5, 0.5 + gap], VP).unwrap()
        };
        let error = |grid: &TimeGrid, map: &dyn Fn(f64, f64) -> f64| {
            let reached = moments_at(&grid.levels()[0], map);
            distance(&reached, &moments_at(&grid.levels()[1], &|z, _| z))
        };
        let measured = |of: &dyn Fn(&TimeGrid) -> f64| {
            let (coarse, fine) = (of(&grid(0)), of(&grid(HALVINGS)));
            (coarse / fine).log2() / f64::from(HALVINGS) - 1.0
        };
        let euler = EulerMaruyama { strength };
        let heun = StochasticHeun { strength };
        assert_order(
            "EulerMaruyama",
            measured(&|grid| error(grid, &local(&euler, &data, grid))),
            1,
        );
        assert_order(
            "StochasticHeun",
            measured(&|grid| error(grid, &local(&heun, &data, grid))),
            2,
        );
    }
}

#[test]
#[ignore = "slow: cargo xtask test --full"]
fn one_step_of_an_sde_matches_the_moments_of_a_mixture() {
    one_step_matches_the_moments_of_a_mixture(&[0.5, 1.0, 2.0]);
}

/// A Brownian path in log-SNR, drawn at the points of a fine even grid: what a coarse step and the
/// fine steps inside it share.
struct SharedPath {
    start: f64,
    gap: f64,
    path: Vec<[f64; 2]>,
}

impl SharedPath {
    fn new(grid: &TimeGrid, seed: u64) -> Self {
        let (start, gap) = (grid.levels()[0].log_snr, 16.0 / grid.steps() as f64);
        let draws: Vec<f64> = prior(Seed(seed), 1, 2 * grid.steps());
        let step = |sum: &mut [f64; 2], draw: &[f64]| {
            *sum = [sum[0] + gap.sqrt() * draw[0], sum[1] + gap.sqrt() * draw[1]];
            Some(*sum)
        };
        let path = std::iter::once([0.0; 2]).chain(draws.chunks(2).scan([0.0; 2], step)).collect();
        Self { start, gap, path }
    }
}

impl NoiseSource<Vec<f64>> for &SharedPath {
    fn fill(&mut self, out: &mut Vec<f64>, from: LogSnr, to: LogSnr) -> Result<(), NoiseError> {
        let [from, to] =
            [from, to].map(|at| ((at.value() - self.start) / self.gap).round() as usize);
        let std = ((to - from) as f64 * self.gap).sqrt();
        for (i, out) in out.iter_mut().enumerate() {
            *out = (self.path[to][i] - self.path[from][i]) / std;
        }
        Ok(())
    }
}

/// Strong order 1 of both, over shared paths, against 16 times finer steps than the finest
/// measured. The components of the data overlap: on the ridge between separate ones the error of a
/// path is as large as their distance.
fn sde_solvers_converge_at_order_1(strengths: &[f64], paths: u64, coarsest: usize) {
    let finest = 16 * (coarsest << HALVINGS);
    let fine = even_grid(finest, VP);
    let shared: Vec<SharedPath> = (0..paths).map(|path| SharedPath::new(&fine, path)).collect();
    fn ends<S: Solver<Vec<f64>>>(solver: &S, steps: usize, paths: &[SharedPath]) -> Vec<f64> {
        let means = vec![vec![-0.4, 0.2], vec![0.3, 0.3]];
        let data = GaussianMixture::new(vec![0.4, 0.6], means, vec![0.5, 0.6]).unwrap();
        let grid = even_grid(steps, VP);
        let end = |(number, mut path): (u64, &SharedPath)| {
            let z1 = prior(Seed(number), 0, 2);
            solve(solver, &data, z1, &grid, &mut path, |_, _, _| ()).unwrap().latent
        };
        (0..).zip(paths).flat_map(end).collect()
    }
    for &strength in strengths {
        let (euler, heun) = (EulerMaruyama { strength }, StochasticHeun { strength });
        let truth = ends(&heun, finest, &shared);
        let of_euler = order(coarsest, |steps| distance(&ends(&euler, steps, &shared), &truth));
        assert_order(&format!("strong, {euler:?}"), of_euler, 1);
        let of_heun = order(coarsest, |steps| distance(&ends(&heun, steps, &shared), &truth));
        assert_order(&format!("strong, {heun:?}"), of_heun, 1);
    }
}

#[test]
#[ignore = "slow: cargo xtask test --full"]
fn sde_solvers_converge_path_by_path_at_order_1() {
    sde_solvers_converge_at_order_1(&[0.5, 1.0], 64, 50);
}

/// Strength 0 is the probability-flow ODE and 1 the hierarchy itself.
#[test]
fn the_family_of_sdes_holds_ddim_and_the_ancestral_step() {
    fn end<S: Solver<Vec<f64>>>(solver: &S, start: u64) -> Vec<f64> {
        let (z1, mut noise) = (prior(Seed(0), start, 2), Iid::new(Seed(0), start, 2));
        solve(solver, &mixture(), z1, &even_grid(20, VP), &mut noise, |_, _, _| ()).unwrap().latent
    }
    for (strength, eta) in [(0.0, 0.0), (1.0, 1.0)] {
        for start in 0..8 {
            let gap =
                distance(&end(&EulerMaruyama { strength }, start), &end(&Ddim { eta }, start));
            assert!(gap < 1e-12, "strength {strength}: {gap}");
        }
    }
}

/// Langevin steps repair the distribution that a crude predictor leaves, down to their own bias of relative
/// size `snr²`.
#[test]
fn corrections_repair_the_distribution() {
    let grid = even_grid(10, VP);
    let crude = weak_error(&Ddim::default(), &grid);
    let corrected = |corrections| {
        let predictor = Ddim::default();
        weak_error(&PredictorCorrector { predictor, corrections, snr: 0.16 }, &grid)
    };
    assert!(corrected(20) < 0.5 * crude);
    let floor = 0.16 * 0.16 * distribution(&grid.levels()[10]).1.sqrt();
    assert!(corrected(400) < floor, "{} above {floor}", corrected(400));
}

/// Where the model's image does not move, the corrector keeps the noise at σ exactly.
#[test]
fn corrections_keep_the_noise_of_a_single_point() {
    let grid = even_grid(2, VP);
    let solver = PredictorCorrector { predictor: Ddim::default(), corrections: 1, snr: 0.4 };
    let s = grid.levels()[1];
    let Responses { a, c, .. } = Responses::of(&solver, 1e-9, &Step::of(&grid, 0));
    let (kept, fresh) = (a * grid.levels()[0].sigma, c[0]);
    assert!((kept.hypot(fresh) - s.sigma).abs() < 1e-12, "{kept} and {fresh} for {}", s.sigma);
}

/// Schedules with finite and with infinite ends, under every scaling that has a level there.
fn grids(steps: usize) -> Vec<TimeGrid> {
    let endless: Schedule = serde_json::from_str(r#"{"kind": "straight_line"}"#).unwrap();
    let schedules =
        [Schedule::linear(13.3, -5.0).unwrap(), Schedule::cosine(15.0, -15.0).unwrap(), endless];
    let scalings =
        [VP, Scaling::VarianceExploding, Scaling::StraightLine, Scaling::SubVariancePreserving];
    let all = schedules.iter().flat_map(|schedule| {
        scalings.into_iter().filter_map(|s| TimeGrid::uniform_time(steps, schedule, s).ok())
    });
    all.flat_map(|grid| [grid.clone().to_clean(), grid]).collect()
}

/// Counts all calls, and those at levels where no model is defined.
struct Guarded<'a> {
    model: Counted<&'a GaussianMixture>,
    clean_calls: Cell<usize>,
}

impl Denoiser<Vec<f64>> for Guarded<'_> {
    type Error = Infallible;
    fn denoise(&self, z: &Vec<f64>, at: &NoiseLevel) -> Result<Prediction<Vec<f64>>, Infallible> {
        self.clean_calls.set(self.clean_calls.get() + usize::from(at.sigma == 0.0));
        self.model.denoise(z, at)
    }
}

/// Every solver on every grid: finite, as many model calls as declared, none of them at `σ = 0`;
/// the same image under every scaling; noise drawn only if declared.
fn check_runs<S: Solver<Vec<f64>> + Debug>(solver: &S) {
    let data = mixture();
    for steps in [1, 2, 3, 7, 20] {
        for grid in grids(steps) {
            let model = Guarded { model: Counted::new(&data), clean_calls: Cell::new(0) };
            let sigma = grid.levels()[0].sigma;
            let z1 = prior::<f64>(Seed(5), 0, 2).iter().map(|z| z * sigma).collect();
            let mut noise = Iid::new(Seed(5), 0, 2);
            let x = solve(solver, &model, z1, &grid, &mut noise, |_, _, _| ()).unwrap().latent;
            let what = format!("{solver:?} {grid:?}");
            assert!(x.iter().all(|x| x.is_finite()), "{what}: {x:?}");
            assert_eq!(model.model.calls(), solver.calls(&grid), "{what}");
            assert_eq!(model.clean_calls.get(), 0, "{what}");
        }
        let image = |scaling| {
            let grid = even_grid(steps, scaling).to_clean();
            let first = grid.levels()[0];
            let z1 = vec![0.3 * first.sigma, -0.9 * first.sigma];
            let mut noise = Iid::new(Seed(8), 0, 2);
            solve(solver, &data, z1, &grid, &mut noise, |_, _, _| ()).unwrap().latent
        };
        for other in
            [Scaling::VarianceExploding, Scaling::StraightLine, Scaling::SubVariancePreserving]
        {
            let gap = distance(&image(VP), &image(other));
            assert!(gap < 1e-9, "{solver:?} {steps} {other:?}: {gap}");
        }
    }
    let properties = solver.properties();
    let grid = even_grid(6, VP);
    let deterministic = solve(solver, &data, vec![0.1, 0.2], &grid, &mut NoNoise, |_, _, _| ());
    assert_eq!(deterministic.is_err(), properties.stochastic, "{solver:?}");
}

#[test]
fn every_solver_runs_on_every_grid_as_declared() {
    for coordinate in [Coordinate::Edm, Coordinate::Flow] {
        check_runs(&Heun { coordinate });
        check_runs(&Midpoint { coordinate });
        check_runs(&Churn::new(Heun { coordinate }, 3.0));
        for order in [1, 2, 4] {
            check_runs(&lms(order, coordinate));
        }
    }
    check_runs(&Dpm2);
    for eta in [0.0, 0.5, 1.0, 3.0] {
        check_runs(&Dpm2Ancestral { eta });
    }
    for strength in [0.0, 0.5, 1.0, 2.0] {
        check_runs(&EulerMaruyama { strength });
        check_runs(&StochasticHeun { strength });
    }
    check_runs(&Churn::new(Ddim::default(), 2.0));
    check_runs(&PredictorCorrector::new(Heun::default()));
    check_runs(&PredictorCorrector {
        corrections: 3,
        ..PredictorCorrector::new(DpmSolverMultistep::PP_2M)
    });
    let (sigma, repeats) = (EdmSigmaRange { min: 0.05, max: 5.0 }, 2);
    check_runs(&Restart { solver: Heun::default(), sigma, repeats });
    check_runs(&Restart { solver: lms(3, Coordinate::Edm), sigma, repeats });
}
