//! The pair of graphs, and the one bound.

use std::collections::{BTreeMap, BTreeSet};

use super::{Conditional, Factor, Graph, WeightedNormal};
use crate::{Error, Real};

/// A hierarchical latent variable model: a generative graph `p(x, z)` and an inference graph
/// `q(z | x)`. Latents are the nodes that `q` draws; the other nodes of `p` are observed.
#[derive(Debug, Clone, PartialEq)]
pub struct Hlvm<P, Q> {
    generative: Graph<P>,
    inference: Graph<Q>,
    observed: BTreeSet<usize>,
}

/// The evidence lower bound, term by term, in nats.
#[derive(Debug, Clone, PartialEq)]
pub struct Elbo<C = f64> {
    /// By node: for an observed one `E[log p(x | parents)]`, the reconstruction; for a latent
    /// `E[log p(z | parents) − log q(z | parents)]`, which is minus a Kullback–Leibler divergence
    /// wherever `p` looks only at nodes that `q` knows before it draws `z`.
    pub terms: BTreeMap<usize, C>,
}

impl<C: Real> Elbo<C> {
    /// The bound: the sum of all terms.
    ///
    /// # Panics
    /// If there are no terms, which an average over no draws leaves.
    #[must_use]
    pub fn total(&self) -> C {
        let sum = self.terms.values().cloned().reduce(|sum, term| sum + term);
        sum.expect("an average over at least one draw")
    }
}

/// What the walk through the inference graph already knows of a latent's term.
enum Inferred<C> {
    /// Top-down: the prior was known before the draw, so the divergence is analytic.
    Divergence(C),
    /// Bottom-up: only the entropy is; the prior waits for latents further up.
    Entropy(C),
}

impl<P, Q> Hlvm<P, Q> {
    /// Pairs the two graphs.
    ///
    /// # Errors
    /// [`Error::Graph`] if a node of the generative graph has no factor, if the inference graph
    /// draws a node that the other lacks or looks at one that is not observed, and if no node is
    /// latent or none observed.
    pub fn new(generative: Graph<P>, inference: Graph<Q>) -> Result<Self, Error> {
        let nodes: BTreeSet<usize> = generative.factors().iter().map(|f| f.child).collect();
        let latents: BTreeSet<usize> = inference.factors().iter().map(|f| f.child).collect();
        let observed = &nodes - &latents;
        for (wanted, unfit) in [
            ("a factor for every node of the generative graph", generative.inputs()),
            ("a generative factor for every latent", &latents - &nodes),
            ("observed nodes as inputs of the inference graph", &inference.inputs() - &observed),
        ] {
            if !unfit.is_empty() {
                return Err(Error::Graph { wanted, found: format!("others: {unfit:?}") });
            }
        }
        if latents.is_empty() || observed.is_empty() {
            let found = format!("{} and {}", latents.len(), observed.len());
            return Err(Error::Graph {
                wanted: "at least one latent and one observed node",
                found,
            });
        }
        Ok(Self { generative, inference, observed })
    }

    /// `p(x, z)`.
    #[must_use]
    pub fn generative(&self) -> &Graph<P> {
        &self.generative
    }

    /// `q(z | x)`.
    #[must_use]
    pub fn inference(&self) -> &Graph<Q> {
        &self.inference
    }

    /// The nodes that `q` does not draw.
    #[must_use]
    pub fn observed(&self) -> &BTreeSet<usize> {
        &self.observed
    }

    /// The number of latents, which is the length of a [`WeightedNormal`].
    #[must_use]
    pub fn latents(&self) -> usize {
        self.inference.factors().len()
    }

    /// `E_q[log p(x, z) − log q(z | x)] ≤ log p(x)`, in nats. `x` holds the observed nodes in
    /// increasing order, a draw one standard normal per latent in the order of the inference graph.
    /// Monograph §1.1, §1.2 and §1.4.
    ///
    /// # Panics
    /// If `x` or a draw has another length.
    #[must_use]
    pub fn elbo<C: Real>(&self, x: &[C], draws: impl IntoIterator<Item = WeightedNormal>) -> Elbo<C>
    where
        P: Conditional<C>,
        Q: Conditional<C>,
    {
        let mut terms = BTreeMap::new();
        for WeightedNormal { weight, eps } in draws {
            for (node, term) in self.terms(x, &eps) {
                let share = term.lift(weight) * term;
                let sum = match terms.remove(&node) {
                    Some(sum) => sum + share,
                    None => share,
                };
                terms.insert(node, sum);
            }
        }
        Elbo { terms }
    }

    /// The terms at one draw, with every integral done that has a closed form.
    fn terms<C: Real>(&self, x: &[C], eps: &[f64]) -> Vec<(usize, C)>
    where
        P: Conditional<C>,
        Q: Conditional<C>,
    {
        assert_eq!(x.len(), self.observed.len(), "one value per observed node");
        assert_eq!(eps.len(), self.latents(), "one standard normal per latent");
        let mut values: BTreeMap<usize, C> =
            self.observed.iter().copied().zip(x.iter().cloned()).collect();
        let mut inferred = BTreeMap::new();
        for (factor, eps) in self.inference.factors().iter().zip(eps) {
            let z = factor.child;
            let q = factor.at(&values).expect("inputs are observed, and parents come first");
            let known = match self.generative.factor(z).and_then(|prior| prior.at(&values)) {
                Some(p) => Inferred::Divergence(q.kl(&p)),
                None => Inferred::Entropy(q.entropy()),
            };
            inferred.insert(z, known);
            values.insert(z, q.reparameterize(*eps));
        }
        let term = |factor: &Factor<P>| {
            let log_p = || factor.log_density(&values).expect("every node has a value by now");
            let term = match inferred.remove(&factor.child) {
                Some(Inferred::Divergence(kl)) => -kl,
                Some(Inferred::Entropy(entropy)) => entropy + log_p(),
                None => log_p(),
            };
            (factor.child, term)
        };
        self.generative.factors().iter().map(term).collect()
    }
}
