//! Draws the figures of the schedules' chapter: `docs/images/schedules.svg`, scales by time under
//! two schedules, and `docs/images/noising.png`, digits along the forward process in 100 steps.
//!
//! ```sh
//! cargo run -p vdm-report --example schedules
//! ```

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;
use vdm_core::likelihood::Discretized;
use vdm_core::schedule::Normal;
use vdm_core::{Latent, NoiseLevel, NoiseSchedule, Scaling, Schedule};
use vdm_data::{Source, load};
use vdm_report::preview::{Images, Layout, grid};
use vdm_sample::{Iid, Seed};

/// A label, a color, and what is drawn of a level.
type Curve = (&'static str, RGBColor, fn(&NoiseLevel) -> f64);

const STEPS: u32 = 100;
const DIGITS: usize = 4;

fn level(schedule: &Schedule, t: f64) -> NoiseLevel {
    Scaling::VariancePreserving.level(schedule.log_snr(t).value())
}

/// `α` and `σ²` by time, a panel for each schedule.
fn curves(path: &Path) -> Result<(), Box<dyn Error>> {
    let schedules = [
        ("cosine", Schedule::cosine(15.0, -15.0)?),
        ("EDM training", Schedule::Normal(Normal::edm(-1.2, 1.2)?.into())),
    ];
    let root = SVGBackend::new(path, (900, 300)).into_drawing_area();
    root.fill(&WHITE)?;
    for (panel, (name, schedule)) in root.split_evenly((1, 2)).iter().zip(&schedules) {
        let mut chart = ChartBuilder::on(panel)
            .caption(*name, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(36)
            .build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
        chart.configure_mesh().light_line_style(WHITE).x_desc("t").draw()?;
        let read: [Curve; 2] = [
            ("α", RGBColor(0x2f, 0x6f, 0xdb), |l| l.alpha),
            ("σ²", RGBColor(0xd9, 0x57, 0x2b), |l| l.sigma * l.sigma),
        ];
        for (label, color, value) in read {
            let points = (0..=STEPS).map(|i| f64::from(i) / f64::from(STEPS));
            let points = points.map(|t| (t, value(&level(schedule, t))));
            chart.draw_series(LineSeries::new(points, color.stroke_width(2)))?.label(label).legend(
                move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)),
            );
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::MiddleLeft)
            .border_style(AXIS)
            .background_style(WHITE)
            .draw()?;
    }
    root.present()?;
    Ok(())
}

const AXIS: RGBColor = RGBColor(0x9a, 0xa3, 0xaf);

/// Every tenth latent of a chain of 100 steps, with one noise along each row.
fn strip(path: &Path) -> Result<(), Box<dyn Error>> {
    let digits = load(&Source::Digits {})?;
    let code = Discretized::new(digits.values)?;
    let schedule = Schedule::cosine(8.5, -8.5)?;
    let mut pixels = Vec::new();
    for i in 0..DIGITS {
        let item = digits.train.item(i);
        let x: Vec<f32> = item.iter().map(|k| code.encode(u16::from(*k)) as f32).collect();
        let mut eps = vec![0.0; x.len()];
        Iid::new(Seed(3), i as u64, 1).fill_slice(&mut eps);
        for step in (0..=STEPS).step_by(10) {
            let at = level(&schedule, f64::from(step) / f64::from(STEPS));
            let z = Vec::lincomb(&[(at.alpha, &x), (at.sigma, &eps)]);
            // Drawn on the scale of the data, like the image itself.
            pixels.extend(z.iter().map(|z| code.decode(f64::from(*z)) as u8));
        }
    }
    let columns = (STEPS / 10 + 1) as usize;
    let images = Images::new(&pixels, [DIGITS * columns, 1, 8, 8], digits.values)?;
    grid(&images, Layout { columns, zoom: 8 })?.save(path)?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/images");
    curves(&folder.join("schedules.svg"))?;
    strip(&folder.join("noising.png"))
}
