//! The inner product of latents, for what needs lengths: error estimates and step sizes.

use vdm_core::Latent;

/// A latent space with the Euclidean inner product, taken in f64 whatever the components are.
///
/// Only solvers that measure something ask for it; every other needs [`Latent`] alone.
///
/// ```
/// use vdm_sample::InnerProduct;
/// let (a, b) = (vec![3.0_f32, 4.0], vec![1.0, 1.0]);
/// assert_eq!((a.dot(&a), a.dot(&b)), (25.0, 7.0));
/// let root_mean_square = (a.dot(&a) / InnerProduct::len(&a) as f64).sqrt();
/// assert!((root_mean_square - 12.5_f64.sqrt()).abs() < 1e-15);
/// ```
pub trait InnerProduct: Latent {
    /// `Σ aᵢ bᵢ`.
    ///
    /// # Panics
    /// If the two have different shapes.
    fn dot(&self, other: &Self) -> f64;

    /// The number of components.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The samples in it, each a latent of this type: by default it is one. A tensor with a dimension for
    /// samples gives them one by one, so that each has errors and step sizes of its own.
    #[must_use]
    fn into_samples(self) -> Vec<Self> {
        vec![self]
    }

    /// The latent of which these are the [samples](Self::into_samples), at least one.
    ///
    /// # Panics
    /// If there are as many as such a latent never holds.
    #[must_use]
    fn from_samples(mut samples: Vec<Self>) -> Self {
        assert!(samples.len() == 1, "{} samples for a latent that holds one", samples.len());
        samples.remove(0)
    }
}

impl InnerProduct for f64 {
    fn dot(&self, other: &Self) -> f64 {
        self * other
    }

    fn len(&self) -> usize {
        1
    }
}

macro_rules! impl_inner_product_for_vec {
    ($($float:ident),*) => {$(
        impl InnerProduct for Vec<$float> {
            fn dot(&self, other: &Self) -> f64 {
                assert_eq!(self.len(), other.len(), "latents of different lengths");
                self.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            }

            fn len(&self) -> usize {
                self.as_slice().len()
            }
        }
    )*};
}
impl_inner_product_for_vec!(f32, f64);
