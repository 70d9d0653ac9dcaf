//! Importance sampling of noise levels: the same objective with less noise.
//!
//! ```text
//! L_w = ½ ∫ w(λ) E‖ε − ε̂‖² dλ = E_{λ ~ p}[½ w(λ)/p(λ) ‖ε − ε̂‖²]
//! ```
//!
//! for *any* density `p` on the same levels (monograph §2.4.3): the schedule that training draws from
//! decides the variance of the loss, never its value. The variance is least for `p* ∝ w·√E[h²]` with
//! `h = ‖ε − ε̂‖²`, which [`Adaptive`] measures while training. The text's `w·E[h]` is that where `h`
//! does not vary at one level. Where it does, errors that are rare but large have a small mean: drawn
//! by it they are drawn seldom and count for much, and the variance can rise above that of levels drawn
//! without any knowledge.
//!
//! Every [`NoiseSchedule`] is a proposal. [`Estimator`] pairs one with an objective; [`LossVariance`] tells
//! from the draws of a training what its variance is, and what it could be.

mod loss_variance;

use serde::{Deserialize, Serialize};

pub use loss_variance::{LossSample, LossVariance};

use crate::count::{Cost, bounded};
use crate::schedule::{Histogram, LogSnrRange};
use crate::setting::{at_least_one, below_one, non_negative, require};
use crate::{Error, LogSnr, NoiseSchedule, Weighting, bound, quadrature};

/// A weighted loss, estimated at levels that another schedule proposes.
///
/// ```
/// use vdm_core::importance::Estimator;
/// use vdm_core::{Schedule, Weighting};
/// let (linear, cosine) = (Schedule::linear(5.0, -5.0)?, Schedule::cosine(5.0, -5.0)?);
/// let estimator = Estimator::new(Weighting::Elbo, &linear, &cosine)?;
/// // A noise error of 1 at every level is worth half the range, whatever the proposal.
/// assert!((estimator.mean(|_| 1.0) - 5.0).abs() < 1e-12);
/// assert!(estimator.variance(|_| 1.0) > 4.0);
/// # Ok::<(), vdm_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Estimator<'a> {
    weighting: Weighting,
    schedule: &'a dyn NoiseSchedule,
    proposal: &'a dyn NoiseSchedule,
}

impl<'a> Estimator<'a> {
    /// The loss under `weighting`, whose [`Simple`](Weighting::Simple) weight is the density of
    /// `schedule`, at levels from `proposal`.
    ///
    /// # Errors
    /// [`Error::Proposal`] unless both schedules have the same end points, between which the
    /// objective is an integral; [`Error::Setting`] if the weighting is not
    /// [`checked`](Weighting::checked).
    pub fn new(
        weighting: Weighting,
        schedule: &'a dyn NoiseSchedule,
        proposal: &'a dyn NoiseSchedule,
    ) -> Result<Self, Error> {
        let (wanted, found) = (schedule.range(), proposal.range());
        if wanted != found {
            return Err(Error::Proposal { wanted, found });
        }
        Ok(Self { weighting: weighting.checked()?, schedule, proposal })
    }

    /// The level of a uniform time under the proposal.
    #[must_use]
    pub fn log_snr(&self, t: f64) -> LogSnr {
        self.proposal.log_snr(t)
    }

    /// `½ w(λ_t)/p(λ_t)`: what `‖ε − ε̂‖²` counts for at that level, in nats.
    #[must_use]
    pub fn factor(&self, t: f64) -> f64 {
        let weight = self.weighting.at(self.log_snr(t), self.schedule);
        weight * bound::continuous_factor(self.proposal.slope(t))
    }

    /// The loss itself for a model with `E‖ε − ε̂‖² = error(λ)`, in nats, by quadrature; both ends
    /// finite. Free of the proposal.
    #[must_use]
    pub fn mean(&self, error: impl Fn(LogSnr) -> f64) -> f64 {
        self.integral(|log_snr| self.half_weight(log_snr) * error(log_snr))
    }

    /// The variance of one draw of the level, `∫ (½wh)²/p dλ − L_w²` with `h = error(λ)`, in nats², by
    /// quadrature; both ends finite. What `‖ε − ε̂‖²` varies by at one level comes on top.
    ///
    /// Between two proposals it differs by `¼∫ (wh)²(1/p − 1/p') dλ`. Against levels drawn from
    /// `w/Z`, `Z = ∫w`, the gain is `¼∫ w(Z − w/p)h² dλ`: the text's `E_w[(1 − w/p)h²]` if, as it
    /// leaves unsaid, `Z = 1` (erratum E10).
    #[must_use]
    pub fn variance(&self, error: impl Fn(LogSnr) -> f64) -> f64 {
        let mean = self.mean(&error);
        self.integral(|log_snr| {
            let density = self.proposal.density(log_snr);
            density * (self.half_weight(log_snr) * error(log_snr) / density - mean).powi(2)
        })
    }

