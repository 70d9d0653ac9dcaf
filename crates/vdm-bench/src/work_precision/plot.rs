//! The comparison as a plot.

use std::path::Path;

use vdm_report::Error;
use vdm_report::figure::{Axis, Figure, Hue, Place, Plot, Series};

use super::{CALLS, Row};

/// Smallest error by number of calls, over samplers and grids.
fn frontier(rows: &[Row], range: &str, mixture: &str) -> Vec<(f64, f64)> {
    CALLS
        .iter()
        .filter_map(|calls| {
            let here = rows
                .iter()
                .filter(|row| row.range == range && row.mixture == mixture && row.calls == *calls);
            let error = here.filter_map(|row| row.error).min_by(f64::total_cmp)?;
            Some((*calls as f64, error))
        })
        .collect()
}

/// The best error for each number of calls on one problem, ours and the others'.
fn panel(ours: &[Row], others: &[Row], range: &str, mixture: &str) -> Plot {
    let both = [("ours", Hue::Blue, ours), ("k-diffusion, diffusers", Hue::Orange, others)];
    let series = both.into_iter().flat_map(|(label, color, rows)| {
        let points = frontier(rows, range, mixture);
        let dots = Series::dots(points.clone(), 3.0, color);
        [Series::line(points, color).labeled(label), dots]
    });
    Plot {
        size: (450, 310),
        title: format!("{mixture}, range {range}"),
        x: Axis::log("model calls", 4.5..55.0),
        y: Axis::log("RMS error", 1e-6..1.0),
        series: series.collect(),
        legend: Some(Place::BottomLeft),
    }
}

/// Draws a panel for each problem, two in a row.
///
/// # Errors
/// If the file cannot be written.
pub fn draw(path: &Path, ours: &[Row], others: &[Row]) -> Result<(), Error> {
    let problems = super::report::problems(ours);
    let panels: Vec<_> =
        problems.iter().map(|(range, mixture)| panel(ours, others, range, mixture)).collect();
    let rows = panels.chunks(2).map(|row| row.iter().cloned().map(Into::into).collect());
    Figure {
        title: "Smallest error by model calls".to_owned(),
        note: String::new(),
        rows: rows.collect(),
    }
    .save(path)
}
