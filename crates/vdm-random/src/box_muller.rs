//! Pairs of normals from words of 64 bits (Box and Muller 1958), in plain arithmetic.
//!
//! A radius `√(−2 log u)` in an even direction is the point of two independent unit normals. The
//! direction is an angle in `(−π/4, π/4)`, for which short Taylor series do, and two bits: one mirrors,
//! one swaps. The logarithm is that of a power of 2 and, for the rest `m` between `√½` and `√2`,
//! `log m = 2 artanh((m − 1)/(m + 1))`.
//!
//! There is no branch, so the compiler works on as many pairs at once as the vectors hold of the
//! processor that is found at run time. And there is nothing but `+`, `−`, `×`, `/`, `√` and
//! operations on bits, which IEEE 754 defines to the last bit and which Rust neither reorders nor
//! fuses: the numbers are the same on every machine, as those of a platform's `log` would not be.

use std::f32::consts::{FRAC_1_SQRT_2, FRAC_PI_2, LN_2};

use multiversion::multiversion;

/// Words, and pairs, in one pass: whole vectors of any width.
pub(crate) const BLOCK: usize = 16;

/// Bits of a number's fraction that are stored.
const STORED: u32 = f32::MANTISSA_DIGITS - 1;

/// `2 artanh(s) / s`, `sin(x) / x` and `cos(x)` in powers of `s²` and `x²`, to below half a unit in
/// the last place.
const LOG: [f32; 5] = [2.0, 2.0 / 3.0, 2.0 / 5.0, 2.0 / 7.0, 2.0 / 9.0];
const SIN: [f32; 5] = [1.0, -1.0 / 6.0, 1.0 / 120.0, -1.0 / 5_040.0, 1.0 / 362_880.0];
const COS: [f32; 5] = [1.0, -1.0 / 2.0, 1.0 / 24.0, -1.0 / 720.0, 1.0 / 40_320.0];

/// Two normals from every word; both slices are of whole blocks, and what one has more is left alone.
#[multiversion(targets("x86_64+avx2"))]
pub(crate) fn normals(words: &[u64], out: &mut [f32]) {
    transform(words, out);
}

#[inline(always)]
fn transform(words: &[u64], out: &mut [f32]) {
    let (words, _) = words.as_chunks::<BLOCK>();
    let (out, _) = out.as_chunks_mut::<{ 2 * BLOCK }>();
    for (words, out) in words.iter().zip(out) {
        // Loops in which all lanes are of one width: the compiler finds no vectors in a mixed one.
        let (radii, angles) =
            (words.map(|word| word as u32), words.map(|word| (word >> 32) as u32));
        let (mut x, mut y) = ([0.0; BLOCK], [0.0; BLOCK]);
        for i in 0..BLOCK {
            (x[i], y[i]) = pair(radii[i], angles[i]);
        }
        for i in 0..BLOCK {
            (out[2 * i], out[2 * i + 1]) = (x[i], y[i]);
        }
    }
}

#[inline(always)]
fn pair(radius: u32, angle: u32) -> (f32, f32) {
    // 31 bits, all of which count in the tail; as signed numbers, for which there are instructions.
    let u = ((radius >> 1) as i32 as f32 + 0.5) / (1_u32 << 31) as f32;
    let radius = (-2.0 * log(u)).sqrt();
    let x = (middle(angle) - 0.5) * FRAC_PI_2;
    let sine = (radius * x * polynomial(x * x, SIN)).to_bits();
    let cosine = (radius * polynomial(x * x, COS)).to_bits() ^ (angle << 31);
    let swap = (sine ^ cosine) & 0_u32.wrapping_sub((angle >> 1) & 1);
    (f32::from_bits(cosine ^ swap), f32::from_bits(sine ^ swap))
}

/// The middle of one of `2^23` equal parts of `(0, 1)`, by the upper bits.
#[inline(always)]
fn middle(bits: u32) -> f32 {
    let from_one = f32::from_bits((bits >> (32 - STORED)) | 1.0_f32.to_bits());
    from_one - (1.0 - f32::EPSILON / 2.0)
}

/// `log u` of a normal positive number.
#[inline(always)]
fn log(u: f32) -> f32 {
    /// Added to a whole number below it, it leaves that number in the stored bits.
    const SHIFT: f32 = (1_u32 << STORED) as f32;
    let from_root_half = u.to_bits() + (1.0_f32.to_bits() - FRAC_1_SQRT_2.to_bits());
    let biased = f32::from_bits((from_root_half >> STORED) | SHIFT.to_bits());
    let exponent = biased - (SHIFT + (f32::MAX_EXP - 1) as f32);
    let fraction = from_root_half & ((1 << STORED) - 1);
    let f = f32::from_bits(fraction + FRAC_1_SQRT_2.to_bits()) - 1.0;
    let s = f / (2.0 + f);
    exponent * LN_2 + s * polynomial(s * s, LOG)
}

#[inline(always)]
fn polynomial<const N: usize>(x: f32, terms: [f32; N]) -> f32 {
    terms.into_iter().rev().reduce(|sum, term| sum * x + term).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::Xoshiro256PlusPlus;
    use rand::{Rng, SeedableRng};

    /// The extremes of both fields, then random ones.
    fn words() -> Vec<u64> {
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(1);
        let ends = [0, 1, 2, 3, 1 << 31, u64::from(u32::MAX)];
        let mut words: Vec<u64> = ends.iter().flat_map(|a| ends.map(|b| a | b << 32)).collect();
        words.resize_with(BLOCK * 10_000, || generator.next_u64());
        words
    }

    #[test]
    fn numbers_are_the_same_on_every_processor() {
        let words = words();
        let (mut here, mut plain) = (vec![0.0; 2 * words.len()], vec![0.0; 2 * words.len()]);
        normals(&words, &mut here);
        transform(&words, &mut plain);
        assert!(here.iter().zip(&plain).all(|(a, b)| a.to_bits() == b.to_bits()));
        for (word, expected) in words.iter().zip(plain.as_chunks::<2>().0) {
            let (x, y) = pair(*word as u32, (word >> 32) as u32);
            assert_eq!([x, y].map(f32::to_bits), expected.map(f32::to_bits), "{word:x}");
        }
    }

    /// In units of the pair's length, which itself is 0 to 6.66.
    #[test]
    fn pairs_are_those_of_the_formula() {
        let mut longest = 0.0_f64;
        for word in words() {
            let (radius, angle) = (word as u32, (word >> 32) as u32);
            let u = f64::from(((radius >> 1) as f32 + 0.5) / (1_u32 << 31) as f32);
            let length = (-2.0 * u.ln()).sqrt();
            let part = f64::from((angle >> 9) * 2 + 1) / f64::from(1 << 24);
            let (sine, cosine) = ((part - 0.5) * std::f64::consts::FRAC_PI_2).sin_cos();
            let cosine = if angle & 1 == 1 { -cosine } else { cosine };
            let (x, y) = if angle & 2 == 2 { (sine, cosine) } else { (cosine, sine) };
            let found = pair(radius, angle);
            let error = (f64::from(found.0) - length * x).hypot(f64::from(found.1) - length * y);
            assert!(error <= 4.0 * f64::from(f32::EPSILON) * length, "{word:x}: {found:?}");
            longest = longest.max(length);
        }
        assert!((longest - 6.66).abs() < 0.01, "{longest}");
    }
}
