//! Objectives: weightings, importance sampling and the augmentation that a weighting stands for.
//! Every equation is computed from both of its sides, on data whose optimal denoiser is known.
//! Reference numbers are from 50-digit arithmetic.

use std::f64::consts::{E, TAU};

use vdm_core::importance::{self, Adaptive, Estimator};
use vdm_core::quadrature::tabulated;
use vdm_core::schedule::{Cosine, Histogram, LogSnrRange, NoiseSchedule, Truncated};
use vdm_core::weighting::Augmentation;
use vdm_core::{
    Error, GaussianMixture, LogSnr, Parameterization, Posterior, Scaling, Schedule, Weighting,
    bound, quadrature, times,
};

use crate::data::{VP, data, noise_error};
use crate::invariance::squared_error;
use crate::parity::weights::{fixture, loss, rows, weighting};
use crate::random::Random;

const EDM: Weighting = Weighting::Edm { p_mean: -1.2, p_std: 1.2, data_std: 0.5 };
const EDM_MONOTONIC: Weighting =
    Weighting::EdmMonotonic { p_mean: -1.2, p_std: 1.2, data_std: 0.5 };
const SIGMOID: Weighting = Weighting::Sigmoid { bias: 1.0 };
/// Monotone ones, then the others.
const MONOTONE: [Weighting; 6] = [
    Weighting::Elbo,
    SIGMOID,
    Weighting::VelocityCosine,
    Weighting::FlowMatching,
    Weighting::Indi,
    EDM_MONOTONIC,
];
const OTHERS: [Weighting; 4] = [
    Weighting::IddpmCosine,
    EDM,
    Weighting::P2 { gamma: 1.0, k: 1.0 },
    Weighting::MinSnr { gamma: 5.0 },
];

/// The end points of most tests, in and out of the reach of the data below.
const MAX: f64 = 6.0;
const MIN: f64 = -5.0;

fn range() -> LogSnrRange {
    LogSnrRange::new(MAX, MIN).unwrap()
}

