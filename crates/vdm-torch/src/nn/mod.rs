//! Networks, as plain functions over named tensors: those that configurations can name ([`NetworkSpec`]), what
//! any other has to be ([`Network`]), and the layers that both are made of ([`layers`]).

mod diffusers;
pub mod layers;
mod mlp;
mod parameters;
mod unet;

pub use diffusers::{
    Activation, DiffusersSpec, DiffusersUNet, DownBlock, MidBlock, Resampling, TimeEmbeddingType,
    TimeScaleShift, UNet2DConfig, UpBlock,
};
pub use layers::{BAND_LIMIT, PUBLISHED_BAND_LIMIT};
pub use mlp::{Mlp, MlpSpec};
pub(crate) use parameters::fitting;
pub use parameters::{Initial, Parameters, Scope};
pub use unet::{Attention, TrunkSpec, UNet, UNetSpec};

use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};
use vdm_core::count::{Cost, bounded_product};
use vdm_core::schedule::LogSnrRange;
use vdm_core::setting::{InvalidSetting, require};
use vdm_data::Shape;

use crate::Error;

/// Precision of the network's matrix products and convolutions. Weights, sums and the loss of a training
/// are always f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// 16-bit brain floats through autocast.
    Bf16,
}

impl Precision {
    /// What `forward` makes with its products in this precision on a device; what it makes may be of that kind.
    pub(crate) fn run<T>(self, device: Device, forward: impl FnOnce() -> T) -> Result<T, Error> {
        match self {
            Self::F32 => Ok(forward()),
            Self::Bf16 => Ok(vdm_torch_sys::autocast_bf16(device.is_cuda(), forward)?),
        }
    }
}

/// How a network is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    /// Whether dropout is on.
    pub train: bool,
    /// Precision of products.
    pub precision: Precision,
}

impl Mode {
    /// No dropout, full precision.
    pub const EVALUATION: Self = Self { train: false, precision: Precision::F32 };
}

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
    /// One that another program brings: what its files say of it. Only that program can build it; see
    /// [`Model::with_network`](crate::Model::with_network).
    Custom {
        /// What it is called.
        name: String,
        /// Whatever fixes it but its weights.
        settings: serde_json::Value,
    },
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

/// A network with its weights, and how it is told the noise level. What [`Model`](crate::Model) makes of its
/// output is the [`Head`](crate::Head)'s.
///
/// A network of your own is built by [`Model::with_network`](crate::Model::with_network); its weights are
/// created in the [`Scope`] given there, so that they are trained, averaged and saved like any other's.
/// `examples/own_network.rs` has a diffusion transformer.
pub trait Network: std::fmt::Debug + Send {
    /// `z` is `[B, C, H, W]`; `time` is `[B]`, as [`time`](Self::time) gives it. Returns `[B, C·K, H, W]`, with
    /// `K` the [outputs per channel](Requirements::outputs_per_channel) it was built for. `train` turns dropout on.
    /// Both inputs are of the weights' kind, f32 or [f64](Parameters::to_f64).
    fn forward(&self, z: &Tensor, time: &Tensor, train: bool) -> Tensor;

    /// What the network is told of log-SNR, `[B]` to `[B]`: 0 at the data end of `range` and 1 at its noise end
    /// unless overridden, as by networks that expect timesteps.
    fn time(&self, log_snr: &Tensor, range: LogSnrRange) -> Tensor {
        (range.max() - log_snr) / (range.max() - range.min())
    }

    /// Whether [`time`](Self::time) can be differentiated by the log-SNR, without which no schedule can be
    /// learned.
    fn has_differentiable_time(&self) -> bool {
        true
    }

    /// Whether training draws random masks.
    fn has_dropout(&self) -> bool {
        false
    }
}

impl NetworkSpec {
    /// Builds the network for items of `shape`, registering its weights in `scope`.
    ///
    /// # Errors
    /// [`Error::Setting`] if the sizes do not fit together, or if the network is another program's.
    pub fn build(
        &self,
        shape: Shape,
        requirements: Requirements,
        scope: &Scope<'_>,
    ) -> Result<Box<dyn Network>, Error> {
        let refuse =
            |field, value: &str, remedy| Err(InvalidSetting::new(field, value, remedy).into());
        Ok(match self {
            Self::Unet(spec) => Box::new(UNet::new(spec, shape, requirements, scope)?),
            Self::Mlp(spec) => Box::new(Mlp::new(spec, shape, requirements, scope)?),
            Self::Diffusers(_) if requirements != Requirements::PLAIN => {
                let remedy =
                    "use \"unet\" or \"mlp\", which heads \"categorical\" and \"energy\" need";
                return refuse("network.kind", "diffusers", remedy);
            }
            Self::Diffusers(spec) => Box::new(DiffusersUNet::new(spec, shape, scope)?),
            Self::Custom { name, .. } => {
                let remedy = "use the program that it is of, or build it by Model::with_network";
                return refuse("network.custom", name, remedy);
            }
        })
    }
}

/// `sin(2^n·2πz)` for each `n`, then `cos`: fine detail that a network sees only with difficulty
/// in `z` itself. Along dimension 1; VDM appendix C.
pub(crate) fn fourier_features(z: &Tensor, frequencies: &[i32]) -> Vec<Tensor> {
    let angles: Vec<Tensor> =
        frequencies.iter().map(|n| z * (std::f64::consts::TAU * 2.0_f64.powi(*n))).collect();
    angles.iter().map(Tensor::sin).chain(angles.iter().map(Tensor::cos)).collect()
}

/// Numbers that both networks share, with limits that keep a slip of the pen from taking all memory.
fn check_sizes(width: i64, depth: usize, fourier: &[i32], band_limit: f64) -> Result<(), Error> {
    let legal = (4..=16_384).contains(&width) && width % 2 == 0;
    require(legal, "network.width", width, "use an even number from 4 to 16384")?;
    require(depth <= 1024, "network.depth", depth, "use at most 1024")?;
    let side = width as usize;
    let field = "network.depth times network.width squared";
    bounded_product(field, &[depth.max(1), side, side], Cost::Numbers)?;
    for n in fourier {
        let legal = (-16..=16).contains(n);
        require(legal, "network.fourier", n, "use exponents from -16 to 16")?;
    }
    Ok(layers::check_band_limit(band_limit)?)
}
