//! One bound under many schedules.

use anyhow::Result;
use vdm_core::importance::{Estimator, optimal};
use vdm_core::schedule::{LogSnrRange, Normal, StraightLine, Truncated};
use vdm_core::{LogSnr, NoiseSchedule, Schedule, Weighting, bound};
use vdm_random::{Purpose, Seed};
use vdm_report::figure::{Axis, Figure, Hue, Place, Plot, Series, Stroke};

use super::{Entry, Picture};
use crate::oracles::{evenly, noise_error, two_clusters};

pub(super) const ENTRY: Entry = Entry {
    file: "invariance.svg",
    heading: "Many schedules, one bound, many variances",
    text: "Schedules that run between the same two levels of log-SNR by different ways, and the continuous-time loss \
        estimated under each at random times: the mean of the first n draws. All means end at the same value, since the \
        loss is an integral over log-SNR alone; how soon depends on the schedule. The least variance has the one whose \
        density of levels is proportional to the error there: every draw of it is the loss itself, but for the \
        width of the bins it is made of.",
    section: "2.3.3 and 2.4.3 (M46, M49, M58)",
    code: "`importance::Estimator`, `importance::optimal`, `bound::continuous`",
    draw,
};

const ENDS: (f64, f64) = (6.0, -6.0);
const DRAWS: u64 = 10_000;
/// Intervals of the schedule of least variance.
const BINS: usize = 100;

/// By their names, the last one made for these data.
fn schedules(error: impl Fn(LogSnr) -> f64) -> Result<Vec<(&'static str, Schedule)>> {
    let (max, min) = ENDS;
    let range = LogSnrRange::new(max, min)?;
    let linear = Schedule::linear(max, min)?;
    let best = optimal(&Weighting::Elbo, &linear, BINS, error)?;
    Ok(vec![
        ("straight line", Schedule::StraightLine(Truncated::new(StraightLine::default(), range)?)),
        ("cosine", Schedule::cosine(max, min)?),
        ("EDM", Schedule::Normal(Truncated::new(Normal::edm(-1.2, 1.2)?, range)?)),
        ("linear", linear),
        ("least variance", Schedule::Histogram(best)),
    ])
}

/// The mean of the first 1, 2, … draws under a schedule, thinned to what a logarithmic axis shows.
fn running_means(estimator: &Estimator<'_>, error: impl Fn(LogSnr) -> f64) -> Vec<(f64, f64)> {
    let (mut sum, mut shown, mut points) = (0.0, 1.0, Vec::new());
    for draw in 0..DRAWS {
        // The same times for all schedules.
        let t = Seed(5).uniform(Purpose::EvaluationTime, 0, draw);
        sum += estimator.factor(t) * error(estimator.log_snr(t));
        let n = (draw + 1) as f64;
        if n >= shown || draw + 1 == DRAWS {
            points.push((n, sum / n));
            shown = n * 1.015;
        }
    }
    points
}

fn draw() -> Result<Picture> {
    let (max, min) = ENDS;
    let error = noise_error(&two_clusters()?, (min, max));
    let schedules = schedules(&error)?;
    let loss = bound::continuous(LogSnrRange::new(max, min)?, &error);
    let (mut curves, mut means) = (Vec::new(), Vec::new());
    for ((name, schedule), color) in schedules.iter().zip(Hue::ALL) {
        let levels = evenly(0.0, 1.0, 400).map(|t| (t, schedule.log_snr(t).value()));
        curves.push(Series::line(levels, color).labeled(*name));
        let estimator = Estimator::new(Weighting::Elbo, schedule, schedule)?;
        let variance = short(estimator.variance(&error));
        means.push(
            Series::line(running_means(&estimator, &error), color)
                .labeled(format!("{name}: {variance}")),
        );
    }
    let limit = [(1.0, loss), (DRAWS as f64, loss)];
    let limit = Series::line(limit, Hue::Gray).stroked(Stroke::Dashed);
    means.push(limit.labeled(format!("L_{{∞}} = {loss:.3}")));
    let panel = |title: &str, x, y, series, corner| Plot {
        size: (460, 380),
        title: title.to_owned(),
        x,
        y,
        series,
        legend: Some(corner),
    };
    let time = Axis::linear("time t", 0.0..1.0);
    let draws = Axis::log("draws n", 1.0..DRAWS as f64);
    let levels = Axis::linear("log-SNR λ", min..max);
    let height = Axis::linear("estimate in nats", 0.0..2.0 * loss);
    Ok(Picture::Drawing(Figure {
        title: "Many schedules, one bound, many variances".to_owned(),
        note: "two clusters on a line, exact denoiser; one level a draw".to_owned(),
        rows: vec![vec![
            panel("Schedules", time, levels, curves, Place::BottomLeft).into(),
            panel(
                "Mean of n draws; variance of one in nats²",
                draws,
                height,
                means,
                Place::BottomRight,
            )
            .into(),
        ]],
    }))
}

/// A variance in two digits or three.
fn short(variance: f64) -> String {
    let decimals = (1.0 - variance.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{variance:.decimals$}")
}
