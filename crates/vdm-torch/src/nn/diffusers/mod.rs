//! The network of Hugging Face diffusers' `UNet2DModel`, under its own names of weights.
//!
//! A U-Net of several resolutions (Ho et al. 2020): residual blocks with group normalization, at
//! some resolutions with self-attention, conditioned on a timestep. All options of the class are
//! here but blocks of the score-SDE kind with FIR filters (`Skip…`), text clock
//! (`…CrossAttn…`), learned embeddings of timesteps, which know integers only, and the
//! normalizations `spatial` and `ada_group`.
//!
//! Use it for weights trained with that library. [`UNet`](super::UNet) is the better start for a
//! likelihood.

mod config;
mod layers;

pub use config::{
    Activation, DiffusersSpec, DownBlock, MidBlock, Resampling, TimeEmbeddingType, TimeScaleShift,
    UNet2DConfig, UpBlock,
};

use tch::{Device, Kind, Tensor};
use vdm_core::schedule::{Discrete, LogSnrRange};
use vdm_core::{LogSnr, NoiseSchedule};
use vdm_data::Shape;

use self::layers::{Attention, Resampler, ResnetBlock, Sides};
use super::Network;
use super::layers::{Conv, GroupNorm, Linear, Start};
use super::parameters::{Initial, Scope};
use crate::Error;

/// A residual block, perhaps followed by attention.
#[derive(Debug)]
struct Layer {
    resnet: ResnetBlock,
    attention: Option<Attention>,
}

/// One resolution, on the way down or up.
#[derive(Debug)]
struct Block {
    layers: Vec<Layer>,
    resampler: Option<Resampler>,
}

impl Block {
    /// A layer for each pair of channels; attention after each of them or nowhere.
    fn new(
        scope: &Scope<'_>,
        channels: &[[i64; 2]],
        attention: bool,
        resampler: Option<Resampler>,
        config: &UNet2DConfig,
    ) -> Self {
        let layer = |(i, channels): (usize, &[i64; 2])| {
            let resnet = scope.child(format!("resnets.{i}"));
            let attend = scope.child(format!("attentions.{i}"));
            let groups = Some(config.norm_num_groups);
            Layer {
                resnet: ResnetBlock::new(&resnet, *channels, Sides::Keep, 1.0, config),
                attention: attention
                    .then(|| Attention::new(&attend, channels[1], groups, 1.0, config)),
            }
        };
        Self { layers: channels.iter().enumerate().map(layer).collect(), resampler }
    }

    /// Resolution `i` on the way down.
    fn down(scope: &Scope<'_>, i: usize, config: &UNet2DConfig) -> Self {
        let widths = &config.block_out_channels;
        let (inputs, width) = (widths[i.max(1) - 1], widths[i]);
        let channels: Vec<_> = (0..config.layers_per_block)
            .map(|layer| [if layer == 0 { inputs } else { width }, width])
            .collect();
        let kind = config.down_block_types[i];
        let by_resnet = match kind {
            DownBlock::DownBlock2D => false,
            DownBlock::AttnDownBlock2D => config.downsample_type == Some(Resampling::Resnet),
            DownBlock::ResnetDownsampleBlock2D => true,
        };
        let place = scope.child("downsamplers.0");
        let resampler = (i + 1 < widths.len()).then(|| {
            if by_resnet {
                let sides = Sides::Halve;
                Resampler::Resnet(ResnetBlock::new(&place, [width; 2], sides, 1.0, config))
            } else {
                Resampler::down(&place, width, config)
            }
        });
        Self::new(scope, &channels, kind == DownBlock::AttnDownBlock2D, resampler, config)
    }

    /// Block `i` on the way up; every layer also sees a layer's output on the way down.
    fn up(scope: &Scope<'_>, i: usize, config: &UNet2DConfig) -> Self {
        let widths: Vec<i64> = config.block_out_channels.iter().rev().copied().collect();
        let (before, width) = (widths[i.max(1) - 1], widths[i]);
        let beyond = widths[(i + 1).min(widths.len() - 1)];
        let last = config.layers_per_block;
        let channels: Vec<_> = (0..=last)
            .map(|layer| {
                let skip = if layer == last { beyond } else { width };
                [skip + if layer == 0 { before } else { width }, width]
            })
            .collect();
        let kind = config.up_block_types[i];
        let by_resnet = match kind {
            UpBlock::UpBlock2D => false,
            UpBlock::AttnUpBlock2D => config.upsample_type == Some(Resampling::Resnet),
            UpBlock::ResnetUpsampleBlock2D => true,
        };
        let place = scope.child("upsamplers.0");
        let resampler = (i + 1 < widths.len()).then(|| {
            if by_resnet {
                let sides = Sides::Double;
                Resampler::Resnet(ResnetBlock::new(&place, [width; 2], sides, 1.0, config))
            } else {
                Resampler::up(&place, width)
            }
        });
        Self::new(scope, &channels, kind == UpBlock::AttnUpBlock2D, resampler, config)
    }
}

