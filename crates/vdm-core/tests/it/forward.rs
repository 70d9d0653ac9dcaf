//! The forward process and one step back: levels, transitions, posteriors, parameterizations and
//! schedules, every item of the monograph's §2.1 and §2.2 with its errata. Each equation is
//! computed from both of its sides, one of which uses no formula of the crate that it tests.

use std::f64::consts::FRAC_PI_2;

use proptest::prelude::*;
use vdm_core::hlvm::diffusion::Chain;
use vdm_core::hlvm::{Conditional, Factor, Graph, Joint, Linear, Normal};
use vdm_core::likelihood::Discretized;
use vdm_core::schedule::{
    self, Betas, CosineInterpolated, Discrete, LogSnrRange, Monotone, NoiseSchedule,
};
use vdm_core::{
    Affine, Denoiser, Dual, Error, GaussianMixture, Latent, LogSnr, NoiseLevel, Parameterization,
    Posterior, Preconditioning, Prediction, Scalar, Scaling, Schedule, Transition, bound,
    quadrature,
};

use crate::random::Random;

const VP: Scaling = Scaling::VariancePreserving;
const UNIT: Scaling = Scaling::UnitVariance { data_std: 0.6 };
const SCALINGS: [Scaling; 5] =
    [VP, Scaling::VarianceExploding, Scaling::StraightLine, Scaling::SubVariancePreserving, UNIT];

