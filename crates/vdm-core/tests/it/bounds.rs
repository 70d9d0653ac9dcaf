//! The bound and its terms: every equation of the monograph's §2.2.2 to §2.3.3, and those of §2.4.4
//! and §3 that are about the bound, from both of its sides, on data whose densities are known.

use std::convert::Infallible;
use std::f64::consts::{E, LN_2, TAU};

use vdm_core::hlvm::Normal;
use vdm_core::importance::Estimator;
use vdm_core::likelihood::Discretized;
use vdm_core::quadrature::tabulated;
use vdm_core::schedule::{LogSnrRange, Monotone};
use vdm_core::{
    Denoiser, FromFn, GaussianMixture, LogSnr, NoiseLevel, NoiseSchedule, Parameterization,
    Posterior, Prediction, Rescaled, Scaling, Schedule, Weighting, bound, quadrature, times,
};

use crate::data::{VP, data, noise_error};
use crate::invariance::{self, MAX, MIN, over_time, schedules};
use crate::random::Random;

const SCALINGS: [Scaling; 4] =
    [VP, Scaling::VarianceExploding, Scaling::SubVariancePreserving, Scaling::StraightLine];

#[track_caller]
fn assert_close(got: f64, wanted: f64, relative: f64) {
    let error = (got - wanted).abs();
    assert!(error <= relative * wanted.abs(), "{got}, not {wanted}: off by {error}");
}

fn levels(max: f64, min: f64) -> LogSnrRange {
    LogSnrRange::new(max, min).unwrap()
}

/// One Gaussian, whose exact denoiser is a line `slope·z + offset`.
const MEAN: f64 = 0.5;
const STD: f64 = 0.8;

fn gaussian() -> GaussianMixture {
    GaussianMixture::new(vec![1.0], vec![vec![MEAN]], vec![STD]).unwrap()
}

fn line(at: &NoiseLevel) -> (f64, f64) {
    let slope = at.alpha * STD * STD / ((at.alpha * STD).powi(2) + at.sigma.powi(2));
    (slope, MEAN * (1.0 - slope * at.alpha))
}

/// `E f(z)` for `z ~ q(z)` of the noised data.
fn over_marginal(data: &GaussianMixture, at: &NoiseLevel, f: impl Fn(f64) -> f64) -> f64 {
    let of_component = |(weight, mean, std): (f64, &[f64], f64)| {
        let spread = ((at.alpha * std).powi(2) + at.sigma.powi(2)).sqrt();
        weight * quadrature::normal(1, |xi| f(at.alpha * mean[0] + spread * xi[0]))
    };
    data.components().map(of_component).sum()
}

/// `H(z)`, in nats.
fn entropy(data: &GaussianMixture, at: &NoiseLevel) -> f64 {
    over_marginal(data, at, |z| -data.log_density(&[z], at))
}

fn mean_square(data: &GaussianMixture) -> f64 {
    data.components().map(|(weight, mean, std)| weight * (mean[0].powi(2) + std * std)).sum()
}

/// `E KL(q(z_1|x)‖p(z_1))` over the data; the divergence is linear in `x²`.
fn mean_prior_kl(data: &GaussianMixture, log_snr: f64) -> f64 {
    bound::prior_kl(LogSnr::new(log_snr), mean_square(data).sqrt())
}

/// `E[−log p(x|z_0)]` of the decoder `N(z_0/α_0, σ_0²/α_0²)`, the continuous form of
/// `p(x|z_0) ∝ q(z_0|x)`.
fn reconstruction(log_snr: f64) -> f64 {
    0.5 * ((TAU * E).ln() - log_snr)
}

// ---- the bound (§2.2.2, §2.2.3)

/// M38, averaged over data: above `−log p(x)` for every number of steps, closer with more steps and
/// with wider ends. What is left in continuous time are two terms that vanish like `e^{λ_min}` and
/// `e^{−λ_max}`, so one more nat at both ends takes a factor `e` off; 1%: the next orders.
#[test]
fn m38_the_bound_is_above_the_entropy_and_closes_in() {
    let (data, error) = (data(), noise_error(-12.0, 12.0));
    let entropy = entropy(&data, &VP.level(f64::INFINITY));
    let rest = |max, min| mean_prior_kl(&data, min) + reconstruction(max) - entropy;
    let gap =
        |ends| rest(ends, -ends) + bound::continuous(levels(ends, -ends), |l| error(l.value()));

    let linear = Schedule::linear(8.0, -8.0).unwrap();
    let mut last = f64::INFINITY;
    for steps in [1, 2, 4, 8, 16, 64, 256, 1024] {
        let discrete = rest(8.0, -8.0) + bound::discrete(&linear, steps, |l| error(l.value()));
        assert!(gap(8.0) < discrete && discrete < last, "{steps} steps: {discrete} nats above");
        last = discrete;
    }
    let gaps = [3.0, 5.0, 8.0, 11.0, 12.0].map(gap);
    assert!(gaps.iter().all(|gap| *gap > 0.0) && gaps.is_sorted_by(|a, b| a > b), "{gaps:?}");
    assert!(gaps[4] < 1e-4, "{gaps:?}");
    assert_close(gaps[3] / gaps[4], E, 1e-2);
}

