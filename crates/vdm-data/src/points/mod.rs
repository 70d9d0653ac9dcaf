//! Generated points of the plane in 8 bits: small enough to train on in minutes, with an entropy
//! known exactly, which no honest bound can go below.
//!
//! - **swirl**: the set of the notebook that accompanies *Variational Diffusion Models* (Kingma et
//!   al. 2021). θ = 3π√U, r = 2θ + π, and each coordinate is `⌊4(r·(cos θ, sin θ) + ¼·N(0, I) + 30)⌋`.
//! - **clusters**: five Gaussians of standard deviation 8 on a circle of radius 64 about (128, 128),
//!   the first at the top (90°) and the others every 72° from there; the cluster is the label.
//!
//! Train, validation and test are drawn from distinct `ChaCha8` streams.

mod cell_distribution;

use std::f64::consts::PI;
use std::path::Path;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand_distr::StandardNormal;

pub use cell_distribution::CellDistribution;

use crate::random::generator;
use crate::{DataError, Dataset, Items, Shape};

/// Training points unless another number is asked for.
const TRAIN: usize = 100_000;
const MAX_TRAIN: usize = 100_000_000;
const VALIDATION: usize = 5_000;
const TEST: usize = 10_000;

/// Standard deviation of the swirl's noise, in pixels: ¼ of a unit, 4 pixels to the unit.
const SWIRL_STD: f64 = 1.0;
/// Nodes of the integral over θ. The longest step is 0.05 standard deviations, where the midpoint
/// rule has long converged.
const SWIRL_NODES: usize = 1 << 14;

const CLUSTERS: u32 = 5;
const CLUSTERS_STD: f64 = 8.0;

/// One point in pixels before rounding down, and its label.
struct Draw {
    point: [f64; 2],
    label: Option<u32>,
}

/// The swirl with `items` training points.
pub(crate) fn swirl(items: Option<usize>) -> Result<Dataset, DataError> {
    generate("swirl", b"vdm-data/swirl-1", items, |rng| {
        let center = swirl_center(3.0 * PI * rng.random::<f64>().sqrt());
        Draw { point: blur(rng, center, SWIRL_STD), label: None }
    })
}

/// The five clusters with `items` training points.
pub(crate) fn clusters(items: Option<usize>) -> Result<Dataset, DataError> {
    generate("clusters", b"vdm-data/cluster", items, |rng| {
        let cluster = rng.random_range(0..CLUSTERS);
        let point = blur(rng, cluster_center(cluster), CLUSTERS_STD);
        Draw { point, label: Some(cluster) }
    })
}

/// The exact distribution of the swirl's points, by quadrature over θ.
#[must_use]
pub fn swirl_distribution() -> CellDistribution {
    let step = 3.0 * PI / SWIRL_NODES as f64;
    let nodes = (0..SWIRL_NODES).map(|node| {
        let theta = (node as f64 + 0.5) * step;
        // θ = 3π√U has density 2θ/(3π)².
        (2.0 * theta / (3.0 * PI).powi(2) * step, swirl_center(theta))
    });
    CellDistribution::of_mixture(nodes, SWIRL_STD)
}

/// The exact distribution of the clusters' points.
#[must_use]
pub fn clusters_distribution() -> CellDistribution {
    let weight = 1.0 / f64::from(CLUSTERS);
    CellDistribution::of_mixture((0..CLUSTERS).map(|k| (weight, cluster_center(k))), CLUSTERS_STD)
}

/// The entropy of the swirl in bits per dimension: 5.4916, the least possible test likelihood.
#[must_use]
pub fn swirl_entropy_bits_per_dim() -> f64 {
    swirl_distribution().entropy_bits_per_dim()
}

/// The entropy of the clusters in bits per dimension.
#[must_use]
pub fn clusters_entropy_bits_per_dim() -> f64 {
    clusters_distribution().entropy_bits_per_dim()
}

fn swirl_center(theta: f64) -> [f64; 2] {
    let radius = 2.0 * theta + PI;
    [4.0 * (radius * theta.cos() + 30.0), 4.0 * (radius * theta.sin() + 30.0)]
}

fn cluster_center(cluster: u32) -> [f64; 2] {
    let angle = PI * (0.5 + 2.0 * f64::from(cluster) / f64::from(CLUSTERS));
    [128.0 + 64.0 * angle.cos(), 128.0 + 64.0 * angle.sin()]
}

fn blur(rng: &mut ChaCha8Rng, center: [f64; 2], std: f64) -> [f64; 2] {
    center.map(|mean| mean + std * rng.sample::<f64, _>(StandardNormal))
}

