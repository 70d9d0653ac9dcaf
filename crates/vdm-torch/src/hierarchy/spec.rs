//! What a configuration says of a hierarchy.

use serde::{Deserialize, Serialize};
use vdm_core::count::{Cost, bounded, bounded_product};
use vdm_core::setting::{at_least_one, below_one, non_negative, require};

use super::likelihood::LikelihoodSpec;
use crate::Error;

/// A hierarchy of latents whose posterior is learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HierarchySpec {
    /// Which way latents are inferred.
    pub inference: Inference,
    /// The layers of latents, from the top down; one is a variational autoencoder.
    pub layers: Vec<LayerSpec>,
    /// Channels of hidden features.
    pub width: i64,
    /// Residual blocks wherever features meet a resolution or a layer.
    pub blocks: usize,
    /// Exponents `n` of the Fourier features `sin, cos(2^n·2πx)` that the encoder sees beside the data; may be
    /// empty.
    #[serde(default)]
    pub fourier: Vec<i32>,
    /// The share of the features inside a residual block that training drops at random, below 1.
    #[serde(default)]
    pub dropout: f64,
    /// Whether what each block and each layer of latents adds to hidden features is divided by `√(layers·(blocks + 1))`,
    /// the root of how many layers of latents and their blocks there are (after VDVAE, which scales the weights they
    /// start from), so that features of deep hierarchies do not grow.
    #[serde(default)]
    pub scaled_residuals: bool,
    /// The distribution of data values given the latents.
    #[serde(default)]
    pub likelihood: LikelihoodSpec,
    /// Steps over which the divergences rise to their full weight in the loss, from nothing (Bowman et al. 2016).
    /// 0 for full weight from the first step.
    #[serde(default)]
    pub kl_warmup: u64,
    /// Nats of each layer, on average over a batch, below which its divergence is not pressed down further
    /// (Kingma et al. 2016).
    #[serde(default)]
    pub free_nats: f64,
    /// Steps over which the free nats fall to nothing, along a line, so that what ends the training is the bound
    /// itself. 0 where they stay.
    #[serde(default)]
    pub free_nats_steps: u64,
}

/// Which way latents are inferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inference {
    /// `q(z_1|x) … q(z_T|z_{T−1})`, against the direction of generation. Monograph §1.2.
    BottomUp,
    /// `q(z_T|x) … q(z_1|z_2, x)`, each the product of its prior with Gaussian evidence from the data (Sønderby et
    /// al. 2016). Monograph §1.3.
    Ladder,
    /// `q(z_T|x) … q(z_1|z_2…z_T, x)` along the path of generation, whose features both share (NVAE, VDVAE).
    /// Monograph §1.4.
    TopDown,
}

/// Layers of latents of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerSpec {
    /// How much coarser than the data in height and width: 1 has a latent pixel for each pixel. Points are one
    /// pixel at every scale.
    pub scale: usize,
    /// Channels of a latent.
    pub channels: i64,
    /// How many such layers follow each other.
    #[serde(default = "one")]
    pub repeat: usize,
}

fn one() -> usize {
    1
}

/// Layers that a hierarchy may have.
const MOST_LAYERS: usize = 256;

impl HierarchySpec {
    /// Its layers from the data up, one by one.
    #[must_use]
    pub fn from_data(&self) -> Vec<LayerSpec> {
        let each = |layer: &LayerSpec| vec![LayerSpec { repeat: 1, ..*layer }; layer.repeat];
        self.layers.iter().rev().flat_map(each).collect()
    }

    /// What residuals are multiplied by.
    pub(super) fn residual_scale(&self) -> f64 {
        let layers: usize = self.layers.iter().map(|layer| layer.repeat).sum();
        let residuals = layers * (self.blocks + 1);
        if self.scaled_residuals { (residuals as f64).sqrt().recip() } else { 1.0 }
    }

    /// That its numbers make sense.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the first that does not, below `hierarchy`; [`Error::Count`] for one that costs
    /// too much.
    pub fn check(&self) -> Result<(), Error> {
        let layers = self.layers.iter().try_fold(0_usize, |sum, l| sum.checked_add(l.repeat));
        let legal = layers.is_some_and(|layers| (1..=MOST_LAYERS).contains(&layers));
        require(legal, "hierarchy.layers", self.layers.len(), "name 1 to 256 layers in all")?;
        for LayerSpec { scale, channels, repeat } in &self.layers {
            at_least_one("hierarchy.layers.repeat", *repeat)?;
            let remedy = "use 1 for the data's resolution, 2 for half of it, and so on";
            require((1..=4096).contains(scale), "hierarchy.layers.scale", scale, remedy)?;
            let legal = (1..=4096).contains(channels);
            require(legal, "hierarchy.layers.channels", channels, "use 1 to 4096")?;
        }
        for pair in self.layers.windows(2) {
            let [above, below] = [pair[0].scale, pair[1].scale];
            let value = format_args!("{above} above {below}");
            let remedy = "name layers from the top, coarsest first";
            require(above >= below, "hierarchy.layers.scale", value, remedy)?;
        }
        let legal = (4..=16_384).contains(&self.width);
        require(legal, "hierarchy.width", self.width, "use a number from 4 to 16384")?;
        require(self.blocks <= 64, "hierarchy.blocks", self.blocks, "use at most 64")?;
        let side = self.width as usize;
        let field = "hierarchy.layers times hierarchy.width squared";
        bounded_product(field, &[layers.unwrap_or(1), 9, side, side], Cost::Numbers)?;
        for n in &self.fourier {
            let legal = (-16..=16).contains(n);
            require(legal, "hierarchy.fourier", n, "use exponents from -16 to 16")?;
        }
        below_one("hierarchy.dropout", self.dropout)?;
        self.likelihood.check()?;
        bounded("hierarchy.kl_warmup", self.kl_warmup, Cost::Training)?;
        bounded("hierarchy.free_nats_steps", self.free_nats_steps, Cost::Training)?;
        Ok(non_negative("hierarchy.free_nats", self.free_nats)?)
    }
}
