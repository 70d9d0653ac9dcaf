//! Nodes that hold tensors, and their distributions: what the walk of [`vdm_core::hlvm`] goes over.

use std::cell::OnceCell;
use std::f64::consts::TAU;
use std::fmt;
use std::rc::Rc;

use tch::{Device, Kind, Tensor};
use vdm_core::hlvm::{Components, Distribution, Factorized, Normal};

use super::evaluate::host;
use super::likelihood::{Logistics, bounded_log};
use crate::Error;

/// What a node holds for each item of a batch.
#[derive(Debug)]
pub enum Node {
    /// The data, with what the encoder says of them.
    Data {
        /// Data values, `[B, C, H, W]`.
        values: Tensor,
        /// Features of the values by resolution, finest first; none where nothing is inferred.
        features: Rc<[Tensor]>,
    },
    /// A layer of latents.
    Latent {
        /// The latents, `[B, c, h, w]`.
        z: Tensor,
        /// All that the layers below see of this one and of those above it.
        state: State,
    },
}

/// What the layers below see of a layer of latents and of those above it: the latents themselves in a chain, a
/// network's hidden features in a top-down hierarchy.
#[derive(Debug, Clone)]
pub struct State(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    features: Tensor,
    /// What the next layer's prior makes of them, which its posterior wants too.
    prior: OnceCell<Tensor>,
}

impl State {
    /// Of these features, `[B, width, h, w]`.
    #[must_use]
    pub fn new(features: Tensor) -> Self {
        Self(Rc::new(Shared { features, prior: OnceCell::new() }))
    }

    pub(super) fn features(&self) -> &Tensor {
        &self.0.features
    }

    /// What `make` makes of the features, once for all that ask.
    pub(super) fn prior(&self, make: impl FnOnce() -> Tensor) -> Tensor {
        self.0.prior.get_or_init(make).shallow_clone()
    }
}

impl Clone for Node {
    /// Another handle on the same tensors.
    fn clone(&self) -> Self {
        match self {
            Self::Data { values, features } => {
                Self::Data { values: values.shallow_clone(), features: Rc::clone(features) }
            }
            Self::Latent { z, state } => {
                Self::Latent { z: z.shallow_clone(), state: state.clone() }
            }
        }
    }
}

impl Node {
    /// The data values or the latents.
    pub fn value(&self) -> &Tensor {
        match self {
            Self::Data { values, .. } => values,
            Self::Latent { z, .. } => z,
        }
    }

    pub(super) fn state(&self) -> &State {
        match self {
            Self::Latent { state, .. } => state,
            Self::Data { .. } => panic!("data are no parents of a latent in generation"),
        }
    }

    pub(super) fn features(&self) -> &[Tensor] {
        match self {
            Self::Data { features, .. } => features,
            Self::Latent { .. } => panic!("features are of the data"),
        }
    }
}

/// The distribution of a node, all of whose components are independent given its parents.
#[derive(Debug)]
pub enum Belief<'a> {
    /// Of latents.
    Gaussian(Gaussian<'a>),
    /// Of data values.
    Categorical {
        /// Log-probabilities of each value, normalized, `[B, C, K, H, W]`.
        log_probabilities: Tensor,
    },
    /// Of data values that are numbers.
    Logistics(Logistics),
}

/// `N(mean, std²)` of each component, `[B, c, h, w]`.
pub struct Gaussian<'a> {
    /// Mean.
    pub mean: Tensor,
    /// Logarithm of the standard deviation.
    pub log_std: Tensor,
    /// What the layers below see of a value and of all above it; nothing but the value where there is none.
    pub(super) below: Option<Below<'a>>,
}

/// The features below a layer, from its latents.
pub(super) type Below<'a> = Box<dyn Fn(&Tensor) -> Tensor + 'a>;

impl fmt::Debug for Gaussian<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mean, log_std, .. } = self;
        f.debug_struct("Gaussian")
            .field("mean", mean)
            .field("log_std", log_std)
            .finish_non_exhaustive()
    }
}

impl<'a> Gaussian<'a> {
    /// Of a layer whose latents are all that the layers below see of it.
    #[must_use]
    pub fn new(mean: Tensor, log_std: Tensor) -> Self {
        Self { mean, log_std, below: None }
    }

    /// From a network's output `[B, 2c, h, w]`: the mean, and what is [bounded](bounded_log) for the logarithm of the
    /// standard deviation.
    pub(super) fn of(output: &Tensor, below: Option<Below<'a>>) -> Self {
        let parts = output.to_kind(Kind::Float).chunk(2, 1);
        Self { mean: parts[0].shallow_clone(), log_std: bounded_log(&parts[1]), below }
    }

    /// `N(0, I)` of this size.
    pub(super) fn standard(like: &Tensor) -> Self {
        Self::new(like.zeros_like(), like.zeros_like())
    }

