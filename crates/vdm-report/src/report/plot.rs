//! Plots as SVG, inside the page.
//!
//! Coordinates are whole pixels, so a plot is drawn at [`SCALE`] times its size and the page shrinks
//! it. Marks have the colors of [`Hue`]; the style sheet finds them by those values and replaces
//! them in the dark.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::format;
use crate::Error;

/// Drawn pixels per displayed pixel.
const SCALE: u32 = 3;
const TEXT: RGBColor = RGBColor(0x4b, 0x55, 0x63);
const AXIS: RGBColor = RGBColor(0x9a, 0xa3, 0xaf);
const GRID: RGBColor = RGBColor(0xe3, 0xe6, 0xeb);
const FONT_SIZE: u32 = 15;
/// Displayed pixels between tick labels, about.
const X_TICK_SPACING: u32 = 60;
const Y_TICK_SPACING: u32 = 42;

/// The colors of marks, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hue {
    Blue,
    Orange,
    Green,
}

impl Hue {
    const fn rgb(self) -> RGBColor {
        match self {
            Self::Blue => RGBColor(0x2f, 0x6f, 0xdb),
            Self::Orange => RGBColor(0xd9, 0x57, 0x2b),
            Self::Green => RGBColor(0x1b, 0x8a, 0x6b),
        }
    }
}

/// Something drawn. All points have finite coordinates.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Mark {
    /// A line through points.
    Line { points: Vec<(f64, f64)>, color: Hue, faint: bool },
    /// The area between two lines: `(x, low, high)`.
    Band { edges: Vec<(f64, f64, f64)>, color: Hue },
    /// Points with error bars: `(x, y, standard error)`.
    Bars { points: Vec<(f64, f64, f64)>, color: Hue },
}

/// How the vertical axis is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    /// Values are drawn at their decimal logarithm, and must be positive.
    Log10,
}

/// A plot. Lines end where they leave the vertical range; bands and bars are cut there.
#[derive(Debug)]
pub(super) struct Plot {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) x_label: &'static str,
    pub(super) y_label: &'static str,
    pub(super) x: Range<f64>,
    pub(super) y: Range<f64>,
    pub(super) scale: Scale,
    pub(super) marks: Vec<Mark>,
}

impl Plot {
    /// The plot as an SVG element.
    ///
    /// # Errors
    /// [`Error::Plot`] when the plotting library refuses.
    pub(super) fn svg(&self) -> Result<String, Error> {
        let mut svg = String::new();
        self.draw_on(&mut svg).map_err(|reason| Error::Plot {
            what: format!("{} by {}", self.y_label, self.x_label),
            reason: reason.to_string(),
        })?;
        Ok(svg)
    }

    fn draw_on(&self, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
        let size = (self.width * SCALE, self.height * SCALE);
        let root = SVGBackend::with_string(svg, size).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(6 * SCALE)
            .margin_right(20 * SCALE)
            .x_label_area_size(38 * SCALE)
            .y_label_area_size(62 * SCALE)
            .build_cartesian_2d(self.x.clone(), Ticks::new(self.y.clone(), self.scale))?;
        self.draw_axes(&mut chart)?;
        for mark in &self.marks {
            self.draw_mark(&mut chart, mark)?;
        }
        root.present()?;
        Ok(())
    }

    fn draw_axes<DB: DrawingBackend>(&self, chart: &mut Chart<'_, DB>) -> Drawn<DB> {
        let font = ("sans-serif", FONT_SIZE * SCALE).into_font().color(&TEXT);
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID.stroke_width(SCALE))
            .axis_style(AXIS.stroke_width(SCALE))
            .set_all_tick_mark_size(4 * SCALE)
            .x_labels((self.width / X_TICK_SPACING).max(2) as usize)
            .y_labels((self.height / Y_TICK_SPACING).max(2) as usize)
            .x_label_formatter(&|x| format::tick(*x))
            .label_style(font.clone())
            .axis_desc_style(font)
            .x_desc(self.x_label)
            .y_desc(self.y_label)
            .draw()
    }

    fn draw_mark<DB: DrawingBackend>(&self, chart: &mut Chart<'_, DB>, mark: &Mark) -> Drawn<DB> {
        let inside = |(x, y): (f64, f64)| (x, self.inside(y));
        match mark {
            Mark::Line { points, color, faint } => {
                let opacity = if *faint { 0.35 } else { 1.0 };
                let width = if *faint { SCALE } else { 2 * SCALE };
                let style = color.rgb().mix(opacity).stroke_width(width);
                for piece in clipped(points, &self.y) {
                    chart.draw_series(LineSeries::new(piece, style))?;
                }
            }
            Mark::Band { edges, color } => {
                let low = edges.iter().map(|&(x, low, _)| inside((x, low)));
                let high = edges.iter().rev().map(|&(x, _, high)| inside((x, high)));
                let outline: Vec<_> = low.chain(high).collect();
                chart.draw_series([Polygon::new(outline, color.rgb().mix(0.22))])?;
            }
            Mark::Bars { points, color } => {
                let style = color.rgb().stroke_width(3 * SCALE / 2);
                let bars = points.iter().map(|&(x, y, error)| {
                    let [low, middle, high] = [y - error, y, y + error].map(|y| self.inside(y));
                    ErrorBar::new_vertical(x, low, middle, high, style.filled(), 6 * SCALE)
                });
                chart.draw_series(bars)?;
            }
        }
        Ok(())
    }

    fn inside(&self, y: f64) -> f64 {
        y.clamp(self.y.start, self.y.end)
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

type Chart<'a, DB> = ChartContext<'a, DB, Cartesian2d<RangedCoordf64, Ticks>>;
type Drawn<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

/// A vertical axis that is linear or logarithmic: its ticks are those of a linear axis, over the
/// values or over their logarithms, and in the second case at whole powers of ten.
struct Ticks {
    axis: RangedCoordf64,
    scale: Scale,
}

impl Ticks {
    fn new(range: Range<f64>, scale: Scale) -> Self {
        let ends = [range.start, range.end].map(|value| scale.position(value));
        Self { axis: (ends[0]..ends[1]).into(), scale }
    }
}

impl Scale {
    fn position(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log10 => value.log10(),
        }
    }
}