fn schedule(json: &str) -> Schedule {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

/// Schedules of one range and very different densities.
fn schedules() -> Vec<Schedule> {
    let ends = r#""log_snr_max": 6.0, "log_snr_min": -5.0"#;
    [
        r#""kind": "linear""#,
        r#""kind": "cosine", "shift": 1.0"#,
        r#""kind": "vp_linear", "beta_min": 0.1, "beta_max": 20.0"#,
        r#""kind": "iddpm_cosine""#,
        r#""kind": "sigmoid", "start": -3.0, "end": 3.0, "tau": 0.7"#,
        r#""kind": "normal", "mean": 2.4, "std": 2.4"#,
        r#""kind": "laplace", "mean": 0.0, "std": 1.5"#,
        r#""kind": "straight_line", "shift": -1.0"#,
        r#""kind": "monotone", "increments": [0.3, -2.0, 2.0, 1.0, -1.0]"#,
        r#""kind": "histogram", "masses": [1.0, 0.2, 3.0, 2.0]"#,
    ]
    .map(|kind| schedule(&format!("{{{kind}, {ends}}}")))
    .into()
}

/// `I(x; z_t) = E[−log q(z_t)] − H(q(z_t|x))`, in nats: no denoiser in it.
fn information(data: &GaussianMixture, log_snr: f64) -> f64 {
    let at = VP.level(log_snr);
    let entropy: f64 = data
        .components()
        .map(|(weight, mean, std)| {
            let spread = ((at.alpha * std).powi(2) + at.sigma.powi(2)).sqrt();
            let nats = |xi: &[f64]| -data.log_density(&[at.alpha * mean[0] + spread * xi[0]], &at);
            weight * quadrature::normal(1, nats)
        })
        .sum();
    entropy - 0.5 * (TAU * E * at.sigma.powi(2)).ln()
}

#[track_caller]
fn assert_close(got: f64, wanted: f64, relative: f64) {
    let error = (got - wanted).abs();
    assert!(error <= relative * wanted.abs(), "{got}, not {wanted}: off by {error}");
}

/// The table of errors that the tests below integrate is good to ten digits.
#[test]
fn tables_of_errors_are_exact() {
    let (table, data) = (noise_error(MIN, MAX), data());
    for log_snr in [-4.87, -1.3, 0.77, 2.9, 5.61] {
        assert_close(table(log_snr), log_snr.exp() * data.mmse(&VP.level(log_snr)), 1e-10);
    }
}

// ---- weights against the reference

/// Which weights are monotone; their values are compared in oracle.rs.
#[test]
fn m52_monotone_weights_are_told_from_others() {
    let any = Cosine::default();
    let data = fixture();
    let cases = data["weights"].as_array().unwrap();
    assert_eq!(cases.len(), 14);
    for row in cases {
        let name = &row["name"];
        let range = LogSnrRange::new(20.0, -20.0).unwrap();
        let rises = weighting(row).rises(range, &any).unwrap();
        assert_eq!(rises.is_empty(), row["monotone_nonincreasing_in_logsnr"], "{name}");
        if name == "edm" {
            let mode = cases.iter().find_map(|row| row["mode_logsnr"].as_f64()).unwrap();
            assert_close(rises[0].levels.max(), mode, 1e-12);
        }
    }
}

/// The squared error of each prediction per squared noise error, and diffusers' float32 Min-SNR.
#[test]
fn error_ratios_and_min_snr_match() {
    let data = fixture();
    let ratios = &data["sq_error_ratio"];
    let kinds = [
        ("eps_over_eps", VP, Parameterization::Noise),
        ("x_over_eps", VP, Parameterization::Image),
        ("v_over_eps", VP, Parameterization::Velocity),
        ("u_over_eps", Scaling::StraightLine, Parameterization::Flow),
    ];
    for (name, scaling, of) in kinds {
        for [level, wanted] in rows(ratios, ["logsnr", name]) {
            assert_close(
                1.0 / of.error_factor(Parameterization::Noise, &scaling.level(level)),
                wanted,
                1e-12,
            );
        }
    }
    let columns = ["snr", "min_snr5_eps", "min_snr5_v"];
    for [snr, on_noise, on_velocity] in rows(&data["diffusers_min_snr"], columns) {
        let level = LogSnr::new(snr.ln());
        let at = |weighting: Weighting| weighting.at(level, &Cosine::default());
        let factor = at(Weighting::MinSnr { gamma: 5.0 }) / at(Weighting::IddpmCosine);
        assert_close(factor, on_noise, 1e-6);
        let velocity = Parameterization::Velocity
            .error_factor(Parameterization::Noise, &VP.level(level.value()));
        assert_close(factor * velocity, on_velocity, 1e-6);
    }
}

/// M53: each weight from schedule, prediction and loss alone, as a constant times the printed one.
#[test]
fn m53_every_weight_is_implied_by_its_loss() {
    let data = fixture();
    let mut derived = 0;
    for row in data["weights"].as_array().unwrap() {
        let Some(loss) = loss(row["name"].as_str().unwrap()) else {
            assert!(row.get("implied").is_none(), "{}", row["name"]);
            continue;
        };
        let constant = row["implied_over_w"].as_f64().unwrap();
        for [level] in rows(row, ["logsnr"]) {
            let at = LogSnr::new(level);
            let printed = weighting(row).at(at, &*loss.schedule);
            assert_close(loss.implied(at) / printed, constant, 1e-12);
        }
        derived += 1;
    }
    assert_eq!(derived, 8);
}

/// M51 and E8: one objective, three measures. DDPM's loss has `w = p(λ)` for noise errors over `λ`;
/// for image errors over `λ` the weight is `SNR·w`, over SNR it is `w` again.
#[test]
fn m51_e08_weights_depend_on_the_measure() {
    let (data, linear) = (data(), Schedule::cosine(MAX, MIN).unwrap());
    let w = |level: f64| Weighting::Simple.at(LogSnr::new(level), &linear);
    let mmse = tabulated(MIN, MAX, &|level| data.mmse(&VP.level(level)));
    let noise = noise_error(MIN, MAX);

    let ddpm = 0.5 * quadrature::interval(0.0, 1.0, |t| noise(linear.log_snr(t).value()));
    let over_log_snr = 0.5 * quadrature::interval(MIN, MAX, |l| w(l) * noise(l));
    let of_images = 0.5 * quadrature::interval(MIN, MAX, |l| w(l) * l.exp() * mmse(l));
    let over_snr =
        0.5 * quadrature::interval(MIN.exp(), MAX.exp(), |snr| w(snr.ln()) * mmse(snr.ln()));
    for same in [over_log_snr, of_images, over_snr] {
        assert_close(same, ddpm, 1e-9);
    }
    // Read in the other measure, the same formula is another objective.
    let misread = 0.5 * quadrature::interval(MIN, MAX, |l| w(l) * mmse(l));
    assert!((misread / ddpm - 1.0).abs() > 0.03, "{misread} and {ddpm}");
}

// ---- levels and estimators

/// M54: `p(λ)` and its quantiles of every kind of schedule. Levels at evenly spread times must lie
/// within half their distance, `1/(2n)`, of the integral of the density (Kolmogorov–Smirnov).
#[test]
fn m54_uniform_times_are_draws_of_the_density() {
    let mut all = schedules();
    all.extend(
        [
            r#"{"kind": "cosine_interpolated", "log_snr_max": 6, "log_snr_min": -5,
                "shift_data": 1.0, "shift_noise": -2.0}"#,
            r#"{"kind": "karras", "sigma_min": 0.002, "sigma_max": 80.0}"#,
            r#"{"kind": "polyexponential", "sigma_min": 0.002, "sigma_max": 80.0, "rho": 0.7}"#,
            r#"{"kind": "discrete", "betas": {"linear": {"steps": 12,
                "beta_start": 0.001, "beta_end": 0.5}}}"#,
        ]
        .map(schedule),
    );
    let n = 50;
    for schedule in all {
        let (levels, mut mass) = (schedule.range(), 0.0);
        let mut below = levels.min();
        for u in times::low_discrepancy(0.5, n) {
            let level = schedule.quantile(u);
            mass +=
                quadrature::interval(below, level.value(), |l| schedule.density(LogSnr::new(l)));
            below = level.value();
            // Each draw is the middle of its step of the empirical distribution function.
            assert!((mass - u).abs() < 1e-9, "{schedule:?}: {mass} of the density below {u}");
            assert!((schedule.cdf(level) - u).abs() < 1e-9, "{schedule:?} F(F⁻¹({u}))");
            assert!((level.value() - schedule.log_snr(1.0 - u).value()).abs() < 1e-9);
        }
        mass += quadrature::interval(below, levels.max(), |l| schedule.density(LogSnr::new(l)));
        assert!((mass - 1.0).abs() < 1e-9, "{schedule:?}: {mass} in all");
    }
}