    fn half_weight(&self, log_snr: LogSnr) -> f64 {
        0.5 * self.weighting.at(log_snr, self.schedule)
    }

    fn integral(&self, f: impl Fn(LogSnr) -> f64) -> f64 {
        let range = self.proposal.range();
        quadrature::interval(range.min(), range.max(), |log_snr| f(LogSnr::new(log_snr)))
    }
}

/// `p* ∝ w(λ)·√E[h²]`, the proposal of least variance for `h = ‖ε − ε̂‖²`, in `bins` equal intervals of
/// the schedule's levels. `error` is the root mean square of `h` at a level; for errors that are known
/// exactly, `|h|` itself.
///
/// # Errors
/// [`Error::ScheduleRange`] if an end of the schedule is infinite; [`Error::Setting`] unless
/// there is a bin, and `w·error` is a positive finite number in the middle of each; [`Error::Count`] for more
/// than 2^20 bins.
pub fn optimal(
    weighting: &Weighting,
    schedule: &dyn NoiseSchedule,
    bins: usize,
    error: impl Fn(LogSnr) -> f64,
) -> Result<Histogram, Error> {
    let range = schedule.range().finite()?;
    bounded("bins", bins, Cost::List)?;
    let mass = |i| {
        let share = (i as f64 + 0.5) / bins as f64;
        let middle = LogSnr::new(range.min() * (1.0 - share) + range.max() * share);
        weighting.at(middle, schedule) * error(middle).abs()
    };
    Histogram::new(range, (0..bins).map(mass).collect())
}

/// The adaptive proposal, `p(λ) ∝ √E[(w(λ)‖ε − ε̂‖²)²]`, from what training sees.
///
/// Each of `n` equal intervals of `λ` keeps a moving average of the squared weighted error: the mean of
/// what it has seen, then an exponential one, so that it follows the model. Intervals that have seen
/// none count as the mean of the others, so the proposal starts uniform. Serialized it belongs into a
/// checkpoint: the proposal is part of what makes a run repeatable.
///
/// The root mean square, where monograph §2.4.3 and Kingma and Gao 2023, appendix F, have the mean:
/// of all densities that are constant over each interval it has the least variance (§2.4.3's own `p*`,
/// with errors that vary at one level). The two agree where the error is a function of the level alone;
/// then every level shows the same loss. For two data points, whose exact denoiser errs rarely and by a
/// lot at high log-SNR, the mean nearly doubles the variance that uniform levels have (log-SNR −4 to 3),
/// and the root mean square nearly halves it. In discrete time it is the sampler of Nichol and Dhariwal
/// 2021, §3.3.
///
/// A share `u` of the time stays uniform, for errors that no draw has shown yet: whatever the averages
/// miss, the second moment is at most `1/u` times that of uniform levels, and where they miss nothing at
/// most `1/(1 − u)` times the least. [`UNIFORM`](Self::UNIFORM) suits training. With a hundredth an
/// untrained categorical head, of the same kind of errors, had three times the variance of uniform levels after
/// 20,000 items, and with a tenth three tenths of it.
///
/// ```
/// use vdm_core::importance::Adaptive;
/// use vdm_core::schedule::LogSnrRange;
/// use vdm_core::{LogSnr, NoiseSchedule};
/// let mut adaptive = Adaptive::new(LogSnrRange::new(4.0, -4.0)?, 2, 0.9, 0.01)?;
/// adaptive.observe(LogSnr::new(-1.0), 1.0);
/// // The mean of both intervals is 1; the root mean square of the upper one is √2.
/// adaptive.observe(LogSnr::new(3.0), 0.0);
/// adaptive.observe(LogSnr::new(3.0), 2.0);
/// let share = 1.0 - adaptive.schedule().cdf(LogSnr::new(0.0));
/// let root = 2.0_f64.sqrt();
/// assert!((share - (0.99 * root / (1.0 + root) + 0.01 * 0.5)).abs() < 1e-15);
/// # Ok::<(), vdm_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawAdaptive", into = "RawAdaptive")]
pub struct Adaptive {
    range: LogSnrRange,
    decay: f64,
    uniform: f64,
    /// From the lowest level upward.
    bins: Vec<Bin>,
}

/// The weighted errors seen in one interval of levels.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bin {
    count: u64,
    mean_square: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAdaptive {
    log_snr_max: f64,
    log_snr_min: f64,
    decay: f64,
    uniform: f64,
    bins: Vec<Bin>,
}

