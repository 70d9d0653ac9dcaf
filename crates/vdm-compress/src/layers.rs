//! The layers of a hierarchy whose posterior is learned.

use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::{E, TAU};

use serde::{Deserialize, Serialize};
use vdm_core::hlvm::{Components, Conditional, Distribution, Factor, Factorized, Hlvm, Normal};
use vdm_core::setting::{at_least_one, require};

use crate::batches::{LEAST_GROWTH, MOST_GROWTH};
use crate::cells::{Cells, REACH, check_cells_per_std};
use crate::distribution::Normal as OnCells;
use crate::error::{CodecError, Error, check_pixels};
use crate::walk::{Coded, Likelihood, Move, Walk};

/// A hierarchy as its coder sees it: two graphs, of which one node is the data and the others are latents.
///
/// A node holds a batch of items; its components are those of the first item, then of the second, and so on.
/// What it answers must not depend on anything but the values of the nodes and the size of the batch.
pub trait Hierarchy {
    /// The distribution of a node.
    type Distribution: Factorized;
    /// Factors of the generative graph.
    type Prior: Conditional<Self::Distribution>;
    /// Factors of the inference graph.
    type Posterior: Conditional<Self::Distribution>;

    /// Components of an item.
    fn dims(&self) -> usize;

    /// Number of values a component takes.
    fn values(&self) -> u16;

    /// Components of all latents of an item.
    fn latents(&self) -> usize;

    /// The graphs for a batch of so many items.
    fn graphs(&self, items: usize) -> Hlvm<Self::Prior, Self::Posterior>;

    /// The node of the data, of items' components.
    fn data(&self, pixels: &[u8]) -> <Self::Distribution as Distribution>::Value;
}

type Fault<H> = <<H as Hierarchy>::Distribution as Factorized>::Error;

/// The latents of a hierarchy, as a reader needs to know them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layers {
    /// Of each latent, in the order of their nodes' numbers.
    pub cells: Vec<Cells>,
    /// Of how many items before it a batch may have one, from 1 to 4,096: those before pay for the latents of all of
    /// a batch, which are popped before its first bits are pushed.
    pub growth: u32,
}

impl Layers {
    /// For these items, of which each should add `bits` by the bound.
    ///
    /// There are `cells_per_std` cells or more to the standard deviation of the narrowest Gaussian that is met on the
    /// way through the items, each latent at the mean of its posterior, and they reach twice as far as the widest.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Cells`], [`Error::PixelCount`], [`Error::PixelRange`], [`Error::NonFinite`], or the
    /// model's own.
    pub fn of<H: Hierarchy>(
        model: &H,
        pixels: &[u8],
        batch: usize,
        cells_per_std: u32,
        bits: f64,
    ) -> Result<Self, CodecError<Fault<H>>> {
        check_cells_per_std(cells_per_std).map_err(Error::from)?;
        at_least_one("batch", batch).map_err(Error::from)?;
        check_pixels(pixels, model.dims(), model.values())?;
        let mut met: BTreeMap<usize, Met> = BTreeMap::new();
        for pixels in pixels.chunks(model.dims() * batch) {
            let graphs = model.graphs(pixels.len() / model.dims());
            let mut values = BTreeMap::from([(data_node(&graphs), model.data(pixels))]);
            for factor in graphs.inference().factors() {
                let latent = factor.child;
                let q = at(factor, &values);
                let normals = normals(&q, latent)?;
                let means: Vec<f64> = normals.iter().map(|normal| normal.mean).collect();
                let met = met.entry(latent).or_default();
                met.reach(&normals);
                met.drawn += normals.len() as f64;
                met.log2_std += normals.iter().map(|normal| 0.5 * normal.var.log2()).sum::<f64>();
                values.insert(latent, q.value(&means));
            }
            for (latent, met) in &mut met {
                let p: H::Distribution = at(prior(&graphs, *latent), &values);
                met.reach(&normals(&p, *latent)?);
            }
        }
        let (mut cells, mut popped) = (Vec::new(), 0.0);
        for (latent, Met { narrowest, reach, drawn, log2_std }) in met {
            let own = Cells::new(latent, narrowest / f64::from(cells_per_std), 2.0 * reach)?;
            // The entropy of a Gaussian in cells.
            popped += log2_std + drawn * (0.5 * (TAU * E).log2() - f64::from(own.log2_width));
            cells.push(own);
        }
        let items = (pixels.len() / model.dims()) as f64;
        let growth = (popped / items / bits).ceil().clamp(LEAST_GROWTH.into(), MOST_GROWTH.into());
        Ok(Self { cells, growth: growth as u32 })
    }
}

