//! Every figure: its picture, and what there is to see in it.

mod aggregate_posterior;
mod graphical_models;
mod hole;
mod invariance;
mod noising;
mod schedules;
mod steps;
mod weightings;

use std::path::Path;

use anyhow::Result;
use vdm_report::Preview;
use vdm_report::figure::Figure;

/// What a figure is made of.
#[derive(Debug)]
pub enum Picture {
    /// Curves, points and graphs.
    Drawing(Figure),
    /// Pixels.
    Pixels(Preview),
}

impl Picture {
    /// Writes it as SVG or PNG, atomically.
    ///
    /// # Errors
    /// If it cannot be drawn or written.
    pub fn save(&self, path: &Path) -> Result<()> {
        match self {
            Self::Drawing(figure) => figure.save(path)?,
            Self::Pixels(preview) => preview.save(path)?,
        }
        Ok(())
    }
}

/// A figure of the page, in Markdown.
#[derive(Debug)]
pub struct Entry {
    /// The name of its file.
    pub file: &'static str,
    /// What it shows, in a few words.
    pub heading: &'static str,
    /// What there is to see.
    pub text: &'static str,
    /// Section and items of the monograph.
    pub section: &'static str,
    /// The Rust items behind it.
    pub code: &'static str,
    /// How it is made.
    pub draw: fn() -> Result<Picture>,
}

/// In the order of the text.
pub const ENTRIES: &[Entry] = &[
    graphical_models::ENTRY,
    schedules::ENTRY,
    noising::ENTRY,
    steps::ENTRY,
    invariance::ENTRY,
    weightings::ENTRY,
    hole::ENTRY,
    aggregate_posterior::ENTRY,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// What is drawn has a test where it is made.
    #[test]
    fn every_figure_can_be_made() {
        let folder = tempfile::tempdir().unwrap();
        for entry in ENTRIES {
            let path = folder.path().join(entry.file);
            (entry.draw)().unwrap().save(&path).unwrap();
            assert!(path.metadata().unwrap().len() > 1000, "{}", entry.file);
        }
    }
}
