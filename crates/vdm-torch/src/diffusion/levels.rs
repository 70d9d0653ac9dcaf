//! The noise levels of a training: where items are noised, and what is learned about that.

use vdm_core::Schedule;
use vdm_core::importance::{Adaptive, LossSample};

use super::ObjectiveSpec;
use super::learned_schedule::{Learner, Observed, ScheduleMoments};
use super::time_sampler::Proposal;
use crate::Error;
use crate::model::Diffusion;
use crate::objective::{NoisedBatch, TimeDiscretization};
use crate::train::OptimizerSpec;

/// All that changes about noise levels from step to step, but for the schedule itself.
#[derive(Debug)]
pub(crate) struct Levels {
    time: TimeDiscretization,
    proposal: Proposal,
    learner: Option<Learner>,
}

impl Levels {
    /// Before the first step.
    ///
    /// # Errors
    /// [`Error::Setting`] or [`Error::Core`] if the objective's fields do not fit the process or each other.
    pub(crate) fn new(
        objective: &ObjectiveSpec,
        diffusion: &Diffusion,
        optimizer: &OptimizerSpec,
    ) -> Result<Self, Error> {
        let learner = Learner::new(objective, diffusion, optimizer)?;
        let time = objective.time;
        let proposal = Proposal::new(&objective.time_sampler, diffusion, time)?;
        Ok(Self { time, proposal, learner })
    }

    /// Whether losses have to be differentiated by their levels.
    pub(super) fn are_learned(&self) -> bool {
        self.learner.is_some()
    }

    /// Whether the terms of the bound at the ends have to be differentiated too.
    pub(super) fn ends_are_learned(&self) -> bool {
        self.learner.as_ref().is_some_and(Learner::ends)
    }

    /// Where the items of uniform numbers `u` are noised by now.
    ///
    /// # Errors
    /// [`Error::Core`] if the proposal does not have the ends of the process.
    pub(super) fn noising(&self, u: &[f64], diffusion: &Diffusion) -> Result<NoisedBatch, Error> {
        self.proposal.noising(u, diffusion, self.time)
    }

    /// Observes a step's losses.
    pub(super) fn observe(&mut self, draws: &[LossSample]) {
        self.proposal.observe(draws);
    }

    /// The schedule after step `step`, if it is learned.
    ///
    /// # Errors
    /// [`Error::LearnedSchedule`] if that is no schedule.
    pub(super) fn learn(
        &mut self,
        step: u64,
        schedule: &Schedule,
        observed: &Observed<'_>,
    ) -> Result<Option<Schedule>, Error> {
        self.learner.as_mut().map(|learner| learner.step(step, schedule, observed)).transpose()
    }

    /// What levels are drawn by, if not by the process's own schedule.
    pub(super) fn proposal(&self) -> Option<Schedule> {
        self.proposal.schedule()
    }

    /// What a checkpoint has to keep.
    pub(super) fn state(&self) -> (Option<Adaptive>, Option<ScheduleMoments>) {
        let learner = self.learner.as_ref().map(|learner| learner.state().clone());
        (self.proposal.state().cloned(), learner)
    }

    /// Continues from what a checkpoint kept, with the schedule it had come to from the configured
    /// one; `false` if those are of another configuration.
    pub(super) fn restore(
        &mut self,
        adaptive: Option<Adaptive>,
        moments: Option<ScheduleMoments>,
        configured: &Schedule,
        schedule: &Schedule,
    ) -> bool {
        let learned = match (&mut self.learner, moments) {
            (Some(learner), Some(moments)) => learner.restore(configured, schedule, moments),
            (None, None) => true,
            _ => false,
        };
        learned && self.proposal.restore(adaptive)
    }
}
