//! Noise schedules and what else stands on levels alone.

use vdm_core::importance::Adaptive;
use vdm_core::schedule::Parameters;
use vdm_core::{LogSnr, NoiseLevel, NoiseSchedule, Parameterization, Scaling, Schedule, Weighting};

use super::{Kind, Target, document, texts};

pub(super) fn targets() -> Vec<Target> {
    let json = |name, corpus, check| Target { name, kind: Kind::Json, corpus, check };
    vec![
        json("schedule", || texts(SCHEDULES), |_, input| document(input, schedule)),
        json("weighting", || texts(WEIGHTINGS), |_, input| document(input, weighting)),
        json("scaling", || texts(SCALINGS), |_, input| document(input, scaling)),
        json(
            "parameterization",
            || texts(PARAMETERIZATIONS),
            |_, input| document(input, prediction),
        ),
        json("adaptive_proposal", || texts(&[ADAPTIVE]), |_, input| document(input, proposal)),
        json(
            "schedule_parameters",
            || texts(&[r#"{"ends": [5, -4], "interior": [0.1, -2]}"#]),
            |_, input| document::<Parameters>(input, |_| ()),
        ),
    ]
}

/// One of each kind.
pub(super) const SCHEDULES: &[&str] = &[
    r#"{"kind": "linear", "log_snr_max": 13.3, "log_snr_min": -5}"#,
    r#"{"kind": "cosine", "shift": -2.5, "log_snr_max": 9, "log_snr_min": -6}"#,
    r#"{"kind": "cosine"}"#,
    r#"{"kind": "cosine_interpolated", "log_snr_max": 6, "log_snr_min": -5, "shift_data": -1, "shift_noise": -3}"#,
    r#"{"kind": "vp_linear", "beta_min": 0.1, "beta_max": 20, "log_snr_max": 9}"#,
    r#"{"kind": "iddpm_cosine", "offset": 0.008, "log_snr_max": 8, "log_snr_min": -8}"#,
    r#"{"kind": "sigmoid", "start": -3, "end": 3, "tau": 1, "log_snr_max": 8, "log_snr_min": -8}"#,
    r#"{"kind": "normal", "mean": 2.4, "std": 2.4, "log_snr_max": 12, "log_snr_min": -8}"#,
    r#"{"kind": "laplace", "mean": 0, "std": 0.5, "log_snr_max": 10, "log_snr_min": -10}"#,
    r#"{"kind": "straight_line", "shift": -2, "log_snr_max": 12, "log_snr_min": -12}"#,
    r#"{"kind": "karras", "sigma_min": 0.002, "sigma_max": 80, "rho": 7}"#,
    r#"{"kind": "polyexponential", "sigma_min": 0.01, "sigma_max": 80, "rho": 1.5}"#,
    r#"{"kind": "monotone", "log_snr_max": 9, "log_snr_min": -6, "increments": [0.3, -2, 4, 1, -6]}"#,
    r#"{"kind": "monotone_network", "log_snr_max": 9, "log_snr_min": -6, "slope": 12, "hidden": [4, -2],
        "hidden_bias": [0.5, -1], "output": [3, 1.5]}"#,
    r#"{"kind": "histogram", "log_snr_max": 6, "log_snr_min": -2, "masses": [1, 3, 0.5]}"#,
    r#"{"kind": "discrete", "betas": {"linear": {"steps": 50, "beta_start": 0.0001, "beta_end": 0.02}}}"#,
    r#"{"kind": "discrete", "betas": {"scaled_linear": {"steps": 40, "beta_start": 0.00085, "beta_end": 0.012}}}"#,
    r#"{"kind": "discrete", "betas": {"cosine": {"steps": 50, "offset": 0.008, "cap": 0.999}},
        "zero_terminal_snr": true}"#,
    r#"{"kind": "discrete", "betas": {"sigmoid": {"steps": 50, "beta_start": 0.0001, "beta_end": 0.02}}}"#,
    r#"{"kind": "discrete", "betas": {"custom": [0.01, 0.2, 0.1, 0.5]}}"#,
];

const WEIGHTINGS: &[&str] = &[
    r#"{"kind": "elbo"}"#,
    r#"{"kind": "simple"}"#,
    r#"{"kind": "sigmoid", "bias": 2}"#,
    r#"{"kind": "iddpm_cosine"}"#,
    r#"{"kind": "velocity_cosine"}"#,
    r#"{"kind": "flow_matching"}"#,
    r#"{"kind": "indi"}"#,
    r#"{"kind": "edm", "p_mean": -1.2, "p_std": 1.2, "data_std": 0.5}"#,
    r#"{"kind": "edm_monotonic", "p_mean": -1.2, "p_std": 1.2, "data_std": 0.5}"#,
    r#"{"kind": "p2", "gamma": 0.5, "k": 1}"#,
    r#"{"kind": "min_snr", "gamma": 5}"#,
    r#"{"kind": "sum", "terms": [{"factor": 1, "weighting": {"kind": "simple"}},
        {"factor": 0.001, "weighting": {"kind": "elbo"}}]}"#,
];

