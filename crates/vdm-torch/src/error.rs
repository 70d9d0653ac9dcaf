use std::path::PathBuf;

use thiserror::Error;
use vdm_core::setting::InvalidSetting;
use vdm_sample::SolveError;
use vdm_sample::estimate::EstimateError;

/// What can go wrong between a configuration and a result. Messages say what to do about it.
#[derive(Debug, Error)]
pub enum Error {
    /// The mathematics refused a value.
    #[error(transparent)]
    Core(#[from] vdm_core::Error),
    /// The data could not be read.
    #[error(transparent)]
    Data(#[from] vdm_data::DataError),
    /// The thread that prepares batches failed.
    #[error(transparent)]
    Prefetch(#[from] vdm_data::PrefetchError),
    /// The sampler's levels are not a grid.
    #[error(transparent)]
    Grid(#[from] vdm_sample::grid::GridError),
    /// The sampler's noise ran out.
    #[error(transparent)]
    Noise(#[from] vdm_sample::noise::NoiseError),
    /// The sampler's solver or the probability-flow ODE found no end.
    #[error(transparent)]
    Solve(Box<SolveError<Self>>),
    /// libtorch reported an error.
    #[error(transparent)]
    Torch(#[from] tch::TchError),
    /// The shim over libtorch reported an error.
    #[error(transparent)]
    Shim(#[from] vdm_torch_sys::Error),
    /// A setting out of its bounds; that of a configuration is named by the path of its field.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// A weight that the loss does not depend on.
    #[error(
        "the loss does not depend on the weight {name}: use it in the network, or do not create it"
    )]
    UnusedWeight {
        /// Its name.
        name: String,
    },
    /// A count beyond what it may cost.
    #[error(transparent)]
    Count(#[from] vdm_core::count::TooMany),
    /// A device that is not there.
    #[error("device {wanted} is not available: {why}; use --device cpu")]
    Device {
        /// The device asked for.
        wanted: String,
        /// Why it cannot be used.
        why: String,
    },
    /// A loss that is not a number: training stops with what led to it.
    #[error(
        "the loss is not finite at step {step}; lower training.optimizer.learning_rate in the \
         config.json of the run and continue with --resume, or start a new run with another --seed"
    )]
    NonFinite {
        /// The step.
        step: u64,
        /// Times, levels and loss terms of the batch, as JSON.
        dump: Box<serde_json::Value>,
    },
    /// A training that goes nowhere: all of so many steps were skipped.
    #[error(
        "{steps} steps in a row were skipped, that of step {step} for a gradient with a norm of {norm}; raise \
         training.optimizer.skip_above or lower training.optimizer.learning_rate in the config.json of the run and \
         continue with --resume"
    )]
    OnlySkipped {
        /// How many.
        steps: u64,
        /// The last of them.
        step: u64,
        /// The norm of its gradient.
        norm: f64,
    },
    /// A step after which a learned schedule is none any more.
    #[error(
        "the learned schedule at step {step}: {source}; \
         lower objective.schedule.learned.learning_rate in the config.json of the run and continue \
         with --resume"
    )]
    LearnedSchedule {
        /// The step.
        step: u64,
        /// What is wrong with it.
        source: vdm_core::Error,
    },
    /// A term of a bound that is not a number, most often from weights that are not.
    #[error(
        "the {term} of item {item} is {value}: some weights are not finite, or so large that the network overflows; \
         use an earlier --checkpoint, or train a new run with a lower \
         training.optimizer.learning_rate"
    )]
    NonFiniteLikelihood {
        /// Which term.
        term: &'static str,
        /// Of which item, from 0.
        item: usize,
        /// What it is, in nats.
        value: f64,
    },
    /// Samples that are not numbers.
    #[error(
        "samples are not finite: the solver diverges on these steps (take more, or another solver: `vdm \
         solvers` has their ranges), or some weights are not finite (use an earlier checkpoint)"
    )]
    NonFiniteSamples,
    /// Samples that no data can be.
    #[error(
        "samples reach {largest:.1e} where data lie from -1 to 1: the solver diverges on these steps; take \
         more, or another solver (`vdm solvers` has their ranges)"
    )]
    DivergedSamples {
        /// The largest component.
        largest: f64,
    },
    /// Samples that would be none of the data.
    #[error(transparent)]
    Caution(#[from] vdm_sample::range::Caution),
    /// A file that could not be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// What JSON has no words for, or JSON of something else.
    #[error(
        "{what} as JSON: {source}; it is of another version or of another kind of model, or it names a path that \
         is not Unicode"
    )]
    Json {
        /// The thing.
        what: &'static str,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Weights that safetensors cannot hold.
    #[error("weights cannot be written as safetensors: {0}")]
    Safetensors(#[from] safetensors::SafeTensorError),
    /// Tensors that are not the weights of a model.
    #[error("the file of weights {0}")]
    Weights(String),
    /// A file of another library that cannot be read as a model, or one that cannot be written.
    #[error("{path}: {problem}")]
    Interop {
        /// Where it is.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A checkpoint that is damaged or of another model.
    #[error("checkpoint {path}: {problem}")]
    Checkpoint {
        /// Where it is.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
}

impl From<SolveError<Self>> for Error {
    fn from(error: SolveError<Self>) -> Self {
        match error {
            SolveError::Model(error) => error,
            SolveError::Noise(error) => error.into(),
            SolveError::Grid(error) => error.into(),
            SolveError::Setting(error) => error.into(),
            SolveError::Count(error) => error.into(),
            error => Self::Solve(Box::new(error)),
        }
    }
}

impl From<EstimateError<Self>> for Error {
    fn from(error: EstimateError<Self>) -> Self {
        match error {
            EstimateError::Model(error) => error,
            EstimateError::Solve(error) => error.into(),
            EstimateError::Setting(error) => error.into(),
            EstimateError::Count(error) => error.into(),
            EstimateError::Grid(error) => error.into(),
            EstimateError::NotFinite { term, item, value } => {
                Self::NonFiniteLikelihood { term, item, value }
            }
        }
    }
}

impl Error {
    /// For `map_err` on file operations.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
