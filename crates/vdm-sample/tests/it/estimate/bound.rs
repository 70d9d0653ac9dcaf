//! The variational bound, its depths and its curves.

use vdm_core::likelihood::Discretized;
use vdm_core::{
    GaussianMixture, LogSnr, NoiseLevel, NoiseSchedule, Scaling, Schedule, bound, quadrature,
};
use vdm_sample::estimate::{
    Bound, BoundEstimate, ContinuousItems, CurvePoint, DenoiserTerms, DepthEstimate, DiffusionTerm,
    DiscreteItems, ImportanceWeighted, ItemSource, Rounds,
};
use vdm_sample::grid::GridKind;
use vdm_sample::{GridSpec, Seed};

use super::fixture::{
    Known, VP, average, data, eight_bit, gaussian, level, line, mixture, of_draws, process,
    schedule,
};

pub(super) fn estimate(
    model: &GaussianMixture,
    items: &dyn Known,
    diffusion: DiffusionTerm,
    rounds: Rounds,
    seed: Seed,
) -> BoundEstimate {
    let schedule = schedule();
    let bound = Bound {
        schedule: &schedule,
        grid: &GridSpec::UNIFORM_TIME,
        diffusion,
        rounds,
        seed,
        batch: 512,
    };
    bound.estimate(&process(model, items, seed), |_, _| ()).unwrap()
}

/// The exact bound of each item: by quadrature over the noise and, for `L_∞`, Simpson's rule in 280
/// parts over the levels, which agrees with 140 to 1e-6.
pub(super) fn exact(model: &GaussianMixture, items: &dyn Known, steps: Option<usize>) -> Vec<f64> {
    let [clean, noisy] = [0.0, 1.0].map(|t| schedule().log_snr(t));
    let diffusion = |x: &[f64]| match steps {
        Some(steps) => bound::discrete(&schedule(), steps, |l| model.noise_error(x, &level(l))),
        None => {
            let range = schedule().range();
            let at = |i: u32| range.min() + (range.max() - range.min()) * f64::from(i) / 280.0;
            let weight =
                |i: u32| if i.is_multiple_of(280) { 1.0 } else { f64::from(2 + 2 * (i % 2)) };
            let error = |i| model.noise_error(x, &VP.level(at(i)));
            let sum: f64 = (0..=280).map(|i| weight(i) * error(i)).sum();
            0.5 * sum * (range.max() - range.min()) / (3.0 * 280.0)
        }
    };
    let item = |item| {
        let x: Vec<f64> = items.encode(item);
        let prior: f64 = x.iter().map(|x| bound::prior_kl(noisy, *x)).sum();
        prior + items.reconstruction(item, clean) + diffusion(&x)
    };
    (0..items.len()).map(item).collect()
}

pub(super) const TERMS: [(DiffusionTerm, Option<usize>); 3] = [
    (DiffusionTerm::AllSteps { steps: 12 }, Some(12)),
    (DiffusionTerm::SampledSteps { steps: 12, draws: 8 }, Some(12)),
    (DiffusionTerm::Continuous { draws: 16 }, None),
];

/// The bound of 8-bit items under a mixture, each form within 4 standard errors (6e-5 for a fresh
/// seed) of its own exact value, and known to 2 % or better. On a line: in the plane they take half a
/// minute without optimization, and `coverage` is about those.
#[test]
fn every_form_of_the_bound_agrees_with_quadrature() {
    let (model, items) = (line(), eight_bit(&line(), 3));
    for (diffusion, steps) in TERMS {
        let found = estimate(&model, &items, diffusion, Rounds::exactly(600), Seed(3)).estimate;
        let (mean, error) = of_draws(found.total);
        let exact = average(&exact(&model, &items, steps));
        println!("{diffusion:?}: {mean:.4} ± {error:.4}, exactly {exact:.4}");
        assert!((mean - exact).abs() < 4.0 * error && error < 0.02 * exact.abs());
        let sum: f64 = found.terms.iter().map(|term| term.mean.mean).sum();
        assert!((sum - mean).abs() < 1e-12 * mean.abs());
    }
}

#[test]
fn an_items_number_is_the_same_in_any_batch() {
    let (model, items) = (mixture(), eight_bit(&mixture(), 7));
    let schedule = schedule();
    for (diffusion, _) in TERMS {
        let with = |batch| {
            let rounds = Rounds::exactly(2);
            let bound = Bound {
                schedule: &schedule,
                grid: &GridSpec::UNIFORM_TIME,
                diffusion,
                rounds,
                seed: Seed(4),
                batch,
            };
            bound.estimate(&process(&model, &items, Seed(4)), |_, _| ()).unwrap().estimate
        };
        assert_eq!(with(1), with(1000));
        assert_eq!(with(5), with(1000));
    }
}

