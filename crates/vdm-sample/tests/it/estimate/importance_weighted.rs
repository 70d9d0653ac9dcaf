//! The importance-weighted bound.

use std::f64::consts::TAU;

use vdm_core::{GaussianMixture, NoiseLevel, NoiseSchedule, Posterior, Scaling, Schedule};
use vdm_sample::estimate::{
    Bound, ContinuousItems, DenoiserTerms, DiffusionTerm, Estimate, ImportanceWeighted, Rounds,
};
use vdm_sample::{GridSpec, Seed};

use super::fixture::{Known, VP, eight_bit, line, mixture, of_draws, process, schedule};

fn log_normal(x: f64, mean: f64, var: f64) -> f64 {
    -0.5 * ((x - mean).powi(2) / var + (TAU * var).ln())
}

fn short() -> Schedule {
    Schedule::linear(3.0, -3.0).unwrap()
}

pub(super) fn estimate(
    model: &GaussianMixture,
    items: &dyn Known,
    [steps, samples]: [usize; 2],
    rounds: usize,
    seed: Seed,
) -> Estimate {
    let (schedule, rounds) = (short(), Rounds::exactly(rounds));
    let steps = steps as u32;
    let estimator = ImportanceWeighted {
        schedule: &schedule,
        grid: &GridSpec::UNIFORM_TIME,
        steps,
        samples,
        rounds,
        batch: 64,
    };
    let process = DenoiserTerms::<Vec<f64>, _> { model, items, scaling: VP, seed };
    estimator.estimate(&process, |_, _| ()).unwrap()
}

/// `log w` of one step for an item on a line, from the definition: five densities of two latents.
fn log_weight(
    model: &GaussianMixture,
    items: &dyn Known,
    item: usize,
    [first, second]: [f64; 2],
) -> f64 {
    let x = items.encode(item)[0];
    let [clean, noisy] = [0.0, 1.0].map(|t| VP.level(short().log_snr(t).value()));
    let q = Posterior::between(&clean, &noisy);
    let z1 = noisy.alpha * x + noisy.sigma * first;
    let z0 = q.on_z * z1 + q.on_x * x + q.var.sqrt() * second;
    let x_hat = model.posterior_mean(&[z1], &noisy)[0];
    items.log_likelihoods(&[(item, &vec![z0])], &clean)[0]
        + log_normal(z1, 0.0, 1.0)
        + log_normal(z0, q.on_z * z1 + q.on_x * x_hat, q.var)
        - log_normal(z1, noisy.alpha * x, noisy.sigma.powi(2))
        - log_normal(z0, q.on_z * z1 + q.on_x * x, q.var)
}

/// `−E log (w_1 + w_2)/2` of each item at one step, by the trapezoidal rule in the four noises.
pub(super) fn exact(model: &GaussianMixture, items: &dyn Known) -> Vec<f64> {
    (0..items.len()).map(|item| two_samples(model, items, item, 2)).collect()
}

/// With so many nodes per unit of noise, from −6 to 6.
fn two_samples(model: &GaussianMixture, items: &dyn Known, item: usize, per_unit: i32) -> f64 {
    let node = |i: i32| f64::from(i) / f64::from(per_unit) - 6.0;
    let (nodes, cell) = (12 * per_unit + 1, f64::from(per_unit * per_unit));
    let mut weights = Vec::new();
    for (i, j) in (0..nodes).flat_map(|i| (0..nodes).map(move |j| (i, j))) {
        let share = (log_normal(node(i), 0.0, 1.0) + log_normal(node(j), 0.0, 1.0)).exp() / cell;
        weights.push((share, log_weight(model, items, item, [node(i), node(j)])));
    }
    let pair = |(a, v): &(f64, f64), (b, w): &(f64, f64)| {
        let mean = v.max(*w) + (0.5 + 0.5 * (-(v - w).abs()).exp()).ln();
        a * b * mean
    };
    -weights.iter().map(|v| weights.iter().map(|w| pair(v, w)).sum::<f64>()).sum::<f64>()
}

fn one_item() -> ContinuousItems {
    ContinuousItems::new(vec![vec![0.7]]).unwrap()
}

/// One step and two samples, whose expectation is an integral in four dimensions; known to `enough`.
fn two_samples_agree(rounds: usize, enough: f64) {
    let (model, items) = (line(), one_item());
    let (mean, error) = of_draws(estimate(&model, &items, [1, 2], rounds, Seed(1)).total);
    let exact = exact(&model, &items)[0];
    println!("K = 2: {mean:.4} ± {error:.4}, exactly {exact:.4}");
    assert!((mean - exact).abs() < 4.0 * error && error < enough);
}

#[test]
fn two_samples_agree_with_quadrature() {
    two_samples_agree(8000, 0.03);
}

