//! How long, in which batches, with which optimizer, and what is written when.

use serde::{Deserialize, Serialize};
use vdm_core::count::{Cost, bounded};
use vdm_core::setting::{at_least_one, require};
use vdm_sample::Seed;

use super::optimizer::{Ema, OptimizerSpec};
use crate::Error;
use crate::identity::RunIdentity;
use crate::nn::Precision;

/// Length, batches and optimizer of a training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSpec {
    /// Optimizer steps.
    pub steps: u64,
    /// Items per step.
    pub batch: usize,
    /// Parts a batch is split into to save memory; divides `batch`. Gradients are summed.
    pub accumulate: usize,
    /// Precision of matrix products and convolutions.
    pub precision: Precision,
    /// AdamW and its learning rate.
    pub optimizer: OptimizerSpec,
    /// How the evaluated weights follow the trained ones.
    pub ema: Ema,
}

impl TrainingSpec {
    /// That its numbers make sense.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the first that does not, below `training`; [`Error::Count`] for one that
    /// costs too much.
    pub fn check(&self) -> Result<(), Error> {
        let Self { steps, batch, accumulate, optimizer, ema, .. } = self;
        let counts = [
            ("training.batch", *batch as u64, Cost::Items),
            ("training.accumulate", *accumulate as u64, Cost::Items),
            ("training.steps", *steps, Cost::Training),
        ];
        for (field, value, cost) in counts {
            bounded(field, value, cost)?;
            at_least_one(field, value)?;
        }
        let (field, divides) = ("training.accumulate", batch % accumulate == 0);
        require(divides, field, accumulate, "use a divisor of training.batch")?;
        optimizer.check()?;
        Ok(ema.check()?)
    }
}

/// Intervals in steps; the last step always counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    /// A line of metrics.
    pub log_every: u64,
    /// The bound on the validation split.
    pub validate_every: u64,
    /// At most this many items of the validation split are used during training.
    pub validation_items: usize,
    /// A grid of samples.
    pub sample_every: u64,
    /// Samples in a grid.
    pub samples: usize,
    /// A checkpoint.
    pub checkpoint_every: u64,
    /// How many of the last checkpoints are kept beside the best.
    pub keep: usize,
}

impl OutputSpec {
    /// That its numbers make sense.
    ///
    /// # Errors
    /// As [`TrainingSpec::check`], below `output`.
    pub fn check(&self) -> Result<(), Error> {
        bounded("output.keep", self.keep as u64, Cost::Items)?;
        let counts = [
            ("output.samples", self.samples as u64, Cost::Items),
            ("output.validation_items", self.validation_items as u64, Cost::Items),
            ("output.log_every", self.log_every, Cost::Training),
            ("output.validate_every", self.validate_every, Cost::Training),
            ("output.sample_every", self.sample_every, Cost::Training),
            ("output.checkpoint_every", self.checkpoint_every, Cost::Training),
        ];
        for (field, value, cost) in counts {
            bounded(field, value, cost)?;
            at_least_one(field, value)?;
        }
        Ok(())
    }
}

/// All that a training depends on but what is trained, and on which data.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Determines every random number.
    pub seed: Seed,
    /// Length, batches and optimizer.
    pub training: TrainingSpec,
    /// When things are written.
    pub output: OutputSpec,
    /// What checkpoints are recognized by.
    pub identity: RunIdentity,
}

impl Plan {
    /// That its numbers make sense.
    ///
    /// # Errors
    /// As [`TrainingSpec::check`].
    pub fn check(&self) -> Result<(), Error> {
        self.training.check()?;
        self.output.check()
    }
}
