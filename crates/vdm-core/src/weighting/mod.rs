//! Weights over noise levels: what turns one diffusion objective into another.
//!
//! ```text
//! L_w = ½ ∫ w(λ) E‖ε − ε̂‖² dλ = ½ E_t[w(λ_t)·(−dλ/dt)·‖ε − ε̂‖²]
//! ```
//!
//! Every squared error loss in use is this one under some `w`, whatever its network predicts and
//! however its times are drawn: [`implied`] says which. `w ≡ 1` is the evidence lower bound. Any `w`
//! that does not rise with `λ` still gives a bound, on data with noise added: [`Augmentation`] is the
//! distribution of that noise. Where another `w` rises, and by how much it fails, say [`Weighting::rises`].
//!
//! The measure is that of the noise error over `λ`. Texts that weight squared errors of the image over
//! `λ` mean `SNR·w`, since `‖ε − ε̂‖² = SNR·‖x − x̂‖²`; over `SNR` they mean `w` again, since
//! `SNR dλ = d SNR` (erratum E8).
//!
//! Monograph §2.4; Kingma and Gao 2023, whose Table 1 [`Weighting`] holds.
//!
//! ```
//! use vdm_core::schedule::Cosine;
//! use vdm_core::{LogSnr, Parameterization, Scaling, Weighting, weighting};
//! // Velocity regression on the cosine schedule weights levels by e^{−λ/2}, but for a constant 2/π.
//! let ratio = |log_snr| {
//!     let at = LogSnr::new(log_snr);
//!     let of = Parameterization::Velocity;
//!     weighting::implied(of, Scaling::VariancePreserving, &Cosine::default(), at)
//!         / Weighting::VelocityCosine.at(at, &Cosine::default())
//! };
//! assert!((ratio(-7.0) - std::f64::consts::FRAC_2_PI).abs() < 1e-14);
//! assert!((ratio(11.0) - std::f64::consts::FRAC_2_PI).abs() < 1e-14);
//! ```

mod augmentation;
mod monotone;
mod sum;

use std::f64::consts::{LN_2, TAU};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use augmentation::Augmentation;
pub use monotone::NonMonotoneInterval;
pub use sum::WeightingTerm;

use crate::custom::CustomWeighting;
use crate::level::check_std;
use crate::setting::{InvalidSetting, finite, positive, require};
use crate::{Dual, LogSnr, NoiseSchedule, Parameterization, Real, Scalar, Scaling};

