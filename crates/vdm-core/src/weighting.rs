//! Weights over noise levels.

use serde::{Deserialize, Serialize};

use crate::{LogSnr, NoiseSchedule, Real};

/// `w(λ)` in the weighted loss `L_w = ½ E_t[w(λ_t)·(−dλ/dt)·‖ε − ε̂‖²]`. Monograph §2.4.1.
///
/// The measure is that of the noise error over `λ`: `w ≡ 1` is the evidence lower bound. Weights
/// that other texts state for squared errors of the image carry an extra `1/SNR` (erratum E8).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Weighting {
    /// `w = 1`: the likelihood bound.
    Elbo,
    /// `w = p(λ)`: the plain squared noise error of DDPM, whose weight is its schedule's density.
    Simple,
    /// `w = sigmoid(bias − λ)`: monotone, so still a bound on augmented data
    /// (Kingma and Gao 2023).
    Sigmoid {
        /// Shift of the cut-off, in nats of log-SNR.
        bias: f64,
    },
}

impl Weighting {
    /// `w(λ)`; the schedule matters to [`Simple`](Self::Simple) alone.
    ///
    /// ```
    /// use vdm_core::{LogSnr, Schedule, Weighting};
    /// let schedule = Schedule::linear(5.0, -5.0)?;
    /// assert_eq!(Weighting::Elbo.at(LogSnr::new(1.0), &schedule), 1.0);
    /// assert!((Weighting::Simple.at(LogSnr::new(1.0), &schedule) - 0.1).abs() < 1e-15);
    /// # Ok::<(), vdm_core::Error>(())
    /// ```
    #[must_use]
    pub fn at(self, log_snr: LogSnr, schedule: &dyn NoiseSchedule) -> f64 {
        match self {
            Self::Elbo => 1.0,
            Self::Simple => schedule.density(log_snr),
            Self::Sigmoid { bias } => (bias - log_snr.value()).sigmoid(),
        }
    }
}
