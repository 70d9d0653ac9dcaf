//! Noise in mirrored pairs.

use std::ops::Neg;

use vdm_core::LogSnr;

use super::{NoiseError, NoiseSource};
use crate::Seed;
use crate::noise::{Purpose, fill_normal};

/// [`Iid`](super::Iid) noise of which every odd sample `2k + 1` gets the negative of sample `2k`'s.
///
/// Each sample alone has the distribution it always had; the two of a pair are negatively correlated, so
/// that a mean over whole pairs has less variance wherever the sampler's answer is monotone in its
/// noise (Hammersley and Morton 1956). Errors odd in the noise cancel in each pair. Pairs go by
/// sample number, not by place in a batch: no batch size changes a sample, and even samples are
/// those of `Iid`. Start from [`antithetic_prior`], or the pairs are mirrored by half.
///
/// ```
/// use vdm_core::LogSnr;
/// use vdm_sample::{NoiseSource, Seed};
/// use vdm_sample::noise::Antithetic;
/// let (from, to) = (LogSnr::new(-1.0), LogSnr::new(1.0));
/// let mut pair = vec![0.0_f32; 6]; // samples 4 and 5
/// Antithetic::new(Seed(1), 4, 3).fill(&mut pair, from, to)?;
/// assert_eq!(pair[3..], [-pair[0], -pair[1], -pair[2]]);
/// # Ok::<(), vdm_sample::noise::NoiseError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Antithetic {
    seed: Seed,
    first_sample: u64,
    dims: usize,
    draws: u64,
}

impl Antithetic {
    /// For latents that hold samples `first_sample, first_sample + 1, …` of `dims` components
    /// each, in row-major order.
    #[must_use]
    pub fn new(seed: Seed, first_sample: u64, dims: usize) -> Self {
        Self { seed, first_sample, dims, draws: 0 }
    }

    /// The next draw, into plain memory; other latent types build their [`NoiseSource`] on this.
    ///
    /// # Panics
    /// If the source was made for samples of 0 components.
    pub fn fill_slice<T: Copy + Neg<Output = T> + From<f32>>(&mut self, out: &mut [T]) {
        let purpose = Purpose::SamplingPath;
        fill_mirrored(out, self.dims, self.seed, purpose, self.draws, self.first_sample);
        self.draws += 1;
    }
}

impl NoiseSource<Vec<f32>> for Antithetic {
    fn fill(&mut self, out: &mut Vec<f32>, _: LogSnr, _: LogSnr) -> Result<(), NoiseError> {
        self.fill_slice(out);
        Ok(())
    }
}

impl NoiseSource<Vec<f64>> for Antithetic {
    fn fill(&mut self, out: &mut Vec<f64>, _: LogSnr, _: LogSnr) -> Result<(), NoiseError> {
        self.fill_slice(out);
        Ok(())
    }
}

/// [`prior`](super::prior) in mirrored pairs: sample `2k + 1` starts at the negative of sample
/// `2k`, which starts where it does without pairs.
///
/// ```
/// use vdm_sample::{Seed, prior};
/// use vdm_sample::noise::antithetic_prior;
/// let [even, odd] = [6, 7].map(|sample| antithetic_prior::<f64>(Seed(1), sample, 1)[0]);
/// assert_eq!((even, odd), (prior(Seed(1), 6, 1)[0], -even));
/// ```
///
/// # Panics
/// If `dims` is 0.
#[must_use]
pub fn antithetic_prior<T>(seed: Seed, sample: u64, dims: usize) -> Vec<T>
where
    T: Default + Copy + Neg<Output = T> + From<f32>,
{
    let mut out = vec![T::default(); dims];
    fill_mirrored(&mut out, dims, seed, Purpose::Prior, 0, sample);
    out
}

/// [`fill_normal`] from the streams of the even samples.
fn fill_mirrored<T: Copy + Neg<Output = T> + From<f32>>(
    out: &mut [T],
    dims: usize,
    seed: Seed,
    purpose: Purpose,
    step: u64,
    first: u64,
) {
    for (sample, components) in (first..).zip(out.chunks_mut(dims)) {
        fill_normal(components, dims, seed, purpose, step, sample & !1);
        if sample % 2 == 1 {
            components.iter_mut().for_each(|c| *c = -*c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Iid, prior};

    const ENDS: (LogSnr, LogSnr) = (LogSnr::new(-1.0), LogSnr::new(1.0));

    #[test]
    fn even_samples_are_those_of_iid_and_odd_ones_their_negatives() {
        let (mut pairs, mut iid) = (vec![0.0_f32; 12], vec![0.0_f32; 12]);
        let mut source = Antithetic::new(Seed(2), 0, 3);
        let mut plain = Iid::new(Seed(2), 0, 3);
        for _ in 0..2 {
            source.fill(&mut pairs, ENDS.0, ENDS.1).unwrap();
            plain.fill(&mut iid, ENDS.0, ENDS.1).unwrap();
            for (pair, iid) in pairs.chunks(6).zip(iid.chunks(6)) {
                assert_eq!(pair[..3], iid[..3]);
                assert!(pair[..3].iter().zip(&pair[3..]).all(|(a, b)| *a == -*b));
            }
        }
    }

    /// The mean over pairs of what is linear in the noise has no variance at all.
    #[test]
    fn priors_of_a_pair_cancel() {
        for k in 0..5 {
            let [even, odd] = [2 * k, 2 * k + 1].map(|i| antithetic_prior::<f64>(Seed(3), i, 4));
            assert_eq!(even, prior::<f64>(Seed(3), 2 * k, 4));
            assert!(even.iter().zip(&odd).all(|(a, b)| a + b == 0.0));
        }
    }
}
