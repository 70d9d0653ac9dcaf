//! VDM's U-Net: constant resolution, skip connections, conditioned on the noise level; optionally
//! around a trunk of lower resolution.

use serde::{Deserialize, Serialize};
use tch::Tensor;
use vdm_core::setting::{below_one, require};
use vdm_data::Shape;

use super::layers::{Conv, GroupNorm, Linear, Start, TimeEmbedding, attend, band_limit};
use super::parameters::Scope;
use super::{Network, Requirements, check_sizes, fourier_features};
use crate::Error;

/// Sizes of a [`UNet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UNetSpec {
    /// Channels of every block.
    pub width: i64,
    /// Blocks before the middle, and one fewer than after it.
    pub depth: usize,
    /// Groups of the normalization; divides the width.
    pub groups: i64,
    /// Exponents `n` of the Fourier features `sin, cos(2^n·2πz)` of the input; may be empty.
    #[serde(default)]
    pub fourier: Vec<i32>,
    /// The fastest wave of the clock, in radians from one end of the levels to the other;
    /// [`BAND_LIMIT`](super::BAND_LIMIT) unless given, 1000 in VDM.
    #[serde(default = "band_limit")]
    pub band_limit: f64,
    /// Where there is self-attention.
    pub attention: Attention,
    /// Probability of dropping a channel's activation in training.
    #[serde(default)]
    pub dropout: f64,
    /// Side of the squares of pixels that are folded into channels at the input and unfolded at
    /// the output; 1 (VDM) works on pixels themselves. Divides height and width.
    #[serde(default = "one")]
    pub patch: i64,
    /// Side of the last convolution's kernel, odd; 3 (VDM). 1 saves a quarter of the time where a
    /// categorical head has 256 outputs per pixel.
    #[serde(default = "three")]
    pub output_kernel: i64,
    /// A trunk of lower resolution in place of the middle. VDM has none: what a likelihood depends on
    /// is detail. The shape of a whole garment or face is what a sample is looked at for, and a short
    /// training finds it sooner where a layer sees more of the image.
    #[serde(default)]
    pub trunk: Option<TrunkSpec>,
}

/// VDM's.
const NORM_EPSILON: f64 = 1e-6;

/// Sizes of a [`UNet`]'s trunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrunkSpec {
    /// Side of the squares of pixels that become one; divides height and width of the (patched)
    /// image.
    pub factor: i64,
    /// Channels of its blocks; divisible by the network's groups.
    pub width: i64,
    /// Blocks, each followed by self-attention.
    pub depth: usize,
}

fn one() -> i64 {
    1
}

fn three() -> i64 {
    3
}

/// Where a [`UNet`] has self-attention over all pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attention {
    /// Once, in the middle (VDM on CIFAR-10).
    Middle,
    /// After every block too.
    Everywhere,
}

impl UNetSpec {
    fn check(&self, shape: Shape) -> Result<(), Error> {
        check_sizes(self.width, self.depth, &self.fourier, self.band_limit)?;
        let divides = self.groups > 0 && self.width % self.groups == 0;
        require(divides, "network.groups", self.groups, "use a divisor of network.width")?;
        below_one("network.dropout", self.dropout)?;
        let (field, kernel) = ("network.output_kernel", self.output_kernel);
        let legal = (1..=9).contains(&kernel) && kernel % 2 == 1;
        require(legal, field, kernel, "use an odd number from 1 to 9")?;
        let divides = |side: usize| self.patch > 0 && side as i64 % self.patch == 0;
        let remedy = "use a divisor of the images' height and width, such as 1";
        let legal = divides(shape.height) && divides(shape.width);
        require(legal, "network.patch", self.patch, remedy)?;
        if let Some(TrunkSpec { width, depth, factor, .. }) = self.trunk {
            let legal = (1..=16_384).contains(&width) && width % self.groups == 0;
            let remedy = "use a multiple of network.groups, at most 16384";
            require(legal, "network.trunk.width", width, remedy)?;
            require(depth <= 1024, "network.trunk.depth", depth, "use at most 1024")?;
            let divides = |side: usize| factor > 1 && (side as i64 / self.patch) % factor == 0;
            let remedy = "use a divisor of the images' height and width, from 2";
            let legal = divides(shape.height) && divides(shape.width);
            require(legal, "network.trunk.factor", factor, remedy)?;
        }
        Ok(())
    }
}

/// A residual block: two 3×3 convolutions, the noise level added between them.
#[derive(Debug)]
struct ResBlock {
    norm1: GroupNorm,
    conv1: Conv,
    condition: Linear,
    norm2: GroupNorm,
    conv2: Conv,
    shortcut: Option<Conv>,
    dropout: f64,
}