/// `w(λ)` of the weighted loss `L_w = ½ ∫ w(λ) E‖ε − ε̂‖² dλ`, up to a constant.
///
/// Constants are as printed in Kingma and Gao 2023, Table 1; the last column is the loss that a weight
/// comes from. The monotone ones give a bound on augmented data.
///
/// | name in a configuration | `w(λ)` | monotone | squared error of, on |
/// |---|---|---|---|
/// | `elbo` | 1 | yes | |
/// | `simple` | `p(λ)` | | noise, on the schedule in use (DDPM) |
/// | `sigmoid` | `sigmoid(bias − λ)` | yes | |
/// | `iddpm_cosine` | `sech(λ/2)` | no | noise, cosine |
/// | `velocity_cosine` | `e^{−λ/2}` | yes | velocity, cosine |
/// | `flow_matching` | `e^{−λ/2}` | yes | flow, straight line |
/// | `indi` | `e^{−λ} sech²(λ/4)` | yes | image, straight line |
/// | `edm` | `N(λ; −2P_mean, 4P_std²)(e^{−λ} + σ_data²)` | no | EDM's `F`, normal |
/// | `edm_monotonic` | the same, flat left of its mode | yes | |
/// | `p2` | `sech(λ/2)/(k + e^λ)^γ` | no | noise times `(k + SNR)^{−γ}`, cosine |
/// | `min_snr` | `sech(λ/2) min(1, γe^{−λ})` | no | noise times `min(1, γ/SNR)`, cosine |
/// | `sum` | `Σ cᵢwᵢ(λ)` | if all are | several at once, such as a hybrid of `simple` and `elbo` |
///
/// Numbers read from a configuration are [`checked`](Self::checked).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Weighting {
    /// `w = 1`: the likelihood bound.
    #[serde(deserialize_with = "no_fields")]
    Elbo,
    /// `w = p(λ)`: the plain squared noise error of DDPM, whose weight is its schedule's density.
    #[serde(deserialize_with = "no_fields")]
    Simple,
    /// `w = sigmoid(bias − λ)`: monotone, so still a bound on augmented data
    /// (Kingma and Gao 2023).
    Sigmoid {
        /// Shift of the cut-off, in nats of log-SNR.
        bias: f64,
    },
    /// `w = sech(λ/2)`: the squared noise error on the cosine schedule (Nichol and Dhariwal 2021).
    #[serde(deserialize_with = "no_fields")]
    IddpmCosine,
    /// `w = N(λ; −2P_mean, (2P_std)²)(e^{−λ} + σ_data²)` (Karras et al. 2022).
    Edm {
        /// `P_mean`, the mean of `ln σ`; −1.2 in the paper.
        p_mean: f64,
        /// `P_std > 0`, the standard deviation of `ln σ`; 1.2 in the paper.
        p_std: f64,
        /// `σ_data > 0`; 0.5 in the paper.
        data_std: f64,
    },
    /// `w = e^{−λ/2}`: the squared velocity error on the cosine schedule (Salimans and Ho 2022).
    #[serde(deserialize_with = "no_fields")]
    VelocityCosine,
    /// `w = e^{−λ/2}`: flow matching with the straight line (Lipman et al. 2023), the same weight
    /// as [`VelocityCosine`](Self::VelocityCosine).
    #[serde(deserialize_with = "no_fields")]
    FlowMatching,
    /// `w = e^{−λ} sech²(λ/4)`: the squared image error on the straight line (Delbracio and
    /// Milanfar 2023).
    #[serde(deserialize_with = "no_fields")]
    Indi,
    /// `w = sech(λ/2)/(k + e^λ)^γ` (Choi et al. 2022).
    P2 {
        /// `γ > 0`; 0.5 or 1 in the paper.
        gamma: f64,
        /// `k > 0`; 1 in the paper.
        k: f64,
    },
    /// `w = sech(λ/2) min(1, γe^{−λ})` (Hang et al. 2023).
    MinSnr {
        /// The SNR above which it takes hold, `γ > 0`; 5 in the paper.
        gamma: f64,
    },
    /// [`Edm`](Self::Edm) made monotone: constant on the left of its mode (Kingma and Gao 2023).
    EdmMonotonic {
        /// As for [`Edm`](Self::Edm).
        p_mean: f64,
        /// As for [`Edm`](Self::Edm).
        p_std: f64,
        /// As for [`Edm`](Self::Edm).
        data_std: f64,
    },
    /// `w = Σ cᵢwᵢ`: the sum of several objectives, as [`hybrid`](Self::hybrid) is.
    Sum {
        /// At least one.
        terms: Vec<WeightingTerm>,
    },
    /// One that a program brings: [`Weighting::custom`](Self::custom).
    Custom(CustomWeighting),
}

impl Serialize for Weighting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Weighting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)?.checked().map_err(serde::de::Error::custom)
    }
}

/// The fields of a variant that has none. Without it serde would take and forget any that are given.
fn no_fields<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct NoFields {}
    NoFields::deserialize(deserializer).map(|NoFields {}| ())
}

