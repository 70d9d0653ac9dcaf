//! Unit normals for whole samples.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

use crate::box_muller::{BLOCK, normals};
use crate::{Purpose, Seed};

/// Words transformed at a time, of several samples if they are small: they stay in the first cache.
const WORDS: usize = 4 * BLOCK;

/// Unit normals for consecutive samples of `dims` components each, sample `first` leading.
///
/// Each sample has its own generator, so what it gets does not depend on its neighbors: a
/// `Xoshiro256PlusPlus` whose 256 bits of state are the first of the sample's [`Seed::stream`]. So no
/// structure of (purpose, step, sample) reaches it, and of `n` such generators two overlap within `m`
/// draws with a probability below `n²m/2^256`: `2^-146` for `2^40` samples of `2^30` components.
///
/// Its word `j` makes components `2j` and `2j + 1` (Box and Muller 1958), so a sample's first components
/// do not depend on `dims`. They are made in `f32`, bit for bit the same on every machine, and in `f64`
/// are these very numbers: runs in either see the same noise. The radius of a pair has 31 bits and its
/// direction 25. So no component is beyond 6.67, where a normal is once in 4·10^10 draws, and one pair
/// in 3·10^7 is exactly 0.
///
/// # Panics
/// If `dims` is 0.
pub fn fill_normal<T: From<f32>>(
    out: &mut [T],
    dims: usize,
    seed: Seed,
    purpose: Purpose,
    step: u64,
    first: u64,
) {
    assert!(dims > 0, "samples of 0 components");
    let pairs = dims.div_ceil(2);
    let mut buffer = Buffer { words: [0; WORDS], normals: [0.0; 2 * WORDS] };
    let together = (WORDS / pairs).max(1);
    let groups = out.chunks_mut(together.saturating_mul(dims));
    for (out, first) in groups.zip((first..).step_by(together)) {
        if pairs <= WORDS {
            let samples = out.len().div_ceil(dims);
            for (words, sample) in buffer.words.chunks_exact_mut(pairs).zip(first..).take(samples) {
                draw(&mut generator(seed, purpose, step, sample), words);
            }
            let normals = buffer.normals(samples * pairs);
            for (normals, out) in normals.chunks(2 * pairs).zip(out.chunks_mut(dims)) {
                convert(normals, out);
            }
        } else {
            let mut generator = generator(seed, purpose, step, first);
            for out in out.chunks_mut(2 * WORDS) {
                let pairs = out.len().div_ceil(2);
                draw(&mut generator, &mut buffer.words[..pairs]);
                convert(buffer.normals(pairs), out);
            }
        }
    }
}

struct Buffer {
    words: [u64; WORDS],
    normals: [f32; 2 * WORDS],
}

impl Buffer {
    /// Of the first `pairs` words.
    fn normals(&mut self, pairs: usize) -> &[f32] {
        normals(&self.words[..pairs.next_multiple_of(BLOCK)], &mut self.normals);
        &self.normals[..2 * pairs]
    }
}

fn generator(seed: Seed, purpose: Purpose, step: u64, sample: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::from_rng(&mut seed.stream(purpose, step, sample))
}

fn draw(generator: &mut Xoshiro256PlusPlus, words: &mut [u64]) {
    words.fill_with(|| generator.next_u64());
}