impl ResBlock {
    /// From `inputs` to `width` channels; the condition has the size of the whole network's.
    fn new(scope: &Scope<'_>, inputs: i64, width: i64, spec: &UNetSpec) -> Self {
        let UNetSpec { groups, dropout, .. } = *spec;
        let child = |name: &str| scope.child(name);
        Self {
            norm1: GroupNorm::new(&child("norm1"), inputs, groups, NORM_EPSILON),
            conv1: Conv::new(&child("conv1"), inputs, width, 3, Start::FanIn),
            condition: Linear::without_bias(
                &child("condition"),
                4 * spec.width,
                width,
                Start::Zero,
            ),
            norm2: GroupNorm::new(&child("norm2"), width, groups, NORM_EPSILON),
            conv2: Conv::new(&child("conv2"), width, width, 3, Start::Zero),
            shortcut: (inputs != width)
                .then(|| Conv::new(&child("shortcut"), inputs, width, 1, Start::FanIn)),
            dropout,
        }
    }

    fn forward(&self, x: &Tensor, condition: &Tensor, train: bool) -> Tensor {
        let shift = self.condition.forward(condition).unsqueeze(-1).unsqueeze(-1);
        let h = self.conv1.forward(&self.norm1.forward(x).silu()) + shift;
        let h = self.norm2.forward(&h).silu();
        let h = if self.dropout > 0.0 { h.dropout(self.dropout, train) } else { h };
        let h = self.conv2.forward(&h);
        match &self.shortcut {
            Some(shortcut) => shortcut.forward(x) + h,
            None => x + h,
        }
    }
}

/// Single-head self-attention over all pixels, as a residual branch.
#[derive(Debug)]
struct SelfAttention {
    requirements: Requirements,
    norm: GroupNorm,
    query_key_value: Conv,
    output: Conv,
}

impl SelfAttention {
    fn new(scope: &Scope<'_>, width: i64, groups: i64, requirements: Requirements) -> Self {
        Self {
            requirements,
            norm: GroupNorm::new(&scope.child("norm"), width, groups, NORM_EPSILON),
            query_key_value: Conv::new(&scope.child("qkv"), width, 3 * width, 1, Start::FanIn),
            output: Conv::new(&scope.child("output"), width, width, 1, Start::Zero),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let size = x.size();
        let (batch, channels) = (size[0], size[1]);
        let qkv = self.query_key_value.forward(&self.norm.forward(x));
        // [B, 3C, H, W] to three of [B, 1 head, HW, C].
        // Contiguous, as the fused kernels demand.
        let qkv = qkv.view([batch, 3, channels, -1]).transpose(2, 3).contiguous().unsqueeze(2);
        let [q, k, v] = [0, 1, 2].map(|i| qkv.select(1, i));
        let mixed = attend(&q, &k, &v, self.requirements);
        let mixed = mixed.squeeze_dim(1).transpose(1, 2).reshape(size.as_slice());
        x + self.output.forward(&mixed)
    }
}

/// One place along the U: a block, perhaps followed by attention.
#[derive(Debug)]
struct Stage {
    block: ResBlock,
    attention: Option<SelfAttention>,
}

impl Stage {
    fn new(
        scope: &Scope<'_>,
        [inputs, width]: [i64; 2],
        attention: Option<Requirements>,
        spec: &UNetSpec,
    ) -> Self {
        let attend = |requirements| {
            SelfAttention::new(&scope.child("attention"), width, spec.groups, requirements)
        };
        Self {
            block: ResBlock::new(&scope.child("block"), inputs, width, spec),
            attention: attention.map(attend),
        }
    }

    fn forward(&self, x: &Tensor, condition: &Tensor, train: bool) -> Tensor {
        let h = self.block.forward(x, condition, train);
        match &self.attention {
            Some(attention) => attention.forward(&h),
            None => h,
        }
    }
}

/// What lies at the bottom of the U.
#[derive(Debug)]
enum Middle {
    /// Block, attention, block (VDM).
    Pixels(Vec<Stage>),
    /// Blocks with attention on squares of pixels, as a residual branch.
    Trunk { factor: i64, enter: Conv, stages: Vec<Stage>, leave: Conv },
}

impl Middle {
    fn new(scope: &Scope<'_>, spec: &UNetSpec, requirements: Requirements) -> Self {
        let width = spec.width;
        let Some(TrunkSpec { factor, width: wide, depth }) = spec.trunk else {
            let stage = |name: &str, attention| {
                Stage::new(&scope.child(name), [width, width], attention, spec)
            };
            return Self::Pixels(vec![stage("0", Some(requirements)), stage("1", None)]);
        };
        let folded = width * factor * factor;
        let stage = |i| Stage::new(&scope.child(&i), [wide, wide], Some(requirements), spec);
        Self::Trunk {
            factor,
            enter: Conv::new(&scope.child("enter"), folded, wide, 1, Start::FanIn),
            stages: (0..depth).map(|i| stage(i.to_string())).collect(),
            leave: Conv::new(&scope.child("leave"), wide, folded, 1, Start::Zero),
        }
    }