impl TryFrom<RawAdaptive> for Adaptive {
    type Error = Error;
    fn try_from(raw: RawAdaptive) -> Result<Self, Error> {
        let range = LogSnrRange::new(raw.log_snr_max, raw.log_snr_min)?;
        let empty = Self::new(range, raw.bins.len(), raw.decay, raw.uniform)?;
        for Bin { mean_square, .. } in &raw.bins {
            non_negative("adaptive.bins.mean_square", *mean_square)?;
        }
        Ok(Self { bins: raw.bins, ..empty })
    }
}

impl From<Adaptive> for RawAdaptive {
    fn from(adaptive: Adaptive) -> Self {
        let Adaptive { range, decay, uniform, bins } = adaptive;
        Self { log_snr_max: range.max(), log_snr_min: range.min(), decay, uniform, bins }
    }
}

/// Which of `bins` equal intervals a level is in; levels beyond the ends are in those there.
fn bin_of(range: LogSnrRange, bins: usize, log_snr: LogSnr) -> usize {
    // The cast sends what is below 0 to 0.
    ((range.fraction(log_snr.value()) * bins as f64) as usize).min(bins - 1)
}

fn is_legal(value: f64) -> bool {
    value >= 0.0 && value.is_finite()
}

impl Adaptive {
    /// The share of uniform levels for training: at most 10 times the second moment of uniform levels, at
    /// most 10/9 of the least.
    pub const UNIFORM: f64 = 0.1;

    /// Before any observation. 100 bins, a `decay` of 0.999 per observation and a share of
    /// [`UNIFORM`](Self::UNIFORM) levels are usual.
    ///
    /// # Errors
    /// [`Error::ScheduleRange`] if an end is infinite; [`Error::Setting`] unless there is a bin,
    /// `decay` is at least 0 and below 1, and `uniform` above 0 and at most 1, or if the range is too narrow to
    /// cut into so many, or one bin's part of `uniform` too small for the digits of time; [`Error::Count`] for
    /// more than 2^20 bins.
    pub fn new(range: LogSnrRange, bins: usize, decay: f64, uniform: f64) -> Result<Self, Error> {
        at_least_one("adaptive.bins", bins)?;
        bounded("adaptive.bins", bins, Cost::List)?;
        below_one("adaptive.decay", decay)?;
        let legal = uniform > 0.0 && uniform <= 1.0;
        require(legal, "adaptive.uniform", uniform, "use a share above 0 and at most 1")?;
        // The hardest histogram to tell apart: all in the first bin of time, the rest next to t = 1.
        let mut masses = vec![uniform / bins as f64; bins];
        masses[bins - 1] += 1.0 - uniform;
        Histogram::new(range, masses)?;
        Ok(Self { range, decay, uniform, bins: vec![Bin::default(); bins] })
    }

    /// Observes `w(λ)‖ε − ε̂‖²`, in any unit, at a level; levels beyond the ends count for the
    /// bins there. What is no number or negative, or has no finite square (from 1.4e154 on), is left
    /// out: one such value would stay in an average for good.
    pub fn observe(&mut self, log_snr: LogSnr, weighted_error: f64) {
        let square = weighted_error * weighted_error;
        if log_snr.value().is_nan() || !is_legal(weighted_error) || !is_legal(square) {
            return;
        }
        let bin = bin_of(self.range, self.bins.len(), log_snr);
        let bin = &mut self.bins[bin];
        // A file may say that there were as many as there are numbers.
        bin.count = bin.count.saturating_add(1);
        // The plain mean until it is long enough: otherwise the first error would stay the average
        // for as long as the average remembers.
        let step = (1.0 - self.decay).max(1.0 / bin.count as f64);
        bin.mean_square += step * (square - bin.mean_square);
    }

