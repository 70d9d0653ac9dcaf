//! The options of a `UNet2DModel`, by the names of its `config.json`.

use serde::{Deserialize, Serialize};
use vdm_core::count::{Cost, bounded_product};
use vdm_core::schedule::Discrete;
use vdm_core::setting::{InvalidSetting, below_one, positive, require};
use vdm_data::Shape;

use crate::Error;

/// A `UNet2DModel` with the meaning of its timesteps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiffusersSpec {
    /// Its options.
    pub config: UNet2DConfig,
    /// The table it was trained on: which level a timestep stands for.
    pub timesteps: Discrete,
}

/// The options of a `UNet2DModel`. What a file leaves out has diffusers' own default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UNet2DConfig {
    /// Channels of an item.
    pub in_channels: i64,
    /// As many, or twice as many if the variance was learned too; that half is not used.
    pub out_channels: i64,
    /// Whether the input is `2z − 1`.
    pub center_input_sample: bool,
    /// How a timestep becomes a vector.
    pub time_embedding_type: TimeEmbeddingType,
    /// Size of the embedding; four times the first of `block_out_channels` if null.
    pub time_embedding_dim: Option<i64>,
    /// What is taken from half the number of frequencies before dividing by it.
    pub freq_shift: f64,
    /// Cosines before sines.
    pub flip_sin_to_cos: bool,
    /// From the input down, one per resolution.
    pub down_block_types: Vec<DownBlock>,
    /// What is in the middle, if anything.
    pub mid_block_type: Option<MidBlock>,
    /// From the middle up, one per resolution.
    pub up_block_types: Vec<UpBlock>,
    /// Channels of each resolution, from the input down.
    pub block_out_channels: Vec<i64>,
    /// Residual blocks on the way down; one more on the way up.
    pub layers_per_block: usize,
    /// What residual sums of the middle are divided by.
    pub mid_block_scale_factor: f64,
    /// 1 frames the image before a strided convolution, 0 adds to its end only.
    pub downsample_padding: i64,
    /// Of blocks with attention; null is `conv`.
    pub downsample_type: Option<Resampling>,
    /// Of blocks with attention; null is `conv`.
    pub upsample_type: Option<Resampling>,
    /// Probability of dropping an activation in training.
    pub dropout: f64,
    /// Nonlinearity of the residual blocks.
    pub act_fn: Activation,
    /// Channels of a head; all of the block's if null.
    pub attention_head_dim: Option<i64>,
    /// Groups of the normalizations.
    pub norm_num_groups: i64,
    /// Groups of the normalization before the middle's attention. If null, `norm_num_groups`, or no
    /// normalization at all with `resnet_time_scale_shift: scale_shift`.
    pub attn_norm_num_groups: Option<i64>,
    /// What is added to variances.
    pub norm_eps: f64,
    /// How the embedding enters a residual block.
    pub resnet_time_scale_shift: TimeScaleShift,
    /// Whether the middle has attention.
    pub add_attention: bool,
}

/// How a timestep becomes a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeEmbeddingType {
    /// Sines and cosines of geometric frequencies.
    Positional,
    /// Sines and cosines of random multiples of the timestep's logarithm; the output is divided by
    /// the timestep.
    Fourier,
}

/// A resolution on the way down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DownBlock {
    /// Residual blocks, then a strided convolution.
    #[serde(alias = "UNetResDownBlock2D")]
    DownBlock2D,
    /// Residual blocks, each with attention, then as `downsample_type` says.
    #[serde(alias = "UNetResAttnDownBlock2D")]
    AttnDownBlock2D,
    /// Residual blocks, the last of which halves the sides.
    #[serde(alias = "UNetResResnetDownsampleBlock2D")]
    ResnetDownsampleBlock2D,
}

/// What is in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MidBlock {
    /// Residual block, attention, residual block.
    UNetMidBlock2D,
}

/// A resolution on the way up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpBlock {
    /// Residual blocks, then doubled pixels and a convolution.
    #[serde(alias = "UNetResUpBlock2D")]
    UpBlock2D,
    /// Residual blocks, each with attention, then as `upsample_type` says.
    #[serde(alias = "UNetResAttnUpBlock2D")]
    AttnUpBlock2D,
    /// Residual blocks, the last of which doubles the sides.
    #[serde(alias = "UNetResResnetUpsampleBlock2D")]
    ResnetUpsampleBlock2D,
}

/// How the sides are halved or doubled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resampling {
    /// By a convolution.
    Conv,
    /// By a residual block.
    Resnet,
}

/// A nonlinearity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x·sigmoid(x)`.
    #[serde(alias = "swish")]
    Silu,
    /// `x·tanh(softplus(x))`.
    Mish,
    /// `x·Φ(x)`.
    Gelu,
    /// `max(x, 0)`.
    Relu,
}

/// How the embedding enters a residual block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeScaleShift {
    /// Added before the second normalization.
    Default,
    /// As a factor and an offset after it.
    ScaleShift,
}