/// M38 for every `x`: above `−log p(x)` of the model's own distribution, which for a line as the denoiser is a
/// Gaussian that the ancestral steps carry along. What is left at 512 steps is of order `1/T` and of the
/// ends, a few hundredths of a nat.
#[test]
fn m38_the_bound_is_above_the_models_own_likelihood() {
    let (data, linear) = (gaussian(), Schedule::linear(8.0, -6.0).unwrap());
    let at = |l: LogSnr| VP.level(l.value());
    let own = |steps: usize| {
        let level = |i: usize| at(linear.log_snr(i as f64 / steps as f64));
        let last = (1..=steps).rev().fold(Normal::new(0.0, 1.0), |z, i| {
            let (s, t) = (level(i - 1), level(i));
            let (q, (slope, offset)) = (Posterior::between(&s, &t), line(&t));
            let on_z = q.on_z + q.on_x * slope;
            Normal::new(on_z * z.mean + q.on_x * offset, on_z * on_z * z.var + q.var)
        });
        let clean = level(0);
        Normal::new(last.mean / clean.alpha, (last.var + clean.sigma.powi(2)) / clean.alpha.powi(2))
    };
    for x in [-2.0, 0.5, 3.0] {
        let mut gaps = Vec::new();
        for steps in [1, 2, 8, 64, 512] {
            let bound = bound::prior_kl(linear.log_snr(1.0), x)
                + bound::discrete(&linear, steps, |l| data.noise_error(&[x], &at(l)))
                + reconstruction(8.0);
            gaps.push(bound + own(steps).log_density(&x));
        }
        assert!(gaps.iter().all(|gap| *gap > 0.0), "x = {x}: {gaps:?}");
        assert!(gaps[4] < 0.05 && gaps[4] < gaps[3] && gaps[3] < gaps[2], "x = {x}: {gaps:?}");
    }
}

/// M39: the divergence of one top-down step, by its definition `E_q[log q − log p]`, is
/// `½(SNR(s) − SNR(t))‖x − x̂‖²` under every scaling. 1e-10: the log-densities cancel.
#[test]
fn m39_a_step_costs_half_the_gain_in_snr_times_the_squared_error() {
    let (x, z) = (0.7, -0.4);
    for scaling in SCALINGS {
        for (s, t) in [(6.0, 4.5), (1.0, 0.9), (0.0, -3.0)] {
            let (to, from) = (scaling.level(s), scaling.level(t));
            let x_hat = data().posterior_mean(&[z], &from)[0];
            let step = Posterior::between(&to, &from);
            let distribution = |x: f64| Normal::new(step.on_z * z + step.on_x * x, step.var);
            let (q, p) = (distribution(x), distribution(x_hat));
            let kl = quadrature::normal(1, |eps| {
                let z = q.reparameterize(eps[0]);
                q.log_density(&z) - p.log_density(&z)
            });
            let gain = f64::exp(s) - f64::exp(t);
            assert_close(kl, 0.5 * gain * (x - x_hat).powi(2), 1e-10);
        }
    }
}

/// M40: the same divergence from the squared error of each of six predictions, times the factor that
/// follows from `z = αx + σε` by hand. The `v` row holds for any `α² + σ²` (erratum E9).
#[test]
fn m40_one_step_in_six_predictions() {
    type Factor = fn(f64, f64) -> f64;
    let factors: [(Parameterization, Factor); 6] = [
        (Parameterization::Image, |a, s| (a / s).powi(2)),
        (Parameterization::Noise, |_, _| 1.0),
        (Parameterization::Score, |_, s| s * s),
        (Parameterization::EnergyGradient, |_, s| s * s),
        (Parameterization::Velocity, |a, s| (a / (a * a + s * s)).powi(2)),
        (Parameterization::Flow, |a, s| (a / (a + s)).powi(2)),
    ];
    let (x, eps) = (0.7, -1.1);
    for scaling in SCALINGS {
        let (to, at) = (scaling.level(1.7), scaling.level(0.4));
        let z = at.alpha * x + at.sigma * eps;
        let guess =
            Prediction { value: data().posterior_mean(&[z], &at)[0], of: Parameterization::Image };
        let step = Posterior::between(&to, &at);
        let distribution = |x: f64| Normal::new(step.on_z * z + step.on_x * x, step.var);
        let kl = distribution(x).kl(&distribution(guess.value));
        for (of, factor) in factors {
            let (on_x, on_eps) = of.target(&at);
            let error = (on_x * x + on_eps * eps - guess.to(of, &z, &at)).powi(2);
            let wanted = 0.5 * f64::exp_m1(1.7 - 0.4) * factor(at.alpha, at.sigma);
            assert_close(wanted * error, kl, 1e-12);
            let of_noise = of.error_factor(Parameterization::Noise, &at);
            assert_close(of_noise, factor(at.alpha, at.sigma), 1e-12);
        }
    }
}

