//! Replayed noise.

use std::collections::VecDeque;

use vdm_core::LogSnr;

use super::{NoiseError, NoiseSource};

/// Noise from elsewhere, used in order: replays another program's run exactly.
#[derive(Debug, Clone)]
pub struct Recorded<Z> {
    draws: VecDeque<Z>,
    recorded: usize,
}

impl<Z> Recorded<Z> {
    /// The draws in the order of their use.
    pub fn new(draws: impl IntoIterator<Item = Z>) -> Self {
        let draws: VecDeque<Z> = draws.into_iter().collect();
        Self { recorded: draws.len(), draws }
    }

    /// How many draws have not been used.
    #[must_use]
    pub fn left(&self) -> usize {
        self.draws.len()
    }
}

impl<Z> NoiseSource<Z> for Recorded<Z> {
    fn fill(&mut self, out: &mut Z, from: LogSnr, to: LogSnr) -> Result<(), NoiseError> {
        let exhausted = NoiseError::Exhausted { recorded: self.recorded, from, to };
        *out = self.draws.pop_front().ok_or(exhausted)?;
        Ok(())
    }
}