type Family = (&'static str, fn(f64) -> NoiseLevel);

/// A level under each scaling, and under scales of one's own that follow none of them.
const FAMILIES: [Family; 6] = [
    ("variance preserving", |l| VP.level(l)),
    ("variance exploding", |l| Scaling::VarianceExploding.level(l)),
    ("straight line", |l| Scaling::StraightLine.level(l)),
    ("sub-variance preserving", |l| Scaling::SubVariancePreserving.level(l)),
    ("unit variance", |l| UNIT.level(l)),
    ("own", |l| NoiseLevel::from_scales(0.7 * f64::exp(0.3 * l), 0.7 * f64::exp(-0.2 * l))),
];

const EVERY: [Parameterization; 8] = [
    Parameterization::Image,
    Parameterization::Noise,
    Parameterization::Score,
    Parameterization::EnergyGradient,
    Parameterization::Velocity,
    Parameterization::Flow,
    Parameterization::Edm { data_std: DATA_STD },
    Parameterization::Combination { image: -0.3, noise: 1.2 },
];
const DATA_STD: f64 = 0.5;

#[track_caller]
fn assert_close(got: f64, wanted: f64, tolerance: f64, what: &str) {
    let allowed = tolerance * (1.0 + wanted.abs());
    assert!((got - wanted).abs() <= allowed, "{what}: {got} for {wanted}");
}

fn line() -> GaussianMixture {
    GaussianMixture::new(vec![0.3, 0.7], vec![vec![-1.2], vec![0.6]], vec![0.3, 0.5]).unwrap()
}

fn plane() -> GaussianMixture {
    let means = vec![vec![-1.0, 0.5], vec![0.8, -0.2], vec![0.1, 1.4]];
    GaussianMixture::new(vec![0.3, 0.5, 0.2], means, vec![0.4, 0.3, 0.6]).unwrap()
}

/// `E f(x)` over one-dimensional data.
fn over_data(data: &GaussianMixture, f: impl Fn(f64) -> f64) -> f64 {
    let part = |(weight, mean, std): (f64, &[f64], f64)| {
        weight * quadrature::normal(1, |eps| f(mean[0] + std * eps[0]))
    };
    data.components().map(part).sum()
}

/// `E[f(x) | z]` by Bayes' rule, from `q(z|x)` alone.
fn over_posterior(data: &GaussianMixture, z: f64, at: &NoiseLevel, f: impl Fn(f64) -> f64) -> f64 {
    let likelihood = |x: f64| Normal::new(at.alpha * x, at.sigma.powi(2)).log_density(&z).exp();
    over_data(data, |x| f(x) * likelihood(x)) / over_data(data, likelihood)
}

/// The largest distance between the empirical distribution function of samples and `cdf`, times
/// `√n`. Above 2 it is by chance once in 1,500 times, and with the fixed seeds of this file never.
fn kolmogorov(mut samples: Vec<f64>, cdf: impl Fn(f64) -> f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let n = samples.len() as f64;
    let distance = |(i, x): (usize, &f64)| {
        let below = cdf(*x);
        (below - i as f64 / n).max((i + 1) as f64 / n - below)
    };
    n.sqrt() * samples.iter().enumerate().map(distance).fold(0.0, f64::max)
}

fn schedule(json: &str) -> Schedule {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

/// Every kind a configuration can name, those that can be cut to a range in all four ways.
fn configurations() -> Vec<String> {
    let cut = [
        r#""kind": "cosine", "shift": 0.7"#,
        r#""kind": "vp_linear", "beta_min": 0.1, "beta_max": 20.0"#,
        r#""kind": "iddpm_cosine", "offset": 0.008"#,
        r#""kind": "sigmoid", "start": -3.0, "end": 3.0, "tau": 0.7"#,
        r#""kind": "normal", "mean": 2.4, "std": 2.4"#,
        r#""kind": "laplace", "mean": 0.3, "std": 1.5"#,
        r#""kind": "straight_line", "shift": -1.0"#,
        r#""kind": "karras", "sigma_min": 0.002, "sigma_max": 80.0, "rho": 7.0"#,
        r#""kind": "polyexponential", "sigma_min": 0.01, "sigma_max": 80.0, "rho": 1.5"#,
    ];
    let ends = [
        "",
        r#", "log_snr_max": 6.0"#,
        r#", "log_snr_min": -5.0"#,
        r#", "log_snr_max": 6.0, "log_snr_min": -5.0"#,
    ];
    let whole = [
        r#""kind": "linear", "log_snr_max": 6.0, "log_snr_min": -5.0"#,
        r#""kind": "cosine_interpolated", "log_snr_max": 6.0, "log_snr_min": -5.0,
           "shift_data": 1.0, "shift_noise": -2.0"#,
        r#""kind": "monotone", "log_snr_max": 6.0, "log_snr_min": -5.0,
           "increments": [0.3, -2.0, 2.0, 1.0, -1.0]"#,
        r#""kind": "histogram", "log_snr_max": 6.0, "log_snr_min": -5.0,
           "masses": [1.0, 0.2, 3.0, 2.0]"#,
        r#""kind": "discrete",
           "betas": {"linear": {"steps": 12, "beta_start": 0.001, "beta_end": 0.5}}"#,
        r#""kind": "discrete", "zero_terminal_snr": true,
           "betas": {"scaled_linear": {"steps": 9, "beta_start": 0.01, "beta_end": 0.5}}"#,
        r#""kind": "discrete", "betas": {"cosine": {"steps": 7, "offset": 0.008, "cap": 0.99}}"#,
        r#""kind": "discrete",
           "betas": {"sigmoid": {"steps": 8, "beta_start": 0.01, "beta_end": 0.4}}"#,
        r#""kind": "discrete", "betas": {"custom": [0.01, 0.2, 0.1, 0.5]}"#,
    ];
    let in_every_way = |kind: &str| ends.map(|ends| format!("{{{kind}{ends}}}"));
    let whole = whole.map(|kind| format!("{{{kind}}}"));
    cut.into_iter().flat_map(in_every_way).chain(whole).collect()
}

// The forward process.

/// M13: mean, variance and, through the characteristic function, the whole distribution of `αx + σε`, with
/// the scales solved from `α²/σ² = e^λ` by hand. 1e-13: a quadrature of 91 roundings.
#[test]
fn m13_a_latent_is_gaussian_around_the_scaled_image() {
    for log_snr in [-3.0_f64, 0.4, 5.0] {
        let (root, inverse) = (f64::exp(0.5 * log_snr), f64::exp(-0.5 * log_snr));
        let sub = ((1.0 + 4.0 * root * root).sqrt() - 1.0) / (2.0 * root);
        let scales = [
            (1.0 / (1.0 + inverse.powi(2)).sqrt(), 1.0 / (1.0 + root.powi(2)).sqrt()),
            (1.0, inverse),
            (1.0 / (1.0 + inverse), 1.0 / (1.0 + root)),
            (sub, 1.0 - sub * sub),
            (1.0 / (0.36 + inverse.powi(2)).sqrt(), 1.0 / (1.0 + 0.36 * root.powi(2)).sqrt()),
            (0.7 * f64::exp(0.3 * log_snr), 0.7 * f64::exp(-0.2 * log_snr)),
        ];
        for ((name, level), (alpha, sigma)) in FAMILIES.into_iter().zip(scales) {
            let (at, x) = (level(log_snr), -0.8);
            let z = |eps: &[f64]| f64::lincomb(&[(at.alpha, &x), (at.sigma, &eps[0])]);
            let mean = quadrature::normal(1, z);
            assert_close(mean, alpha * x, 1e-13, name);
            let var = quadrature::normal(1, |eps| (z(eps) - alpha * x).powi(2));
            assert_close(var, sigma * sigma, 1e-13, name);
            let omega = 1.5 / sigma;
            let cosine = quadrature::normal(1, |eps| f64::cos(omega * z(eps)));
            let wanted = f64::exp(-0.5 * 1.5 * 1.5) * f64::cos(omega * alpha * x);
            assert_close(cosine, wanted, 1e-12, name);
        }
    }
}

/// M14: `α² = (1 − σ²)/V[x]` keeps `V[z] = 1` at every level for data of another variance, which
/// plain variance preservation does not. 1e-11: an integral over the density of the latent.
#[test]
fn m14_unit_variance_holds_for_data_of_any_variance() {
    let data = line();
    let mean = over_data(&data, |x| x);
    let var = over_data(&data, |x| (x - mean).powi(2));
    assert!((var - 1.0).abs() > 0.1, "the data is not of variance 1: {var}");
    let variance = |at: &NoiseLevel| {
        let center = at.alpha * mean;
        quadrature::interval(-14.0, 14.0, |z| {
            (z - center).powi(2) * data.log_density(&[z], at).exp()
        })
    };
    for log_snr in [-6.0, -1.0, 0.5, 3.0, f64::INFINITY] {
        let at = Scaling::UnitVariance { data_std: var.sqrt() }.level(log_snr);
        assert_close(at.alpha.powi(2), (1.0 - at.sigma.powi(2)) / var, 1e-14, "α²");
        assert_close(variance(&at), 1.0, 1e-11, "V[z]");
    }
    assert!((variance(&VP.level(3.0)) - 1.0).abs() > 0.1);
}

/// M15, for every schedule under every scaling, ends included. 1e-12: a logarithm taken back.
#[test]
fn m15_the_signal_to_noise_ratio_falls_strictly() {
    for json in configurations() {
        let schedule = schedule(&json);
        let erased: &dyn NoiseSchedule = &schedule;
        for scaling in SCALINGS {
            let mut before = f64::INFINITY;
            for (i, log_snr) in (0..=96).map(|i| (i, erased.log_snr(f64::from(i) / 96.0))) {
                let at = scaling.level(log_snr.value());
                let ratio = at.alpha / at.sigma;
                assert!(ratio < before || i == 0, "{json}, {scaling:?}, at {i}");
                if log_snr.value().is_finite() {
                    assert!((ratio.powi(2) / log_snr.snr() - 1.0).abs() < 1e-12, "{json} at {i}");
                }
                before = ratio;
            }
        }
    }
}

/// M15: processes as they were published, by their scales as functions of time, are one schedule
/// and one scaling each. 1e-12: their own form loses digits where `σ² = 1 − α²` is small.
#[test]
fn m15_published_processes_are_a_schedule_and_a_scaling() {
    let integral = |t: f64| 0.1 * t + 0.5 * (20.0 - 0.1) * t * t;
    let vp_sde = schedule(r#"{"kind": "vp_linear", "beta_min": 0.1, "beta_max": 20.0}"#);
    type Scales<'a> = &'a dyn Fn(f64) -> (f64, f64);
    let processes: [(Schedule, Scaling, Scales<'_>); 5] = [
        (schedule(r#"{"kind": "cosine"}"#), VP, &|t| (FRAC_PI_2 * t).sin_cos()),
        (vp_sde, VP, &|t| ((1.0 - (-integral(t)).exp()).sqrt(), (-0.5 * integral(t)).exp())),
        (Schedule::geometric(0.01, 50.0).unwrap(), Scaling::VarianceExploding, &|t| {
            (0.01 * 5000.0_f64.powf(t), 1.0)
        }),
        (schedule(r#"{"kind": "straight_line"}"#), Scaling::StraightLine, &|t| (t, 1.0 - t)),
        (Schedule::linear(13.3, -5.0).unwrap(), VP, &|t| {
            let gamma = -13.3 + (5.0 + 13.3) * t;
            ((1.0 + f64::exp(-gamma)).powf(-0.5), (1.0 + gamma.exp()).powf(-0.5))
        }),
    ];
    for (schedule, scaling, scales) in processes {
        for t in [0.05, 0.3, 0.5, 0.8, 0.99] {
            let (sigma, alpha) = scales(t);
            let at = scaling.level(schedule.log_snr(t).value());
            let what = format!("{schedule:?} at {t}");
            assert_close(at.alpha, alpha, 1e-12, &what);
            assert_close(at.sigma, sigma, 1e-12, &what);
            let own = NoiseLevel::from_scales(alpha, sigma);
            assert_close(own.log_snr, at.log_snr, 1e-11, &what);
        }
    }
    // The sub-variance-preserving SDE has a λ of its own.
    for t in [0.05, 0.3, 0.99] {
        let kept = f64::exp(-integral(t));
        let own = NoiseLevel::from_scales(kept.sqrt(), 1.0 - kept);
        let at = Scaling::SubVariancePreserving.level(own.log_snr);
        assert_close(at.alpha, own.alpha, 1e-14, "α of the sub-VP SDE");
        assert_close(at.sigma, own.sigma, 1e-14, "σ of the sub-VP SDE");
    }
}

/// Data `N(0, 0.8)` followed by the forward process: nodes `x, z_s, z_t, …`.
fn forward_joint(levels: &[NoiseLevel]) -> Joint {
    let chain = Chain::new(levels, 1).unwrap();
    let mut factors = vec![Factor::new(0, [], Linear::new(0.0, [], 0.8))];
    factors.extend(chain.bottom_up().factors().iter().cloned());
    Graph::new(factors).unwrap().joint().unwrap()
}

/// M16: `q(z_u|z_s) = ∫ q(z_u|z_t) q(z_t|z_s) dz_t`, as densities, as moments and as a regression
/// in the joint distribution of all latents; 1e-12, a digit or two above the roundings of each.
#[test]
fn m16_transitions_compose() {
    for (name, level) in FAMILIES {
        let [s, t, u] = [2.5, 1.0, -1.5].map(level);
        let [ts, ut, us] = [(s, t), (t, u), (s, u)].map(|(a, b)| Transition::between(&a, &b));
        assert_close(us.alpha_ts, u.alpha / s.alpha, 1e-15, name);
        let printed = u.sigma.powi(2) - (u.alpha / s.alpha * s.sigma).powi(2);
        assert_close(us.var_ts, printed, 1e-13, name);

        let (z_s, direct) = (0.7, Normal::new(us.alpha_ts * 0.7, us.var_ts));
        let middle = Normal::new(ts.alpha_ts * z_s, ts.var_ts);
        for widths in [-2.0, 0.1, 1.5] {
            let z_u = direct.reparameterize(widths);
            let density = |eps: &[f64]| {
                let z_t = middle.reparameterize(eps[0]);
                Normal::new(ut.alpha_ts * z_t, ut.var_ts).log_density(&z_u).exp()
            };
            let composed = quadrature::normal(1, density);
            assert_close(composed / direct.log_density(&z_u).exp(), 1.0, 1e-12, name);
        }

        let exact = forward_joint(&[s, t, u]).conditional(3, &[1]);
        assert_close(exact.weights[0], us.alpha_ts, 1e-12, name);
        assert_close(exact.var, us.var_ts, 1e-12, name);
    }
}

/// M17: a latent reached in `T` steps has the distribution of one reached at once, by Kolmogorov and
/// Smirnov's test, which does reject steps of variance `σ_t²` in place of `σ²_{t|s}`.
#[test]
fn m17_steps_forward_agree_with_the_marginal() {
    let (x, n) = (0.9, 3_000);
    let mut random = Random::new(17);
    for (name, level) in FAMILIES {
        for steps in [1, 2, 5, 20] {
            let levels: Vec<NoiseLevel> =
                (1..=steps).map(|i| level(4.0 - 6.0 * f64::from(i) / f64::from(steps))).collect();
            let first = level(4.0);
            let mut forward = |var: &dyn Fn(&NoiseLevel, &NoiseLevel) -> f64| {
                let mut s = first;
                let mut z: Vec<f64> =
                    (0..n).map(|_| s.alpha * x + s.sigma * random.normal()).collect();
                for t in &levels {
                    let (alpha_ts, std) = (t.alpha / s.alpha, var(&s, t).sqrt());
                    z.iter_mut().for_each(|z| *z = alpha_ts * *z + std * random.normal());
                    s = *t;
                }
                kolmogorov(z, |z| ((z - s.alpha * x) / s.sigma).normal_cdf())
            };
            let right = forward(&|s, t| Transition::between(s, t).var_ts);
            assert!(right < 2.0, "{name}, T = {steps}: {right}");
            if steps == 20 {
                let wrong = forward(&|_, t| t.sigma.powi(2));
                assert!(wrong > 4.0, "{name}, with σ_t²: {wrong}");
            }
        }
    }
}

/// M18: by conjugacy, from `q(z_t|z_s)` as a likelihood of `z_s` and `q(z_s|x)` as its prior, and
/// by regression. 1e-11: `σ_t² − α²_{t|s}σ_s²` cancels one digit here, a regression some more.
#[test]
fn m18_the_posterior_is_conjugate() {
    let (z_t, x) = (-0.4, 0.7);
    for (name, level) in FAMILIES {
        for (s, t) in [(3.0, 1.0), (0.5, -4.0), (0.2, 0.1)] {
            let (s, t) = (level(s), level(t));
            let alpha_ts = t.alpha / s.alpha;
            let var_ts = t.sigma.powi(2) - (alpha_ts * s.sigma).powi(2);
            let likelihood = Normal::new(z_t / alpha_ts, var_ts / alpha_ts.powi(2));
            let conjugate = likelihood.product(&Normal::new(s.alpha * x, s.sigma.powi(2)));
            let joint = forward_joint(&[s, t]).conditional(1, &[2, 0]).given(&[z_t, x]);

            let q = Posterior::between(&s, &t);
            for exact in [conjugate, joint] {
                assert_close(q.on_z * z_t + q.on_x * x, exact.mean, 1e-11, name);
                assert!((q.var / exact.var - 1.0).abs() < 1e-11, "{name}: {}", q.var);
            }
        }
    }
}

/// M19: Bayes' rule pointwise, with the three distributions it starts from written out. 1e-11: logarithms of
/// densities up to about 100 nats, of which the terms cancel.
#[test]
fn m19_bayes_identity_holds_pointwise() {
    for (name, level) in FAMILIES {
        let (s, t) = (level(2.0), level(-1.0));
        let alpha_ts = t.alpha / s.alpha;
        let step =
            |z_s: f64| Normal::new(alpha_ts * z_s, t.sigma.powi(2) - (alpha_ts * s.sigma).powi(2));
        let q = Posterior::between(&s, &t);
        for (x, z_s, z_t) in [(0.3, 0.1, -0.2), (-1.0, 1.5, 0.8), (2.0, -0.7, -2.5)] {
            let marginal = |at: &NoiseLevel| Normal::new(at.alpha * x, at.sigma.powi(2));
            let bayes = step(z_s).log_density(&z_t) + marginal(&s).log_density(&z_s)
                - marginal(&t).log_density(&z_t);
            let posterior = Normal::new(q.on_z * z_t + q.on_x * x, q.var);
            assert_close(posterior.log_density(&z_s), bayes, 1e-11, name);
        }
    }
}

/// M21: VDM's form, in `γ`. 4 ulp: an exponential, a quotient and a root.
#[test]
fn m21_scales_are_sigmoids_of_gamma() {
    let schedule = Schedule::linear(13.3, -5.0).unwrap();
    for t in [0.0, 0.2, 0.7, 1.0] {
        let level = schedule.log_snr(t);
        let gamma = -13.3 + (5.0 + 13.3) * t;
        assert_close(level.gamma(), gamma, 4e-16, "γ");
        let at = VP.level(LogSnr::from_gamma(gamma).value());
        let logistic = |u: f64| 1.0 / (1.0 + (-u).exp());
        let relative = |got: f64, wanted: f64| (got / wanted - 1.0).abs() < 1e-15;
        assert!(relative(at.sigma.powi(2), logistic(gamma)), "σ² at {t}");
        assert!(relative(at.alpha.powi(2), logistic(-gamma)), "α² at {t}");
        assert!((level.snr() / f64::exp(-gamma) - 1.0).abs() < 1e-14, "SNR at {t}");
        assert!((level.edm_sigma() / f64::exp(0.5 * gamma) - 1.0).abs() < 1e-14, "σ/α at {t}");
    }
}

/// Endpoints to the bit, a strict fall, and slopes that are the shares of the softplus computed
/// here. 1e-12: a knot rounds to 1e-15 and a slope divides by the width of a segment.
fn assert_monotone(range: LogSnrRange, increments: &[f64]) -> Result<(), Error> {
    let schedule = Monotone::new(range, increments.to_vec())?;
    assert_eq!(schedule.log_snr(0.0).value().to_bits(), range.max().to_bits());
    assert_eq!(schedule.log_snr(1.0).value().to_bits(), range.min().to_bits());
    let n = increments.len();
    let at = |quarters: usize| schedule.log_snr(quarters as f64 / (4 * n) as f64).value();
    for i in 0..4 * n {
        // Of a fall too small for its quarters to be told apart, the ends of the segment remain.
        let strictly = at(i - i % 4) - at(i - i % 4 + 4) > 1e-13;
        assert!(at(i) > at(i + 1) || !strictly, "{increments:?} at {i}");
        assert!(at(i) >= at(i + 1), "{increments:?} at {i}");
    }
    let softplus = |w: &f64| if *w > 30.0 { *w } else { w.exp().ln_1p() };
    let total: f64 = increments.iter().map(softplus).sum();
    for (i, w) in increments.iter().enumerate() {
        let slope = schedule.slope((i as f64 + 0.5) / n as f64);
        let wanted = (range.min() - range.max()) * softplus(w) / total * n as f64;
        assert!(slope < 0.0);
        assert_close(slope, wanted, 1e-12, &format!("slope {i} of {increments:?}"));
    }
    Ok(())
}

#[test]
fn m22_adversarial_increments_give_a_legal_schedule() {
    let range = LogSnrRange::new(13.3, -5.0).unwrap();
    for increments in [
        vec![0.0],
        vec![-700.0; 5],
        vec![30.0, -3.0, 30.0, -3.0],
        vec![1e6, 1.0],
        vec![1e300, 1e299],
        vec![-20.0, 10.0, -20.0],
        (0..50).map(|i| if i % 2 == 0 { -15.0 } else { 15.0 }).collect(),
    ] {
        assert_monotone(range, &increments).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// M22: increments as an optimizer may leave them, and such as it should not: these are refused
    /// if a share vanishes, and never give a schedule that rises or rests.
    #[test]
    fn m22_random_increments_give_a_legal_schedule(
        usual in prop::collection::vec(-10.0..10.0_f64, 1..20),
        wild in prop::collection::vec(-700.0..700.0_f64, 1..6),
    ) {
        let range = LogSnrRange::new(9.0, -6.0).unwrap();
        prop_assert!(assert_monotone(range, &usual).is_ok());
        if let Err(error) = assert_monotone(range, &wild) {
            prop_assert!(error.to_string().starts_with("schedule.increments = ["), "{error}");
        }
    }
}

// The generative model in discrete time.

/// M24: `t(i) = i/T` and `s(i) = (i − 1)/T`, so the model is asked at `1, …, 1/T` and never at 0.
/// The times are exact in binary; 1e-13 for a quotient of exponentials.
#[test]
fn m24_the_grid_starts_at_one_and_never_asks_at_zero() {
    let schedule = Schedule::linear(6.0, -2.0).unwrap();
    let mut asked = vec![];
    let nothing = bound::discrete(&schedule, 4, |level| {
        asked.push(schedule.time(level));
        0.0
    });
    asked.sort_by(|a, b| b.total_cmp(a));
    assert_eq!(asked, [1.0, 0.75, 0.5, 0.25]);
    assert_eq!(nothing.to_bits(), 0.0_f64.to_bits());
    for i in 1..=4 {
        let [s, t] = [i - 1, i].map(|i| schedule.log_snr(f64::from(i) / 4.0));
        let share = bound::discrete(&schedule, 4, |level| f64::from(u8::from(level == t)));
        assert_close(share, 0.5 * (s.snr() / t.snr() - 1.0), 1e-13, "share of a step");
    }
    for steps in [1, 3, 49, 1000] {
        let mut asked = vec![];
        let _ = bound::discrete(&schedule, steps, |level| {
            asked.push(level);
            0.0
        });
        asked.sort_by(|a, b| a.value().total_cmp(&b.value()));
        assert_eq!(asked.len(), steps);
        assert_eq!(asked[0], schedule.log_snr(1.0));
        assert_eq!(asked[steps - 1], schedule.log_snr(1.0 / steps as f64));
    }
}

/// M25: against the integral that it is, and its limit: `½α²x²`, for `x = 0` `¼α⁴`, which vanish
/// with the SNR. 1e-13 absolute, the rounding of the quadrature; 1e-6, what is left of the digits
/// of `¼α⁴` at `α² = 1e-7`.
#[test]
fn m25_the_prior_divergence_vanishes_with_the_signal() {
    for x in [0.0, 0.7, -2.0] {
        let mut before = f64::INFINITY;
        for log_snr in [5.0_f64, 1.0, -2.0, -6.0, -10.0] {
            let at = VP.level(log_snr);
            let q = Normal::new(at.alpha * x, at.sigma.powi(2));
            let integral = quadrature::normal(1, |eps| {
                let z = q.reparameterize(eps[0]);
                q.log_density(&z) - Normal::new(0.0, 1.0).log_density(&z)
            });
            let closed = bound::prior_kl(LogSnr::new(log_snr), x);
            assert!((closed - integral).abs() < 1e-13 * (1.0 + integral), "{closed} {integral}");
            assert!(closed < before, "it falls with the signal");
            before = closed;
        }
        let level = LogSnr::new(-16.0);
        let limit = if x == 0.0 { 0.25 * level.snr().powi(2) } else { 0.5 * level.snr() * x * x };
        assert!((bound::prior_kl(level, x) / limit - 1.0).abs() < 2e-6);
        assert_eq!(bound::prior_kl(LogSnr::new(f64::NEG_INFINITY), x), 0.0);
        // Near data `α² = 1 − e^{−λ}` and `−ln σ² = λ + e^{−λ}`, to 1e-17.
        for log_snr in [20.0_f64, 30.0, 37.0, 60.0] {
            let limit = 0.5 * (x * x - 1.0 + log_snr + (2.0 - x * x) * (-log_snr).exp());
            let found = bound::prior_kl(LogSnr::new(log_snr), x);
            assert!((found / limit - 1.0).abs() < 1e-15, "λ = {log_snr}: {found}, not {limit}");
        }
    }
}

/// M26: `p(x = k|z_0) ∝ q(z_0|x = k)` and DDPM's cells, from densities of `z_0` under every
/// scaling, and both sum to one. 1e-11: the residuals of `z_0` are rounded before they are squared.
#[test]
fn m26_discretized_likelihoods_are_normalized_densities() {
    let code = Discretized::new(17).unwrap();
    let values: Vec<f64> = (0..17).map(|k| code.encode(k)).collect();
    for (name, level) in FAMILIES {
        for (log_snr, y) in [(2.0, 0.3), (5.0, -0.55), (5.0, 1.3)] {
            let at = level(log_snr);
            let z = at.alpha * y;
            let density = |x: f64| Normal::new(at.alpha * x, at.sigma.powi(2)).log_density(&z);
            let total: f64 = values.iter().map(|x| density(*x).exp()).sum();
            let mut sum = 0.0;
            for (k, x) in (0..17).zip(&values) {
                let got = code.log_prob(k, y, LogSnr::new(log_snr));
                assert_close(got, density(*x) - total.ln(), 1e-11, name);
                sum += got.exp();
            }
            assert_close(sum, 1.0, 1e-14, name);
        }
    }
    let (y, std) = (0.3, 0.11);
    let mass =
        |a, b| quadrature::interval(a, b, |u| Normal::new(y, std * std).log_density(&u).exp());
    let mut sum = 0.0;
    for (k, x) in (0..17).zip(&values) {
        let low = if k == 0 { -3.0 } else { x - 1.0 / 17.0 };
        let high = if k == 16 { 3.0 } else { x + 1.0 / 17.0 };
        let got = code.log_prob_of_cell(k, y, std).exp();
        assert!((got - mass(low, high)).abs() < 1e-13, "cell {k}: {got}");
        sum += got;
    }
    assert_close(sum, 1.0, 1e-14, "cells");
}

/// M27: the generative step is the posterior with `x̂` for `x`: the factor of a chain on one side,
/// on the other a regression on `(z_t, x)` read at `x = x̂`; 1e-11, a regression loses digits.
#[test]
fn m27_the_generative_step_is_the_posterior_at_the_denoised_image() {
    let data = plane();
    let x_hat = |z: &[f64], at: &NoiseLevel| data.posterior_mean(z, at);
    for (name, level) in FAMILIES {
        let levels = [3.0, 0.5].map(level);
        let chain = Chain::new(&levels, 2).unwrap();
        let (prior, likelihood) = (Normal::new(0.0, 1.0), chain.likelihood());
        let generative = chain.generative(&prior, &x_hat, &likelihood);
        let regression = forward_joint(&levels).conditional(1, &[2, 0]);
        let z_t = [0.4, -0.9];
        let x = data.denoise(&z_t.to_vec(), &levels[1]).unwrap().value;
        for d in 0..2 {
            let p = generative.factor(chain.node(1, d)).unwrap().given.given(&z_t);
            let q = regression.given(&[z_t[d], x[d]]);
            assert_close(p.mean, q.mean, 1e-11, name);
            assert_close(p.var, q.var, 1e-11, name);
        }
    }
}

/// `(o, μ)`: what a network predicts and the mean of the generative step in terms of it, both as
/// the monograph's table has them (erratum E1 corrected), for `s < t`.
fn heads(x: f64, z: f64, s: &NoiseLevel, t: &NoiseLevel) -> [(Parameterization, f64, f64); 7] {
    let (alpha, sigma) = (t.alpha, t.sigma);
    let alpha_ts = alpha / s.alpha;
    let var_ts = sigma.powi(2) - (alpha_ts * s.sigma).powi(2);
    let eps = (z - alpha * x) / sigma;
    let of_image =
        |x: f64| alpha_ts * (s.sigma / sigma).powi(2) * z + s.alpha * var_ts / sigma.powi(2) * x;
    let of_noise = |eps: f64| z / alpha_ts - var_ts / (alpha_ts * sigma) * eps;
    let square = alpha.powi(2) + sigma.powi(2);
    let (v, o) = (alpha * eps - sigma * x, eps - x);
    // Karras et al. 2022 in their own coordinates.
    let (y, std) = (z / alpha, sigma / alpha);
    let root = std.hypot(DATA_STD);
    let (c_skip, c_out) = ((DATA_STD / root).powi(2), std * DATA_STD / root);
    let f = (x - c_skip * y) / c_out;
    [
        (Parameterization::Image, x, of_image(x)),
        (Parameterization::Noise, eps, of_noise(eps)),
        (Parameterization::Score, -eps / sigma, z / alpha_ts + var_ts / alpha_ts * (-eps / sigma)),
        (Parameterization::EnergyGradient, eps / sigma, {
            z / alpha_ts - var_ts / alpha_ts * (eps / sigma)
        }),
        (Parameterization::Velocity, v, of_noise((sigma * z + alpha * v) / square)),
        (Parameterization::Flow, o, of_noise((z + alpha * o) / (alpha + sigma))),
        (Parameterization::Edm { data_std: DATA_STD }, f, of_image(c_skip * y + c_out * f)),
    ]
}

/// M28, M31 and M34: seven heads, one mean, to 1e-12; the crate reads every head as an image.
#[test]
fn m28_every_parameterization_gives_the_same_mean() {
    let (x, z) = (0.35, -0.6);
    for (name, level) in FAMILIES {
        for (s, t) in [(3.0, 1.0), (-0.5, -2.0)] {
            let (s, t) = (level(s), level(t));
            let q = Posterior::between(&s, &t);
            let wanted = q.on_z * z + q.on_x * x;
            for (of, value, by_table) in heads(x, z, &s, &t) {
                let x_hat = Prediction { value, of }.image(&z, &t);
                let what = format!("{of:?}, {name}");
                assert_close(q.on_z * z + q.on_x * x_hat, wanted, 1e-12, &what);
                assert_close(by_table, wanted, 1e-12, &what);
            }
        }
    }
}

/// M29: the mean `(α_s/α_t)(z_t + σ_t expm1(γ_s − γ_t) ε̂)` in one of 100,000 steps. Its
/// coefficient on the noise, rounded to f32, keeps its digits; as printed, `σ²_{t|s}/(α_{t|s}σ_t)`
/// in f32, it keeps three of seven.
#[test]
fn m29_the_mean_keeps_its_digits_in_small_steps() {
    let schedule = Schedule::linear(13.3, -5.0).unwrap();
    let mut naive_worst = 0.0_f32;
    for i in [1_000, 30_000, 60_000, 99_000] {
        let [s, t] = [i - 1, i].map(|i| VP.level(schedule.log_snr(f64::from(i) / 1e5).value()));
        let q = Posterior::between(&s, &t);
        let image = Parameterization::Noise.to(Parameterization::Image, &t);
        let on_z = q.on_z + q.on_x * image.on_z;
        let on_noise = q.on_x * image.on_output;
        let stable = -s.alpha / t.alpha * t.sigma * (t.log_snr - s.log_snr).exp_m1();
        assert!((on_z / (s.alpha / t.alpha) - 1.0).abs() < 1e-12);
        assert!((on_noise / -stable - 1.0).abs() < 1e-12, "{on_noise}, {stable}");
        let rounded = f64::from(on_noise as f32);
        assert!((rounded / -stable - 1.0).abs() < 1e-5);

        let mu = |z: f64, eps: f64| on_z * z + on_noise * eps;
        let single = Vec::lincomb(&[(on_z, &vec![0.8_f32]), (on_noise, &vec![-1.3])])[0];
        assert!(
            (f64::from(single) / mu(f64::from(0.8_f32), f64::from(-1.3_f32)) - 1.0).abs() < 1e-5
        );

        let [alpha_s, sigma_s, alpha_t, sigma_t] =
            [s.alpha, s.sigma, t.alpha, t.sigma].map(|c| c as f32);
        let alpha_ts = alpha_t / alpha_s;
        let naive =
            (sigma_t * sigma_t - alpha_ts * alpha_ts * sigma_s * sigma_s) / (alpha_ts * sigma_t);
        naive_worst = naive_worst.max((naive / stable as f32 - 1.0).abs());
    }
    assert!(naive_worst > 1e-4, "the naive coefficient: {naive_worst}");
}

/// M30: the best image head is the posterior mean `E[x|z]`, and M31: the best noise head `E[ε|z]`;
/// both by Bayes' rule, and they give one mean. 1e-12: two integrals and their quotient.
#[test]
fn m30_m31_the_best_image_and_noise_are_posterior_means() {
    let data = line();
    for (name, level) in FAMILIES {
        let (s, t) = (level(1.0), level(-0.5));
        for y in [-1.5, 0.0, 0.7] {
            let z = t.alpha * y;
            let prediction = data.denoise(&vec![z], &t).unwrap();
            let x_hat = over_posterior(&data, z, &t, |x| x);
            let eps_hat = over_posterior(&data, z, &t, |x| (z - t.alpha * x) / t.sigma);
            assert_close(prediction.image(&vec![z], &t)[0], x_hat, 1e-12, name);
            assert_close(prediction.noise(&vec![z], &t)[0], eps_hat, 1e-12, name);
            let q = Posterior::between(&s, &t);
            let of_noise =
                s.alpha / t.alpha * (z + t.sigma * (t.log_snr - s.log_snr).exp_m1() * eps_hat);
            assert_close(q.on_z * z + q.on_x * x_hat, of_noise, 1e-12, name);
        }
    }
}

/// M32: `∇ log q(z) = E_{q(x|z)}[∇ log q(z|x)] = −ε̂/σ`, the expectation by quadrature, and the
/// gradient by a central difference too, of error `h² + ε/h` = 1e-9.
#[test]
fn m32_the_score_is_the_expected_conditional_score() {
    let data = line();
    for (name, level) in FAMILIES {
        let at = level(-0.5);
        for y in [-1.5, 0.0, 0.7] {
            let z = at.alpha * y;
            let score = data.score(&[z], &at)[0];
            let conditional = |x: f64| (at.alpha * x - z) / at.sigma.powi(2);
            assert_close(score, over_posterior(&data, z, &at, conditional), 1e-12, name);
            let eps_hat = data.denoise(&vec![z], &at).unwrap().noise(&vec![z], &at)[0];
            assert_close(score, -eps_hat / at.sigma, 1e-12, name);
            let log_q = |z: f64| data.log_density(&[z], &at);
            assert_close(score, (log_q(z + 1e-5) - log_q(z - 1e-5)) / 2e-5, 1e-8, name);
        }
    }
}

/// M33: a score that is a gradient has a symmetric Jacobian and integrates along any path to the
/// difference of `−E = log q`; a field without an energy does neither. 1e-8 for central
/// differences.
#[test]
fn m33_the_gradient_of_an_energy_is_free_of_curl() {
    let (data, at) = (plane(), VP.level(0.8));
    let energy_gradient = |z: &[f64; 2]| {
        let z = z.to_vec();
        let gradient = data.denoise(&z, &at).unwrap().to(Parameterization::EnergyGradient, &z, &at);
        [gradient[0], gradient[1]]
    };
    // Two hidden units with output weights that are not the transpose of the input weights.
    let unconstrained = |z: &[f64; 2]| {
        let hidden = [(0.9 * z[0] - 0.4 * z[1]).tanh(), (0.3 * z[0] + 0.8 * z[1] + 0.1).tanh()];
        [0.7 * hidden[0] + 1.1 * hidden[1], -0.5 * hidden[0] + 0.6 * hidden[1]]
    };
    let curl = |field: &dyn Fn(&[f64; 2]) -> [f64; 2], [a, b]: [f64; 2]| {
        let h = 1e-5;
        let along_first = field(&[a + h, b])[1] - field(&[a - h, b])[1];
        let along_second = field(&[a, b + h])[0] - field(&[a, b - h])[0];
        (along_first - along_second) / (2.0 * h)
    };
    let work = |field: &dyn Fn(&[f64; 2]) -> [f64; 2], from: [f64; 2], to: [f64; 2]| {
        let step = [to[0] - from[0], to[1] - from[1]];
        quadrature::interval(0.0, 1.0, |w| {
            let force = field(&[from[0] + w * step[0], from[1] + w * step[1]]);
            force[0] * step[0] + force[1] * step[1]
        })
    };
    let corners = [[-1.0, 0.3], [0.8, 0.9], [0.2, -1.1]];
    for z in corners {
        assert!(curl(&energy_gradient, z).abs() < 1e-8, "{}", curl(&energy_gradient, z));
        assert!(curl(&unconstrained, z).abs() > 0.1, "{}", curl(&unconstrained, z));
    }
    let [a, b, c] = corners;
    let around = |field| work(field, a, b) + work(field, b, c) + work(field, c, a);
    let energy = |z: [f64; 2]| -data.log_density(&z, &at);
    assert_close(work(&energy_gradient, a, b), energy(b) - energy(a), 1e-12, "energy");
    assert!(around(&energy_gradient).abs() < 1e-12);
    assert!(around(&unconstrained).abs() > 0.1);
}

// Conversions.

/// M34: velocity and flow in closed form, for any scales. 1e-14: a few roundings of numbers of
/// order one, since nothing cancels at these levels.
#[test]
fn m34_velocity_and_flow_are_read_by_their_closed_forms() {
    let agree = |got: Affine, on_z: f64, on_output: f64, what: &str| {
        assert_close(got.on_z, on_z, 1e-14, what);
        assert_close(got.on_output, on_output, 1e-14, what);
    };
    for (name, level) in FAMILIES {
        for at in [-2.0, 0.3, 4.0].map(level) {
            let NoiseLevel { alpha, sigma, .. } = at;
            let (sum, square) = (alpha + sigma, alpha.powi(2) + sigma.powi(2));
            let read = |from: Parameterization, to| from.to(to, &at);
            let (v, o) = (Parameterization::Velocity, Parameterization::Flow);
            agree(read(o, Parameterization::Image), 1.0 / sum, -sigma / sum, name);
            agree(read(o, Parameterization::Noise), 1.0 / sum, alpha / sum, name);
            agree(read(v, Parameterization::Image), alpha / square, -sigma / square, name);
            agree(read(v, Parameterization::Noise), sigma / square, alpha / square, name);
            // v = αε − σx with the image and noise of a flow, and the other way round.
            agree(read(o, v), (alpha - sigma) / sum, square / sum, name);
            agree(read(v, o), (sigma - alpha) / square, sum / square, name);
        }
    }
}

/// M35: there and back is the identity, by way of a third too, and the true prediction of one kind
/// becomes that of another. Maps grow like `e^{|λ|/2}`, and roundings with what is added up in
/// them.
#[test]
fn m35_conversions_form_a_group_and_keep_the_truth() {
    let (x, eps) = (0.35, -1.1);
    for ((name, level), log_snr) in
        FAMILIES.into_iter().flat_map(|family| [-6.0, -1.0, 0.0, 2.0, 6.0].map(|l| (family, l)))
    {
        let at = level(log_snr);
        let z = at.alpha * x + at.sigma * eps;
        let truth = |of: Parameterization| match of {
            Parameterization::Combination { image, noise } => image * x + noise * eps,
            of => {
                let all = heads(x, z, &level(log_snr + 1.0), &at);
                all.iter().find(|(head, ..)| *head == of).unwrap().1
            }
        };
        for from in EVERY {
            for to in EVERY {
                let (there, back) = (from.to(to, &at), to.to(from, &at));
                let size = 1.0 + there.on_z.abs() * back.on_output.abs() + back.on_z.abs();
                let what = format!("{from:?} to {to:?}, {name}, λ = {log_snr}");
                let on_z = back.on_z + back.on_output * there.on_z;
                assert!(on_z.abs() < 1e-13 * size, "{what}: {on_z}");
                assert_close(back.on_output * there.on_output, 1.0, 1e-12, &what);

                let terms = [there.on_z * z, there.on_output * truth(from)];
                let size = 1.0 + terms[0].abs() + terms[1].abs();
                assert!((terms[0] + terms[1] - truth(to)).abs() < 1e-12 * size, "{what}");
                for via in EVERY {
                    let (first, second) = (from.to(via, &at), via.to(to, &at));
                    let on_output = second.on_output * first.on_output;
                    assert!((on_output / there.on_output - 1.0).abs() < 1e-11, "{what} by {via:?}");
                }
            }
        }
    }
}

/// M35: affine in the prediction, so a mean of predictions converts to the mean of conversions,
/// whatever the latent type. 1e-13 of the largest term.
#[test]
fn m35_conversions_are_affine_in_the_prediction() {
    let at = UNIT.level(-0.7);
    let (z, a, b) = (vec![0.4, -1.0], vec![0.3, 0.8], vec![-1.7, 0.1]);
    for of in EVERY {
        for to in EVERY {
            let convert =
                |value: &Vec<f64>| Prediction { value: value.clone(), of }.to(to, &z, &at);
            let mixed = convert(&Vec::lincomb(&[(0.3, &a), (0.7, &b)]));
            let wanted = Vec::lincomb(&[(0.3, &convert(&a)), (0.7, &convert(&b))]);
            for (got, wanted) in mixed.iter().zip(&wanted) {
                assert_close(*got, *wanted, 1e-13, &format!("{of:?} to {to:?}"));
            }
        }
    }
}

/// Without noise an image tells nothing of the noise, and no score is finite; a score or an energy
/// gradient still gives the image, and each other.
fn is_lost_without_noise(from: Parameterization, to: Parameterization) -> bool {
    use Parameterization::{EnergyGradient, Image, Score};
    let score = |of| matches!(of, Score | EnergyGradient);
    from != to && (from == Image || (score(to) && !score(from)))
}

/// In pure noise whatever is a multiple of the noise tells nothing of the image, which all others
/// contain.
fn is_lost_without_signal(from: Parameterization, to: Parameterization) -> bool {
    use Parameterization::{EnergyGradient, Noise, Score};
    let noise = |of| matches!(of, Noise | Score | EnergyGradient);
    noise(from) && !noise(to)
}

/// M35: at `λ = ±∞` a conversion is finite if and only if its limit is, and equal to it. The limit
/// is seen at `λ = ±60`, where lost conversions are above 1e12 and the others within 1e-12 of it.
#[test]
fn m35_the_ends_are_finite_wherever_the_limit_is() {
    type Lost = fn(Parameterization, Parameterization) -> bool;
    let ends: [(f64, Lost, usize); 2] =
        [(1.0, is_lost_without_noise, 17), (-1.0, is_lost_without_signal, 15)];
    for (sign, lost, count) in ends {
        for scaling in SCALINGS {
            let (end, near) = (scaling.level(sign * f64::INFINITY), scaling.level(sign * 60.0));
            if end.sigma.is_infinite() {
                continue; // variance exploding has no pure noise
            }
            let mut found = 0;
            for from in EVERY {
                for to in EVERY {
                    let (exact, limit) = (from.to(to, &end), from.to(to, &near));
                    let what = format!("{from:?} to {to:?} at {end:?}");
                    let finite = exact.on_z.is_finite() && exact.on_output.is_finite();
                    assert_eq!(finite, !lost(from, to), "{what}: {exact:?}");
                    if finite {
                        assert_close(exact.on_z, limit.on_z, 1e-12, &what);
                        assert_close(exact.on_output, limit.on_output, 1e-12, &what);
                    } else {
                        found += 1;
                        let largest = limit.on_z.abs().max(limit.on_output.abs());
                        assert!(largest > 1e12, "{what}: {limit:?}");
                    }
                }
            }
            assert_eq!(found, count, "lost under {scaling:?}");
        }
    }
    let clean = NoiseLevel::from_scales(1.0, 0.0);
    let noise = NoiseLevel::from_scales(0.0, 1.0);
    let v = Parameterization::Velocity;
    assert_eq!(v.to(Parameterization::Image, &clean), Affine { on_z: 1.0, on_output: 0.0 });
    assert_eq!(v.to(Parameterization::Image, &noise).on_output, -1.0);
}

/// M36: the three scales derived from what they are for: inputs and targets of variance one, and
/// the least amplification of the network's errors. They are those of Karras et al. 2022, table 1.
#[test]
fn m36_edm_scales_follow_from_unit_variance() {
    for (std, data_std) in [(0.002_f64, 0.5_f64), (0.3, 0.5), (0.7, 1.0), (80.0, 2.0)] {
        let edm = Preconditioning::edm(LogSnr::from_edm_sigma(std), data_std);
        // With y = x + std·n the target of F is ((1 − c_skip)x − c_skip·std·n)/c_out.
        let amplified = |c_skip: f64| ((1.0 - c_skip) * data_std).hypot(c_skip * std);
        assert_close(edm.c_in * std.hypot(data_std), 1.0, 1e-14, "variance of the input");
        assert_close(amplified(edm.c_skip) / edm.c_out, 1.0, 1e-13, "variance of the target");
        for other in [-1e-3, 1e-3] {
            assert!(amplified(edm.c_skip + other) > edm.c_out, "c_skip is not the best at {std}");
        }
        let relative = |got: f64, wanted: f64| assert!((got / wanted - 1.0).abs() < 1e-13, "{got}");
        let sum = std * std + data_std * data_std;
        relative(edm.c_skip, data_std * data_std / sum);
        relative(edm.c_out, std * data_std / sum.sqrt());
        relative(edm.c_in, 1.0 / sum.sqrt());
        relative(edm.loss_weight, sum / (std * data_std).powi(2));
        assert_close(edm.c_noise, 0.25 * std.ln(), 1e-15, "c_noise");
    }
}

/// M36: for data of variance one `F` is `−v` up to a scale, `√(α² + σ²)`, which is 1 under variance
/// preservation.
#[test]
fn m36_edm_predicts_minus_the_velocity() {
    let f = Parameterization::Edm { data_std: 1.0 };
    for (name, level) in FAMILIES {
        for at in [-3.0, 0.4, 5.0].map(level) {
            let map = Parameterization::Velocity.to(f, &at);
            assert!(map.on_z.abs() < 1e-14, "{name}: {map:?}");
            assert_close(map.on_output, -1.0 / at.alpha.hypot(at.sigma), 1e-14, name);
        }
    }
    assert_close(f.target(&VP.level(0.4)).0, VP.level(0.4).sigma, 1e-15, "−(−σ)");
}

// Ancestral sampling.

/// Mean and variance at the last of some levels, noisiest first, of ancestral sampling with the
/// exact denoiser of data `N(mean, var)`; `noise` is the variance of a step.
fn ancestral(
    (mean, var): (f64, f64),
    levels: &[NoiseLevel],
    noise: impl Fn(&Posterior, &NoiseLevel, &NoiseLevel) -> f64,
) -> Normal {
    let first = &levels[0];
    let start = Normal::new(first.alpha * mean, first.alpha.powi(2) * var + first.sigma.powi(2));
    levels.windows(2).fold(start, |z, pair| {
        let (t, s) = (&pair[0], &pair[1]);
        let q = Posterior::between(s, t);
        let gain = t.alpha * var / (t.alpha.powi(2) * var + t.sigma.powi(2));
        let slope = q.on_z + q.on_x * gain;
        let bias = q.on_x * (mean - gain * t.alpha * mean);
        Normal::new(bias + slope * z.mean, slope.powi(2) * z.var + noise(&q, s, t))
    })
}

fn descending(scaling: Scaling, steps: u32) -> Vec<NoiseLevel> {
    (0..=steps).map(|i| scaling.level(-6.0 + 12.0 * f64::from(i) / f64::from(steps))).collect()
}

/// M37: with the true variance of `z_s | z_t`, which is `σ_Q²` and what the image adds, every
/// marginal is exact for any number of steps (1e-12); with `σ_Q²` alone the error is of first order
/// in `1/T`, so doubling halves it, to a few per cent at `T = 256`.
#[test]
fn m37_ancestral_sampling_reproduces_gaussian_data() {
    let (mean, var) = (0.4, 0.3);
    for scaling in SCALINGS {
        let wanted = |at: &NoiseLevel| at.alpha.powi(2) * var + at.sigma.powi(2);
        for steps in [1, 2, 7, 64] {
            let levels = descending(scaling, steps);
            let last = levels[steps as usize];
            let distribution = ancestral((mean, var), &levels, |q, _, t| {
                q.var + q.on_x.powi(2) * var * t.sigma.powi(2) / wanted(t)
            });
            assert_close(distribution.mean, last.alpha * mean, 1e-12, "mean");
            assert_close(distribution.var, wanted(&last), 1e-12, "variance");
        }
        let error = |steps: u32| {
            let levels = descending(scaling, steps);
            let distribution = ancestral((mean, var), &levels, |q, _, _| q.var);
            assert_close(distribution.mean, levels[steps as usize].alpha * mean, 1e-12, "mean");
            distribution.var / wanted(&levels[steps as usize]) - 1.0
        };
        let order = error(256) / error(512);
        assert!((order - 2.0).abs() < 0.1, "{scaling:?}: {order}");
        assert!(error(512).abs() < 0.02, "{scaling:?}: {}", error(512));
    }
}

/// M37: the data distribution itself, from draws of a mixture's exact denoiser.
#[test]
fn m37_ancestral_sampling_reproduces_a_mixture() {
    let data = line();
    let levels: Vec<NoiseLevel> = (0..=200).map(|i| VP.level(-9.0 + 0.09 * f64::from(i))).collect();
    let mut random = Random::new(37);
    let mut sample = || {
        levels.windows(2).fold(random.normal(), |z, pair| {
            let q = Posterior::between(&pair[1], &pair[0]);
            let x_hat = data.posterior_mean(&[z], &pair[0])[0];
            q.on_z * z + q.on_x * x_hat + q.var.sqrt() * random.normal()
        })
    };
    let samples: Vec<f64> = (0..1_500).map(|_| sample()).collect();
    let last = levels[200];
    let distance = kolmogorov(samples, |z| {
        data.components()
            .map(|(weight, mean, std)| {
                let spread = (last.alpha * std).hypot(last.sigma);
                weight * ((z - last.alpha * mean[0]) / spread).normal_cdf()
            })
            .sum()
    });
    assert!(distance < 2.0, "{distance}");
}

/// E2: with `c = −expm1(γ_s − γ_t)` a step's standard deviation is `√((1 − α_s²)c) = σ_s√c`;
/// printed is `√(1 − α_s²c)`, which adds a variance near 1 in every small step and grows with their
/// number.
#[test]
fn e2_the_step_of_ancestral_sampling() {
    let c = |s: &NoiseLevel, t: &NoiseLevel| -(t.log_snr - s.log_snr).exp_m1();
    let data = (0.4, 0.3);
    let levels = descending(VP, 256);
    for pair in levels.windows(2) {
        let (t, s) = (&pair[0], &pair[1]);
        let var_ts = t.sigma.powi(2) - (t.alpha / s.alpha * s.sigma).powi(2);
        let conjugate = (s.sigma * var_ts.sqrt() / t.sigma).powi(2);
        let corrected = (1.0 - s.alpha.powi(2)) * c(s, t);
        assert!((corrected / conjugate - 1.0).abs() < 1e-9);
        assert!((Posterior::between(s, t).var / conjugate - 1.0).abs() < 1e-9);
        assert!(1.0 - s.alpha.powi(2) * c(s, t) > 10.0 * conjugate, "as printed");
    }
    let wanted = 0.3 * levels[256].alpha.powi(2) + levels[256].sigma.powi(2);
    let corrected = ancestral(data, &levels, |_, s, t| (1.0 - s.alpha.powi(2)) * c(s, t)).var;
    let printed = ancestral(data, &levels, |_, s, t| 1.0 - s.alpha.powi(2) * c(s, t)).var;
    assert!((corrected / wanted - 1.0).abs() < 0.03, "{corrected} for {wanted}");
    assert!(printed > 1.0 + 2.0 * wanted, "{printed} for {wanted}");
}

/// E1: the noise head's mean is `z_t/α_{t|s} − …`; with the printed `α_{t|s}/z_t` it is another
/// number, not even linear in `z_t`.
#[test]
fn e1_the_mean_divides_by_the_transition() {
    let (s, t) = (VP.level(1.0_f64), VP.level(0.2));
    let alpha_ts = t.alpha / s.alpha;
    let var_ts = t.sigma.powi(2) - (alpha_ts * s.sigma).powi(2);
    for (x, z) in [(0.35, -0.6), (-1.0, 0.4), (0.2, 1.7)] {
        // The mean by conjugacy, at a perfect prediction.
        let likelihood = Normal::new(z / alpha_ts, var_ts / alpha_ts.powi(2));
        let wanted = likelihood.product(&Normal::new(s.alpha * x, s.sigma.powi(2))).mean;
        let rest = -var_ts / (alpha_ts * t.sigma) * (z - t.alpha * x) / t.sigma;
        assert_close(z / alpha_ts + rest, wanted, 1e-14, "corrected");
        assert!((alpha_ts / z + rest - wanted).abs() > 0.05, "as printed, at {z}");
    }
}

/// E3: the expectation of `∇ log q(z|x)` is over `q(x|z)`. Over `q(x)`, as printed, it is
/// `(αE[x] − z)/σ²`, a straight line whatever the data.
#[test]
fn e3_the_score_identity_is_over_the_posterior() {
    let (data, at) = (line(), VP.level(0.5));
    let mean = over_data(&data, |x| x);
    for z in [-1.5, 0.1, 0.9] {
        let conditional = |x: f64| (at.alpha * x - z) / at.sigma.powi(2);
        let score = data.score(&[z], &at)[0];
        assert_close(over_posterior(&data, z, &at, conditional), score, 1e-12, "corrected");
        let printed = over_data(&data, conditional);
        assert_close(printed, conditional(mean), 1e-12, "a straight line");
        assert!((printed - score).abs() > 0.1, "as printed: {printed} for {score}");
    }
}

/// E4: `ε̂ ≈ −σ∇ log q(z)`, of which the notation table drops the factor `−σ`.
#[test]
fn e4_the_noise_is_minus_sigma_times_the_score() {
    let (data, at) = (line(), Scaling::StraightLine.level(0.5));
    for z in [-1.0, 0.5, 0.9] {
        let eps_hat = over_posterior(&data, z, &at, |x| (z - at.alpha * x) / at.sigma);
        let log_q = |z: f64| data.log_density(&[z], &at);
        let gradient = (log_q(z + 1e-5) - log_q(z - 1e-5)) / 2e-5;
        assert_close(-at.sigma * gradient, eps_hat, 1e-8, "corrected");
        assert!((gradient - eps_hat).abs() > 0.1, "as printed: {gradient} for {eps_hat}");
        let noise = Prediction { value: gradient, of: Parameterization::Score }.noise(&z, &at);
        assert_close(noise, eps_hat, 1e-8, "the crate's conversion");
    }
}

// Loss multipliers.

/// What `‖error of this‖²` counts for in `‖ε − ε̂‖²`, by hand.
fn on_noise(of: Parameterization, at: &NoiseLevel) -> f64 {
    let NoiseLevel { alpha, sigma, .. } = *at;
    match of {
        Parameterization::Image => (alpha / sigma).powi(2),
        Parameterization::Noise => 1.0,
        Parameterization::Score | Parameterization::EnergyGradient => sigma.powi(2),
        Parameterization::Velocity => (alpha / (alpha.powi(2) + sigma.powi(2))).powi(2),
        Parameterization::Flow => (alpha / (alpha + sigma)).powi(2),
        // x − x̂ = c_out·(F − F̂)
        Parameterization::Edm { data_std } => {
            (alpha * data_std).powi(2) / (sigma.powi(2) + (alpha * data_std).powi(2))
        }
        // At equal z an error of x is −σ/α times that of ε.
        Parameterization::Combination { image, noise } => (noise - image * sigma / alpha).powi(-2),
    }
}

/// M40: the table of loss multipliers, for all pairs, from the formulas above and from the errors
/// of one wrong image; 1e-12, a conversion and its square.
#[test]
fn m40_losses_of_all_pairs_are_multiples() {
    let (x, x_hat, eps) = (0.35, -0.2, 0.9);
    for (name, level) in FAMILIES {
        for at in [-3.0, 0.0, 2.5].map(level) {
            let z = at.alpha * x + at.sigma * eps;
            let squared_error = |of: Parameterization| {
                let output = |image: f64| {
                    let noise = (z - at.alpha * image) / at.sigma;
                    let (on_image, on_noise) = of.target(&at);
                    on_image * image + on_noise * noise
                };
                (output(x) - output(x_hat)).powi(2)
            };
            for from in EVERY {
                for to in EVERY {
                    let what = format!("{from:?} to {to:?}, {name}");
                    let factor = from.error_factor(to, &at);
                    let table = on_noise(from, &at) / on_noise(to, &at);
                    assert!((factor / table - 1.0).abs() < 1e-12, "{what}: {factor} for {table}");
                    let measured = squared_error(to) / squared_error(from);
                    assert!((factor / measured - 1.0).abs() < 1e-11, "{what}: {measured}");
                }
            }
        }
    }
}

/// E9: `‖x − x̂‖² = σ²‖v − v̂‖²` and `‖ε − ε̂‖² = α²‖v − v̂‖²`, as printed, hold under variance
/// preservation; elsewhere both lack `1/(α² + σ²)²`.
#[test]
fn e9_the_velocity_row_needs_variance_preservation() {
    let (v, log_snr) = (Parameterization::Velocity, 0.7);
    for (name, level) in FAMILIES {
        let at = level(log_snr);
        let square = at.alpha.powi(2) + at.sigma.powi(2);
        for (to, printed) in [
            (Parameterization::Image, at.sigma.powi(2)),
            (Parameterization::Noise, at.alpha.powi(2)),
        ] {
            let factor = v.error_factor(to, &at);
            assert_close(factor, printed / square.powi(2), 1e-14, name);
            let holds = (factor / printed - 1.0).abs() < 1e-14;
            assert_eq!(holds, name == "variance preserving", "{name}: {factor} for {printed}");
        }
    }
}

/// M45: `T·½expm1(λ_s − λ_t) → −½λ'(t)` under every schedule; the rest is of first order, so it
/// halves with `1/T`: to 1e-3 at `T = 1e5`, where the next order is `|λ'|/T` of it.
#[test]
fn m45_the_discrete_factor_tends_to_the_slope() {
    for json in configurations() {
        let schedule = schedule(&json);
        for t in [0.37, 0.61] {
            let rest = |steps: f64| {
                let factor =
                    bound::discrete_factor(schedule.log_snr(t - 1.0 / steps), schedule.log_snr(t));
                steps * factor - bound::continuous_factor(schedule.slope(t))
            };
            let order = rest(1e5) / rest(2e5);
            assert!((order - 2.0).abs() < 1e-3, "{json} at {t}: {order}");
            assert!(rest(1e5).abs() < 1e-4 * schedule.slope(t).powi(2), "{json} at {t}");
        }
    }
}

/// M48: at one level, reached at different times by two schedules and under two scalings, latents
/// are proportional, `z^A = (α^A/α^B) z^B`; images, the distributions of latents and steps agree. 1e-9 for
/// times that are solved for.
#[test]
fn m48_schedules_and_scalings_are_one_model() {
    let data = line();
    let reference = Schedule::linear(9.0, -9.0).unwrap();
    for json in configurations() {
        let other = schedule(&json);
        for (_, level) in FAMILIES {
            for (s, t) in [(0.2, 0.3), (0.4, 0.75)] {
                let through = |schedule: &Schedule, level| schedule.log_snr(schedule.time(level));
                let [s, t] = [s, t].map(|t| other.log_snr(t));
                let [a_s, a_t] = [s, t].map(|l| VP.level(through(&reference, l).value()));
                let [b_s, b_t] = [s, t].map(|l| level(through(&other, l).value()));
                let ratio = |a: &NoiseLevel, b: &NoiseLevel| a.alpha / b.alpha;
                let (z_a, z_b) = (0.7, 0.7 / ratio(&a_t, &b_t));
                let x_hat = data.posterior_mean(&[z_b], &b_t)[0];
                assert_close(x_hat, data.posterior_mean(&[z_a], &a_t)[0], 1e-9, &json);
                let nats = data.log_density(&[z_b], &b_t) - ratio(&a_t, &b_t).ln();
                assert_close(nats, data.log_density(&[z_a], &a_t), 1e-9, &json);
                let step = |s: &NoiseLevel, t: &NoiseLevel, z: f64| {
                    let q = Posterior::between(s, t);
                    [q.on_z * z + q.on_x * x_hat, q.var.sqrt()]
                };
                for (a, b) in step(&a_s, &a_t, z_a).iter().zip(step(&b_s, &b_t, z_b)) {
                    assert_close(b * ratio(&a_s, &b_s), *a, 1e-9, &json);
                }
            }
        }
    }
}

// Scales and schedules.

/// `dα/dλ` and `dσ/dλ` by central differences, of error `h² + ε/h` = 1e-10 relative, and at the
/// ends, where scales rest: `λ = ±∞` are legal levels.
#[test]
fn rates_are_the_derivatives_of_the_scales() {
    for scaling in SCALINGS {
        for log_snr in [-30.0, -4.0, -0.3, 0.0, 2.0, 30.0] {
            let h = 1e-4;
            let (low, high) = (scaling.level(log_snr - h), scaling.level(log_snr + h));
            let (alpha, sigma) = scaling.rates(log_snr);
            for (got, low, high) in [(alpha, low.alpha, high.alpha), (sigma, low.sigma, high.sigma)]
            {
                let error = (got - (high - low) / (2.0 * h)).abs();
                assert!(error < 1e-8 * got.abs() + 1e-12, "{scaling:?} at {log_snr}: {got}");
            }
            let dual = scaling.level(Dual::variable(log_snr));
            assert!((alpha - dual.alpha.derivative).abs() <= 1e-14 * alpha.abs(), "{scaling:?}");
            assert!((sigma - dual.sigma.derivative).abs() <= 1e-14 * sigma.abs(), "{scaling:?}");
            // d ln(α²/σ²) = dλ.
            let at = scaling.level(log_snr);
            assert_close(2.0 * (alpha / at.alpha - sigma / at.sigma), 1.0, 1e-12, "dλ");
        }
        for log_snr in [f64::INFINITY, 800.0, -800.0, f64::NEG_INFINITY] {
            if scaling != Scaling::VarianceExploding || log_snr > 0.0 {
                let (alpha, sigma) = scaling.rates(log_snr);
                assert!(alpha.abs() + sigma.abs() < 1e-170, "{scaling:?}: {alpha}, {sigma}");
            }
        }
    }
}

/// Schedules given in the words of other papers: the distribution of EDM's `ln σ`, that of a straight
/// line's `logit(t)`, and a shift of its timesteps. 1e-13: a logarithm and an error function.
#[test]
fn other_conventions_name_the_same_schedules() {
    for y in [-2.5_f64, -0.4, 0.0, 1.3] {
        let edm = schedule::Normal::edm(-1.2, 1.1).unwrap();
        let below = ((y + 1.2) / 1.1).normal_cdf();
        assert_close(edm.time(LogSnr::from_edm_sigma(y.exp())), below, 1e-13, "P(ln σ < y)");

        let line = schedule(r#"{"kind": "straight_line"}"#);
        let x = 1.0 / (1.0 + f64::exp(-y));
        let below = ((y - 0.3) / 0.8).normal_cdf();
        let logit_normal = schedule::Normal::logit_normal(0.3, 0.8).unwrap();
        assert_close(logit_normal.time(line.log_snr(x)), below, 1e-13, "P(t < x)");

        let shift = 3.0_f64;
        let json = format!(r#"{{"kind": "straight_line", "shift": {}}}"#, -2.0 * shift.ln());
        let moved = shift * x / (1.0 + (shift - 1.0) * x);
        let wanted = line.log_snr(moved).value();
        assert_close(schedule(&json).log_snr(x).value(), wanted, 1e-13, "shifted");
    }
}

#[test]
fn every_schedule_survives_its_own_json() {
    for json in configurations() {
        let schedule = schedule(&json);
        let again = serde_json::to_string(&schedule).unwrap();
        assert_eq!(serde_json::from_str::<Schedule>(&again).unwrap(), schedule, "{again}");
        let given: serde_json::Value = serde_json::from_str(&json).unwrap();
        let written: serde_json::Value = serde_json::from_str(&again).unwrap();
        for (field, value) in given.as_object().unwrap() {
            assert_eq!(&written[field], value, "{json} is written as {again}");
        }
    }
}

#[test]
fn every_schedule_refuses_a_field_it_does_not_have() {
    for json in configurations() {
        let more = json.replacen('{', r#"{"logsnr": 1, "#, 1);
        let error = serde_json::from_str::<Schedule>(&more).unwrap_err().to_string();
        assert!(error.contains("logsnr"), "{more}: {error}");
    }
}

/// Cut at both ends, or at one: exact there, and in between the whole schedule at a stretched time.
/// 1e-11: times near an end of the whole schedule are found from `1 − t`.
#[test]
fn truncated_schedules_are_exact_at_their_ends() {
    for json in configurations() {
        let part = schedule(&json);
        let fields: serde_json::Value = serde_json::from_str(&json).unwrap();
        let own = part.range();
        for (name, t, end) in [("log_snr_max", 0.0, own.max()), ("log_snr_min", 1.0, own.min())] {
            assert_eq!(part.log_snr(t).value().to_bits(), end.to_bits(), "{json} at {t}");
            assert_eq!(part.time(LogSnr::new(end)).to_bits(), f64::to_bits(t), "{json} at {end}");
            let inner = ["cosine_interpolated", "discrete"].iter().any(|k| fields["kind"] == *k);
            if let (Some(wanted), false) = (fields[name].as_f64(), inner) {
                assert_eq!(end.to_bits(), wanted.to_bits(), "{json}");
            }
        }
        let mut bare = fields.clone();
        let removed =
            ["log_snr_max", "log_snr_min"].map(|name| bare.as_object_mut().unwrap().remove(name));
        if let (true, Ok(whole)) =
            (removed.iter().any(Option::is_some), serde_json::from_value::<Schedule>(bare))
        {
            let [first, last] = [own.max(), own.min()].map(|l| whole.time(LogSnr::new(l)));
            for t in [0.1, 0.5, 0.8] {
                let wanted = whole.log_snr(first * (1.0 - t) + last * t).value();
                assert_close(part.log_snr(t).value(), wanted, 1e-11, &json);
            }
        }
    }
}

#[test]
fn a_cut_beyond_a_schedule_is_refused() {
    let error = serde_json::from_str::<Schedule>(
        r#"{"kind": "karras", "sigma_min": 0.002, "sigma_max": 80.0, "log_snr_max": 13.0}"#,
    );
    assert!(error.unwrap_err().to_string().contains("cannot be cut to log_snr_max = 13"));
}

#[test]
fn noise_scales_out_of_order_are_refused() {
    let next = f64::next_up(1e300);
    for (sigma_min, sigma_max, rho, named) in [
        (0.0, 80.0, 7.0, "sigma_min"),
        (80.0, 0.002, 7.0, "sigma_max - sigma_min"),
        (0.002, f64::INFINITY, 7.0, "sigma_max - sigma_min"),
        (0.002, 80.0, -1.0, "rho"),
        // Two numbers with one logarithm.
        (1e300, next, 7.0, "log_snr_max > log_snr_min"),
    ] {
        let errors = [
            schedule::Karras::new(sigma_min, sigma_max, rho).unwrap_err(),
            schedule::Polyexponential::new(sigma_min, sigma_max, rho).unwrap_err(),
        ];
        for error in errors.map(|error| error.to_string()) {
            assert!(error.contains(named), "{error}");
        }
    }
}

/// A table is the schedule through its entries, which are products of `1 − β` computed here. 1e-12:
/// those products lose digits near `ᾱ = 1`, which the table does not.
#[test]
fn a_table_is_a_schedule_through_its_entries() {
    let betas = [0.01, 0.2, 0.1, 0.5];
    let table = Discrete::new(Betas::Custom(betas.to_vec()), false).unwrap();
    let mut kept = 1.0;
    for (n, beta) in betas.iter().enumerate() {
        kept *= 1.0 - beta;
        assert_close(table.log_snr_at(n).value(), (kept / (1.0 - kept)).ln(), 1e-12, "λ_n");
        let t = table.time_of(n);
        assert_eq!(table.log_snr(t), table.log_snr_at(n));
        assert_close(table.time(table.log_snr_at(n)), t, 1e-15, "time of an entry");
    }
    let [a, b] = [1, 2].map(|n| table.log_snr_at(n).value());
    let middle = 0.5 * (table.time_of(1) + table.time_of(2));
    assert_close(table.log_snr(middle).value(), 0.5 * (a + b), 1e-14, "λ is linear in between");
}

/// Lin et al. 2024: `√ᾱ` shifted to end at 0 and scaled to keep its first entry. 1e-12 as above.
#[test]
fn zero_terminal_snr_moves_the_last_level_and_keeps_the_first() {
    let betas = Betas::Linear { steps: 10, beta_start: 0.01, beta_end: 0.3 };
    let plain = Discrete::new(betas.clone(), false).unwrap();
    let table = Discrete::new(betas, true).unwrap();
    assert_eq!(table.range().min(), f64::NEG_INFINITY);
    assert_eq!(table.log_snr(1.0).value(), f64::NEG_INFINITY);
    assert_eq!((table.alpha_bar(9), table.beta(9)), (0.0, 1.0));
    let root = |n: usize| plain.alpha_bar(n).sqrt();
    for n in 0..9 {
        let wanted = (root(n) - root(9)) * root(0) / (root(0) - root(9));
        assert_close(table.alpha_bar(n), wanted * wanted, 1e-12, "ᾱ_n");
        assert_eq!(table.log_snr(table.time_of(n)), table.log_snr_at(n));
    }
    assert_close(table.log_snr(0.0).value(), plain.log_snr(0.0).value(), 1e-12, "first level");
    // Between the last two entries α/σ falls on a line, and there and back is the identity.
    let ratio = |t: f64| (0.5 * table.log_snr(t).value()).exp();
    for share in [0.25, 0.5, 0.999] {
        let t = table.time_of(8) * (1.0 - share) + share;
        assert_close(ratio(t), ratio(table.time_of(8)) * (1.0 - share), 1e-12, "α/σ");
        let level = table.log_snr(t);
        assert_close(table.cdf(level) / (1.0 - t), 1.0, 1e-12, "share of time below");
        assert_close(table.density(level) * -table.slope(t), 1.0, 1e-12, "dt/dλ");
    }
}

/// There and back to the last digits, with slopes that are each other's inverse, though the inverse
/// has no closed form.
#[test]
fn an_interpolated_cosine_is_inverted_numerically() {
    let range = LogSnrRange::new(8.0, -8.0).unwrap();
    let schedule = CosineInterpolated::new(range, -3.0, -1.0).unwrap();
    assert_eq!((schedule.range().max(), schedule.range().min()), (5.0, -9.0));
    for t in [1e-6, 0.03, 0.5, 0.9, 1.0 - 1e-6] {
        let level = schedule.log_snr(t);
        assert_close(schedule.time(level), t, 1e-14, "time");
        assert!((schedule.density(level) * -schedule.slope(t) - 1.0).abs() < 1e-9, "at {t}");
        // The shift moves linearly over the plain schedule of the same range.
        let plain = Schedule::cosine(8.0, -8.0).unwrap().log_snr(t).value();
        assert_close(level.value(), plain - 3.0 * (1.0 - t) - t, 1e-13, "λ");
    }
    // Between these ends the cosine falls by 2π·(1 − 4/π·e⁻⁴) = 6.14 at least per unit of time.
    assert!(CosineInterpolated::new(range, 0.0, 6.0).is_ok());
    for rise in [6.2, 100.0, f64::INFINITY, f64::NAN] {
        let error = CosineInterpolated::new(range, 0.0, rise).unwrap_err();
        assert!(error.to_string().contains("shift_noise - shift_data"), "{error}");
    }
}

/// `λ = 4 − 6t³`, of one's own and without an inverse.
#[derive(Debug)]
struct Cubic;

impl NoiseSchedule for Cubic {
    fn range(&self) -> LogSnrRange {
        LogSnrRange::new(4.0, -2.0).unwrap()
    }
    fn log_snr(&self, t: f64) -> LogSnr {
        LogSnr::new(4.0 - 6.0 * t.powi(3))
    }
    fn slope(&self, t: f64) -> f64 {
        -18.0 * t * t
    }
}

/// What the trait derives from three functions, by bisection, against the cube root. 1e-13: at
/// `t = 0.1` a rounding of `λ` is worth some 1e-14 of `t`.
#[test]
fn a_schedule_of_ones_own_is_inverted_by_bisection() {
    for t in [0.1, 0.5, 0.77, 0.999] {
        let level = Cubic.log_snr(t);
        let exact = ((4.0 - level.value()) / 6.0).cbrt();
        assert_close(Cubic.time(level), exact, 1e-13, "time");
        assert_close(Cubic.density(level), 1.0 / (18.0 * t * t), 1e-11, "density");
        assert_close(Cubic.cdf(level), 1.0 - exact, 1e-13, "share below a level");
        assert_close(Cubic.quantile(1.0 - t).value(), level.value(), 1e-14, "quantile");
    }
    for (log_snr, wanted) in [(4.0, 0.0), (9.0, 0.0), (-2.0, 1.0), (-9.0, 1.0)] {
        let t = Cubic.time(LogSnr::new(log_snr));
        // The last digit of 0 is the smallest number.
        assert!((t - wanted).abs() <= f64::MIN_POSITIVE, "{log_snr} at {t}");
    }
    assert_eq!(Cubic.density(LogSnr::new(-9.0)), 0.0);
}