impl Layer {
    fn forward(&self, x: &Tensor, embedding: &Tensor, train: bool) -> Tensor {
        let h = self.resnet.forward(x, embedding, train);
        self.attention.as_ref().map_or_else(|| h.shallow_clone(), |attention| attention.forward(&h))
    }
}

/// The lowest resolution: residual block, attention, residual block.
#[derive(Debug)]
struct Middle {
    first: Layer,
    second: ResnetBlock,
}

impl Middle {
    fn new(scope: &Scope<'_>, config: &UNet2DConfig) -> Self {
        let width = config.block_out_channels[config.block_out_channels.len() - 1];
        let scale = config.mid_block_scale_factor;
        let resnet = |i| {
            let place = scope.child(format!("resnets.{i}"));
            ResnetBlock::new(&place, [width; 2], Sides::Keep, scale, config)
        };
        let attention = config.add_attention.then(|| {
            let place = scope.child("attentions.0");
            Attention::new(&place, width, config.middle_groups(), scale, config)
        });
        Self { first: Layer { resnet: resnet(0), attention }, second: resnet(1) }
    }

    fn forward(&self, x: &Tensor, embedding: &Tensor, train: bool) -> Tensor {
        self.second.forward(&self.first.forward(x, embedding, train), embedding, train)
    }
}

/// Timesteps `[B]` to vectors `[B, dims]`.
#[derive(Debug)]
enum TimeFeatures {
    Positional { frequencies: Tensor, cosines_first: bool },
    Fourier { weight: Tensor },
}

impl TimeFeatures {
    fn new(scope: &Scope<'_>, config: &UNet2DConfig) -> Self {
        let channels = config.block_out_channels[0];
        match config.time_embedding_type {
            TimeEmbeddingType::Positional => {
                // In f32 like the library: at timestep 1000 a rounding of a frequency turns the
                // angle by 6e-5.
                let index = Tensor::arange(channels / 2, (Kind::Float, scope.device()));
                let divisor = (channels / 2) as f64 - config.freq_shift;
                let exponents = index * -(10_000.0_f64.ln()) / divisor;
                let cosines_first = config.flip_sin_to_cos;
                Self::Positional { frequencies: exponents.exp().unsqueeze(0), cosines_first }
            }
            TimeEmbeddingType::Fourier => {
                // Of the library's standard deviation, 16.
                let initial = Initial::Uniform { bound: 16.0 * 3.0_f64.sqrt() };
                let weight = scope.child("time_proj").tensor("weight", &[channels], initial);
                Self::Fourier { weight }
            }
        }
    }

    fn forward(&self, timesteps: &Tensor) -> Tensor {
        let (angles, cosines_first) = match self {
            // In f32 even of a network in f64, like the library.
            Self::Positional { frequencies, cosines_first } => {
                (timesteps.to_kind(Kind::Float).unsqueeze(1) * frequencies, *cosines_first)
            }
            Self::Fourier { weight } => {
                let turns = timesteps.log().unsqueeze(1) * weight.unsqueeze(0);
                (turns * 2.0 * std::f64::consts::PI, false)
            }
        };
        let (sin, cos) = (angles.sin(), angles.cos());
        Tensor::cat(&if cosines_first { [cos, sin] } else { [sin, cos] }, 1)
    }
}

/// A `UNet2DModel` with its weights.
#[derive(Debug)]
pub struct DiffusersUNet {
    config: UNet2DConfig,
    timesteps: Discrete,
    features: TimeFeatures,
    embedding: [Linear; 2],
    input: Conv,
    down: Vec<Block>,
    middle: Option<Middle>,
    up: Vec<Block>,
    norm: GroupNorm,
    output: Conv,
}

