//! Which items pass through the network together.

use std::ops::Range;

/// Batches of all items, in the order of writing: as many as an eighth of the items before, at least
/// one and at most `largest`.
///
/// The latents of a batch are popped before its first bits are pushed, so a full batch at the start
/// would need its size times as many initial bits. This way the items before pay, and the file
/// begins with the initial bits of a single item.
pub(crate) fn batches(
    items: usize,
    largest: usize,
) -> impl DoubleEndedIterator<Item = Range<usize>> {
    let (starts, full) = growing(items, largest);
    let ends: Vec<usize> = starts.iter().skip(1).copied().chain([full]).collect();
    let growing = starts.into_iter().zip(ends).map(|(start, end)| start..end);
    let full = (full..items).step_by(largest);
    growing.chain(full.map(move |start| start..start.saturating_add(largest).min(items)))
}

/// How many [`batches`] there are, without listing them.
pub(crate) fn batch_count(items: usize, largest: usize) -> u64 {
    let (starts, full) = growing(items, largest.max(1));
    starts.len() as u64 + (items - full).div_ceil(largest.max(1)) as u64
}

/// The starts of the batches that grow, a few hundred at most, and where the full ones begin.
fn growing(items: usize, largest: usize) -> (Vec<usize>, usize) {
    let mut starts = Vec::new();
    let mut next = 0;
    while next < items && next / 8 < largest {
        starts.push(next);
        next += (next / 8).max(1);
    }
    (starts, next.min(items))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_grow_to_the_largest_and_cover_every_item_once() {
        for (items, largest) in [(1, 1), (7, 4), (8, 1), (359, 32), (1000, 3), (80, 10), (81, 10)] {
            let all: Vec<Range<usize>> = batches(items, largest).collect();
            assert_eq!(batch_count(items, largest), all.len() as u64);
            assert_eq!(all[0].start, 0);
            assert_eq!(all[all.len() - 1].end, items);
            assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start));
            let size = |start: usize| (start / 8).clamp(1, largest).min(items - start);
            assert!(all.iter().all(|batch| batch.len() == size(batch.start)), "{all:?}");
            let back: Vec<Range<usize>> = batches(items, largest).rev().collect();
            assert!(back.iter().rev().eq(all.iter()));
        }
    }

    /// The number of items comes from a file: a forged one must cost neither memory nor time.
    #[test]
    fn any_number_of_items_is_cheap_to_list() {
        assert_eq!(batches(usize::MAX, 1).next_back(), Some(usize::MAX - 1..usize::MAX));
        assert_eq!(batch_count(usize::MAX, 1), usize::MAX as u64);
        assert_eq!(batch_count(5, 0), 5);
    }
}
