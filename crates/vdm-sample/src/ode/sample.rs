//! One sample on its way.

use super::controller::{Decision, StepController};
use super::embedded::{Embedded, Trial};
use super::state::State;
use crate::InnerProduct;
use crate::solver::Statistics;

/// The length of the step that a sample tries next, and what its controller remembers: what a sample
/// takes along from one level of a grid to the next.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace<M> {
    /// In the coordinate of the solver, above 0.
    pub(super) length: f64,
    pub(super) memory: M,
}

/// A sample, where it is, and the step it tries next.
#[derive(Debug)]
pub(super) struct SampleState<Z, M> {
    pub(super) at: f64,
    end: f64,
    pub(super) pace: Pace<M>,
    pub(super) state: State<Z>,
    /// What the model said at the stages evaluated so far; the first outlives a step that is refused.
    pub(super) rates: Vec<State<Z>>,
    pub(super) statistics: Statistics,
}

/// Those of a run.
pub(super) type SampleStates<Z, C> = Vec<SampleState<Z, <C as StepController>::Memory>>;

impl<Z: InnerProduct, M> SampleState<Z, M> {
    pub(super) fn new(state: State<Z>, [at, end]: [f64; 2], pace: Pace<M>) -> Self {
        Self { at, end, pace, state, rates: Vec::new(), statistics: Statistics::default() }
    }

    pub(super) fn has_arrived(&self) -> bool {
        self.at == self.end
    }

    /// The next step, signed, towards the end and not beyond it.
    pub(super) fn step(&self) -> f64 {
        let left = self.end - self.at;
        // A hundredth more than was meant, rather than one more step of less than that.
        if 1.01 * self.pace.length >= left.abs() { left } else { self.pace.length.copysign(left) }
    }

    pub(super) fn trial(&self) -> Trial<'_, Z> {
        Trial { from: self.at, step: self.step(), state: &self.state, rates: &self.rates }
    }

    /// Once all stages are known: takes the step or shortens it. `None` if its error is no number.
    pub(super) fn accept_or_reject<P, C>(&mut self, pair: &P, controller: &C) -> Option<()>
    where
        P: Embedded<Z>,
        C: StepController<Memory = M>,
    {
        let (end, error) = pair.finish(&self.trial());
        if !error.is_finite() {
            return None;
        }
        let step = self.step();
        let Decision { accepted, factor } =
            controller.decide(error, pair.power(), &mut self.pace.memory);
        if accepted {
            let arrives = step == self.end - self.at;
            self.at = if arrives { self.end } else { self.at + step };
            self.state = end;
            self.statistics.accepted += 1;
            let known = usize::from(pair.first_same_as_last());
            self.rates.drain(..self.rates.len() - known);
        } else {
            self.statistics.rejected += 1;
            self.rates.truncate(1);
        }
        self.pace.length = factor * step.abs();
        factor.is_finite().then_some(())
    }
}
