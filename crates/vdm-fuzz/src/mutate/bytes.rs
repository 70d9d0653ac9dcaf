//! Bytes: flips, values that are special as sizes, blocks that move, repeat or go.

use super::Random;

/// Integers at which readers go wrong, written over what is there.
const SPECIAL: [u64; 18] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0x8000,
    0xffff,
    0x00ff_ffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x0001_0000_0000,
    0x7fff_ffff_ffff_fff8,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];

/// A valid input with one to eight changes.
pub(super) fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = random.of(corpus).clone();
    let changes = if random.one_in(2) { 1 } else { 1 + random.below(8) };
    for _ in 0..changes {
        change(&mut bytes, corpus, random);
    }
    bytes
}

/// Headers are where damage matters: half of all places are in the first hundred bytes.
fn place(len: usize, random: &mut Random) -> usize {
    let within = if random.one_in(2) { len.min(100) } else { len };
    random.below(within)
}

fn change(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    if bytes.is_empty() {
        bytes.push(random.next() as u8);
        return;
    }
    let at = place(bytes.len(), random);
    let longest = if random.one_in(4) { 64 } else { 8 };
    let block = 1 + random.below(longest);
    let end = bytes.len().min(at + block);
    match random.below(10) {
        0 | 1 => bytes[at] ^= 1 << random.below(8),
        2 => bytes[at] = random.next() as u8,
        3 | 4 => overwrite(&mut bytes[at..], random),
        5 => bytes.truncate(at),
        6 => drop(bytes.drain(at..end)),
        7 => {
            let copy = bytes[at..end].to_vec();
            let to = place(bytes.len(), random);
            bytes.splice(to..to, copy);
        }
        8 => {
            let new: Vec<u8> = (0..block).map(|_| random.next() as u8).collect();
            bytes.splice(at..at, new);
        }
        _ => {
            // The end of another input in place of this one's.
            let other = random.of(corpus);
            let from = random.below(other.len());
            bytes.truncate(at);
            bytes.extend(&other[from..]);
        }
    }
}

/// A special integer of some width, in either order of bytes.
fn overwrite(bytes: &mut [u8], random: &mut Random) {
    let mut number = random.of(&SPECIAL).to_le_bytes();
    let width: usize = *random.of(&[1, 2, 4, 8]);
    if random.one_in(2) {
        number[..width].reverse();
    }
    for (byte, new) in bytes.iter_mut().zip(&number[..width]) {
        *byte = *new;
    }
}
