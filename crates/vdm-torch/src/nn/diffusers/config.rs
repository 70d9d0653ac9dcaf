//! The options of a `UNet2DModel`, by the names of its `config.json`.

use serde::{Deserialize, Serialize};
use vdm_core::count::{Cost, bounded_product};
use vdm_core::schedule::Discrete;
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
        let refuse = |field, value: String, remedy| Err(Error::Config { field, value, remedy });
        if self.in_channels != shape.channels as i64 {
            let remedy = "use data with this many channels";
            return refuse("network.config.in_channels", self.in_channels.to_string(), remedy);
        }
        if self.out_channels != self.in_channels && self.out_channels != 2 * self.in_channels {
            let remedy = "use in_channels, or twice that for a learned variance";
            return refuse("network.config.out_channels", self.out_channels.to_string(), remedy);
        }
        let levels = self.block_out_channels.len();
        if levels == 0 || levels > 16 {
            let remedy = "use 1 to 16 resolutions";
            return refuse("network.config.block_out_channels", levels.to_string(), remedy);
        }
        let lists = [
            ("network.config.down_block_types", self.down_block_types.len()),
            ("network.config.up_block_types", self.up_block_types.len()),
        ];
        if let Some((field, count)) = lists.into_iter().find(|(_, count)| *count != levels) {
            let remedy = "name one block for each entry of block_out_channels";
            return refuse(field, format!("{count} blocks"), remedy);
        }
        let side = 1 << (levels - 1);
        if !shape.height.is_multiple_of(side) || !shape.width.is_multiple_of(side) {
            let remedy = "every resolution but the last halves the sides, which must be even there";
            let value = format!("{levels} resolutions of {}×{}", shape.height, shape.width);
            return refuse("network.config.block_out_channels", value, remedy);
        }
        self.check_sizes()?;
        self.check_numbers()
    }

    /// Channels, groups and heads.
    fn check_sizes(&self) -> Result<(), Error> {
        let refuse = |field, value: i64, remedy| {
            Err(Error::Config { field, value: value.to_string(), remedy })
        };
        let groups = self.norm_num_groups;
        let fits = |channels: i64, groups: i64| groups > 0 && channels % groups == 0;
        for &channels in &self.block_out_channels {
            if !(1..=16_384).contains(&channels) {
                let remedy = "use 1 to 16384 channels";
                return refuse("network.config.block_out_channels", channels, remedy);
            }
            if !fits(channels, groups) {
                let remedy = "use a divisor of all block_out_channels";
                return refuse("network.config.norm_num_groups", groups, remedy);
            }
            if let Some(head) = self.attention_head_dim.filter(|d| !(1..=channels).contains(d)) {
                let remedy = "use 1 to the smallest of block_out_channels";
                return refuse("network.config.attention_head_dim", head, remedy);
            }
        }
        if self.block_out_channels[0] % 2 != 0 {
            let remedy = "use an even number first: half are sines, half cosines";
            return refuse("network.config.block_out_channels", self.block_out_channels[0], remedy);
        }
        let last = self.block_out_channels[self.block_out_channels.len() - 1];
        if let Some(groups) = self.attn_norm_num_groups.filter(|groups| !fits(last, *groups)) {
            let remedy = "use a divisor of the last of block_out_channels";
            return refuse("network.config.attn_norm_num_groups", groups, remedy);
        }
        if let Some(dims) = self.time_embedding_dim.filter(|d| !(1..=65_536).contains(d)) {
            return refuse("network.config.time_embedding_dim", dims, "use 1 to 65536, or null");
        }
        if !(1..=256).contains(&self.layers_per_block) {
            let layers = i64::try_from(self.layers_per_block).unwrap_or(i64::MAX);
            return refuse("network.config.layers_per_block", layers, "use 1 to 256");
        }
        let widest = self.block_out_channels.iter().copied().max().unwrap_or(1) as usize;
        let layers = self.layers_per_block * self.block_out_channels.len();
        let field = "network.config.layers_per_block times resolutions times channels squared";
        bounded_product(field, &[layers, widest, widest], Cost::Numbers)?;
        if !(0..=1).contains(&self.downsample_padding) {
            return refuse(
                "network.config.downsample_padding",
                self.downsample_padding,
                "use 0 or 1",
            );
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), Error> {
        let half = self.block_out_channels[0] as f64 / 2.0;
        let cases = [
            (
                "network.config.freq_shift",
                self.freq_shift,
                self.freq_shift < half,
                "use a number below half the first of block_out_channels, such as 0 or 1",
            ),
            (
                "network.config.mid_block_scale_factor",
                self.mid_block_scale_factor,
                self.mid_block_scale_factor > 0.0,
                "use a positive number",
            ),
            ("network.config.norm_eps", self.norm_eps, self.norm_eps > 0.0, "use 1e-5 or such"),
            (
                "network.config.dropout",
                self.dropout,
                (0.0..1.0).contains(&self.dropout),
                "use 0 to below 1",
            ),
        ];
        match cases.into_iter().find(|(_, value, legal, _)| !legal || !value.is_finite()) {
            Some((field, value, _, remedy)) => {
                Err(Error::Config { field, value: value.to_string(), remedy })
            }
            None => Ok(()),
        }
    }
}
