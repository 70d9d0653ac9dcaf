//! Every solver on every grid under every schedule, judged by its error on data whose answer is known.

use vdm_core::{Denoiser, GaussianMixture};
use vdm_sample::range::{Caution, STEPS, gaussian_error, schedules};
use vdm_sample::spec::Entry;
use vdm_sample::{Ancestral, Ddim, GridSpec, Solver, SolverSpec, TimeGrid};

use crate::matrix::{Case, Line, SCALING, STARTS, cases, on_a_gaussian};

/// The first-order solvers' error: what others should not exceed, however large a grid's steps are. That of
/// the reverse SDE is larger where steps are.
pub(crate) fn first_order(stochastic: bool, levels: &TimeGrid) -> f64 {
    let error = |solver| gaussian_error(&solver, levels).unwrap().unwrap_or(0.0);
    let ode = error(SolverSpec::Ddim(Ddim::default()));
    if stochastic { ode.max(error(SolverSpec::Ancestral(Ancestral::default()))) } else { ode }
}

/// Solvers that can be far worse than first order on large steps: those that evaluate the slope at the far
/// end of a step, and those that extrapolate it in the angle.
pub(crate) const FOR_SHORT_STEPS: [&str; 10] = [
    "heun",
    "flow_heun",
    "dpm_2",
    "dpm_2_ancestral",
    "dpm_solver_singlestep",
    "angular_adams",
    "euler_maruyama",
    "churn",
    "restart",
    "predictor_corrector",
];

/// Rounded errors below which it does not matter which of two solvers is better.
pub(crate) const GOOD: f64 = 0.02;

#[test]
fn no_solver_but_those_for_short_steps_is_worse_than_first_order_anywhere() {
    for case in STEPS.into_iter().flat_map(cases) {
        let [ode, sde] = [false, true].map(|stochastic| first_order(stochastic, &case.levels));
        for Entry { name, solver, .. } in SolverSpec::entries() {
            if FOR_SHORT_STEPS.contains(&name) {
                continue;
            }
            let error = on_a_gaussian(&solver, &case);
            let first = if Solver::<Vec<f64>>::properties(&solver).stochastic { sde } else { ode };
            let Case { schedule, grid, steps, .. } = &case;
            let what = format!("{name} on {steps} steps of {grid} under {schedule}");
            assert!(error <= 1.5 * first.max(GOOD), "{what}: {error}, first order {first}");
        }
    }
}

/// The worst error of any grid and schedule at 5, 10, 20 and 50 steps, rounded up.
const WORST: [(&str, [f64; 4]); 31] = [
    ("ancestral", [0.72, 0.46, 0.31, 0.16]),
    ("ddim", [0.68, 0.40, 0.21, 0.09]),
    ("heun", [5.40, 0.56, 0.12, 0.026]),
    ("midpoint", [0.35, 0.071, 0.012, 0.002]),
    ("dpm_2", [1.80, 0.45, 0.13, 0.026]),
    ("dpm_2_ancestral", [11.6, 1.14, 0.25, 0.058]),
    ("lms", [0.64, 0.28, 0.089, 0.010]),
    ("dpm_solver_singlestep", [0.68, 0.50, 0.21, 0.045]),
    ("dpm_solver_pp_2s_ancestral", [0.68, 0.38, 0.18, 0.055]),
    ("dpm_solver_pp_sde", [0.64, 0.42, 0.26, 0.14]),
    ("dpm_solver_multistep", [0.68, 0.38, 0.14, 0.028]),
    ("exponential_adams", [0.68, 0.39, 0.16, 0.044]),
    ("angular_adams", [1.03, 0.26, 0.055, 0.005]),
    ("uni_pc", [0.68, 0.37, 0.14, 0.018]),
    ("sa_solver", [0.71, 0.45, 0.35, 0.066]),
    ("euler_maruyama", [0.72, 0.46, 0.31, 0.16]),
    ("stochastic_heun", [0.70, 0.40, 0.21, 0.079]),
    ("churn", [6.74, 0.79, 0.18, 0.044]),
    ("restart", [5.19, 0.42, 0.12, 0.026]),
    ("predictor_corrector", [5.25, 0.53, 0.12, 0.029]),
    ("euler", [0.68, 0.40, 0.21, 0.09]),
    ("euler_ancestral", [0.72, 0.46, 0.31, 0.16]),
    ("flow_heun", [0.61, 0.33, 0.13, 0.030]),
    ("flow_midpoint", [0.12, 0.019, 0.004, 0.001]),
    ("dpm_solver_pp_2m", [0.68, 0.38, 0.14, 0.028]),
    ("dpm_solver_pp_3m", [0.68, 0.37, 0.14, 0.030]),
    ("dpm_solver_2m", [0.68, 0.38, 0.15, 0.027]),
    ("dpm_solver_3m", [0.68, 0.37, 0.15, 0.026]),
    ("dpm_solver_pp_2m_sde", [0.72, 0.43, 0.27, 0.089]),
    ("dpm_solver_pp_3m_sde", [0.71, 0.43, 0.27, 0.094]),
    ("deis", [0.63, 0.38, 0.16, 0.030]),
];