impl Weighting {
    /// `w(λ)`; the schedule matters to [`Simple`](Self::Simple) alone, and to sums with it.
    ///
    /// ```
    /// use vdm_core::{LogSnr, Schedule, Weighting};
    /// let schedule = Schedule::linear(5.0, -5.0)?;
    /// assert_eq!(Weighting::Elbo.at(LogSnr::new(1.0), &schedule), 1.0);
    /// assert!((Weighting::Simple.at(LogSnr::new(1.0), &schedule) - 0.1).abs() < 1e-15);
    /// # Ok::<(), vdm_core::Error>(())
    /// ```
    #[must_use]
    pub fn at(&self, log_snr: LogSnr, schedule: &dyn NoiseSchedule) -> f64 {
        self.log_at(log_snr, schedule).exp()
    }

    /// `ln w(λ)`, which neither overflows nor vanishes where `w` does.
    #[must_use]
    pub fn log_at(&self, log_snr: LogSnr, schedule: &dyn NoiseSchedule) -> f64 {
        self.log_weight(log_snr.value()).unwrap_or_else(|| match self {
            Self::Sum { terms } => sum::log_at(terms, log_snr, schedule),
            _ => schedule.density(log_snr).ln(),
        })
    }

    /// `dw/dλ`, per nat of log-SNR, at a finite level.
    ///
    /// [`Simple`](Self::Simple) has it from a central difference of the density, good to about 1e-8,
    /// within which the jumps of a piecewise density do not show.
    ///
    /// ```
    /// use vdm_core::{LogSnr, Schedule, Weighting};
    /// let schedule = Schedule::linear(5.0, -5.0)?;
    /// let slope = Weighting::Sigmoid { bias: 2.0 }.slope(LogSnr::new(2.0), &schedule);
    /// assert!((slope + 0.25).abs() < 1e-15); // a logistic curve falls fastest at its center
    /// # Ok::<(), vdm_core::Error>(())
    /// ```
    #[must_use]
    pub fn slope(&self, log_snr: LogSnr, schedule: &dyn NoiseSchedule) -> f64 {
        let log_slope = self.log_slope(log_snr, schedule);
        // A constant stays one where it is too large for a number.
        if log_slope == 0.0 { 0.0 } else { self.at(log_snr, schedule) * log_slope }
    }

    /// `d ln w/dλ`.
    fn log_slope(&self, log_snr: LogSnr, schedule: &dyn NoiseSchedule) -> f64 {
        let exact = self.log_weight(Dual::variable(log_snr.value()));
        exact.map_or_else(
            || match self {
                Self::Sum { terms } => sum::log_slope(terms, log_snr, schedule),
                _ => log_density_slope(log_snr, schedule),
            },
            |log| log.derivative,
        )
    }

    /// Whether `w` is not a function of the level alone: [`Simple`](Self::Simple), and sums with it.
    ///
    /// ```
    /// use vdm_core::Weighting;
    /// assert!(Weighting::hybrid(0.001).depends_on_schedule());
    /// assert!(!Weighting::Elbo.depends_on_schedule());
    /// ```
    #[must_use]
    pub fn depends_on_schedule(&self) -> bool {
        self.log_weight(0.0_f64).is_none()
    }

