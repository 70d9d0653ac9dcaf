//! What a network predicts, and the exact linear maps between all such predictions.
//!
//! Image and noise are the two coordinates of a noisy latent, `z = αx + σε`. Everything a network
//! may predict is one more linear functional of the pair, written here without divisions as
//!
//! ```text
//! r·o = p·x + q·ε
//! ```
//!
//! (a score `s = −ε/σ` is `σ·s = −ε`). Knowing `z` and one prediction determines the pair, hence
//! any other prediction, so a single 2×2 solve gives every conversion under every scaling.
//! Monograph §2.2.1 and its 2025 chapter on the six parameterizations.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::level::check_std;
use crate::setting::{InvalidSetting, require};
use crate::{Latent, LogSnr, NoiseLevel, Real, Scaling};

/// The meaning of a network's output.
///
/// | variant | target | finite network output at |
/// |---|---|---|
/// | `Image` | `x` | every level; noise is lost at `σ = 0` |
/// | `Noise` | `ε` | every level; the image is lost at `α = 0` |
/// | `Score` | `∇ log q(z) = −ε/σ` | `σ > 0` |
/// | `EnergyGradient` | `∇E = ε/σ` | `σ > 0` |
/// | `Velocity` | `v = αε − σx` | every level, both ends included |
/// | `Flow` | `ε − x` | every level, both ends included |
/// | `Edm` | Karras et al. 2022, `F` | every level, both ends included |
/// | `Combination` | `image·x + noise·ε` | every level, both ends included |
///
/// Numbers read from a configuration are [`checked`](Self::checked).
#[doc(alias = "epsilon")]
#[doc(alias = "v_prediction")]
#[doc(alias = "sample")]
#[doc(alias = "prediction_type")]
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "snake_case", deny_unknown_fields)]
pub enum Parameterization {
    /// The clean image `x`.
    Image,
    /// The noise `ε`.
    Noise,
    /// The score `−ε/σ`.
    Score,
    /// The gradient of an energy, minus the score.
    EnergyGradient,
    /// `v = αε − σx` (Salimans and Ho 2022), for any scaling.
    Velocity,
    /// `ε − x`, the velocity of the straight-line path.
    Flow,
    /// EDM's preconditioned `F`, with `x = c_skip·z/α + c_out·F`.
    Edm {
        /// Standard deviation of the data, `σ_data > 0`.
        data_std: f64,
    },
    /// One's own: `image·x + noise·ε`. It determines the pair except at the level, if there is one,
    /// where `α·noise = σ·image`.
    Combination {
        /// Coefficient of `x`.
        image: f64,
        /// Coefficient of `ε`.
        noise: f64,
    },
}

impl Serialize for Parameterization {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Parameterization {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)?.checked().map_err(serde::de::Error::custom)
    }
}

/// Coefficients of `a·z + b·output`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine<C = f64> {
    /// Coefficient of the noisy latent.
    pub on_z: C,
    /// Coefficient of the network's output.
    pub on_output: C,
}

/// `α − σ = (α + σ) tanh(λ/4)`.
fn difference_of_scales<C: Real>(at: &NoiseLevel<C>) -> C {
    let quarter = at.log_snr.lift(0.25) * at.log_snr.clone();
    (at.alpha.clone() + at.sigma.clone()) * quarter.tanh()
}

/// `r·o = p·x + q·ε`.
struct Functional<C> {
    p: C,
    q: C,
    r: C,
}

impl Parameterization {
    /// Itself, if its numbers mean something.
    ///
    /// # Errors
    /// [`InvalidSetting`] unless `data_std` is between 10⁻⁶ and 10⁶, and the coefficients of a combination
    /// at most 10⁶ and not both below 10⁻⁶.
    pub fn checked(self) -> Result<Self, InvalidSetting> {
        match self {
            Self::Edm { data_std } => check_std("parameterization.data_std", data_std)?,
            Self::Combination { image, noise } => {
                let [field, other] = ["parameterization.image", "parameterization.noise"];
                for (field, value) in [(field, image), (other, noise)] {
                    require(value.abs() <= 1e6, field, value, "use a number from -1e6 to 1e6")?;
                }
                let determines = image.abs().max(noise.abs()) >= 1e-6;
                require(determines, field, image, "use one away from 0 where noise is 0")?;
            }
            _ => {}
        }
        Ok(self)
    }

