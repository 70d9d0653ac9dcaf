//! Single-step exponential solvers.

use std::convert::Infallible;
use std::fmt::Debug;

use vdm_core::{
    Counted, Denoiser, FromFn, GaussianMixture, NoiseLevel, Parameterization, Prediction, Scaling,
    Schedule,
};
use vdm_sample::exponential::PredictionForm;
use vdm_sample::noise::Recorded;
use vdm_sample::solver::{
    DpmSolverOrder, DpmSolverPp2SAncestral, DpmSolverPpSde, DpmSolverSinglestep, Run, SolverType,
    StageShare, Step,
};
use vdm_sample::{Ddim, Iid, Seed, Solver, TimeGrid, prior, solve};

use super::{FEW_STARTS, assert_order};
use crate::convergence::{Paths, STARTS, mixture, order};

const VP: Scaling = Scaling::VariancePreserving;

/// So far towards data that a last step of first order does not show.
fn grid(steps: usize) -> TimeGrid {
    TimeGrid::uniform_log_snr(steps, &Schedule::cosine(14.0, -8.0).unwrap(), VP).unwrap()
}

fn end<S: Solver<Vec<f64>>>(
    solver: &S,
    model: &impl Denoiser<Vec<f64>, Error = Infallible>,
    z1: Vec<f64>,
    grid: &TimeGrid,
) -> Vec<f64> {
    solve(solver, model, z1, grid, &mut Iid::new(Seed(3), 0, 2), |_, _, _| ()).unwrap().latent
}

fn paths(starts: u64) -> Paths {
    Paths::new(mixture(), starts, -8.0, 14.0)
}

fn every_singlestep() -> Vec<DpmSolverSinglestep> {
    let mut all = Vec::new();
    for order in [DpmSolverOrder::One, DpmSolverOrder::Two, DpmSolverOrder::Three] {
        for prediction in [PredictionForm::Data, PredictionForm::Noise] {
            for solver_type in [SolverType::Midpoint, SolverType::Heun] {
                for stage_solver_type in [SolverType::Midpoint, SolverType::Heun] {
                    for lower_order_final in [false, true] {
                        all.push(DpmSolverSinglestep {
                            order,
                            prediction,
                            solver_type,
                            stage_solver_type,
                            lower_order_final,
                        });
                    }
                }
            }
        }
    }
    all
}

/// On grids of whole blocks, which the declaration is about.
fn check<S: Solver<Vec<f64>> + Debug>(solver: &S, paths: &Paths) {
    let measured = order(360, |steps| paths.error(solver, &grid(steps)));
    assert_order(&format!("{solver:?}"), measured, solver.properties().order);
}

#[test]
#[ignore = "slow: cargo xtask test --full"]
fn deterministic_solvers_have_their_declared_order() {
    let paths = paths(STARTS);
    for solver in every_singlestep() {
        check(&solver, &paths);
    }
    check(&DpmSolverPp2SAncestral { eta: 0.0 }, &paths);
    check(&DpmSolverPpSde { eta: 0.0, r: StageShare::try_from(0.7).unwrap() }, &paths);
}

/// Every order with both predictions, as they come by default.
#[test]
fn some_of_each_family_have_their_declared_order() {
    let paths = paths(FEW_STARTS);
    for (order, prediction) in [
        (DpmSolverOrder::Three, PredictionForm::Data),
        (DpmSolverOrder::Two, PredictionForm::Noise),
    ] {
        check(&DpmSolverSinglestep { order, prediction, ..DpmSolverSinglestep::default() }, &paths);
    }
    check(&DpmSolverPp2SAncestral { eta: 0.0 }, &paths);
    check(&DpmSolverPpSde { eta: 0.0, r: StageShare::try_from(0.7).unwrap() }, &paths);
}