/// M41: one step drawn from `T`, one item, one noise, times `T/2·expm1(γ_t − γ_s)`: the mean is the
/// full sum, within 5 standard errors (false alarm: 6e-7 each).
#[test]
fn m41_one_step_at_random_is_unbiased() {
    let (data, error) = (data(), noise_error(-5.0, 6.0));
    let (cosine, mut random) = (Schedule::cosine(6.0, -5.0).unwrap(), Random::new(41));
    for steps in [1_usize, 4, 50] {
        let n = 20_000;
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..n {
            let i = 1 + (steps as f64 * random.uniform()) as usize;
            let [s, t] = [i - 1, i].map(|i| cosine.log_snr(i as f64 / steps as f64));
            let factor = 0.5 * steps as f64 * (t.gamma() - s.gamma()).exp_m1();
            let y = factor * random.noise_error(&data, t);
            sum += y;
            squares += y * y;
        }
        let n = f64::from(n);
        let mean = sum / n;
        let error_of_mean = ((squares / n - mean * mean) / n).sqrt();
        let wanted = bound::discrete(&cosine, steps, |l| error(l.value()));
        let off = (mean - wanted).abs() / error_of_mean;
        assert!(off < 5.0, "{steps} steps: {mean}, not {wanted}: {off} standard errors");
    }
}

/// The bound of one item in EDM's variables: `y = x + σn`, `D(y; σ) = c_skip y + c_out F`, noise scales
/// from `low` to `high`; in `steps`, or in continuous time. Nothing of it knows of `α` or `λ`.
fn edm_bound(code: Discretized, k: u16, [low, high]: [f64; 2], steps: Option<u32>) -> f64 {
    const DATA_STD: f64 = 0.9;
    let (data, x) = (data(), code.encode(k));
    let error = |sigma: f64| {
        let of = Parameterization::Edm { data_std: DATA_STD };
        let at = NoiseLevel::from_scales(1.0, sigma);
        let total = sigma * sigma + DATA_STD * DATA_STD;
        quadrature::normal(1, |n| {
            let y = vec![x + sigma * n[0]];
            let network = data.denoise(&y, &at).unwrap().to(of, &y, &at)[0];
            let c_skip = DATA_STD * DATA_STD / total;
            let c_out = sigma * DATA_STD / total.sqrt();
            (x - c_skip * y[0] - c_out * network).powi(2)
        })
    };
    let diffusion = if let Some(steps) = steps {
        let scale = |i: u32| low * (high / low).powf(f64::from(i) / f64::from(steps));
        let step = |i| 0.5 * (scale(i - 1).powi(-2) - scale(i).powi(-2)) * error(scale(i));
        (1..=steps).map(step).sum()
    } else {
        quadrature::interval(low, high, |sigma| error(sigma) / sigma.powi(3))
    };
    // The prior N(0, σ² + 1) of y at the highest noise.
    let prior = Normal::new(x, high * high).kl(&Normal::new(0.0, high * high + 1.0));
    let decoder = quadrature::normal(1, |n| {
        let square = |j: u16| ((x + low * n[0] - code.encode(j)) / low).powi(2);
        let sum: f64 = (0..code.levels()).map(|j| (0.5 * (square(k) - square(j))).exp()).sum();
        sum.ln()
    });
    prior + decoder + diffusion
}

/// M42: VDM's bound, in `γ` and `ε̂`, and EDM's, in `σ` and `D`, of one image of 16 values, steps or
/// none. 1e-11: two quadratures of 1e-13 over integrands that differ by roundings of `ε − ε̂`.
#[test]
fn m42_the_bound_in_variables_of_edm() {
    let (code, data) = (Discretized::new(16).unwrap(), data());
    let schedule = Schedule::linear(MAX, MIN).unwrap();
    for k in [2, 13] {
        let x = code.encode(k);
        let error = |l: LogSnr| {
            let at = VP.level(l.value());
            quadrature::normal(1, |eps| {
                let z = vec![at.alpha * x + at.sigma * eps[0]];
                (eps[0] - data.denoise(&z, &at).unwrap().noise(&z, &at)[0]).powi(2)
            })
        };
        let ends = bound::prior_kl(LogSnr::new(MIN), x) + code.reconstruction(k, LogSnr::new(MAX));
        let scales = [MAX, MIN].map(|l| LogSnr::new(l).edm_sigma());
        let discrete = ends + bound::discrete(&schedule, 32, error);
        assert_close(edm_bound(code, k, scales, Some(32)), discrete, 1e-11);
        let continuous = ends + bound::continuous(schedule.range(), error);
        assert_close(edm_bound(code, k, scales, None), continuous, 1e-11);
    }
}