/// M50 and M55: the loss at uniform times does not depend on the schedule they are put through.
#[test]
fn m55_the_loss_is_invariant_to_the_density_of_levels() {
    let (error, objective) = (noise_error(MIN, MAX), Schedule::cosine(MAX, MIN).unwrap());
    for weighting in MONOTONE.into_iter().chain(OTHERS).chain([Weighting::Simple]) {
        let w = |l: f64| weighting.at(LogSnr::new(l), &objective);
        let wanted = 0.5 * quadrature::interval(MIN, MAX, |l| w(l) * error(l));
        for proposal in schedules() {
            let estimator = Estimator::new(weighting.clone(), &objective, &proposal).unwrap();
            let got = quadrature::interval(0.0, 1.0, |t| {
                estimator.factor(t) * error(estimator.log_snr(t).value())
            });
            let off = (got / wanted - 1.0).abs();
            assert!(off < 1e-9, "{weighting:?} under {proposal:?}: off by {off}");
        }
    }
}

/// M56: draws of level, item and noise under any proposal have the loss as their mean, within 5
/// standard errors (false alarm: 6e-7 each). The objective's own schedule stays the cosine.
#[test]
fn m56_every_proposal_is_unbiased() {
    let (data, error) = (data(), noise_error(MIN, MAX));
    let objective = Schedule::cosine(MAX, MIN).unwrap();
    let mut random = Random::new(56);
    for weighting in [Weighting::Elbo, Weighting::Simple, SIGMOID, EDM] {
        let w = |l: f64| weighting.at(LogSnr::new(l), &objective);
        let wanted = 0.5 * quadrature::interval(MIN, MAX, |l| w(l) * error(l));
        for proposal in schedules() {
            let estimator = Estimator::new(weighting.clone(), &objective, &proposal).unwrap();
            let draw = |random: &mut Random| {
                let t = random.uniform();
                estimator.factor(t) * random.noise_error(&data, estimator.log_snr(t))
            };
            let (mean, variance, n) = moments((0..5000).map(|_| draw(&mut random)));
            let distance = (mean - wanted).abs() / (variance / n).sqrt();
            assert!(distance < 5.0, "{weighting:?} under {proposal:?}: {distance} s.e. off");
        }
    }
}

/// Mean, variance and number.
fn moments(draws: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let draws: Vec<f64> = draws.collect();
    let n = draws.len() as f64;
    let mean = draws.iter().sum::<f64>() / n;
    let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, variance, n)
}

/// The variance over draws of the level, measured at evenly spread times.
fn measured_variance(estimator: &Estimator<'_>, error: &impl Fn(f64) -> f64) -> f64 {
    let draw = |t| estimator.factor(t) * error(estimator.log_snr(t).value());
    moments(times::low_discrepancy(0.5, 20_000).map(draw)).1
}

/// M57: what a proposal gains over levels drawn from the weight is `E_w[(1 − w/p)h²]` if `∫w = 1`.
/// E10: for a weight of another integral `Z` it is `∫ w(Z − w/p)h² dλ`, and the text's is wrong.
#[test]
fn m57_e10_the_gain_in_variance() {
    let error = noise_error(MIN, MAX);
    let cosine = Schedule::cosine(MAX, MIN).unwrap();
    let proposal = Schedule::linear(MAX, MIN).unwrap();
    // For both, levels drawn from the weight are the cosine schedule; ∫w is 1 and π(1 − a few %).
    for (weighting, normalized) in [(Weighting::Simple, true), (Weighting::IddpmCosine, false)] {
        let w = |l: f64| weighting.at(LogSnr::new(l), &cosine);
        let z = quadrature::interval(MIN, MAX, w);
        assert_eq!((z - 1.0).abs() < 1e-9, normalized, "∫w = {z}");
        let from = |proposal| Estimator::new(weighting.clone(), &cosine, proposal).unwrap();
        let measured =
            measured_variance(&from(&cosine), &error) - measured_variance(&from(&proposal), &error);

        let p = |l: f64| proposal.density(LogSnr::new(l));
        // h here is the text's, ½‖ε − ε̂‖².
        let gain = |z: f64| {
            quadrature::interval(MIN, MAX, |l| w(l) * (z - w(l) / p(l)) * (0.5 * error(l)).powi(2))
        };
        // The midpoint rule at 20 000 times errs by less.
        assert_close(measured, gain(z), 1e-4);
        assert_eq!((measured / gain(1.0) - 1.0).abs() < 1e-4, normalized, "{}", gain(1.0));

        let exact = from(&cosine).variance(|l| error(l.value()))
            - from(&proposal).variance(|l| error(l.value()));
        assert_close(exact, gain(z), 1e-8);
    }
}