/// Relative error of the variance at the end of a run whose data is `N(0, ¼)` and whose start is
/// exact. A linear model makes a step linear in its latent and its draws, so the variance follows
/// from responses and needs no sampling. `correlation` is that of two draws of one step.
fn variance_error<S: Solver<f64, Memory = ()>>(
    solver: &S,
    steps: usize,
    correlation: impl Fn(f64) -> f64,
) -> f64 {
    let data = GaussianMixture::new(vec![1.0], vec![vec![0.0]], vec![0.5]).unwrap();
    let model = FromFn(|z: &f64, at: &NoiseLevel| {
        let value = data.posterior_mean(&[*z], at)[0];
        Ok::<_, Infallible>(Prediction { value, of: Parameterization::Image })
    });
    let schedule = Schedule::cosine(2.0, -2.0).unwrap();
    let grid = TimeGrid::uniform_log_snr(steps, &schedule, VP).unwrap();
    let variance = |i: usize| {
        let level = grid.levels()[i];
        0.25 * level.alpha.powi(2) + level.sigma.powi(2)
    };
    let c = correlation(4.0 / steps as f64);
    let found = (0..steps).fold(variance(0), |variance, index| {
        let respond = |z: f64, draws: [f64; 2]| {
            let mut noise = Recorded::new(draws);
            let mut run = Run::new(&model, &mut noise);
            solver.step(&mut run, z, &Step::of(&grid, index), &mut ()).unwrap()
        };
        let (to_z, first, second) =
            (respond(1.0, [0.0, 0.0]), respond(0.0, [1.0, 0.0]), respond(0.0, [0.0, 1.0]));
        to_z * to_z * variance + first * first + second * second + 2.0 * c * first * second
    });
    (found / variance(steps) - 1.0).abs()
}

/// The error that a last step of first order adds shows where the grid ends in noise.
#[test]
fn a_last_step_of_first_order_costs_an_order_where_the_grid_ends_in_noise() {
    let noisy = |steps| {
        TimeGrid::uniform_log_snr(steps, &Schedule::cosine(0.0, -8.0).unwrap(), VP).unwrap()
    };
    let lower = DpmSolverSinglestep::default();
    let full = DpmSolverSinglestep { lower_order_final: false, ..lower };
    let paths = Paths::new(mixture(), FEW_STARTS, -8.0, 0.0);
    for (solver, known) in [(lower, 2), (full, 3)] {
        let measured = order(480, |steps| paths.error(&solver, &noisy(steps)));
        assert_order(&format!("{solver:?}"), measured, known);
    }
}

/// The single-step SDE solver is of order 1 with independent draws; with the draws of one Brownian
/// path, whose clock is the signal-to-noise ratio, the noise of the stage is part of that of the
/// step, and the order is 2.
#[test]
fn variances_converge_at_their_declared_order() {
    for eta in [0.5, 1.0] {
        let solver = DpmSolverPp2SAncestral { eta };
        let declared = Solver::<f64>::properties(&solver).order;
        let measured = order(16, |n| variance_error(&solver, n, |_| 0.0));
        assert_order(&format!("{solver:?}"), measured, declared);
        let solver = DpmSolverPpSde { eta, r: StageShare::MIDDLE };
        let declared = Solver::<f64>::properties(&solver).order;
        let measured = order(16, |n| variance_error(&solver, n, |_| 0.0));
        assert_order(&format!("{solver:?}"), measured, declared);
    }
    let sde = DpmSolverPpSde::default();
    let brownian = |gap: f64| ((0.5 * gap).exp_m1() / gap.exp_m1()).sqrt();
    assert_order("SDE, one path", order(16, |n| variance_error(&sde, n, brownian)), 2);
}

/// Two independent roads to DPM-Solver++(2S): stages inside the steps and stages on the grid.
#[test]
fn the_ancestral_solver_without_noise_is_the_singlestep_one_on_twice_the_grid() {
    let second = DpmSolverSinglestep {
        order: DpmSolverOrder::Two,
        lower_order_final: false,
        ..DpmSolverSinglestep::default()
    };
    let paths = paths(FEW_STARTS);
    let on_grid = paths.ends(&second, &grid(40));
    let inside = paths.ends(&DpmSolverPp2SAncestral { eta: 0.0 }, &grid(20));
    let half = DpmSolverPpSde { eta: 0.0, r: StageShare::MIDDLE };
    for other in [inside, paths.ends(&half, &grid(20))] {
        for (a, b) in on_grid.iter().flatten().zip(other.iter().flatten()) {
            // Roundings of 40 steps.
            assert!((a - b).abs() < 1e-12, "{a} and {b}");
        }
    }
}

