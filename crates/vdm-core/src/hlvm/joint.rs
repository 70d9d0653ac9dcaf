//! Everything exact about a linear-Gaussian graph.

use super::{Conditional, Factor, Graph, Linear};
use crate::Error;

/// The joint Gaussian of all nodes of a linear graph, from which any marginal, conditional and
/// factorization follows by regression.
///
/// ```
/// use vdm_core::hlvm::{Factor, Graph, Linear};
/// let (x, z) = (0, 1);
/// let model = Graph::new(vec![
///     Factor::new(z, [], Linear::new(0.0, [], 1.0)),
///     Factor::new(x, [z], Linear::new(0.0, [2.0], 1.0)),
/// ])?;
/// // x ~ N(0, 5), and given x the posterior mean of z is 2x/5.
/// let joint = model.joint()?;
/// assert!((joint.conditional(x, &[]).var - 5.0).abs() < 1e-15);
/// assert!((joint.conditional(z, &[x]).weights[0] - 0.4).abs() < 1e-15);
/// # Ok::<(), vdm_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Joint {
    nodes: Vec<usize>,
    mean: Vec<f64>,
    covariance: Vec<Vec<f64>>,
}

impl Graph<Linear> {
    /// Mean and covariance of all nodes, each from those of its parents: ancestral sampling done on
    /// moments.
    ///
    /// # Errors
    /// [`Error::Graph`] if the graph has inputs, or a factor without a positive finite variance or
    /// with another number of weights than of parents.
    pub fn joint(&self) -> Result<Joint, Error> {
        let mut joint = Joint { nodes: vec![], mean: vec![], covariance: vec![] };
        let inputs = self.inputs();
        if !inputs.is_empty() {
            let found = format!("inputs {inputs:?}");
            return Err(Error::Graph { wanted: "a factor for every node of a joint", found });
        }
        for Factor { child, parents, given } in self.factors() {
            if given.weights.len() != parents.len() || !(given.var > 0.0 && given.var.is_finite()) {
                let found = format!("{given:?} for node {child} with parents {parents:?}");
                let wanted = "a positive finite variance and one weight per parent";
                return Err(Error::Graph { wanted, found });
            }
            joint.extend(*child, parents, given);
        }
        Ok(joint)
    }
}

impl Joint {
    fn extend(&mut self, child: usize, parents: &[usize], given: &Linear) {
        let parents: Vec<usize> = parents.iter().map(|p| self.position(*p)).collect();
        let from_parents = |of: &[f64]| -> f64 {
            parents.iter().zip(&given.weights).map(|(p, w)| w * of[*p]).sum()
        };
        let mean = given.bias + from_parents(&self.mean);
        let mut row: Vec<f64> = self.covariance.iter().map(|row| from_parents(row)).collect();
        for (column, covariance) in self.covariance.iter_mut().zip(&row) {
            column.push(*covariance);
        }
        row.push(given.var + from_parents(&row));
        self.nodes.push(child);
        self.mean.push(mean);
        self.covariance.push(row);
    }

    fn position(&self, node: usize) -> usize {
        let position = self.nodes.iter().position(|n| *n == node);
        position.unwrap_or_else(|| panic!("node {node} is not among {:?}", self.nodes))
    }

    /// Covariance of two nodes; of a node with itself, its variance.
    ///
    /// # Panics
    /// If a node is not of this joint.
    #[must_use]
    pub fn covariance(&self, a: usize, b: usize) -> f64 {
        self.covariance[self.position(a)][self.position(b)]
    }

    /// The exact distribution of `child` given `parents`, and only these: the others are integrated out.
    /// Without parents, the marginal.
    ///
    /// # Panics
    /// If a node is not of this joint, or if `parents` names one twice or the child.
    #[must_use]
    pub fn conditional(&self, child: usize, parents: &[usize]) -> Linear {
        let parents: Vec<usize> = parents.iter().map(|p| self.position(*p)).collect();
        let child = self.position(child);
        let mut swept = self.covariance.clone();
        for (i, parent) in parents.iter().enumerate() {
            assert!(*parent != child && !parents[..i].contains(parent), "parents are distinct");
            sweep(&mut swept, *parent);
        }
        let weights: Vec<f64> = parents.iter().map(|p| swept[child][*p]).collect();
        let explained: f64 = parents.iter().zip(&weights).map(|(p, w)| w * self.mean[*p]).sum();
        Linear { bias: self.mean[child] - explained, weights, var: swept[child][child] }
    }

    /// `log p` of the values of some nodes, in nats, the others integrated out: the evidence
    /// `log p(x)` where these are the observed ones. By the chain rule, one regression per node.
    ///
    /// # Panics
    /// If a node is not of this joint or named twice.
    #[must_use]
    pub fn log_density(&self, evidence: &[(usize, f64)]) -> f64 {
        let (nodes, values): (Vec<usize>, Vec<f64>) = evidence.iter().copied().unzip();
        (0..nodes.len())
            .map(|i| {
                let distribution = self.conditional(nodes[i], &nodes[..i]).given(&values[..i]);
                distribution.log_density(&values[i])
            })
            .sum()
    }

    /// The exact conditionals on given edges: of all graphs with these edges the one of least
    /// `KL(joint‖graph)`, and the exact distribution if no edge that it needs is missing. Edges are all that
    /// is read of `shape`, so it may be a `Graph<()>`.
    ///
    /// # Panics
    /// If a node of `shape` is not of this joint, or a factor of it names a parent twice.
    #[must_use]
    pub fn project<F>(&self, shape: &Graph<F>) -> Graph<Linear> {
        let exact = |Factor { child, parents, .. }: &Factor<F>| {
            Factor::new(*child, parents.clone(), self.conditional(*child, parents))
        };
        Graph { factors: shape.factors.iter().map(exact).collect() }
    }

    /// The exact posterior of `latents` given `observed`, drawn in the order of `latents`: each is
    /// given the observed nodes and all latents before it. From the nearest latent to the farthest
    /// it is the bottom-up posterior, the other way round the top-down one. Monograph §1.2 to §1.4.
    ///
    /// # Panics
    /// If a node is not of this joint or named twice.
    #[must_use]
    pub fn posterior(&self, latents: &[usize], observed: &[usize]) -> Graph<Linear> {
        let exact = |(i, latent): (usize, &usize)| {
            let parents = [observed, &latents[..i]].concat();
            Factor::new(*latent, parents.clone(), self.conditional(*latent, &parents))
        };
        Graph { factors: latents.iter().enumerate().map(exact).collect() }
    }
}

/// The sweep operator: one rank-one update after which the rows of all nodes hold what remains once
/// they are regressed on `k`, and column `k` their weights on it.
fn sweep(matrix: &mut [Vec<f64>], k: usize) {
    let pivot = matrix[k].clone();
    for (i, row) in matrix.iter_mut().enumerate() {
        let weight = row[k] / pivot[k];
        if i == k {
            row.iter_mut().for_each(|entry| *entry /= pivot[k]);
            row[k] = -1.0 / pivot[k];
        } else {
            row.iter_mut().zip(&pivot).for_each(|(entry, across)| *entry -= weight * across);
            row[k] = weight;
        }
    }
}
