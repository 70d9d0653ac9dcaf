//! The variance of a training's loss, and what the best proposal would make of it.

use serde::{Deserialize, Serialize};

use super::bin_of;
use crate::schedule::LogSnrRange;
use crate::setting::at_least_one;
use crate::{Error, LogSnr};

/// One item's part in the estimate of a loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossSample {
    /// The level it was noised at.
    pub log_snr: LogSnr,
    /// `p(λ)` there, the density of the proposal.
    pub density: f64,
    /// `½ w(λ)/p(λ) ‖ε − ε̂‖²`, in nats.
    pub loss: f64,
}

impl LossSample {
    /// `w(λ)‖ε − ε̂‖²`, what [`Adaptive`](super::Adaptive) observes: free of the proposal.
    #[must_use]
    pub fn weighted_error(&self) -> f64 {
        2.0 * self.loss * self.density
    }
}

/// Mean and variance of the loss over draws, and the least variance a histogram of levels could have.
///
/// A proposal with mass `m_b` on bin `b`, of width `Δ`, has the second moment `Σ_b Δ I_b/m_b` with
/// `I_b = ∫_b E[(½wh)²] dλ`. The best masses, `∝ √I_b`, reach `Δ(Σ_b √I_b)²`; and draws from any
/// proposal `p` tell `I_b`, as the mean of `p·L²` over all draws, where those elsewhere count as 0.
/// Monograph §2.4.3 with errors that vary at one level: `p* ∝ w·√E[h²]`, which
/// [`Adaptive`](super::Adaptive) goes for.
///
/// Few draws a bin understate `Σ √I_b`, hence the least variance: have some tens. Serialized it goes on
/// in another process where it was.
///
/// ```
/// use vdm_core::importance::{LossSample, LossVariance};
/// use vdm_core::schedule::LogSnrRange;
/// use vdm_core::LogSnr;
/// let mut variance = LossVariance::new(LogSnrRange::new(2.0, -2.0)?, 2);
/// // Drawn uniformly, the lower half of the levels has three times the loss of the upper.
/// for (log_snr, loss) in [(-1.0, 6.0), (1.0, 2.0)] {
///     variance.observe(&LossSample { log_snr: LogSnr::new(log_snr), density: 0.25, loss });
/// }
/// assert_eq!((variance.mean(), variance.variance()), (4.0, 4.0));
/// // Drawn from the lower half three times as often, every draw would be worth 4.
/// assert!(variance.least_variance().abs() < 1e-14);
/// # Ok::<(), vdm_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawLossVariance", into = "RawLossVariance")]
pub struct LossVariance {
    range: LogSnrRange,
    count: f64,
    sum: f64,
    squares: f64,
    /// Sums of `p·L²`.
    bins: Vec<f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLossVariance {
    log_snr_max: f64,
    log_snr_min: f64,
    count: f64,
    sum: f64,
    squares: f64,
    bins: Vec<f64>,
}

impl TryFrom<RawLossVariance> for LossVariance {
    type Error = Error;
    fn try_from(raw: RawLossVariance) -> Result<Self, Error> {
        let RawLossVariance { log_snr_max, log_snr_min, count, sum, squares, bins } = raw;
        let range = LogSnrRange::new(log_snr_max, log_snr_min)?;
        at_least_one("loss_variance.bins", bins.len())?;
        Ok(Self { range, count, sum, squares, bins })
    }
}

impl From<LossVariance> for RawLossVariance {
    fn from(variance: LossVariance) -> Self {
        let LossVariance { range, count, sum, squares, bins } = variance;
        Self { log_snr_max: range.max(), log_snr_min: range.min(), count, sum, squares, bins }
    }
}

impl LossVariance {
    /// Before any draw, over finite levels.
    ///
    /// # Panics
    /// If `bins` is 0.
    #[must_use]
    pub fn new(range: LogSnrRange, bins: usize) -> Self {
        assert!(bins > 0, "a variance has at least one bin");
        Self { range, count: 0.0, sum: 0.0, squares: 0.0, bins: vec![0.0; bins] }
    }

