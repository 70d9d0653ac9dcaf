//! What the walk through a hierarchy asks of a node.

use std::ops::{Add, Neg};

use super::Normal;
use crate::Real;

/// The distribution of a node once its parents have values.
///
/// [`Normal`] is that of a scalar. A tensor library brings its own, of nodes that hold a tensor for each item of
/// a batch, and the same walk bounds a network's likelihood: `vdm_torch::hierarchy` trains by it.
pub trait Distribution {
    /// What a node holds: a number, a tensor, or a tensor together with what a network remembers of the nodes
    /// before it.
    type Value: Clone;

    /// Standard normals for one node.
    type Noise;

    /// Log-probabilities in nats: of the node, or of each of its components.
    type Nats: Add<Output = Self::Nats> + Neg<Output = Self::Nats>;

    /// `log p(value)`.
    fn log_density(&self, value: &Self::Value) -> Self::Nats;

    /// `−E[log q]` under itself.
    fn entropy(&self) -> Self::Nats;

    /// `KL(q‖p)`; `q` is `self`.
    fn kl(&self, p: &Self) -> Self::Nats;

    /// The value that standard normals stand for: how a gradient passes through a draw.
    fn reparameterize(&self, noise: &Self::Noise) -> Self::Value;
}

/// A distribution whose components are independent once the parents have values, each of them a number: what coding
/// needs to know of a node beside the bound.
pub trait Factorized: Distribution {
    /// Why the components cannot be had.
    type Error: std::error::Error + 'static;

    /// The distribution of each component, item by item.
    ///
    /// # Errors
    /// Those of the library that holds them.
    fn components(&self) -> Result<Components, Self::Error>;

    /// The node whose components have these values. It is the same node, to the last bit, as any other
    /// distribution of the same parents makes of them: the prior and the posterior of a latent, say.
    fn value(&self, components: &[f64]) -> Self::Value;
}

/// The components of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Components {
    /// Of a latent.
    Normal(Vec<Normal>),
    /// Of data: the probabilities of each value of the first component, then of the second, and so on. They sum to 1 but
    /// for rounding.
    Categorical(Vec<f32>),
}

impl<C: Real> Distribution for Normal<C> {
    type Value = C;
    type Noise = f64;
    type Nats = C;

    fn log_density(&self, value: &C) -> C {
        self.log_density(value)
    }

    fn entropy(&self) -> C {
        self.entropy()
    }

    fn kl(&self, p: &Self) -> C {
        self.kl(p)
    }

    fn reparameterize(&self, noise: &f64) -> C {
        self.reparameterize(*noise)
    }
}