/// The Gaussians of a latent.
#[derive(Debug, Clone, Copy)]
struct Met {
    narrowest: f64,
    reach: f64,
    /// Components drawn.
    drawn: f64,
    /// Sum of their posteriors' standard deviations as powers of two.
    log2_std: f64,
}

impl Default for Met {
    fn default() -> Self {
        Self { narrowest: f64::INFINITY, reach: 0.0, drawn: 0.0, log2_std: 0.0 }
    }
}

impl Met {
    fn reach(&mut self, normals: &[Normal]) {
        for Normal { mean, var } in normals {
            let std = var.sqrt();
            self.narrowest = self.narrowest.min(std);
            self.reach = self.reach.max(mean.abs() + REACH * std);
        }
    }
}

/// The node that is observed.
fn data_node<P, Q>(graphs: &Hlvm<P, Q>) -> usize {
    let observed: Vec<usize> = graphs.observed().iter().copied().collect();
    assert_eq!(observed.len(), 1, "the data are one node");
    observed[0]
}

fn at<D: Distribution>(
    factor: &Factor<impl Conditional<D>>,
    values: &BTreeMap<usize, D::Value>,
) -> D {
    factor.at(values).expect("a node comes after its parents")
}

fn prior<P, Q>(graphs: &Hlvm<P, Q>, latent: usize) -> &Factor<P> {
    graphs.generative().factor(latent).expect("every node has a factor")
}

/// The components of a latent, none of them without a mean or a variance.
fn normals<D: Factorized>(given: &D, latent: usize) -> Result<Vec<Normal>, CodecError<D::Error>> {
    let Components::Normal(normals) = given.components().map_err(CodecError::Model)? else {
        panic!("latents are Gaussian")
    };
    let mut numbers = normals.iter().flat_map(|normal| [normal.mean, normal.var]);
    match numbers.find(|number| !number.is_finite()) {
        Some(value) => Err(Error::NonFinite { latent, value }.into()),
        None => Ok(normals),
    }
}

/// The order in which the nodes of two graphs are coded: each is pushed as soon as that can be undone. That is
/// Bit-Swap where inference goes against generation, and all latents before the first push where it goes along.
pub(crate) fn moves<P, Q>(graphs: &Hlvm<P, Q>) -> Vec<Move> {
    let data = data_node(graphs);
    let mut known = BTreeSet::from([data]);
    let mut pushed = BTreeSet::new();
    let mut moves = Vec::new();
    let drawn: Vec<&Factor<Q>> = graphs.inference().factors().iter().collect();
    for (number, factor) in drawn.iter().enumerate() {
        known.insert(factor.child);
        moves.push(Move::Draw(factor.child));
        let awaited = |node| drawn[number + 1..].iter().any(|later| later.parents.contains(&node));
        // Children come last in the generative graph, and are pushed first.
        for factor in graphs.generative().factors().iter().rev() {
            let node = factor.child;
            let mut children =
                graphs.generative().factors().iter().filter(|f| f.parents.contains(&node));
            let is_due = known.contains(&node)
                && !pushed.contains(&node)
                && factor.parents.iter().all(|parent| known.contains(parent))
                && children.all(|child| pushed.contains(&child.child))
                && !awaited(node);
            if is_due {
                pushed.insert(node);
                moves.push(if node == data { Move::Pixels } else { Move::Latent(node) });
            }
        }
    }
    assert_eq!(pushed.len(), graphs.generative().factors().len(), "every node is coded");
    moves
}

/// A hierarchy with the cells of its latents.
pub(crate) struct CodedLayers<H> {
    model: H,
    /// By node.
    cells: BTreeMap<usize, Cells>,
}

impl<H: Hierarchy> CodedLayers<H> {
    pub(crate) fn new(model: H, layers: &Layers) -> Result<Self, Error> {
        let cells = &layers.cells;
        cells.iter().try_for_each(|cells| cells.check())?;
        let graphs = model.graphs(1);
        let latents: BTreeSet<usize> =
            graphs.inference().factors().iter().map(|factor| factor.child).collect();
        let is_each = latents.len() == cells.len();
        require(is_each, "cells", cells.len(), "use one for each latent")?;
        Ok(Self { model, cells: latents.into_iter().zip(cells.iter().copied()).collect() })
    }
}

