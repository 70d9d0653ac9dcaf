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

use serde::{Deserialize, Serialize};

use crate::{Latent, NoiseLevel, Real};

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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
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
}

/// Coefficients of `a·z + b·output`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine<C = f64> {
    /// Coefficient of the noisy latent.
    pub on_z: C,
    /// Coefficient of the network's output.
    pub on_output: C,
}

/// `r·o = p·x + q·ε`.
struct Functional<C> {
    p: C,
    q: C,
    r: C,
}

impl Parameterization {
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
        let determinant = alpha.clone() * from.q.clone() - sigma.clone() * from.p.clone();
        let scale = into.r * determinant;
        Affine {
            on_z: (into.p.clone() * from.q - into.q.clone() * from.p) / scale.clone(),
            on_output: (into.q * alpha - into.p * sigma) * from.r / scale,
        }
    }

    /// What a perfect network would output, as coefficients on `(x, ε)`.
    #[must_use]
    pub fn target<C: Real>(self, at: &NoiseLevel<C>) -> (C, C) {
        let Functional { p, q, r } = self.functional(at);
        (p / r.clone(), q / r)
    }

    /// The factor `c²` in `‖ε − ε̂‖² = c²·‖target − output‖²`: multiplies a squared error in this
    /// prediction's own space into the noise error that all bounds are written in.
    /// Monograph table of equivalent losses; for `v` under VP the factor is `α²` (erratum E9).
    #[must_use]
    pub fn noise_error_factor<C: Real>(self, at: &NoiseLevel<C>) -> C {
        let c = self.to(Self::Noise, at).on_output;
        c.clone() * c
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
