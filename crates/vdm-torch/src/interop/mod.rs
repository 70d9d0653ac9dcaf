//! Weights of other libraries as models of this one, and of this one as a file for others.
//!
//! | function | reads |
//! |---|---|
//! | [`vdm_flax`] | google-research/vdm: Flax's msgpack checkpoint, or `param/…` in safetensors |
//! | [`diffusers`] | a folder of a diffusers `UNet2DModel` with its scheduler |
//! | [`exported`] | what [`export`] wrote |
//!
//! Each gives an [`Imported`] network whose meaning is known, or the whole of a hierarchy: process, prediction, architecture.
//! With the shape of the data it is a [`Model`] like any other, so a library that only samples
//! gets a likelihood. Layouts, names and what is left out are in `docs/interop.md`.

mod diffusers;
mod export;
mod file;
mod flax;
mod json;
mod parity;
mod scheduler;
mod tensors;
mod vdm_flax;

use std::path::PathBuf;

use tch::Device;
use vdm_core::schedule::LogSnrRange;
use vdm_data::Shape;

pub use diffusers::{DiffusersOptions, diffusers};
pub use export::{Exported, export, exported};
pub use vdm_flax::{VdmFlaxOptions, vdm_flax};

use crate::Error;
use crate::head::Head;
use crate::model::{Diffusion, Model, ModelSpec};
use crate::nn::NetworkSpec;
use crate::stored::StoredModel;
use crate::weights::Named;

/// A trained network, its weights in the names and layouts of ours.
#[derive(Debug)]
pub struct Imported {
    /// The process it was trained on.
    pub diffusion: Diffusion,
    /// Its architecture.
    pub network: NetworkSpec,
    /// The meaning of its output.
    pub head: Head,
    /// The levels that it knows as its first and last, if not the ends of the schedule. VDM's own code
    /// tells the network where a level lies between the ends that its schedule had before it was
    /// learned.
    pub clock: Option<LogSnrRange>,
    /// Number of values a component of its data takes.
    pub values: u16,
    /// Types other than f32 that weights are stored as. They are f32 here.
    pub converted: Vec<String>,
    path: PathBuf,
    weights: Named,
}

impl Imported {
    /// The model of items of `shape` with components of `values` values.
    ///
    /// # Errors
    /// [`Error::Interop`] if a tensor is missing, extra or mis-shaped, or the data have another
    /// number of values; [`Error::Setting`] if the architecture does not fit the shape.
    pub fn model(&self, shape: Shape, values: u16, device: Device) -> Result<Model, Error> {
        let refuse = |problem| Error::Interop { path: self.path.clone(), problem };
        if values != self.values {
            return Err(refuse(format!(
                "was trained on data of {} values, these have {values}; choose other data",
                self.values
            )));
        }
        let spec = ModelSpec {
            shape,
            values,
            diffusion: self.diffusion.clone(),
            network: self.network.clone(),
            head: self.head,
            clock: self.clock,
        };
        let weights = self.weights.iter().map(|(name, t)| (name.clone(), t.shallow_clone()));
        Model::with_weights(&spec, weights.collect(), device).map_err(|error| match error {
            Error::Weights(problem) => refuse(problem),
            error => error,
        })
    }
}
