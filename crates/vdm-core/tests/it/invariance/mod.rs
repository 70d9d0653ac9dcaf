//! One bound under many schedules: the rows that `tests/it/bounds.rs` asserts and
//! `examples/invariance.rs` prints.

use vdm_core::importance::Estimator;
use vdm_core::quadrature::tabulated;
use vdm_core::schedule::LogSnrRange;
use vdm_core::{GaussianMixture, LogSnr, NoiseSchedule, Schedule, Weighting, bound, quadrature};

use crate::data::{VP, data, noise_error};
use crate::random::Random;

/// The end points of VDM's figures.
pub(crate) const MAX: f64 = 13.3;
pub(crate) const MIN: f64 = -5.0;

pub(crate) fn range() -> LogSnrRange {
    LogSnrRange::new(MAX, MIN).unwrap()
}

/// The usual parameters of each, but for the widths of `laplace` and the last two, which have none.
pub(crate) fn schedules() -> Vec<(&'static str, Schedule)> {
    [
        ("linear", ""),
        ("cosine", ""),
        ("sigmoid", r#", "start": -3, "end": 3, "tau": 1"#),
        ("vp_linear", r#", "beta_min": 0.1, "beta_max": 20"#),
        ("normal", r#", "mean": 2.4, "std": 2.4"#),
        ("laplace", r#", "mean": 2.4, "std": 2"#),
        ("straight_line", ""),
        ("karras", r#", "sigma_min": 0.001, "sigma_max": 80"#),
        ("monotone", r#", "increments": [0.3, -2, 2, 1, -1]"#),
        ("histogram", r#", "masses": [1, 0.2, 3, 2]"#),
    ]
    .map(|(kind, rest)| {
        let json = format!(
            r#"{{"kind": "{kind}", "log_snr_max": {MAX:?}, "log_snr_min": {MIN:?}{rest}}}"#
        );
        (kind, serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}")))
    })
    .into()
}

/// `E‖ε − ε̂‖⁴`: the fourth central moment of `x` given `z`, a mixture of Gaussians, over the distribution of
/// `z`.
pub(crate) fn squared_error(data: &GaussianMixture, log_snr: f64) -> f64 {
    let at = VP.level(log_snr);
    let var = |std: f64| (at.alpha * std).powi(2) + at.sigma.powi(2);
    let fourth_moment = |z: f64| {
        let x_hat = data.posterior_mean(&[z], &at)[0];
        let (mut over, mut under) = (0.0, 0.0);
        for (weight, mean, std) in data.components() {
            let off = z - at.alpha * mean[0];
            let likelihood = weight / var(std).sqrt() * (-0.5 * off * off / var(std)).exp();
            let gap = (mean[0] + at.alpha * std * std / var(std) * off - x_hat).powi(2);
            let spread = (std * at.sigma).powi(2) / var(std);
            over += likelihood * (gap * gap + 6.0 * gap * spread + 3.0 * spread * spread);
            under += likelihood;
        }
        over / under
    };
    let of_component = |(weight, mean, std): (f64, &[f64], f64)| {
        let place = |xi: f64| at.alpha * mean[0] + var(std).sqrt() * xi;
        weight * quadrature::normal(1, |xi| fourth_moment(place(xi[0])))
    };
    (2.0 * log_snr).exp() * data.components().map(of_component).sum::<f64>()
}

/// The times at which a schedule passes `spans + 1` evenly spread levels.
fn times_of_levels(schedule: &Schedule, spans: u32) -> Vec<f64> {
    let level = |i| MAX + (MIN - MAX) * f64::from(i) / f64::from(spans);
    (0..=spans).map(|i| schedule.time(LogSnr::new(level(i)))).collect()
}

/// `∫ −½ λ'(t) error(λ_t) dt`, piece by piece: where the slope is steep the pieces are short, and
/// the knots of `monotone`, at fifths of the time, and of `histogram`, at quarters of the levels, are
/// ends of pieces.
pub(crate) fn over_time(schedule: &Schedule, error: impl Fn(f64) -> f64) -> f64 {
    let mut cuts = times_of_levels(schedule, 20);
    cuts.extend([0.2, 0.4, 0.6, 0.8]);
    cuts.sort_by(f64::total_cmp);
    let integrand =
        |t| bound::continuous_factor(schedule.slope(t)) * error(schedule.log_snr(t).value());
    cuts.windows(2).map(|ends| quadrature::interval(ends[0], ends[1], integrand)).sum()
}

/// Mean and squared standard error of a few draws.
fn mean(draws: &[f64]) -> (f64, f64) {
    let n = draws.len() as f64;
    let mean = draws.iter().sum::<f64>() / n;
    let spread = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, spread / n)
}

/// Intervals of time that are drawn from in turn, and draws from each.
const STRATA: u32 = 200;
const DRAWS: u32 = 100;

/// `E(y − loss)²` for `y = ½‖ε − ε̂‖²/p(λ)` at a uniform time, and its standard error.
///
/// Time is drawn uniformly in each of 200 intervals that see equally many nats of `λ`, and each
/// counts for its length. Plain draws would meet the rare levels that the variance of some schedules
/// consists of once in 10⁵.
fn measured_variance(
    estimator: &Estimator<'_>,
    schedule: &Schedule,
    loss: f64,
    random: &mut Random,
) -> (f64, f64) {
    let (data, mut variance, mut error) = (data(), 0.0, 0.0);
    for ends in times_of_levels(schedule, STRATA).windows(2) {
        let share = ends[1] - ends[0];
        let mut draw = || {
            let t = ends[0] + share * random.uniform();
            let y = estimator.factor(t) * random.noise_error(&data, estimator.log_snr(t));
            (y - loss).powi(2)
        };
        let (square, spread) = mean(&(0..DRAWS).map(|_| draw()).collect::<Vec<_>>());
        variance += share * square;
        error += share * share * spread;
    }
    (variance, error.sqrt())
}

/// What is known of one schedule.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// `L_∞` by quadrature over time.
    pub(crate) loss: f64,
    /// Its distance from `½ ∫ E‖ε − ε̂‖² dλ`, relative to that.
    pub(crate) off: f64,
    /// Of one draw of time, item and noise, by quadrature over `λ`.
    pub(crate) variance: f64,
    /// The same from draws, and its standard error.
    pub(crate) measured: (f64, f64),
}

/// Every schedule's row.
pub(crate) fn measure() -> Vec<Row> {
    let (data, error) = (data(), noise_error(MIN, MAX));
    let square = tabulated(MIN, MAX, &|log_snr| squared_error(&data, log_snr));
    let reference = bound::continuous(range(), |l| error(l.value()));
    let mut random = Random::new(50);
    let row = |(name, schedule): (&'static str, Schedule)| {
        let loss = over_time(&schedule, &error);
        let estimator = Estimator::new(Weighting::Elbo, &schedule, &schedule).unwrap();
        let of_levels = estimator.variance(|l| error(l.value()));
        let within_levels = quadrature::interval(MIN, MAX, |l| {
            0.25 * (square(l) - error(l).powi(2)) / schedule.density(LogSnr::new(l))
        });
        let measured = measured_variance(&estimator, &schedule, reference, &mut random);
        let off = (loss / reference - 1.0).abs();
        Row { name, loss, off, variance: of_levels + within_levels, measured }
    };
    schedules().into_iter().map(row).collect()
}
