//! What disks, copies and careless hands do to files.

use std::ops::Range;

use vdm_sample::Seed;
use vdm_sample::noise::Purpose;

/// Uniform numbers, the same in every run.
pub(crate) struct Chance {
    seed: Seed,
    drawn: u64,
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed: Seed(seed), drawn: 0 }
    }

    /// Below `end`, which is at least 1.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.drawn += 1;
        let share = self.seed.uniform(Purpose::Prior, 0, self.drawn);
        ((share * end as f64) as usize).min(end - 1)
    }

    /// A stretch of `length` bytes, at most 600 of them and at least 1.
    fn stretch(&mut self, length: usize) -> Range<usize> {
        let start = self.below(length);
        let most = (length - start).min(600);
        start..start + 1 + self.below(most)
    }
}

/// Another file than `whole`, which is not empty: a bit flipped, a byte changed, a stretch zeroed, lost,
/// doubled or exchanged with another, an end lost or something added to it.
pub(crate) fn damaged(whole: &[u8], chance: &mut Chance) -> Vec<u8> {
    loop {
        let mut bytes = whole.to_vec();
        let (at, stretch) = (chance.below(whole.len()), chance.stretch(whole.len()));
        match chance.below(10) {
            0..=3 => bytes[at] ^= 1 << chance.below(8),
            4 => bytes[at] = chance.below(256) as u8,
            5 => bytes[stretch].fill(0),
            6 => drop(bytes.drain(stretch)),
            7 => bytes.truncate(at),
            8 => {
                let again = bytes[stretch.clone()].to_vec();
                bytes.splice(stretch.start..stretch.start, again);
            }
            _ => {
                let other = bytes[stretch].to_vec();
                let at = at.min(whole.len() - other.len());
                bytes[at..at + other.len()].copy_from_slice(&other);
            }
        }
        if bytes != whole {
            return bytes;
        }
    }
}