/// M48: with the same draws the bound is the same under every scaling, to rounding; M46: and `L_∞`
/// under another schedule of the same ends, within 4 standard errors of both.
#[test]
fn m48_the_bound_is_the_same_under_every_specification() {
    let (model, items) = (mixture(), eight_bit(&mixture(), 4));
    let with = |scaling, schedule: &Schedule, rounds| {
        let process = DenoiserTerms { scaling, ..process(&model, &items, Seed(4)) };
        let (diffusion, rounds) =
            (DiffusionTerm::Continuous { draws: 16 }, Rounds::exactly(rounds));
        let bound = Bound {
            schedule,
            grid: &GridSpec::UNIFORM_TIME,
            diffusion,
            rounds,
            seed: Seed(4),
            batch: 64,
        };
        of_draws(bound.estimate(&process, |_, _| ()).unwrap().estimate.total)
    };
    let (here, _) = with(VP, &schedule(), 5);
    for scaling in
        [Scaling::VarianceExploding, Scaling::StraightLine, Scaling::SubVariancePreserving]
    {
        let (there, _) = with(scaling, &schedule(), 5);
        assert!((here - there).abs() < 1e-9 * here.abs(), "{scaling:?}: {here} {there}");
    }
    let (here, error) = with(VP, &schedule(), 500);
    let (there, other_error) = with(VP, &Schedule::cosine(12.0, -16.0).unwrap(), 500);
    let error = error.hypot(other_error);
    assert!((here - there).abs() < 4.0 * error && error < 0.05 * here, "{here} {there} {error}");
}

/// `L_T` on a grid is the sum over the grid's own levels, by quadrature, and with a grid in log-SNR the same
/// under every schedule, bound and importance weights; a grid with other ends is refused.
#[test]
fn the_levels_of_a_hierarchy_are_those_of_the_grid() {
    let (model, items) = (line(), eight_bit(&line(), 2));
    let schedules = [Schedule::linear(12.0, -16.0), Schedule::cosine(12.0, -16.0)];
    let [linear, cosine] = schedules.map(Result::unwrap);
    let process = process(&model, &items, Seed(4));
    let rounds = Rounds::exactly(600);
    let diffusion = DiffusionTerm::AllSteps { steps: 12 };
    let of = |grid: &GridSpec, schedule: &Schedule| {
        let bound = Bound { schedule, grid, diffusion, rounds, seed: Seed(4), batch: 512 };
        bound.estimate(&process, |_, _| ()).map(|found| found.estimate)
    };
    let uneven: GridSpec = GridKind::Polyexponential { rho: 1.5 }.into();
    let levels = uneven.time_grid(12, &linear, VP).unwrap();
    let step = |x: &[f64], step: &[NoiseLevel]| {
        let [t, s] = [0, 1].map(|i| LogSnr::new(step[i].log_snr));
        bound::discrete_factor(s, t) * model.noise_error(x, &step[0])
    };
    let item = |item| {
        let x: Vec<f64> = process.items.encode(item);
        levels.levels().windows(2).map(|pair| step(&x, pair)).sum()
    };
    let exact = average(&[item(0), item(1)]);
    let (mean, error) = of_draws(of(&uneven, &cosine).unwrap().term("diffusion").unwrap().mean);
    println!("uneven: {mean:.4} ± {error:.4}, exactly {exact:.4}");
    assert!((mean - exact).abs() < 4.0 * error && error < 0.02 * exact);

    let even: GridSpec = GridKind::UniformLogSnr.into();
    let weighted = |schedule: &Schedule| {
        let rounds = Rounds::exactly(2);
        let estimator =
            ImportanceWeighted { schedule, grid: &even, steps: 5, samples: 3, rounds, batch: 8 };
        estimator.estimate(&process, |_, _| ()).unwrap().total.mean
    };
    for (a, b) in [
        (of(&even, &linear).unwrap().total.mean, of(&even, &cosine).unwrap().total.mean),
        (weighted(&linear), weighted(&cosine)),
    ] {
        assert!((a - b).abs() < 1e-9 * a.abs(), "{a} {b}");
    }
    let clean = GridSpec { clean: true, ..uneven };
    let error = of(&clean, &linear).unwrap_err().to_string();
    assert!(
        error.contains("grid = log-SNR from -16 to inf, on a schedule from -16 to 12"),
        "{error}"
    );
}

