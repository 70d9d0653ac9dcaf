//! All samples of one run on their way, stage by stage.

use super::controller::StepController;
use super::embedded::Embedded;
use super::field::{Field, rates_of};
use super::sample::{SampleState, SampleStates};
use crate::{InnerProduct, SolveError};

/// The samples and what they share.
#[derive(Debug)]
pub(super) struct BatchSolve<'a, Z, F, P, C: StepController> {
    pub(super) pair: P,
    pub(super) controller: &'a C,
    pub(super) field: &'a F,
    pub(super) max_steps: usize,
    pub(super) samples: SampleStates<Z, C>,
}

impl<Z, F, P, C> BatchSolve<'_, Z, F, P, C>
where
    Z: InnerProduct,
    F: Field<Z>,
    P: Embedded<Z>,
    C: StepController,
{
    /// To the end.
    pub(super) fn run(mut self) -> Result<SampleStates<Z, C>, SolveError<F::Error>> {
        loop {
            let moving = self.those(|sample| !sample.has_arrived());
            if moving.is_empty() {
                return Ok(self.samples);
            }
            moving.iter().try_for_each(|i| self.check(*i))?;
            self.attempt(&moving)?;
        }
    }

    fn those(&self, which: impl Fn(&SampleState<Z, C::Memory>) -> bool) -> Vec<usize> {
        (0..self.samples.len()).filter(|i| which(&self.samples[*i])).collect()
    }

    /// Tries one step of each.
    pub(super) fn attempt(&mut self, moving: &[usize]) -> Result<(), SolveError<F::Error>> {
        for stage in 0..self.pair.stages() {
            let unknown = |i: &&usize| self.samples[**i].rates.len() == stage;
            let which: Vec<usize> = moving.iter().filter(unknown).copied().collect();
            self.evaluate(&which)?;
        }
        for i in moving {
            let sample = &mut self.samples[*i];
            let at = sample.at;
            if sample.accept_or_reject(&self.pair, self.controller).is_none() {
                let log_snr = self.pair.level(at).log_snr;
                return Err(SolveError::NotFinite { sample: *i, log_snr });
            }
        }
        Ok(())
    }

    /// The next stage of each, in one pass of the model.
    fn evaluate(&mut self, which: &[usize]) -> Result<(), SolveError<F::Error>> {
        if which.is_empty() {
            return Ok(());
        }
        let stages: Vec<_> =
            which.iter().map(|i| self.pair.stage(&self.samples[*i].trial())).collect();
        let items: Vec<_> = stages.iter().map(|(z, at)| (z, *at)).collect();
        let rates = rates_of(self.field, which, &items)?;
        for (i, rate) in which.iter().zip(rates) {
            self.samples[*i].rates.push(rate);
            self.samples[*i].statistics.calls += 1;
        }
        Ok(())
    }

    /// Whether a sample can go on.
    fn check(&self, sample: usize) -> Result<(), SolveError<F::Error>> {
        let state = &self.samples[sample];
        let steps = state.statistics.accepted + state.statistics.rejected;
        let log_snr = self.pair.level(state.at).log_snr;
        if state.at + state.step() == state.at {
            Err(SolveError::StepTooSmall { sample, log_snr })
        } else if steps >= self.max_steps {
            Err(SolveError::TooManySteps { sample, log_snr, steps })
        } else {
            Ok(())
        }
    }
}