    fn functional<C: Real>(self, at: &NoiseLevel<C>) -> Functional<C> {
        let (alpha, sigma) = (&at.alpha, &at.sigma);
        let constant = |c: f64| alpha.lift(c);
        match self {
            Self::Image => Functional { p: constant(1.0), q: constant(0.0), r: constant(1.0) },
            Self::Noise => Functional { p: constant(0.0), q: constant(1.0), r: constant(1.0) },
            Self::Score => Functional { p: constant(0.0), q: constant(-1.0), r: sigma.clone() },
            Self::EnergyGradient => {
                Functional { p: constant(0.0), q: constant(1.0), r: sigma.clone() }
            }
            Self::Velocity => Functional { p: -sigma.clone(), q: alpha.clone(), r: constant(1.0) },
            Self::Flow => Functional { p: constant(-1.0), q: constant(1.0), r: constant(1.0) },
            Self::Edm { data_std } => {
                let signal = alpha.clone() * constant(data_std);
                let std = (signal.clone() * signal + sigma.clone() * sigma.clone()).sqrt();
                Functional {
                    p: sigma.clone() / constant(data_std),
                    q: -alpha.clone() * constant(data_std),
                    r: std,
                }
            }
            Self::Combination { image, noise } => {
                Functional { p: constant(image), q: constant(noise), r: constant(1.0) }
            }
        }
    }

    /// Whether it is a multiple of the noise alone.
    fn is_of_noise(self) -> bool {
        matches!(self, Self::Noise | Self::Score | Self::EnergyGradient)
    }

    /// The degree `d` in which an output scales with the latent: where `(z, α, σ)` becomes
    /// `(cz, cα, cσ)`, the same image and noise are predicted by `c^d` times the output.
    #[must_use]
    pub fn degree(self) -> i32 {
        match self {
            Self::Velocity => 1,
            Self::Score | Self::EnergyGradient => -1,
            Self::Image
            | Self::Noise
            | Self::Flow
            | Self::Edm { .. }
            | Self::Combination { .. } => 0,
        }
    }

    /// The map from this prediction to another at one noise level.
    ///
    /// Finite wherever the limit is: an image cannot be read off a noise prediction at `α = 0`,
    /// but it can off a velocity.
    ///
    /// ```
    /// use vdm_core::{Parameterization, Scaling};
    /// let level = Scaling::VariancePreserving.level(0.0_f64); // α = σ = √½
    /// let map = Parameterization::Velocity.to(Parameterization::Image, &level);
    /// assert!((map.on_z - level.alpha).abs() < 1e-15);
    /// assert!((map.on_output + level.sigma).abs() < 1e-15);
    /// ```
    #[must_use]
    pub fn to<C: Real>(self, other: Self, at: &NoiseLevel<C>) -> Affine<C> {
        if self == other {
            return Affine { on_z: at.alpha.lift(0.0), on_output: at.alpha.lift(1.0) };
        }
        let (alpha, sigma) = (at.alpha.clone(), at.sigma.clone());
        let from = self.functional(at);
        let into = other.functional(at);
        if self.is_of_noise() && other.is_of_noise() {
            // No image is needed, so the map stays finite where there is none, at α = 0; and score
            // and energy gradient are each other's negative even where neither is finite, at σ = 0.
            let scale = match (self, other) {
                (Self::Noise, _) | (_, Self::Noise) => from.r / into.r,
                _ => alpha.lift(1.0),
            };
            let on_output = into.q / from.q * scale;
            return Affine { on_z: alpha.lift(0.0), on_output };
        }
        let determinant = alpha.clone() * from.q.clone() - sigma.clone() * from.p.clone();
        let scale = into.r * determinant;
        let cross = match (self, other) {
            // ±(α − σ), which cancels near λ = 0 unless it is taken from λ itself.
            (Self::Velocity, Self::Flow) => -difference_of_scales(at),
            (Self::Flow, Self::Velocity) => difference_of_scales(at),
            _ => into.p.clone() * from.q - into.q.clone() * from.p,
        };
        Affine {
            on_z: cross / scale.clone(),
            on_output: (into.q * alpha - into.p * sigma) * from.r / scale,
        }
    }