/// E14: at `x = 0` under `N(0, 1)` two steps are worse than one, 0.49 against 18.4 nats, while the
/// average over data falls, 73.7 against 37.3. One depth below the others, `L_1` to `L_2`, and on to
/// `L_∞`.
#[test]
fn m43_e14_doubling_the_steps_can_worsen_an_item_and_lowers_the_mean() {
    let model = GaussianMixture::new(vec![1.0], vec![vec![0.0]], vec![1.0]).unwrap();
    let schedule = Schedule::linear(5.0, -5.0).unwrap();
    let mut values = data(&model, Seed(2), 60);
    values[0] = vec![0.0];
    let items = ContinuousItems::new(values).unwrap();
    let seed = Seed(1);
    let process = DenoiserTerms::<Vec<f64>, _> { model: &model, items: &items, scaling: VP, seed };
    let terms = [
        DiffusionTerm::AllSteps { steps: 1 },
        DiffusionTerm::AllSteps { steps: 2 },
        DiffusionTerm::Continuous { draws: 8 },
    ];
    let rounds = Rounds::exactly(50);
    let bound = Bound {
        schedule: &schedule,
        grid: &GridSpec::UNIFORM_TIME,
        diffusion: terms[0],
        rounds,
        seed,
        batch: 1000,
    };
    let depths = bound.depth_sweep(&process, &terms, |_, _, _| ()).unwrap();
    let diffusion = |depth: usize| &depths[depth].estimate.term("diffusion").unwrap().items[0];
    for (depth, exact) in [(0, 0.49), (1, 18.4)] {
        let (found, error) = (diffusion(depth).mean(), diffusion(depth).standard_error().unwrap());
        assert!((found - exact).abs() < 4.0 * error + 0.05, "depth {depth}: {found} ± {error}");
    }
    assert_eq!(depths[0].change, None);
    for depth in &depths[1..] {
        let change = depth.change.unwrap();
        println!("{:?}: {change:?}", depth.diffusion);
        assert!(change.difference.mean < 0.0 && change.items == 60);
    }
    let doubled = depths[1].change.unwrap();
    assert!(doubled.certainly_worse.unwrap() > 0 && doubled.worse < 60);
    differences_add_up(&depths);
    // Until all errors are small: the depth that needs most rounds decides for all.
    let rounds = Rounds { most: 1000, ..Rounds::until(0.8, 1000) };
    let bound = Bound { rounds, ..bound };
    let depths = bound.depth_sweep(&process, &terms, |_, _, _| ()).unwrap();
    let alone = terms.map(|diffusion| {
        let bound = Bound { diffusion, ..bound };
        bound.estimate(&process, |_, _| ()).unwrap().estimate.rounds
    });
    assert!(alone.iter().any(|rounds| *rounds != alone[0]), "{alone:?}");
    differences_add_up(&depths);
    for depth in &depths {
        assert!(depth.estimate.rounds == depths[0].estimate.rounds);
        assert!(depth.estimate.total.draw_error.unwrap() <= 0.8);
    }
    assert!(bound.depth_sweep(&process, &[], |_, _, _| ()).unwrap().is_empty());
}

/// Each depth is the one before and what changed.
fn differences_add_up(depths: &[DepthEstimate]) {
    for pair in depths.windows(2) {
        let totals = [0, 1].map(|depth: usize| pair[depth].estimate.total.mean);
        let difference = pair[1].change.unwrap().difference.mean;
        assert!((totals[1] - totals[0] - difference).abs() < 1e-9, "{totals:?} {difference}");
    }
}

/// Half the width of an interval of the curve.
const HALF: f64 = 0.5 * 28.0 / 24.0;

/// `e^λ s²` of [`gaussian`].
fn gain(log_snr: f64) -> f64 {
    0.09 * log_snr.exp()
}

/// The mean over a point's interval.
fn over(point: &CurvePoint, f: &dyn Fn(f64) -> f64) -> f64 {
    quadrature::interval(point.log_snr - HALF, point.log_snr + HALF, f) / (2.0 * HALF)
}

/// M69: the error in every interval against its closed form, which for `N(m, s²)` in the plane is
/// `2e^λ s²/(1 + e^λ s²)`. Within 5 standard errors (24 intervals: 1.4e-5 for a fresh seed).
fn errors_along_the_curve(items: usize) -> Vec<CurvePoint> {
    let model = gaussian();
    let items = ContinuousItems::new(data(&model, Seed(3), items)).unwrap();
    let diffusion = DiffusionTerm::Continuous { draws: 96 };
    let found = estimate(&model, &items, diffusion, Rounds::exactly(1), Seed(1));
    assert_eq!(found.curve.len(), 24);
    for point in &found.curve {
        let error = over(point, &|l| gain(l) / (1.0 + gain(l)));
        let known = point.standard_error.unwrap();
        assert!((point.noise_error - error).abs() < 5.0 * known, "{point:?}, exactly {error}");
    }
    found.curve
}

#[test]
fn m69_errors_are_those_of_a_gaussian_channel() {
    errors_along_the_curve(300);
}