// ---- more steps (§2.3.1, §2.3.2)

/// M43: what twice the steps change, from image errors alone, is the difference of two bounds in noise
/// errors, for one item and on average; on average it is a gain, for 1 to 1024
/// steps under every schedule. 1e-12 of the larger bound.
#[test]
fn m43_doubling_the_steps() {
    let data = data();
    let mean = noise_error(MIN, MAX);
    let of_item = |x: f64| {
        let data = data.clone();
        move |l: f64| data.noise_error(&[x], &VP.level(l))
    };
    let check = |schedule: &Schedule, most: u32, error: &dyn Fn(f64) -> f64| -> Vec<f64> {
        let bound = |steps| bound::discrete(schedule, steps, |l| error(l.value()));
        (0..=most)
            .map(|doublings| {
                let steps = 1 << doublings;
                let image_error = |l: LogSnr| error(l.value()) / l.snr();
                let change = bound::doubling(schedule, steps, image_error);
                let off = change - (bound(2 * steps) - bound(steps));
                assert!(off.abs() < 1e-12 * bound(steps), "{steps} steps: off by {off}");
                change
            })
            .collect()
    };
    for (name, schedule) in schedules() {
        let changes = check(&schedule, 10, &mean);
        assert!(changes.iter().all(|change| *change < 0.0), "{name}: {changes:?}");
    }
    let linear = Schedule::linear(MAX, MIN).unwrap();
    check(&linear, 6, &of_item(-1.1));
    check(&linear, 6, &of_item(0.2));
}

/// M44: `L_T − L_∞` falls as `c/T` with `c = ¼∫ (dSNR/dt)² E Var²[x|z] dt`, since the bound is a sum
/// of rectangles under a curve of slope `dMMSE/dSNR = −E Var²` (Guo et al. 2011). 1e-3: what
/// is left of `1/T²` terms after one extrapolation.
#[test]
fn m44_the_discrete_bound_tends_to_the_continuous_one_as_one_over_the_steps() {
    let (data, error) = (data(), noise_error(-5.0, 6.0));
    let squared_variance = tabulated(-5.0, 6.0, &|l| {
        let at = VP.level(l);
        over_marginal(&data, &at, |z| data.posterior_variance(&[z], &at).powi(2))
    });
    for schedule in [Schedule::linear(6.0, -5.0).unwrap(), Schedule::cosine(6.0, -5.0).unwrap()] {
        let limit = bound::continuous(schedule.range(), |l| error(l.value()));
        let above = |steps: usize| bound::discrete(&schedule, steps, |l| error(l.value())) - limit;
        let [rough, fine] = [512, 1024].map(above);
        assert!(((rough / fine).log2() - 1.0).abs() < 0.02, "{rough}, {fine}");
        let constant = 0.25
            * quadrature::interval(0.0, 1.0, |t| {
                let level = schedule.log_snr(t);
                (level.snr() * schedule.slope(t)).powi(2) * squared_variance(level.value())
            });
        assert_close(2.0 * 1024.0 * fine - 512.0 * rough, constant, 1e-3);
    }
}

/// M45: `T·expm1(γ_t − γ_s) → γ'(t)` under every schedule: the distance halves when the steps do, to
/// its next order, `1/T` of it.
#[test]
fn m45_a_step_of_the_factor_tends_to_the_slope() {
    for (name, schedule) in schedules() {
        for t in [0.13, 0.37, 0.71, 0.93] {
            let off = |steps: f64| {
                let factor =
                    bound::discrete_factor(schedule.log_snr(t - 1.0 / steps), schedule.log_snr(t));
                steps * factor - bound::continuous_factor(schedule.slope(t))
            };
            let (rough, fine) = (off(1e4), off(2e4));
            assert!(rough.abs() < 1e-2 * schedule.slope(t).abs(), "{name} at {t}: {rough}");
            assert!((rough / fine - 2.0).abs() < 0.02, "{name} at {t}: {rough}, {fine}");
        }
    }
}

// ---- one value (§2.3.3)

/// M46: in the variable `v = SNR` no schedule is left. Over SNR, over `λ` and over time; 1e-9 for the
/// table of errors and three quadratures. The ends do count: one nat less is `½∫` of it less.
#[test]
fn m46_the_bound_is_an_integral_over_snr() {
    let error = noise_error(MIN, MAX);
    let over_log_snr = |max| bound::continuous(levels(max, MIN), |l| error(l.value()));
    let over_snr =
        |max: f64| 0.5 * quadrature::interval(MIN.exp(), max.exp(), |v| error(v.ln()) / v);
    assert_close(over_snr(MAX), over_log_snr(MAX), 1e-9);
    let cosine = Schedule::cosine(MAX, MIN).unwrap();
    assert_close(over_time(&cosine, &error), over_log_snr(MAX), 1e-9);
    assert!(over_log_snr(MAX) - over_snr(MAX - 1.0) > 0.4, "the error there is next to 1");
}

