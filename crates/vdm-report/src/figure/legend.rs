//! What the colors of a plot mean.

use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::canvas::{Area, Drawn, FONT_SIZE, GRID, PLAIN, pixels, place, unsigned, write};
use super::{Mark, Series, Stroke};

/// A place between the axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Above, at the left.
    TopLeft,
    /// Above, at the right.
    TopRight,
    /// Below, at the left.
    BottomLeft,
    /// Below, at the right.
    BottomRight,
    /// Half-way up, at the left.
    MiddleLeft,
}

/// Pixels from the axes to the box, and from the box to what is in it.
const GAP: f64 = 8.0;
const PADDING: f64 = 7.0;
const ROW: f64 = 18.0;
/// Of what stands before a label.
const SAMPLE: f64 = 22.0;
/// Of a letter, wide fonts included.
const LETTER: f64 = 0.51 * FONT_SIZE;

/// Draws a row for each series that has a label.
pub(super) fn draw(area: &Area<'_>, series: &[Series], place_of_box: Place) -> Drawn {
    let labeled: Vec<&Series> = series.iter().filter(|series| !series.label.is_empty()).collect();
    let letters = labeled.iter().map(|series| letters(&series.label)).max().unwrap_or(0);
    let width = 2.0 * PADDING + SAMPLE + 6.0 + LETTER * letters as f64;
    let height = 2.0 * PADDING + ROW * labeled.len() as f64;
    let (right, bottom) = pixels(area);
    let left = match place_of_box {
        Place::TopLeft | Place::BottomLeft | Place::MiddleLeft => GAP,
        Place::TopRight | Place::BottomRight => right - GAP - width,
    };
    let top = match place_of_box {
        Place::TopLeft | Place::TopRight => GAP,
        Place::BottomLeft | Place::BottomRight => bottom - GAP - height,
        Place::MiddleLeft => 0.5 * (bottom - height),
    };
    let ends = [(left, top), (left + width, top + height)].map(place);
    area.draw(&Rectangle::new(ends, WHITE.mix(0.9).filled()))?;
    let [(left_end, top_end), (right_end, bottom_end)] = ends;
    let corners = [(left_end, top_end), (right_end, top_end), (right_end, bottom_end)];
    let border = corners.into_iter().chain([(left_end, bottom_end), (left_end, top_end)]);
    let border: Vec<_> = border.collect();
    area.draw(&PathElement::new(border, GRID.stroke_width(unsigned(1.0))))?;
    for (row, series) in labeled.iter().enumerate() {
        let middle = top + PADDING + ROW * (row as f64 + 0.5);
        sample(area, series, (left + PADDING, middle))?;
        write(area, &series.label, (left + PADDING + SAMPLE + 6.0, middle), PLAIN, HPos::Left)?;
    }
    Ok(())
}

/// Characters that take room: neither a combining accent nor what marks an index does.
fn letters(label: &str) -> usize {
    label.chars().filter(|c| !('\u{300}'..'\u{370}').contains(c) && !"_{}".contains(*c)).count()
}

fn sample(area: &Area<'_>, series: &Series, (x, y): (f64, f64)) -> Drawn {
    let style = series.style();
    let line = [(x, y), (x + SAMPLE, y)].map(place);
    match series.mark {
        Mark::Line { stroke: Stroke::Dashed, .. } => {
            area.draw(&DashedPathElement::new(line, unsigned(6.0), unsigned(4.0), style))?;
        }
        Mark::Line { .. } | Mark::Bars { .. } => {
            area.draw(&PathElement::new(line, style))?;
        }
        Mark::Band { .. } => {
            let ends = [(x, y - 5.0), (x + SAMPLE, y + 5.0)].map(place);
            area.draw(&Rectangle::new(ends, style.filled()))?;
        }
        Mark::Dots { radius, .. } => {
            let middle = place((x + 0.5 * SAMPLE, y));
            area.draw(&Circle::new(middle, unsigned(radius), style.filled()))?;
        }
    }
    Ok(())
}
