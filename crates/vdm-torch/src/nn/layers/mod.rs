//! The layers that networks are made of: plain functions of their input, whose weights are created in a
//! [`Scope`] under names of their own.
//!
//! A layer whose weights start at zero ends a branch that contributes nothing at first ([`Start::Zero`]):
//! residual networks train best so (Goyal et al. 2017; Peebles and Xie 2023).

mod attention;
mod clock;
mod modulation;

pub use attention::{MultiHeadAttention, attend};
pub use clock::{BAND_LIMIT, PUBLISHED_BAND_LIMIT, TimeEmbedding};
pub(super) use clock::{band_limit, check as check_band_limit};
pub use modulation::AdaptiveLayerNorm;
use tch::Tensor;

use super::parameters::{Initial, Scope};

/// `x·wᵀ + b` along the last dimension: `[…, inputs]` to `[…, outputs]`.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

/// How a linear or convolutional layer starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Start {
    /// Uniform in `±1/√fan_in`.
    FanIn,
    /// Zero: the branch it ends contributes nothing at first.
    Zero,
}

impl Start {
    fn initial(self, fan_in: i64) -> Initial {
        match self {
            Self::FanIn => Initial::Uniform { bound: (fan_in as f64).sqrt().recip() },
            Self::Zero => Initial::Zeros,
        }
    }
}

impl Linear {
    /// Weights `weight` `[outputs, inputs]` and `bias` `[outputs]`.
    #[must_use]
    pub fn new(scope: &Scope<'_>, inputs: i64, outputs: i64, start: Start) -> Self {
        let initial = start.initial(inputs);
        Self {
            weight: scope.tensor("weight", &[outputs, inputs], initial),
            bias: Some(scope.tensor("bias", &[outputs], initial)),
        }
    }

    /// The same without a bias.
    #[must_use]
    pub fn without_bias(scope: &Scope<'_>, inputs: i64, outputs: i64, start: Start) -> Self {
        let weight = scope.tensor("weight", &[outputs, inputs], start.initial(inputs));
        Self { weight, bias: None }
    }

    /// `[…, inputs]` to `[…, outputs]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, self.bias.as_ref())
    }
}

/// A convolution of odd kernel size: `[B, inputs, H, W]` to `[B, outputs, H', W']`.
#[derive(Debug)]
pub struct Conv {
    weight: Tensor,
    bias: Option<Tensor>,
    stride: i64,
    padding: i64,
}

impl Conv {
    /// Keeps height and width. Weights `weight` `[outputs, inputs, kernel, kernel]` and `bias` `[outputs]`.
    #[must_use]
    pub fn new(scope: &Scope<'_>, inputs: i64, outputs: i64, kernel: i64, start: Start) -> Self {
        let initial = start.initial(inputs * kernel * kernel);
        Self {
            weight: scope.tensor("weight", &[outputs, inputs, kernel, kernel], initial),
            bias: Some(scope.tensor("bias", &[outputs], initial)),
            stride: 1,
            padding: kernel / 2,
        }
    }

    /// The same without a bias: what it makes of zeros is zero.
    #[must_use]
    pub fn without_bias(
        scope: &Scope<'_>,
        inputs: i64,
        outputs: i64,
        kernel: i64,
        start: Start,
    ) -> Self {
        let initial = start.initial(inputs * kernel * kernel);
        let weight = scope.tensor("weight", &[outputs, inputs, kernel, kernel], initial);
        Self { weight, bias: None, stride: 1, padding: kernel / 2 }
    }

    /// The same with every `stride`-th pixel of the image framed by `padding` zeros.
    #[must_use]
    pub fn strided(self, stride: i64, padding: i64) -> Self {
        Self { stride, padding, ..self }
    }

    /// `[B, inputs, H, W]` to `[B, outputs, H', W']`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.conv2d(&self.weight, self.bias.as_ref(), self.stride, self.padding, 1, 1)
    }
}

/// Group normalization (Wu and He 2018): `[B, C, …]` to mean 0 and variance 1 over each item's groups of
/// channels, then a learned scale and shift of each channel.
#[derive(Debug)]
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: i64,
    epsilon: f64,
}

impl GroupNorm {
    /// `groups` divides `channels`; `epsilon` is added to the variance. Weights `weight` and `bias` `[channels]`.
    #[must_use]
    pub fn new(scope: &Scope<'_>, channels: i64, groups: i64, epsilon: f64) -> Self {
        Self {
            weight: scope.tensor("weight", &[channels], Initial::Ones),
            bias: scope.tensor("bias", &[channels], Initial::Zeros),
            groups,
            epsilon,
        }
    }

    /// `[B, C, …]` to the same shape.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.group_norm(self.groups, Some(&self.weight), Some(&self.bias), self.epsilon, true)
    }
}

/// Layer normalization (Ba et al. 2016): the last dimension to mean 0 and variance 1, then a learned scale
/// and shift of each of its components.
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl LayerNorm {
    /// Over a last dimension of `width`; `epsilon` is added to the variance. Weights `weight` and `bias`
    /// `[width]`.
    #[must_use]
    pub fn new(scope: &Scope<'_>, width: i64, epsilon: f64) -> Self {
        Self {
            weight: scope.tensor("weight", &[width], Initial::Ones),
            bias: scope.tensor("bias", &[width], Initial::Zeros),
            epsilon,
        }
    }

    /// `[…, width]` to the same shape.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let width = self.weight.size();
        x.layer_norm(width, Some(&self.weight), Some(&self.bias), self.epsilon, true)
    }
}
