//! The one place that knows how large a drawn unit is.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Drawn units per pixel: the library rounds to whole units, which at one a pixel shows as steps.
const UNITS: u32 = 10;

pub(super) const TEXT: RGBColor = RGBColor(0x4b, 0x55, 0x63);
pub(super) const AXIS: RGBColor = RGBColor(0x9a, 0xa3, 0xaf);
pub(super) const GRID: RGBColor = RGBColor(0xe3, 0xe6, 0xeb);
/// The library's font sizes are those of a line of text, 1.24 times what SVG calls a font's size.
pub(super) const FONT_SIZE: f64 = 15.0;

/// What is drawn on.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Drawn = Result<(), Box<dyn Error>>;

/// A length in drawn units.
pub(super) fn units(pixels: f64) -> i32 {
    (pixels * f64::from(UNITS)).round() as i32
}

/// The same for those of the library's lengths that are never negative.
pub(super) fn unsigned(pixels: f64) -> u32 {
    units(pixels).unsigned_abs()
}

/// A place in drawn units.
pub(super) fn place((x, y): (f64, f64)) -> (i32, i32) {
    (units(x), units(y))
}

/// The size of an area in pixels.
pub(super) fn pixels(area: &Area<'_>) -> (f64, f64) {
    let (width, height) = area.dim_in_pixel();
    (f64::from(width) / f64::from(UNITS), f64::from(height) / f64::from(UNITS))
}

/// An SVG element of this many pixels.
pub(super) fn svg(
    (width, height): (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Drawn,
) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    let drawn = (width * UNITS, height * UNITS);
    let root = SVGBackend::with_string(&mut svg, drawn).into_drawing_area();
    draw(&root)?;
    root.present()?;
    drop(root);
    // The view box keeps the units.
    let size = |(width, height)| format!(r#"width="{width}" height="{height}""#);
    let svg = svg.replacen(&size(drawn), &size((width, height)), 1);
    Ok(svg.lines().map(|line| with_indices(line) + "\n").collect())
}

/// A line of an SVG file in which `L_{T}` has become an `L` with an index; the library knows plain text alone.
fn with_indices(line: &str) -> String {
    let mut pieces = line.split("_{");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (index, rest) = piece.split_once('}').unwrap_or((piece, ""));
        text += &format!(r#"<tspan dy="0.3em" font-size="0.75em">{index}</tspan>"#);
        if !rest.is_empty() {
            // 0.3 of three quarters, back up.
            text += &format!(r#"<tspan dy="-0.225em">{rest}</tspan>"#);
        }
    }
    text
}

/// How a text looks.
#[derive(Clone, Copy)]
pub(super) struct Font {
    pub(super) family: &'static str,
    pub(super) style: FontStyle,
    pub(super) size: f64,
}

/// Of titles, legends and notes.
pub(super) const PLAIN: Font =
    Font { family: "sans-serif", style: FontStyle::Normal, size: FONT_SIZE };

impl Font {
    pub(super) fn bold(self) -> Self {
        Self { style: FontStyle::Bold, ..self }
    }
}

/// Writes a text whose anchor is at a place in pixels.
pub(super) fn write(
    area: &Area<'_>,
    text: &str,
    at: (f64, f64),
    font: Font,
    anchor: HPos,
) -> Drawn {
    let style = (font.family, f64::from(UNITS) * font.size, font.style).into_font().color(&TEXT);
    let style = style.pos(Pos::new(anchor, VPos::Center));
    if text.is_empty() {
        return Ok(());
    }
    area.draw(&Text::new(text.to_owned(), place(at), style))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_is_shown_at_a_tenth_of_its_units() {
        let line = |area: &Area<'_>| {
            let ends = [(0.0, 0.0), (1.25, 2.5)].map(place);
            area.draw(&PathElement::new(ends, TEXT))?;
            Ok(())
        };
        let svg = svg((30, 20), line).unwrap();
        assert!(svg.starts_with(r#"<svg width="30" height="20" viewBox="0 0 300 200""#), "{svg}");
        assert!(svg.contains("0,0 13,25"), "{svg}");
    }

    #[test]
    fn what_stands_in_braces_is_an_index() {
        let index = |text| format!(r#"<tspan dy="0.3em" font-size="0.75em">{text}</tspan>"#);
        assert_eq!(with_indices("L_{T}"), format!("L{}", index("T")));
        let both = format!(r#"a{}<tspan dy="-0.225em"> b</tspan>{}"#, index("1"), index("2"));
        assert_eq!(with_indices("a_{1} b_{2}"), both);
        assert_eq!(with_indices("gm2_2d"), "gm2_2d");
    }
}