impl DiffusersUNet {
    /// For images of `shape`.
    ///
    /// # Errors
    /// [`Error::Setting`] if the sizes do not fit together.
    pub fn new(spec: &DiffusersSpec, shape: Shape, scope: &Scope<'_>) -> Result<Self, Error> {
        let config = &spec.config;
        config.check(shape)?;
        let width = config.block_out_channels[0];
        let features = match config.time_embedding_type {
            TimeEmbeddingType::Positional => width,
            TimeEmbeddingType::Fourier => 2 * width,
        };
        let linear = |i, inputs| {
            let place = scope.child(format!("time_embedding.linear_{i}"));
            Linear::new(&place, inputs, config.embedding(), Start::FanIn)
        };
        let conv =
            |name, inputs, outputs| Conv::new(&scope.child(name), inputs, outputs, 3, Start::FanIn);
        let levels = config.block_out_channels.len();
        let down = |i| Block::down(&scope.child(format!("down_blocks.{i}")), i, config);
        let up = |i| Block::up(&scope.child(format!("up_blocks.{i}")), i, config);
        let norm = scope.child("conv_norm_out");
        Ok(Self {
            config: config.clone(),
            timesteps: spec.timesteps.clone(),
            features: TimeFeatures::new(scope, config),
            embedding: [linear(1, features), linear(2, config.embedding())],
            input: conv("conv_in", config.in_channels, width),
            down: (0..levels).map(down).collect(),
            middle: config.mid_block_type.map(|_| Middle::new(&scope.child("mid_block"), config)),
            up: (0..levels).map(up).collect(),
            norm: GroupNorm::new(&norm, width, config.norm_num_groups, config.norm_eps),
            output: conv("conv_out", width, config.out_channels),
        })
    }

    /// `[B, C, H, W]` and timesteps `[B]` to `[B, out_channels, H, W]`, that of a learned variance
    /// included. The latents are of the weights' kind, f32 or [f64](super::Parameters::to_f64).
    pub fn all_channels(&self, z: &Tensor, timesteps: &Tensor, train: bool) -> Tensor {
        let [first, second] = &self.embedding;
        let features = self.features.forward(timesteps).to_kind(z.kind());
        let embedding = second.forward(&first.forward(&features).silu());
        let mut h = if self.config.center_input_sample {
            self.input.forward(&(z * 2.0 - 1.0))
        } else {
            self.input.forward(z)
        };
        let mut skips = vec![h.shallow_clone()];
        for block in &self.down {
            for layer in &block.layers {
                h = layer.forward(&h, &embedding, train);
                skips.push(h.shallow_clone());
            }
            if let Some(resampler) = &block.resampler {
                h = resampler.forward(&h, &embedding, train);
                skips.push(h.shallow_clone());
            }
        }
        if let Some(middle) = &self.middle {
            h = middle.forward(&h, &embedding, train);
        }
        for block in &self.up {
            for layer in &block.layers {
                // One skip for every layer: as many were put on as are taken off.
                if let Some(skip) = skips.pop() {
                    h = layer.forward(&Tensor::cat(&[h, skip], 1), &embedding, train);
                }
            }
            if let Some(resampler) = &block.resampler {
                h = resampler.forward(&h, &embedding, train);
            }
        }
        let out = self.output.forward(&self.norm.forward(&h).silu());
        match self.config.time_embedding_type {
            TimeEmbeddingType::Positional => out,
            TimeEmbeddingType::Fourier => out / timesteps.view([-1, 1, 1, 1]),
        }
    }
}

impl Network for DiffusersUNet {
    fn forward(&self, z: &Tensor, timesteps: &Tensor, train: bool) -> Tensor {
        // What lies beyond is a learned variance.
        self.all_channels(z, timesteps, train).narrow(1, 0, z.size()[1])
    }

    /// The timesteps of levels, `[B]` to `[B]`: indices into the table where a level is one of its
    /// own, between two of them by the share of log-SNR where it lies between theirs, and those of
    /// the table's ends beyond. Found in f64 on the host.
    fn time(&self, log_snr: &Tensor, _: LogSnrRange) -> Tensor {
        let last = (self.timesteps.steps() - 1) as f64;
        let host = log_snr.to_kind(Kind::Double).to_device(Device::Cpu);
        let levels: Vec<f64> = Vec::try_from(host).unwrap_or_default();
        let timestep = |level: &f64| (last * self.timesteps.time(LogSnr::new(*level))) as f32;
        let timesteps: Vec<f32> = levels.iter().map(timestep).collect();
        Tensor::from_slice(&timesteps).to_device(log_snr.device())
    }

    fn has_differentiable_time(&self) -> bool {
        false
    }

    fn has_dropout(&self) -> bool {
        self.config.dropout > 0.0
    }
}