    /// The same with a standard deviation larger by `e^log_factor`.
    pub(super) fn broader(self, log_factor: f64) -> Self {
        Self { log_std: self.log_std + log_factor, ..self }
    }

    /// The density proportional to the product of both: precisions add, and means are averaged by precision.
    /// Ladder variational autoencoders infer so (Sønderby et al. 2016).
    #[must_use]
    pub fn product(&self, evidence: &Self) -> Self {
        // The share of the evidence in the precision, without exponentials that overflow.
        let log_ratio: Tensor = (&self.log_std - &evidence.log_std) * 2.0;
        let mean = &self.mean + log_ratio.sigmoid() * (&evidence.mean - &self.mean);
        let log_std = &self.log_std + (-log_ratio).log_sigmoid() * 0.5;
        Self::new(mean, log_std)
    }

    /// The node of these latents.
    fn node(&self, z: Tensor) -> Node {
        let features = self.below.as_ref().map_or_else(|| z.shallow_clone(), |below| below(&z));
        Node::Latent { z, state: State::new(features) }
    }

    pub(super) fn log_density(&self, z: &Tensor) -> Tensor {
        let score = (z - &self.mean) * (-&self.log_std).exp();
        (score.square() + TAU.ln()) * -0.5 - &self.log_std
    }

    fn kl(&self, p: &Gaussian<'_>) -> Tensor {
        let log_ratio = &self.log_std - &p.log_std;
        let gap = (&self.mean - &p.mean) * (-&p.log_std).exp();
        ((&log_ratio * 2.0).exp() + gap.square() - 1.0) * 0.5 - log_ratio
    }
}

impl Belief<'_> {
    fn gaussian(&self) -> &Gaussian<'_> {
        match self {
            Self::Gaussian(gaussian) => gaussian,
            Self::Categorical { .. } | Self::Logistics(_) => panic!("only latents are inferred"),
        }
    }

    /// Log-probabilities of all data values, `[B, C, K, H, W]`.
    ///
    /// # Panics
    /// For latents.
    pub fn log_probabilities(&self) -> Tensor {
        match self {
            Self::Gaussian(_) => panic!("latents are no data values"),
            Self::Categorical { log_probabilities } => log_probabilities.shallow_clone(),
            Self::Logistics(logistics) => logistics.log_probabilities(),
        }
    }

    /// The most likely data values, `[B, C, H, W]`, or the mean of latents.
    pub fn mode(&self) -> Tensor {
        match self {
            Self::Gaussian(gaussian) => gaussian.mean.shallow_clone(),
            Self::Categorical { .. } | Self::Logistics(_) => {
                self.log_probabilities().argmax(2, false)
            }
        }
    }
}

impl Distribution for Belief<'_> {
    type Value = Node;
    type Noise = Tensor;
    /// Of each component, in nats.
    type Nats = Tensor;

    fn log_density(&self, value: &Node) -> Tensor {
        match self {
            Self::Gaussian(gaussian) => gaussian.log_density(value.value()),
            Self::Categorical { log_probabilities } => {
                let index = value.value().to_kind(Kind::Int64).unsqueeze(2);
                log_probabilities.gather(2, &index, false).squeeze_dim(2)
            }
            Self::Logistics(logistics) => logistics.log_density(value.value()),
        }
    }

    fn entropy(&self) -> Tensor {
        &self.gaussian().log_std + 0.5 * (1.0 + TAU.ln())
    }

    fn kl(&self, p: &Self) -> Tensor {
        self.gaussian().kl(p.gaussian())
    }

    fn reparameterize(&self, noise: &Tensor) -> Node {
        let gaussian = self.gaussian();
        gaussian.node(&gaussian.mean + gaussian.log_std.exp() * noise)
    }
}

impl Factorized for Belief<'_> {
    type Error = Error;

    fn components(&self) -> Result<Components, Error> {
        Ok(match self {
            Self::Gaussian(Gaussian { mean, log_std, .. }) => {
                let pairs = host(mean)?.into_iter().zip(host(log_std)?);
                let normal = |(mean, log_std): (f64, f64)| Normal::new(mean, (2.0 * log_std).exp());
                Components::Normal(pairs.map(normal).collect())
            }
            Self::Categorical { .. } | Self::Logistics(_) => {
                let by_component = self.log_probabilities().exp().permute([0, 1, 3, 4, 2]);
                let flat = by_component.to_device(Device::Cpu).flatten(0, -1);
                Components::Categorical(Vec::try_from(flat)?)
            }
        })
    }

    fn value(&self, components: &[f64]) -> Node {
        let gaussian = self.gaussian();
        let z = Tensor::from_slice(components).to_kind(Kind::Float);
        gaussian.node(z.view_as(&gaussian.mean).to_device(gaussian.mean.device()))
    }
}