/// M46, M49 and M55: ten schedules between the same ends, one bound, variances from 10² to 10⁵ nats².
/// 1e-12: quadratures of 1e-13. Variances are measured within 5 standard errors of the formula.
#[test]
fn m49_schedules_change_the_variance_alone() {
    let rows = invariance::measure();
    for row in &rows {
        assert!(row.off < 1e-12, "{}: {} nats, off by {}", row.name, row.loss, row.off);
        let (measured, error) = row.measured;
        let off = (measured - row.variance).abs() / error;
        assert!(off < 5.0, "{}: {measured}, not {}: {off} s.e.", row.name, row.variance);
        assert!(error < 0.15 * measured, "{}: {measured} ± {error}", row.name);
    }
    let variances = || rows.iter().map(|row| row.variance);
    let (least, most) = (variances().fold(f64::MAX, f64::min), variances().fold(0.0, f64::max));
    assert!(rows.len() >= 8 && most > 500.0 * least, "{least} to {most}");
}

/// M47: the derivative of the integral over time by what shapes a learned schedule is 0 inside, and
/// `±½E‖ε − ε̂‖²` at the ends. Central differences with steps of 1e-3: 1e-9 is the rounding of the
/// integral over 1e-3, 1e-6 the third derivative. A discrete bound does feel the inside.
#[test]
fn m47_only_the_ends_have_a_gradient() {
    const STEP: f64 = 1e-3;
    let error = noise_error(-6.0, 7.0);
    let of = |max: f64, min: f64, w: &[f64; 5]| Monotone::new(levels(max, min), w.into()).unwrap();
    let loss = |max: f64, min: f64, w: &[f64; 5]| -> f64 {
        let schedule = of(max, min, w);
        let integrand =
            |t| bound::continuous_factor(schedule.slope(t)) * error(schedule.log_snr(t).value());
        // Knot by knot.
        times::low_discrepancy(0.0, 5).map(|t| quadrature::interval(t, t + 0.2, integrand)).sum()
    };
    let slope = |f: &dyn Fn(f64) -> f64| (f(STEP) - f(-STEP)) / (2.0 * STEP);
    let (max, min, w) = (6.0, -5.0, [0.3, -2.0, 2.0, 1.0, -1.0]);
    for i in 0..5 {
        let moved = |h: f64| {
            let mut w = w;
            w[i] += h;
            w
        };
        let inside = slope(&|h| loss(max, min, &moved(h)));
        assert!(inside.abs() < 1e-9, "increment {i}: {inside}");
        let discrete = |h| bound::discrete(&of(max, min, &moved(h)), 10, |l| error(l.value()));
        let felt = slope(&discrete);
        assert!(felt.abs() > 1e-2, "increment {i}, 10 steps: {felt}");
    }
    assert_close(slope(&|h| loss(max + h, min, &w)), 0.5 * error(max), 1e-6);
    assert_close(slope(&|h| loss(max, min + h, &w)), -0.5 * error(min), 1e-6);
}

/// M48: one network, trained under one specification on other data than it sees, that predicts a
/// velocity: the whole bound from the Gaussians of each specification. 1e-9: rounding of `z` counts
/// `1/σ` times in the noise, and that to the square in the sum.
#[test]
fn m48_one_bound_under_four_specifications() {
    let trained = GaussianMixture::new(vec![0.5, 0.5], vec![vec![-0.8], vec![0.9]], vec![0.2, 0.4]);
    let trained = trained.unwrap();
    let network = FromFn(|z: &Vec<f64>, at: &NoiseLevel| {
        let (exact, of) = (trained.denoise(z, at)?, Parameterization::Velocity);
        Ok::<_, Infallible>(Prediction { value: exact.to(of, z, at), of })
    });
    let model = Rescaled::new(&network, VP);
    let (code, k, steps) = (Discretized::new(16).unwrap(), 4, 16);
    let schedule = Schedule::cosine(MAX, MIN).unwrap();
    let x = code.encode(k);
    let bound = |scaling: Scaling| {
        let level =
            |i: u32| scaling.level(schedule.log_snr(f64::from(i) / f64::from(steps)).value());
        let divergence = |i: u32| {
            let (s, t) = (level(i - 1), level(i));
            let step = Posterior::between(&s, &t);
            quadrature::normal(1, |eps| {
                let z = vec![t.alpha * x + t.sigma * eps[0]];
                let x_hat = model.denoise(&z, &t).unwrap().image(&z, &t)[0];
                let distribution = |x: f64| Normal::new(step.on_z * z[0] + step.on_x * x, step.var);
                distribution(x).kl(&distribution(x_hat))
            })
        };
        // p(z_1) is the standard normal of the variance-preserving latent, rescaled.
        let noisiest = level(steps);
        let unit = (noisiest.alpha / VP.level(MIN).alpha).powi(2);
        let prior =
            Normal::new(noisiest.alpha * x, noisiest.sigma.powi(2)).kl(&Normal::new(0.0, unit));
        let clean = level(0);
        let decoder = quadrature::normal(1, |eps| {
            let z = clean.alpha * x + clean.sigma * eps[0];
            -code.log_prob(k, z / clean.alpha, LogSnr::new(MAX))
        });
        prior + decoder + (1..=steps).map(divergence).sum::<f64>()
    };
    let closed = bound::prior_kl(LogSnr::new(MIN), x)
        + code.reconstruction(k, LogSnr::new(MAX))
        + bound::discrete(&schedule, 16, |l| trained.noise_error(&[x], &VP.level(l.value())));
    for scaling in SCALINGS {
        assert_close(bound(scaling), closed, 1e-9);
    }
}

