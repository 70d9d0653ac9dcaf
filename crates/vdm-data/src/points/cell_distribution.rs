//! The exact distribution of a blurred set of points after rounding down to 256 × 256 cells.

use std::f64::consts::SQRT_2;

const SIDE: usize = 256;

/// Beyond this many standard deviations the normal distribution has 2e-19 of its mass.
const REACH: f64 = 9.0;

/// Probabilities of the 256 × 256 values of a point with two 8-bit coordinates.
#[derive(Debug, Clone)]
pub struct CellDistribution {
    /// Row by row: the second coordinate varies fastest.
    probabilities: Vec<f64>,
}

impl CellDistribution {
    /// The distribution of `⌊center + std·N(0, I)⌋` for a center drawn with the given weights, which sum to 1.
    ///
    /// A cell's share of one Gaussian is the product of two differences of the normal distribution
    /// function. Mass outside the cells is left out: centers lie 8 standard deviations inside.
    pub(crate) fn of_mixture(nodes: impl Iterator<Item = (f64, [f64; 2])>, std: f64) -> Self {
        let mut probabilities = vec![0.0; SIDE * SIDE];
        for (weight, center) in nodes {
            let [(first_row, rows), (first_column, columns)] =
                center.map(|mean| interval_probabilities(mean, std));
            for (row, p_row) in rows.iter().enumerate() {
                let cells = &mut probabilities[(first_row + row) * SIDE + first_column..];
                for (cell, p_column) in cells.iter_mut().zip(&columns) {
                    *cell += weight * p_row * p_column;
                }
            }
        }
        Self { probabilities }
    }

    /// The probability of one point.
    #[must_use]
    pub fn probability(&self, [first, second]: [u8; 2]) -> f64 {
        self.probabilities[usize::from(first) * SIDE + usize::from(second)]
    }

    /// The entropy in bits per dimension, `-½ Σ p log2 p`.
    #[must_use]
    pub fn entropy_bits_per_dim(&self) -> f64 {
        let positive = self.probabilities.iter().filter(|&&p| p > 0.0);
        -positive.map(|p| p * p.log2()).sum::<f64>() / 2.0
    }
}

/// The unit intervals within reach of `mean`: the first one, and each one's probability.
fn interval_probabilities(mean: f64, std: f64) -> (usize, Vec<f64>) {
    // Float to integer saturates, so that both ends stay on the grid.
    let first = ((mean - REACH * std) as usize).min(SIDE);
    let last = ((mean + REACH * std) as usize + 1).min(SIDE);
    let probability =
        |cell: usize| normal_between((cell as f64 - mean) / std, (cell as f64 + 1.0 - mean) / std);
    (first, (first..last).map(probability).collect())
}

/// The standard normal probability of `a..b`, for a < b, accurate in both tails.
fn normal_between(a: f64, b: f64) -> f64 {
    // Reflected into the lower tail, where the distribution function does not round to 1.
    let (a, b) = if a + b > 0.0 { (-b, -a) } else { (a, b) };
    0.5 * (libm::erfc(-b / SQRT_2) - libm::erfc(-a / SQRT_2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_probabilities_match_tables_in_both_tails() {
        for (a, b, expected) in [
            (-1.0, 1.0, 0.682_689_492_137_085_9),
            (0.0, 1.0, 0.341_344_746_068_542_9),
            (6.0, 7.0, 9.853_078_324_938_123e-10),
            (-7.0, -6.0, 9.853_078_324_938_123e-10),
        ] {
            let found = normal_between(a, b);
            assert!((found / expected - 1.0).abs() < 1e-12, "{a} {b}: {found:e}");
        }
    }

    #[test]
    fn a_law_sums_to_one_also_where_a_center_is_near_the_edge() {
        for center in [[8.0, 8.5], [128.0, 247.9]] {
            let distribution = CellDistribution::of_mixture([(1.0, center)].into_iter(), 1.0);
            let total: f64 = distribution.probabilities.iter().sum();
            assert!((total - 1.0).abs() < 1e-14, "{total}");
        }
    }
}
