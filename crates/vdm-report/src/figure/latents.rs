//! The plane of two latents.

use std::f64::consts::TAU;

use super::{Axis, Hue, Mark, Plot, Series, Stroke};
use crate::result::Latents;

/// Points of a circle.
const CORNERS: u32 = 90;
/// How far the plane is shown, in standard deviations of the prior.
const REACH: f64 = 3.5;
/// Where the prior is this many times as dense as the posteriors of all items together, there is a hole.
const HOLE: f64 = 10.0;
const SIZE: (u32, u32) = (440, 420);

/// Series over circles that hold 39, 86 and 99 percent of the prior `N(0, I)` of two latents.
pub fn over_the_prior(
    size: (u32, u32),
    title: String,
    series: impl IntoIterator<Item = Series>,
) -> Plot {
    let circle = |radius: f64| {
        let angles = (0..=CORNERS).map(|i| TAU * f64::from(i) / f64::from(CORNERS));
        let points = angles.map(|angle| (radius * angle.cos(), radius * angle.sin()));
        Series::line(points, Hue::Gray).stroked(Stroke::Faint)
    };
    Plot {
        size,
        title,
        x: Axis::linear("first dimension", -REACH..REACH),
        y: Axis::linear("second dimension", -REACH..REACH),
        series: [1.0, 2.0, 3.0].map(circle).into_iter().chain(series).collect(),
        legend: None,
    }
}

impl Latents {
    /// Whether a latent drawn from the prior is where no item's posterior is: the prior is ten times as dense there as
    /// all of them together.
    fn is_in_hole(log_ratio: f64) -> bool {
        log_ratio > HOLE.ln()
    }

    /// The share of the prior that is where no item's posterior is.
    #[must_use]
    pub fn share_in_hole(&self) -> f64 {
        let inside = self.log_ratio.iter().filter(|ratio| Self::is_in_hole(**ratio)).count();
        inside as f64 / self.log_ratio.len() as f64
    }

    /// Latents of the items and draws from the prior, over the prior; and, where data are points of the plane, the
    /// items and what the model makes of those draws. Without legends: gray are items, blue draws from the prior, orange
    /// those of them in the hole.
    #[must_use]
    pub fn plots(&self) -> Vec<Plot> {
        let mut plots = vec![over_the_prior(
            SIZE,
            "Latents".to_owned(),
            self.series(&self.items, "items", &self.drawn),
        )];
        if !self.drawn_points.is_empty() {
            plots.push(Plot {
                size: SIZE,
                title: "Data".to_owned(),
                x: Axis::linear("first dimension", -1.0..1.0),
                y: Axis::linear("second dimension", -1.0..1.0),
                series: self.series(&self.item_points, "items", &self.drawn_points),
                legend: None,
            });
        }
        plots
    }

    /// What is of items, and what is of draws from the prior where items are and where none is.
    fn series(&self, items: &[[f64; 2]], label: &str, drawn: &[[f64; 2]]) -> Vec<Series> {
        let of_draws = |in_hole: bool| -> Vec<[f64; 2]> {
            let draws = drawn.iter().zip(&self.log_ratio);
            let wanted = draws.filter(|(_, ratio)| Self::is_in_hole(**ratio) == in_hole);
            wanted.map(|(point, _)| *point).collect()
        };
        let dots = |points: &[[f64; 2]], color, label: &str| {
            let points = points.iter().map(|[x, y]| (*x, *y)).collect();
            let mark = Mark::Dots { points, radius: 1.6, opacity: 0.7 };
            Series { mark, color, label: label.to_owned() }
        };
        vec![
            dots(items, Hue::Gray, label),
            dots(&of_draws(false), Hue::Blue, "prior"),
            dots(&of_draws(true), Hue::Orange, "in the hole"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latents() -> Latents {
        Latents {
            hole: 0.1,
            standard_error: 0.01,
            items: vec![[0.0, 0.0], [1.0, 1.0]],
            drawn: vec![[0.0, 0.5], [3.0, 0.0], [0.5, 0.0], [f64::NAN, 0.0]],
            log_ratio: vec![0.1, 5.0, -1.0, f64::NAN],
            item_points: vec![],
            drawn_points: vec![],
        }
    }

    #[test]
    fn draws_are_told_apart_by_whether_items_are_there() {
        let mut latents = latents();
        assert_eq!(latents.share_in_hole(), 0.25);
        let plots = latents.plots();
        assert_eq!(plots.len(), 1);
        let hole = plots[0].series.last().unwrap();
        let Mark::Dots { points, .. } = &hole.mark else { panic!("{hole:?}") };
        assert_eq!(*points, [(3.0, 0.0)]);
        // Two items, and the three draws of four that have a place.
        let svg = plots[0].svg().unwrap();
        assert_eq!(svg.matches("<circle").count(), 5, "{svg}");
        latents.drawn_points = vec![[0.5, 0.5]; 4];
        assert_eq!(latents.plots().len(), 2);
    }
}
