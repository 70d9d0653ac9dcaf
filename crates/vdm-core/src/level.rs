//! Noise levels: log-SNR, and the signal and noise scales that go with it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Real;
use crate::setting::{InvalidSetting, require};

/// Log signal-to-noise ratio `λ = ln(α²/σ²) = −γ`, in nats; `±∞` are legal levels.
///
/// The one coordinate of noise everywhere in this workspace. Other conventions enter and leave
/// only through the named constructors: the `λ` of the DPM-Solver papers is half of this one, and
/// EDM's `σ` is `σ/α = e^{−λ/2}`.
///
/// In JSON a number, or `"inf"` and `"-inf"`, which JSON has no number for.
#[doc(alias = "log_snr")]
#[doc(alias = "gamma")]
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct LogSnr(f64);

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "a log-SNR is a number, \"inf\" or \"-inf\"")]
enum RawLogSnr {
    Finite(f64),
    Infinite(Infinite),
}

#[derive(Serialize, Deserialize)]
enum Infinite {
    #[serde(rename = "inf")]
    Data,
    #[serde(rename = "-inf")]
    Noise,
}

impl Serialize for LogSnr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw = match self.0 {
            f64::INFINITY => RawLogSnr::Infinite(Infinite::Data),
            f64::NEG_INFINITY => RawLogSnr::Infinite(Infinite::Noise),
            number if number.is_nan() => {
                return Err(serde::ser::Error::custom("a log-SNR that is no number"));
            }
            finite => RawLogSnr::Finite(finite),
        };
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for LogSnr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match RawLogSnr::deserialize(deserializer)? {
            RawLogSnr::Finite(number) => number,
            RawLogSnr::Infinite(Infinite::Data) => f64::INFINITY,
            RawLogSnr::Infinite(Infinite::Noise) => f64::NEG_INFINITY,
        }))
    }
}

impl LogSnr {
    /// A level from `λ`.
    #[must_use]
    pub const fn new(log_snr: f64) -> Self {
        Self(log_snr)
    }

    /// A level from VDM's `γ = −λ`.
    #[must_use]
    pub fn from_gamma(gamma: f64) -> Self {
        Self(-gamma)
    }

    /// A level from EDM's noise scale `σ/α > 0`.
    #[must_use]
    pub fn from_edm_sigma(sigma: f64) -> Self {
        Self(-2.0 * sigma.ln())
    }

    /// `λ`.
    #[must_use]
    pub const fn value(self) -> f64 {
        self.0
    }

    /// `γ = −λ`.
    #[must_use]
    pub fn gamma(self) -> f64 {
        -self.0
    }

    /// `α²/σ² = e^λ`.
    #[must_use]
    pub fn snr(self) -> f64 {
        self.0.exp()
    }

    /// `σ/α`, the noise scale of EDM and of variance-exploding coordinates.
    #[must_use]
    pub fn edm_sigma(self) -> f64 {
        (-0.5 * self.0).exp()
    }
}

impl fmt::Display for LogSnr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A noise level with its scales: `z = alpha·x + sigma·ε`.
///
/// `C` is `f64` on the schedule side, or one number per sample of a training batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoiseLevel<C = f64> {
    /// `λ = ln(alpha²/sigma²)`.
    pub log_snr: C,
    /// Scale of the signal, `α ≥ 0`.
    pub alpha: C,
    /// Standard deviation of the noise, `σ ≥ 0`.
    pub sigma: C,
}

impl NoiseLevel {
    /// A level from scales of one's own, which need not follow any [`Scaling`].
    ///
    /// ```
    /// use vdm_core::NoiseLevel;
    /// let level = NoiseLevel::from_scales(0.6, 0.3);
    /// assert!((level.log_snr - 4.0_f64.ln()).abs() < 1e-15);
    /// ```
    #[must_use]
    pub fn from_scales(alpha: f64, sigma: f64) -> Self {
        Self { log_snr: 2.0 * (alpha / sigma).ln(), alpha, sigma }
    }

    /// What a latent at this level is multiplied by to be one at `other`, a level of the same log-SNR under
    /// another scaling: `α'/α = σ'/σ`, finite at both infinite ends wherever both levels have a latent.
    /// Monograph §2.3.3.
    ///
    /// ```
    /// use vdm_core::Scaling;
    /// let [vp, ve] = [Scaling::VariancePreserving, Scaling::VarianceExploding].map(|s| s.level(0.0));
    /// assert!((vp.ratio_to(&ve) - 2.0_f64.sqrt()).abs() < 1e-15);
    /// ```
    #[must_use]
    pub fn ratio_to(&self, other: &Self) -> f64 {
        // The two ratios are equal; at the ends only one of them is not 0/0.
        if self.log_snr < 0.0 { other.sigma / self.sigma } else { other.alpha / self.alpha }
    }
}