#[test]
fn every_solver_is_as_good_as_its_worst_is_said_to_be() {
    let mut faults = Vec::new();
    for (i, steps) in STEPS.into_iter().enumerate() {
        let cases = cases(steps);
        for (Entry { name, solver, .. }, (judged, worst)) in SolverSpec::entries().iter().zip(WORST)
        {
            assert_eq!(*name, judged);
            let errors = cases.iter().map(|case| on_a_gaussian(solver, case));
            // NaN is above any number.
            let most = errors.fold(0.0, |most, error| if error <= most { most } else { error });
            if !(most <= worst[i] && most > 0.85 * worst[i] - 1e-3) {
                faults.push(format!("{name}, {steps}: {most:.4}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// 20 to 100 steps of DDPM's table end in one that is several times as long as those before it, in
/// log-SNR. Of 0.3, SA-Solver of full order made a standard deviation of 2.0 in 20 of them.
#[test]
fn long_last_steps_do_not_overshoot() {
    let table = &schedules().unwrap()[2].1;
    let third: [SolverSpec; 4] =
        ["sa_solver", "dpm_solver_pp_3m_sde", "dpm_solver_pp_3m", "exponential_adams"]
            .map(|name| serde_json::from_value(name.into()).unwrap());
    for steps in [20, 27, 50, 100] {
        let grid = GridSpec::UNIFORM_TIME.time_grid(steps, table, SCALING).unwrap();
        for solver in &third {
            let error = gaussian_error(solver, &grid).unwrap().unwrap();
            assert!(
                error < 4.0 / steps as f64 && solver.cautions(&grid).is_empty(),
                "{solver:?}: {error}"
            );
        }
    }
    let full: SolverSpec =
        serde_json::from_str(r#"{"kind": "sa_solver", "final_order": "full"}"#).unwrap();
    let grid = GridSpec::UNIFORM_TIME.time_grid(20, table, SCALING).unwrap();
    let cautions = full.cautions(&grid);
    assert!(
        matches!(cautions[..], [Caution::Inexact { error, .. }] if error > 4.0),
        "{cautions:?}"
    );
}

/// A solver that is another with some settings is named as itself: its range is its own.
#[test]
fn a_caution_names_the_solver_that_was_chosen() {
    let table = &schedules().unwrap()[2].1;
    let grid = GridSpec::UNIFORM_TIME.time_grid(3, table, SCALING).unwrap();
    for name in ["euler_ancestral", "dpm_solver_pp_2m_sde", "ddim"] {
        let solver: SolverSpec = serde_json::from_value(name.into()).unwrap();
        let cautions = solver.cautions(&grid);
        assert!(
            matches!(cautions[..], [Caution::Inexact { solver, .. }] if solver == name),
            "{cautions:?}"
        );
    }
}

#[test]
fn the_line_is_a_mixture_of_gaussians() {
    let Line { weights, means, stds } = Line::CLUSTERS;
    let means = means.map(|mean| vec![mean]).to_vec();
    let mixture = GaussianMixture::new(weights.to_vec(), means, stds.to_vec()).unwrap();
    for log_snr in [-6.0, 0.3, 9.0] {
        let at = SCALING.level(log_snr);
        for z in [-1.4, 0.2, 0.81] {
            let ours = Line::CLUSTERS.denoise(&vec![z], &at).unwrap().value[0];
            let wanted = mixture.posterior_mean(&[z], &at)[0];
            assert!((ours - wanted).abs() < 1e-12, "{log_snr} {z}: {ours} and {wanted}");
        }
        // The density is the slope of the distribution: to the square of the step.
        let (u, step) = (0.37, 1e-4);
        let [low, high] = [u - step, u + step].map(|u| Line::CLUSTERS.quantile(u, &at));
        let density = mixture.log_density(&[0.5 * (low + high)], &at).exp();
        assert!((2.0 * step / (high - low) / density - 1.0).abs() < 1e-5, "{log_snr}");
    }
}

/// On the mixture too, at 10 steps or more: deterministic solvers by the distance of each end from where the
/// exact flow ends.
#[test]
fn few_steps_follow_the_flow_of_a_mixture_as_well_as_first_order_does() {
    let line = Line::CLUSTERS;
    for case in cases(10) {
        let paths = line.paths(&case.levels, STARTS);
        let first = line.error(&SolverSpec::Ddim(Ddim::default()), &case.levels, &paths);
        for Entry { name, solver, .. } in SolverSpec::entries() {
            let stochastic = Solver::<Vec<f64>>::properties(&solver).stochastic;
            if stochastic || FOR_SHORT_STEPS.contains(&name) {
                continue;
            }
            let error = line.error(&solver, &case.levels, &paths);
            let what = format!("{name} on {} under {}", case.grid, case.schedule);
            assert!(error <= 1.2 * first.max(GOOD), "{what}: {error}, first order {first}");
        }
    }
}
