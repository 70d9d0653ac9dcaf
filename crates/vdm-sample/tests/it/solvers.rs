//! What every solver promises, whatever its name: ends, calls, counts, noise and scaling.

use std::convert::Infallible;

use vdm_core::{
    Counted, Denoiser, FromFn, GaussianMixture, NoiseLevel, NoiseSchedule, Parameterization,
    Prediction, Scaling, Schedule,
};
use vdm_sample::range::gaussian_error;
use vdm_sample::solver::Properties;
use vdm_sample::spec::Entry;
use vdm_sample::{Ancestral, Iid, NoNoise, Seed, Solver, SolverSpec, TimeGrid, prior, solve};

use crate::few_steps::{FOR_SHORT_STEPS, GOOD, first_order};

const SCALINGS: [Scaling; 5] = [
    Scaling::VariancePreserving,
    Scaling::VarianceExploding,
    Scaling::StraightLine,
    Scaling::SubVariancePreserving,
    Scaling::UnitVariance { data_std: 0.7 },
];

/// Every kind of schedule; some have an infinite end or two.
const SCHEDULES: [&str; 17] = [
    r#"{"kind": "linear", "log_snr_max": 13.3, "log_snr_min": -5}"#,
    r#"{"kind": "cosine", "log_snr_max": 15, "log_snr_min": -15}"#,
    r#"{"kind": "cosine_interpolated", "log_snr_max": 6, "log_snr_min": -5, "shift_data": -1, "shift_noise": -3}"#,
    r#"{"kind": "karras", "sigma_min": 0.002, "sigma_max": 80, "rho": 7}"#,
    r#"{"kind": "vp_linear", "beta_min": 0.1, "beta_max": 20}"#,
    r#"{"kind": "sigmoid", "start": -3, "end": 3, "tau": 1}"#,
    r#"{"kind": "iddpm_cosine"}"#,
    r#"{"kind": "normal", "mean": 2.4, "std": 2.4}"#,
    r#"{"kind": "laplace", "mean": 0, "std": 1.5}"#,
    r#"{"kind": "polyexponential", "sigma_min": 0.01, "sigma_max": 50, "rho": 1.5}"#,
    r#"{"kind": "monotone", "log_snr_max": 6, "log_snr_min": -5, "increments": [0.3, -2, 2, 1, -1]}"#,
    r#"{"kind": "histogram", "log_snr_max": 6, "log_snr_min": -5, "masses": [1, 0.2, 3, 2]}"#,
    r#"{"kind": "discrete", "zero_terminal_snr": true, "betas": {"linear": {"steps": 1000, "beta_start": 1e-4, "beta_end": 0.02}}}"#,
    r#"{"kind": "straight_line"}"#,
    r#"{"kind": "straight_line", "shift": 2, "log_snr_max": 12, "log_snr_min": -12}"#,
    r#"{"kind": "cosine"}"#,
    r#"{"kind": "discrete", "betas": {"cosine": {"steps": 1000, "offset": 0.008, "cap": 0.999}}}"#,
];

fn schedules() -> Vec<Schedule> {
    SCHEDULES
        .iter()
        .map(|json| serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}")))
        .collect()
}

fn mixture() -> GaussianMixture {
    GaussianMixture::new(
        vec![0.3, 0.5, 0.2],
        vec![vec![-1.0, 0.5], vec![0.8, 0.8], vec![0.2, -1.1]],
        vec![0.3, 0.2, 0.25],
    )
    .unwrap()
}

fn properties(solver: &SolverSpec) -> Properties {
    Solver::<Vec<f64>>::properties(solver)
}