    /// `ln w` over any scalar; `None` for [`Simple`](Self::Simple), which has no formula of its own,
    /// and for sums with it.
    ///
    /// ```
    /// use vdm_core::{Dual, Weighting};
    /// let log = Weighting::Indi.log_weight(Dual::variable(-1e4)).unwrap();
    /// assert!((log.value - (5e3 + 4.0_f64.ln())).abs() < 1e-11);
    /// assert!((log.derivative + 0.5).abs() < 1e-15);
    /// ```
    #[must_use]
    pub fn log_weight<C: Scalar>(&self, log_snr: C) -> Option<C> {
        let constant = |c: f64| log_snr.lift(c);
        let half = constant(0.5) * log_snr;
        Some(match *self {
            Self::Simple => return None,
            Self::Elbo => constant(0.0),
            Self::Sigmoid { bias } => -(log_snr - constant(bias)).softplus(),
            Self::IddpmCosine => log_sech_half(log_snr),
            Self::VelocityCosine | Self::FlowMatching => -half,
            // sech²(λ/4) = 4e^{λ/2}/(1 + e^{λ/2})².
            Self::Indi => constant(2.0 * LN_2) - half - constant(2.0) * half.softplus(),
            Self::P2 { gamma, k } => {
                let log_sum = constant(k.ln()) + (log_snr - constant(k.ln())).softplus();
                log_sech_half(log_snr) - constant(gamma) * log_sum
            }
            Self::MinSnr { gamma } if log_snr.value() > gamma.ln() => {
                log_sech_half(log_snr) + constant(gamma.ln()) - log_snr
            }
            Self::MinSnr { .. } => log_sech_half(log_snr),
            Self::Edm { p_mean, p_std, data_std } => {
                Edm::new(p_mean, p_std, data_std).log_weight(log_snr)
            }
            Self::EdmMonotonic { p_mean, p_std, data_std } => {
                let edm = Edm::new(p_mean, p_std, data_std);
                let mode = edm.mode();
                edm.log_weight(if log_snr.value() < mode { constant(mode) } else { log_snr })
            }
            Self::Sum { ref terms } => return sum::log_weight(terms, log_snr),
            Self::Custom(ref custom) => custom.log_weight(log_snr),
        })
    }

    /// Itself, if its numbers make a weight.
    ///
    /// # Errors
    /// [`InvalidSetting`] naming the first that does not.
    pub fn checked(self) -> Result<Self, InvalidSetting> {
        let (any, above_zero) = match self {
            Self::Sum { terms } => return Ok(Self::Sum { terms: sum::checked(terms)? }),
            Self::Custom(custom) => return Ok(Self::Custom(custom.checked()?)),
            Self::Sigmoid { bias } => (Some(("weighting.bias", bias)), vec![]),
            Self::Edm { p_mean, p_std, data_std }
            | Self::EdmMonotonic { p_mean, p_std, data_std } => (
                Some(("weighting.p_mean", p_mean)),
                vec![("weighting.p_std", p_std), ("weighting.data_std", data_std)],
            ),
            Self::P2 { gamma, k } => (None, vec![("weighting.gamma", gamma), ("weighting.k", k)]),
            Self::MinSnr { gamma } => (None, vec![("weighting.gamma", gamma)]),
            Self::Elbo
            | Self::Simple
            | Self::IddpmCosine
            | Self::VelocityCosine
            | Self::FlowMatching
            | Self::Indi => (None, vec![]),
        };
        any.iter().try_for_each(|(field, value)| finite(field, *value))?;
        above_zero.iter().try_for_each(|(field, value)| positive(field, *value))?;
        if let Self::Edm { data_std, .. } | Self::EdmMonotonic { data_std, .. } = self {
            check_std("weighting.data_std", data_std)?;
        }
        // The one that is furthest from 1 in size is the one to name.
        let size = |value: f64| if value == 0.0 { 0.0 } else { value.abs().ln().abs() };
        let extreme =
            any.into_iter().chain(above_zero).max_by(|a, b| size(a.1).total_cmp(&size(b.1)));
        if let Some((field, value)) = extreme {
            let remedy = "use one with which log-weights from -30 to 30 are finite";
            require(self.is_finite(), field, value, remedy)?;
        }
        Ok(self)
    }

    /// Whether `ln w` and its slope are numbers at the levels in use.
    fn is_finite(&self) -> bool {
        let levels = (-30..=30).map(f64::from);
        let mut weights = levels.filter_map(|level| self.log_weight(Dual::variable(level)));
        weights.all(|log| log.value.is_finite() && log.derivative.is_finite())
    }
}

/// `d ln p/dλ` by a central difference, of which the schedule's range may leave one half.
fn log_density_slope(log_snr: LogSnr, schedule: &dyn NoiseSchedule) -> f64 {
    let range = schedule.range();
    let [a, b] = [-1e-4, 1e-4].map(|step| (log_snr.value() + step).clamp(range.min(), range.max()));
    let log = |level| schedule.density(LogSnr::new(level)).ln();
    (log(b) - log(a)) / (b - a)
}