    /// What a perfect network would output, as coefficients on `(x, ε)`.
    #[must_use]
    pub fn target<C: Real>(self, at: &NoiseLevel<C>) -> (C, C) {
        let Functional { p, q, r } = self.functional(at);
        (p / r.clone(), q / r)
    }

    /// The factor `c²` in `‖error of other‖² = c²·‖error of this‖²`: what a squared error in this
    /// prediction's own space is worth in another's. To [`Noise`](Self::Noise), the space all bounds
    /// are written in, it is `SNR` for an image and `α²/(α² + σ²)²` for a velocity.
    ///
    /// Monograph, table of equivalent losses, for all pairs; the `v` row printed there holds only
    /// where `α² + σ² = 1` (erratum E9).
    #[must_use]
    pub fn error_factor<C: Real>(self, other: Self, at: &NoiseLevel<C>) -> C {
        let c = self.to(other, at).on_output;
        c.clone() * c
    }
}

/// The scales that EDM puts around a network: `x = c_skip·y + c_out·F(c_in·y, c_noise)` with
/// `y = z/α`. They follow from asking for unit variance of inputs and targets and for the least
/// amplification of the network's errors (Karras et al. 2022, appendix B.6).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preconditioning {
    /// What is passed around the network.
    pub c_skip: f64,
    /// Scale of the network's output.
    pub c_out: f64,
    /// Scale of its input.
    pub c_in: f64,
    /// Its noise input, `¼ ln σ`.
    pub c_noise: f64,
    /// `1/c_out²`, which makes the loss a plain squared error of `F`.
    pub loss_weight: f64,
}

impl Preconditioning {
    /// At a level, for data of standard deviation `data_std > 0`.
    ///
    /// ```
    /// use vdm_core::{LogSnr, Preconditioning};
    /// let at = Preconditioning::edm(LogSnr::from_edm_sigma(0.5), 0.5);
    /// assert!((at.c_skip - 0.5).abs() < 1e-15 && (at.c_in - 2.0_f64.sqrt()).abs() < 1e-15);
    /// ```
    #[must_use]
    pub fn edm(log_snr: LogSnr, data_std: f64) -> Self {
        let at = Scaling::VarianceExploding.level(log_snr.value());
        let Affine { on_z, on_output } =
            Parameterization::Edm { data_std }.to(Parameterization::Image, &at);
        Self {
            c_skip: on_z,
            c_out: on_output,
            c_in: 1.0 / at.sigma.hypot(data_std),
            c_noise: -0.125 * log_snr.value(),
            loss_weight: 1.0 / (on_output * on_output),
        }
    }
}

/// A network's output together with what it means, so that the two cannot be mixed up.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction<Z> {
    /// The output, of the latent's shape.
    pub value: Z,
    /// Its meaning.
    pub of: Parameterization,
}

impl<Z> Prediction<Z> {
    /// The same information as another prediction; `z` and `at` are those it was made for.
    #[must_use]
    pub fn to<C: Real>(&self, other: Parameterization, z: &Z, at: &NoiseLevel<C>) -> Z
    where
        Z: Latent<C>,
    {
        let Affine { on_z, on_output } = self.of.to(other, at);
        Z::lincomb(&[(on_z, z), (on_output, &self.value)])
    }

    /// `x̂`.
    #[must_use]
    pub fn image<C: Real>(&self, z: &Z, at: &NoiseLevel<C>) -> Z
    where
        Z: Latent<C>,
    {
        self.to(Parameterization::Image, z, at)
    }

    /// `ε̂`.
    #[must_use]
    pub fn noise<C: Real>(&self, z: &Z, at: &NoiseLevel<C>) -> Z
    where
        Z: Latent<C>,
    {
        self.to(Parameterization::Noise, z, at)
    }
}
