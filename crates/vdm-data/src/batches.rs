//! What training takes at a step: the items of [`order`](crate::order) and their pixels.

use std::sync::Arc;

use crate::Items;
use crate::order::Order;

/// The items of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The step.
    pub step: u64,
    /// Which items, in their order.
    pub indices: Vec<usize>,
    /// Their pixels, `[batch, C, H, W]`.
    pub pixels: Vec<u8>,
}

/// Makes the batch of any step; put it into a [`Prefetch`](crate::Prefetch) to work ahead.
///
/// ```
/// # use std::sync::Arc;
/// use vdm_data::{Batches, Items, Prefetch};
/// let items = Arc::new(Items::new("mine".as_ref(), 1, vec![10, 11, 12], None)?);
/// let mut batches = Batches::new(items.clone(), 0, 5);
/// let later = Prefetch::spawn(7, 2, {
///     let mut batches = Batches::new(items, 0, 5);
///     move |step| batches.at(step)
/// })?
/// .next();
/// assert_eq!(later.unwrap()?, batches.at(7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Batches {
    items: Arc<Items>,
    order: Order,
}

impl Batches {
    /// Batches of `batch` of these items, in the order of `seed`.
    #[must_use]
    pub fn new(items: Arc<Items>, seed: u64, batch: usize) -> Self {
        let order = Order::new(seed, items.len(), batch);
        Self { items, order }
    }

    /// The batch of step `step`.
    pub fn at(&mut self, step: u64) -> Batch {
        let indices = self.order.at(step);
        let pixels = self.items.gather(&indices);
        Batch { step, indices, pixels }
    }
}
