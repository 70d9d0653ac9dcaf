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
