//! Directed graphs of Gaussian factors.

use std::collections::{BTreeMap, BTreeSet};

use super::{Conditional, Distribution};
use crate::Error;

/// One factor `p(child | parents)`. Nodes are named by numbers of the caller's choice. Those of the laboratory
/// are scalars, of which a vector is several; those of a network hold a tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Factor<F> {
    /// The node this is the distribution of.
    pub child: usize,
    /// The nodes it depends on, in the order in which `given` takes their values.
    pub parents: Vec<usize>,
    /// The conditional.
    pub given: F,
}

impl<F> Factor<F> {
    /// `p(child | parents)`.
    pub fn new(child: usize, parents: impl Into<Vec<usize>>, given: F) -> Self {
        Self { child, parents: parents.into(), given }
    }

    /// The distribution of the child, if all its parents have values.
    #[must_use]
    pub fn at<D: Distribution>(&self, values: &BTreeMap<usize, D::Value>) -> Option<D>
    where
        F: Conditional<D>,
    {
        let parents: Option<Vec<D::Value>> =
            self.parents.iter().map(|n| values.get(n).cloned()).collect();
        parents.map(|parents| self.given.given(&parents))
    }

    /// `log p(child | parents)`, in nats, if all of them have values.
    #[must_use]
    pub fn log_density<D: Distribution>(
        &self,
        values: &BTreeMap<usize, D::Value>,
    ) -> Option<D::Nats>
    where
        F: Conditional<D>,
    {
        Some(self.at(values)?.log_density(values.get(&self.child)?))
    }
}

/// A product of factors in topological order. Nodes that only occur as parents are its inputs: an
/// encoder `q(z | x)` is a graph over `z` with input `x`.
///
/// ```
/// use vdm_core::hlvm::{Factor, Graph, Linear};
/// let (x, z) = (0, 1);
/// let encoder = Graph::new(vec![Factor::new(z, [x], Linear::new(0.0, [0.5], 0.5))])?;
/// assert_eq!(encoder.edges().collect::<Vec<_>>(), [(x, z)]);
/// assert_eq!(encoder.inputs().into_iter().collect::<Vec<_>>(), [x]);
/// # Ok::<(), vdm_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Graph<F> {
    pub(super) factors: Vec<Factor<F>>,
}

impl<F> Graph<F> {
    /// From factors of which each comes after those of its parents.
    ///
    /// # Errors
    /// [`Error::Graph`] if a node has two factors, or one that comes before a parent's.
    pub fn new(factors: Vec<Factor<F>>) -> Result<Self, Error> {
        let mut used = BTreeSet::new();
        for factor in &factors {
            used.extend(&factor.parents);
            if !used.insert(factor.child) {
                return Err(Error::Graph {
                    wanted: "one factor per node, after the factors of its parents",
                    found: format!("node {} in use before this factor of it", factor.child),
                });
            }
        }
        Ok(Self { factors })
    }

    /// The factors, in topological order.
    #[must_use]
    pub fn factors(&self) -> &[Factor<F>] {
        &self.factors
    }

    /// The factor whose child is `node`; none for an input.
    #[must_use]
    pub fn factor(&self, node: usize) -> Option<&Factor<F>> {
        self.factors.iter().find(|factor| factor.child == node)
    }

    /// Every `(parent, child)`.
    pub fn edges(&self) -> impl Iterator<Item = (usize, usize)> {
        self.factors.iter().flat_map(|f| f.parents.iter().map(|parent| (*parent, f.child)))
    }

    /// The nodes this graph is conditioned on: parents without a factor of their own.
    #[must_use]
    pub fn inputs(&self) -> BTreeSet<usize> {
        let parents = self.edges().map(|(parent, _)| parent);
        parents.filter(|parent| self.factor(*parent).is_none()).collect()
    }

    /// `Σ log p(child | parents)` over all factors, in nats; none while a node has no
    /// value, or if there is no factor.
    #[must_use]
    pub fn log_density<D: Distribution>(
        &self,
        values: &BTreeMap<usize, D::Value>,
    ) -> Option<D::Nats>
    where
        F: Conditional<D>,
    {
        let terms: Option<Vec<D::Nats>> =
            self.factors.iter().map(|f| f.log_density(values)).collect();
        terms?.into_iter().reduce(|sum, term| sum + term)
    }
}
