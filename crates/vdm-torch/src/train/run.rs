//! The loop: steps, and what happens between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vdm_data::{Dataset, Items};

use super::{StepReport, Trainer};
use crate::Error;
use crate::checkpoint::Checkpoints;
use crate::config::{OutputSpec, RunConfig};
use crate::evaluate::{EvaluationSpec, Likelihood, evaluate};
use crate::objective::Depth;

/// Draws per item of the bound on the validation split during training.
const VALIDATION_DRAWS: usize = 8;

/// What a run tells of itself while it goes on. An error of the observer ends the run.
pub trait Observer {
    /// What the observer can fail with.
    type Error: From<Error>;

    /// After every step, which is not saved yet.
    ///
    /// # Errors
    /// Ends the run.
    fn step(&mut self, trainer: &Trainer, report: &StepReport) -> Result<(), Self::Error>;

    /// A checkpoint of all steps so far is on disk.
    ///
    /// # Errors
    /// Ends the run.
    fn saved(&mut self, trainer: &Trainer) -> Result<(), Self::Error>;

    /// The bound on the validation split. It comes again if the run ended before the checkpoint had it.
    ///
    /// # Errors
    /// Ends the run.
    fn validation(&mut self, trainer: &Trainer, result: &Likelihood) -> Result<(), Self::Error>;

    /// Time to draw samples from the averaged model. It comes again where a run goes on from a step that
    /// has samples.
    ///
    /// # Errors
    /// Ends the run.
    fn samples(&mut self, trainer: &Trainer) -> Result<(), Self::Error>;
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All steps were done, and what the last of them was due.
    Finished,
    /// It was asked to stop, and all steps done are saved.
    Stopped,
}

/// Trains to the configured number of steps, or until `stop` is set.
///
/// Everything is saved before a validation or a sample grid, which take long: whoever cannot wait for
/// their end may end the process, and loses no step. What a run was ended in is done when it goes on.
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
    let steps = trainer.config().training.steps;
    let every = trainer.config().output.checkpoint_every;
    let looks = Looks::new(trainer.config(), data, checkpoints, stop);
    let mut batches = trainer.batches(Arc::new(data.train.clone()))?;
    let mut saved = (trainer.steps_done() > 0).then(|| trainer.steps_done());
    if saved.is_some() {
        looks.take(trainer, observer)?;
    }
    let asked = || stop.load(Ordering::Relaxed);
    while trainer.steps_done() < steps && !asked() {
        let batch = match batches.next() {
            Some(batch) => batch.map_err(Error::from)?,
            None => break,
        };
        let report = trainer.train_step(&batch)?;
        let step = report.step;
        tracing::debug!(step, loss = report.loss, gradient_norm = report.gradient_norm, "step");
        observer.step(trainer, &report)?;
        if looks.is_due(step, every) || looks.are_due(step) {
            trainer.save(checkpoints)?;
            saved = Some(step);
            observer.saved(trainer)?;
            looks.take(trainer, observer)?;
        }
    }
    if saved != Some(trainer.steps_done()) {
        trainer.save(checkpoints)?;
        observer.saved(trainer)?;
    }
    let finished = trainer.steps_done() >= steps && !asked();
    Ok(if finished { Outcome::Finished } else { Outcome::Stopped })
}

/// What is looked at between steps, on averaged weights.
struct Looks<'a> {
    config: RunConfig,
    validation: Items,
    checkpoints: &'a Checkpoints,
    stop: &'a AtomicBool,
}

impl<'a> Looks<'a> {
    fn new(
        config: &RunConfig,
        data: &Dataset,
        checkpoints: &'a Checkpoints,
        stop: &'a AtomicBool,
    ) -> Self {
        let validation = first_items(&data.validation, config.output.validation_items);
        Self { config: config.clone(), validation, checkpoints, stop }
    }

    fn is_due(&self, step: u64, every: u64) -> bool {
        step.is_multiple_of(every) || step == self.config.training.steps
    }

    fn are_due(&self, step: u64) -> bool {
        let OutputSpec { validate_every, sample_every, .. } = self.config.output;
        self.is_due(step, validate_every) || self.is_due(step, sample_every)
    }

    /// Those that are due at the step of the newest checkpoint.
    fn take<O: Observer>(&self, trainer: &Trainer, observer: &mut O) -> Result<(), O::Error> {
        let output = &self.config.output;
        let step = trainer.steps_done();
        let asked = || self.stop.load(Ordering::Relaxed);
        if self.is_due(step, output.validate_every) && !asked() {
            self.validate(trainer, observer)?;
        }
        if self.is_due(step, output.sample_every) && !asked() {
            observer.samples(trainer)?;
        }
        Ok(())
    }

    /// The bound on the validation split, unless the checkpoint has it already.
    fn validate<O: Observer>(&self, trainer: &Trainer, observer: &mut O) -> Result<(), O::Error> {
        let RunConfig { evaluation, seed, .. } = self.config;
        let step = trainer.steps_done();
        if self.checkpoints.describe(step)?.validation.is_some() {
            return Ok(());
        }
        let spec = EvaluationSpec { draws: VALIDATION_DRAWS, batch: evaluation.batch };
        let (model, items) = (trainer.average(), &self.validation);
        let result = evaluate(model, items, Depth::Continuous, spec, seed, |_| ())?;
        observer.validation(trainer, &result)?;
        Ok(self.checkpoints.record_validation(step, result.bits_per_dim)?)
    }
}

/// The first `limit` items: the same ones at every validation, so that results compare.
fn first_items(items: &Items, limit: usize) -> Items {
    let indices: Vec<usize> = (0..items.len().min(limit)).collect();
    items.select(&indices)
}
