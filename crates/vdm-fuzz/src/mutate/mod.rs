//! Mutants: valid inputs, changed a little, each a function of (seed, target, number).

mod bytes;
mod json;

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

use crate::{Kind, Target};

/// A target's valid inputs, ready to be mutated.
#[derive(Debug)]
pub struct Mutator {
    corpus: Vec<Vec<u8>>,
    /// The same as JSON, where inputs are documents.
    documents: json::Pool,
    kind: Kind,
    name: &'static str,
}

impl Mutator {
    /// Of a target.
    #[must_use]
    pub fn new(target: &Target) -> Self {
        let corpus = (target.corpus)();
        let documents = match target.kind {
            Kind::Json => json::Pool::new(&corpus),
            Kind::Bytes => json::Pool::default(),
        };
        Self { corpus, documents, kind: target.kind, name: target.name }
    }

    /// Mutant `number` of a seed. The first are the valid inputs themselves.
    #[must_use]
    pub fn mutant(&self, seed: u64, number: u64) -> Vec<u8> {
        let place = usize::try_from(number).ok();
        if let Some(valid) = place.and_then(|place| self.corpus.get(place)) {
            return valid.clone();
        }
        let mut random = Random::new(seed, self.name, number);
        match self.kind {
            Kind::Bytes => bytes::mutated(&self.corpus, &mut random),
            // Some as bytes too: what no tool would write, people do.
            Kind::Json if random.one_in(8) => bytes::mutated(&self.corpus, &mut random),
            Kind::Json => self.documents.mutated(&mut random),
        }
    }
}

/// Mutant `number` of a target, built from nothing: to repeat one.
#[must_use]
pub fn mutant(target: &Target, seed: u64, number: u64) -> Vec<u8> {
    Mutator::new(target).mutant(seed, number)
}

/// Random numbers of one mutant.
struct Random(ChaCha8Rng);

impl Random {
    fn new(seed: u64, name: &str, number: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&number.to_le_bytes());
        for (place, byte) in key[16..].iter_mut().zip(name.bytes()) {
            *place = byte;
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Below a bound of at least 1. The bias of a remainder does not matter here.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutant_is_a_function_of_seed_target_and_number() {
        for target in crate::all() {
            let (one, other) = (Mutator::new(&target), Mutator::new(&target));
            let many = |mutator: &Mutator, seed| -> Vec<Vec<u8>> {
                (0..200).map(|number| mutator.mutant(seed, number)).collect()
            };
            assert_eq!(many(&one, 3), many(&other, 3), "{}", target.name);
            assert_ne!(many(&one, 3), many(&one, 4), "{}", target.name);
            assert_eq!(mutant(&target, 3, 150), one.mutant(3, 150), "{}", target.name);
        }
    }
}