impl<H: Hierarchy> Coded<Fault<H>> for CodedLayers<H> {
    fn walk(&self, pixels: usize) -> Box<dyn Walk<Fault<H>> + '_> {
        let graphs = self.model.graphs(pixels / self.model.dims());
        Box::new(LayersWalk {
            coded: self,
            moves: moves(&graphs),
            graphs,
            nodes: BTreeMap::new(),
            numbers: BTreeMap::new(),
            asked: None,
        })
    }
}

/// A batch on its way through a hierarchy.
struct LayersWalk<'a, H: Hierarchy> {
    coded: &'a CodedLayers<H>,
    graphs: Hlvm<H::Prior, H::Posterior>,
    moves: Vec<Move>,
    nodes: BTreeMap<usize, <H::Distribution as Distribution>::Value>,
    /// Those of the cells that latents are in.
    numbers: BTreeMap<usize, Vec<i32>>,
    /// The distribution that was asked for last.
    asked: Option<H::Distribution>,
}

impl<H: Hierarchy> LayersWalk<'_, H> {
    fn asked(
        &mut self,
        latent: usize,
        given: H::Distribution,
    ) -> Result<Vec<OnCells>, CodecError<Fault<H>>> {
        let cells = self.coded.cells[&latent];
        let normals = normals(&given, latent)?;
        self.asked = Some(given);
        Ok(normals.iter().map(|normal| cells.normal(normal.mean, normal.var.sqrt())).collect())
    }
}

impl<H: Hierarchy> Walk<Fault<H>> for LayersWalk<'_, H> {
    fn moves(&self) -> Box<dyn DoubleEndedIterator<Item = Move>> {
        Box::new(self.moves.clone().into_iter())
    }

    fn posterior(&mut self, latent: usize) -> Result<Vec<OnCells>, CodecError<Fault<H>>> {
        let factor = self.graphs.inference().factor(latent).expect("a latent is inferred");
        let q = at(factor, &self.nodes);
        self.asked(latent, q)
    }

    fn prior(&mut self, latent: usize) -> Result<Vec<OnCells>, CodecError<Fault<H>>> {
        let p = at(prior(&self.graphs, latent), &self.nodes);
        self.asked(latent, p)
    }

    fn likelihood(&mut self) -> Result<Likelihood<'_>, CodecError<Fault<H>>> {
        let p: H::Distribution = at(prior(&self.graphs, data_node(&self.graphs)), &self.nodes);
        let Components::Categorical(probabilities) = p.components().map_err(CodecError::Model)?
        else {
            panic!("data have values")
        };
        let values = self.coded.model.values();
        Ok(Box::new(move |pixel, distribution| {
            let own = pixel * usize::from(values)..(pixel + 1) * usize::from(values);
            distribution.set(probabilities[own].iter().map(|p| f64::from(*p)), values);
        }))
    }

    fn know(&mut self, latent: usize, numbers: Vec<i32>) {
        let cells = self.coded.cells[&latent];
        let values: Vec<f64> = numbers.iter().map(|k| cells.value(*k)).collect();
        let given = self.asked.take().expect("its distribution was asked for");
        self.nodes.insert(latent, given.value(&values));
        self.numbers.insert(latent, numbers);
    }

    fn know_pixels(&mut self, pixels: &[u8]) {
        self.nodes.insert(data_node(&self.graphs), self.coded.model.data(pixels));
    }

    fn forget(&mut self, latent: usize) -> Vec<i32> {
        self.nodes.remove(&latent);
        self.numbers.remove(&latent).expect("a latent that is known")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vdm_core::hlvm::layered;

    fn order(inference: vdm_core::hlvm::Graph<()>) -> Vec<Move> {
        let generative = layered::generative(vec![vec![()]; 4]);
        moves(&Hlvm::new(generative, inference).unwrap())
    }

    /// Against the direction of generation each layer is pushed as soon as the next is known; along it nothing is
    /// pushed while a posterior still needs the data.
    #[test]
    fn nodes_are_pushed_as_soon_as_that_can_be_undone() {
        use Move::{Draw, Latent, Pixels};
        let layers = || vec![vec![()]; 3];
        assert_eq!(
            order(layered::bottom_up(1, layers())),
            [Draw(1), Pixels, Draw(2), Latent(1), Draw(3), Latent(2), Latent(3)]
        );
        assert_eq!(
            order(layered::top_down(1, layers())),
            [Draw(3), Draw(2), Draw(1), Pixels, Latent(1), Latent(2), Latent(3)]
        );
    }
}
