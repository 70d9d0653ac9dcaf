//! The loop: steps, and what happens between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vdm_data::{Dataset, Items};

use super::{Bound, OutputSpec, Plan, StepReport, Trainable, Trainer};
use crate::Error;
use crate::checkpoint::Checkpoints;

/// What a run tells of itself while it goes on. An error of the observer ends the run.
pub trait Observer<T: Trainable> {
    /// What the observer can fail with.
    type Error: From<Error>;

    /// After every step, which is not saved yet.
    ///
    /// # Errors
    /// Ends the run.
    fn step(&mut self, trainer: &Trainer<T>, report: &StepReport) -> Result<(), Self::Error>;

    /// A checkpoint of all steps so far is on disk.
    ///
    /// # Errors
    /// Ends the run.
    fn saved(&mut self, trainer: &Trainer<T>) -> Result<(), Self::Error>;

    /// The bound on the validation split. It comes again if the run ended before the checkpoint had it.
    ///
    /// # Errors
    /// Ends the run.
    fn validation(&mut self, trainer: &Trainer<T>, bound: &T::Bound) -> Result<(), Self::Error>;

    /// Time to draw samples from the averaged model. It comes again where a run goes on from a step that
    /// has samples.
    ///
    /// # Errors
    /// Ends the run.
    fn samples(&mut self, trainer: &Trainer<T>) -> Result<(), Self::Error>;
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
pub fn run<T: Trainable, O: Observer<T>>(
    trainer: &mut Trainer<T>,
    data: &Dataset,
    checkpoints: &Checkpoints,
    stop: &AtomicBool,
    observer: &mut O,
) -> Result<Outcome, O::Error> {
    let steps = trainer.plan().training.steps;
    let every = trainer.plan().output.checkpoint_every;
    let looks = Looks::new(trainer.plan(), data, checkpoints, stop);
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
    output: OutputSpec,
    steps: u64,
    validation: Items,
    checkpoints: &'a Checkpoints,
    stop: &'a AtomicBool,
}

impl<'a> Looks<'a> {
    fn new(
        plan: &Plan,
        data: &Dataset,
        checkpoints: &'a Checkpoints,
        stop: &'a AtomicBool,
    ) -> Self {
        let output = plan.output.clone();
        let validation = first_items(&data.validation, output.validation_items);
        Self { output, steps: plan.training.steps, validation, checkpoints, stop }
    }

    fn is_due(&self, step: u64, every: u64) -> bool {
        step.is_multiple_of(every) || step == self.steps
    }

    fn are_due(&self, step: u64) -> bool {
        let OutputSpec { validate_every, sample_every, .. } = self.output;
        self.is_due(step, validate_every) || self.is_due(step, sample_every)
    }

    /// Those that are due at the step of the newest checkpoint.
    fn take<T: Trainable, O: Observer<T>>(
        &self,
        trainer: &Trainer<T>,
        observer: &mut O,
    ) -> Result<(), O::Error> {
        let step = trainer.steps_done();
        let asked = || self.stop.load(Ordering::Relaxed);
        if self.is_due(step, self.output.validate_every) && !asked() {
            self.validate(trainer, observer)?;
        }
        if self.is_due(step, self.output.sample_every) && !asked() {
            observer.samples(trainer)?;
        }
        Ok(())
    }

    /// The bound on the validation split, unless the checkpoint has it already.
    fn validate<T: Trainable, O: Observer<T>>(
        &self,
        trainer: &Trainer<T>,
        observer: &mut O,
    ) -> Result<(), O::Error> {
        let step = trainer.steps_done();
        if self.checkpoints.describe(step)?.validation.is_some() {
            return Ok(());
        }
        let bound = trainer.average().validate(&self.validation)?;
        observer.validation(trainer, &bound)?;
        Ok(self.checkpoints.record_validation(step, bound.bits_per_dim())?)
    }
}

/// The first `limit` items: the same ones at every validation, so that results compare.
fn first_items(items: &Items, limit: usize) -> Items {
    let indices: Vec<usize> = (0..items.len().min(limit)).collect();
    items.select(&indices)
}
