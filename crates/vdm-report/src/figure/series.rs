//! What is drawn between the axes of a plot.

use std::ops::Range;

use plotters::prelude::*;

use super::canvas::{Drawn, unsigned};
use super::plot::Chart;

/// The colors of what is drawn, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hue {
    /// Blue.
    Blue,
    /// Orange.
    Orange,
    /// Green.
    Green,
    /// Purple.
    Purple,
    /// A dark yellow.
    Gold,
    /// Gray.
    Gray,
}

impl Hue {
    /// All of them, in the order in which a plot takes them.
    pub const ALL: [Self; 6] =
        [Self::Blue, Self::Orange, Self::Green, Self::Purple, Self::Gold, Self::Gray];

    pub(super) const fn rgb(self) -> RGBColor {
        match self {
            Self::Blue => RGBColor(0x2f, 0x6f, 0xdb),
            Self::Orange => RGBColor(0xd9, 0x57, 0x2b),
            Self::Green => RGBColor(0x1b, 0x8a, 0x6b),
            Self::Purple => RGBColor(0x8a, 0x4f, 0xd0),
            Self::Gold => RGBColor(0xb0, 0x7d, 0x12),
            Self::Gray => RGBColor(0x6b, 0x72, 0x80),
        }
    }
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stroke {
    /// In full.
    Solid,
    /// Thin and pale, behind others.
    Faint,
    /// In dashes.
    Dashed,
}

/// The shape of a series. All points have finite coordinates.
#[derive(Debug, Clone, PartialEq)]
pub enum Mark {
    /// A line through points, which ends where it leaves the vertical range.
    Line {
        /// `(x, y)`.
        points: Vec<(f64, f64)>,
        /// How it is drawn.
        stroke: Stroke,
    },
    /// The area between two lines, cut at the vertical range.
    Band {
        /// `(x, low, high)`.
        edges: Vec<(f64, f64, f64)>,
    },
    /// Points with error bars, cut at the vertical range.
    Bars {
        /// `(x, y, standard error)`.
        points: Vec<(f64, f64, f64)>,
    },
    /// Dots; those outside of either range are left out.
    Dots {
        /// `(x, y)`.
        points: Vec<(f64, f64)>,
        /// In pixels.
        radius: f64,
        /// From 0 to 1.
        opacity: f64,
    },
}

/// Something drawn, its color, and what the legend calls it.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The shape.
    pub mark: Mark,
    /// The color.
    pub color: Hue,
    /// Empty where the legend is silent about it.
    pub label: String,
}

impl Series {
    fn new(mark: Mark, color: Hue) -> Self {
        Self { mark, color, label: String::new() }
    }

    /// A solid line through `(x, y)`.
    pub fn line(points: impl IntoIterator<Item = (f64, f64)>, color: Hue) -> Self {
        let points = points.into_iter().collect();
        Self::new(Mark::Line { points, stroke: Stroke::Solid }, color)
    }

    /// The area between `(x, low, high)`.
    pub fn band(edges: impl IntoIterator<Item = (f64, f64, f64)>, color: Hue) -> Self {
        Self::new(Mark::Band { edges: edges.into_iter().collect() }, color)
    }

    /// Error bars at `(x, y, standard error)`.
    pub fn bars(points: impl IntoIterator<Item = (f64, f64, f64)>, color: Hue) -> Self {
        Self::new(Mark::Bars { points: points.into_iter().collect() }, color)
    }

    /// Dots of a radius in pixels at `(x, y)`.
    pub fn dots(points: impl IntoIterator<Item = (f64, f64)>, radius: f64, color: Hue) -> Self {
        Self::new(Mark::Dots { points: points.into_iter().collect(), radius, opacity: 1.0 }, color)
    }

    /// The same with another stroke, if it is a line.
    #[must_use]
    pub fn stroked(mut self, with: Stroke) -> Self {
        if let Mark::Line { stroke, .. } = &mut self.mark {
            *stroke = with;
        }
        self
    }

    /// The same in the legend.
    #[must_use]
    pub fn labeled(self, label: impl Into<String>) -> Self {
        Self { label: label.into(), ..self }
    }

