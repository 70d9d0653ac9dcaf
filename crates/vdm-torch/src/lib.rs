//! Variational diffusion models on libtorch: networks, training and likelihood.
//!
//! The mathematics is [`vdm_core`]'s and the solvers are [`vdm_sample`]'s; this crate adds tensors
//! ([`Batch`], [`PerSample`]), networks and the layers of your own ([`nn`]), training that resumes
//! bit-exactly, whatever is trained ([`train`]), the diffusion objective ([`diffusion`]), hierarchies whose
//! posterior is learned ([`hierarchy`]), checkpoints ([`checkpoint`]), weights of other libraries ([`interop`]) and test likelihood ([`evaluate`]).
//!
//! ```
//! use tch::Device;
//! use vdm_core::{Scaling, Schedule};
//! use vdm_data::Shape;
//! use vdm_sample::{Ddim, NoNoise, Seed, TimeGrid, solve};
//! use vdm_torch::nn::{MlpSpec, NetworkSpec};
//! use vdm_torch::{Batch, Diffusion, Head, Model, ModelSpec};
//!
//! let schedule = Schedule::linear(7.0, -4.0)?;
//! let grid = TimeGrid::uniform_time(10, &schedule, Scaling::VariancePreserving)?;
//! let spec = ModelSpec {
//!     shape: Shape { channels: 1, height: 1, width: 2 },
//!     values: 256,
//!     diffusion: Diffusion::variational(schedule),
//!     network: NetworkSpec::Mlp(MlpSpec::new(16, 1)),
//!     head: Head::Noise,
//!     clock: None,
//! };
//! let model = Model::new(&spec, Seed(0), Device::Cpu)?; // untrained, but a denoiser already
//! let z1 = Batch::from_slice(&[0.3, -1.2], [1, 1, 1, 2], Device::Cpu);
//! let z0 = solve(&Ddim::default(), &model, z1, &grid, &mut NoNoise, |_, _, _| ())?.latent;
//! assert_eq!(z0.0.size(), [1, 1, 1, 2]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batch;
pub mod checkpoint;
mod config;
mod denoiser;
mod device;
pub mod diffusion;
mod energy;
mod error;
mod evaluate;
mod head;
pub mod hierarchy;
mod identity;
pub mod interop;
mod model;
pub mod nn;
mod objective;
mod sample;
mod stored;
pub mod train;
mod weights;

pub use batch::{Batch, PerSample};
pub use config::{AnyModel, DiffusionConfig, Family, ModelConfig, PRESETS, RunConfig};
pub use denoiser::EXACT_TRACE_DIMS;
pub use device::DeviceChoice;
pub use error::Error;
pub use evaluate::{
    EndTerms, Evaluation, EvaluationSpec, Likelihood, LossCurve, end_terms, evaluate,
};
pub use head::Head;
pub use identity::{Change, RunIdentity};
pub use model::{Diffusion, Model, ModelSpec};
pub use objective::TimeDiscretization;
pub use sample::{Samples, Sampling, sample};
pub use stored::StoredModel;

/// The libtorch this crate is written for; what it runs on is checked when it is built.
pub const LIBTORCH_VERSION: &str = "2.11.0";

/// The example of the README, so that it cannot rot.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
