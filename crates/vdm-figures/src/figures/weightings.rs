//! Where the loss comes from under different weights.

use anyhow::Result;
use vdm_core::importance::Estimator;
use vdm_core::{LogSnr, Schedule, Weighting};
use vdm_report::figure::{Axis, Figure, Hue, Place, Plot, Series, Stroke};

use super::{Entry, Picture};
use crate::oracles::{evenly, noise_error, two_clusters};

pub(super) const ENTRY: Entry = Entry {
    file: "weightings.svg",
    heading: "What a weight looks at",
    text: "On the left the weight w(λ) of published objectives, each 1 at λ = 0: only those that never rise with λ \
        are bounds on noisy data. On the right the share of the loss that comes from each level, ½w(λ)E‖ε − ε̂‖² \
        over its integral, for one set of data and its exact denoiser. The bound itself spends most of its effort at high log-SNR, \
        on the last digits of the data; every other weight moves it to the middle, where the clusters are told apart.",
    section: "2.4.1 and 2.4.2 (M50, M51, M52, M55)",
    code: "`Weighting`, `importance::Estimator::mean`",
    draw,
};

const ENDS: (f64, f64) = (10.0, -10.0);

/// What a legend calls each weight.
fn weightings() -> Vec<(&'static str, Weighting)> {
    vec![
        ("bound (ELBO)", Weighting::Elbo),
        ("ε, cosine", Weighting::IddpmCosine),
        ("v, cosine; flow", Weighting::VelocityCosine),
        ("EDM", Weighting::Edm { p_mean: -1.2, p_std: 1.2, data_std: 0.5 }),
        ("min-SNR-5", Weighting::MinSnr { gamma: 5.0 }),
        ("sigmoid, bias 2", Weighting::Sigmoid { bias: 2.0 }),
    ]
}

/// What the levels contribute to the loss, as a density that integrates to 1.
fn shares(weighting: &Weighting, schedule: &Schedule) -> Result<Vec<(f64, f64)>> {
    let error = noise_error(&two_clusters()?, (ENDS.1, ENDS.0));
    let loss = Estimator::new(weighting.clone(), schedule, schedule)?.mean(&error);
    let share = |log_snr: f64| {
        let at = LogSnr::new(log_snr);
        (log_snr, 0.5 * weighting.at(at, schedule) * error(at) / loss)
    };
    Ok(evenly(ENDS.1, ENDS.0, 300).map(share).collect())
}

fn draw() -> Result<Picture> {
    let schedule = Schedule::cosine(ENDS.0, ENDS.1)?;
    let (mut weights, mut losses) = (Vec::new(), Vec::new());
    for ((name, weighting), color) in weightings().into_iter().zip(Hue::ALL) {
        let at = |log_snr: f64| weighting.at(LogSnr::new(log_snr), &schedule);
        let relative = evenly(ENDS.1, ENDS.0, 300).map(|log_snr| (log_snr, at(log_snr) / at(0.0)));
        // Left of its cut-off it is another's twin.
        let capped = matches!(weighting, Weighting::MinSnr { .. });
        let stroke = if capped { Stroke::Dashed } else { Stroke::Solid };
        weights.push(Series::line(relative, color).stroked(stroke));
        let shares = Series::line(shares(&weighting, &schedule)?, color).stroked(stroke);
        losses.push(shares.labeled(name));
    }
    let panel = |title: &str, y, series, legend| Plot {
        size: (460, 360),
        title: title.to_owned(),
        x: Axis::linear("log-SNR λ", ENDS.1..ENDS.0),
        y,
        series,
        legend,
    };
    let (weight, share) =
        (Axis::log("w(λ)/w(0)", 1e-4..1e3), Axis::linear("share per unit of λ", 0.0..0.35));
    Ok(Picture::Drawing(Figure {
        title: "Loss by noise level under several weights".to_owned(),
        note: "two clusters on a line, exact denoiser; noise at the left, data at the right"
            .to_owned(),
        rows: vec![vec![
            panel("Weights", weight, weights, None).into(),
            panel("Where the loss comes from", share, losses, Some(Place::TopLeft)).into(),
        ]],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the trapezoidal rule in 300 steps: its error is the square of a step of 0.07, times a curvature of
    /// at most 1 over a few units of λ.
    #[test]
    fn shares_of_the_loss_add_up_to_all_of_it() {
        let schedule = Schedule::cosine(ENDS.0, ENDS.1).unwrap();
        for (name, weighting) in weightings() {
            let shares = shares(&weighting, &schedule).unwrap();
            let area = shares.windows(2).map(|p| 0.5 * (p[1].0 - p[0].0) * (p[0].1 + p[1].1));
            let area: f64 = area.sum();
            assert!((area - 1.0).abs() < 1e-3, "{name}: {area}");
        }
    }
}
