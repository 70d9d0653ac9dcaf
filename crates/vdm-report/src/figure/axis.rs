//! Axes, linear or logarithmic, and where their ticks are.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;

use super::canvas::units;

/// How an axis is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// Values are drawn at their decimal logarithm, and must be positive.
    Log10,
}

/// An axis: what is on it, from where to where.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// The quantity, with its unit.
    pub label: String,
    /// From the lowest to the highest value, neither of them infinite.
    pub range: Range<f64>,
    /// How it is divided.
    pub scale: Scale,
}

impl Axis {
    /// A linear one.
    pub fn linear(label: impl Into<String>, range: Range<f64>) -> Self {
        Self { label: label.into(), range, scale: Scale::Linear }
    }

    /// A logarithmic one over positive values.
    pub fn log(label: impl Into<String>, range: Range<f64>) -> Self {
        Self { label: label.into(), range, scale: Scale::Log10 }
    }

    pub(super) fn ticks(&self) -> Ticks {
        let ends = [self.range.start, self.range.end].map(|value| self.scale.position(value));
        Ticks { axis: (ends[0]..ends[1]).into(), scale: self.scale }
    }
}

impl Scale {
    fn position(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log10 => value.log10(),
        }
    }
}

/// An axis for the plotting library: its ticks are those of a linear axis, over the values or over their
/// logarithms, and in the second case at whole powers of ten.
#[derive(Clone)]
pub(super) struct Ticks {
    axis: RangedCoordf64,
    scale: Scale,
}

impl Ranged for Ticks {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.axis.map(&self.scale.position(*value), limit)
    }

    fn key_points<H: KeyPointHint>(&self, hint: H) -> Vec<f64> {
        match self.scale {
            Scale::Linear => self.axis.key_points(hint),
            Scale::Log10 => decades(self.axis.range(), hint.bold_points()),
        }
    }

    fn range(&self) -> Range<f64> {
        let Range { start, end } = self.axis.range();
        match self.scale {
            Scale::Linear => start..end,
            Scale::Log10 => 10_f64.powf(start)..10_f64.powf(end),
        }
    }
}

impl ValueFormatter<f64> for Ticks {
    fn format_ext(&self, value: &f64) -> String {
        tick(*value)
    }
}

/// Powers of ten in this range of exponents, at most `count`; between them 2 and 5 where few.
fn decades(exponents: Range<f64>, count: usize) -> Vec<f64> {
    let (first, last) = (exponents.start.floor() as i32, exponents.end.ceil() as i32);
    let whole = usize::try_from(last - first).unwrap_or(0);
    let step = whole.div_ceil(count.max(1)).max(1);
    let factors: &[f64] = if 2 * whole <= count { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let powers = (first..=last).step_by(step).map(|exponent| 10_f64.powi(exponent));
    let ticks = powers.flat_map(|power| factors.iter().map(move |factor| factor * power));
    ticks.filter(|tick| (exponents.start..=exponents.end).contains(&tick.log10())).collect()
}

/// The label of a tick: short, with a suffix for thousands and millions.
fn tick(value: f64) -> String {
    let text = match value.abs() {
        0.0 => "0".to_owned(),
        m if !(1e-3..1e9).contains(&m) => scientific(value),
        m if m >= 1e6 => format!("{}M", trimmed(&format!("{:.6}", value / 1e6))),
        m if m >= 1e4 => format!("{}k", trimmed(&format!("{:.6}", value / 1e3))),
        _ => trimmed(&format!("{value:.6}")).to_owned(),
    };
    text.replace('-', "\u{2212}")
}

fn scientific(value: f64) -> String {
    let text = format!("{value:.3e}");
    match text.split_once('e') {
        Some((digits, exponent)) => format!("{}e{exponent}", trimmed(digits)),
        None => text,
    }
}

/// Without the zeros at the end of a decimal fraction.
fn trimmed(fraction: &str) -> &str {
    fraction.trim_end_matches('0').trim_end_matches('.')
}

/// How many ticks an axis of some pixels has room for.
pub(super) fn tick_count(pixels: f64, spacing: f64) -> usize {
    (units(pixels) / units(spacing)).max(2).unsigned_abs() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logarithmic_axis_spaces_decades_evenly() {
        let ticks = Axis::log("", 1e-3..1.0).ticks();
        let places = [0.01, 0.1, 1.0].map(|value| ticks.map(&value, (0, 3000)));
        assert_eq!(places, [1000, 2000, 3000]);
        let labels = decades(-3.0..0.0, 4).into_iter().map(|value| ticks.format_ext(&value));
        assert_eq!(labels.collect::<Vec<_>>(), ["0.001", "0.01", "0.1", "1"]);
    }

    #[test]
    fn decades_are_thinned_or_divided() {
        assert_eq!(decades(-3.0..0.0, 4), [1e-3, 1e-2, 1e-1, 1.0]);
        assert_eq!(decades(-0.1..1.0, 5), [1.0, 2.0, 5.0, 10.0]);
        assert_eq!(decades(-4.0..0.0, 2), [1e-4, 1e-2, 1.0]);
    }

    #[test]
    fn ticks_are_short() {
        let labels = [0.0, -12.0, 2.5, 0.1 + 0.2, 0.00125, 1500.0, 12_500.0, 2e6, 3e-4, 1e98];
        let expected = ["0", "−12", "2.5", "0.3", "0.00125", "1500", "12.5k", "2M", "3e−4", "1e98"];
        assert_eq!(labels.map(tick), expected);
    }
}
