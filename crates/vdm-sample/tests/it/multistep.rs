//! Multistep solvers at infinite levels, under other names, and in configurations.

use vdm_core::{Counted, GaussianMixture, NoiseLevel, Scaling};
use vdm_sample::exponential::PredictionForm;
use vdm_sample::solver::{
    EdmSigmaRange, ExponentialAdams, FinalOrder, Order, SaSolver, SolverType, UniPcVariant,
};
use vdm_sample::{Ddim, DpmSolverMultistep, Iid, NoNoise, Seed, Solver, TimeGrid, UniPc, solve};

fn mixture() -> GaussianMixture {
    GaussianMixture::new(vec![0.4, 0.6], vec![vec![-1.0, 0.5], vec![0.8, 0.3]], vec![0.3, 0.2])
        .unwrap()
}

fn finite_log_snrs() -> Vec<f64> {
    (0..=16).map(|i| f64::from(i) - 8.0 + 0.2 * f64::from(i % 3)).collect()
}

fn grid(log_snrs: impl IntoIterator<Item = f64>) -> TimeGrid {
    TimeGrid::from_log_snrs(log_snrs, Scaling::StraightLine).unwrap()
}

fn run(solver: &impl Solver<Vec<f64>>, z: Vec<f64>, grid: &TimeGrid) -> Vec<f64> {
    solve(solver, &mixture(), z, grid, &mut NoNoise, |_, _, _| ()).unwrap().latent
}

/// Calls `check` with every deterministic solver.
macro_rules! for_each_deterministic {
    ($check:ident) => {
        for order in [Order::One, Order::Two, Order::Three, Order::Four] {
            $check(&ExponentialAdams::new(order));
            $check(&ExponentialAdams::deis(order));
            $check(&SaSolver { predictor: order, strength: 0.0, ..SaSolver::default() });
            for prediction in [PredictionForm::Data, PredictionForm::Noise] {
                $check(&UniPc { prediction, ..UniPc::new(order) });
            }
        }
        $check(&DpmSolverMultistep::PP_2M);
        $check(&DpmSolverMultistep::PP_3M);
        $check(&DpmSolverMultistep::NOISE_2M);
        $check(&DpmSolverMultistep::NOISE_3M);
    };
}

/// From pure noise to clean data the first and the last step are DDIM's, and what lies between does
/// not know of them.
#[test]
fn steps_at_infinite_levels_are_ddim_and_leave_no_history() {
    fn check(solver: &(impl Solver<Vec<f64>> + std::fmt::Debug)) {
        let inner = finite_log_snrs();
        let whole = [f64::NEG_INFINITY].into_iter().chain(inner.clone()).chain([f64::INFINITY]);
        let z1 = vec![0.3, -1.2];
        let end = run(solver, z1.clone(), &grid(whole));
        let z = run(&Ddim::default(), z1, &grid([f64::NEG_INFINITY, inner[0]]));
        let z = run(solver, z, &grid(inner.into_iter().chain([f64::INFINITY])));
        assert_eq!(end, z, "{solver:?}");
        assert!(end.iter().all(|x| x.is_finite()), "{solver:?}: {end:?}");
    }
    for_each_deterministic!(check);
}

/// Every solver calls the model once per step and never where there is no noise, on grids of one
/// step too; with `η` at infinite levels as well.
#[test]
fn one_call_per_step_never_at_clean_data() {
    fn check(solver: &(impl Solver<Vec<f64>> + std::fmt::Debug)) {
        for steps in [1, 2, 3, 4, 17] {
            let inner = finite_log_snrs().into_iter().take(steps - 1);
            let grid = grid([f64::NEG_INFINITY].into_iter().chain(inner).chain([f64::INFINITY]));
            let model = Counted::new(mixture());
            let mut noise = Iid::new(Seed(3), 0, 2);
            let z1 = vec![0.3, -1.2];
            let x = solve(solver, &model, z1, &grid, &mut noise, |_, _, _| ()).unwrap().latent;
            assert!(x.iter().all(|x| x.is_finite()), "{solver:?} in {steps}: {x:?}");
            assert_eq!(model.calls(), steps, "{solver:?}");
            assert_eq!(solver.calls(&grid), steps, "{solver:?}");
        }
    }
    for_each_deterministic!(check);
    check(&SaSolver::default());
    check(&ExponentialAdams { strength: 1.0, ..ExponentialAdams::new(Order::Three) });
    check(&ExponentialAdams { strength: 0.5, ..ExponentialAdams::deis(Order::Two) });
    check(&DpmSolverMultistep { strength: 0.5, ..DpmSolverMultistep::PP_2M });
    check(&DpmSolverMultistep { strength: 1.0, ..DpmSolverMultistep::PP_3M });
}

