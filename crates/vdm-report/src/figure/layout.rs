//! Panels in rows, under a title, on paper.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::canvas::{self, Area, Drawn, FONT_SIZE, Font, PLAIN, units, write};
use super::{Diagram, Plot};
use crate::{Error, files};

/// Pixels around everything, of a title, and of a line of notes.
const MARGIN: u32 = 8;
const TITLE: u32 = 34;
const NOTE: u32 = 26;

/// Part of a figure.
#[derive(Debug, Clone, PartialEq)]
pub enum Panel {
    /// Curves and points.
    Plot(Plot),
    /// Nodes and edges.
    Diagram(Diagram),
}

impl From<Plot> for Panel {
    fn from(plot: Plot) -> Self {
        Self::Plot(plot)
    }
}

impl From<Diagram> for Panel {
    fn from(diagram: Diagram) -> Self {
        Self::Diagram(diagram)
    }
}

impl Panel {
    fn size(&self) -> (u32, u32) {
        match self {
            Self::Plot(plot) => plot.size,
            Self::Diagram(diagram) => diagram.size,
        }
    }
}

/// A figure by itself: panels of any size in rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Above all panels; none if empty.
    pub title: String,
    /// Below all panels; none if empty.
    pub note: String,
    /// From above, each from the left.
    pub rows: Vec<Vec<Panel>>,
}

impl Figure {
    /// The figure as an SVG element on white paper.
    ///
    /// # Errors
    /// [`Error::Plot`] when the plotting library refuses.
    pub fn svg(&self) -> Result<String, Error> {
        canvas::svg(self.size(), |area| self.draw_on(area))
            .map_err(|reason| Error::Plot { what: self.title.clone(), reason: reason.to_string() })
    }

    /// Writes the figure as an SVG file, atomically.
    ///
    /// # Errors
    /// [`Error::Plot`], or [`Error::Io`] where the system refuses.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        files::write_atomic(path, self.svg()?.as_bytes())
    }

    fn size(&self) -> (u32, u32) {
        let width = |row: &Vec<Panel>| row.iter().map(|panel| panel.size().0).sum();
        let widest: u32 = self.rows.iter().map(width).max().unwrap_or(0);
        let height: u32 = self.rows.iter().map(|row| height(row)).sum();
        (widest + 2 * MARGIN, height + 2 * MARGIN + self.above() + self.below())
    }

    fn above(&self) -> u32 {
        if self.title.is_empty() { 0 } else { TITLE }
    }

    fn below(&self) -> u32 {
        if self.note.is_empty() { 0 } else { NOTE }
    }

    fn draw_on(&self, area: &Area<'_>) -> Drawn {
        area.fill(&WHITE)?;
        let (width, height_of_all) = self.size();
        let title = Font { size: 1.25 * FONT_SIZE, ..PLAIN.bold() };
        let (middle, line) = (0.5 * f64::from(width), f64::from(MARGIN) + 0.5 * f64::from(TITLE));
        write(area, &self.title, (middle, line), title, HPos::Center)?;
        let mut top = MARGIN + self.above();
        for row in &self.rows {
            let mut left = MARGIN;
            for panel in row {
                draw_panel(area, panel, (left, top))?;
                left += panel.size().0;
            }
            top += height(row);
        }
        let line = f64::from(height_of_all - MARGIN) - 0.5 * f64::from(NOTE);
        write(area, &self.note, (middle, line), PLAIN, HPos::Center)
    }
}

fn height(row: &[Panel]) -> u32 {
    row.iter().map(|panel| panel.size().1).max().unwrap_or(0)
}

fn draw_panel(area: &Area<'_>, panel: &Panel, (left, top): (u32, u32)) -> Drawn {
    let (width, height) = panel.size();
    let [left, top, width, height] = [left, top, width, height].map(|side| units(f64::from(side)));
    // What is cut off at both ends of both sides is what is left.
    let (all_width, all_height) = area.dim_in_pixel();
    let right = all_width as i32 - left - width;
    let bottom = all_height as i32 - top - height;
    let inner = area.margin(top, bottom, left, right);
    match panel {
        Panel::Plot(plot) => plot.draw_on(&inner),
        Panel::Diagram(diagram) => diagram.draw_on(&inner),
    }
}