/// An adaptive proposal that has seen each level often, without noise, so that a small uniform share does.
fn settled(weighting: &Weighting, objective: &Schedule, error: impl Fn(f64) -> f64) -> Histogram {
    let mut adaptive = Adaptive::new(objective.range(), 100, 0.9, 0.01).unwrap();
    for level in times::low_discrepancy(0.5, 20_000).map(|u| objective.log_snr(u)) {
        adaptive.observe(level, weighting.at(level, objective) * error(level.value()));
    }
    adaptive.schedule()
}

/// M58: of independent draws none has a lower variance than those of `p* ∝ |h|w`: 0 but for its bins,
/// below all closed-form schedules and the adaptive one. Evenly spread times are another matter: they
/// lower the variance under every schedule, and with errors that are exact functions of the level take
/// the uniform one below `p*` where `|h|w` is next to 0 at both ends.
fn optimal_has_the_lowest_variance(weighting: &Weighting, proposals: &[Schedule]) {
    let error = noise_error(MIN, MAX);
    let linear = Schedule::linear(MAX, MIN).unwrap();
    let variance = |proposal: &dyn NoiseSchedule| {
        let estimator = Estimator::new(weighting.clone(), &linear, proposal).unwrap();
        let measured = measured_variance(&estimator, &error);
        let exact = estimator.variance(|l| error(l.value()));
        // A step of the density between two times: 1/20 000 of the whole, at most 100 of them.
        assert!((measured / exact - 1.0).abs() < 1e-2, "{measured}, {exact}");

        let batch = |u| {
            let draw = |t| estimator.factor(t) * error(estimator.log_snr(t).value());
            times::low_discrepancy(u, 16).map(draw).sum::<f64>() / 16.0
        };
        let spread = 16.0 * moments(times::low_discrepancy(0.5, 500).map(batch)).1;
        (exact, spread)
    };
    let best = importance::optimal(weighting, &linear, 800, |l| error(l.value())).unwrap();
    let (best, _) = variance(&best);
    let (adaptive, _) = variance(&settled(weighting, &linear, &error));
    let (uniform, spread) = variance(&linear);
    assert!(best < 0.1 * adaptive && adaptive < 0.01 * uniform, "{best} {adaptive} {uniform}");
    assert_eq!(spread < best, *weighting == SIGMOID, "{spread}, {best}");
    for proposal in proposals {
        let (other, spread) = variance(proposal);
        assert!(best < 0.01 * other, "{proposal:?}: {other}");
        assert!(spread < other, "{proposal:?}: {spread}, {other}");
    }
}

#[test]
#[ignore = "slow: cargo xtask test --full"]
fn m58_the_optimal_proposal_has_the_lowest_variance() {
    optimal_has_the_lowest_variance(&SIGMOID, &schedules()[..1]);
}

#[test]
#[ignore = "slow: cargo xtask test --full"]
fn m58_the_optimal_proposal_has_the_lowest_variance_of_all() {
    for weighting in [Weighting::Elbo, SIGMOID, EDM] {
        optimal_has_the_lowest_variance(&weighting, &schedules());
    }
}

/// The same with items and noise drawn too, where `p* ∝ w·√E[h²]`: the second moment under any `p`
/// is at least `(½∫w√E[h²])²` (Cauchy and Schwarz), which that proposal reaches.
#[test]
#[ignore = "slow: cargo xtask test --full"]
fn m58_with_noise_of_its_own_the_optimum_is_the_root_mean_square() {
    let (data, mut random) = (data(), Random::new(58));
    let linear = Schedule::linear(MAX, MIN).unwrap();
    let root = tabulated(MIN, MAX, &|level| squared_error(&data, level).sqrt());
    let mean = noise_error(MIN, MAX);
    let loss = 0.5 * quadrature::interval(MIN, MAX, &mean);
    let least = (0.5 * quadrature::interval(MIN, MAX, &root)).powi(2);
    let best = importance::optimal(&Weighting::Elbo, &linear, 400, |l| root(l.value())).unwrap();
    let adaptive = settled(&Weighting::Elbo, &linear, &mean);
    let mut seconds = Vec::new();
    for proposal in [&linear as &dyn NoiseSchedule, &adaptive, &best] {
        let second = quadrature::interval(MIN, MAX, |l| {
            (0.5 * root(l)).powi(2) / proposal.density(LogSnr::new(l))
        });
        seconds.push(second);
        let estimator = Estimator::new(Weighting::Elbo, &linear, proposal).unwrap();
        let squares = (0..20_000).map(|_| {
            let t = random.uniform();
            (estimator.factor(t) * random.noise_error(&data, estimator.log_snr(t)) - loss).powi(2)
        });
        let (variance, spread, n) = moments(squares);
        let off = (variance - (second - loss.powi(2))).abs() / (spread / n).sqrt();
        assert!(off < 5.0, "{proposal:?}: {variance}, {off} s.e. off");
    }
    let [uniform, adaptive, best] = seconds[..] else { unreachable!() };
    assert!(least < best && best < least * 1.0001, "{best}, at least {least}");
    assert!(best < adaptive && adaptive < uniform, "{seconds:?}");
}

