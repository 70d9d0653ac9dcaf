//! The distributions that are coded with: probabilities in units of `2^-40` that sum to exactly one.
//!
//! Each symbol keeps at least one unit, however unlikely, so that anything can be coded. A latent
//! has some 10^5 cells; in units of `2^-24`, the usual choice, these floors would take a percent of
//! the mass away from every latent of every level, and in `2^-40` they take a ten-millionth.

use std::num::NonZeroU64;

use constriction::stream::model::{DecoderModel, EncoderModel, EntropyModel};
use vdm_core::Scalar;

/// Bits of a probability.
pub(crate) const PRECISION: usize = 40;
const TOTAL: u64 = 1 << PRECISION;
/// Two units, since the last digit of a computed distribution function may step down where the
/// function rises: one is left.
const FLOOR: u64 = 2;

/// A Gaussian over the cells `−edge..=edge`, all lengths in cells; the outermost take the tails.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Normal {
    pub(crate) mean: f64,
    pub(crate) std: f64,
    pub(crate) edge: i32,
}

impl Normal {
    /// The mass of all cells below `k`.
    fn below(&self, k: i32) -> u64 {
        if k > self.edge {
            return TOTAL;
        }
        let cells_below = (k + self.edge) as u64;
        if cells_below == 0 {
            return 0;
        }
        let free = TOTAL - FLOOR * (2 * self.edge as u64 + 1);
        let share = ((f64::from(k) - 0.5 - self.mean) / self.std).normal_cdf();
        FLOOR * cells_below + (free as f64 * share) as u64
    }

    /// The cell that holds a quantile: from where the Gaussian itself has it, outwards in doubling
    /// steps until it is enclosed, then by halving.
    fn cell_of(&self, quantile: u64) -> i32 {
        let start = self.mean + self.std * (quantile as f64 / TOTAL as f64).normal_quantile();
        let start = start.round().clamp(f64::from(-self.edge), f64::from(self.edge)) as i32;
        let (mut low, mut high, mut reach) = (start, start + 1, 1);
        while self.below(low) > quantile {
            (high, low) = (low, (low - reach).max(-self.edge));
            reach *= 2;
        }
        while self.below(high) <= quantile {
            (low, high) = (high, (high + reach).min(self.edge + 1));
            reach *= 2;
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.below(middle) > quantile { high = middle } else { low = middle }
        }
        low
    }

    fn mass(&self, k: i32) -> (u64, NonZeroU64) {
        let below = self.below(k);
        (below, at_least_one(self.below(k + 1) - below))
    }
}

/// The floors make every mass positive.
fn at_least_one(mass: u64) -> NonZeroU64 {
    NonZeroU64::new(mass).unwrap_or(NonZeroU64::MIN)
}

impl EntropyModel<PRECISION> for Normal {
    type Symbol = i32;
    type Probability = u64;
}

impl EncoderModel<PRECISION> for Normal {
    fn left_cumulative_and_probability(
        &self,
        symbol: impl std::borrow::Borrow<i32>,
    ) -> Option<(u64, NonZeroU64)> {
        let k = *symbol.borrow();
        (-self.edge..=self.edge).contains(&k).then(|| self.mass(k))
    }
}

impl DecoderModel<PRECISION> for Normal {
    fn quantile_function(&self, quantile: u64) -> (i32, u64, NonZeroU64) {
        let k = self.cell_of(quantile);
        let (below, mass) = self.mass(k);
        (k, below, mass)
    }
}

/// A distribution over the values of a pixel.
#[derive(Debug, Clone, Default)]
pub(crate) struct Categorical {
    /// Mass of all values below each, and the total at the end.
    below: Vec<u64>,
}

impl Categorical {
    /// From probabilities that sum to one but for rounding; reuses memory.
    pub(crate) fn set(&mut self, probabilities: impl Iterator<Item = f64>, values: u16) {
        let free = (TOTAL - FLOOR * u64::from(values)) as f64;
        let mut sum = 0.0_f64;
        self.below.clear();
        for (floors, p) in (0..).zip(probabilities) {
            self.below.push(FLOOR * floors + (free * sum.min(1.0)) as u64);
            sum += p;
        }
        self.below.push(TOTAL);
    }

    fn mass(&self, k: usize) -> (u64, NonZeroU64) {
        (self.below[k], at_least_one(self.below[k + 1] - self.below[k]))
    }
}

impl EntropyModel<PRECISION> for Categorical {
    type Symbol = u8;
    type Probability = u64;
}

impl EncoderModel<PRECISION> for Categorical {
    fn left_cumulative_and_probability(
        &self,
        symbol: impl std::borrow::Borrow<u8>,
    ) -> Option<(u64, NonZeroU64)> {
        let k = usize::from(*symbol.borrow());
        (k + 1 < self.below.len()).then(|| self.mass(k))
    }
}

impl DecoderModel<PRECISION> for Categorical {
    fn quantile_function(&self, quantile: u64) -> (u8, u64, NonZeroU64) {
        let k = self.below.partition_point(|below| *below <= quantile) - 1;
        let (below, mass) = self.mass(k);
        (k as u8, below, mass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever the Gaussian, its cells tile `0..2^40` in order, and the search finds the cell
        /// of every quantile: the first and the last of each cell.
        #[test]
        fn cells_tile_the_unit_interval(
            mean in prop_oneof![-60.0..60.0_f64, Just(1e30), Just(-1e9)],
            std in prop_oneof![1e-3..50.0_f64, Just(1e12)],
            edge in 1..40_i32,
        ) {
            let distribution = Normal { mean, std, edge };
            let mut next = 0;
            for k in -edge..=edge {
                let (below, mass) = distribution.left_cumulative_and_probability(k).unwrap();
                prop_assert_eq!(below, next);
                prop_assert_eq!(distribution.quantile_function(below), (k, below, mass));
                next = below + mass.get();
                prop_assert_eq!(distribution.quantile_function(next - 1).0, k);
            }
            prop_assert_eq!(next, TOTAL);
            prop_assert!(distribution.left_cumulative_and_probability(edge + 1).is_none());
        }

        #[test]
        fn values_tile_the_unit_interval(weights in prop::collection::vec(0.0..1.0_f64, 2..300)) {
            let sum: f64 = weights.iter().sum();
            prop_assume!(sum > 0.0);
            let values = weights.len().min(256) as u16;
            let mut distribution = Categorical::default();
            distribution.set(weights[..usize::from(values)].iter().map(|w| w / sum), values);
            let mut next = 0;
            for k in 0..values {
                let (below, mass) = distribution.left_cumulative_and_probability(k as u8).unwrap();
                prop_assert_eq!(below, next);
                next = below + mass.get();
                prop_assert_eq!(distribution.quantile_function(next - 1), (k as u8, below, mass));
            }
            prop_assert_eq!(next, TOTAL);
        }
    }

    /// The code length of a cell is that of the Gaussian: within the floor's share of 2e-12 per
    /// cell and the rounding to units.
    #[test]
    fn masses_are_those_of_the_gaussian() {
        let distribution = Normal { mean: 0.3, std: 10.0, edge: 1000 };
        for k in -40..=40_i32 {
            let edge = |side: f64| ((f64::from(k) + side - 0.3) / 10.0).normal_cdf();
            let wanted = edge(0.5) - edge(-0.5);
            let got = distribution.mass(k).1.get() as f64 / TOTAL as f64;
            assert!((got - wanted).abs() < 1e-8 * wanted + 4e-12, "{k}: {got} for {wanted}");
        }
    }
}
