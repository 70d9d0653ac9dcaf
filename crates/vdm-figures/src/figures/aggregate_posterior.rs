//! The aggregate posterior of diffusion beside its prior.

use anyhow::Result;
use vdm_core::bound::prior_kl;
use vdm_core::hlvm::Normal;
use vdm_core::{GaussianMixture, LogSnr, quadrature};
use vdm_random::{Purpose, Seed, fill_normal};
use vdm_report::figure::{Axis, Figure, Hue, Mark, Place, Plot, Series, Stroke, over_the_prior};

use super::{Entry, Picture};
use crate::oracles::{SCALING, evenly, five_clusters};

pub(super) const ENTRY: Entry = Entry {
    file: "aggregate-posterior.svg",
    heading: "No holes at the end of the schedule",
    text: "Above, latents of the five clusters at three levels γ = −λ at which a schedule might end, over circles that \
        hold 39, 86 and 99 percent of the prior N(0, I); the number is KL(q(z_1) ‖ p(z_1)), 0 where both are one. Below, \
        the same wherever the schedule ends: with what z_1 still knows of x it makes up the prior term of the bound, \
        E KL(q(z_1 given x) ‖ p(z_1)). A variational autoencoder has to learn to close its holes; here a later end of \
        the schedule closes them.",
    section: "3 (M66; M10 for the sum)",
    code: "`GaussianMixture::log_density`, `bound::prior_kl`, `quadrature::normal`",
    draw,
};

/// Where the panels above are.
const ENDS: [f64; 3] = [4.0, 0.0, -4.0];
const DOTS: u64 = 400;

/// `KL(q(z)‖N(0, I))` of the noised data at a level, in nats.
fn hole(data: &GaussianMixture, log_snr: f64) -> f64 {
    let (at, prior) = (SCALING.level(log_snr), Normal::new(0.0, 1.0));
    let of_component = |(weight, mean, std): (f64, &[f64], f64)| {
        let spread = (at.alpha * std).hypot(at.sigma);
        let log_ratio = |xi: &[f64]| {
            let z: Vec<f64> =
                mean.iter().zip(xi).map(|(m, xi)| at.alpha * m + spread * xi).collect();
            let log_prior: f64 = z.iter().map(|z| prior.log_density(z)).sum();
            data.log_density(&z, &at) - log_prior
        };
        weight * quadrature::normal(data.dims(), log_ratio)
    };
    data.components().map(of_component).sum()
}

/// `E KL(q(z|x)‖N(0, I))` over the data, in nats: the divergence is linear in `x²`.
fn prior_term(data: &GaussianMixture, log_snr: f64) -> f64 {
    let of_axis = |d: usize| {
        let square: f64 =
            data.components().map(|(w, mean, std)| w * (mean[d].powi(2) + std * std)).sum();
        prior_kl(LogSnr::new(log_snr), square.sqrt())
    };
    (0..data.dims()).map(of_axis).sum()
}

fn draw() -> Result<Picture> {
    let data = five_clusters()?;
    let above = ENDS.map(|log_snr| latents(&data, log_snr).into());
    let levels = || evenly(8.0, -12.0, 40);
    let hole_by_end: Vec<_> = levels().map(|end| (-end, hole(&data, end))).collect();
    let term: Vec<_> = levels().map(|end| (-end, prior_term(&data, end))).collect();
    let known: Vec<_> =
        term.iter().zip(&hole_by_end).map(|(term, hole)| (term.0, term.1 - hole.1)).collect();
    let shown = ENDS.map(|end| (-end, hole(&data, end)));
    let below = Plot {
        size: (918, 340),
        title: "By the end of the schedule".to_owned(),
        x: Axis::linear("γ = −λ at the end of the schedule", -8.0..12.0),
        y: Axis::log("nats", 1e-12..100.0),
        series: vec![
            Series::line(term, Hue::Gray).labeled("E KL(q(z_{1} | x) ‖ p(z_{1}))"),
            Series::line(known, Hue::Green).stroked(Stroke::Dashed).labeled("I(x; z_{1})"),
            Series::line(hole_by_end, Hue::Blue).labeled("KL(q(z_{1}) ‖ p(z_{1}))"),
            Series::dots(shown, 4.0, Hue::Blue),
        ],
        legend: Some(Place::BottomLeft),
    };
    Ok(Picture::Drawing(Figure {
        title: "The aggregate posterior and the prior".to_owned(),
        note: "five clusters in the plane, variance preserving".to_owned(),
        rows: vec![above.into(), vec![below.into()]],
    }))
}

/// Latents at a level over the prior's circles.
fn latents(data: &GaussianMixture, log_snr: f64) -> Plot {
    let at = SCALING.level(log_snr);
    let mut series = Vec::new();
    for (k, ((_, mean, std), color)) in (0..).zip(data.components().zip(Hue::ALL)) {
        let mut normals = vec![0.0_f64; 2 * (DOTS / 5) as usize];
        fill_normal(&mut normals, 2, Seed(7), Purpose::EvaluationNoise, 0, k * DOTS / 5);
        let spread = (at.alpha * std).hypot(at.sigma);
        let place = |d: usize, xi: f64| at.alpha * mean[d] + spread * xi;
        let points = normals.chunks(2).map(|xi| (place(0, xi[0]), place(1, xi[1]))).collect();
        let mark = Mark::Dots { points, radius: 1.6, opacity: 0.7 };
        series.push(Series { mark, color, label: String::new() });
    }
    // A minus of the font's, not a hyphen.
    let gamma = format!("{}", 0.0 - log_snr).replace('-', "−");
    let title = format!("γ = {gamma}: KL = {} nats", short(hole(data, log_snr)));
    over_the_prior((306, 294), title, series)
}

/// Three digits.
fn short(nats: f64) -> String {
    let decimals = (2.0 - nats.log10().floor()).clamp(0.0, 9.0) as usize;
    format!("{nats:.decimals$}")
}

#[cfg(test)]
mod tests {
    use vdm_core::bound::mutual_information;

    use super::*;
    use crate::oracles::two_clusters;

    /// The difference of the two is what a latent knows, by I-MMSE (1e-8: as the tests of M69 have it).
    #[test]
    fn the_prior_term_is_the_hole_and_the_information() {
        let data = two_clusters().unwrap();
        let error = |at: LogSnr| data.mmse(&SCALING.level(at.value()));
        let known = mutual_information(LogSnr::new(-3.0), error);
        let both = known + hole(&data, -3.0);
        assert!((both - prior_term(&data, -3.0)).abs() < 1e-8, "{both}");
    }

    #[test]
    fn a_later_end_leaves_a_smaller_hole() {
        let data = five_clusters().unwrap();
        let holes: Vec<f64> = evenly(8.0, -12.0, 10).map(|end| hole(&data, end)).collect();
        assert!(holes.is_sorted_by(|a, b| a > b) && holes[10] > 0.0, "{holes:?}");
    }
}
