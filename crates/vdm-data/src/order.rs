//! The order in which training visits the items, as a pure function of the seed.
//!
//! Epoch e visits the items in the permutation keyed by (seed, e); the epochs follow each other
//! without a gap, and step k takes positions `k·batch .. (k+1)·batch` of that endless list. So
//! every epoch visits each item exactly once, no item is dropped for a batch that is not full, and
//! a run that resumes at any step sees what it would have seen.

use crate::random::{generator, permutation};

/// The items of step `step`: `batch` indices below `n_items`, or none if `n_items` is 0.
///
/// Costs a permutation of all items; for many steps in a row, [`Order`] keeps it.
///
/// ```
/// use vdm_data::order::indices;
/// let mut epoch = [indices(7, 6, 4, 0), indices(7, 6, 4, 1)].concat();
/// epoch.truncate(6);
/// epoch.sort();
/// assert_eq!(epoch, [0, 1, 2, 3, 4, 5]);
/// ```
#[must_use]
pub fn indices(seed: u64, n_items: usize, batch: usize, step: u64) -> Vec<usize> {
    Order::new(seed, n_items, batch).at(step)
}

/// [`indices`] for fixed arguments, keeping the permutation of the last epoch asked for.
#[derive(Debug, Clone)]
pub struct Order {
    seed: u64,
    n_items: usize,
    batch: usize,
    epoch: u128,
    permutation: Vec<usize>,
}

impl Order {
    /// The order of `n_items` in batches of `batch`.
    #[must_use]
    pub fn new(seed: u64, n_items: usize, batch: usize) -> Self {
        Self { seed, n_items, batch, epoch: 0, permutation: epoch_order(seed, 0, n_items) }
    }

    /// The items of step `step`.
    pub fn at(&mut self, step: u64) -> Vec<usize> {
        let mut indices = Vec::with_capacity(self.batch);
        if self.n_items == 0 {
            return indices;
        }
        // In 128 bits the position of no step overflows.
        let start = u128::from(step) * self.batch as u128;
        while indices.len() < self.batch {
            let position = start + indices.len() as u128;
            self.enter(position / self.n_items as u128);
            let rest = &self.permutation[(position % self.n_items as u128) as usize..];
            indices.extend_from_slice(&rest[..rest.len().min(self.batch - indices.len())]);
        }
        indices
    }

    fn enter(&mut self, epoch: u128) {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.permutation = epoch_order(self.seed, epoch, self.n_items);
        }
    }
}

/// The permutation of one epoch. Epochs repeat after 2^64, which no run reaches.
fn epoch_order(seed: u64, epoch: u128, n_items: usize) -> Vec<usize> {
    permutation(&mut generator(b"vdm-data/order-1", seed, epoch as u64), n_items)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_order_does_not_change_between_releases() {
        // Also computed by a separate program from the documented rules.
        assert_eq!(indices(7, 10, 4, 0), [7, 1, 5, 8]);
        assert_eq!(indices(7, 10, 4, 2), [0, 3, 5, 7]);
    }

    #[test]
    fn no_items_give_no_indices_and_far_steps_do_not_overflow() {
        assert!(indices(7, 0, 4, 3).is_empty());
        assert_eq!(indices(7, 3, 4, u64::MAX).len(), 4);
    }

    proptest! {
        #[test]
        fn every_epoch_visits_every_item_once(
            seed: u64, n in 1usize..40, batch in 1usize..100, epochs in 1usize..5,
        ) {
            let steps = (n * epochs).div_ceil(batch) as u64;
            let mut order = Order::new(seed, n, batch);
            let visited: Vec<usize> = (0..steps).flat_map(|step| order.at(step)).collect();
            for epoch in visited.chunks_exact(n).take(epochs) {
                let mut epoch = epoch.to_vec();
                epoch.sort_unstable();
                prop_assert!(epoch.into_iter().eq(0..n));
            }
        }

        #[test]
        fn a_step_does_not_depend_on_the_steps_before(
            seed: u64, n in 1usize..40, batch in 1usize..100, step in 0u64..50,
        ) {
            let mut order = Order::new(seed, n, batch);
            let reached = (0..=step).map(|step| order.at(step)).last();
            prop_assert_eq!(reached, Some(indices(seed, n, batch, step)));
        }
    }
}