// ---- the bound of noisy data (§2.4.4)

/// `L(t; x) = KL(q(z_{t..1}|x)‖p(z_{t..1}))` for the exact denoiser, with no denoiser in it: then
/// `p(z_{t..1})` is the distribution of noised data but for `p(z_1)` in the place of `q(z_1)`, and what follows
/// `z_t` has the same distribution given `x` or not.
fn path_divergence(data: &GaussianMixture, x: f64, log_snr: f64) -> f64 {
    let expected = |log_snr: f64, f: &dyn Fn(f64, &NoiseLevel) -> f64| {
        let at = VP.level(log_snr);
        quadrature::normal(1, |eps| f(at.alpha * x + at.sigma * eps[0], &at))
    };
    let here = expected(log_snr, &|z, at| {
        let given_x = Normal::new(at.alpha * x, at.sigma.powi(2));
        given_x.log_density(&z) - data.log_density(&[z], at)
    });
    let there =
        expected(MIN, &|z, at| data.log_density(&[z], at) - Normal::new(0.0, 1.0).log_density(&z));
    here + there
}

/// M60: `L(t; x)` is the prior's divergence plus `½∫E‖ε − ε̂‖² dλ` from the noise up to `λ_t`, and its
/// rate is `½λ'(t)E‖ε − ε̂‖²`, for every `x`. E11: without the prior's divergence it is wrong by it.
/// 1e-9: densities cancel; 1e-6: the third derivative, times the step of 1e-4 squared.
#[test]
fn m60_e11_the_divergence_of_a_path_and_its_rate() {
    const STEP: f64 = 1e-4;
    let (data, cosine) = (data(), Schedule::cosine(6.0, MIN).unwrap());
    for x in [-1.4, 0.2, 2.0] {
        let prior = bound::prior_kl(LogSnr::new(MIN), x);
        assert_close(path_divergence(&data, x, MIN), prior, 1e-9);
        let error = |l: LogSnr| data.noise_error(&[x], &VP.level(l.value()));
        for t in [0.1, 0.5, 0.8] {
            let level = cosine.log_snr(t);
            let whole = path_divergence(&data, x, level.value());
            let diffusion = bound::continuous(levels(level.value(), MIN), error);
            assert_close(prior + diffusion, whole, 1e-9);
            assert_close(whole - diffusion, prior, 1e-6);
            assert!(prior > 1e-5, "x = {x}: {prior}");

            let at = |t| path_divergence(&data, x, cosine.log_snr(t).value());
            let rate = (at(t + STEP) - at(t - STEP)) / (2.0 * STEP);
            assert_close(rate, 0.5 * cosine.slope(t) * error(level), 1e-6);
        }
    }
}

// ---- what a fixed posterior gives (§3)

/// M66: `KL(q(z_1)‖N(0, 1))` of the aggregate posterior falls to 0 with the SNR, here like
/// `½e^λ(E x)²`; and, M10, with what `z_1` knows of `x` it makes up the
/// prior term of the bound (1e-8: as in M69).
#[test]
fn m66_the_aggregate_posterior_tends_to_the_prior() {
    let data = data();
    let hole = |log_snr: f64| {
        let (at, prior) = (VP.level(log_snr), Normal::new(0.0, 1.0));
        over_marginal(&data, &at, |z| data.log_density(&[z], &at) - prior.log_density(&z))
    };
    let holes = [4.0, 0.0, -4.0, -8.0, -12.0, -16.0].map(hole);
    assert!(holes.iter().all(|kl| *kl > 0.0) && holes.is_sorted_by(|a, b| a > b), "{holes:?}");
    let mean: f64 = data.components().map(|(weight, mean, _)| weight * mean[0]).sum();
    // The next order is e^λ(1 − Var x)²/(2(E x)²) of it, 2 e^λ; 1e-15 of rounding in 2e-10.
    assert_close(holes[5], 0.5 * f64::exp(-16.0) * mean * mean, 1e-5);
    for log_snr in [4.0, 0.0, -4.0] {
        let known =
            bound::mutual_information(LogSnr::new(log_snr), |l| data.mmse(&VP.level(l.value())));
        assert_close(known + hole(log_snr), mean_prior_kl(&data, log_snr), 1e-8);
    }
}

