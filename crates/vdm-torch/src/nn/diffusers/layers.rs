//! Residual blocks, attention and changes of resolution.

use tch::Tensor;

use super::config::{Activation, TimeScaleShift, UNet2DConfig};
use crate::nn::Requirements;
use crate::nn::layers::{Conv, GroupNorm, Linear, MultiHeadAttention, Start};
use crate::nn::parameters::Scope;

impl Activation {
    fn of(self, x: &Tensor) -> Tensor {
        match self {
            Self::Silu => x.silu(),
            Self::Mish => x.mish(),
            Self::Gelu => x.gelu("none"),
            Self::Relu => x.relu(),
        }
    }
}

/// What a residual block does to the sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sides {
    Keep,
    /// Means of squares of four pixels.
    Halve,
    /// Every pixel four times.
    Double,
}

impl Sides {
    fn of(self, x: &Tensor) -> Tensor {
        match self {
            Self::Keep => x.shallow_clone(),
            Self::Halve => x.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None::<i64>),
            Self::Double => double(x),
        }
    }
}

fn double(x: &Tensor) -> Tensor {
    let size = x.size();
    x.upsample_nearest2d([2 * size[2], 2 * size[3]], None, None)
}

/// Two 3×3 convolutions; the embedding enters at the second normalization.
#[derive(Debug)]
pub(super) struct ResnetBlock {
    norm1: GroupNorm,
    conv1: Conv,
    time: Linear,
    norm2: GroupNorm,
    conv2: Conv,
    shortcut: Option<Conv>,
    sides: Sides,
    activation: Activation,
    shift: TimeScaleShift,
    dropout: f64,
    scale: f64,
}

impl ResnetBlock {
    /// `scale` divides the sum of both branches.
    pub(super) fn new(
        scope: &Scope<'_>,
        [inputs, outputs]: [i64; 2],
        sides: Sides,
        scale: f64,
        config: &UNet2DConfig,
    ) -> Self {
        let norm = |name, channels| {
            GroupNorm::new(&scope.child(name), channels, config.norm_num_groups, config.norm_eps)
        };
        let conv = |name, inputs, kernel| {
            Conv::new(&scope.child(name), inputs, outputs, kernel, Start::FanIn)
        };
        let shift = config.resnet_time_scale_shift;
        let parts = if shift == TimeScaleShift::ScaleShift { 2 } else { 1 };
        let time = scope.child("time_emb_proj");
        Self {
            norm1: norm("norm1", inputs),
            conv1: conv("conv1", inputs, 3),
            time: Linear::new(&time, config.embedding(), parts * outputs, Start::FanIn),
            norm2: norm("norm2", outputs),
            conv2: conv("conv2", outputs, 3),
            shortcut: (inputs != outputs).then(|| conv("conv_shortcut", inputs, 1)),
            sides,
            activation: config.act_fn,
            shift,
            dropout: config.dropout,
            scale,
        }
    }

    pub(super) fn forward(&self, x: &Tensor, embedding: &Tensor, train: bool) -> Tensor {
        let h = self.activation.of(&self.norm1.forward(x));
        let h = self.conv1.forward(&self.sides.of(&h));
        let time = self.time.forward(&self.activation.of(embedding)).unsqueeze(-1).unsqueeze(-1);
        let h = match self.shift {
            TimeScaleShift::Default => self.norm2.forward(&(h + time)),
            TimeScaleShift::ScaleShift => {
                let [scale, shift] = [0, 1].map(|i| time.chunk(2, 1)[i].shallow_clone());
                self.norm2.forward(&h) * (scale + 1.0) + shift
            }
        };
        let h = self.activation.of(&h);
        let h = if self.dropout > 0.0 { h.dropout(self.dropout, train) } else { h };
        let h = self.conv2.forward(&h);
        let x = self.sides.of(x);
        let x = self.shortcut.as_ref().map_or_else(|| x.shallow_clone(), |conv| conv.forward(&x));
        (x + h) / self.scale
    }
}

/// Self-attention over all pixels, as a residual branch.
#[derive(Debug)]
pub(super) struct Attention {
    norm: Option<GroupNorm>,
    mix: MultiHeadAttention,
    scale: f64,
}

impl Attention {
    /// `groups` of the normalization, if any; `scale` divides the sum of both branches.
    pub(super) fn new(
        scope: &Scope<'_>,
        channels: i64,
        groups: Option<i64>,
        scale: f64,
        config: &UNet2DConfig,
    ) -> Self {
        let head = config.attention_head_dim.unwrap_or(channels);
        let norm =
            |groups| GroupNorm::new(&scope.child("group_norm"), channels, groups, config.norm_eps);
        Self {
            norm: groups.map(norm),
            mix: MultiHeadAttention::new(
                scope,
                channels,
                [channels / head, head],
                Requirements::PLAIN,
            ),
            scale,
        }
    }

    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        let h = self.norm.as_ref().map_or_else(|| x.shallow_clone(), |norm| norm.forward(x));
        // [B, C, H, W] to [B, HW, C] and back.
        let mixed = self.mix.forward(&h.flatten(2, 3).transpose(1, 2));
        (mixed.transpose(1, 2).reshape(x.size().as_slice()) + x) / self.scale
    }
}

/// The way to the next resolution.
#[derive(Debug)]
pub(super) enum Resampler {
    /// A strided convolution; without a frame one zero is added at the end of each side.
    Down { conv: Conv, framed: bool },
    /// Doubled pixels, then a convolution.
    Up(Conv),
    /// A residual block.
    Resnet(ResnetBlock),
}

impl Resampler {
    pub(super) fn down(scope: &Scope<'_>, channels: i64, config: &UNet2DConfig) -> Self {
        let conv = Conv::new(&scope.child("conv"), channels, channels, 3, Start::FanIn);
        let padding = config.downsample_padding;
        Self::Down { conv: conv.strided(2, padding), framed: padding > 0 }
    }

    pub(super) fn up(scope: &Scope<'_>, channels: i64) -> Self {
        Self::Up(Conv::new(&scope.child("conv"), channels, channels, 3, Start::FanIn))
    }

    pub(super) fn forward(&self, x: &Tensor, embedding: &Tensor, train: bool) -> Tensor {
        match self {
            Self::Down { conv, framed: true } => conv.forward(x),
            Self::Down { conv, framed: false } => conv.forward(&x.zero_pad2d(0, 1, 0, 1)),
            Self::Up(conv) => conv.forward(&double(x)),
            Self::Resnet(block) => block.forward(x, embedding, train),
        }
    }
}