/// An adaptive proposal with a share of uniform levels, after `rounds` of training that draw 512 levels
/// from it as it is.
fn adapted(
    (schedule, uniform): (&Schedule, f64),
    rounds: usize,
    random: &mut Random,
    mut weighted_error: impl FnMut(&mut Random, LogSnr) -> f64,
) -> Histogram {
    let mut adaptive = Adaptive::new(schedule.range(), 20, 0.999, uniform).unwrap();
    for _ in 0..rounds {
        let proposal = adaptive.schedule();
        for t in times::low_discrepancy(random.uniform(), 512) {
            let level = proposal.log_snr(t);
            adaptive.observe(level, weighted_error(random, level));
        }
    }
    adaptive.schedule()
}

/// M59: drawn through the adaptive schedule every level shows the same loss where errors are a function
/// of the level, as in the text, and the same root mean square of it where they vary; and the mean has
/// not moved. 1.5 leaves room for the noise of the averages and for the width of a bin.
#[test]
fn m59_the_adaptive_loss_is_flat() {
    let (data, error) = (data(), noise_error(MIN, MAX));
    let cosine = Schedule::cosine(MAX, MIN).unwrap();
    let mut random = Random::new(59);
    let weight = |level: LogSnr| SIGMOID.at(level, &cosine);
    let of_the_level =
        adapted((&cosine, 0.01), 20, &mut random, |_, level| weight(level) * error(level.value()));
    let drawn = adapted((&cosine, 0.01), 200, &mut random, |random, level| {
        weight(level) * random.noise_error(&data, level)
    });
    let root = tabulated(MIN, MAX, &|level| squared_error(&data, level).sqrt());
    let uneven = |proposal: &dyn NoiseSchedule, size: &dyn Fn(f64) -> f64| {
        let estimator = Estimator::new(SIGMOID, &cosine, proposal).unwrap();
        let losses: Vec<f64> = times::low_discrepancy(0.5, 20)
            .map(|share| cosine.range().min() * share + cosine.range().max() * (1.0 - share))
            .map(|level| proposal.time(LogSnr::new(level)))
            .map(|t| estimator.factor(t) * size(estimator.log_snr(t).value()))
            .collect();
        let largest = losses.iter().copied().fold(0.0, f64::max);
        largest / losses.iter().copied().fold(f64::INFINITY, f64::min)
    };
    for (proposal, size) in [(&of_the_level, &error as &dyn Fn(f64) -> f64), (&drawn, &root)] {
        let (before, after) = (uneven(&cosine, size), uneven(proposal, size));
        assert!(before > 5.0 && after < 1.5, "{before}, {after}");

        let estimator = Estimator::new(SIGMOID, &cosine, proposal).unwrap();
        let loss = 0.5 * quadrature::interval(MIN, MAX, |l| weight(LogSnr::new(l)) * error(l));
        // Bin by bin, since some take less than a thousandth of the time.
        let edge = |i: i32| proposal.time(LogSnr::new(MAX + (MIN - MAX) * f64::from(i) / 20.0));
        let in_bin = |i| {
            quadrature::interval(edge(i), edge(i + 1), |t| {
                estimator.factor(t) * error(estimator.log_snr(t).value())
            })
        };
        let mean: f64 = (0..20).map(in_bin).sum();
        assert_close(mean, loss, 1e-9);
    }
}

/// The variance of one draw's loss where `squares` has `E[h²]` for equal cells of the levels, upward.
fn variance_of(proposal: &dyn NoiseSchedule, squares: &[f64], loss: f64) -> f64 {
    let range = proposal.range();
    let cell = (range.max() - range.min()) / squares.len() as f64;
    let second = |(i, square): (usize, &f64)| {
        square / proposal.density(LogSnr::new(range.min() + (i as f64 + 0.5) * cell))
    };
    0.25 * cell * squares.iter().enumerate().map(second).sum::<f64>() - loss.powi(2)
}

/// M59 where errors are rare but large: 1 at every upper level, and at the lower ones 3 for one draw in
/// a hundred, else 0. Levels drawn by the mean error, as in the text, have nearly three times the variance
/// of uniform ones; levels drawn by its root mean square, 0.3, have the least. That is what the adaptive
/// proposal comes to from single draws, but for its share of uniform levels.
#[test]
fn m59_rare_large_errors_call_for_the_root_mean_square() {
    let uniform = Schedule::linear(1.0, -1.0).unwrap();
    let histogram = |lower| Histogram::new(uniform.range(), vec![lower, 1.0]).unwrap();
    let variance = |proposal: &dyn NoiseSchedule| variance_of(proposal, &[0.09, 1.0], 0.5 * 1.03);
    let error = |random: &mut Random, level: LogSnr| match level.value() {
        level if level > 0.0 => 1.0,
        _ if random.uniform() < 0.01 => 3.0,
        _ => 0.0,
    };
    let adaptive =
        variance(&adapted((&uniform, Adaptive::UNIFORM), 100, &mut Random::new(60), error));
    let [by_mean, least] = [0.03, 0.3].map(|lower| variance(&histogram(lower)));
    let uniform = variance(&uniform);
    assert!(by_mean > 2.5 * uniform, "{by_mean}, uniform {uniform}");
    assert!(least < 0.6 * uniform, "{least}, uniform {uniform}");
    // 10/9 of the second moment at most, and the noise of averages over some ten errors each.
    assert!(adaptive < 0.75 * uniform, "{adaptive}, uniform {uniform}, least {least}");
}

