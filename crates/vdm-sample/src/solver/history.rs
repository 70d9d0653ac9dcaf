//! What multistep solvers remember.

use std::collections::VecDeque;

use vdm_core::{Denoiser, Latent, NoiseLevel};

use super::Run;

/// A prediction made at an earlier level.
#[derive(Debug)]
pub struct Past<Z> {
    /// What was predicted, already in the solver's own parameterization.
    pub value: Z,
    /// The level it was made at.
    pub at: NoiseLevel,
}

/// The last few predictions, newest first. A memory of its own type, because its buffers are used
/// again.
#[derive(Debug)]
pub struct History<Z> {
    past: VecDeque<Past<Z>>,
}

impl<Z> Default for History<Z> {
    fn default() -> Self {
        Self { past: VecDeque::new() }
    }
}

impl<Z: Latent> History<Z> {
    /// Puts the newest in front and keeps `keep` in all.
    pub fn push<D: Denoiser<Z> + ?Sized>(
        &mut self,
        run: &mut Run<'_, Z, D>,
        value: Z,
        at: NoiseLevel,
        keep: usize,
    ) {
        self.past.push_front(Past { value, at });
        while self.past.len() > keep {
            self.past.pop_back().into_iter().for_each(|old| run.recycle(old.value));
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.past.len()
    }

    /// Whether nothing was predicted yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.past.is_empty()
    }

    /// Number `i`, 0 the newest.
    #[must_use]
    pub fn get(&self, i: usize) -> Option<&Past<Z>> {
        self.past.get(i)
    }

    /// Newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Past<Z>> {
        self.past.iter()
    }

    /// Gives all buffers back.
    pub fn clear<D: Denoiser<Z> + ?Sized>(&mut self, run: &mut Run<'_, Z, D>) {
        self.past.drain(..).for_each(|old| run.recycle(old.value));
    }
}