/// Every solver × schedule × scaling × number of steps: right shape, ends at the grid's last level, as many
/// model calls as declared, and an error on Gaussian data not far above that of first order, but for those for
/// short steps, whose worst is in the matrix.
/// Equal levels in another scaling are the same latents, so the error is taken in one.
fn every_combination_is_judged(numbers_of_steps: &[usize]) -> usize {
    let mut combinations = 0;
    for schedule in schedules() {
        for scaling in SCALINGS {
            for &steps in numbers_of_steps {
                let grid = match TimeGrid::uniform_time(steps, &schedule, scaling) {
                    Ok(grid) => grid,
                    // Variance exploding has no latent at λ = −∞, and says so.
                    Err(error) => {
                        assert_eq!(schedule.log_snr(1.0).value(), f64::NEG_INFINITY, "{error}");
                        continue;
                    }
                };
                let sigma = grid.levels()[0].sigma;
                let [ode, sde] = [false, true].map(|stochastic| first_order(stochastic, &grid));
                for Entry { name, solver, .. } in SolverSpec::entries() {
                    combinations += 1;
                    let what = format!("{name} {schedule:?} {scaling:?} {steps}");
                    let z1 = prior::<f64>(Seed(5), 0, 2).iter().map(|z| z * sigma).collect();
                    let model = Counted::new(mixture());
                    let mut noise = Iid::new(Seed(5), 0, 2);
                    let mut last = None;
                    let x: Vec<f64> = solve(&solver, &model, z1, &grid, &mut noise, |i, _, at| {
                        last = Some((i, *at));
                    })
                    .unwrap()
                    .latent;
                    assert!(x.len() == 2 && x.iter().all(|x| x.is_finite()), "{what}: {x:?}");
                    let declared = Solver::<Vec<f64>>::calls(&solver, &grid);
                    assert_eq!(model.calls(), declared, "{what}");
                    assert_eq!(last, Some((steps - 1, grid.levels()[steps])), "{what}");
                    let judged =
                        scaling == Scaling::VariancePreserving && !FOR_SHORT_STEPS.contains(&name);
                    if judged && let Some(error) = gaussian_error(&solver, &grid).unwrap() {
                        let first = if properties(&solver).stochastic { sde } else { ode };
                        let most = 1.5 * first.max(GOOD);
                        assert!(error <= most, "{what}: {error}, first order {first}");
                    }
                }
            }
        }
    }
    combinations
}

#[test]
fn every_combination_is_as_good_as_first_order_with_the_declared_number_of_calls() {
    let combinations = every_combination_is_judged(&[1, 2, 3, 5, 10]);
    assert!(combinations > 5000, "{combinations}");
}

#[test]
#[ignore = "slow: cargo xtask test --full"]
fn every_combination_is_good_in_a_thousand_steps() {
    let combinations = every_combination_is_judged(&[1000]);
    assert!(combinations > 1000, "{combinations}");
}