/// The same of a denoiser: for data of the two values ±1 the exact one, `tanh(αz/σ²)`, takes one for the
/// other ever more rarely and with an ever larger `‖ε − ε̂‖²` as noise fades. The mean nearly doubles the
/// variance, the root mean square nearly halves it. What single draws have not shown is missed; the uniform
/// share then decides, and a hundredth is too little.
#[test]
fn m59_errors_that_no_draw_has_shown_call_for_a_uniform_share() {
    const BINS: usize = 20;
    let uniform = Schedule::linear(3.0, -4.0).unwrap();
    // h = SNR·(x − x̂)² for x = 1, or for −1 with −ε.
    let error = |log_snr: f64, eps: f64| {
        let snr = log_snr.exp();
        snr * (1.0 - (snr + snr.sqrt() * eps).tanh()).powi(2)
    };
    // Four levels to a bin. The midpoint rule over ±9 standard deviations is exact to rounding for
    // functions as smooth as these.
    let moments = |power: i32| -> Vec<f64> {
        let of = |log_snr: f64| {
            times::low_discrepancy(0.5, 400)
                .map(|u| 18.0 * (u - 0.5))
                .map(|eps| (-0.5 * eps * eps).exp() * error(log_snr, eps).powi(power))
                .sum::<f64>()
                * 18.0
                / (400.0 * TAU.sqrt())
        };
        (0..4 * BINS).map(|i| of(-4.0 + 7.0 * (i as f64 + 0.5) / (4 * BINS) as f64)).collect()
    };
    let (means, squares) = (moments(1), moments(2));
    let loss = 0.5 * 7.0 * means.iter().sum::<f64>() / (4 * BINS) as f64;
    let variance = |proposal: &dyn NoiseSchedule| variance_of(proposal, &squares, loss);
    let in_bins = |moments: &[f64], power: f64| {
        let masses = moments.chunks(4).map(|bin| bin.iter().sum::<f64>().powf(power));
        variance(&Histogram::new(uniform.range(), masses.collect()).unwrap())
    };
    let learned = |share: f64| {
        let draw = |random: &mut Random, at: LogSnr| error(at.value(), random.normal());
        variance(&adapted((&uniform, share), 60, &mut Random::new(60), draw))
    };
    let (by_mean, by_root) = (in_bins(&means, 1.0), in_bins(&squares, 0.5));
    let (small, usual, uniform) = (learned(0.01), learned(Adaptive::UNIFORM), variance(&uniform));
    assert!(by_mean > 1.8 * uniform && by_root < 0.6 * uniform, "{by_mean} {by_root} {uniform}");
    assert!(small > 5.0 * uniform && usual < 1.5 * uniform, "{small} {usual} {uniform}");
}

// ---- augmentation

/// `E‖ε − ε̂‖²` for one item, and `L(t; x)` without its prior term, by quadrature over `λ`.
fn of_item(x: f64) -> (impl Fn(f64) -> f64, impl Fn(f64) -> f64) {
    let data = data();
    let error = move |level: f64| data.noise_error(&[x], &VP.level(level));
    let (error, again) = (tabulated(MIN, MAX, &error), tabulated(MIN, MAX, &error));
    (error, tabulated(MIN, MAX, &|level| 0.5 * quadrature::interval(MIN, level, &again)))
}

/// M61, for one item at a time and any weighting, monotone or not. E11: `L(t; x)` has the prior's
/// divergence in it at every `t`; what is then taken away is that, times `w(λ_min)`.
#[test]
fn m61_e11_integration_by_parts() {
    let cosine = Schedule::cosine(MAX, MIN).unwrap();
    for x in [-1.4, 0.2, 3.0] {
        let (error, above) = of_item(x);
        let prior = bound::prior_kl(LogSnr::new(MIN), x);
        assert!(prior > 1e-6, "{prior}");
        for weighting in MONOTONE.into_iter().chain(OTHERS) {
            let w = |l: f64| weighting.at(LogSnr::new(l), &cosine);
            let left = 0.5 * quadrature::interval(MIN, MAX, |l| w(l) * error(l));
            let by_parts = |loss: &dyn Fn(f64) -> f64| {
                let moving = quadrature::interval(0.0, 1.0, |t| {
                    let level = cosine.log_snr(t);
                    let rate = weighting.slope(level, &cosine) * cosine.slope(t);
                    rate * loss(level.value())
                });
                moving + w(MAX) * loss(MAX)
            };
            let scale = w(MIN).max(w(MAX)).max(left);
            let right = by_parts(&above);
            assert!((left - right).abs() < 1e-9 * scale, "{weighting:?}: {left}, {right}");

            let with_prior = by_parts(&|level| above(level) + prior);
            let off = with_prior - left - w(MIN) * prior;
            assert!(off.abs() < 1e-9 * scale, "{weighting:?} with the prior: {off}");
        }
    }
}

