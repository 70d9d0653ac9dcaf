//! Hierarchical latent variable models whose posterior is learned: the variational autoencoder, the bottom-up
//! hierarchy, the ladder and the top-down hierarchy, under the bound that diffusion has too.
//!
//! ```text
//! generation   p(z_T) p(z_{T−1}|z_T) … p(x|z_1)
//! bottom-up    q(z_1|x) q(z_2|z_1) … q(z_T|z_{T−1})
//! top-down     q(z_T|x) q(z_{T−1}|z_T, x) … q(z_1|z_2, x)
//! ```
//!
//! A model is a pair of graphs ([`Hierarchy::graphs`]) whose nodes hold a tensor each, and the walk that bounds the
//! laboratory's scalar models ([`vdm_core::hlvm::Hlvm::terms`]) bounds it too: an analytic divergence where the
//! prior of a layer is known before its latents are drawn, an entropy and a cross term elsewhere. Diffusion is
//! the end of the line, where the posterior is fixed and one network serves all layers.
//!
//! Monograph §1.1 to §1.4.

mod aggregate;
mod evaluate;
mod generate;
mod layers;
mod likelihood;
mod node;
mod spec;
mod training;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use vdm_core::count::{Cost, bounded_product};
use vdm_core::hlvm::{Conditional, Hlvm, layered};
use vdm_core::likelihood::Discretized;
use vdm_core::setting::require;
use vdm_data::Shape;
use vdm_sample::Seed;
use vdm_sample::noise::{Purpose, fill_normal};

pub use self::aggregate::{AggregatePosterior, LatentPlane};
pub use self::evaluate::{ACTIVE, HierarchyBound, HierarchyEvaluation};
use self::layers::{Decoder, Encoder, Layer, Layout, Pass, Size};
pub use self::likelihood::{LikelihoodSpec, Logistics};
pub use self::node::{Belief, Gaussian, Node, State};
pub use self::spec::{HierarchySpec, Inference, LayerSpec};
pub use self::training::{HierarchyDraws, HierarchyTraining};
use crate::Error;
use crate::nn::{Parameters, Scope};
use crate::stored::StoredModel;

/// Everything that fixes a hierarchy but its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HierarchyModelSpec {
    /// Channels, height and width of an item.
    pub shape: Shape,
    /// Number of values a component takes.
    pub values: u16,
    /// Layers and networks.
    pub hierarchy: HierarchySpec,
}

/// A hierarchy with weights.
#[derive(Debug)]
pub struct Hierarchy {
    spec: HierarchyModelSpec,
    encoder: Encoder,
    /// From the data up.
    layers: Vec<Layer>,
    decoder: Decoder,
    parameters: Parameters,
}

/// A conditional of a hierarchy's graphs.
pub type BoxedConditional<'a> = Box<dyn Conditional<Belief<'a>> + 'a>;

impl Hierarchy {
    /// With weights drawn from the seed.
    ///
    /// # Errors
    /// [`Error::Setting`] or [`Error::Core`] if the specification is not legal, [`Error::Count`] if it is too large.
    pub fn new(spec: &HierarchyModelSpec, seed: Seed, device: Device) -> Result<Self, Error> {
        Self::with_parameters(spec, Parameters::new(seed, device))
    }

