//! Data behind latents: their encoding, and the likelihood of an item given its cleanest latent.

use std::f64::consts::TAU;

use vdm_core::likelihood::Discretized;
use vdm_core::{LogSnr, NoiseLevel};

/// Items as an estimator of likelihood needs them. Implement it for a tensor type's own data.
pub trait Items<Z> {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Components of one item.
    fn dims(&self) -> usize;

    /// The latent `x` that an item is noised from.
    fn encode(&self, item: usize) -> Z;

    /// A latent of an item's shape with these components.
    fn latent(&self, components: &[f64]) -> Z;

    /// `log p(x|z_0)` in nats of some items and their latents at the cleanest level.
    fn log_likelihoods(&self, asked: &[(usize, &Z)], at: &NoiseLevel) -> Vec<f64>;

    /// The width of a cell of the encoded data (2/256 for 8 bits over `[−1, 1]`), where they are
    /// discrete.
    fn cell_width(&self) -> Option<f64>;
}

/// Items of integer components, in host memory; their likelihood is [`Discretized::log_prob`].
#[derive(Debug, Clone, PartialEq)]
pub struct DiscreteItems {
    /// The code between values and latents.
    pub code: Discretized,
    /// Items of equally many values below the code's levels.
    pub values: Vec<Vec<u16>>,
}

/// Items of real components, in host memory, with the likelihood `p(x|z_0) = N(z_0/α_0, σ_0²/α_0² I)`:
/// the model's density of data is its density of clean latents over `α_0`, blurred by the noise of
/// `z_0` once.
#[derive(Debug, Clone, PartialEq)]
pub struct ContinuousItems(
    /// Items of equally many components.
    pub Vec<Vec<f64>>,
);

macro_rules! impl_items_for_vec {
    ($($float:ident),*) => {$(
        impl Items<Vec<$float>> for DiscreteItems {
            fn len(&self) -> usize {
                self.values.len()
            }
            fn dims(&self) -> usize {
                self.values.first().map_or(0, Vec::len)
            }
            fn encode(&self, item: usize) -> Vec<$float> {
                self.values[item].iter().map(|k| self.code.encode(*k) as $float).collect()
            }
            fn latent(&self, components: &[f64]) -> Vec<$float> {
                components.iter().map(|c| *c as $float).collect()
            }
            fn log_likelihoods(&self, asked: &[(usize, &Vec<$float>)], at: &NoiseLevel) -> Vec<f64> {
                let log_snr = LogSnr::new(at.log_snr);
                let component =
                    |(k, z): (&u16, &$float)| self.code.log_prob(*k, f64::from(*z) / at.alpha, log_snr);
                let item = |(item, z): &(usize, &Vec<$float>)| {
                    self.values[*item].iter().zip(*z).map(component).sum()
                };
                asked.iter().map(item).collect()
            }
            fn cell_width(&self) -> Option<f64> {
                Some(2.0 / f64::from(self.code.levels()))
            }
        }

        impl Items<Vec<$float>> for ContinuousItems {
            fn len(&self) -> usize {
                self.0.len()
            }
            fn dims(&self) -> usize {
                self.0.first().map_or(0, Vec::len)
            }
            fn encode(&self, item: usize) -> Vec<$float> {
                self.0[item].iter().map(|x| *x as $float).collect()
            }
            fn latent(&self, components: &[f64]) -> Vec<$float> {
                components.iter().map(|c| *c as $float).collect()
            }
            fn log_likelihoods(&self, asked: &[(usize, &Vec<$float>)], at: &NoiseLevel) -> Vec<f64> {
                let std = at.sigma / at.alpha;
                let component = |(x, z): (&f64, &$float)| {
                    let off = (x - f64::from(*z) / at.alpha) / std;
                    -0.5 * (off * off + (TAU * std * std).ln())
                };
                let item = |(item, z): &(usize, &Vec<$float>)| {
                    self.0[*item].iter().zip(*z).map(component).sum()
                };
                asked.iter().map(item).collect()
            }
            fn cell_width(&self) -> Option<f64> {
                None
            }
        }
    )*};
}
impl_items_for_vec!(f32, f64);
