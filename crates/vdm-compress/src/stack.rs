//! The code itself: a stack of bits from which symbols are popped as well as pushed.
//!
//! Asymmetric numeral systems (Duda 2009) make a stack of whatever was pushed: popping under any
//! distribution turns bits into a sample of that distribution, and pushing the sample back under the same distribution restores
//! the bits exactly. The state has 128 bits and words have 64, so that a symbol of probability
//! `m/2^40` costs its logarithm to one part in `2^24`.
//!
//! A sample is as random as the bits it is made of. Those on top of the stack were pushed last: they
//! say how far the latent before the last lay from where the model expected it, so noise made of
//! them would lean towards the error of the model instead of being independent of the data (such bits
//! are called dirty). [`Stack::sample`] therefore covers them with a pad made of deeper bits, which
//! [`Stack::restore`] takes off again. The pad touches the 40 lowest of at least 64 bits only: a map
//! of more of them would change the size of a small state, and with it the length of the code.

use std::convert::Infallible;

use constriction::backends::{ReadWords, WriteWords};
use constriction::stream::model::{DecoderModel, EncoderModel};
use constriction::stream::stack::AnsCoder;
use constriction::stream::{Decode, Encode};
use constriction::{CoderError, Stack as LastInFirstOut};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::distribution::{Normal, PRECISION};

/// Words below the state.
#[derive(Debug, Default)]
struct Words {
    words: Vec<u64>,
    /// Initial words handed out so far, where there are any to be had.
    lent: Option<u64>,
}

/// Nothing is left to read.
#[derive(Debug)]
struct Empty;

impl ReadWords<u64, LastInFirstOut> for Words {
    type ReadError = Empty;
    fn read(&mut self) -> Result<Option<u64>, Empty> {
        if let Some(word) = self.words.pop() {
            return Ok(Some(word));
        }
        let lent = self.lent.as_mut().ok_or(Empty)?;
        *lent += 1;
        Ok(Some(initial_word(STATE_WORDS - 1 + *lent)))
    }
}

impl WriteWords<u64> for Words {
    type WriteError = Infallible;
    fn write(&mut self, word: u64) -> Result<(), Infallible> {
        self.words.push(word);
        Ok(())
    }
}

/// The bits a code starts from: any will do that look random. The reader gets them back and throws
/// them away.
fn initial_word(number: u64) -> u64 {
    let digest = Sha256::new()
        .chain_update(b"vdm-compress initial bits")
        .chain_update(number.to_le_bytes())
        .finalize();
    u64::from_le_bytes(std::array::from_fn(|i| digest[i]))
}

/// The top bit is set: the state of the coder never falls below `2^64`.
fn initial_state() -> u128 {
    u128::from(initial_word(0) | 1 << 63) << WORD_BITS | u128::from(initial_word(1))
}

/// Bits for the place of the next quantile, from all the bits above it: the top of their product with
/// `2^64` over the golden ratio, which depends on each of them.
fn pad(state: u128) -> u128 {
    let above = state >> PRECISION;
    let folded = above as u64 ^ (above >> WORD_BITS) as u64;
    u128::from(folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (WORD_BITS - PRECISION as u64))
}

const WORD_BITS: u64 = 64;
const STATE_WORDS: u64 = 2;

/// A stack of bits under construction or being taken apart.
pub(crate) struct Stack(AnsCoder<u64, u128, Words>);

/// Everything that was coded, and what it cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Code {
    /// The whole code; the last is on top.
    pub words: Vec<u64>,
    /// Random bits among them that were put in only to be popped as the first latents. They are
    /// paid once, whatever the number of items, and would carry other data where there are some.
    pub initial_bits: u64,
    /// Bits that the items added: what the variational bound is about.
    pub net_bits: f64,
}

impl Stack {
    /// For writing: initial bits are added underneath when, and only when, they are needed.
    pub(crate) fn new() -> Self {
        let words = Words { words: Vec::new(), lent: Some(0) };
        Self(AnsCoder::from_raw_parts(words, initial_state()))
    }

    /// For reading.
    pub(crate) fn from_words(words: &[u64]) -> Result<Self, Error> {
        let [rest @ .., low, high] = words else { return Err(Error::Exhausted) };
        let state = u128::from(*high) << WORD_BITS | u128::from(*low);
        if *high == 0 {
            return Err(Error::Exhausted);
        }
        let words = Words { words: rest.to_vec(), lent: None };
        Ok(Self(AnsCoder::from_raw_parts(words, state)))
    }