/// As many as `out` wants, which may be one less.
fn convert<T: From<f32>>(normals: &[f32], out: &mut [T]) {
    for (out, normal) in out.iter_mut().zip(normals) {
        *out = T::from(*normal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PURPOSE: Purpose = Purpose::Prior;

    fn normals(samples: usize, dims: usize, seed: u64) -> Vec<f64> {
        let mut out = vec![0.0; samples * dims];
        fill_normal(&mut out, dims, Seed(seed), PURPOSE, 0, 0);
        out
    }

    fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
        let n = values.len() as f64;
        values.sum::<f64>() / n
    }

    /// Saved runs resume bit-exactly only while this stands. All bits were checked against an
    /// independent program: `ChaCha8` and `xoshiro256++` from their definitions, then the same operations
    /// with every result rounded to `f32`.
    #[test]
    fn streams_never_change() {
        let mut normals = [0.0_f32; 5];
        fill_normal(&mut normals, 5, Seed(42), Purpose::TrainingNoise, 7, 3);
        let bits = [0x3d38_88f7, 0x3f87_2fd8, 0xbff7_d36a, 0x3fb9_ea3d, 0xbf34_e1df];
        assert_eq!(normals.map(f32::to_bits), bits);
    }

    #[test]
    fn a_sample_does_not_depend_on_its_batch() {
        // Small, large, odd, of the buffer's size and next to it.
        for dims in [1, 2, 5, 2 * WORDS - 1, 2 * WORDS, 2 * WORDS + 1, 5 * WORDS + 3] {
            let mut batch = vec![0.0_f32; 150 * dims];
            fill_normal(&mut batch, dims, Seed(1), PURPOSE, 0, 10);
            for (sample, expected) in (10..).zip(batch.chunks(dims)) {
                let mut alone = vec![0.0_f32; dims];
                fill_normal(&mut alone, dims, Seed(1), PURPOSE, 0, sample);
                assert_eq!(alone, expected, "sample {sample} of {dims} components");
            }
        }
    }

    #[test]
    fn first_components_do_not_depend_on_how_many_follow() {
        let many = normals(1, 1000, 1);
        for dims in 1..300 {
            assert_eq!(normals(1, dims, 1), many[..dims]);
        }
        let mut cut = [0.0_f64; 7]; // one sample and a part of the next
        fill_normal(&mut cut, 4, Seed(1), PURPOSE, 0, 0);
        assert_eq!(cut, normals(2, 4, 1)[..7]);
    }

    #[test]
    fn both_types_get_the_same_numbers() {
        let mut short = vec![0.0_f32; 3 * 77];
        fill_normal(&mut short, 77, Seed(2), PURPOSE, 0, 0);
        assert!(short.iter().zip(normals(3, 77, 2)).all(|(short, long)| f64::from(*short) == long));
    }

    #[test]
    #[should_panic(expected = "samples of 0 components")]
    fn samples_need_a_component() {
        fill_normal(&mut [0.0_f32], 0, Seed(1), PURPOSE, 0, 0);
    }

    /// Of 4,000,000 normals the first four moments, and the shares beyond 2, 3 and 4, within 5 standard
    /// errors: 7 statements, a false alarm in 2·10^5 seeds, and this one is fixed.
    #[test]
    fn normals_have_the_moments_and_the_tails_of_normals() {
        let z = normals(2000, 2000, 3);
        let n = z.len() as f64;
        // E[z^k], and the variance of z^k, E[z^2k] − E[z^k]²
        for (k, moment, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)]
        {
            let found = mean(z.iter().map(|z| z.powi(k)));
            let error: f64 = variance / n;
            assert!((found - moment).abs() < 5.0 * error.sqrt(), "moment {k}: {found}");
        }
        for bound in [2.0, 3.0, 4.0_f64] {
            let share = libm::erfc(bound / std::f64::consts::SQRT_2);
            let found = mean(z.iter().map(|z| f64::from(z.abs() > bound)));
            let error = (share * (1.0 - share) / n).sqrt();
            assert!((found - share).abs() < 5.0 * error, "beyond {bound}: {found}, not {share}");
        }
    }

    /// The same of the means of `ab`, `a²b²` and `a³b` over pairs and over neighbors of two pairs:
    /// their parts have one word, or successive ones, in common.
    #[test]
    fn neighbors_are_independent() {
        let z = normals(2000, 2000, 4);
        for offset in [0, 1] {
            let (pairs, _) = z[offset..z.len() - offset].as_chunks::<2>();
            // Variances: E[a^2k] E[b^2l] − (E[a^k] E[b^l])².
            for (k, l, moment, variance) in [(1, 1, 0.0, 1.0), (2, 2, 1.0, 8.0), (3, 1, 0.0, 15.0)]
            {
                let found = mean(pairs.iter().map(|[a, b]| a.powi(k) * b.powi(l)));
                let error = (variance / pairs.len() as f64).sqrt();
                assert!((found - moment).abs() < 5.0 * error, "a^{k} b^{l}, {offset}: {found}");
            }
        }
    }

    /// Kolmogorov and Smirnov: the distance from the normal distribution function exceeds
    /// `2.6/√n` once in 4·10^5 times (twice `e^{−2·2.6²}`); the seed is fixed.
    #[test]
    fn normals_are_distributed_normally() {
        let mut z = normals(1000, 1000, 5);
        z.sort_unstable_by(f64::total_cmp);
        let n = z.len() as f64;
        let distance = z.iter().enumerate().fold(0.0_f64, |most, (i, z)| {
            let distribution = 0.5 * libm::erfc(-z / std::f64::consts::SQRT_2);
            most.max((distribution - i as f64 / n).abs())
                .max((distribution - (i + 1) as f64 / n).abs())
        });
        assert!(distance < 2.6 / n.sqrt(), "{distance}");
    }
}
