//! Data whose best denoiser is known, as every figure uses them.

use std::f64::consts::PI;

use vdm_core::quadrature::tabulated;
use vdm_core::{Error, GaussianMixture, LogSnr, Scaling};

/// The scaling of every figure.
pub(crate) const SCALING: Scaling = Scaling::VariancePreserving;

/// Two clusters of different weight and width on a line.
pub(crate) fn two_clusters() -> Result<GaussianMixture, Error> {
    GaussianMixture::new(vec![0.3, 0.7], vec![vec![-1.2], vec![0.6]], vec![0.3, 0.5])
}

/// The five clusters of [`vdm_data::Source::Clusters`] where a model sees them, in `[−1, 1]`: on a circle about
/// the middle, the first at the top.
pub(crate) fn five_clusters() -> Result<GaussianMixture, Error> {
    let center = |k: u32| {
        let angle = PI * (0.5 + 0.4 * f64::from(k));
        vec![0.5 * angle.cos(), 0.5 * angle.sin()]
    };
    GaussianMixture::new(vec![0.2; 5], (0..5).map(center).collect(), vec![0.0625; 5])
}

/// `E‖ε − ε̂‖²` over data and noise of the best denoiser, between two levels. Each value takes a quadrature, so
/// that it is read off a table.
pub(crate) fn noise_error(
    data: &GaussianMixture,
    (min, max): (f64, f64),
) -> impl Fn(LogSnr) -> f64 + use<> {
    let exact = |log_snr: f64| log_snr.exp() * data.mmse(&SCALING.level(log_snr));
    let table = tabulated(min, max, &exact);
    move |at| table(at.value())
}

/// `n + 1` evenly spaced numbers from one to another, both included.
pub(crate) fn evenly(from: f64, to: f64, n: u32) -> impl Iterator<Item = f64> {
    (0..=n).map(move |i| from + (to - from) * f64::from(i) / f64::from(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Away from the table's own points, at the levels of the figures.
    #[test]
    fn the_table_of_errors_is_exact() {
        let data = two_clusters().unwrap();
        let table = noise_error(&data, (-10.0, 13.3));
        for log_snr in [-9.876_f64, -1.234, 2.345, 13.21] {
            let exact = log_snr.exp() * data.mmse(&SCALING.level(log_snr));
            let off = table(LogSnr::new(log_snr)) / exact - 1.0;
            assert!(off.abs() < 1e-9, "off by {off} at {log_snr}");
        }
    }
    use vdm_core::likelihood::Discretized;
    use vdm_data::{Source, load};

    /// Means of 10,000 generated points, about 2,000 a cluster: 5 standard errors of 0.0625/√2000.
    #[test]
    fn the_clusters_are_those_of_the_data_set() {
        let data = load(&Source::Clusters { items: Some(10_000) }).unwrap();
        let code = Discretized::new(data.values).unwrap();
        let labels = data.train.labels().unwrap();
        for (k, (_, mean, _)) in five_clusters().unwrap().components().enumerate() {
            let of_cluster = (0..labels.len()).filter(|i| labels[*i] as usize == k);
            let points: Vec<&[u8]> = of_cluster.map(|i| data.train.item(i)).collect();
            for (d, wanted) in mean.iter().enumerate() {
                let sum: f64 = points.iter().map(|p| code.encode(u16::from(p[d]))).sum();
                let found = sum / points.len() as f64;
                assert!((found - wanted).abs() < 0.007, "cluster {k}: {found}, not {wanted}");
            }
        }
    }
}