    fn build(spec: &HierarchyModelSpec, parameters: Parameters) -> Self {
        let HierarchyModelSpec { shape, values, hierarchy } = spec;
        let layout = Layout::new(*shape, *values);
        let all: Vec<(i64, Size)> = hierarchy
            .from_data()
            .iter()
            .map(|layer| (layer.channels, layout.coarser(layer.scale)))
            .collect();
        let root = parameters.root();
        let sizes = resolutions(layout.size, &all);
        // What is inferred bottom-up sees the data only at the lowest layer.
        let seen = match hierarchy.inference {
            Inference::BottomUp => resolutions(layout.size, &all[..1]),
            Inference::Ladder | Inference::TopDown => sizes.clone(),
        };
        let encoder = Encoder::new(hierarchy, layout, &seen, &root.child("encoder"));
        let layers = layers(hierarchy, &all, &sizes, &root.child("layers"));
        let (channels, lowest) = all[0];
        let down: Vec<Size> =
            sizes.iter().rev().copied().filter(|size| size[0] >= lowest[0]).collect();
        let channels = (hierarchy.inference != Inference::TopDown).then_some(channels);
        let decoder = Decoder::new(hierarchy, layout, channels, &down, &root.child("decoder"));
        drop(root);
        Self { spec: spec.clone(), encoder, layers, decoder, parameters }
    }

    /// What it was made from.
    #[must_use]
    pub fn spec(&self) -> &HierarchyModelSpec {
        &self.spec
    }

    /// Its weights.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Where its weights are.
    #[must_use]
    pub fn device(&self) -> Device {
        self.parameters.device()
    }

    /// Channels, height and width of each layer of latents, from the data up.
    #[must_use]
    pub fn latents(&self) -> Vec<Shape> {
        let shape = |layer: &Layer| {
            let [height, width] = layer.size.map(|side| side as usize);
            Shape { channels: layer.channels as usize, height, width }
        };
        self.layers.iter().map(shape).collect()
    }

    fn pass(&self, batch: i64, train: bool) -> Pass {
        let dropout = if train { self.spec.hierarchy.dropout } else { 0.0 };
        Pass { batch, device: self.device(), dropout }
    }

    /// The data as a node: values `[B, C, H, W]` with what the encoder says of them. `train` turns dropout on.
    #[must_use]
    pub fn data(&self, values: &Tensor, train: bool) -> Node {
        let pass = self.pass(values.size()[0], train);
        let features = self.encoder.forward(values, pass).into();
        Node::Data { values: values.shallow_clone(), features }
    }

    /// The model as its two graphs, for a batch of so many items: node 0 is the data, node `t` the latents of
    /// layer `t` from the data up. `train` turns dropout on.
    ///
    /// # Panics
    /// Never: both graphs are made of the same layers.
    #[must_use]
    pub fn graphs(
        &self,
        batch: i64,
        train: bool,
    ) -> Hlvm<BoxedConditional<'_>, BoxedConditional<'_>> {
        let pass = self.pass(batch, train);
        let likelihood: BoxedConditional<'_> = Box::new(move |parents: &[Node]| {
            self.decoder.forward(parents[0].state().features(), pass)
        });
        let priors = self
            .layers
            .iter()
            .map(|layer| -> Vec<BoxedConditional<'_>> { vec![Box::new(prior(layer, pass))] });
        let posteriors = self
            .layers
            .iter()
            .map(|layer| -> Vec<BoxedConditional<'_>> { vec![Box::new(posterior(layer, pass))] });
        let generative =
            layered::generative(std::iter::once(vec![likelihood]).chain(priors).collect());
        let inference = match self.spec.hierarchy.inference {
            Inference::BottomUp => layered::bottom_up(1, posteriors.collect()),
            Inference::Ladder | Inference::TopDown => layered::top_down(1, posteriors.collect()),
        };
        Hlvm::new(generative, inference).expect("graphs of the same layers")
    }

    /// Standard normals of one item for every layer, as the noise of the graphs' latents: `eps` is `[B, D]` with
    /// `D` the latents of all layers, from the data up. `top_first` as generation and top-down inference have them.
    fn noise(&self, eps: &Tensor, top_first: bool) -> Vec<Tensor> {
        let sizes: Vec<i64> = self.latents().iter().map(|shape| shape.dims() as i64).collect();
        let parts = eps.split_with_sizes(&sizes, 1);
        let shaped = parts.iter().zip(&self.layers).map(|(part, layer)| {
            let [height, width] = layer.size;
            part.reshape([-1, layer.channels, height, width])
        });
        let mut noise: Vec<Tensor> = shaped.collect();
        if top_first {
            noise.reverse();
        }
        noise
    }

    /// The same in the order of inference.
    fn inference_noise(&self, eps: &Tensor) -> Vec<Tensor> {
        self.noise(eps, self.spec.hierarchy.inference != Inference::BottomUp)
    }

    /// How many latents an item has.
    #[must_use]
    pub fn latent_dims(&self) -> usize {
        self.latents().iter().map(|shape| shape.dims()).sum()
    }

    /// Data values of items, `[B, C, H, W]` bytes on the device.
    ///
    /// # Panics
    /// If these are no whole items.
    pub fn values(&self, pixels: &[u8]) -> Tensor {
        let Shape { channels, height, width } = self.spec.shape;
        let size = [channels, height, width].map(|side| side as i64);
        Tensor::from_slice(pixels).view([-1, size[0], size[1], size[2]]).to_device(self.device())
    }

    /// Standard normals of the latents of items from number `first` on, `[items, D]`.
    fn eps(&self, seed: Seed, purpose: Purpose, draw: u64, first: u64, items: i64) -> Tensor {
        let dims = self.latent_dims();
        let mut noise = vec![0.0_f32; items as usize * dims];
        fill_normal(&mut noise, dims, seed, purpose, draw, first);
        Tensor::from_slice(&noise).view([items, dims as i64]).to_device(self.device())
    }
}

