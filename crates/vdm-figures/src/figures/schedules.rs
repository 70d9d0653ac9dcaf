//! Scales of signal and noise by time.

use anyhow::Result;
use vdm_core::schedule::Normal;
use vdm_core::{Error, NoiseLevel, NoiseSchedule, Schedule};
use vdm_report::figure::{Axis, Figure, Hue, Place, Plot, Series};

use super::{Entry, Picture};
use crate::oracles::{SCALING, evenly};

pub(super) const ENTRY: Entry = Entry {
    file: "schedules.svg",
    heading: "Two noise schedules",
    text: "The scale of the signal α and the variance of the noise σ² by time, variance preserving. \
        Under the cosine schedule the two trade places evenly. Under EDM's, whose log-SNR is normally distributed, \
        most of the signal is left until late: it spends its time at levels where an image can still be told.",
    section: "2.1.3 (M21, M23)",
    code: "`Schedule::cosine`, `schedule::Normal::edm`, `Scaling::VariancePreserving`",
    draw,
};

/// Steps of the chain.
pub(super) const STEPS: u32 = 100;

/// The two schedules of the text by their names.
pub(super) fn of_the_text() -> Result<[(&'static str, Schedule); 2], Error> {
    Ok([
        ("cosine", Schedule::cosine(15.0, -15.0)?),
        ("EDM", Schedule::Normal(Normal::edm(-1.2, 1.2)?.into())),
    ])
}

/// The noise level at a time.
pub(super) fn level(schedule: &Schedule, t: f64) -> NoiseLevel {
    SCALING.level(schedule.log_snr(t).value())
}

fn draw() -> Result<Picture> {
    let panel = |(name, schedule): (&str, Schedule)| {
        let levels = || evenly(0.0, 1.0, 10 * STEPS).map(|t| (t, level(&schedule, t)));
        let alpha = Series::line(levels().map(|(t, at)| (t, at.alpha)), Hue::Blue).labeled("α");
        let var = levels().map(|(t, at)| (t, at.sigma * at.sigma));
        let var = Series::line(var, Hue::Orange).labeled("σ²");
        Plot {
            size: (450, 320),
            title: name.to_owned(),
            x: Axis::linear("time t", 0.0..1.0),
            y: Axis::linear("α, σ²", 0.0..1.0),
            series: vec![alpha, var],
            legend: Some(Place::MiddleLeft),
        }
    };
    Ok(Picture::Drawing(Figure {
        title: "Signal and noise under two schedules".to_owned(),
        note: String::new(),
        rows: vec![of_the_text()?.map(|schedule| panel(schedule).into()).into()],
    }))
}