/// How `(α, σ)` follow from `λ`.
///
/// Models that differ only in this choice are rescalings of one another: at equal `λ` their
/// latents are proportional (monograph §2.3.3).
///
/// Numbers read from a configuration are [`checked`](Self::checked).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "snake_case", deny_unknown_fields)]
pub enum Scaling {
    /// `α² + σ² = 1`: `α = √sigmoid(λ)`, `σ = √sigmoid(−λ)`.
    VariancePreserving,
    /// `α = 1`, `σ = e^{−λ/2}`; no level at `λ = −∞`.
    VarianceExploding,
    /// `α + σ = 1`, the straight line of flow matching: `α = sigmoid(λ/2)`, `σ = sigmoid(−λ/2)`.
    StraightLine,
    /// `σ = 1 − α²` (Song et al. 2021): less noise than variance preserving between the same ends.
    SubVariancePreserving,
    /// `α²·data_std² + σ² = 1`: keeps the variance of data that is not of variance 1 (monograph
    /// §2.1). With `data_std = 1` it is [`VariancePreserving`](Self::VariancePreserving).
    UnitVariance {
        /// Standard deviation of the data, `> 0`.
        data_std: f64,
    },
}

impl Serialize for Scaling {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Scaling {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)?.checked().map_err(serde::de::Error::custom)
    }
}

/// That the square of a standard deviation of data and what is divided by it are numbers at every level in use.
///
/// # Errors
/// [`InvalidSetting`] unless it is between 10⁻⁶ and 10⁶.
pub(crate) fn check_std(field: &'static str, data_std: f64) -> Result<(), InvalidSetting> {
    require((1e-6..=1e6).contains(&data_std), field, data_std, "use a number from 1e-6 to 1e6")
}

impl Scaling {
    /// Itself, if its numbers make a scaling.
    ///
    /// # Errors
    /// [`InvalidSetting`] unless `data_std` is between 10⁻⁶ and 10⁶.
    pub fn checked(self) -> Result<Self, InvalidSetting> {
        if let Self::UnitVariance { data_std } = self {
            check_std("scaling.data_std", data_std)?;
        }
        Ok(self)
    }

    /// The scales at `λ`.
    ///
    /// ```
    /// use vdm_core::Scaling;
    /// let level = Scaling::VariancePreserving.level(0.0_f64);
    /// assert!((level.alpha - 0.5_f64.sqrt()).abs() < 1e-16);
    /// let clean = Scaling::StraightLine.level(f64::INFINITY);
    /// assert_eq!((clean.alpha, clean.sigma), (1.0, 0.0));
    /// ```
    #[must_use]
    pub fn level<C: Real>(self, log_snr: C) -> NoiseLevel<C> {
        let half = log_snr.lift(0.5) * log_snr.clone();
        let (alpha, sigma) = match self {
            Self::VariancePreserving => {
                (log_snr.sigmoid().sqrt(), (-log_snr.clone()).sigmoid().sqrt())
            }
            Self::VarianceExploding => (log_snr.lift(1.0), (-half).exp()),
            Self::StraightLine => (half.sigmoid(), (-half).sigmoid()),
            Self::SubVariancePreserving => {
                // With r = α/σ both solve a quadratic: σ = 2/(1 + √(1 + 4r²)), and α = rσ in 1/r.
                let constant = |c: f64| half.lift(c);
                let (ratio, inverse) = (half.exp(), (-half.clone()).exp());
                let root = (constant(1.0) + constant(4.0) * ratio.clone() * ratio).sqrt();
                let inverse_root = (constant(4.0) + inverse.clone() * inverse.clone()).sqrt();
                (constant(2.0) / (inverse + inverse_root), constant(2.0) / (constant(1.0) + root))
            }
            Self::UnitVariance { data_std } => {
                let (one, var) = (log_snr.lift(1.0), log_snr.lift(data_std * data_std));
                let (snr, inverse) = (log_snr.exp(), (-log_snr.clone()).exp());
                (
                    one.clone() / (var.clone() + inverse).sqrt(),
                    one.clone() / (one + var * snr).sqrt(),
                )
            }
        };
        NoiseLevel { log_snr, alpha, sigma }
    }

