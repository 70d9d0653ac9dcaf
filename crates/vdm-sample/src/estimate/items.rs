//! Data behind latents: their encoding, and the likelihood of an item given its cleanest latent.

use std::f64::consts::TAU;

use thiserror::Error;
use vdm_core::likelihood::Discretized;
use vdm_core::{LogSnr, NoiseLevel};

/// Items as an estimator of likelihood needs them. Implement it for a tensor type's own data.
pub trait ItemSource<Z> {
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
    code: Discretized,
    values: Vec<Vec<u16>>,
}

/// Why values are no items.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ItemsError {
    /// An item of another length than the first, or of none.
    #[error(
        "item {item} has {found} components, the first has {wanted}: all need as many, at least one"
    )]
    Length {
        /// Its number, from 0.
        item: usize,
        /// Its components.
        found: usize,
        /// Those of the first item.
        wanted: usize,
    },
    /// A value that the code does not know.
    #[error(
        "component {component} of item {item} is {value}, but the code has the levels 0 to {}: give the \
         data's own number of levels",
        .levels - 1
    )]
    Value {
        /// Number of the item, from 0.
        item: usize,
        /// Number of the component, from 0.
        component: usize,
        /// Its value.
        value: u16,
        /// Levels of the code.
        levels: u16,
    },
    /// A component that is no finite number.
    #[error("component {component} of item {item} is {value}: data must be finite")]
    NotFinite {
        /// Number of the item, from 0.
        item: usize,
        /// Number of the component, from 0.
        component: usize,
        /// Its value.
        value: f64,
    },
}

fn check_lengths<T>(items: &[Vec<T>]) -> Result<(), ItemsError> {
    let wanted = items.first().map_or(0, Vec::len);
    match items.iter().position(|item| item.is_empty() || item.len() != wanted) {
        Some(item) => Err(ItemsError::Length { item, found: items[item].len(), wanted }),
        None => Ok(()),
    }
}

/// The first component of all items that is not legal: number of the item, of the component, value.
fn first_wrong<T: Copy>(items: &[Vec<T>], legal: impl Fn(T) -> bool) -> Option<(usize, usize, T)> {
    items.iter().enumerate().find_map(|(item, components)| {
        let component = components.iter().position(|value| !legal(*value))?;
        Some((item, component, components[component]))
    })
}

impl DiscreteItems {
    /// Items of equally many values, each below the code's number of levels.
    ///
    /// ```
    /// use vdm_core::likelihood::Discretized;
    /// use vdm_sample::estimate::DiscreteItems;
    /// let error = DiscreteItems::new(Discretized::new(17)?, vec![vec![3, 16], vec![0, 17]]).unwrap_err();
    /// assert!(error.to_string().starts_with("component 1 of item 1 is 17"));
    /// # Ok::<(), vdm_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ItemsError`] that names the first item that is none.
    pub fn new(code: Discretized, values: Vec<Vec<u16>>) -> Result<Self, ItemsError> {
        check_lengths(&values)?;
        let levels = code.levels();
        match first_wrong(&values, |value| value < levels) {
            Some((item, component, value)) => {
                Err(ItemsError::Value { item, component, value, levels })
            }
            None => Ok(Self { code, values }),
        }
    }

    /// The code between values and latents.
    #[must_use]
    pub fn code(&self) -> &Discretized {
        &self.code
    }

    /// The values, item by item.
    #[must_use]
    pub fn values(&self) -> &[Vec<u16>] {
        &self.values
    }
}

/// Items of real components, in host memory, with the likelihood `p(x|z_0) = N(z_0/α_0, σ_0²/α_0² I)`:
/// the model's density of data is its density of clean latents over `α_0`, blurred by the noise of
/// `z_0` once.
#[derive(Debug, Clone, PartialEq)]
pub struct ContinuousItems(Vec<Vec<f64>>);

impl ContinuousItems {
    /// Items of equally many finite components.
    ///
    /// # Errors
    /// [`ItemsError`] that names the first item that is none.
    pub fn new(components: Vec<Vec<f64>>) -> Result<Self, ItemsError> {
        check_lengths(&components)?;
        match first_wrong(&components, f64::is_finite) {
            Some((item, component, value)) => Err(ItemsError::NotFinite { item, component, value }),
            None => Ok(Self(components)),
        }
    }
}

macro_rules! impl_items_for_vec {
    ($($float:ident),*) => {$(
        impl ItemSource<Vec<$float>> for DiscreteItems {
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

        impl ItemSource<Vec<$float>> for ContinuousItems {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_item_is_named() {
        let code = Discretized::new(4).unwrap();
        let discrete = |values| DiscreteItems::new(code, values).unwrap_err().to_string();
        assert!(discrete(vec![vec![1, 2], vec![3]]).starts_with("item 1 has 1 components"));
        assert!(discrete(vec![vec![]]).starts_with("item 0 has 0 components"));
        assert!(
            discrete(vec![vec![1], vec![4]]).contains("is 4, but the code has the levels 0 to 3")
        );
        let error = ContinuousItems::new(vec![vec![0.0, f64::NAN]]).unwrap_err();
        assert!(error.to_string().starts_with("component 1 of item 0 is NaN"), "{error}");
        assert!(ContinuousItems::new(vec![]).is_ok());
    }
}
