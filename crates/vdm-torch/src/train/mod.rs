//! Training: one step as a function of (configuration, seed, step), and the loop around it.

mod batch;
mod optimizer;
mod run;
mod trainer;

pub use batch::TrainingBatch;
pub use optimizer::{Averaging, Decay, OptimizerSpec};
pub use run::{Observer, Outcome, run};
pub use trainer::{StepReport, Trainer};
