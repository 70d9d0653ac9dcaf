//! Models of each family as `vdm compress` and `vdm decompress` code with them: their latents in host memory.

use anyhow::{Result, bail};
use tch::{Device, Tensor};
use vdm_compress::{Codec, Latents, Settings};
use vdm_core::hlvm::Hlvm;
use vdm_core::{Denoiser, NoiseLevel, Prediction};
use vdm_data::Shape;
use vdm_torch::hierarchy::{Belief, BoxedConditional, Hierarchy, Node};
use vdm_torch::{Batch, Model, StoredModel};

use crate::opened::AnyOpened;

/// A model that codes.
pub(crate) trait Coder {
    /// Channels, height and width of an item.
    fn shape(&self) -> Shape;

    /// Number of values a component takes.
    fn values(&self) -> u16;

    /// Of its weights and specification.
    fn sha256(&self) -> Result<String, vdm_torch::Error>;

    /// The codec of these settings, which may be of a file.
    fn codec(&self, settings: &Settings) -> Result<Codec<'_, vdm_torch::Error>>;
}

/// The model of a run.
pub(crate) fn of(opened: &AnyOpened, device: Device) -> Result<Box<dyn Coder>> {
    Ok(match opened {
        AnyOpened::Diffusion(opened) => Box::new(OnHost(opened.model(device)?)),
        AnyOpened::Hierarchy(opened) => Box::new(OnHost(opened.model(device)?)),
    })
}

/// A model whose latents lie in host memory, those of an item one after the other.
#[derive(Debug)]
pub(crate) struct OnHost<M>(pub(crate) M);

impl Coder for OnHost<Model> {
    fn shape(&self) -> Shape {
        self.0.spec().shape
    }

    fn values(&self) -> u16 {
        self.0.spec().values
    }

    fn sha256(&self) -> Result<String, vdm_torch::Error> {
        self.0.sha256()
    }

    fn codec(&self, settings: &Settings) -> Result<Codec<'_, vdm_torch::Error>> {
        let Latents::Chain(chain) = &settings.latents else {
            bail!(
                "its latents are layers, and this run's model has a chain: use the run that wrote it"
            );
        };
        let spec = self.0.spec();
        let (schedule, dims) = (&spec.diffusion.schedule, spec.shape.dims());
        Ok(Codec::diffusion(self, self.0.code(), dims, schedule, chain, settings.batch)?)
    }
}

impl Denoiser<Vec<f32>> for OnHost<Model> {
    type Error = vdm_torch::Error;

    fn denoise(
        &self,
        z: &Vec<f32>,
        at: &NoiseLevel,
    ) -> Result<Prediction<Vec<f32>>, vdm_torch::Error> {
        let shape = self.0.spec().shape;
        let size = [z.len() / shape.dims(), shape.channels, shape.height, shape.width];
        let z = Batch::from_slice(z, size.map(|side| side as i64), self.0.device());
        let Prediction { value, of } = self.0.denoise(&z, at)?;
        Ok(Prediction { value: host(&value.0)?, of })
    }
}

fn host(tensor: &Tensor) -> Result<Vec<f32>, tch::TchError> {
    Vec::try_from(tensor.to_device(Device::Cpu).flatten(0, -1))
}

impl Coder for OnHost<Hierarchy> {
    fn shape(&self) -> Shape {
        self.0.spec().shape
    }

    fn values(&self) -> u16 {
        self.0.spec().values
    }

    fn sha256(&self) -> Result<String, vdm_torch::Error> {
        self.0.sha256()
    }

    fn codec(&self, settings: &Settings) -> Result<Codec<'_, vdm_torch::Error>> {
        let Latents::Layers(layers) = &settings.latents else {
            bail!(
                "its latents are a chain, and this run's model has layers: use the run that wrote it"
            );
        };
        Ok(Codec::hierarchy(self, layers, settings.batch)?)
    }
}

impl<'a> vdm_compress::Hierarchy for &'a OnHost<Hierarchy> {
    type Distribution = Belief<'a>;
    type Prior = BoxedConditional<'a>;
    type Posterior = BoxedConditional<'a>;

    fn dims(&self) -> usize {
        self.0.spec().shape.dims()
    }

    fn values(&self) -> u16 {
        self.0.spec().values
    }

    fn latents(&self) -> usize {
        self.0.latent_dims()
    }

    fn graphs(&self, items: usize) -> Hlvm<BoxedConditional<'a>, BoxedConditional<'a>> {
        self.0.graphs(items as i64, false)
    }

    fn data(&self, pixels: &[u8]) -> Node {
        self.0.data(&self.0.values(pixels), false)
    }
}
