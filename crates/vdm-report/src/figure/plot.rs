//! A plot: axes, and series between them.

use plotters::chart::ChartContext;
use plotters::coord::cartesian::Cartesian2d;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::axis::{Ticks, tick_count};
use super::canvas::{self, AXIS, Area, Drawn, FONT_SIZE, GRID, PLAIN, TEXT, pixels, unsigned};
use super::{Axis, Place, Series, legend};
use crate::Error;

/// Pixels around what is drawn.
const MARGIN: f64 = 6.0;
const RIGHT: f64 = 20.0;
const X_LABELS: f64 = 38.0;
const Y_LABELS: f64 = 62.0;
const TITLE: f64 = 26.0;
/// Pixels between tick labels, about.
const X_SPACING: f64 = 60.0;
const Y_SPACING: f64 = 42.0;

/// A plot of some pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    /// Width and height in pixels, with all that stands around the axes.
    pub size: (u32, u32),
    /// Above; none if empty.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// From back to front.
    pub series: Vec<Series>,
    /// Where the labels of the series are explained, if they are.
    pub legend: Option<Place>,
}

/// The axes that series are drawn between.
pub(super) type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Ticks, Ticks>>;

impl Plot {
    /// The plot as an SVG element without a background.
    ///
    /// # Errors
    /// [`Error::Plot`] when the plotting library refuses.
    pub fn svg(&self) -> Result<String, Error> {
        canvas::svg(self.size, |area| self.draw_on(area)).map_err(|reason| Error::Plot {
            what: format!("{} by {}", self.y.label, self.x.label),
            reason: reason.to_string(),
        })
    }

    pub(super) fn draw_on(&self, area: &Area<'_>) -> Drawn {
        let title = if self.title.is_empty() { 0.0 } else { TITLE };
        let mut builder = ChartBuilder::on(area);
        builder
            .margin(unsigned(MARGIN))
            .margin_top(unsigned(MARGIN + title))
            .margin_right(unsigned(RIGHT))
            .x_label_area_size(unsigned(X_LABELS))
            .y_label_area_size(unsigned(Y_LABELS));
        let mut chart = builder.build_cartesian_2d(self.x.ticks(), self.y.ticks())?;
        self.draw_axes(&mut chart, pixels(area))?;
        for series in &self.series {
            series.draw(&mut chart, &self.x.range, &self.y.range)?;
        }
        if let Some(at) = self.legend {
            legend::draw(&chart.plotting_area().strip_coord_spec(), &self.series, at)?;
        }
        let above = (MARGIN + Y_LABELS, MARGIN + 0.5 * TITLE);
        canvas::write(area, &self.title, above, PLAIN.bold(), HPos::Left)
    }

    fn draw_axes(&self, chart: &mut Chart<'_, '_>, (width, height): (f64, f64)) -> Drawn {
        let font = ("sans-serif", f64::from(unsigned(FONT_SIZE))).into_font().color(&TEXT);
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID.stroke_width(unsigned(1.0)))
            .axis_style(AXIS.stroke_width(unsigned(1.0)))
            .set_all_tick_mark_size(unsigned(4.0))
            .x_labels(tick_count(width, X_SPACING))
            .y_labels(tick_count(height, Y_SPACING))
            .label_style(font.clone())
            .axis_desc_style(font)
            .x_desc(&self.x.label)
            .y_desc(&self.y.label)
            .draw()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{Hue, Mark};

    /// The vertical coordinates of the line in the color of the series.
    fn heights(svg: &str) -> Vec<i32> {
        let line = svg.lines().find(|line| line.contains("#2F6FDB")).unwrap();
        let points = line.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        points.split_whitespace().map(|p| p.split(',').nth(1).unwrap().parse().unwrap()).collect()
    }

    #[test]
    fn a_line_is_drawn_by_the_scale_of_its_axis() {
        let plot = Plot {
            size: (300, 200),
            title: String::new(),
            x: Axis::linear("step", 0.0..10.0),
            y: Axis::log("loss", 1e-3..1.0),
            series: vec![Series::line([(0.0, 0.01), (1.0, 0.1), (2.0, 1.0)], Hue::Blue)],
            legend: None,
        };
        let svg = plot.svg().unwrap();
        let heights = heights(&svg);
        assert!((heights[0] - 2 * heights[1] + heights[2]).abs() <= 1, "{heights:?}");
        assert!(svg.lines().any(|line| line == "0.01"), "no tick 0.01");
    }

    #[test]
    fn dots_outside_are_left_out() {
        let points = vec![(0.5, 0.5), (2.0, 0.5), (0.5, -1.0)];
        let mark = Mark::Dots { points, radius: 2.0, opacity: 0.5 };
        let plot = Plot {
            size: (300, 200),
            title: String::new(),
            x: Axis::linear("x", 0.0..1.0),
            y: Axis::linear("y", 0.0..1.0),
            series: vec![Series { mark, color: Hue::Blue, label: String::new() }],
            legend: None,
        };
        assert_eq!(plot.svg().unwrap().matches("<circle").count(), 1);
    }

    #[test]
    fn the_style_sheet_of_the_report_knows_every_color() {
        let style = include_str!("../report/style.css");
        let colors = Hue::ALL.map(Hue::rgb);
        for RGBColor(r, g, b) in colors.into_iter().chain([TEXT, AXIS, GRID]) {
            let hex = format!("#{r:02X}{g:02X}{b:02X}");
            assert!(style.contains(&hex), "style.css lacks {hex}");
        }
    }
}
