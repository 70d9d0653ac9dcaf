//! Nodes and edges, at places of the caller's choice.

use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::Hue;
use super::canvas::{AXIS, Area, Drawn, FONT_SIZE, Font, PLAIN, TEXT, place, unsigned, write};

/// Of a node, in pixels.
const RADIUS: f64 = 19.0;
/// Between a node and the edges that end there.
const GAP: f64 = 3.0;
/// The length of an arrow's head, and half its width.
const HEAD: (f64, f64) = (9.0, 4.0);
/// Straight pieces that a curve is drawn as.
const PIECES: u32 = 60;
const TITLE: f64 = 26.0;

/// A circle with a name in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// A letter, perhaps with an index: `z_{1}`.
    pub label: String,
    /// The center, in pixels from the upper left.
    pub at: (f64, f64),
    /// Whether it is filled.
    pub shaded: bool,
}

/// An arrow between two nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge {
    /// The number of the node it leaves.
    pub from: usize,
    /// The number of the node it points to.
    pub to: usize,
    /// How far the middle is off the straight line, in pixels to the left of the direction it goes in.
    pub bend: f64,
    /// Whether it is drawn in dashes, and in another color.
    pub dashed: bool,
}

/// A graph that has been laid out.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagram {
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Above; none if empty.
    pub title: String,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The edges, by numbers of nodes.
    pub edges: Vec<Edge>,
}

type Point = (f64, f64);

impl Diagram {
    pub(super) fn draw_on(&self, area: &Area<'_>) -> Drawn {
        for edge in &self.edges {
            let ends = [edge.from, edge.to].map(|node| self.nodes.get(node).map(|node| node.at));
            let [Some(from), Some(to)] = ends else {
                return Err(format!("an edge between two of {} nodes", self.nodes.len()).into());
            };
            draw_edge(area, &curve(from, to, edge.bend), edge.dashed)?;
        }
        for node in &self.nodes {
            draw_node(area, node)?;
        }
        let middle = 0.5 * f64::from(self.size.0);
        write(area, &self.title, (middle, 0.5 * TITLE), PLAIN.bold(), HPos::Center)
    }
}

/// A parabola between two centers whose middle is off the straight line by `bend`.
fn curve(from: Point, to: Point, bend: f64) -> Vec<Point> {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx.hypot(dy);
    let normal = (dy / length, -dx / length);
    let at = |i: u32| {
        let t = f64::from(i) / f64::from(PIECES);
        let off = 4.0 * t * (1.0 - t) * bend;
        (from.0 + t * dx + off * normal.0, from.1 + t * dy + off * normal.1)
    };
    let outside = |(x, y): &Point| {
        let reach = RADIUS + GAP;
        (x - from.0).hypot(y - from.1) >= reach && (x - to.0).hypot(y - to.1) >= reach
    };
    (0..=PIECES).map(at).filter(outside).collect()
}

fn draw_edge(area: &Area<'_>, points: &[Point], dashed: bool) -> Drawn {
    let &[.., before, tip] = points else { return Ok(()) };
    let color = if dashed { Hue::Blue.rgb() } else { TEXT };
    let style = color.stroke_width(unsigned(1.5));
    let (dx, dy) = (tip.0 - before.0, tip.1 - before.1);
    let length = dx.hypot(dy);
    let (along, across) = ((dx / length, dy / length), (-dy / length, dx / length));
    let back = |side: f64| {
        let (x, y) = (tip.0 - HEAD.0 * along.0, tip.1 - HEAD.0 * along.1);
        (x + side * HEAD.1 * across.0, y + side * HEAD.1 * across.1)
    };
    // Up to where the head begins.
    let near = |point: &&Point| (point.0 - tip.0).hypot(point.1 - tip.1) >= HEAD.0;
    let line = points.iter().filter(near).copied().chain([back(0.0)]).map(place);
    let line: Vec<_> = line.collect();
    if dashed {
        area.draw(&DashedPathElement::new(line, unsigned(6.0), unsigned(4.0), style))?;
    } else {
        area.draw(&PathElement::new(line, style))?;
    }
    area.draw(&Polygon::new([tip, back(1.0), back(-1.0)].map(place), color))?;
    Ok(())
}

fn draw_node(area: &Area<'_>, node: &Node) -> Drawn {
    let (center, radius) = (place(node.at), unsigned(RADIUS));
    if node.shaded {
        area.draw(&Circle::new(center, radius, AXIS.mix(0.45).filled()))?;
    }
    area.draw(&Circle::new(center, radius, TEXT.stroke_width(unsigned(1.5))))?;
    let letter = Font { family: "serif", style: FontStyle::Italic, size: 1.5 * FONT_SIZE };
    write(area, &node.label, node.at, letter, HPos::Center)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_stays_off_both_nodes_and_bends_to_the_left() {
        let points = curve((0.0, 0.0), (0.0, 100.0), 10.0);
        let reach = RADIUS + GAP;
        assert!(points.iter().all(|(x, y)| x.hypot(*y) >= reach && x.hypot(y - 100.0) >= reach));
        // Downwards on the screen, left is where x grows.
        let middle = points.iter().map(|point| point.0).fold(0.0, f64::max);
        assert!((middle - 10.0).abs() < 1e-12, "{middle}");
    }
}
