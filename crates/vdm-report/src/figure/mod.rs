//! Figures as SVG: curves, points and graphs, in one style.
//!
//! A [`Figure`] is rows of [`Panel`]s, each a [`Plot`] with its axes or a [`Diagram`] of nodes and
//! edges. Written to a file it is on paper of its own, so that it reads on light and dark pages; a
//! [`Plot`] alone is transparent, for a page whose style sheet replaces the colors of [`Hue`] and the ink.
//!
//! In every text `L_{T}` is an `L` with the index `T`.
//!
//! The plotting library knows whole units alone. So that curves are smooth, ten of its units are a pixel.
//!
//! ```
//! use vdm_report::figure::{Axis, Place, Figure, Hue, Plot, Series};
//! let parabola = (-20..=20).map(|i| f64::from(i) / 10.0).map(|x| (x, x * x));
//! let plot = Plot {
//!     size: (420, 280),
//!     title: "A parabola".to_owned(),
//!     x: Axis::linear("x", -2.0..2.0),
//!     y: Axis::linear("x²", 0.0..4.0),
//!     series: vec![Series::line(parabola, Hue::Blue).labeled("x²")],
//!     legend: Some(Place::TopRight),
//! };
//! let figure = Figure { title: String::new(), note: String::new(), rows: vec![vec![plot.into()]] };
//! assert!(figure.svg()?.contains("A parabola"));
//! # Ok::<(), vdm_report::Error>(())
//! ```

mod axis;
mod canvas;
mod diagram;
mod latents;
mod layout;
mod legend;
mod plot;
mod series;

pub use axis::{Axis, Scale};
pub use diagram::{Diagram, Edge, Node};
pub use latents::over_the_prior;
pub use layout::{Figure, Panel};
pub use legend::Place;
pub use plot::Plot;
pub use series::{Hue, Mark, Series, Stroke};