/// From pure noise to clean data, on every scaling that has both, at every number of steps: finite,
/// and as many model calls as announced.
#[test]
fn singular_ends_are_reached_with_the_calls_announced() {
    fn check<S: Solver<Vec<f64>> + Debug>(solver: &S) {
        let endless: Schedule = serde_json::from_str(r#"{"kind": "straight_line"}"#).unwrap();
        for schedule in [endless, Schedule::cosine(9.0, -9.0).unwrap()] {
            for scaling in [VP, Scaling::StraightLine] {
                for steps in 1..12 {
                    let grid = TimeGrid::uniform_time(steps, &schedule, scaling).unwrap();
                    let model = Counted::new(mixture());
                    let x = end(solver, &model, prior(Seed(3), 0, 2), &grid);
                    let what = format!("{solver:?} {schedule:?} {scaling:?} {steps}");
                    assert!(x.iter().all(|x| x.is_finite()), "{what}: {x:?}");
                    assert_eq!(model.calls(), solver.calls(&grid), "{what}");
                }
            }
        }
    }
    every_singlestep().iter().for_each(check);
    for eta in [0.0, 0.5, 1.0, 3.0] {
        check(&DpmSolverPp2SAncestral { eta });
        check(&DpmSolverPpSde { eta, r: StageShare::MIDDLE });
    }
}

/// Equal levels under another scaling are the same latents up to their scale, stages included.
#[test]
fn every_scaling_draws_the_same_images() {
    fn check<S: Solver<Vec<f64>> + Debug>(solver: &S) {
        let schedule = Schedule::linear(9.0, -9.0).unwrap();
        let draw = |scaling| {
            let grid = TimeGrid::uniform_time(20, &schedule, scaling).unwrap();
            let (first, last) = (grid.levels()[0], grid.levels()[20]);
            let vp = VP.level(first.log_snr);
            let z1 = [0.3, -1.2].map(|z| z * first.alpha / vp.alpha).to_vec();
            let x = end(solver, &mixture(), z1, &grid);
            x.iter().map(|x| x / last.alpha).collect::<Vec<f64>>()
        };
        let vp = draw(VP);
        for scaling in [Scaling::VarianceExploding, Scaling::StraightLine] {
            for (a, b) in vp.iter().zip(draw(scaling)) {
                // Roundings of 20 steps that begin where VE latents are of size 90.
                assert!((a - b).abs() < 1e-10, "{solver:?} {scaling:?}: {a} and {b}");
            }
        }
    }
    every_singlestep().iter().for_each(check);
    check(&DpmSolverPp2SAncestral::default());
    check(&DpmSolverPpSde::default());
}

#[test]
fn order_one_is_ddim() {
    let first =
        DpmSolverSinglestep { order: DpmSolverOrder::One, ..DpmSolverSinglestep::default() };
    let paths = paths(FEW_STARTS);
    assert_eq!(paths.ends(&first, &grid(17)), paths.ends(&Ddim::default(), &grid(17)));
}

#[test]
fn configurations_name_what_is_wrong_with_them() {
    let solver: DpmSolverSinglestep =
        serde_json::from_str(r#"{"order": 2, "prediction": "noise", "solver_type": "taylor"}"#)
            .unwrap();
    assert_eq!((solver.order, solver.prediction), (DpmSolverOrder::Two, PredictionForm::Noise));
    let seven = serde_json::from_str::<DpmSolverSinglestep>(r#"{"order": 7}"#).unwrap_err();
    assert!(seven.to_string().contains("order = 7: use 1, 2 or 3"), "{seven}");
    let outside = serde_json::from_str::<DpmSolverPpSde>(r#"{"r": 0.0}"#).unwrap_err();
    assert!(outside.to_string().contains("r = 0: use a share of the step"), "{outside}");
    let sde: DpmSolverPpSde = serde_json::from_str(r#"{"r": 0.25}"#).unwrap();
    assert_eq!((sde.eta, sde.r.value()), (1.0, 0.25));
}