impl Default for UNet2DConfig {
    fn default() -> Self {
        use DownBlock::{AttnDownBlock2D, DownBlock2D};
        use UpBlock::{AttnUpBlock2D, UpBlock2D};
        Self {
            in_channels: 3,
            out_channels: 3,
            center_input_sample: false,
            time_embedding_type: TimeEmbeddingType::Positional,
            time_embedding_dim: None,
            freq_shift: 0.0,
            flip_sin_to_cos: true,
            down_block_types: vec![DownBlock2D, AttnDownBlock2D, AttnDownBlock2D, AttnDownBlock2D],
            mid_block_type: Some(MidBlock::UNetMidBlock2D),
            up_block_types: vec![AttnUpBlock2D, AttnUpBlock2D, AttnUpBlock2D, UpBlock2D],
            block_out_channels: vec![224, 448, 672, 896],
            layers_per_block: 2,
            mid_block_scale_factor: 1.0,
            downsample_padding: 1,
            downsample_type: Some(Resampling::Conv),
            upsample_type: Some(Resampling::Conv),
            dropout: 0.0,
            act_fn: Activation::Silu,
            attention_head_dim: Some(8),
            norm_num_groups: 32,
            attn_norm_num_groups: None,
            norm_eps: 1e-5,
            resnet_time_scale_shift: TimeScaleShift::Default,
            add_attention: true,
        }
    }
}

const BLOCK_OUT_CHANNELS: &str = "network.config.block_out_channels";

impl UNet2DConfig {
    /// Channels of the time embedding.
    pub(super) fn embedding(&self) -> i64 {
        self.time_embedding_dim.unwrap_or(4 * self.block_out_channels[0])
    }

    /// Groups of the normalization before the middle's attention, if there is one.
    pub(super) fn middle_groups(&self) -> Option<i64> {
        let usual = self.resnet_time_scale_shift == TimeScaleShift::Default;
        self.attn_norm_num_groups.or(usual.then_some(self.norm_num_groups))
    }

    pub(super) fn check(&self, shape: Shape) -> Result<(), Error> {
        let (inputs, outputs) = (self.in_channels, self.out_channels);
        let legal = inputs == shape.channels as i64;
        require(legal, "network.config.in_channels", inputs, "use data with this many channels")?;
        let legal = outputs == inputs || outputs == 2 * inputs;
        let remedy = "use in_channels, or twice that for a learned variance";
        require(legal, "network.config.out_channels", outputs, remedy)?;
        let (field, levels) = (BLOCK_OUT_CHANNELS, self.block_out_channels.len());
        require((1..=16).contains(&levels), field, levels, "use 1 to 16 resolutions")?;
        for (field, count) in [
            ("network.config.down_block_types", self.down_block_types.len()),
            ("network.config.up_block_types", self.up_block_types.len()),
        ] {
            let remedy = "name one block for each entry of block_out_channels";
            require(count == levels, field, format_args!("{count} blocks"), remedy)?;
        }
        let Shape { height, width, .. } = shape;
        let side = 1 << (levels - 1);
        let legal = height.is_multiple_of(side) && width.is_multiple_of(side);
        let value = format_args!("{levels} resolutions of {height}×{width}");
        let remedy = "use fewer: every one but the last halves the sides, which must be even there";
        require(legal, field, value, remedy)?;
        self.check_sizes()?;
        Ok(self.check_numbers()?)
    }

    /// Channels, groups and heads.
    fn check_sizes(&self) -> Result<(), Error> {
        let groups = self.norm_num_groups;
        let fits = |channels: i64, groups: i64| groups > 0 && channels % groups == 0;
        for &channels in &self.block_out_channels {
            let legal = (1..=16_384).contains(&channels);
            require(legal, BLOCK_OUT_CHANNELS, channels, "use 1 to 16384 channels")?;
            let (legal, remedy) =
                (fits(channels, groups), "use a divisor of all block_out_channels");
            require(legal, "network.config.norm_num_groups", groups, remedy)?;
            if let Some(dim) = self.attention_head_dim {
                let remedy = "use 1 to the smallest of block_out_channels";
                let legal = (1..=channels).contains(&dim);
                require(legal, "network.config.attention_head_dim", dim, remedy)?;
            }
        }
        let first = self.block_out_channels[0];
        let remedy = "use an even number first: half are sines, half cosines";
        require(first % 2 == 0, BLOCK_OUT_CHANNELS, first, remedy)?;
        let last = self.block_out_channels[self.block_out_channels.len() - 1];
        if let Some(groups) = self.attn_norm_num_groups {
            let remedy = "use a divisor of the last of block_out_channels";
            require(fits(last, groups), "network.config.attn_norm_num_groups", groups, remedy)?;
        }
        if let Some(dims) = self.time_embedding_dim {
            let (field, remedy) = ("network.config.time_embedding_dim", "use 1 to 65536, or null");
            require((1..=65_536).contains(&dims), field, dims, remedy)?;
        }
        let (field, layers) = ("network.config.layers_per_block", self.layers_per_block);
        require((1..=256).contains(&layers), field, layers, "use 1 to 256")?;
        let widest = self.block_out_channels.iter().copied().max().unwrap_or(1) as usize;
        let layers = self.layers_per_block * self.block_out_channels.len();
        let field = "network.config.layers_per_block times resolutions times channels squared";
        bounded_product(field, &[layers, widest, widest], Cost::Numbers)?;
        let (field, padding) = ("network.config.downsample_padding", self.downsample_padding);
        Ok(require((0..=1).contains(&padding), field, padding, "use 0 or 1")?)
    }

    fn check_numbers(&self) -> Result<(), InvalidSetting> {
        let (shift, half) = (self.freq_shift, self.block_out_channels[0] as f64 / 2.0);
        let remedy = "use a number below half the first of block_out_channels, such as 0 or 1";
        let legal = shift.is_finite() && shift < half;
        require(legal, "network.config.freq_shift", shift, remedy)?;
        positive("network.config.mid_block_scale_factor", self.mid_block_scale_factor)?;
        positive("network.config.norm_eps", self.norm_eps)?;
        below_one("network.config.dropout", self.dropout)
    }
}
