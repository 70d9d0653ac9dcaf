//! Samplers and their parts. What is accepted runs on a mixture whose denoiser is known, or says why not.

use std::convert::Infallible;

use serde::{Deserialize, Serialize};
use vdm_core::{Denoiser, GaussianMixture, Scaling, Schedule};
use vdm_sample::estimate::{DiffusionTerm, Rounds};
use vdm_sample::guidance::Projected;
use vdm_sample::spec::{AdaptiveSpec, Correction, GuidanceSpec, NoiseSpec};
use vdm_sample::{GridSpec, Method, SamplerSpec, Seed, Solver, solve};

use super::{Kind, Target, Verdict, document, texts, verdict};

pub(super) fn targets() -> Vec<Target> {
    let json = |name, corpus, check| Target { name, kind: Kind::Json, corpus, check };
    vec![
        json("sampler", samplers, |_, input| sampler(input)),
        json("grid", || texts(GRIDS), |_, input| document(input, grid)),
        json(
            "noise",
            || texts(&[r#""iid""#, r#""antithetic""#, r#""brownian""#]),
            |_, input| document::<NoiseSpec>(input, |_| ()),
        ),
        json(
            "guidance",
            || texts(GUIDANCE),
            |_, input| {
                document(input, |spec: &GuidanceSpec| {
                    // What does not suit some size is refused by name.
                    let _ = verdict(&spec.correction(3));
                })
            },
        ),
        json(
            "rounds",
            || texts(&[r#"{"least": 2, "most": 100, "standard_error": 0.1}"#]),
            |_, input| document::<Rounds>(input, |_| ()),
        ),
        json(
            "diffusion_term",
            || texts(TERMS),
            |_, input| {
                document(input, |term: &DiffusionTerm| {
                    let _ = (term.copies(), term.steps());
                })
            },
        ),
    ]
}

const GRIDS: &[&str] = &[
    r#""uniform_time""#,
    r#""uniform_log_snr""#,
    r#"{"kind": "quadratic_time", "clean": true}"#,
    r#"{"kind": "beta", "alpha": 0.5, "beta": 0.7}"#,
    r#"{"kind": "polyexponential", "rho": 1.5}"#,
    r#"{"kind": "karras", "rho": 3, "clean": true}"#,
    r#"{"kind": "timesteps", "spacing": "leading", "offset": 1, "table": {"betas":
        {"linear": {"steps": 1000, "beta_start": 0.0001, "beta_end": 0.02}}}}"#,
    r#"{"kind": "elbo_optimal", "losses": {"log_snrs": [-4, 0, 1, 2, 5], "errors": [0.1, 0.5, 0.6, 0.7, 0.9]}}"#,
    r#"{"kind": "angle", "data_std": 0.9, "power": 1.15}"#,
    r#"{"kind": "times", "times": [1, 0.6, 0.2, 0]}"#,
    r#"{"kind": "log_snrs", "log_snrs": ["-inf", -1, 1, 4]}"#,
];

const GUIDANCE: &[&str] = &[
    r#""none""#,
    r#""clip""#,
    r#"{"kind": "clip", "low": -1, "high": 1}"#,
    r#"{"kind": "dynamic_threshold", "quantile": 0.995}"#,
];

const TERMS: &[&str] = &[
    r#"{"continuous": {"draws": 16}}"#,
    r#"{"sampled_steps": {"steps": 1000, "draws": 16}}"#,
    r#"{"all_steps": {"steps": 100}}"#,
];

/// Every solver on some grid, with settings of its own where it has any.
const SOLVERS: &[&str] = &[
    r#"{"kind": "ancestral", "variance": {"interpolated": {"fraction": 0.5}}}"#,
    r#"{"kind": "ddim", "eta": 0.5}"#,
    r#"{"kind": "heun", "coordinate": "edm"}"#,
    r#""midpoint""#,
    r#""dpm_2""#,
    r#"{"kind": "dpm_2_ancestral", "eta": 0.7}"#,
    r#"{"kind": "lms", "order": 4}"#,
    r#"{"kind": "dpm_solver_singlestep", "order": 3}"#,
    r#"{"kind": "dpm_solver_pp_2s_ancestral", "eta": 1}"#,
    r#"{"kind": "dpm_solver_pp_sde", "eta": 1, "r": 0.5}"#,
    r#"{"kind": "dpm_solver_pp_2m", "strength": 1}"#,
    r#"{"kind": "dpm_solver_pp_3m", "strength": 0.5}"#,
    r#""dpm_solver_2m""#,
    r#""dpm_solver_3m""#,
    r#"{"kind": "exponential_adams", "order": 3}"#,
    r#"{"kind": "angular_adams", "data_std": 0.9}"#,
    r#"{"kind": "uni_pc", "order": 3}"#,
    r#"{"kind": "sa_solver", "strength": 0.5, "noisy": {"min": 0.05, "max": 5}}"#,
    r#"{"kind": "euler_maruyama", "strength": 1}"#,
    r#"{"kind": "stochastic_heun", "strength": 0.5}"#,
    r#"{"kind": "churn", "solver": "ddim", "sigma": {"min": 0.05, "max": 50}}"#,
    r#"{"kind": "restart", "solver": "heun", "sigma": {"min": 0.1, "max": 2}, "repeats": 2}"#,
    r#"{"kind": "predictor_corrector", "predictor": {"kind": "heun", "coordinate": "edm"}, "corrections": 3, "snr": 0.16}"#,
];

const ADAPTIVE: &[&str] = &[
    r#"{"kind": "adaptive_ode", "absolute": 0.001, "relative": 0.001, "max_steps": 500}"#,
    r#"{"kind": "dpm_adaptive", "rtol": 0.1, "atol": 0.01, "order": "dpm12"}"#,
    r#""bogacki_shampine_32""#,
];

/// `[sampler, schedule, scaling]`.
fn samplers() -> Vec<Vec<u8>> {
    let schedules = super::schedule::SCHEDULES;
    let scalings = [
        r#""variance_preserving""#,
        r#""variance_exploding""#,
        r#"{"unit_variance": {"data_std": 0.5}}"#,
    ];
    let on_grid = SOLVERS.iter().enumerate().map(|(i, solver)| {
        let grid = GRIDS[i % 6];
        let noise = ["iid", "brownian", "antithetic"][i % 3];
        let guidance = GUIDANCE[i % GUIDANCE.len()];
        format!(r#"{{"solver": {solver}, "grid": {grid}, "steps": 5, "noise": "{noise}", "guidance": {guidance}}}"#)
    });
    let own_steps = ADAPTIVE.iter().map(|solver| format!(r#"{{"solver": {solver}}}"#));
    let case = |(i, sampler): (usize, String)| {
        let (schedule, scaling) = (schedules[i % schedules.len()], scalings[i % 3]);
        format!("[{sampler}, {schedule}, {scaling}]").into_bytes()
    };
    on_grid.chain(own_steps).enumerate().map(case).collect()
}

#[derive(Serialize, Deserialize)]
struct Case(SamplerSpec, Schedule, Scaling);

/// Beyond these a run takes longer than an input may; that it could be started is promise enough.
const MOST_STEPS: usize = 2000;
const MOST_CALLS: usize = 10_000;

fn sampler(input: &[u8]) -> Verdict {
    document(input, |Case(sampler, schedule, scaling): &Case| {
        let model =
            GaussianMixture::new(vec![0.4, 0.6], vec![vec![-0.5], vec![0.5]], vec![0.2, 0.3]);
        let model = model.expect("a legal mixture");
        let Ok(correction) = sampler.guidance.correction(1) else { return };
        match correction {
            Correction::None => run(&model, sampler, schedule, *scaling),
            Correction::Clip(clip) => {
                run(&Projected::new(&model, clip), sampler, schedule, *scaling);
            }
            Correction::DynamicThreshold(bound) => {
                run(&Projected::new(&model, bound), sampler, schedule, *scaling);
            }
        }
    })
}

/// To the end, or to an error that says why not.
fn run<D>(model: &D, sampler: &SamplerSpec, schedule: &Schedule, scaling: Scaling)
where
    D: Denoiser<Vec<f64>, Error = Infallible>,
{
    let z1: Vec<f64> = sampler.noise.prior(Seed(1), 0, 1);
    let mut method = sampler.method.clone();
    match &mut method {
        Method::OnGrid { solver, steps, .. } => {
            solver.check_calls(*steps).expect("an accepted sampler costs no more than it may");
            if *steps > MOST_STEPS {
                return;
            }
        }
        Method::Adaptive(AdaptiveSpec::Ode(solver)) => {
            solver.max_steps = solver.max_steps.min(MOST_STEPS);
        }
        Method::Adaptive(AdaptiveSpec::Dpm(solver)) => {
            solver.max_steps = solver.max_steps.min(MOST_STEPS);
        }
    }
    let Ok(grid) = method.time_grid(1, schedule, scaling) else { return };
    if Solver::<Vec<f64>>::calls(&method.solver(), &grid) > MOST_CALLS {
        return;
    }
    let mut path = sampler.noise.path(Seed(1), 0, 1);
    let end = solve(&method.solver(), model, z1, &grid, &mut path, |_, _, _| ());
    let _ = verdict(&end.map_err(|error| error.to_string()));
}

/// Some number of steps of it is a grid, or an error says why not.
fn grid(spec: &GridSpec) {
    let schedule = Schedule::linear(5.0, -5.0).expect("a legal schedule");
    for steps in [0, 1, 3, 100] {
        let _ = verdict(&spec.time_grid(steps, &schedule, Scaling::VariancePreserving));
    }
}