/// M69: and the rate is that of a Gaussian channel, `ln(1 + e^λ s²)`, within a hundredth of a bit.
#[test]
#[ignore = "slow: cargo xtask test --full"]
fn m69_rate_and_distortion_are_those_of_a_gaussian_channel() {
    for point in errors_along_the_curve(2000) {
        let distortion = over(&point, &|l| 0.09 / (1.0 + gain(l)));
        // The distortion is the error over the SNR, which varies by a factor 3 within an interval.
        assert!((point.distortion / distortion - 1.0).abs() < 0.05, "{point:?}, {distortion}");
        let information = |l: f64| bound::bits_per_dim(gain(l).ln_1p(), 2);
        let rate = 0.5 * (information(point.log_snr - HALF) + information(point.log_snr + HALF));
        assert!((point.rate - rate).abs() < 0.01 * (1.0 + rate), "{point:?}, exactly {rate}");
    }
}

/// The grid chosen from measured errors has a bound by quadrature that is far below that of even steps, and
/// the continuous one's is not reached.
#[test]
fn measured_errors_choose_a_better_grid() {
    let (model, schedule) = (gaussian(), schedule());
    let items = ContinuousItems::new(data(&model, Seed(3), 50)).unwrap();
    let term = DiffusionTerm::Continuous { draws: 96 };
    let found = estimate(&model, &items, term, Rounds::exactly(1), Seed(1));
    let losses = found.losses(schedule.range(), 2).unwrap();
    let best = losses.best(10).unwrap();
    assert_eq!((best.len(), best[0], best[10]), (11, -16.0, 12.0));
    let short = |level: &f64| (level * 20.0 - (level * 20.0).round()).abs() < 1e-9;
    assert!(best.iter().all(short), "{best:?}");
    let error = |l: f64| 2.0 * gain(l) / (1.0 + gain(l));
    let bound = |levels: &[f64]| -> f64 {
        let step = |pair: &[f64]| {
            bound::discrete_factor(LogSnr::new(pair[1]), LogSnr::new(pair[0])) * error(pair[0])
        };
        levels.windows(2).map(step).sum()
    };
    let even: Vec<f64> = (0..=10).map(|i| -16.0 + 2.8 * f64::from(i)).collect();
    let limit = bound::continuous(schedule.range(), |l| error(l.value()));
    let (best, even) = (bound(&best), bound(&even));
    println!("best {best:.2}, even {even:.2}, continuous {limit:.2}");
    assert!(limit < best && best < 0.8 * even, "{limit} {best} {even}");
}

/// M69 in a hierarchy: the rate at a level is what the steps that end there cost, none at the noisiest, and
/// between two levels a share of the step. To rounding, from the same draws.
#[test]
fn m69_the_rate_of_a_hierarchy_is_that_of_its_steps() {
    let model = gaussian();
    let items = ContinuousItems::new(data(&model, Seed(3), 20)).unwrap();
    let found = |steps| {
        let diffusion = DiffusionTerm::AllSteps { steps };
        estimate(&model, &items, diffusion, Rounds::exactly(2), Seed(1))
    };
    let bits =
        |found: &BoundEstimate, term| found.estimate.term(term).unwrap().mean.bits_per_dim(2);
    let one = found(1);
    let (prior, diffusion) = (bits(&one, "prior").mean, bits(&one, "diffusion").mean);
    let [point] = one.curve[..] else { panic!("{:?}", one.curve) };
    // In the middle of the first of 24 intervals.
    assert!((point.rate - prior - diffusion / 48.0).abs() < 1e-9 * point.rate, "{point:?}");
    // Two steps part in the middle of the range, where the second point's interval begins.
    let two = found(2);
    let [_, second] = two.curve[..] else { panic!("{:?}", two.curve) };
    let total = prior + bits(&two, "diffusion").mean;
    assert!((second.log_snr + 2.0 - HALF).abs() < 1e-9 && second.rate < total, "{second:?}");
    // The second step begins there and ends 12 intervals on.
    let own = (total - second.rate) / (1.0 - 1.0 / 24.0);
    let first = total - own - prior;
    let quarter = two.curve[0].rate - prior;
    assert!((quarter - first / 24.0).abs() < 1e-9 * total, "{quarter} {first}");
}

#[test]
fn continuous_items_have_no_cells() {
    let items = ContinuousItems::new(vec![vec![0.1, 0.2]]).unwrap();
    assert_eq!(ItemSource::<Vec<f64>>::cell_width(&items), None);
    let discrete = DiscreteItems::new(Discretized::new(256).unwrap(), vec![vec![1]]).unwrap();
    assert_eq!(ItemSource::<Vec<f32>>::cell_width(&discrete), Some(2.0 / 256.0));
}