/// E5: the integral that makes `w(λ_t)` runs from 0 to `t`, and leaves out the point mass.
#[test]
fn e05_the_weight_is_an_integral_up_to_t() {
    let linear = Schedule::linear(MAX, MIN).unwrap();
    let noise = Augmentation::new(SIGMOID, &linear).unwrap();
    let t = 0.52;
    let upper = linear.log_snr(t).value();
    assert!((0.2..0.3).contains(&upper), "a level that is a time as well");
    let wanted = SIGMOID.at(linear.log_snr(t), &linear) / SIGMOID.at(LogSnr::new(MIN), &linear);
    let integral =
        |upper| noise.point_mass() + quadrature::interval(0.0, upper, |t| noise.density(t));
    assert_close(integral(t), wanted, 1e-12);
    assert_close(noise.cdf(t), wanted, 1e-12);
    assert!((integral(upper) / wanted - 1.0).abs() > 0.5);
}

/// E6: `w(λ_max) L(0; x)` is all of the loss for `w ≡ 1`, and no constant: another model, another term.
#[test]
fn e06_the_point_mass_is_neither_small_nor_constant() {
    let linear = Schedule::linear(MAX, MIN).unwrap();
    let (error, above) = of_item(0.2);
    let noise = Augmentation::new(Weighting::Elbo, &linear).unwrap();
    let whole =
        Estimator::new(Weighting::Elbo, &linear, &linear).unwrap().mean(|l| error(l.value()));
    assert_close(noise.point_mass() * above(MAX), whole, 1e-9);
    assert!(noise.density(0.5).abs() < f64::EPSILON && whole > 0.5, "{whole}");

    let other = GaussianMixture::new(vec![1.0], vec![vec![2.0]], vec![1.0]).unwrap();
    let worse = 0.5 * quadrature::interval(MIN, MAX, |l| other.noise_error(&[0.2], &VP.level(l)));
    assert!((worse / whole - 1.0).abs() > 0.1, "{worse}, {whole}");
    // A weight that has vanished by λ_max does leave next to none.
    assert!(Augmentation::new(Weighting::Indi, &linear).unwrap().point_mass() < 1e-4);
}

/// M62: scaled to 1 at its largest, a monotone weight is a distribution function with a point mass at
/// `t = 0`; its quantiles are draws of it.
#[test]
fn m62_a_monotone_weight_is_a_distribution() {
    for schedule in [Schedule::cosine(MAX, MIN).unwrap(), Schedule::linear(MAX, MIN).unwrap()] {
        for weighting in MONOTONE {
            let noise = Augmentation::new(weighting.clone(), &schedule).unwrap();
            let w = |l| weighting.at(LogSnr::new(l), &schedule);
            assert_close(noise.point_mass(), w(MAX) / w(MIN), 1e-12);
            let spread = quadrature::interval(0.0, 1.0, |t| noise.density(t));
            // 1e-7: the kink of EDM's flat top.
            assert!((spread + noise.point_mass() - 1.0).abs() < 1e-7, "{weighting:?}: {spread}");
            assert!((noise.cdf(1.0) - 1.0).abs() < 1e-15 && noise.cdf(-1e-9) == 0.0);

            let n = 400;
            let draws: Vec<f64> = times::low_discrepancy(0.5, n).map(|u| noise.time(u)).collect();
            for t in [0.0, 0.05, 0.3, 0.5, 0.77, 0.9, 1.0] {
                let below = draws.iter().filter(|draw| **draw <= t).count() as f64 / n as f64;
                let off = (below - noise.cdf(t)).abs();
                assert!(off <= 0.5 / n as f64 + 1e-9, "{weighting:?} F({t}): off by {off}");
            }
        }
    }
}

/// M63: the weighted loss is the bound on noisy data. On one side the denoiser's errors; on the other
/// the exact densities of noisy data, whose negative logarithm the bound is for a model that starts
/// from `q(z_1)`, less the entropy of the noise, with no denoiser at all.
#[test]
fn m63_a_weighted_loss_is_a_bound_on_noisy_data() {
    let (data, error) = (data(), noise_error(MIN, MAX));
    let cosine = Schedule::cosine(MAX, MIN).unwrap();
    let nats = tabulated(MIN, MAX, &|level| information(&data, level));
    for weighting in MONOTONE {
        let noise = Augmentation::new(weighting.clone(), &cosine).unwrap();
        let w = |l: f64| weighting.at(LogSnr::new(l), &cosine);
        let loss = 0.5 * quadrature::interval(MIN, MAX, |l| w(l) * error(l));
        let noisy =
            quadrature::interval(0.0, 1.0, |t| noise.density(t) * nats(cosine.log_snr(t).value()));
        let expected = noisy + noise.point_mass() * nats(MAX);
        assert_close(w(MIN) * (expected - nats(MIN)), loss, 1e-7);
    }
}

