//! What a node does with the values of its parents.

use std::fmt;

use super::{Distribution, Normal};
use crate::Real;

/// `p(child | parents)`: the distribution of a node once its parents have values.
///
/// [`Linear`] is the linear-Gaussian case, for which everything is exact. Any closure from parents
/// to a distribution is a conditional too: a decoder, an encoder, a denoiser. Scalar nodes have a [`Normal`] of
/// `f64`, or of [`Dual`](crate::Dual) where the bound is to be differentiated.
///
/// ```
/// use vdm_core::hlvm::{Conditional, Linear, Normal};
/// let linear = Linear::new(1.0, [2.0, -1.0], 0.5);
/// let closure = |z: &[f64]| Normal::new(1.0 + 2.0 * z[0] - z[1], 0.5);
/// assert_eq!(linear.given(&[0.3, 0.1]), closure.given(&[0.3, 0.1]));
/// ```
pub trait Conditional<D: Distribution = Normal> {
    /// The distribution at these values of the parents, which come in the order of the factor.
    fn given(&self, parents: &[D::Value]) -> D;
}

impl<D: Distribution, F: Fn(&[D::Value]) -> D> Conditional<D> for F {
    fn given(&self, parents: &[D::Value]) -> D {
        self(parents)
    }
}

/// `N(bias + weights·parents, var)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear<C = f64> {
    /// Mean where all parents are 0.
    pub bias: C,
    /// One weight per parent; none at a root.
    pub weights: Vec<C>,
    /// Variance around the mean, positive.
    pub var: C,
}

impl<C> Linear<C> {
    /// `N(bias + weights·parents, var)`.
    pub fn new(bias: C, weights: impl Into<Vec<C>>, var: C) -> Self {
        Self { bias, weights: weights.into(), var }
    }
}

impl<C: Real> Conditional<Normal<C>> for Linear<C> {
    /// # Panics
    /// If there are not as many parents as weights.
    fn given(&self, parents: &[C]) -> Normal<C> {
        assert_eq!(parents.len(), self.weights.len(), "as many parents as weights");
        let terms = self.weights.iter().zip(parents).map(|(w, z)| w.clone() * z.clone());
        Normal::new(terms.fold(self.bias.clone(), |sum, term| sum + term), self.var.clone())
    }
}

/// Conditionals of different types in one graph.
impl<D: Distribution> Conditional<D> for Box<dyn Conditional<D> + '_> {
    fn given(&self, parents: &[D::Value]) -> D {
        (**self).given(parents)
    }
}

impl<D: Distribution> fmt::Debug for dyn Conditional<D> + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Conditional(..)")
    }
}
