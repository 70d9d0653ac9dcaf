//! A multi-layer perceptron for data of few dimensions.

use serde::{Deserialize, Serialize};
use tch::Tensor;
use vdm_data::Shape;

use super::layers::{Linear, Start, TimeEmbedding, band_limit};
use super::parameters::Scope;
use super::{Network, Requirements, check_sizes, fourier_features};
use crate::Error;

/// Sizes of an [`Mlp`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpSpec {
    /// Units of every hidden layer.
    pub width: i64,
    /// Residual hidden layers after the first.
    pub depth: usize,
    /// Exponents `n` of the Fourier features `sin, cos(2^n·2πz)` of the input; may be empty.
    #[serde(default)]
    pub fourier: Vec<i32>,
    /// The fastest wave of the clock, in radians from one end of the levels to the other;
    /// [`BAND_LIMIT`](super::BAND_LIMIT) unless given.
    #[serde(default = "band_limit")]
    pub band_limit: f64,
}

impl MlpSpec {
    /// One without Fourier features.
    #[must_use]
    pub fn new(width: i64, depth: usize) -> Self {
        Self { width, depth, fourier: Vec::new(), band_limit: band_limit() }
    }
}

/// Components, their Fourier features and the embedded noise level through residual layers.
#[derive(Debug)]
pub struct Mlp {
    spec: MlpSpec,
    time: TimeEmbedding,
    input: Linear,
    embedding: Linear,
    hidden: Vec<[Linear; 2]>,
    output: Linear,
}

impl Mlp {
    /// For items of `shape`.
    ///
    /// # Errors
    /// [`Error::Setting`] if a size is out of range.
    pub fn new(
        spec: &MlpSpec,
        shape: Shape,
        requirements: Requirements,
        scope: &Scope<'_>,
    ) -> Result<Self, Error> {
        let width = spec.width;
        check_sizes(width, spec.depth, &spec.fourier, spec.band_limit)?;
        let dims = shape.dims() as i64;
        let inputs = dims * (1 + 2 * spec.fourier.len() as i64);
        let hidden = |i: usize| {
            let child = |j: usize| scope.child(format!("hidden.{i}.{j}"));
            [
                Linear::new(&child(0), width, width, Start::FanIn),
                Linear::new(&child(1), width, width, Start::Zero),
            ]
        };
        Ok(Self {
            spec: spec.clone(),
            time: TimeEmbedding::new(width, spec.band_limit, scope.device()),
            input: Linear::new(&scope.child("input"), inputs, width, Start::FanIn),
            embedding: Linear::new(&scope.child("embedding"), width, width, Start::FanIn),
            hidden: (0..spec.depth).map(hidden).collect(),
            output: Linear::new(
                &scope.child("output"),
                width,
                dims * requirements.outputs_per_channel,
                Start::Zero,
            ),
        })
    }
}

impl Network for Mlp {
    fn forward(&self, z: &Tensor, time: &Tensor, _train: bool) -> Tensor {
        let [batch, channels, height, width] = [0, 1, 2, 3].map(|i| z.size()[i]);
        let flat = z.flatten(1, -1);
        let mut parts = fourier_features(&flat, &self.spec.fourier);
        parts.insert(0, flat);
        let level = self.embedding.forward(&self.time.forward(time));
        let mut h = self.input.forward(&Tensor::cat(&parts, 1)) + level;
        for [first, second] in &self.hidden {
            h = &h + second.forward(&first.forward(&h.silu()).silu());
        }
        let out = self.output.forward(&h.silu());
        let per_channel = out.size()[1] / (channels * height * width);
        out.view([batch, channels * per_channel, height, width])
    }
}