/// `Σ_j a_ij u_j = b_i`, by elimination with pivots on the diagonal (`a` is positive definite).
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for i in 0..n {
        for j in (0..n).filter(|j| *j != i) {
            let factor = a[j][i] / a[i][i];
            let pivot = a[i].clone();
            a[j].iter_mut().zip(&pivot).for_each(|(a, pivot)| *a -= factor * pivot);
            b[j] -= factor * b[i];
        }
    }
    (0..n).map(|i| b[i] / a[i][i]).collect()
}

/// The least-squares fit of `x` to `features(level, z)` over noised data, each level with its weight.
fn regression(
    levels: &[(NoiseLevel, f64)],
    size: usize,
    features: impl Fn(usize, f64) -> Vec<(usize, f64)>,
) -> Vec<f64> {
    let (mut gram, mut moments) = (vec![vec![0.0; size]; size], vec![0.0; size]);
    for (k, (at, weight)) in levels.iter().enumerate() {
        // Three points integrate the products of two linear functions exactly.
        let nodes = [(-3.0_f64.sqrt(), 1.0 / 6.0), (0.0, 2.0 / 3.0), (3.0_f64.sqrt(), 1.0 / 6.0)];
        for (xi, mass) in nodes {
            for (eps, other) in nodes {
                let x = MEAN + STD * xi;
                let row = features(k, at.alpha * x + at.sigma * eps);
                for (i, a) in &row {
                    moments[*i] += weight * mass * other * a * x;
                    for (j, b) in &row {
                        gram[*i][*j] += weight * mass * other * a * b;
                    }
                }
            }
        }
    }
    solve(gram, moments)
}

/// M67: the weighted loss of a line per level is a weighted least-squares problem in `(z, x)`, and its
/// solution, the exact denoiser, is the same for every positive weighting. For one line at all levels,
/// which cannot be exact, it is not. 1e-9: normal equations whose weights span four decades.
#[test]
fn m67_training_is_weighted_regression() {
    let cosine = Schedule::cosine(6.0, -5.0).unwrap();
    let times: Vec<f64> = times::low_discrepancy(0.5, 5).collect();
    let mut shared = Vec::new();
    for weighting in [Weighting::Elbo, Weighting::Simple, Weighting::Sigmoid { bias: 1.0 }] {
        let estimator = Estimator::new(weighting, &cosine, &cosine).unwrap();
        let levels: Vec<(NoiseLevel, f64)> = times
            .iter()
            .map(|t| (VP.level(estimator.log_snr(*t).value()), estimator.factor(*t)))
            .map(|(at, factor)| (at, factor * at.log_snr.exp()))
            .collect();
        let fit = regression(&levels, 10, |k, z| vec![(2 * k, z), (2 * k + 1, 1.0)]);
        for (fit, (at, _)) in fit.chunks(2).zip(&levels) {
            let (slope, offset) = line(at);
            assert!((fit[0] - slope).abs() < 1e-9 && (fit[1] - offset).abs() < 1e-9, "{fit:?}");
            assert!(
                (gaussian().posterior_mean(&[1.7], at)[0] - 1.7 * slope - offset).abs() < 1e-14
            );
        }
        shared.push(regression(&levels, 2, |_, z| vec![(0, z), (1, 1.0)])[0]);

        // The regression's residual, from moments of x and ε, is the loss.
        let residuals = levels.iter().map(|(at, weight)| {
            let slope = line(at).0;
            weight * (((1.0 - slope * at.alpha) * STD).powi(2) + (slope * at.sigma).powi(2))
        });
        let losses = times.iter().map(|t| {
            let level = estimator.log_snr(*t);
            estimator.factor(*t) * level.snr() * gaussian().mmse(&VP.level(level.value()))
        });
        assert_close(residuals.sum(), losses.sum(), 1e-12);
    }
    assert!(
        (shared[0] - shared[1]).abs() > 0.02 && (shared[1] - shared[2]).abs() > 0.02,
        "{shared:?}"
    );
}

