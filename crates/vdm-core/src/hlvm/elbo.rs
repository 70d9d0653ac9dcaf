//! The pair of graphs, and the one bound.

use std::collections::{BTreeMap, BTreeSet};

use super::{Conditional, Distribution, Factor, Graph, Normal, WeightedNormal};
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
enum Inferred<N> {
    /// Top-down: the prior was known before the draw, so the divergence is analytic.
    Divergence(N),
    /// Bottom-up: the prior waits for latents further up, and what `q` contributes is all that is known.
    Rest(N),
}

/// Which integrals of a bound are done at each draw of the latents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integrals {
    /// All that have a closed form: of the bound, whose estimate varies less for it.
    Analytic,
    /// None: a latent's term is `log p − log q` at its own value. Their sum over all nodes is the logarithm of an
    /// importance weight, whose mean over draws bounds `log p(x)` more tightly (IWAE, Burda et al. 2016).
    None,
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
        P: Conditional<Normal<C>>,
        Q: Conditional<Normal<C>>,
    {
        let mut terms = BTreeMap::new();
        for WeightedNormal { weight, eps } in draws {
            for (node, term) in self.terms(x, &eps, Integrals::Analytic) {
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

    /// The terms of [`elbo`](Self::elbo) at one draw, by node in the order of the generative graph; `noise` is in
    /// the order of the inference graph.
    ///
    /// # Panics
    /// If `x` or `noise` has another length.
    pub fn terms<D: Distribution>(
        &self,
        x: &[D::Value],
        noise: &[D::Noise],
        integrals: Integrals,
    ) -> Vec<(usize, D::Nats)>
    where
        P: Conditional<D>,
        Q: Conditional<D>,
    {
        let mut inferred = BTreeMap::new();
        let values = self.infer(x, noise, |node, q: &D, z, values| {
            let prior = || self.generative.factor(node).and_then(|prior| prior.at(values));
            let known = match integrals {
                Integrals::None => Inferred::Rest(-q.log_density(z)),
                Integrals::Analytic => match prior() {
                    Some(p) => Inferred::Divergence(q.kl(&p)),
                    None => Inferred::Rest(q.entropy()),
                },
            };
            inferred.insert(node, known);
        });
        let term = |factor: &Factor<P>| {
            let log_p = || factor.log_density(&values).expect("every node has a value by now");
            let term = match inferred.remove(&factor.child) {
                Some(Inferred::Divergence(kl)) => -kl,
                Some(Inferred::Rest(rest)) => rest + log_p(),
                None => log_p(),
            };
            (factor.child, term)
        };
        self.generative.factors().iter().map(term).collect()
    }

    /// Draws the latents of `x` and returns the values of all nodes. `visit` sees each latent in the order of the
    /// inference graph: its posterior, its value, and the values of all nodes before it.
    ///
    /// # Panics
    /// If `x` or `noise` has another length.
    pub fn infer<D: Distribution>(
        &self,
        x: &[D::Value],
        noise: &[D::Noise],
        mut visit: impl FnMut(usize, &D, &D::Value, &BTreeMap<usize, D::Value>),
    ) -> BTreeMap<usize, D::Value>
    where
        Q: Conditional<D>,
    {
        assert_eq!(x.len(), self.observed.len(), "one value per observed node");
        assert_eq!(noise.len(), self.latents(), "standard normals for each latent");
        let mut values: BTreeMap<usize, D::Value> =
            self.observed.iter().copied().zip(x.iter().cloned()).collect();
        for (factor, noise) in self.inference.factors().iter().zip(noise) {
            let q: D = factor.at(&values).expect("inputs are observed, and parents come first");
            let z = q.reparameterize(noise);
            visit(factor.child, &q, &z, &values);
            values.insert(factor.child, z);
        }
        values
    }

    /// Draws all latents from the prior, by `noise` in the order of the generative graph, and returns the
    /// distributions of the observed nodes given them: ancestral sampling but for its last draw.
    ///
    /// # Panics
    /// If `noise` has another length than there are latents, or an observed node is a parent of a latent.
    pub fn generate<D: Distribution>(&self, noise: &[D::Noise]) -> Vec<(usize, D)>
    where
        P: Conditional<D>,
    {
        assert_eq!(noise.len(), self.latents(), "standard normals for each latent");
        let (mut values, mut noise) = (BTreeMap::new(), noise.iter());
        let latents = self.generative.factors().iter();
        for factor in latents.filter(|factor| !self.observed.contains(&factor.child)) {
            let p: D = factor.at(&values).expect("the parents of a latent are latents before it");
            let noise = noise.next().expect("as many as latents");
            values.insert(factor.child, p.reparameterize(noise));
        }
        self.observe(&values)
    }

    /// The distributions of the observed nodes given values of the latents.
    ///
    /// # Panics
    /// If a latent that one depends on has no value.
    #[must_use]
    pub fn observe<D: Distribution>(&self, latents: &BTreeMap<usize, D::Value>) -> Vec<(usize, D)>
    where
        P: Conditional<D>,
    {
        let observed = self.generative.factors().iter();
        let observed = observed.filter(|factor| self.observed.contains(&factor.child));
        let given = |factor: &Factor<P>| factor.at(latents).expect("all latents have values");
        observed.map(|factor| (factor.child, given(factor))).collect()
    }
}