fn assert_same(a: &impl Solver<Vec<f64>>, b: &impl Solver<Vec<f64>>, what: &str) {
    let grid = grid(finite_log_snrs());
    let z1 = vec![0.3, -1.2];
    // Equal formulas in another order of the operations, over 16 steps.
    for (a, b) in run(a, z1.clone(), &grid).iter().zip(run(b, z1, &grid)) {
        assert!((a - b).abs() < 1e-13, "{what}: {a} and {b}");
    }
}

#[test]
fn rules_of_two_names_agree() {
    // Each to the same end, whatever its family lowers there.
    let final_order = FinalOrder::Full;
    let heun = DpmSolverMultistep {
        solver_type: SolverType::Heun,
        final_order,
        ..DpmSolverMultistep::PP_2M
    };
    let second = ExponentialAdams { final_order, ..ExponentialAdams::new(Order::Two) };
    assert_same(&heun, &second, "2M with the exact slope");
    let first = ExponentialAdams::new(Order::One);
    assert_same(&first, &Ddim::default(), "first order of images");
    assert_same(&ExponentialAdams::deis(Order::One), &first, "first order of noise");
    for order in [Order::One, Order::Two, Order::Three, Order::Four] {
        let adams = ExponentialAdams { final_order, ..ExponentialAdams::new(order) };
        let predictor =
            SaSolver { predictor: order, corrector: None, strength: 0.0, final_order, noisy: None };
        assert_same(&predictor, &adams, "SA-Solver without corrector");
        let unipc = UniPc {
            variant: UniPcVariant::VaryCoefficients,
            corrector: false,
            final_order,
            ..UniPc::new(order)
        };
        assert_same(&unipc, &adams, "UniPC without corrector");
    }
    // One node more than the predictor has: UniPC's corrector is SA-Solver's.
    let unipc = UniPc { final_order, ..UniPc::new(Order::Three) };
    let variant = UniPcVariant::VaryCoefficients;
    let (predictor, corrector) = (Order::Three, Some(Order::Four));
    let sa = SaSolver { predictor, corrector, strength: 0.0, final_order, noisy: None };
    assert_same(&UniPc { variant, ..unipc }, &sa, "UniPC and SA-Solver");
}

/// Lowering changes the last steps only, and only where it applies.
#[test]
fn the_final_order_changes_the_last_steps_only() {
    let grid = grid(finite_log_snrs());
    let trajectory = |final_order| {
        let solver = ExponentialAdams { final_order, ..ExponentialAdams::new(Order::Three) };
        let mut seen = Vec::new();
        let note = |_, z: &Vec<f64>, _: &NoiseLevel| seen.push(z.clone());
        solve(&solver, &mixture(), vec![0.3, -1.2], &grid, &mut NoNoise, note).unwrap();
        seen
    };
    let full = trajectory(FinalOrder::Full);
    let same_until = |final_order| {
        let lowered = trajectory(final_order);
        full.iter().zip(&lowered).take_while(|(a, b)| a == b).count()
    };
    assert_eq!(grid.steps(), 16);
    assert_eq!(same_until(FinalOrder::First), 15);
    assert_eq!(same_until(FinalOrder::Lowered { below: 17 }), 14);
    assert_eq!(same_until(FinalOrder::Lowered { below: 16 }), 16);
}