/// `ln sech(λ/2)`: `sech(λ/2) = 2√(sigmoid(λ) sigmoid(−λ))`.
fn log_sech_half<C: Scalar>(log_snr: C) -> C {
    log_snr.lift(LN_2) - log_snr.lift(0.5) * (log_snr.softplus() + (-log_snr).softplus())
}

/// `N(λ; mean, std²)(e^{−λ} + data_var)`.
struct Edm {
    mean: f64,
    std: f64,
    log_data_var: f64,
}

impl Edm {
    fn new(p_mean: f64, p_std: f64, data_std: f64) -> Self {
        Self { mean: -2.0 * p_mean, std: 2.0 * p_std, log_data_var: 2.0 * data_std.ln() }
    }

    fn log_weight<C: Scalar>(&self, log_snr: C) -> C {
        if log_snr.value().is_infinite() {
            return log_snr.lift(f64::NEG_INFINITY);
        }
        let widths = (log_snr - log_snr.lift(self.mean)) / log_snr.lift(self.std);
        let log_norm = log_snr.lift(self.log_data_var - self.std.ln() - 0.5 * TAU.ln());
        let noise_share = (-log_snr - log_snr.lift(self.log_data_var)).softplus();
        log_norm + noise_share - log_snr.lift(0.5) * widths * widths
    }

    /// The rightmost mode: the largest solution of `λ = mean − std²·sigmoid(−λ − ln data_var)`.
    ///
    /// The right side grows with `λ` and stays below `mean`, so iterating from there falls onto it.
    fn mode(&self) -> f64 {
        let mut mode = self.mean;
        // A dozen times. Where it takes all of them, the mode is about to merge with the dip beside
        // it, and the weight is flat for as far as the mode is off.
        for _ in 0..1000 {
            let noise_share = Real::sigmoid(&(-mode - self.log_data_var));
            let next = self.mean - self.std.powi(2) * noise_share;
            if next == mode {
                break;
            }
            mode = next;
        }
        mode
    }
}