    /// `(dα/dλ, dσ/dλ)`: how the scales move along a path of fixed image and noise, so that
    /// `dz/dλ = (dα/dλ)x + (dσ/dλ)ε`, the probability-flow ODE in `λ`.
    ///
    /// ```
    /// use vdm_core::Scaling;
    /// let (alpha, sigma) = Scaling::VariancePreserving.rates(0.0); // ασ²/2 and −σα²/2
    /// assert!((alpha - 0.5_f64.powf(2.5)).abs() < 1e-16 && alpha == -sigma);
    /// ```
    #[must_use]
    pub fn rates(self, log_snr: f64) -> (f64, f64) {
        let NoiseLevel { alpha, sigma, .. } = self.level(log_snr);
        // d ln α/dλ and −d ln σ/dλ, which add up to ½: finite at both ends, where a derivative
        // carried through the square roots of `level` is not.
        let (up, down) = match self {
            Self::VariancePreserving => (0.5 * (-log_snr).sigmoid(), 0.5 * log_snr.sigmoid()),
            Self::VarianceExploding => (0.0, 0.5),
            Self::StraightLine => (0.5 * sigma, 0.5 * alpha),
            Self::SubVariancePreserving => {
                let total = sigma + 2.0 * alpha * alpha;
                (0.5 * sigma / total, alpha * alpha / total)
            }
            Self::UnitVariance { data_std } => {
                (0.5 * sigma * sigma, 0.5 * (alpha * data_std).powi(2))
            }
        };
        (alpha * up, -sigma * down)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SCALINGS: [Scaling; 5] = [
        Scaling::VariancePreserving,
        Scaling::VarianceExploding,
        Scaling::StraightLine,
        Scaling::SubVariancePreserving,
        Scaling::UnitVariance { data_std: 0.3 },
    ];

    proptest! {
        /// λ is recovered from the scales; 1e-13·|λ| allows for the rounding of two roots and a log.
        #[test]
        fn log_snr_is_the_log_of_the_squared_ratio(log_snr in -30.0..30.0_f64) {
            for scaling in SCALINGS {
                let level = scaling.level(log_snr);
                let again = 2.0 * (level.alpha / level.sigma).ln();
                prop_assert!((again - log_snr).abs() < 1e-13 * (1.0 + log_snr.abs()));
            }
        }

        #[test]
        fn each_scaling_keeps_its_own_invariant(log_snr in -30.0..30.0_f64) {
            let vp = Scaling::VariancePreserving.level(log_snr);
            prop_assert!((vp.alpha.powi(2) + vp.sigma.powi(2) - 1.0).abs() < 1e-15);
            let line = Scaling::StraightLine.level(log_snr);
            prop_assert!((line.alpha + line.sigma - 1.0).abs() < 1e-15);
            prop_assert_eq!(Scaling::VarianceExploding.level(log_snr).alpha, 1.0);
            let sub = Scaling::SubVariancePreserving.level(log_snr);
            prop_assert!((sub.alpha.powi(2) + sub.sigma - 1.0).abs() < 1e-15);
            // M14: the variance of z for data of standard deviation 0.3.
            let unit = Scaling::UnitVariance { data_std: 0.3 }.level(log_snr);
            prop_assert!(((0.3 * unit.alpha).powi(2) + unit.sigma.powi(2) - 1.0).abs() < 1e-15);
        }

        #[test]
        fn f32_levels_are_within_4_ulp(log_snr in -30.0..30.0_f32) {
            for scaling in SCALINGS {
                let (low, high) = (scaling.level(log_snr), scaling.level(f64::from(log_snr)));
                for (a, b) in [(low.alpha, high.alpha), (low.sigma, high.sigma)] {
                    let error = (f64::from(a) - b).abs() / b;
                    prop_assert!(error <= 4.0 * f64::from(f32::EPSILON), "{scaling:?} {log_snr}");
                }
            }
        }
    }

    #[test]
    fn the_ends_are_exact_limits() {
        for scaling in SCALINGS {
            let clean = scaling.level(f64::INFINITY);
            let alpha =
                if let Scaling::UnitVariance { data_std } = scaling { 1.0 / data_std } else { 1.0 };
            assert_eq!((clean.alpha, clean.sigma), (alpha, 0.0), "{scaling:?}");
        }
        for scaling in SCALINGS.into_iter().filter(|s| *s != Scaling::VarianceExploding) {
            let noise = scaling.level(f64::NEG_INFINITY);
            assert_eq!((noise.alpha, noise.sigma), (0.0, 1.0), "{scaling:?}");
        }
    }

    /// JSON has no number for two legal levels, and a level that is none must not become `null`.
    #[test]
    fn infinite_levels_survive_json() {
        for (level, json) in
            [(2.5, "2.5"), (f64::INFINITY, "\"inf\""), (f64::NEG_INFINITY, "\"-inf\"")]
        {
            let level = LogSnr::new(level);
            assert_eq!(serde_json::to_string(&level).unwrap(), json);
            assert_eq!(serde_json::from_str::<LogSnr>(json).unwrap(), level);
        }
        assert!(serde_json::to_string(&LogSnr::new(f64::NAN)).is_err());
        let refused = serde_json::from_str::<LogSnr>("null").unwrap_err().to_string();
        assert!(refused.contains("a number, \"inf\" or \"-inf\""), "{refused}");
    }

    #[test]
    fn scalings_of_absurd_data_are_refused_by_name() {
        for data_std in ["0", "-1", "1e-300", "1e300"] {
            let json = format!(r#"{{"unit_variance": {{"data_std": {data_std}}}}}"#);
            let error = serde_json::from_str::<Scaling>(&json).unwrap_err().to_string();
            assert!(error.contains("use a number from 1e-6 to 1e6"), "{json}: {error}");
        }
        for scaling in SCALINGS {
            let json = serde_json::to_string(&scaling).unwrap();
            assert_eq!(serde_json::from_str::<Scaling>(&json).unwrap(), scaling);
        }
    }

    #[test]
    fn other_conventions_round_trip() {
        let level = LogSnr::new(2.5);
        assert_eq!(LogSnr::from_gamma(level.gamma()), level);
        assert!((LogSnr::from_edm_sigma(level.edm_sigma()).value() - 2.5).abs() < 1e-15);
    }
}
