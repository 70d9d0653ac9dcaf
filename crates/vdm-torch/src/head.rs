//! What a network's output `o(z, λ)` means.
//!
//! Every parameterization of the text is a head: the network's own output is of order 1 at every
//! level, and a fixed affine map makes a prediction of it. `φ` below is `Σ z⊙o` over an item.
//!
//! | head | prediction | at `o = 0` |
//! |---|---|---|
//! | `noise` | `ε̂ = z + o` | `z` |
//! | `plain_noise` | `ε̂ = o` | 0 |
//! | `image` | `x̂ = o` | 0 |
//! | `velocity` | `v̂ = o` | 0 |
//! | `flow` | `ε̂ − x̂ = o` | 0 |
//! | `score` | `ŝ = −z + o/σ` | the score of `N(0, I)` |
//! | `energy` | `∇E = z + ∇φ/σ`, of `E = ½‖z‖² + φ/σ` | minus the same |
//! | `edm` | `F = o`, of an input of unit variance | 0 |
//! | `categorical` | `x̂`, a mean over the data's values | the best guess pixel by pixel |
//!
//! All but `categorical` and `energy` differ in what is easy for the network, not in what can be
//! represented. Score and energy start from the standard normal, which the data are at the noise end:
//! with `α² + σ² = 1` their `o` or `∇φ` stands for `∓(ε − σz) = ∓αv`, which vanishes there.
//!
//! Monograph §2.2.1 and its 2025 chapter on the six parameterizations.

use serde::{Deserialize, Serialize};
use vdm_core::Parameterization;
use vdm_core::setting::{InvalidSetting, require};

use crate::nn::Requirements;

/// How a network's output becomes a prediction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Head {
    /// `ε̂ = z + output` (VDM).
    Noise,
    /// `ε̂ = output` (DDPM).
    PlainNoise,
    /// `x̂ = output`.
    Image,
    /// `v̂ = output` (Salimans and Ho 2022).
    Velocity,
    /// `ε̂ − x̂ = output` (Lipman et al. 2023).
    Flow,
    /// `ŝ = −z + output/σ`.
    Score,
    /// `∇E = z + ∇φ/σ` with `φ = Σ z⊙output`: the gradient of a scalar, hence free of curl, as every
    /// true score is. Trained through a second backward pass, with which a step takes over twice as long.
    Energy,
    /// `F = output`, of the network's input `c_in·z/α` (Karras et al. 2022).
    ///
    /// `z/√(α²·data_std² + σ²)` has unit variance at every level. What is passed around the network
    /// (`c_skip`) and the scale of its output (`c_out`) are those of [`Parameterization::Edm`]; its
    /// noise input is that of every head, an affine map of EDM's.
    Edm {
        /// Standard deviation of the data in `[−1, 1]`, `> 0`; 0.5 in the paper.
        data_std: f64,
    },
    /// `x̂` as the mean over the data's own values `f_k`, whose log-probabilities are the output
    /// plus that of `z` itself, `−(z − αf_k)²/2σ²`.
    ///
    /// The exact posterior `p(x_i = k|z)` has this form, with the output standing for what the
    /// other pixels say of pixel `i`; so the prediction is right at low noise before any training.
    Categorical,
}

impl Head {
    /// What a model with this head answers as a [`Denoiser`](vdm_core::Denoiser).
    #[must_use]
    pub fn parameterization(self) -> Parameterization {
        match self {
            Self::Noise | Self::PlainNoise => Parameterization::Noise,
            Self::Image | Self::Categorical => Parameterization::Image,
            Self::Velocity => Parameterization::Velocity,
            Self::Flow => Parameterization::Flow,
            Self::Score => Parameterization::Score,
            Self::Energy => Parameterization::EnergyGradient,
            Self::Edm { data_std } => Parameterization::Edm { data_std },
        }
    }

    /// The prediction in which its error is measured: its own, but for `−ε/σ` and `ε/σ`, which grow
    /// without bound at the data end and are left times `σ`.
    pub(crate) fn measured_as(self) -> Parameterization {
        match self.parameterization() {
            Parameterization::Score | Parameterization::EnergyGradient => Parameterization::Noise,
            own => own,
        }
    }

    /// What it asks of its network for data of so many values.
    pub(crate) fn requirements(self, values: u16) -> Requirements {
        Requirements {
            outputs_per_channel: if self == Self::Categorical { i64::from(values) } else { 1 },
            twice_differentiable: self == Self::Energy,
        }
    }

    /// That its numbers make sense.
    ///
    /// # Errors
    /// [`InvalidSetting`] naming the one that does not.
    pub(crate) fn check(self) -> Result<(), InvalidSetting> {
        let Self::Edm { data_std } = self else { return Ok(()) };
        let remedy = "use the standard deviation of the data in [-1, 1], such as 0.5";
        let legal = data_std > 0.0 && data_std.is_finite();
        require(legal, "head.edm.data_std", data_std, remedy)
    }
}