    /// Width, color and opacity of its lines, and of what the legend shows of them.
    pub(super) fn style(&self) -> ShapeStyle {
        let (width, opacity) = match &self.mark {
            Mark::Line { stroke: Stroke::Faint, .. } => (1.0, 0.35),
            Mark::Line { .. } => (2.0, 1.0),
            Mark::Band { .. } => (1.0, 0.22),
            Mark::Bars { .. } => (1.5, 1.0),
            Mark::Dots { opacity, .. } => (1.0, *opacity),
        };
        self.color.rgb().mix(opacity).stroke_width(unsigned(width))
    }

    /// Draws it into a plot whose vertical range is `y`.
    pub(super) fn draw(&self, chart: &mut Chart<'_, '_>, x: &Range<f64>, y: &Range<f64>) -> Drawn {
        let style = self.style();
        let inside = |height: f64| height.clamp(y.start, y.end);
        match &self.mark {
            Mark::Line { points, stroke } => {
                for piece in clipped(points, y) {
                    match stroke {
                        Stroke::Dashed => {
                            let (dash, gap) = (unsigned(6.0), unsigned(4.0));
                            let line = DashedLineSeries::new(piece, dash, gap, style);
                            chart.draw_series(line)?;
                        }
                        Stroke::Solid | Stroke::Faint => {
                            chart.draw_series(LineSeries::new(piece, style))?;
                        }
                    }
                }
            }
            Mark::Band { edges } => {
                let low = edges.iter().map(|&(x, low, _)| (x, inside(low)));
                let high = edges.iter().rev().map(|&(x, _, high)| (x, inside(high)));
                let outline: Vec<_> = low.chain(high).collect();
                chart.draw_series([Polygon::new(outline, style.filled())])?;
            }
            Mark::Bars { points } => {
                let bars = points.iter().map(|&(x, y, error)| {
                    let [low, middle, high] = [y - error, y, y + error].map(inside);
                    ErrorBar::new_vertical(x, low, middle, high, style.filled(), unsigned(6.0))
                });
                chart.draw_series(bars)?;
            }
            Mark::Dots { points, radius, .. } => {
                let shown = points.iter().filter(|at| x.contains(&at.0) && y.contains(&at.1));
                let dot = |at: &(f64, f64)| Circle::new(*at, unsigned(*radius), style.filled());
                chart.draw_series(shown.map(dot))?;
            }
        }
        Ok(())
    }
}

/// The pieces of a line that lie within a range, cut where they cross its ends.
fn clipped(points: &[(f64, f64)], range: &Range<f64>) -> Vec<Vec<(f64, f64)>> {
    let mut pieces = vec![];
    let mut piece: Vec<(f64, f64)> = vec![];
    for pair in points.windows(2) {
        let Some((from, to)) = clipped_segment(pair[0], pair[1], range) else { continue };
        if piece.last() != Some(&from) {
            pieces.push(std::mem::replace(&mut piece, vec![from]));
        }
        piece.push(to);
    }
    pieces.push(piece);
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// The part of a segment within a range of heights, if there is one.
fn clipped_segment(
    from: (f64, f64),
    to: (f64, f64),
    range: &Range<f64>,
) -> Option<((f64, f64), (f64, f64))> {
    if from.1.max(to.1) < range.start || from.1.min(to.1) > range.end {
        return None;
    }
    let cut = |point: (f64, f64)| {
        let y = point.1.clamp(range.start, range.end);
        // A level segment that gets here is inside, so there is nothing to cut and no division by 0.
        if y == point.1 {
            return point;
        }
        (from.0 + (y - from.1) / (to.1 - from.1) * (to.0 - from.0), y)
    };
    Some((cut(from), cut(to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_where_they_leave_the_range() {
        let range = 0.0..1.0;
        let points = [(0.0, 5.0), (1.0, 3.0), (2.0, -1.0), (3.0, 0.5), (4.0, 0.5), (5.0, 2.5)];
        let pieces = clipped(&points, &range);
        let first = vec![(1.5, 1.0), (1.75, 0.0)];
        let second = vec![(2.0 + 2.0 / 3.0, 0.0), (3.0, 0.5), (4.0, 0.5), (4.25, 1.0)];
        assert_eq!(pieces, [first, second]);
        assert!(clipped(&points[..2], &range).is_empty());
        assert!(clipped(&points[..1], &range).is_empty());
    }
}
