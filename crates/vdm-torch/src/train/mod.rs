//! Training: one step as a function of (configuration, seed, step), and the loop around it.

mod batch;
mod levels;
mod optimizer;
mod proposal;
mod run;
mod schedule;
mod trainer;
mod window;

pub use batch::TrainingBatch;
pub(crate) use levels::Levels;
pub use optimizer::{Averaging, Decay, OptimizerSpec};
pub use proposal::Times;
pub use run::{Observer, Outcome, run};
pub use schedule::{LearnedSchedule, Part, ScheduleMoments, ScheduleTraining};
pub use trainer::{StepReport, Trainer};
pub use window::Window;
