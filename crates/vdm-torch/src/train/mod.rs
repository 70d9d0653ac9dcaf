//! Training: one step as a function of (configuration, data, seed, step), and the loop around it.
//!
//! Nothing here knows what is trained but for [`Trainable`]: optimizer, average of the weights, accumulated
//! gradients, batches prepared ahead, checkpoints, bit-exact resumption and the loop are the same for all.

mod batch;
mod optimizer;
mod run;
mod spec;
mod trainable;
mod trainer;
mod window;

pub use batch::TrainingBatch;
pub use optimizer::{Decay, Ema, OptimizerSpec};
pub use run::{Observer, Outcome, run};
pub use spec::{OutputSpec, Plan, TrainingSpec};
pub use trainable::{Bound, Loss, LossTerm, Observe, StepTaken, Trainable};
pub use trainer::{MOST_SKIPPED, StepReport, Trainer};
pub use window::Window;
