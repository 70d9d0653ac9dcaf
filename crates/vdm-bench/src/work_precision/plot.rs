//! The comparison as a plot.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use super::{CALLS, Row};

const OURS: RGBColor = RGBColor(0x2f, 0x6f, 0xdb);
const OTHERS: RGBColor = RGBColor(0xd9, 0x57, 0x2b);

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

/// Draws a panel for each problem: the best error for each number of calls, ours and the others'.
///
/// # Errors
/// If the file cannot be written.
pub fn draw(path: &Path, ours: &[Row], others: &[Row]) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, (900, 620)).into_drawing_area();
    root.fill(&WHITE)?;
    let problems = super::report::problems(ours);
    for (panel, (range, mixture)) in root.split_evenly((2, 2)).iter().zip(problems) {
        let mut chart = ChartBuilder::on(panel)
            .caption(format!("{mixture}, {range}"), ("sans-serif", 16))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(52)
            .build_cartesian_2d((4.5..55.0).log_scale(), (1e-6..1.0).log_scale())?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc("model calls")
            .y_desc("RMS error")
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| format!("{y:.0e}"))
            .draw()?;
        for (label, color, rows) in
            [("ours", OURS, ours), ("k-diffusion, diffusers", OTHERS, others)]
        {
            let points = frontier(rows, range, mixture);
            chart
                .draw_series(LineSeries::new(points, color.stroke_width(2)).point_size(3))?
                .label(label)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2))
                });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerLeft)
            .background_style(WHITE)
            .draw()?;
    }
    root.present()?;
    Ok(())
}
