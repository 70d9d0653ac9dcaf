//! A mixture in the plane, its items, and what estimates are held against.

use std::f64::consts::TAU;

use vdm_core::likelihood::Discretized;
use vdm_core::{GaussianMixture, LogSnr, NoiseLevel, Scaling, Schedule};
use vdm_sample::estimate::{ContinuousItems, DenoiserTerms, DiscreteItems, ItemSource, Summary};
use vdm_sample::noise::Purpose;
use vdm_sample::{Seed, prior};

pub(crate) const VP: Scaling = Scaling::VariancePreserving;

/// The noise of `z_0` is a third of a cell of 8 bits, and `z_1` tells 1e-7 of the data.
pub(crate) fn schedule() -> Schedule {
    Schedule::linear(12.0, -16.0).unwrap()
}

pub(crate) fn level(log_snr: LogSnr) -> NoiseLevel {
    VP.level(log_snr.value())
}

pub(crate) fn mixture() -> GaussianMixture {
    let means = vec![vec![-0.4, 0.1], vec![0.3, 0.35], vec![0.1, -0.5]];
    GaussianMixture::new(vec![0.5, 0.3, 0.2], means, vec![0.12, 0.2, 0.08]).unwrap()
}

pub(crate) fn line() -> GaussianMixture {
    GaussianMixture::new(vec![0.4, 0.6], vec![vec![-0.8], vec![0.5]], vec![0.4, 0.6]).unwrap()
}

pub(crate) fn gaussian() -> GaussianMixture {
    GaussianMixture::new(vec![1.0], vec![vec![0.2, -0.1]], vec![0.3]).unwrap()
}

/// Draws from the model's data.
pub(crate) fn data(model: &GaussianMixture, seed: Seed, count: usize) -> Vec<Vec<f64>> {
    let draw = |sample| {
        let mut left = seed.uniform(Purpose::Initialization, 0, sample);
        let component = model.components().find(|(weight, ..)| {
            left -= weight;
            left < 0.0
        });
        let (_, mean, std) = component.unwrap_or_else(|| model.components().next().unwrap());
        let unit: Vec<f64> = prior(seed, sample, mean.len());
        unit.iter().zip(mean).map(|(z, m)| m + std * z).collect()
    };
    (0..count as u64).map(draw).collect()
}

/// The same at 8 bits.
pub(crate) fn eight_bit(model: &GaussianMixture, count: usize) -> DiscreteItems {
    let code = Discretized::new(256).unwrap();
    let values = data(model, Seed(11), count)
        .iter()
        .map(|x| x.iter().map(|x| code.decode(*x)).collect())
        .collect();
    DiscreteItems::new(code, values).unwrap()
}

/// Items whose reconstruction term is known.
pub(crate) trait Known: ItemSource<Vec<f64>> {
    /// `E[−log p(x|z_0)]` of an item in nats.
    fn reconstruction(&self, item: usize, clean: LogSnr) -> f64;
}

impl Known for DiscreteItems {
    fn reconstruction(&self, item: usize, clean: LogSnr) -> f64 {
        self.values()[item].iter().map(|k| self.code().reconstruction(*k, clean)).sum()
    }
}

/// The entropy of the noise of `z_0/α_0`.
impl Known for ContinuousItems {
    fn reconstruction(&self, _item: usize, clean: LogSnr) -> f64 {
        let dims = ItemSource::<Vec<f64>>::dims(self) as f64;
        0.5 * dims * (1.0 + (TAU / clean.snr()).ln())
    }
}

pub(crate) fn process<'a>(
    model: &'a GaussianMixture,
    items: &'a dyn Known,
    seed: Seed,
) -> DenoiserTerms<'a, Vec<f64>, GaussianMixture> {
    DenoiserTerms { model, items, scaling: VP, seed }
}

pub(crate) fn average(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

pub(crate) fn of_draws(found: Summary) -> (f64, f64) {
    (found.mean, found.draw_error.expect("several rounds"))
}