const SCALINGS: &[&str] = &[
    r#""variance_preserving""#,
    r#""variance_exploding""#,
    r#""straight_line""#,
    r#""sub_variance_preserving""#,
    r#"{"unit_variance": {"data_std": 0.5}}"#,
];

const PARAMETERIZATIONS: &[&str] = &[
    r#""image""#,
    r#""noise""#,
    r#""score""#,
    r#""energy_gradient""#,
    r#""velocity""#,
    r#""flow""#,
    r#"{"edm": {"data_std": 0.5}}"#,
    r#"{"combination": {"image": 0.5, "noise": -1}}"#,
];

const ADAPTIVE: &str = r#"{"log_snr_max": 4, "log_snr_min": -4, "decay": 0.9, "uniform": 0.1,
"bins": [{"count": 3, "mean_square": 0.5}, {"count": 0, "mean_square": 0}, {"count": 9, "mean_square": 2}]}"#;

/// It falls strictly, at finite slopes and densities, and times lie in the unit interval. Near an end where it
/// is flat by its formula (a power of time) levels may be as close as floats are, but never rise.
pub(super) fn schedule(schedule: &Schedule) {
    let range = schedule.range();
    assert!(range.max() > range.min(), "{schedule:?}");
    let inner = (1..257).map(|i| f64::from(i) / 257.0);
    let near = [1e-9, 1e-6, 1e-3];
    let mut times: Vec<f64> = near.into_iter().chain(inner).collect();
    times.extend(near.map(|rest| 1.0 - rest));
    times.sort_by(f64::total_cmp);
    let mut before = range.max();
    let mut seen = 0.0;
    for t in times {
        let level = schedule.log_snr(t).value();
        assert!(level.is_finite(), "log-SNR {level} at t = {t}: {schedule:?}");
        assert!(level <= before, "log-SNR rises to {level} at t = {t}: {schedule:?}");
        let apart = (0.003..=0.997).contains(&t);
        assert!(level < before || !apart, "log-SNR stays at {level} at t = {t}: {schedule:?}");
        let slope = schedule.slope(t);
        assert!(
            slope.is_finite() && slope < 0.0 || !apart && slope <= 0.0,
            "slope {slope} at t = {t}"
        );
        let density = schedule.density(LogSnr::new(level));
        assert!(density.is_finite() || !apart, "density {density} at t = {t}: {schedule:?}");
        assert!(density >= 0.0, "density {density} at t = {t}: {schedule:?}");
        let time = schedule.time(LogSnr::new(level));
        assert!((0.0..=1.0).contains(&time), "time {time} of t = {t}: {schedule:?}");
        assert!((0.0..=1.0).contains(&schedule.cdf(LogSnr::new(level))), "{schedule:?}");
        (before, seen) = (level, t);
    }
    assert!(range.min() <= before, "log-SNR rises after t = {seen}: {schedule:?}");
    for (t, end) in [(0.0, range.max()), (1.0, range.min())] {
        assert_eq!(schedule.log_snr(t).value().to_bits(), end.to_bits(), "{schedule:?}");
        assert!(schedule.slope(t) <= 0.0, "slope at t = {t}: {schedule:?}");
        assert!(schedule.density(LogSnr::new(end)) >= 0.0, "density at t = {t}: {schedule:?}");
    }
}

fn levels() -> impl Iterator<Item = f64> {
    (-30..=30).map(f64::from)
}

/// Its logarithm is a number at every level.
fn weighting(weighting: &Weighting) {
    let schedule = Schedule::linear(30.0, -30.0).expect("a legal schedule");
    for level in levels() {
        let log = weighting.log_at(LogSnr::new(level), &schedule);
        assert!(log.is_finite(), "ln w = {log} at {level}: {weighting:?}");
        let slope = weighting.slope(LogSnr::new(level), &schedule);
        assert!(!slope.is_nan(), "dw = {slope} at {level}: {weighting:?}");
    }
}

fn scaling(scaling: &Scaling) {
    for log_snr in levels() {
        let NoiseLevel { alpha, sigma, .. } = scaling.level(log_snr);
        assert!(
            alpha > 0.0 && alpha.is_finite() && sigma > 0.0 && sigma.is_finite(),
            "{scaling:?}"
        );
        let (up, down) = scaling.rates(log_snr);
        assert!(up >= 0.0 && up.is_finite() && down <= 0.0 && down.is_finite(), "{scaling:?}");
    }
}

/// What a network is to predict has finite coefficients at every level.
fn prediction(of: &Parameterization) {
    for log_snr in levels() {
        let at = Scaling::VariancePreserving.level(log_snr);
        let (image, noise) = of.target(&at);
        assert!(image.is_finite() && noise.is_finite(), "{image}, {noise} at {log_snr}: {of:?}");
    }
}

/// It proposes by a legal schedule, before and after it has seen more.
fn proposal(adaptive: &Adaptive) {
    schedule(&Schedule::Histogram(adaptive.schedule()));
    let mut adaptive = adaptive.clone();
    adaptive.observe(LogSnr::new(0.0), 1e300);
    adaptive.observe(LogSnr::new(f64::INFINITY), 0.0);
    schedule(&Schedule::Histogram(adaptive.schedule()));
}