/// M64: how much mass is negative, and where, from closed forms and from 2000 differences.
#[test]
fn m64_weights_that_rise_are_reported() {
    let cosine = Schedule::cosine(MAX, MIN).unwrap();
    let sech = |x: f64| x.cosh().recip();
    let p2 = |l: f64| sech(0.5 * l) / (1.0 + l.exp());
    let mode = -3.0_f64.ln();
    let expected = [
        (Weighting::IddpmCosine, 0.0, 1.0 - sech(0.5 * MIN)),
        (EDM, -3.307_777_516_380_888_5, f64::NAN),
        (Weighting::P2 { gamma: 1.0, k: 1.0 }, mode, 1.0 - p2(MIN) / p2(mode)),
        (Weighting::MinSnr { gamma: 5.0 }, 0.0, 1.0 - sech(0.5 * MIN)),
    ];
    for (weighting, peak, mass) in expected {
        let rises = weighting.rises(range(), &cosine).unwrap();
        assert_eq!(rises.len(), 1, "{weighting:?}");
        assert_eq!(rises[0].levels.min(), MIN, "{weighting:?}");
        assert!((rises[0].levels.max() - peak).abs() < 1e-12, "{weighting:?}: {rises:?}");
        let w = |t: f64| weighting.at(cosine.log_snr(t), &cosine);
        let (n, mut negative, mut largest) = (2000, 0.0, 0.0_f64);
        for i in 0..n {
            let (before, after) =
                (w(f64::from(i) / f64::from(n)), w(f64::from(i + 1) / f64::from(n)));
            negative += (before - after).max(0.0);
            largest = largest.max(before).max(after);
        }
        assert!((rises[0].mass - negative / largest).abs() < 1e-5, "{weighting:?}");
        assert!(mass.is_nan() || (rises[0].mass - mass).abs() < 1e-12, "{weighting:?}");
        let error = Augmentation::new(weighting.clone(), &cosine).unwrap_err();
        assert!(matches!(error, Error::NotMonotone { from, .. } if from == MIN), "{error}");
        // Above its mode the same weight is monotone.
        let above = Schedule::linear(MAX, peak).unwrap();
        assert!(Augmentation::new(weighting.clone(), &above).is_ok(), "{weighting:?}");
    }
    // DDPM's weight is whatever its schedule's density is, jumps included.
    let [linear, normal] = ["linear", "normal"].map(|kind| {
        let is = |schedule: &Schedule| serde_json::to_value(schedule).unwrap()["kind"] == kind;
        schedules().into_iter().find(is).unwrap()
    });
    assert!(Augmentation::new(Weighting::Simple, &linear).is_ok());
    let rises = Weighting::Simple.rises(range(), &normal).unwrap();
    assert!((rises[0].levels.max() - 2.4).abs() < 1e-6, "{rises:?}");
    let steps = Histogram::new(range(), vec![2.0, 1.0, 4.0, 3.0]).unwrap();
    let rises = Weighting::Simple.rises(range(), &steps).unwrap();
    assert!(rises.len() == 1 && (rises[0].mass - 0.75).abs() < 1e-12, "{rises:?}");
    let (from, to) = (rises[0].levels.min(), rises[0].levels.max());
    assert!(from <= 0.5 && 0.5 <= to && to - from < 0.02, "{rises:?}");
}

/// M65: in `T` steps, by summation by parts. The left side weights squared errors by `expm1(λ_s − λ_t)`;
/// the right side adds divergences between the Gaussians of each step, under the masses that the
/// augmentation's distribution function leaves on the grid.
#[test]
fn m65_the_same_holds_in_discrete_time() {
    let (data, error) = (data(), noise_error(MIN, MAX));
    let cosine = Schedule::cosine(MAX, MIN).unwrap();
    let steps = 12;
    let level = |i: usize| cosine.log_snr(i as f64 / steps as f64);
    // L_T from each point of the grid on: divergences of q(z_s|z_t, x) from q(z_s|z_t, x̂).
    let mut from = vec![0.0; steps + 1];
    for i in (1..=steps).rev() {
        let [s, t] = [i - 1, i].map(|i| VP.level(level(i).value()));
        let step = Posterior::between(&s, &t);
        from[i - 1] = from[i] + 0.5 * step.on_x.powi(2) / step.var * data.mmse(&t);
    }
    for weighting in MONOTONE {
        let w = |i| weighting.at(level(i), &cosine);
        let loss: f64 = (1..=steps)
            .map(|i| {
                w(i) * bound::discrete_factor(level(i - 1), level(i)) * error(level(i).value())
            })
            .sum();
        let noise = Augmentation::new(weighting.clone(), &cosine).unwrap();
        let cdf = |i: usize| noise.cdf(i as f64 / steps as f64);
        let mass = |i: usize| if i == 0 { cdf(1) } else { cdf(i + 1) - cdf(i) };
        let masses: Vec<f64> = (0..steps).map(mass).collect();
        assert!((masses.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(masses.iter().all(|mass| *mass >= 0.0), "{weighting:?}: {masses:?}");
        let expected: f64 = masses.iter().zip(&from).map(|(mass, loss)| mass * loss).sum();
        assert_close(w(steps) * expected, loss, 1e-9);
    }
}

/// What is not a range to decide monotonicity on, or not a schedule to have a distribution on, says so.
#[test]
fn infinite_ranges_are_refused() {
    let whole = Cosine::default();
    assert!(matches!(SIGMOID.rises(whole.range(), &whole), Err(Error::ScheduleRange { .. })));
    assert!(matches!(Augmentation::new(SIGMOID, &whole), Err(Error::ScheduleRange { .. })));
    let cut = Truncated::new(whole, range()).unwrap();
    assert!(Augmentation::new(SIGMOID, &cut).is_ok());
    let none = Weighting::MinSnr { gamma: 0.0 };
    let refused = |error: Error| error.to_string().starts_with("weighting.gamma = 0: ");
    assert!(none.rises(range(), &whole).is_err_and(refused));
    assert!(Estimator::new(none, &cut, &cut).is_err_and(refused));
}
