//! Graphical models, drawn from their factor lists.

use std::collections::BTreeMap;

use anyhow::Result;
use vdm_core::hlvm::diffusion::Chain;
use vdm_core::hlvm::{Conditional, Graph, Hlvm, Linear, Normal, layered};
use vdm_core::{NoiseLevel, NoiseSchedule, Schedule};
use vdm_report::figure::{Diagram, Edge, Figure, Node};

use super::{Entry, Picture};
use crate::oracles::SCALING;

pub(super) const ENTRY: Entry = Entry {
    file: "graphical-models.svg",
    heading: "Graphical models",
    text: "The models of the text, their edges read off the factor lists that compute their bounds. They differ \
        in the inference graph alone: bottom-up each latent is inferred from the one below, top-down from the one above and \
        the data. Diffusion is a top-down hierarchy whose inference graph has nothing to learn. Unrolled, it is the \
        same model with the same posterior in its other order: noise is added step by step, and taken away again.",
    section: "1.1 to 1.4 and 2 (M1, M4, M6, M11, M12)",
    code: "`hlvm::Hlvm::generative`, `hlvm::Hlvm::inference`, `hlvm::layered`, `hlvm::diffusion::Chain`; \
        `hlvm::Hlvm::to_dot` for Graphviz",
    draw,
};

/// Between layers, and from the last to the edge of a panel.
const STEP: f64 = 92.0;
const BOTTOM: f64 = 44.0;
/// How far an edge between neighbors is off the straight line, so that there is room for its opposite.
const APART: f64 = 11.0;

/// Which way a diagram reads from the roots of the generative graph to the data.
#[derive(Clone, Copy, PartialEq)]
enum Reading {
    Down,
    Right,
}

/// The model as nodes in layers.
fn diagram<P, Q>(
    title: &str,
    model: &Hlvm<P, Q>,
    names: &[&str],
    reading: Reading,
    size: (u32, u32),
) -> Diagram {
    let layers = layers(model.generative());
    let across = match reading {
        Reading::Down => 0.5 * f64::from(size.0),
        Reading::Right => 0.5 * f64::from(size.1) + 6.0,
    };
    let last = layers.values().max().map_or(0.0, |last| *last as f64);
    let start = match reading {
        // Data are at the same height in all.
        Reading::Down => f64::from(size.1) - BOTTOM - last * STEP,
        Reading::Right => 0.5 * (f64::from(size.0) - last * wide(reading)),
    };
    let node = |(node, layer): (&usize, &usize)| {
        let along = start + wide(reading) * *layer as f64;
        let at = if reading == Reading::Down { (across, along) } else { (along, across) };
        Node { label: names[*node].to_owned(), at, shaded: model.observed().contains(node) }
    };
    let edge = |(from, to): (usize, usize), dashed| {
        let bend = bend(layers[&from], layers[&to], dashed);
        // Turning the picture exchanges left and right.
        Edge { from, to, bend: if reading == Reading::Down { bend } else { -bend }, dashed }
    };
    let solid = model.generative().edges().map(|ends| edge(ends, false));
    let dashed = model.inference().edges().map(|ends| edge(ends, true));
    let edges = solid.chain(dashed).collect();
    Diagram { size, title: title.to_owned(), nodes: layers.iter().map(node).collect(), edges }
}

fn wide(reading: Reading) -> f64 {
    if reading == Reading::Down { STEP } else { 1.45 * STEP }
}

/// The layer of each node, numbered from 0 as the diagrams do: one more than that of its lowest parent.
fn layers<P>(generative: &Graph<P>) -> BTreeMap<usize, usize> {
    let mut layers = BTreeMap::new();
    for factor in generative.factors() {
        let parents = factor.parents.iter().filter_map(|parent| layers.get(parent));
        let layer = parents.max().map_or(0, |layer| layer + 1);
        layers.insert(factor.child, layer);
    }
    layers
}

/// Generation on one side, inference on the other, the further out the more layers it spans.
fn bend(from: usize, to: usize, dashed: bool) -> f64 {
    let span = from.abs_diff(to);
    let off = if span <= 1 { APART } else { 42.0 * (span as f64 - 1.0) + 6.0 };
    let downwards = to > from;
    if dashed == downwards { off } else { -off }
}