    /// The most bits that can be taken from it.
    pub(crate) fn bits(&self) -> usize {
        (self.len() + STATE_WORDS as usize) * WORD_BITS as usize
    }

    /// Words below the state.
    pub(crate) fn len(&self) -> usize {
        self.0.bulk().words.len()
    }

    /// Draws from a distribution with bits of the stack.
    pub(crate) fn sample(&mut self, distribution: &Normal) -> Result<i32, Error> {
        self.turn_pad();
        self.pop(distribution)
    }

    /// Undoes [`sample`](Self::sample).
    pub(crate) fn restore(&mut self, k: i32, distribution: &Normal) {
        self.push(k, distribution);
        self.turn_pad();
    }

    /// Puts the pad on or takes it off: what it is made of stays as it is.
    fn turn_pad(&mut self) {
        let emptied = AnsCoder::from_raw_parts(Words::default(), 0);
        let (words, state) = std::mem::replace(&mut self.0, emptied).into_raw_parts();
        self.0 = AnsCoder::from_raw_parts(words, state ^ pad(state));
    }

    /// # Panics
    /// If the symbol is outside the distribution: callers check, or popped it under a distribution of the same cells.
    pub(crate) fn push<M>(&mut self, symbol: M::Symbol, distribution: &M)
    where
        M: EncoderModel<PRECISION, Probability = u64>,
    {
        match self.0.encode_symbol(symbol, distribution) {
            Ok(()) => (),
            Err(CoderError::Frontend(error)) => {
                panic!("a symbol outside its distribution: {error}")
            }
            Err(CoderError::Backend(never)) => match never {},
        }
    }

    pub(crate) fn pop<M>(&mut self, distribution: &M) -> Result<M::Symbol, Error>
    where
        M: DecoderModel<PRECISION, Probability = u64>,
    {
        self.0.decode_symbol(distribution).map_err(|_| Error::Exhausted)
    }

    /// What was written so far, as a whole.
    pub(crate) fn into_code(self) -> Code {
        let (Words { mut words, lent }, state) = self.0.into_raw_parts();
        let lent = lent.unwrap_or(0);
        let grown = WORD_BITS as f64 * (words.len() as f64 - lent as f64);
        let net_bits = grown + (state as f64).log2() - (initial_state() as f64).log2();
        words.extend([state as u64, (state >> WORD_BITS) as u64]);
        Code { words, initial_bits: WORD_BITS * (STATE_WORDS + lent), net_bits }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pad_comes_off_and_covers_the_quantile_alone() {
        for n in 0..1000 {
            let state = u128::from(initial_word(n)) << 64 | u128::from(initial_word(n + 1));
            let padded = state ^ pad(state);
            assert_eq!(padded ^ pad(padded), state);
            assert_eq!(padded >> PRECISION, state >> PRECISION);
        }
    }

    /// Samples follow the distribution, cost initial bits, and putting them back restores the stack to the
    /// last bit.
    #[test]
    fn sampling_and_restoring_changes_nothing() {
        let distribution = Normal { mean: 1.5, std: 20.0, edge: 500 };
        let mut stack = Stack::new();
        let drawn: Vec<i32> = (0..2000).map(|_| stack.sample(&distribution).unwrap()).collect();
        let mean = drawn.iter().copied().map(f64::from).sum::<f64>() / 2000.0;
        // Five standard errors, 20/√2000 = 0.45 each.
        assert!((mean - 1.5).abs() < 2.3, "{mean}");
        for k in drawn.iter().rev() {
            stack.restore(*k, &distribution);
        }
        let code = stack.into_code();
        // An entropy of log2(20·√(2πe)) = 6.37 bits each.
        assert!((code.initial_bits as f64 / 2000.0 - 6.37).abs() < 0.1, "{code:?}");
        assert!(code.net_bits.abs() < 1e-9, "{}", code.net_bits);
        let initial = (1..code.words.len() as u64).rev().map(initial_word);
        let initial: Vec<u64> = initial.chain([initial_word(0) | 1 << 63]).collect();
        assert_eq!(code.words, initial);
    }

    #[test]
    fn an_empty_code_says_so() {
        assert_eq!(Stack::from_words(&[1]).err(), Some(Error::Exhausted));
        assert_eq!(Stack::from_words(&[1, 0]).err(), Some(Error::Exhausted));
        let mut stack = Stack::from_words(&[0, 1]).unwrap();
        let distribution = Normal { mean: 0.0, std: 20.0, edge: 500 };
        assert_eq!((0..100).find_map(|_| stack.pop(&distribution).err()), Some(Error::Exhausted));
    }
}
