//! Networks, as plain functions over named tensors.

mod clock;
mod diffusers;
mod layers;
mod mlp;
mod parameters;
mod unet;

pub use clock::{BAND_LIMIT, PUBLISHED_BAND_LIMIT};
pub use diffusers::{
    Activation, DiffusersSpec, DiffusersUNet, DownBlock, MidBlock, Resampling, TimeEmbeddingType,
    TimeScaleShift, UNet2DConfig, UpBlock,
};
pub use mlp::{Mlp, MlpSpec};
pub(crate) use parameters::fitting;
pub use parameters::{Initial, Parameters, Scope};
pub use unet::{Attention, TrunkSpec, UNet, UNetSpec};

use serde::{Deserialize, Serialize};
use tch::Tensor;
use vdm_core::count::{Cost, bounded_product};
use vdm_core::schedule::LogSnrRange;
use vdm_data::Shape;

use crate::Error;

/// The architecture a configuration names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum NetworkSpec {
    /// VDM's U-Net, for images.
    Unet(UNetSpec),
    /// A multi-layer perceptron, for points.
    Mlp(MlpSpec),
    /// Diffusers' `UNet2DModel`, for images.
    Diffusers(Box<DiffusersSpec>),
}

/// What the meaning of its output asks of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requirements {
    /// Numbers for each component of an item.
    pub outputs_per_channel: i64,
    /// Whether gradients flow through the gradient by the input too, as an energy needs. Fused
    /// attention has none of second order.
    pub twice_differentiable: bool,
}

impl Requirements {
    /// One number per component, differentiated once.
    pub const PLAIN: Self = Self { outputs_per_channel: 1, twice_differentiable: false };
}

/// A network with its weights: `[B, C, H, W]` and a time per item to `[B, outputs, H, W]`.
#[derive(Debug)]
pub enum Network {
    /// See [`UNet`].
    Unet(Box<UNet>),
    /// See [`Mlp`].
    Mlp(Mlp),
    /// See [`DiffusersUNet`].
    Diffusers(Box<DiffusersUNet>),
}

impl NetworkSpec {
    /// Builds the network for items of `shape`, registering its weights in `scope`.
    ///
    /// # Errors
    /// [`Error::Config`] if the sizes do not fit together.
    pub fn build(
        &self,
        shape: Shape,
        requirements: Requirements,
        scope: &Scope<'_>,
    ) -> Result<Network, Error> {
        Ok(match self {
            Self::Unet(spec) => {
                Network::Unet(Box::new(UNet::new(spec, shape, requirements, scope)?))
            }
            Self::Mlp(spec) => Network::Mlp(Mlp::new(spec, shape, requirements, scope)?),
            Self::Diffusers(_) if requirements != Requirements::PLAIN => {
                let value = "diffusers".into();
                let remedy =
                    "heads \"levels\" and \"energy\" need a network of kind \"unet\" or \"mlp\"";
                return Err(Error::Config { field: "network.kind", value, remedy });
            }
            Self::Diffusers(spec) => {
                Network::Diffusers(Box::new(DiffusersUNet::new(spec, shape, scope)?))
            }
        })
    }

    /// Whether training draws random masks.
    #[must_use]
    pub fn has_dropout(&self) -> bool {
        match self {
            Self::Unet(spec) => spec.dropout > 0.0,
            Self::Mlp(_) => false,
            Self::Diffusers(spec) => spec.config.dropout > 0.0,
        }
    }
}

impl Network {
    /// `z` is `[B, C, H, W]`; `time` is `[B]`, as [`time`](Self::time) gives it. `train` turns
    /// dropout on. Both are of the weights' kind, f32 or [f64](Parameters::to_f64).
    pub fn forward(&self, z: &Tensor, time: &Tensor, train: bool) -> Tensor {
        match self {
            Self::Unet(net) => net.forward(z, time, train),
            Self::Mlp(net) => net.forward(z, time),
            // What lies beyond is a learned variance.
            Self::Diffusers(net) => net.forward(z, time, train).narrow(1, 0, z.size()[1]),
        }
    }

    /// What the network is told of noise levels, `[B]` to `[B]`: 0 at the data end of `range` and 1
    /// at its noise end; of diffusers' networks, timesteps.
    pub fn time(&self, log_snr: &Tensor, range: LogSnrRange) -> Tensor {
        match self {
            Self::Unet(_) | Self::Mlp(_) => (range.max() - log_snr) / (range.max() - range.min()),
            Self::Diffusers(net) => net.timesteps(log_snr),
        }
    }
}

/// `sin(2^n·2πz)` for each `n`, then `cos`: fine detail that a network sees only with difficulty
/// in `z` itself. Along dimension 1; VDM appendix C.
fn fourier_features(z: &Tensor, frequencies: &[i32]) -> Vec<Tensor> {
    let angles: Vec<Tensor> =
        frequencies.iter().map(|n| z * (std::f64::consts::TAU * 2.0_f64.powi(*n))).collect();
    angles.iter().map(Tensor::sin).chain(angles.iter().map(Tensor::cos)).collect()
}

/// Numbers that both networks share, with limits that keep a slip of the pen from taking all memory.
fn check_sizes(width: i64, depth: usize, fourier: &[i32], band_limit: f64) -> Result<(), Error> {
    let refuse = |field, value, remedy| Err(Error::Config { field, value, remedy });
    if !(4..=16_384).contains(&width) || width % 2 != 0 {
        return refuse("network.width", width.to_string(), "use an even number from 4 to 16384");
    }
    if depth > 1024 {
        return refuse("network.depth", depth.to_string(), "use at most 1024");
    }
    let side = width as usize;
    let field = "network.depth times network.width squared";
    bounded_product(field, &[depth.max(1), side, side], Cost::Numbers)?;
    if let Some(n) = fourier.iter().find(|n| !(-16..=16).contains(*n)) {
        return refuse("network.fourier", n.to_string(), "use exponents from -16 to 16");
    }
    clock::check(band_limit)
}