fn generate(
    name: &str,
    purpose: &[u8; 16],
    items: Option<usize>,
    draw: fn(&mut ChaCha8Rng) -> Draw,
) -> Result<Dataset, DataError> {
    let train = items.unwrap_or(TRAIN);
    if !(1..=MAX_TRAIN).contains(&train) {
        let expected = "1 to 100,000,000 points";
        return Err(DataError::Option { name: "items", value: train.to_string(), expected });
    }
    let origin = Path::new(name);
    let split = |stream, count| {
        let mut rng = generator(purpose, 0, stream);
        let mut pixels = Vec::with_capacity(2 * count);
        let mut labels = Vec::new();
        for _ in 0..count {
            let Draw { point, label } = draw(&mut rng);
            // Float to u8 rounds toward 0 and saturates: a floor, on the 256 cells.
            pixels.extend(point.map(|coordinate| coordinate as u8));
            labels.extend(label);
        }
        let labels = Some(labels).filter(|labels| !labels.is_empty());
        Items::new(origin, 2, pixels, labels)
    };
    let splits = [split(0, train)?, split(1, VALIDATION)?, split(2, TEST)?];
    let shape = Shape { channels: 1, height: 1, width: 2 };
    Dataset::new(origin, name.into(), shape, 256, splits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean of -log2 p over the test points and its standard error, in bits per dimension.
    fn cross_entropy(items: &Items, distribution: &CellDistribution) -> (f64, f64) {
        let n = items.len() as f64;
        let bits: Vec<f64> = (0..items.len())
            .map(|i| -distribution.probability([items.item(i)[0], items.item(i)[1]]).log2() / 2.0)
            .collect();
        let mean = bits.iter().sum::<f64>() / n;
        let variance = bits.iter().map(|b| (b - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (mean, (variance / n).sqrt())
    }

    #[test]
    fn the_swirl_has_its_published_entropy() {
        let entropy = swirl_entropy_bits_per_dim();
        assert!((entropy - 5.4916).abs() < 5e-5, "{entropy}");
    }

    /// Clusters 9.4 standard deviations apart hardly overlap, and cells an eighth of a standard
    /// deviation wide hardly coarsen: log2 5 + 2·log2(8·sqrt(2πe)), and cells blur by 1/12 of
    /// their squared width.
    #[test]
    fn the_clusters_have_the_entropy_of_five_gaussians() {
        let gaussian = 0.5 * (2.0 * PI * std::f64::consts::E * 64.0f64).log2();
        let expected = gaussian + 5f64.log2() / 2.0;
        let entropy = clusters_entropy_bits_per_dim();
        assert!((entropy - expected).abs() < 2e-3, "{entropy} {expected}");
    }

    /// Four standard errors: one seed in 16,000 fails by chance.
    #[test]
    fn generated_points_follow_the_exact_law() {
        for (set, distribution) in
            [(swirl(None), swirl_distribution()), (clusters(None), clusters_distribution())]
        {
            let train = set.unwrap().train;
            let (mean, error) = cross_entropy(&train, &distribution);
            let entropy = distribution.entropy_bits_per_dim();
            assert!((mean - entropy).abs() < 4.0 * error, "{mean} +- {error}, exact {entropy}");
        }
    }

    #[test]
    fn splits_are_distinct_and_a_shorter_set_is_a_prefix() {
        let (long, short) = (swirl(None).unwrap(), swirl(Some(10)).unwrap());
        assert_eq!(
            [&long.train, &long.validation, &long.test].map(Items::len),
            [100_000, 5_000, 10_000]
        );
        assert_eq!(&long.train.pixels()[..20], short.train.pixels());
        assert_ne!(long.train.pixels()[..20], long.validation.pixels()[..20]);
        assert_ne!(long.test.pixels()[..20], long.validation.pixels()[..20]);
    }

    #[test]
    fn clusters_are_labeled_by_the_nearest_center() {
        let items = clusters(Some(1_000)).unwrap().train;
        let distance = |item: &[u8], k| {
            let [x, y] = cluster_center(k);
            (f64::from(item[0]) - x).hypot(f64::from(item[1]) - y)
        };
        for (i, &label) in items.labels().unwrap().iter().enumerate() {
            let nearest = (0..CLUSTERS)
                .min_by(|&a, &b| distance(items.item(i), a).total_cmp(&distance(items.item(i), b)));
            assert_eq!(nearest, Some(label));
        }
    }

    #[test]
    fn a_number_of_items_outside_the_domain_is_named() {
        for items in [0, MAX_TRAIN + 1] {
            let error = swirl(Some(items)).unwrap_err();
            assert!(matches!(error, DataError::Option { name: "items", .. }), "{error}");
        }
    }
}