impl Ranged for Ticks {
    type FormatOption = plotters::coord::ranged1d::NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.axis.map(&self.scale.position(*value), limit)
    }

    fn key_points<H: KeyPointHint>(&self, hint: H) -> Vec<f64> {
        match self.scale {
            Scale::Linear => self.axis.key_points(hint),
            Scale::Log10 => decades(self.axis.range(), hint.bold_points()),
        }
    }

    fn range(&self) -> Range<f64> {
        let Range { start, end } = self.axis.range();
        match self.scale {
            Scale::Linear => start..end,
            Scale::Log10 => 10_f64.powf(start)..10_f64.powf(end),
        }
    }
}

impl ValueFormatter<f64> for Ticks {
    fn format_ext(&self, value: &f64) -> String {
        format::tick(*value)
    }
}

/// Powers of ten in this range of exponents, at most `count`; between them 2 and 5 where few.
fn decades(exponents: Range<f64>, count: usize) -> Vec<f64> {
    let (first, last) = (exponents.start.floor() as i32, exponents.end.ceil() as i32);
    let whole = usize::try_from(last - first).unwrap_or(0);
    let step = whole.div_ceil(count.max(1)).max(1);
    let factors: &[f64] = if 2 * whole <= count { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let powers = (first..=last).step_by(step).map(|exponent| 10_f64.powi(exponent));
    let ticks = powers.flat_map(|power| factors.iter().map(move |factor| factor * power));
    ticks.filter(|tick| (exponents.start..=exponents.end).contains(&tick.log10())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(scale: Scale, y: Range<f64>, mark: Mark) -> String {
        let (x_label, y_label, x, marks) = ("step", "loss", 0.0..10.0, vec![mark]);
        Plot { width: 300, height: 200, x_label, y_label, x, y, scale, marks }.svg().unwrap()
    }

    fn line(points: &[(f64, f64)]) -> Mark {
        Mark::Line { points: points.to_vec(), color: Hue::Blue, faint: false }
    }

    /// The vertical coordinates of the polyline in the color of the mark.
    fn heights(svg: &str) -> Vec<i32> {
        let line = svg.lines().find(|line| line.contains("#2F6FDB")).unwrap();
        let points = line.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        points.split_whitespace().map(|p| p.split(',').nth(1).unwrap().parse().unwrap()).collect()
    }

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

    #[test]
    fn a_logarithmic_axis_spaces_decades_evenly() {
        let svg = plot(Scale::Log10, 1e-3..1.0, line(&[(0.0, 0.01), (1.0, 0.1), (2.0, 1.0)]));
        let heights = heights(&svg);
        assert!((heights[0] - 2 * heights[1] + heights[2]).abs() <= 1, "{heights:?}");
        for label in ["0.001", "0.01", "0.1", "1"] {
            assert!(svg.lines().any(|line| line == label), "no tick {label}");
        }
    }

    #[test]
    fn decades_are_thinned_or_divided() {
        assert_eq!(decades(-3.0..0.0, 4), [1e-3, 1e-2, 1e-1, 1.0]);
        assert_eq!(decades(-0.1..1.0, 5), [1.0, 2.0, 5.0, 10.0]);
        assert_eq!(decades(-4.0..0.0, 2), [1e-4, 1e-2, 1.0]);
    }

    #[test]
    fn the_style_sheet_knows_every_color() {
        let style = include_str!("style.css");
        let colors = [Hue::Blue, Hue::Orange, Hue::Green].map(Hue::rgb);
        for RGBColor(r, g, b) in colors.into_iter().chain([TEXT, AXIS, GRID]) {
            let hex = format!("#{r:02X}{g:02X}{b:02X}");
            assert!(style.contains(&hex), "style.css lacks {hex}");
        }
    }
}
