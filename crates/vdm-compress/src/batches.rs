//! Which items pass through the network together.

use std::ops::Range;

use vdm_core::setting::{InvalidSetting, require};

/// Batches in the order of writing: one item for each `growth` before it, at least one and at most `largest`.
///
/// The latents of a batch are popped before its first bits are pushed, so a full batch at the start
/// would need its size times as many initial bits. This way the items before pay, and the file
/// begins with the initial bits of a single item.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batches {
    largest: usize,
    growth: usize,
}

/// The growth of a chain, whose items pay for two of its latents.
pub(crate) const LEAST_GROWTH: u32 = 8;
pub(crate) const MOST_GROWTH: u32 = 1 << 12;

impl Batches {
    /// Both may come from a file.
    pub(crate) fn new(largest: u32, growth: u32) -> Result<Self, InvalidSetting> {
        require((1..=1 << 16).contains(&largest), "batch", largest, "use 1 to 65536")?;
        require((1..=MOST_GROWTH).contains(&growth), "growth", growth, "use 1 to 4096")?;
        Ok(Self { largest: largest as usize, growth: growth as usize })
    }

    /// Items of a full one.
    pub(crate) fn largest(self) -> usize {
        self.largest
    }

    /// Of so many items.
    pub(crate) fn of(self, items: usize) -> impl DoubleEndedIterator<Item = Range<usize>> {
        let (starts, full) = self.growing(items);
        let ends: Vec<usize> = starts.iter().skip(1).copied().chain([full]).collect();
        let growing = starts.into_iter().zip(ends).map(|(start, end)| start..end);
        let full = (full..items).step_by(self.largest);
        growing.chain(full.map(move |start| start..start.saturating_add(self.largest).min(items)))
    }

    /// How many there are, without listing them.
    pub(crate) fn count(self, items: usize) -> u64 {
        let (starts, full) = self.growing(items);
        starts.len() as u64 + (items - full).div_ceil(self.largest) as u64
    }

    /// The starts of the batches that grow, `growth` times the logarithm of `largest` or so, and where the full ones
    /// begin.
    fn growing(self, items: usize) -> (Vec<usize>, usize) {
        let mut starts = Vec::new();
        let mut next = 0;
        while next < items && next / self.growth < self.largest {
            starts.push(next);
            next += (next / self.growth).max(1);
        }
        (starts, next.min(items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_grow_to_the_largest_and_cover_every_item_once() {
        for (items, largest) in [(1, 1), (7, 4), (8, 1), (359, 32), (1000, 3), (80, 10), (81, 10)] {
            for growth in [1, 8, 27] {
                let batches = Batches { largest, growth };
                let all: Vec<Range<usize>> = batches.of(items).collect();
                assert_eq!(batches.count(items), all.len() as u64);
                assert_eq!(all[0].start, 0);
                assert_eq!(all[all.len() - 1].end, items);
                assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start));
                let size = |start: usize| (start / growth).clamp(1, largest).min(items - start);
                assert!(all.iter().all(|batch| batch.len() == size(batch.start)), "{all:?}");
                let back: Vec<Range<usize>> = batches.of(items).rev().collect();
                assert!(back.iter().rev().eq(all.iter()));
            }
        }
    }

    /// The number of items comes from a file: a forged one must cost neither memory nor time.
    #[test]
    fn any_number_of_items_is_cheap_to_list() {
        let batches = |largest, growth| Batches { largest, growth };
        assert_eq!(batches(1, 8).of(usize::MAX).next_back(), Some(usize::MAX - 1..usize::MAX));
        assert_eq!(batches(1, 8).count(usize::MAX), usize::MAX as u64);
        let slowest = Batches::new(1 << 16, MOST_GROWTH).unwrap();
        assert!(slowest.growing(usize::MAX).0.len() < 1 << 16);
        assert!(Batches::new(1 << 16, MOST_GROWTH + 1).is_err() && Batches::new(0, 8).is_err());
    }
}
