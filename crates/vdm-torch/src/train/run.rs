//! The loop: steps, and what happens between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vdm_data::{Dataset, Items};

use super::{StepReport, Trainer};
use crate::Error;
use crate::checkpoint::Checkpoints;
use crate::evaluate::{EvaluationSpec, Likelihood, evaluate};
use crate::objective::Depth;

/// Draws per item of the bound on the validation split during training.
const VALIDATION_DRAWS: usize = 8;

/// What a run tells of itself while it goes on. An error of the observer ends the run.
pub trait Observer {
    /// What the observer can fail with.
    type Error: From<Error>;

    /// After every step.
    ///
    /// # Errors
    /// Ends the run.
    fn step(&mut self, trainer: &Trainer, report: &StepReport) -> Result<(), Self::Error>;

    /// The bound on the validation split.
    ///
    /// # Errors
    /// Ends the run.
    fn validation(&mut self, trainer: &Trainer, result: &Likelihood) -> Result<(), Self::Error>;

    /// Time to draw samples from the averaged model.
    ///
    /// # Errors
    /// Ends the run.
    fn samples(&mut self, trainer: &Trainer) -> Result<(), Self::Error>;
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All steps were done.
    Finished,
    /// It was asked to stop, and saved before it did.
    Stopped,
}

/// Trains to the configured number of steps, or until `stop` is set, and saves at the end.
///
/// # Errors
/// Whatever a step, a checkpoint or the observer fails with. Checkpoints written before stay.
pub fn run<O: Observer>(
    trainer: &mut Trainer,
    data: &Dataset,
    checkpoints: &Checkpoints,
    stop: &AtomicBool,
    observer: &mut O,
) -> Result<Outcome, O::Error> {
    let config = trainer.config().clone();
    let (steps, output) = (config.training.steps, &config.output);
    let validation = first_items(&data.validation, output.validation_items);
    let mut batches = trainer.batches(Arc::new(data.train.clone()))?;
    let mut saved = (trainer.steps_done() > 0).then(|| trainer.steps_done());
    while trainer.steps_done() < steps && !stop.load(Ordering::Relaxed) {
        let batch = match batches.next() {
            Some(batch) => batch.map_err(Error::from)?,
            None => break,
        };
        let report = trainer.train_step(&batch)?;
        let step = report.step;
        tracing::debug!(step, loss = report.loss, gradient_norm = report.gradient_norm, "step");
        observer.step(trainer, &report)?;
        let due = |every: u64| step.is_multiple_of(every) || step == steps;
        let mut bits_per_dim = None;
        if due(output.validate_every) {
            let spec = EvaluationSpec { draws: VALIDATION_DRAWS, batch: config.evaluation.batch };
            let result = evaluate(
                trainer.average(),
                &validation,
                Depth::Continuous,
                spec,
                config.seed,
                |_| (),
            )?;
            observer.validation(trainer, &result)?;
            bits_per_dim = Some(result.bits_per_dim);
        }
        if due(output.sample_every) {
            observer.samples(trainer)?;
        }
        if due(output.checkpoint_every) || bits_per_dim.is_some() {
            trainer.save(checkpoints, bits_per_dim)?;
            saved = Some(step);
        }
    }
    if saved != Some(trainer.steps_done()) {
        trainer.save(checkpoints, None)?;
    }
    let finished = trainer.steps_done() >= steps;
    Ok(if finished { Outcome::Finished } else { Outcome::Stopped })
}

/// The first `limit` items: the same ones at every validation, so that results compare.
fn first_items(items: &Items, limit: usize) -> Items {
    let indices: Vec<usize> = (0..items.len().min(limit)).collect();
    items.select(&indices)
}