    fn forward(&self, x: &Tensor, condition: &Tensor, train: bool) -> Tensor {
        let through = |stages: &[Stage], x: Tensor| {
            stages.iter().fold(x, |h, stage| stage.forward(&h, condition, train))
        };
        match self {
            Self::Pixels(stages) => through(stages, x.shallow_clone()),
            Self::Trunk { factor, enter, stages, leave } => {
                let h = through(stages, enter.forward(&x.pixel_unshuffle(*factor)));
                x + leave.forward(&h).pixel_shuffle(*factor)
            }
        }
    }
}

/// The network of Kingma et al. 2021 (appendix B): no down-sampling, since a likelihood depends on
/// every pixel's detail; `depth` residual blocks, a middle of block, attention, block, and
/// `depth + 1` blocks that each also see the output of their mirror image.
#[derive(Debug)]
pub struct UNet {
    spec: UNetSpec,
    time: TimeEmbedding,
    embedding: [Linear; 2],
    input: Conv,
    down: Vec<Stage>,
    middle: Middle,
    up: Vec<Stage>,
    norm: GroupNorm,
    output: Conv,
}

impl UNet {
    /// For images of `shape`.
    ///
    /// # Errors
    /// [`Error::Setting`] if the sizes do not fit together.
    pub fn new(
        spec: &UNetSpec,
        shape: Shape,
        requirements: Requirements,
        scope: &Scope<'_>,
    ) -> Result<Self, Error> {
        spec.check(shape)?;
        let width = spec.width;
        let everywhere = (spec.attention == Attention::Everywhere).then_some(requirements);
        let folded = shape.channels as i64 * spec.patch * spec.patch;
        let inputs = folded * (1 + 2 * spec.fourier.len() as i64);
        let stage = |name: String, inputs| {
            Stage::new(&scope.child(&name), [inputs, width], everywhere, spec)
        };
        Ok(Self {
            spec: spec.clone(),
            time: TimeEmbedding::new(width, spec.band_limit, scope.device()),
            embedding: [
                Linear::new(&scope.child("embedding.0"), width, 4 * width, Start::FanIn),
                Linear::new(&scope.child("embedding.1"), 4 * width, 4 * width, Start::FanIn),
            ],
            input: Conv::new(&scope.child("input"), inputs, width, 3, Start::FanIn),
            down: (0..spec.depth).map(|i| stage(format!("down.{i}"), width)).collect(),
            middle: Middle::new(&scope.child("middle"), spec, requirements),
            up: (0..=spec.depth).map(|i| stage(format!("up.{i}"), 2 * width)).collect(),
            norm: GroupNorm::new(&scope.child("norm"), width, spec.groups, NORM_EPSILON),
            output: Conv::new(
                &scope.child("output"),
                width,
                folded * requirements.outputs_per_channel,
                spec.output_kernel,
                Start::Zero,
            ),
        })
    }

    /// The input with its Fourier features, squares of pixels folded into channels.
    fn features(&self, z: &Tensor) -> Tensor {
        let z = if self.spec.patch > 1 {
            z.pixel_unshuffle(self.spec.patch)
        } else {
            z.shallow_clone()
        };
        if self.spec.fourier.is_empty() {
            return z;
        }
        let mut parts = fourier_features(&z, &self.spec.fourier);
        parts.insert(0, z);
        Tensor::cat(&parts, 1)
    }
}

impl Network for UNet {
    fn forward(&self, z: &Tensor, time: &Tensor, train: bool) -> Tensor {
        let condition = self
            .embedding
            .iter()
            .fold(self.time.forward(time), |h, layer| layer.forward(&h).silu());
        let mut h = self.input.forward(&self.features(z));
        let mut skips = vec![h.shallow_clone()];
        for stage in &self.down {
            h = stage.forward(&h, &condition, train);
            skips.push(h.shallow_clone());
        }
        h = self.middle.forward(&h, &condition, train);
        for (stage, skip) in self.up.iter().zip(skips.into_iter().rev()) {
            h = stage.forward(&Tensor::cat(&[h, skip], 1), &condition, train);
        }
        let out = self.output.forward(&self.norm.forward(&h).silu());
        if self.spec.patch > 1 { out.pixel_shuffle(self.spec.patch) } else { out }
    }

    fn has_dropout(&self) -> bool {
        self.spec.dropout > 0.0
    }
}
