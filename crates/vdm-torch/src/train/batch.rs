//! What a step consumes, prepared off the training thread.

use std::sync::Arc;

use vdm_core::times;
use vdm_data::{Batches, Items};
use vdm_sample::{Purpose, Seed, fill_normal};

/// Data, times and noise of one step; a function of (data, seed, step).
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingBatch {
    /// The step, from 1.
    pub step: u64,
    /// Data values `[B, C, H, W]`.
    pub pixels: Vec<u8>,
    /// One number in `[0, 1)` per item: its time before any change of density.
    pub times: Vec<f64>,
    /// Unit normals of the shape of the data.
    pub noise: Vec<f32>,
}

impl TrainingBatch {
    /// The batches of all steps, by step.
    pub(crate) fn maker(
        items: Arc<Items>,
        seed: Seed,
        batch: usize,
        dims: usize,
    ) -> impl FnMut(u64) -> Self + Send + 'static {
        let mut batches = Batches::new(items, seed.0, batch);
        move |step| {
            let u = seed.uniform(Purpose::TrainingTime, step, 0);
            let mut noise = vec![0.0; batch * dims];
            fill_normal(&mut noise, dims, seed, Purpose::TrainingNoise, step, 0);
            Self {
                step,
                // The first step takes the first batch of the first epoch.
                pixels: batches.at(step - 1).pixels,
                times: times::low_discrepancy(u, batch).collect(),
                noise,
            }
        }
    }
}
