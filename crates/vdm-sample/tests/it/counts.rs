//! Counts that cost more than any machine has: an error with field, value and limit before anything is
//! allocated or run.

use std::error::Error;

use serde_json::json;
use vdm_core::likelihood::Discretized;
use vdm_core::schedule::LogSnrRange;
use vdm_core::{GaussianMixture, Scaling, Schedule};
use vdm_sample::estimate::{
    Bound, DenoiserTerms, Dequantization, DiffusionTerm, DiscreteItems, FlowBound,
    ImportanceWeighted, Rounds, Trace,
};
use vdm_sample::grid::{GridKind, LossTable};
use vdm_sample::likelihood::ProbeDistribution;
use vdm_sample::{AdaptiveOde, GridSpec, SamplerSpec, Seed, Solver, SolverSpec, TimeGrid};

const HUGE: usize = usize::MAX;
const ALL: &str = "18446744073709551615";

#[track_caller]
fn assert_refused<T>(result: Result<T, impl Error>, words: &[&str]) {
    let error = result.err().expect("a refusal").to_string();
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
}

#[test]
fn samplers_of_endless_cost_are_refused() {
    let sampler = |solver: serde_json::Value, steps: u64| {
        let fields = json!({"solver": solver, "grid": "angle", "steps": steps});
        serde_json::from_value::<SamplerSpec>(fields)
    };
    let corrector = |corrections: u64| {
        json!({"kind": "predictor_corrector", "corrections": corrections,
               "predictor": {"kind": "heun", "coordinate": "edm"}, "snr": 0.16})
    };
    let restart = |repeats: u64| json!({"kind": "restart", "repeats": repeats});
    assert_refused(sampler(corrector(u64::MAX), 2), &["corrections =", ALL, "1000000"]);
    assert_refused(sampler(corrector(1 << 40), 2), &["corrections = 1099511627776", "1000000"]);
    assert_refused(sampler(corrector(1000), 10_000), &["corrections) = 10020000", "1000000"]);
    assert_refused(sampler(restart(u64::MAX), 2), &["repeats =", ALL, "1000000"]);
    assert_refused(sampler(restart(1000), 1000), &["(1 + repeats) = ", "1000000"]);
    assert_refused(sampler("ddim".into(), u64::MAX), &["steps times calls", ALL, "1000000"]);
    assert!(sampler(corrector(100), 1000).is_ok() && sampler("heun".into(), 1000).is_ok());
    let endless: Result<SamplerSpec, _> =
        serde_json::from_value(json!({"solver": {"kind": "adaptive_ode", "max_steps": u64::MAX}}));
    assert_refused(endless, &["max_steps =", ALL, "1000000"]);
}

/// Also where a sum of them would leave the integers.
#[test]
fn calls_of_solvers_made_in_code_do_not_overflow() {
    let schedule = Schedule::linear(5.0, -5.0).unwrap();
    let grid = TimeGrid::uniform_time(4, &schedule, Scaling::VariancePreserving).unwrap();
    for json in [r#"{"kind": "predictor_corrector"}"#, r#"{"kind": "restart"}"#] {
        let mut solver: SolverSpec = serde_json::from_str(json).unwrap();
        match &mut solver {
            SolverSpec::PredictorCorrector(solver) => solver.corrections = HUGE,
            SolverSpec::Restart(solver) => solver.repeats = HUGE,
            other => panic!("{other:?}"),
        }
        assert_eq!(Solver::<f64>::calls(&solver, &grid), HUGE, "{json}");
        assert_refused(solver.check_calls(4), &["times", ALL]);
    }
}

#[test]
fn grids_that_do_not_fit_are_refused() {
    let schedule = Schedule::linear(5.0, -5.0).unwrap();
    for name in [
        "uniform_time",
        "quadratic_time",
        "beta",
        "uniform_log_snr",
        "polyexponential",
        "karras",
        "angle",
    ] {
        let grid: GridSpec = serde_json::from_value(name.into()).unwrap();
        for steps in [HUGE, 1 << 40, (1 << 20) + 1] {
            let made = grid.time_grid(steps, &schedule, Scaling::VariancePreserving);
            assert_refused(made, &[&format!("steps = {steps} is more than 1048576")]);
        }
    }
    let many: Vec<f64> = (0..10_000).map(|i| f64::from(i) / 100.0).collect();
    let losses = LossTable::new(many.clone(), many).unwrap();
    let kind = GridKind::ElboOptimal { losses };
    let made = kind.time_grid(9_000, &schedule, Scaling::VariancePreserving);
    assert_refused(made, &["steps times candidate levels = 90010000", "16777216"]);
}

#[test]
fn estimates_of_endless_cost_are_refused() {
    let model = GaussianMixture::new(vec![1.0], vec![vec![0.1]], vec![0.3]).unwrap();
    let items = DiscreteItems::new(Discretized::new(256).unwrap(), vec![vec![120]; 2]).unwrap();
    let scaling = Scaling::VariancePreserving;
    let process =
        DenoiserTerms::<Vec<f64>, _> { model: &model, items: &items, scaling, seed: Seed(1) };
    let schedule = Schedule::linear(12.0, -10.0).unwrap();
    let grid = &GridSpec::UNIFORM_TIME;
    let rounds = Rounds::exactly(1);
    let bound = Bound {
        schedule: &schedule,
        grid,
        diffusion: DiffusionTerm::Continuous { draws: 1 },
        rounds,
        seed: Seed(1),
        batch: 1,
    };
    let with = |diffusion| Bound { diffusion, ..bound }.estimate(&process, |_, _| ());
    assert_refused(with(DiffusionTerm::Continuous { draws: HUGE }), &["draws =", ALL, "1048576"]);
    assert_refused(with(DiffusionTerm::SampledSteps { steps: 4, draws: HUGE }), &["draws =", ALL]);
    assert_refused(with(DiffusionTerm::AllSteps { steps: u32::MAX }), &["steps = 4294967295"]);
    let batch = Bound { batch: HUGE, ..bound }.estimate(&process, |_, _| ());
    assert_refused(batch, &["batch =", ALL, "16777216"]);
    let rounds_of = Bound { rounds: Rounds::until(0.1, HUGE), ..bound };
    assert_refused(rounds_of.estimate(&process, |_, _| ()), &["rounds =", ALL, "16777216"]);

    let weighted =
        ImportanceWeighted { schedule: &schedule, grid, steps: 4, samples: HUGE, rounds, batch: 1 };
    let found = weighted.estimate(&process, |_, _| ());
    assert_refused(found, &["items times importance samples =", ALL, "16777216"]);

    let flow = FlowBound {
        solver: AdaptiveOde::default(),
        range: LogSnrRange::new(12.0, -10.0).unwrap(),
        dequantization: Dequantization::Posterior,
        trace: Trace::Hutchinson { probes: HUGE, distribution: ProbeDistribution::default() },
        samples: 1,
        rounds,
        batch: 1,
    };
    let found = flow.estimate(&process, |_, _| ());
    assert_refused(found, &["probes times batch times components =", ALL, "536870912"]);
    let exact = FlowBound { trace: Trace::Exact, samples: HUGE, ..flow };
    let found = exact.estimate(&process, |_, _| ());
    assert_refused(found, &["items times importance samples =", ALL]);
}
