//! The cosine schedule (Nichol and Dhariwal 2021) in the log-SNR form of Hoogeboom et al. 2023.

use serde::{Deserialize, Serialize};

use super::{LogSnrRange, NoiseSchedule};
use crate::{Dual, LogSnr, Real};

/// `λ_t = −2 ln tan(u_t)` with `u` linear in `t` between the angles of the two end points.
///
/// Under the variance-preserving scaling `α = cos u` and `σ = sin u`: the latent turns at constant
/// speed from data to noise. Levels near `λ = 0` are visited most, `p(λ) ∝ sech(λ/2)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cosine {
    range: LogSnrRange,
}

/// The angle whose tangent is `σ/α`.
fn angle(log_snr: f64) -> f64 {
    (-0.5 * log_snr).exp().atan()
}

impl Cosine {
    /// Between two levels.
    #[must_use]
    pub fn new(range: LogSnrRange) -> Self {
        Self { range }
    }

    /// The end points.
    #[must_use]
    pub fn range(&self) -> LogSnrRange {
        self.range
    }

    fn value<C: Real>(&self, t: &C) -> C {
        let (first, last) = (angle(self.range.max()), angle(self.range.min()));
        let u = t.lift(first) + t.lift(last - first) * t.clone();
        t.lift(-2.0) * (u.sin() / u.cos()).ln()
    }
}

impl NoiseSchedule for Cosine {
    fn log_snr(&self, t: f64) -> LogSnr {
        self.range.pin(t, |t| self.value(&t))
    }
    fn slope(&self, t: f64) -> f64 {
        self.value(&Dual::variable(t)).derivative
    }
    fn time(&self, log_snr: LogSnr) -> f64 {
        let (first, last) = (angle(self.range.max()), angle(self.range.min()));
        ((angle(log_snr.value()) - first) / (last - first)).clamp(0.0, 1.0)
    }
}
