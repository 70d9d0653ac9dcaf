//! The discrete bound by the number of its steps.

use anyhow::Result;
use vdm_core::{GaussianMixture, LogSnr, NoiseSchedule, Schedule, bound};
use vdm_report::figure::{Axis, Figure, Hue, Place, Plot, Series, Stroke};

use super::{Entry, Picture};
use crate::oracles::{noise_error, two_clusters};

pub(super) const ENTRY: Entry = Entry {
    file: "steps.svg",
    heading: "More steps, a tighter bound",
    text: "The diffusion loss of T steps for a mixture of two Gaussians and its exact denoiser, on average over the \
        data. On the left it falls towards the loss in continuous time, L_∞. On the right what is left of the way \
        there, and what the next doubling of T takes off; in the end both are proportional to 1/T, so that every \
        doubling goes half of the way. For a single image a doubling can make the bound worse (erratum E14).",
    section: "2.3.1 and 2.3.2 (M43, M44)",
    code: "`bound::discrete`, `bound::continuous`, `bound::doubling`, `GaussianMixture::mmse`",
    draw,
};

const DOUBLINGS: u32 = 10;

/// What the figure shows, in nats.
struct Losses {
    /// `L_T` for `T = 1, 2, 4, …`.
    discrete: Vec<(f64, f64)>,
    continuous: f64,
    /// `L_T − L_2T`.
    gains: Vec<(f64, f64)>,
}

impl Losses {
    fn new(data: &GaussianMixture, schedule: &Schedule) -> Self {
        let range = schedule.range();
        let error = noise_error(data, (range.min(), range.max()));
        let by_steps = |loss: &dyn Fn(usize) -> f64| -> Vec<(f64, f64)> {
            (0..=DOUBLINGS).map(|i| 1 << i).map(|steps| (steps as f64, loss(steps))).collect()
        };
        // In terms of images, as the text has it.
        let image_error = |at: LogSnr| error(at) / at.snr();
        Self {
            discrete: by_steps(&|steps| bound::discrete(schedule, steps, &error)),
            continuous: bound::continuous(range, &error),
            gains: by_steps(&|steps| -bound::doubling(schedule, steps, image_error)),
        }
    }

    fn gaps(&self) -> Vec<(f64, f64)> {
        self.discrete.iter().map(|(steps, loss)| (*steps, loss - self.continuous)).collect()
    }
}

fn draw() -> Result<Picture> {
    let losses = Losses::new(&two_clusters()?, &Schedule::linear(5.0, -5.0)?);
    let most = f64::from(1 << DOUBLINGS);
    let plot = |title: &str, y: Axis, series| Plot {
        size: (450, 340),
        title: title.to_owned(),
        x: Axis::log("number of steps T", 0.9..1.1 * most),
        y,
        series,
        legend: Some(Place::TopRight),
    };
    let dotted = |points: Vec<(f64, f64)>, color, label: &str| {
        [Series::line(points.clone(), color).labeled(label), Series::dots(points, 3.0, color)]
    };
    let asymptote = [(0.9, losses.continuous), (1.1 * most, losses.continuous)];
    let asymptote = Series::line(asymptote, Hue::Gray).stroked(Stroke::Dashed);
    let mut left = vec![asymptote.labeled(format!("L_{{∞}} = {:.3} nats", losses.continuous))];
    left.extend(dotted(losses.discrete.clone(), Hue::Blue, "L_{T}"));

    let gaps = losses.gaps();
    let scale = gaps.last().map_or(0.0, |(steps, gap)| steps * gap);
    let line = [(0.9, scale / 0.9), (1.1 * most, scale / 1.1 / most)];
    let line = Series::line(line, Hue::Gray).stroked(Stroke::Dashed);
    let mut right = vec![line.labeled(format!("{scale:.1}/T"))];
    right.extend(dotted(gaps, Hue::Orange, "L_{T} − L_{∞}"));
    right.extend(dotted(losses.gains, Hue::Green, "L_{T} − L_{2T}"));
    Ok(Picture::Drawing(Figure {
        title: "The diffusion loss of T steps".to_owned(),
        note: "two clusters on a line, exact denoiser, log-SNR linear from 5 to −5".to_owned(),
        rows: vec![vec![
            plot("Loss", Axis::log("loss in nats", 1.0..100.0), left).into(),
            plot("What is left", Axis::log("difference in nats", 0.002..100.0), right).into(),
        ]],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gains are the differences by another formula (1e-10: rounding of sums of a thousand terms).
    #[test]
    fn the_loss_falls_to_its_limit_like_one_over_the_steps() {
        let losses = Losses::new(&two_clusters().unwrap(), &Schedule::linear(5.0, -5.0).unwrap());
        let gaps = losses.gaps();
        assert!(gaps.is_sorted_by(|a, b| a.1 > b.1) && gaps[10].1 > 0.0, "{gaps:?}");
        assert!((gaps[9].1 / gaps[10].1 - 2.0).abs() < 0.01, "{gaps:?}");
        for (pair, gain) in losses.discrete.windows(2).zip(&losses.gains) {
            assert!((pair[0].1 - pair[1].1 - gain.1).abs() < 1e-10, "{pair:?} and {gain:?}");
        }
    }
}
