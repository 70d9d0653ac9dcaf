//! The layers all networks are made of.

use tch::Tensor;

use super::parameters::{Initial, Scope};

/// `x·wᵀ + b`.
#[derive(Debug)]
pub(super) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

/// How a linear or convolutional layer starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Start {
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
    pub(super) fn new(scope: &Scope<'_>, inputs: i64, outputs: i64, start: Start) -> Self {
        let initial = start.initial(inputs);
        Self {
            weight: scope.tensor("weight", &[outputs, inputs], initial),
            bias: Some(scope.tensor("bias", &[outputs], initial)),
        }
    }

    pub(super) fn without_bias(scope: &Scope<'_>, inputs: i64, outputs: i64, start: Start) -> Self {
        let weight = scope.tensor("weight", &[outputs, inputs], start.initial(inputs));
        Self { weight, bias: None }
    }

    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, self.bias.as_ref())
    }
}

/// A convolution of odd kernel size.
#[derive(Debug)]
pub(super) struct Conv {
    weight: Tensor,
    bias: Tensor,
    stride: i64,
    padding: i64,
}

impl Conv {
    /// Keeps height and width.
    pub(super) fn new(
        scope: &Scope<'_>,
        inputs: i64,
        outputs: i64,
        kernel: i64,
        start: Start,
    ) -> Self {
        let initial = start.initial(inputs * kernel * kernel);
        Self {
            weight: scope.tensor("weight", &[outputs, inputs, kernel, kernel], initial),
            bias: scope.tensor("bias", &[outputs], initial),
            stride: 1,
            padding: kernel / 2,
        }
    }

    /// The same with every `stride`-th pixel of the image framed by `padding` zeros.
    pub(super) fn strided(self, stride: i64, padding: i64) -> Self {
        Self { stride, padding, ..self }
    }

    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        x.conv2d(&self.weight, Some(&self.bias), self.stride, self.padding, 1, 1)
    }
}

/// Group normalization.
#[derive(Debug)]
pub(super) struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: i64,
    epsilon: f64,
}

impl GroupNorm {
    /// `epsilon` is added to the variance.
    pub(super) fn new(scope: &Scope<'_>, channels: i64, groups: i64, epsilon: f64) -> Self {
        Self {
            weight: scope.tensor("weight", &[channels], Initial::Ones),
            bias: scope.tensor("bias", &[channels], Initial::Zeros),
            groups,
            epsilon,
        }
    }

    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        x.group_norm(self.groups, Some(&self.weight), Some(&self.bias), self.epsilon, true)
    }
}