/// M69: from errors alone, `½∫MMSE dSNR` is `H(z) − H(z|x)`, which has no denoiser in it, and rises
/// with `λ`; for a Gaussian it is `½ ln(1 + SNR s²)`. 1e-8: next to the data `q(z)` turns from one
/// component to the other so fast that `quadrature::normal` errs by 1e-9.
#[test]
#[ignore = "slow: cargo xtask test --full"]
fn m69_information_is_the_integral_of_the_error() {
    let (data, gaussian, mut last) = (data(), gaussian(), 0.0);
    for log_snr in [-5.0, 1.0, 9.0] {
        let (level, at) = (LogSnr::new(log_snr), VP.level(log_snr));
        let known = bound::mutual_information(level, |l| data.mmse(&VP.level(l.value())));
        let noise = Normal::new(0.0, at.sigma.powi(2)).entropy();
        assert_close(known, entropy(&data, &at) - noise, 1e-8);
        assert!(known > last, "λ = {log_snr}: {known}");
        last = known;
        let known = bound::mutual_information(level, |l| gaussian.mmse(&VP.level(l.value())));
        assert_close(known, 0.5 * (level.snr() * STD * STD).ln_1p(), 1e-12);
    }
}

/// M72: bits per dimension of a density against the code length of the discrete data it stands for.
/// Equal where the density is constant on each cell; for a Gaussian of many cells above it, by Jensen,
/// by `width²/(24 std² ln 2)` to 1% (fourth order, and the outer cells).
#[test]
fn m72_bits_of_a_density_and_of_discrete_data() {
    let code = Discretized::new(256).unwrap();
    let width = 2.0 / f64::from(code.levels());
    let uniform = bound::bits_per_dim_of_density(5.0 * 0.5_f64.ln(), 5, width);
    assert_close(uniform, 8.0, 1e-14);

    // Two thirds of the mass on one half, of length 1 and 128 cells.
    let halves = [2.0 / 3.0, 1.0 / 3.0_f64];
    let bits = |mass: f64| mass * bound::bits_per_dim_of_density(mass.ln(), 1, width);
    let of_density: f64 = halves.map(bits).iter().sum();
    let of_cells: f64 = halves.map(|mass| -mass * (mass / 128.0).log2()).iter().sum();
    assert_close(of_density, of_cells, 1e-14);

    let (std, normal) = (0.1, Normal::new(0.0, 0.01));
    let (mut discrete, mut dequantized) = (0.0, 0.0);
    for k in 0..code.levels() {
        let log_mass = code.log_prob_of_cell(k, 0.0, std);
        let bits = |u: f64| {
            let y = code.encode(k) + width * (u - 0.5);
            bound::bits_per_dim_of_density(normal.log_density(&y), 1, width)
        };
        discrete += log_mass.exp() * bound::bits_per_dim(-log_mass, 1);
        dequantized += log_mass.exp() * quadrature::interval(0.0, 1.0, bits);
    }
    assert_close(dequantized - discrete, (width / std).powi(2) / (24.0 * LN_2), 1e-2);
}

/// E14: doubling the steps helps on average, not for every `x`. For data `N(0, 1)` everything is a
/// closed form: `E‖ε − ε̂‖²` is `α⁴` at `x = 0` and `α²` on average.
#[test]
fn e14_doubling_the_steps_may_hurt_a_single_item() {
    let data = GaussianMixture::new(vec![1.0], vec![vec![0.0]], vec![1.0]).unwrap();
    let linear = Schedule::linear(5.0, -5.0).unwrap();
    let at = |l: LogSnr| VP.level(l.value());
    let at_zero = |l: LogSnr| data.noise_error(&[0.0], &at(l));
    let on_average = |l: LogSnr| l.snr() * data.mmse(&at(l));
    // The printed value, its decimals, and the power of α.
    let bounds = [
        (1, 0.49, 5e-3, 4),
        (2, 18.4, 5e-2, 4),
        (1, 73.7, 5e-2, 2),
        (2, 37.3, 5e-2, 2),
        (1024, 2.51, 5e-3, 2),
    ];
    for (steps, printed, digits, power) in bounds {
        let got = if power == 4 {
            bound::discrete(&linear, steps, at_zero)
        } else {
            bound::discrete(&linear, steps, on_average)
        };
        let level = |i: usize| 5.0 - 10.0 * i as f64 / steps as f64;
        let closed: f64 = (1..=steps)
            .map(|i| {
                let var_signal = 1.0 / (1.0 + (-level(i)).exp());
                0.5 * ((level(i - 1) - level(i)).exp() - 1.0) * var_signal.powi(power / 2)
            })
            .sum();
        assert_close(got, closed, 1e-10);
        assert!((got - printed).abs() < digits, "{steps} steps: {got}");
    }
    let change =
        |error: &dyn Fn(LogSnr) -> f64| bound::doubling(&linear, 1, |l| error(l) / l.snr());
    assert!(change(&at_zero) > 17.0 && change(&on_average) < -36.0);
}