/// A step far longer than those before it is of lower order wherever it lies, and nothing before it knows.
#[test]
fn a_long_step_is_of_lower_order() {
    let at = |long: usize| {
        let level = |i: usize| 0.3 * i as f64 - 4.0 + if i > long { 3.0 } else { 0.0 };
        grid((0..=20).map(level))
    };
    let trajectory = |final_order, grid: &TimeGrid| {
        let solver = ExponentialAdams { final_order, ..ExponentialAdams::new(Order::Three) };
        let mut seen = Vec::new();
        let note = |_, z: &Vec<f64>, _: &NoiseLevel| seen.push(z.clone());
        solve(&solver, &mixture(), vec![0.3, -1.2], grid, &mut NoNoise, note).unwrap();
        seen
    };
    for long in [5, 12, 19] {
        let grid = at(long);
        let (full, bounded) = (
            trajectory(FinalOrder::Full, &grid),
            trajectory(FinalOrder::Bounded { below: 0 }, &grid),
        );
        let same = full.iter().zip(&bounded).take_while(|(a, b)| a == b).count();
        assert_eq!(same, long, "{long}");
        let first = Ddim::default();
        let step = grid_of_step(&grid, long);
        let by_ddim = run(&first, bounded[long - 1].clone(), &step);
        for (bounded, ddim) in bounded[long].iter().zip(by_ddim) {
            assert!((bounded - ddim).abs() < 1e-14, "{long}: {bounded} and {ddim}");
        }
    }
    // Even steps are none of them, and few are lowered as they are without a bound.
    let even = grid((0..=20).map(|i| 0.3 * f64::from(i) - 4.0));
    let full = trajectory(FinalOrder::Full, &even);
    assert_eq!(full, trajectory(FinalOrder::Bounded { below: 20 }, &even));
    let lowered = trajectory(FinalOrder::Lowered { below: 21 }, &even);
    assert_eq!(lowered, trajectory(FinalOrder::Bounded { below: 21 }, &even));
    assert_ne!(lowered, full);
}

fn grid_of_step(grid: &TimeGrid, step: usize) -> TimeGrid {
    let levels = grid.levels()[step..=step + 1].to_vec();
    TimeGrid::from_levels(levels, Scaling::StraightLine).unwrap()
}

/// Draws are taken for the steps that start in the range and for no others.
#[test]
fn sa_solver_adds_noise_within_its_range_only() {
    let grid = grid(finite_log_snrs());
    let noisy = EdmSigmaRange { min: 0.5, max: 2.0 };
    let solver = SaSolver { noisy: Some(noisy), ..SaSolver::default() };
    let inside = |level: &NoiseLevel| (0.5..=2.0).contains(&(level.sigma / level.alpha));
    let expected = grid.levels()[..16].iter().filter(|level| inside(level)).count();
    assert!(expected > 0 && expected < 16);
    let mut noise = vdm_sample::noise::Recorded::new(vec![vec![0.5, -0.5]; expected]);
    let z1 = vec![0.3, -1.2];
    solve(&solver, &mixture(), z1, &grid, &mut noise, |_, _, _| ()).unwrap();
    assert_eq!(noise.left(), 0);
}

#[test]
fn configurations_round_trip_and_refuse_orders_that_do_not_exist() {
    let json =
        r#"{"order":4,"prediction":"noise","strength":0.0,"final_order":{"lowered":{"below":15}}}"#;
    let deis: ExponentialAdams = serde_json::from_str(json).unwrap();
    let final_order = FinalOrder::Lowered { below: 15 };
    assert_eq!(deis, ExponentialAdams { final_order, ..ExponentialAdams::deis(Order::Four) });
    assert_eq!(serde_json::to_string(&deis).unwrap(), json);
    let short: UniPc = serde_json::from_str(r#"{"order": 3}"#).unwrap();
    assert_eq!(short, UniPc::new(Order::Three));
    assert_eq!(
        serde_json::from_str::<DpmSolverMultistep>("{}").unwrap(),
        DpmSolverMultistep::PP_2M
    );
    let error = serde_json::from_str::<UniPc>(r#"{"order": 7}"#).unwrap_err().to_string();
    assert!(error.contains("order = 7: use 1 to 4"), "{error}");
    let unknown = serde_json::from_str::<SaSolver>(r#"{"tau": 1.0}"#).unwrap_err().to_string();
    assert!(unknown.contains("tau"), "{unknown}");
}
