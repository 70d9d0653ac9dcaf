//! What a step consumes, prepared off the training thread.

use std::sync::Arc;

use vdm_data::{Batches, Items};
use vdm_sample::Seed;

/// The items of one step and what it draws at random; a function of (data, seed, step).
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingBatch<D> {
    /// The step, from 1.
    pub step: u64,
    /// Data values `[B, C, H, W]`.
    pub pixels: Vec<u8>,
    /// Random numbers.
    pub draws: D,
}

impl<D> TrainingBatch<D> {
    /// The batches of all steps, by step.
    pub(crate) fn maker(
        items: Arc<Items>,
        seed: Seed,
        batch: usize,
        mut draws: impl FnMut(u64) -> D + Send + 'static,
    ) -> impl FnMut(u64) -> Self + Send + 'static {
        let mut batches = Batches::new(items, seed.0, batch);
        // The first step takes the first batch of the first epoch.
        move |step| Self { step, pixels: batches.at(step - 1).pixels, draws: draws(step) }
    }
}