    /// The proposal as of now: a legal schedule at every moment.
    #[must_use]
    #[expect(
        clippy::missing_panics_doc,
        reason = "the bins were checked, their shares are positive"
    )]
    pub fn schedule(&self) -> Histogram {
        let seen = || self.bins.iter().filter(|bin| bin.count > 0);
        // Relative to the largest: free of the unit, and where all are 0 uniform.
        let largest = seen().map(|bin| bin.mean_square).fold(0.0, f64::max);
        let relative =
            |bin: &Bin| if largest > 0.0 { (bin.mean_square / largest).sqrt() } else { 1.0 };
        let mean = match seen().count() {
            0 => 1.0,
            count => seen().map(relative).sum::<f64>() / count as f64,
        };
        let n = self.bins.len() as f64;
        let masses = self.bins.iter().map(|bin| {
            let level = if bin.count > 0 { relative(bin) } else { mean };
            ((1.0 - self.uniform) * level / mean + self.uniform) / n
        });
        Histogram::new(self.range, masses.collect()).expect("a legal histogram")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range() -> LogSnrRange {
        LogSnrRange::new(6.0, -2.0).unwrap()
    }

    fn shares(adaptive: &Adaptive, bins: usize) -> Vec<f64> {
        let schedule = adaptive.schedule();
        let cdf = |i: usize| schedule.cdf(LogSnr::new(-2.0 + 8.0 * i as f64 / bins as f64));
        (0..bins).map(|i| cdf(i + 1) - cdf(i)).collect()
    }

    #[test]
    fn it_starts_uniform_and_never_leaves_a_level_out() {
        let mut adaptive = Adaptive::new(range(), 4, 0.5, 0.01).unwrap();
        for share in shares(&adaptive, 4) {
            assert!((share - 0.25).abs() < 1e-15);
        }
        // Bins 0 and 3 alone: the others count as their mean.
        adaptive.observe(LogSnr::new(-100.0), 0.0);
        adaptive.observe(LogSnr::new(6.0), 1e154);
        let wanted = [0.0025, 0.25, 0.25, 0.4975];
        for (share, wanted) in shares(&adaptive, 4).iter().zip(wanted) {
            assert!((share - wanted).abs() < 1e-15, "{share}, not {wanted}");
        }
        for bad in [f64::NAN, f64::INFINITY, -1.0, 1.5e154] {
            let before = adaptive.clone();
            adaptive.observe(LogSnr::new(1.0), bad);
            adaptive.observe(LogSnr::new(f64::NAN), 1.0);
            assert_eq!(adaptive, before, "{bad}");
        }
    }

    /// As a file may say.
    #[test]
    fn a_count_at_its_end_stays_there() {
        let mut adaptive = Adaptive::new(range(), 1, 0.9, 0.01).unwrap();
        adaptive.bins[0] = Bin { count: u64::MAX, mean_square: 1.0 };
        adaptive.observe(LogSnr::new(1.0), 2.0);
        assert_eq!(adaptive.bins[0].count, u64::MAX);
        assert!((adaptive.bins[0].mean_square - 1.3).abs() < 1e-12);
    }

    #[test]
    fn errors_of_zero_everywhere_are_uniform() {
        let mut adaptive = Adaptive::new(range(), 2, 0.9, 0.01).unwrap();
        adaptive.observe(LogSnr::new(-1.0), 0.0);
        adaptive.observe(LogSnr::new(5.0), 0.0);
        assert_eq!(shares(&adaptive, 2), [0.5, 0.5]);
    }

    #[test]
    fn averages_are_plain_at_first_then_exponential() {
        let mut adaptive = Adaptive::new(range(), 1, 0.75, 0.01).unwrap();
        // Of the squares 64, 16, 0, 0 and 64.
        for (error, wanted) in
            [(8.0, 64.0), (4.0, 40.0), (0.0, 80.0 / 3.0), (0.0, 20.0), (8.0, 31.0)]
        {
            adaptive.observe(LogSnr::new(0.0), error);
            let off = (adaptive.bins[0].mean_square - wanted).abs();
            assert!(off < 1e-13, "{adaptive:?}, not {wanted}");
        }
    }

    #[test]
    fn it_survives_its_own_json_and_refuses_what_is_not_one() {
        let mut adaptive = Adaptive::new(range(), 3, 0.9, 0.125).unwrap();
        adaptive.observe(LogSnr::new(0.1), 0.5);
        let json = serde_json::to_string(&adaptive).unwrap();
        assert_eq!(serde_json::from_str::<Adaptive>(&json).unwrap(), adaptive);
        let narrow = LogSnrRange::new(1.0 + f64::EPSILON, 1.0).unwrap();
        assert!(Adaptive::new(narrow, 2, 0.9, 0.1).is_err());
        // A legal share of which a bin gets less than the last digit of t = 1.
        let error = Adaptive::new(range(), 2, 0.9, 1e-17).unwrap_err().to_string();
        assert!(error.contains("e-18"), "{error}");
        for (from, to, named) in [
            ("0.9", "1.0", "decay"),
            ("0.125", "0.0", "uniform"),
            ("0.125", "1.5", "uniform"),
            ("0.25", "-0.25", "mean_square"),
            (&json[json.find('[').unwrap()..], "[]}", "bins"),
            ("-2.0", "7.0", "log_snr_min = 7"),
        ] {
            assert!(json.contains(from), "{json}");
            let refused = serde_json::from_str::<Adaptive>(&json.replacen(from, to, 1));
            let error = refused.unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn proposals_of_other_levels_are_refused() {
        let [a, b] = [-5.0, -4.0].map(|min| crate::Schedule::linear(5.0, min).unwrap());
        let error = Estimator::new(Weighting::Elbo, &a, &b).unwrap_err();
        assert!(error.to_string().contains("-4"), "{error}");
    }
}