/// In pure noise a prediction of the noise does not say which image: an error that names the level, and
/// never a number that is none. A prediction of image, velocity or flow says it.
#[test]
fn what_pure_noise_does_not_determine_is_an_error() {
    use Parameterization::{EnergyGradient, Flow, Image, Noise, Score, Velocity};
    let endless: Schedule = serde_json::from_str(r#"{"kind": "straight_line"}"#).unwrap();
    for of in [Image, Noise, Score, EnergyGradient, Velocity, Flow] {
        let data = mixture();
        let model = FromFn(|z: &Vec<f64>, at: &NoiseLevel| {
            // The output of a network, which is finite whatever is asked of it.
            let exact = data.denoise(z, at)?.to(of, z, at);
            let value = exact.iter().map(|o| if o.is_finite() { *o } else { 0.3 }).collect();
            Ok::<_, Infallible>(Prediction { value, of })
        });
        let says = matches!(of, Image | Velocity | Flow);
        let grid = TimeGrid::uniform_time(5, &endless, Scaling::StraightLine).unwrap();
        for Entry { name, solver, .. } in SolverSpec::entries() {
            let z1 = vec![0.4, -0.8];
            let mut noise = Iid::new(Seed(5), 0, 2);
            match solve(&solver, &model, z1, &grid, &mut noise, |_, _, _| ()) {
                Ok(x) => {
                    assert!(says && x.latent.iter().all(|x| x.is_finite()), "{name} {of:?}: {x:?}");
                }
                Err(error) => {
                    assert!(!says, "{name} {of:?}: {error}");
                    let error = error.to_string();
                    assert!(error.contains("at log-SNR -inf a prediction of"), "{name}: {error}");
                }
            }
        }
    }
}

/// M48: the same levels under another scaling give the same image, to rounding, for every solver
/// that is deterministic or draws the same noises.
#[test]
fn scalings_of_one_model_draw_the_same_images() {
    let schedule = Schedule::linear(9.0, -9.0).unwrap();
    for Entry { name, solver, .. } in SolverSpec::entries() {
        let draw = |scaling| {
            let grid = TimeGrid::uniform_time(40, &schedule, scaling).unwrap();
            let first = grid.levels()[0];
            // z = (z/α)·α: equal z/α at equal λ is the same latent.
            let vp = Scaling::VariancePreserving.level(first.log_snr);
            let z1: Vec<f64> =
                prior::<f64>(Seed(8), 0, 2).iter().map(|z| z * first.alpha / vp.alpha).collect();
            let mut noise = Iid::new(Seed(8), 0, 2);
            let x = solve(&solver, &mixture(), z1, &grid, &mut noise, |_, _, _| ()).unwrap().latent;
            let last = grid.levels()[40];
            x.iter().map(|x| x / last.alpha).collect::<Vec<_>>()
        };
        let vp = draw(Scaling::VariancePreserving);
        for other in SCALINGS {
            for (a, b) in vp.iter().zip(draw(other)) {
                assert!((a - b).abs() < 1e-9, "{name} {other:?}: {a} and {b}");
            }
        }
    }
}

/// 4,000 ancestral chains of 200 steps reproduce mean and standard deviation of the data; the
/// tolerance is 5 standard errors plus the O(1/T) bias of the finite chain, at most 0.02 here. They are
/// the components of one latent, which a single Gaussian treats alike and independently.
#[test]
fn ancestral_samples_follow_the_distribution_of_the_data() {
    const CHAINS: usize = 4000;
    let model = GaussianMixture::new(vec![1.0], vec![vec![0.7; CHAINS]], vec![0.3]).unwrap();
    let schedule = Schedule::linear(10.0, -8.0).unwrap();
    let grid = TimeGrid::uniform_time(200, &schedule, Scaling::VariancePreserving).unwrap();
    let (z1, mut noise) = (prior(Seed(11), 0, CHAINS), Iid::new(Seed(11), 0, CHAINS));
    let solver = Ancestral::default();
    let draws: Vec<f64> =
        solve(&solver, &model, z1, &grid, &mut noise, |_, _, _| ()).unwrap().latent;
    let n = CHAINS as f64;
    let mean = draws.iter().sum::<f64>() / n;
    let std = (draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
    assert!((mean - 0.7).abs() < 5.0 * 0.3 / n.sqrt() + 0.02, "mean {mean}");
    assert!((std - 0.3).abs() < 5.0 * 0.3 / (2.0 * n).sqrt() + 0.02, "std {std}");
}

#[test]
fn stochastic_solvers_need_noise_and_deterministic_ones_ask_for_none() {
    let schedule = Schedule::linear(8.0, -8.0).unwrap();
    let grid = TimeGrid::uniform_time(10, &schedule, Scaling::VariancePreserving).unwrap();
    for Entry { name, solver, .. } in SolverSpec::entries() {
        let draw = |seed: u64| -> Vec<f64> {
            let mut noise = Iid::new(Seed(seed), 0, 2);
            solve(&solver, &mixture(), vec![0.1, 0.2], &grid, &mut noise, |_, _, _| ())
                .unwrap()
                .latent
        };
        let silent = solve(&solver, &mixture(), vec![0.1, 0.2], &grid, &mut NoNoise, |_, _, _| ());
        assert_eq!(draw(1), draw(1), "{name} is reproducible");
        if properties(&solver).stochastic {
            assert_ne!(draw(1), draw(2), "{name}");
            let error = silent.unwrap_err().to_string();
            assert!(error.contains("give it a noise source"), "{name}: {error}");
        } else {
            assert_eq!(silent.unwrap().latent, draw(1), "{name}");
        }
    }
}