impl StoredModel for Hierarchy {
    type Spec = HierarchyModelSpec;

    fn with_parameters(spec: &HierarchyModelSpec, parameters: Parameters) -> Result<Self, Error> {
        spec.hierarchy.check()?;
        Discretized::new(spec.values)?;
        let dims = spec.shape.dims();
        bounded_product("components of an item", &[dims], Cost::Numbers)?;
        let shape = format_args!("{:?}", spec.shape);
        require(dims > 0, "shape", shape, "use items of at least one component")?;
        Ok(Self::build(spec, parameters))
    }

    fn spec(&self) -> &HierarchyModelSpec {
        &self.spec
    }

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }
}

/// The most likely data values of items, as bytes in host memory.
fn bytes(data: &Belief<'_>) -> Result<Vec<u8>, Error> {
    let values = data.mode().to_kind(Kind::Uint8).to_device(Device::Cpu);
    Ok(Vec::try_from(values.flatten(0, -1))?)
}

fn prior<'a>(layer: &'a Layer, pass: Pass) -> impl Fn(&[Node]) -> Belief<'a> {
    move |above| Belief::Gaussian(layer.prior(above.first().map(Node::state), pass))
}

fn posterior<'a>(layer: &'a Layer, pass: Pass) -> impl Fn(&[Node]) -> Belief<'a> {
    move |parents| {
        let data = parents.iter().find(|node| matches!(node, Node::Data { .. }));
        let neighbor = parents.iter().find(|node| matches!(node, Node::Latent { .. }));
        let features = data.map(Node::features);
        Belief::Gaussian(layer.posterior(neighbor.map(Node::state), features, pass))
    }
}

/// The resolutions from the data to the top layer, each once.
fn resolutions(data: Size, layers: &[(i64, Size)]) -> Vec<Size> {
    let mut sizes = vec![data];
    sizes.extend(layers.iter().map(|(_, size)| *size));
    sizes.dedup();
    sizes
}

fn layers(
    spec: &HierarchySpec,
    all: &[(i64, Size)],
    sizes: &[Size],
    scope: &Scope<'_>,
) -> Vec<Layer> {
    let feature = |t: usize| sizes.iter().position(|size| *size == all[t].1).unwrap_or(0);
    let layer = |t| Layer::new(spec, (t, all), feature(t), &scope.child(t + 1));
    (0..all.len()).map(layer).collect()
}