type Fixed = Linear<f64>;
type Named = (&'static str, Hlvm<Fixed, Fixed>);

/// The hierarchies of the text; their conditionals are of no matter here.
fn hierarchies() -> Result<[Named; 3], vdm_core::Error> {
    let step = || vec![Linear::new(0.0, [0.5], 0.75)];
    let feedback = || vec![Linear::new(0.0, [0.5, 0.5], 0.5)];
    let root = || vec![Linear::new(0.0, [], 1.0)];
    let generative = || layered::generative(vec![step(), step(), step(), root()]);
    let vae = layered::generative(vec![step(), root()]);
    Ok([
        ("VAE", Hlvm::new(vae, layered::bottom_up(1, vec![step()]))?),
        (
            "Bottom-up",
            Hlvm::new(generative(), layered::bottom_up(1, vec![step(), step(), step()]))?,
        ),
        (
            "Top-down",
            Hlvm::new(generative(), layered::top_down(1, vec![feedback(), feedback(), step()]))?,
        ),
    ])
}

/// A chain of latents at evenly spaced times.
fn chain(latents: u32) -> Result<Chain, vdm_core::Error> {
    let schedule = Schedule::linear(5.0, -5.0)?;
    let time = |i: u32| f64::from(i) / f64::from(latents - 1);
    let level = |i| SCALING.level(schedule.log_snr(time(i)).value());
    Chain::new(&(0..latents).map(level).collect::<Vec<_>>(), 1)
}

/// The diffusion model of a chain, with its posterior in one of its two orders.
fn diffusion<'a, Q>(
    chain: &'a Chain,
    prior: &'a Normal,
    likelihood: &'a Fixed,
    posterior: Graph<Q>,
) -> Result<Hlvm<Box<dyn Conditional + 'a>, Q>, vdm_core::Error> {
    Hlvm::new(chain.generative(prior, &x_hat, likelihood), posterior)
}

/// The best denoiser of data of variance 1.
fn x_hat(z: &[f64], at: &NoiseLevel) -> Vec<f64> {
    z.iter().map(|z| at.alpha * z).collect()
}

fn draw() -> Result<Picture> {
    let prior = Normal::new(0.0, 1.0);
    let (short, long) = (chain(3)?, chain(4)?);
    let likelihoods = [&short, &long].map(Chain::likelihood);
    let column = |title, wide| (title, Reading::Down, (wide, 380));
    let mut above = Vec::new();
    for ((title, model), wide) in hierarchies()?.iter().zip([150, 170, 270]) {
        let names = ["x", if model.latents() == 1 { "z" } else { "z_{1}" }, "z_{2}", "z_{3}"];
        let (title, reading, size) = column(*title, wide);
        above.push(diagram(title, model, &names, reading, size).into());
    }
    let model = diffusion(&short, &prior, &likelihoods[0], short.top_down())?;
    let (title, reading, size) = column("Diffusion", 270);
    above.push(diagram(title, &model, &["x", "z_{0}", "z_{t}", "z_{1}"], reading, size).into());
    let model = diffusion(&long, &prior, &likelihoods[1], long.bottom_up())?;
    let names = ["x", "z_{0}", "z_{s}", "z_{t}", "z_{1}"];
    let unrolled = diagram("Diffusion, unrolled", &model, &names, Reading::Right, (860, 130));
    Ok(Picture::Drawing(Figure {
        title: String::new(),
        note: "solid: generation p · dashed: inference q · shaded: observed".to_owned(),
        rows: vec![above, vec![unrolled.into()]],
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_diagram_has_the_edges_of_the_factors_and_a_place_for_each_node() {
        for (title, model) in hierarchies().unwrap() {
            let names = ["x", "z_1", "z_2", "z_3"];
            let diagram = diagram(title, &model, &names, Reading::Down, (200, 300));
            let ends = |dashed| -> Vec<_> {
                let of_kind = diagram.edges.iter().filter(|edge| edge.dashed == dashed);
                of_kind.map(|edge| (edge.from, edge.to)).collect()
            };
            assert_eq!(ends(false), model.generative().edges().collect::<Vec<_>>());
            assert_eq!(ends(true), model.inference().edges().collect::<Vec<_>>());
            let places: BTreeSet<_> = diagram.nodes.iter().map(|node| node.at.1 as i64).collect();
            assert_eq!(places.len(), diagram.nodes.len());
            // Data are at the bottom, and nothing else is shaded.
            let lowest = diagram.nodes.iter().max_by(|a, b| a.at.1.total_cmp(&b.at.1)).unwrap();
            assert!(lowest.shaded && lowest.label == "x");
            assert_eq!(diagram.nodes.iter().filter(|node| node.shaded).count(), 1);
        }
    }

    #[test]
    fn edges_between_the_same_two_nodes_lie_apart() {
        let [generation, up, down] = [bend(1, 2, false), bend(2, 1, true), bend(1, 2, true)];
        // Seen from above, left of a way down is right of a way up.
        assert!(generation < 0.0 && up < 0.0 && down > 0.0);
        assert!(bend(3, 0, true) < bend(2, 0, true) && bend(2, 0, true) < up);
    }
}