    /// Observes a draw; levels beyond the ends count for the bins there.
    pub fn observe(&mut self, draw: &LossSample) {
        let square = draw.loss * draw.loss;
        self.count += 1.0;
        self.sum += draw.loss;
        self.squares += square;
        let bin = bin_of(self.range, self.bins.len(), draw.log_snr);
        self.bins[bin] += draw.density * square;
    }

    /// The loss, in nats; NaN before any draw.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sum / self.count
    }

    /// The variance of one draw's loss, in nats², over levels and items alike.
    #[must_use]
    pub fn variance(&self) -> f64 {
        self.less_the_mean(self.squares / self.count)
    }

    /// What [`variance`](Self::variance) would be under the best histogram of these bins.
    #[must_use]
    pub fn least_variance(&self) -> f64 {
        let width = (self.range.max() - self.range.min()) / self.bins.len() as f64;
        let roots: f64 = self.bins.iter().map(|sum| (sum / self.count).sqrt()).sum();
        self.less_the_mean(width * roots * roots)
    }

    fn less_the_mean(&self, second_moment: f64) -> f64 {
        (second_moment - self.mean().powi(2)).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::importance::{Estimator, optimal};
    use crate::{NoiseSchedule, Schedule, Weighting, times};

    /// Saved half-way it comes to the same bits.
    #[test]
    fn it_survives_its_own_json_and_refuses_what_is_not_one() {
        let draw = |loss| LossSample { log_snr: LogSnr::new(loss), density: 0.3, loss };
        let mut variance = LossVariance::new(LogSnrRange::new(2.0, -2.0).unwrap(), 3);
        variance.observe(&draw(0.1));
        let json = serde_json::to_string(&variance).unwrap();
        let mut again: LossVariance = serde_json::from_str(&json).unwrap();
        assert_eq!(again, variance);
        for loss in [0.7, 1.9] {
            variance.observe(&draw(loss));
            again.observe(&draw(loss));
        }
        assert_eq!(again.least_variance().to_bits(), variance.least_variance().to_bits());
        let none = format!("{}[]}}", json.split_once('[').unwrap().0);
        for bad in [none, json.replace("-2.0", "2.5")] {
            assert!(serde_json::from_str::<LossVariance>(&bad).is_err(), "{bad}");
        }
    }

    /// Against the variances of the estimators themselves, by quadrature. The cells of 20,000 even
    /// draws leave 1e-4; 64 bins come within their own coarseness of the best proposal.
    #[test]
    fn m57_draws_tell_their_variance_and_the_least_one() {
        let schedule = Schedule::linear(6.0, -5.0).unwrap();
        let proposal = Schedule::cosine(6.0, -5.0).unwrap();
        let error = |at: LogSnr| 3.0 / (1.0 + (-0.8 * at.value()).exp()) + 0.1;
        let of = |proposal| Estimator::new(Weighting::Elbo, &schedule, proposal).unwrap();
        let estimator = of(&proposal);
        let mut variance = LossVariance::new(schedule.range(), 64);
        for t in times::low_discrepancy(0.5, 20_000) {
            let log_snr = estimator.log_snr(t);
            let loss = estimator.factor(t) * error(log_snr);
            variance.observe(&LossSample { log_snr, density: proposal.density(log_snr), loss });
        }
        assert!((variance.mean() / estimator.mean(error) - 1.0).abs() < 1e-4);
        assert!((variance.variance() / estimator.variance(error) - 1.0).abs() < 1e-3);
        let best = optimal(&Weighting::Elbo, &schedule, 64, error).unwrap();
        let least = of(&best).variance(error);
        // The second moments, of which the variances are small differences.
        let squared = estimator.mean(error).powi(2);
        assert!(((variance.least_variance() + squared) / (least + squared) - 1.0).abs() < 1e-3);
        assert!(variance.least_variance() < 0.01 * variance.variance());
    }
}