#[test]
#[ignore = "slow: cargo xtask test --full"]
fn two_samples_agree_with_quadrature_closely() {
    two_samples_agree(40_000, 0.015);
    let [coarse, fine] = [2, 4].map(|per_unit| two_samples(&line(), &one_item(), 0, per_unit));
    assert!((coarse - fine).abs() < 1e-4, "{coarse} {fine}");
}

/// `−log p(x)` of the `T`-step model for Gaussian data, whose exact denoiser is affine: the distribution of
/// `z_s` follows from that of `z_t` step by step.
fn exact_of_steps(model: &GaussianMixture, steps: u32, x: f64) -> f64 {
    let at = |i: u32| VP.level(short().log_snr(f64::from(i) / f64::from(steps)).value());
    let (mut mean, mut var) = (0.0, 1.0);
    for i in (1..=steps).rev() {
        let (s, t): (NoiseLevel, NoiseLevel) = (at(i - 1), at(i));
        let q = Posterior::between(&s, &t);
        let at_zero = model.posterior_mean(&[0.0], &t)[0];
        let slope = model.posterior_mean(&[1.0], &t)[0] - at_zero;
        let gain = q.on_z + q.on_x * slope;
        mean = gain * mean + q.on_x * at_zero;
        var = gain * gain * var + q.var;
    }
    let clean = at(0);
    let var = (var + clean.sigma.powi(2)) / clean.alpha.powi(2);
    -log_normal(x, mean / clean.alpha, var)
}

/// More samples lower the bound, and none to below the likelihood of the `T`-step model itself. What the
/// last of them leaves above it.
fn closes_in(samples_and_rounds: &[(usize, usize)]) -> f64 {
    let model = GaussianMixture::new(vec![1.0], vec![vec![0.3]], vec![0.7]).unwrap();
    let items = ContinuousItems::new(vec![vec![-0.6]]).unwrap();
    let exact = exact_of_steps(&model, 5, -0.6);
    let mut above = f64::INFINITY;
    for &(samples, rounds) in samples_and_rounds {
        let (mean, error) = of_draws(estimate(&model, &items, [5, samples], rounds, Seed(2)).total);
        println!("K = {samples}: {mean:.4} ± {error:.4}, exactly {exact:.4}");
        assert!(mean > exact - 4.0 * error && mean < above, "K = {samples}: {mean} ± {error}");
        above = mean;
    }
    above - exact
}

#[test]
fn more_samples_close_in_on_the_likelihood() {
    closes_in(&[(1, 1000), (4, 500), (16, 250)]);
}

/// Within 5 standard errors plus the bias of 256 samples, which is half the relative variance of their
/// mean weight and below 0.01 here.
#[test]
#[ignore = "slow: cargo xtask test --full"]
fn many_samples_reach_the_likelihood() {
    let above = closes_in(&[(1, 4000), (4, 2000), (16, 1000), (256, 200)]);
    assert!(above < 0.03, "{above}");
}

/// One sample is the bound: the same expectation, within 4 standard errors, on 8-bit data; and the
/// same number under every scaling.
#[test]
fn one_sample_is_the_bound() {
    let (model, items) = (mixture(), eight_bit(&mixture(), 3));
    let (schedule, rounds) = (schedule(), Rounds::exactly(400));
    let of = |scaling, samples, rounds| {
        let estimator = ImportanceWeighted {
            schedule: &schedule,
            grid: &GridSpec::UNIFORM_TIME,
            steps: 12,
            samples,
            rounds,
            batch: 100,
        };
        let process = DenoiserTerms { scaling, ..process(&model, &items, Seed(5)) };
        estimator.estimate(&process, |_, _| ()).unwrap()
    };
    let one = of(VP, 1, rounds);
    let bound = Bound {
        schedule: &schedule,
        grid: &GridSpec::UNIFORM_TIME,
        diffusion: DiffusionTerm::AllSteps { steps: 12 },
        rounds,
        seed: Seed(6),
        batch: 600,
    };
    let bound = bound.estimate(&process(&model, &items, Seed(6)), |_, _| ()).unwrap().estimate;
    let ((a, a_error), (b, b_error)) = (of_draws(one.total), of_draws(bound.total));
    println!("K = 1: {a:.3} ± {a_error:.3}; the bound: {b:.3} ± {b_error:.3}");
    let error = a_error.hypot(b_error);
    assert!((a - b).abs() < 4.0 * error && error < 0.05 * a);
    assert_eq!(one.term("one_sample").unwrap().mean, one.total);
    let few = Rounds::exactly(40);
    let [here, there] = [VP, Scaling::StraightLine].map(|scaling| of(scaling, 1, few).total.mean);
    assert!((here - there).abs() < 1e-9 * here.abs(), "{here} {there}");
    let five = of(VP, 5, few);
    assert!(five.total.mean < five.term("one_sample").unwrap().mean.mean);
}