/// The weight of a plain squared error loss, `E_t‖target − output‖² = ½ ∫ w(λ) E‖ε − ε̂‖² dλ`, for a
/// network that predicts `of` and is trained at uniform times: `w = 2 p(λ)/c²`, with
/// `‖ε − ε̂‖² = c²‖target − output‖²`. 0 beyond the schedule's end points.
///
/// A loss with a factor of its own in front of the squared error implies that factor times this.
/// Monograph §2.4.1.
///
/// ```
/// use vdm_core::{LogSnr, Parameterization, Scaling, Schedule, weighting};
/// // An image loss counts noise errors by 1/SNR.
/// let linear = Schedule::linear(5.0, -5.0)?;
/// let (of, scaling) = (Parameterization::Image, Scaling::VariancePreserving);
/// let w = weighting::implied(of, scaling, &linear, LogSnr::new(3.0));
/// assert!((w - 2.0 * 0.1 * (-3.0_f64).exp()).abs() < 1e-16);
/// # Ok::<(), vdm_core::Error>(())
/// ```
#[must_use]
pub fn implied(
    of: Parameterization,
    scaling: Scaling,
    schedule: &dyn NoiseSchedule,
    log_snr: LogSnr,
) -> f64 {
    let factor = of.error_factor(Parameterization::Noise, &scaling.level(log_snr.value()));
    2.0 * schedule.density(log_snr) / factor
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Cosine;

    const EDM: (f64, f64, f64) = (-1.2, 1.2, 0.5);

    #[test]
    fn the_ends_are_limits() {
        let (p_mean, p_std, data_std) = EDM;
        let top = Weighting::EdmMonotonic { p_mean, p_std, data_std };
        let mode = LogSnr::new(Edm::new(p_mean, p_std, data_std).mode());
        let highest = top.at(mode, &Cosine::default());
        let cases = [
            (Weighting::Elbo, 1.0, 1.0),
            (Weighting::Simple, 0.0, 0.0),
            (Weighting::Sigmoid { bias: 2.0 }, 1.0, 0.0),
            (Weighting::IddpmCosine, 0.0, 0.0),
            (Weighting::Edm { p_mean, p_std, data_std }, 0.0, 0.0),
            (Weighting::VelocityCosine, f64::INFINITY, 0.0),
            (Weighting::FlowMatching, f64::INFINITY, 0.0),
            (Weighting::Indi, f64::INFINITY, 0.0),
            (Weighting::P2 { gamma: 1.0, k: 1.0 }, 0.0, 0.0),
            (Weighting::MinSnr { gamma: 5.0 }, 0.0, 0.0),
            (top, highest, 0.0),
        ];
        for (weighting, noise, data) in cases {
            let at = |log_snr| weighting.at(LogSnr::new(log_snr), &Cosine::default());
            assert_eq!(at(f64::NEG_INFINITY), noise, "{weighting:?}");
            assert_eq!(at(f64::INFINITY), data, "{weighting:?}");
        }
    }

    /// Settings under which the EDM weight has two modes: the one on the right is taken, so that what
    /// is left falls.
    #[test]
    fn the_mode_is_the_rightmost() {
        // The line (mean − λ)/std² meets sigmoid(−λ) in three points, the middle one 0.
        let edm = Edm { mean: 18.0, std: 6.0, log_data_var: 0.0 };
        let slope = |level| edm.log_weight(Dual::variable(level)).derivative;
        let mode = edm.mode();
        assert!(mode > 1.0 && slope(mode).abs() < 1e-13, "{mode}");
        assert!(slope(-0.1) < 0.0 && slope(0.1) > 0.0, "the dip between two modes");
        assert!(slope(mode + 0.01) < 0.0 && slope(mode - 0.01) > 0.0);
    }

    #[test]
    fn configurations_are_checked_and_survive_json() {
        let json = r#"{"kind":"edm","p_mean":-1.2,"p_std":1.2,"data_std":0.5}"#;
        let weighting: Weighting = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&weighting).unwrap(), json);
        let json = r#"{"kind":"elbo"}"#;
        assert_eq!(serde_json::from_str::<Weighting>(json).unwrap(), Weighting::Elbo);
        assert_eq!(serde_json::to_string(&Weighting::Elbo).unwrap(), json);
        let refused = [
            (r#"{"kind":"edm","p_mean":-1.2,"p_std":0,"data_std":0.5}"#, "p_std"),
            (r#"{"kind":"edm_monotonic","p_mean":0,"p_std":1,"data_std":-1}"#, "data_std"),
            (r#"{"kind":"min_snr","gamma":-5}"#, "gamma"),
            (r#"{"kind":"p2","gamma":1,"k":0}"#, "k = 0: use a finite number above 0"),
            (r#"{"kind":"sigmoid","bias":1,"shift":2}"#, "shift"),
            (r#"{"kind":"elbo","bias":1}"#, "bias"),
            (r#"{"kind":"simple","bias":1}"#, "bias"),
            (r#"{"kind":"iddpm_cosine","bias":1}"#, "bias"),
            (r#"{"kind":"velocity_cosine","bias":1}"#, "bias"),
            (r#"{"kind":"flow_matching","bias":1}"#, "bias"),
            (r#"{"bias":1,"kind":"indi"}"#, "bias"),
        ];
        for (json, named) in refused {
            let error = serde_json::from_str::<Weighting>(json).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        let error = Weighting::Sigmoid { bias: f64::NAN }.checked().unwrap_err();
        assert!(error.to_string().contains("bias"), "{error}");
    }
}
