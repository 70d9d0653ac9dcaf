//! Every solver against its own declaration, against others' trajectories, and in distribution.

use vdm_core::{Counted, GaussianMixture, Scaling, Schedule};
use vdm_sample::{
    Ancestral, Ddim, GridSpec, Iid, Properties, SamplerSpec, Seed, Solver, SolverSpec, TimeGrid,
    integrate, prior,
};

fn mixture() -> GaussianMixture {
    GaussianMixture::new(
        vec![0.3, 0.5, 0.2],
        vec![vec![-1.0, 0.5], vec![0.8, 0.8], vec![0.2, -1.1]],
        vec![0.3, 0.2, 0.25],
    )
    .unwrap()
}

/// Slope of log error over five halvings of the step, against a far finer run of order 2;
/// eight starting points, since the leading error term of a single path can happen to vanish.
#[test]
fn deterministic_solvers_have_their_declared_order() {
    let model = mixture();
    let schedule = Schedule::cosine(8.0, -8.0).unwrap();
    let vp = Scaling::VariancePreserving;
    let run = |solver: SolverSpec, steps: usize| {
        let spec = SamplerSpec { solver, grid: GridSpec::UniformLogSnr, steps };
        let grid = spec.time_grid(&schedule, vp).unwrap();
        let from = |start: u64| -> Vec<f64> {
            let mut noise = Iid::new(Seed(0), start, 2);
            spec.run(&model, prior(Seed(0), start, 2), &grid, &mut noise, |_, _, _| ()).unwrap()
        };
        (0..8).flat_map(from).collect::<Vec<f64>>()
    };
    let truth = run(SolverSpec::DpmSolverPp2M, 50_000);
    for solver in [SolverSpec::Ddim, SolverSpec::DpmSolverPp2M] {
        let error = |steps| {
            let x = run(solver, steps);
            x.iter().zip(&truth).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
        };
        let halvings = 5;
        let slope = (error(100) / error(100 << halvings)).log2() / f64::from(halvings);
        let declared = f64::from(solver.properties().order);
        assert!((slope - declared).abs() < 0.1, "{solver:?}: {slope} for {declared}");
    }
}

/// Every solver × schedule × scaling × number of steps: finite, right shape, and as many model
/// calls as declared.
#[test]
fn every_combination_ends_finite_with_the_declared_number_of_calls() {
    for solver in SOLVERS {
        for schedule in
            [Schedule::linear(13.3, -5.0).unwrap(), Schedule::cosine(15.0, -15.0).unwrap()]
        {
            for scaling in
                [Scaling::VariancePreserving, Scaling::VarianceExploding, Scaling::StraightLine]
            {
                for steps in [1, 2, 3, 5, 10, 1000] {
                    let spec = SamplerSpec { solver, grid: GridSpec::UniformTime, steps };
                    let grid = spec.time_grid(&schedule, scaling).unwrap();
                    let sigma = grid.levels()[0].sigma;
                    let z1 = prior::<f64>(Seed(5), 0, 2).iter().map(|z| z * sigma).collect();
                    let model = Counted::new(mixture());
                    let mut seen = 0;
                    let x: Vec<f64> = spec
                        .run(&model, z1, &grid, &mut Iid::new(Seed(5), 0, 2), |_, _, _| seen += 1)
                        .unwrap();
                    let what = format!("{solver:?} {schedule:?} {scaling:?} {steps}");
                    assert!(x.len() == 2 && x.iter().all(|x| x.is_finite()), "{what}: {x:?}");
                    assert_eq!(model.calls(), steps * solver.properties().calls_per_step, "{what}");
                    assert_eq!(seen, steps, "{what}");
                }
            }
        }
    }
}

/// M48: the same levels under another scaling give the same image, to rounding.
#[test]
fn scalings_of_one_model_draw_the_same_images() {
    let schedule = Schedule::linear(9.0, -9.0).unwrap();
    for solver in SOLVERS {
        let draw = |scaling| {
            let spec = SamplerSpec { solver, grid: GridSpec::UniformTime, steps: 40 };
            let grid = spec.time_grid(&schedule, scaling).unwrap();
            let first = grid.levels()[0];
            // z = (z/α)·α: equal z/α at equal λ is the same latent.
            let vp = Scaling::VariancePreserving.level(first.log_snr);
            let z1: Vec<f64> =
                prior::<f64>(Seed(8), 0, 2).iter().map(|z| z * first.alpha / vp.alpha).collect();
            let mut noise = Iid::new(Seed(8), 0, 2);
            let x: Vec<f64> = spec.run(&mixture(), z1, &grid, &mut noise, |_, _, _| ()).unwrap();
            let last = grid.levels()[40];
            x.iter().map(|x| x / last.alpha).collect::<Vec<_>>()
        };
        let vp = draw(Scaling::VariancePreserving);
        for other in [draw(Scaling::VarianceExploding), draw(Scaling::StraightLine)] {
            for (a, b) in vp.iter().zip(other) {
                assert!((a - b).abs() < 1e-9, "{solver:?}: {a} and {b}");
            }
        }
    }
}

/// 4,000 ancestral chains of 200 steps reproduce mean and standard deviation of the data; the
/// tolerance is 5 standard errors plus the O(1/T) bias of the finite chain, at most 0.02 here.
#[test]
fn ancestral_samples_follow_the_data_law() {
    let model = GaussianMixture::new(vec![1.0], vec![vec![0.7]], vec![0.3]).unwrap();
    let schedule = Schedule::linear(10.0, -8.0).unwrap();
    let grid = TimeGrid::uniform_time(200, &schedule, Scaling::VariancePreserving).unwrap();
    let n = 4000_u32;
    let draws: Vec<f64> = (0..n)
        .map(|i| {
            let i = u64::from(i);
            let z1 = prior(Seed(11), i, 1);
            let mut noise = Iid::new(Seed(11), i, 1);
            integrate(&Ancestral::default(), &model, z1, &grid, &mut noise, |_, _, _| ()).unwrap()
                [0]
        })
        .collect();
    let n = f64::from(n);
    let mean = draws.iter().sum::<f64>() / n;
    let std = (draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
    assert!((mean - 0.7).abs() < 5.0 * 0.3 / n.sqrt() + 0.02, "mean {mean}");
    assert!((std - 0.3).abs() < 5.0 * 0.3 / (2.0 * n).sqrt() + 0.02, "std {std}");
}

#[test]
fn stochastic_solvers_depend_on_the_noise_and_deterministic_ones_do_not() {
    let schedule = Schedule::linear(8.0, -8.0).unwrap();
    for solver in SOLVERS {
        let spec = SamplerSpec { solver, grid: GridSpec::UniformTime, steps: 10 };
        let grid = spec.time_grid(&schedule, Scaling::VariancePreserving).unwrap();
        let draw = |seed: u64| -> Vec<f64> {
            let mut noise = Iid::new(Seed(seed), 0, 2);
            spec.run(&mixture(), vec![0.1, 0.2], &grid, &mut noise, |_, _, _| ()).unwrap()
        };
        assert_eq!(draw(1), draw(1), "{solver:?} is reproducible");
        assert_eq!(draw(1) != draw(2), solver.properties().stochastic, "{solver:?}");
    }
}

#[test]
fn properties_are_what_the_documentation_says() {
    let declared = SOLVERS.map(SolverSpec::properties);
    let row = |order, stochastic| Properties { order, calls_per_step: 1, stochastic };
    assert_eq!(declared, [row(1, true), row(1, false), row(2, false)]);
    assert_eq!(Solver::<Vec<f32>>::properties(&Ddim::default()), declared[1]);
}
