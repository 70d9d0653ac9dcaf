//! Stacks of layers: the variational autoencoder and its two hierarchical kin.
//!
//! ```text
//! generative   p(z_T) … p(z_1 | z_2) p(x | z_1)
//! bottom-up    q(z_1 | x) q(z_2 | z_1) … q(z_T | z_{T−1})
//! top-down     q(z_T | x) q(z_{T−1} | z_T, x) … q(z_1 | z_2, x)
//! ```
//!
//! A layer is a vector: the nodes of layer 0, the data, are numbered from 0, those of each further
//! layer follow. With a single layer of latents both inference graphs are the same, and the model
//! is a variational autoencoder. Monograph §1.1, §1.2 and §1.4.

use std::ops::Range;

use super::{Factor, Graph};

/// The nodes of each layer, from the sizes of the layers; above the top there are none.
fn nodes(sizes: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let mut end = 0;
    let layer = |size| {
        let start = end;
        end += size;
        start..end
    };
    sizes.chain([0]).map(layer).collect()
}

/// One factor for each node of a layer, all with the same parents.
fn factors<F>(
    children: &Range<usize>,
    parents: impl Iterator<Item = usize>,
    given: Vec<F>,
) -> Vec<Factor<F>> {
    let parents: Vec<usize> = parents.collect();
    let factor = |(child, given)| Factor::new(child, parents.clone(), given);
    children.clone().zip(given).map(factor).collect()
}

/// The generative graph: `layers[t]` holds the conditionals of the nodes of layer `t` given all of
/// layer `t + 1`, from the data up to the prior of the top layer, which has no parents.
#[must_use]
pub fn generative<F>(layers: Vec<Vec<F>>) -> Graph<F> {
    let nodes = nodes(layers.iter().map(Vec::len));
    let layer = |(t, given): (usize, Vec<F>)| factors(&nodes[t], nodes[t + 1].clone(), given);
    Graph { factors: layers.into_iter().enumerate().rev().flat_map(layer).collect() }
}

/// The bottom-up inference graph over data of `dims` nodes: `layers[0]` holds the conditionals of
/// the first layer of latents given the data, `layers[t]` those of the next given the one below.
#[must_use]
pub fn bottom_up<F>(dims: usize, layers: Vec<Vec<F>>) -> Graph<F> {
    let nodes = nodes([dims].into_iter().chain(layers.iter().map(Vec::len)));
    let layer = |(t, given): (usize, Vec<F>)| factors(&nodes[t + 1], nodes[t].clone(), given);
    Graph { factors: layers.into_iter().enumerate().flat_map(layer).collect() }
}

/// The top-down inference graph over data of `dims` nodes: `layers[t]` is the same layer as in
/// [`bottom_up`], but given the one above and then the data; the top layer has only the data.
#[must_use]
pub fn top_down<F>(dims: usize, layers: Vec<Vec<F>>) -> Graph<F> {
    let nodes = nodes([dims].into_iter().chain(layers.iter().map(Vec::len)));
    let layer = |(t, given): (usize, Vec<F>)| {
        factors(&nodes[t + 1], nodes[t + 2].clone().chain(0..dims), given)
    };
    Graph { factors: layers.into_iter().enumerate().rev().flat_map(layer).collect() }
}
