//! From records to plots: what to leave out, what to average, which range to show.

use std::ops::Range;

use super::run::{Gap, Metrics, Part};
use crate::figure::{Axis, Hue, Plot, Series, Stroke};
use crate::metrics::{Timing, TrainRecord, ValidationRecord};
use crate::result::{LossByLogSnr, NoiseLevels};

type Point = (f64, f64);

/// Points of a smoothed line, and how many on either side each is averaged with: in all 4 % of the
/// training.
const SMOOTH_POINTS: usize = 200;
const SMOOTH_REACH: usize = 4;
/// Stretches of a raw line; each is drawn from its lowest to its highest value.
const RAW_STRETCHES: usize = 500;
/// The start of a training, whose losses would flatten the rest of the plot.
const SPIKES: f64 = 0.04;
/// Quantiles of the later values that a plot shows.
const SHOWN: [f64; 2] = [0.002, 0.985];
/// Room above and below, as a share of the range.
const MARGIN: f64 = 0.07;
/// Values beyond are left out, lest differences overflow.
const LARGEST: f64 = 1e100;
/// An axis is at least this long in relation to its values: ticks closer than floats can tell
/// apart would never end.
const SHORTEST: f64 = 1e-9;

const NO_RECORDS: Gap = Gap::Empty("The run has no finite values to plot here (yet).");

/// Displayed sizes, in pixels.
const WIDE: (u32, u32) = (900, 340);
const HALF: (u32, u32) = (440, 270);
const SMALL: (u32, u32) = (300, 200);

/// The training loss, raw and smoothed, and the validation bound with its standard errors.
pub(super) fn loss(metrics: &Metrics) -> Part<Plot> {
    let train = points_of(&metrics.train, |record| record.loss_bits_per_dim);
    let validation: Vec<_> = metrics.validation.iter().filter_map(with_error).collect();
    let middles: Vec<Point> = validation.iter().map(|&(step, bits, _)| (step, bits)).collect();

    let all = [train.clone(), middles.clone()].concat();
    let x = extent(all.iter().map(|point| point.0)).ok_or(NO_RECORDS)?;
    let settled = [settled(&train), settled(&middles)].concat();
    let y = padded(shown(settled).ok_or(NO_RECORDS)?);
    let series = vec![
        Series::line(envelope(&train), Hue::Blue).stroked(Stroke::Faint),
        Series::line(smooth(&train), Hue::Blue),
        Series::line(middles, Hue::Orange).stroked(Stroke::Faint),
        Series::bars(validation, Hue::Orange),
    ];
    Ok(plot(WIDE, Axis::linear("step", x), Axis::linear("bits/dim", y), series))
}

/// A training loss that is no bound, on an axis of its own.
pub(super) fn weighted_loss(metrics: &Metrics) -> Part<Plot> {
    let value = |record: &TrainRecord| record.weighted_loss.unwrap_or(f64::NAN);
    steps(WIDE, &points_of(&metrics.train, value), "weighted loss")
}

/// Some other quantity of the training steps, from 0 up.
pub(super) fn quantity(
    metrics: &Metrics,
    label: &'static str,
    value: impl Fn(&TrainRecord) -> f64,
) -> Part<Plot> {
    steps(SMALL, &points_of(&metrics.train, value), label)
}

/// The training speed.
pub(super) fn speed(timings: &[Timing]) -> Part<Plot> {
    let points = timings.iter().map(|timing| (timing.step as f64, timing.images_per_second));
    let points: Vec<Point> = points.filter(|point| plottable(point.1)).collect();
    steps(SMALL, &points, "images per second")
}

fn steps(size: (u32, u32), points: &[Point], label: &'static str) -> Part<Plot> {
    let x = extent(points.iter().map(|point| point.0)).ok_or(NO_RECORDS)?;
    let y = from_zero(shown(settled(points)).ok_or(NO_RECORDS)?.end);
    let series = vec![
        Series::line(envelope(points), Hue::Blue).stroked(Stroke::Faint),
        Series::line(smooth(points), Hue::Blue),
    ];
    Ok(plot(size, Axis::linear("step", x), Axis::linear(label, y), series))
}

/// The loss by log-SNR with a band of one standard error, on a logarithmic axis.
pub(super) fn loss_by_log_snr(curve: &LossByLogSnr) -> Part<Plot> {
    let bins = curve.log_snr.iter().zip(&curve.loss).zip(&curve.standard_error);
    let bins =
        bins.map(|((&x, &loss), &error)| (x, loss, if error.is_finite() { error } else { 0.0 }));
    let bins: Vec<_> =
        bins.filter(|&(x, loss, _)| loss > 0.0 && plottable(loss) && plottable(x)).collect();
    let x = extent(bins.iter().map(|bin| bin.0)).ok_or(NO_RECORDS)?;
    let y = extent(bins.iter().map(|bin| bin.1)).ok_or(NO_RECORDS)?;

    let points = bins.iter().map(|&(x, loss, _)| (x, loss));
    let edges = bins.iter().map(|&(x, loss, error)| (x, loss - error, loss + error));
    let series = vec![Series::band(edges, Hue::Green), Series::line(points, Hue::Green)];
    let y = Axis::log("E‖ε − ε̂‖² / D", 0.7 * y.start..1.4 * y.end);
    Ok(plot(HALF, Axis::linear("log-SNR λ", x), y, series))
}

/// The integrand of the diffusion term over log-SNR, and the area under it.
pub(super) fn integrand(curve: &LossByLogSnr) -> Part<Plot> {
    let bins = curve.log_snr.iter().copied().zip(curve.integrand());
    let points: Vec<Point> = bins.filter(|bin| plottable(bin.0) && plottable(bin.1)).collect();
    let x = extent(points.iter().map(|point| point.0)).ok_or(NO_RECORDS)?;
    let top = points.iter().map(|point| point.1).fold(0.0, f64::max);
    let y = from_zero(top);

    Ok(plot(
        HALF,
        Axis::linear("log-SNR λ", x),
        Axis::linear("bits/dim per unit λ", y),
        area_below(points),
    ))
}

/// The density that training draws noise levels with.
pub(super) fn density(levels: &NoiseLevels) -> Part<Plot> {
    let points = drawable(&levels.density);
    let x = extent(points.iter().map(|point| point.0)).ok_or(NO_RECORDS)?;
    let y = from_zero(points.iter().map(|point| point.1).fold(0.0, f64::max));
    Ok(plot(HALF, Axis::linear("log-SNR λ", x), Axis::linear("p(λ)", y), area_below(points)))
}

/// The noise schedule as configured, faint, and by now.
pub(super) fn schedule(levels: &NoiseLevels) -> Part<Plot> {
    let (start, now) = (drawable(&levels.schedule_at_start), drawable(&levels.schedule));
    let all = || start.iter().chain(&now);
    let x = extent(all().map(|point| point.0)).ok_or(NO_RECORDS)?;
    let y = padded(extent(all().map(|point| point.1)).ok_or(NO_RECORDS)?);
    let series =
        vec![Series::line(start, Hue::Blue).stroked(Stroke::Faint), Series::line(now, Hue::Blue)];
    Ok(plot(HALF, Axis::linear("time t", x), Axis::linear("log-SNR λ", y), series))
}

/// A line and the area between it and 0.
fn area_below(points: Vec<Point>) -> Vec<Series> {
    let edges: Vec<_> = points.iter().map(|&(x, value)| (x, 0.0, value)).collect();
    vec![Series::band(edges, Hue::Green), Series::line(points, Hue::Green)]
}

fn drawable(points: &[[f64; 2]]) -> Vec<Point> {
    let points = points.iter().map(|[x, y]| (*x, *y));
    points.filter(|(x, y)| plottable(*x) && plottable(*y)).collect()
}

fn plot(size: (u32, u32), x: Axis, y: Axis, series: Vec<Series>) -> Plot {
    Plot { size, title: String::new(), x, y, series, legend: None }
}

/// Whether a value can be given a place in a plot. NaN cannot.
pub(super) fn plottable(value: f64) -> bool {
    value.abs() <= LARGEST
}

fn points_of(records: &[TrainRecord], value: impl Fn(&TrainRecord) -> f64) -> Vec<Point> {
    let points = records.iter().map(|record| (record.step as f64, value(record)));
    points.filter(|point| plottable(point.1)).collect()
}

fn with_error(record: &ValidationRecord) -> Option<(f64, f64, f64)> {
    let (bits, error) = (record.bits_per_dim, record.standard_error);
    let error = if error.is_finite() { error } else { 0.0 };
    plottable(bits).then_some((record.step as f64, bits, error))
}

/// Means over stretches of equal count, then over their neighbors. The line begins and ends where
/// neighbors run out: a mean of fewer would wander more than the rest of the line.
fn smooth(points: &[Point]) -> Vec<Point> {
    let stretches = points.chunks(points.len().div_ceil(SMOOTH_POINTS).max(1));
    let means: Vec<Point> = stretches.map(mean).collect();
    let reach = SMOOTH_REACH.min(means.len() / 10);
    means.windows(2 * reach + 1).map(mean).collect()
}

fn mean(points: &[Point]) -> Point {
    let count = points.len() as f64;
    points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0 / count, sum.1 + point.1 / count))
}

/// All points where they are few, else the lowest and highest of each stretch, in their order.
fn envelope(points: &[Point]) -> Vec<Point> {
    if points.len() <= 2 * RAW_STRETCHES {
        return points.to_vec();
    }
    let stretches = points.chunks(points.len().div_ceil(RAW_STRETCHES));
    stretches.flat_map(extremes).collect()
}

fn extremes(points: &[Point]) -> Vec<Point> {
    let by_height = |a: &&Point, b: &&Point| a.1.total_cmp(&b.1);
    let (low, high) = (points.iter().min_by(by_height), points.iter().max_by(by_height));
    let mut both: Vec<Point> = low.into_iter().chain(high).copied().collect();
    both.sort_by(|a, b| a.0.total_cmp(&b.0));
    both
}

/// The heights that follow the first spikes.
fn settled(points: &[Point]) -> Vec<f64> {
    let spikes = (points.len() as f64 * SPIKES).ceil() as usize;
    // Of a handful of points each counts.
    let skipped = if points.len() < 10 { 0 } else { spikes };
    points[skipped..].iter().map(|point| point.1).collect()
}

/// The range of all but the outermost values.
fn shown(mut values: Vec<f64>) -> Option<Range<f64>> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let quantile = |share: f64| values[(share * last as f64).round() as usize];
    Some(quantile(SHOWN[0])..quantile(SHOWN[1]))
}

/// A range with a margin on both sides.
fn padded(range: Range<f64>) -> Range<f64> {
    let Range { start, end } = long_enough(range);
    let margin = (end - start) * MARGIN;
    start - margin..end + margin
}

fn from_zero(top: f64) -> Range<f64> {
    0.0..if top > 0.0 { top * (1.0 + MARGIN) } else { 1.0 }
}

/// From the lowest to the highest value, as the range of an axis.
fn extent(values: impl Iterator<Item = f64>) -> Option<Range<f64>> {
    let ends = values.map(|value| (value, value)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    ends.map(|(low, high)| long_enough(low..high))
}

fn long_enough(range: Range<f64>) -> Range<f64> {
    let magnitude = range.start.abs().max(range.end.abs());
    if range.end - range.start > SHORTEST * magnitude {
        return range;
    }
    let half = if magnitude > 0.0 { 0.1 * magnitude } else { 1.0 };
    range.start - half..range.end + half
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Mark;

    fn falling(count: usize) -> Metrics {
        let record = |step: u64| TrainRecord {
            skipped: 0,
            step,
            loss_bits_per_dim: 2.0 + 50.0 / (step as f64).powi(2),
            terms: vec![],
            weighted_loss: None,
            learning_rate: 1e-3,
            gradient_norm: if step == 7 { f64::NAN } else { 1.0 },
            variance: None,
        };
        Metrics { train: (1..=count as u64).map(record).collect(), validation: vec![] }
    }

    #[test]
    fn the_first_spikes_do_not_set_the_range() {
        let plot = loss(&falling(1000)).unwrap();
        assert_eq!(plot.x.range, 1.0..1000.0);
        assert!(plot.y.range.end < 2.1 && plot.y.range.start < 2.001, "{:?}", plot.y);
    }

    #[test]
    fn a_handful_of_points_is_shown_whole() {
        let plot = loss(&falling(3)).unwrap();
        assert!(plot.y.range.end > 52.0, "{:?}", plot.y);
    }

    #[test]
    fn long_logs_are_thinned_but_keep_their_extremes() {
        let mut points: Vec<Point> = (0..100_000).map(|i| (f64::from(i), 1.0)).collect();
        points[54_321].1 = 9.0;
        let thin = envelope(&points);
        assert!(thin.len() <= 2 * RAW_STRETCHES);
        assert!(thin.contains(&(54_321.0, 9.0)));
        assert!(thin.is_sorted_by(|a, b| a.0 <= b.0));
        assert!(smooth(&points).len() <= SMOOTH_POINTS);
    }

    #[test]
    fn smoothing_keeps_a_straight_line_and_flattens_noise() {
        let line: Vec<Point> = (0..50).map(|i| (f64::from(i), 3.0 * f64::from(i))).collect();
        let smoothed = smooth(&line);
        assert_eq!(smoothed.len(), 50 - 2 * SMOOTH_REACH);
        assert!(smoothed.iter().all(|point| (point.1 - 3.0 * point.0).abs() < 1e-9));
        let noise: Vec<Point> = (0..50).map(|i| (f64::from(i), f64::from(i % 2))).collect();
        assert!(smooth(&noise).iter().all(|point| (point.1 - 0.5).abs() < 0.06));
    }

    #[test]
    fn values_that_are_not_finite_are_left_out() {
        let plot = quantity(&falling(20), "gradient norm", |record| record.gradient_norm).unwrap();
        let Mark::Line { points, .. } = &plot.series[0].mark else { panic!("{:?}", plot.series) };
        assert_eq!(points.len(), 19);
        assert!(loss(&Metrics::default()).is_err());
        assert!(quantity(&falling(5), "", |_| f64::NAN).is_err());
    }

    #[test]
    fn an_axis_always_has_room_for_ticks() {
        for range in
            [1.7..1.7, 1.7..1.7 + f64::EPSILON, 0.0..0.0, 1e100..1e100, -1e15..-1e15 + 0.125]
        {
            let long = padded(range.clone());
            assert!(long.start < range.start && long.end > range.end, "{range:?} became {long:?}");
            assert!(long.end - long.start >= 0.1 * range.start.abs(), "{range:?} became {long:?}");
        }
        assert_eq!(extent([3.0, -1.0, 2.0].into_iter()), Some(-1.0..3.0));
        assert!(!plottable(f64::NAN) && !plottable(f64::MAX) && plottable(-1e99));
    }

    #[test]
    fn bins_without_a_positive_loss_cannot_be_drawn_as_logarithms() {
        let curve = LossByLogSnr {
            log_snr: vec![-1.0, 0.0, 1.0],
            loss: vec![0.0, f64::NAN, 0.5],
            standard_error: vec![0.0, 0.0, f64::NAN],
            data_dims: 4,
        };
        let plot = loss_by_log_snr(&curve).unwrap();
        assert_eq!(plot.series[1], Series::line([(1.0, 0.5)], Hue::Green));
        assert_eq!(plot.series[0], Series::band([(1.0, 0.5, 0.5)], Hue::Green));
        assert_eq!(integrand(&curve).unwrap().x.range, -1.0..1.0);
        assert_eq!(plot.x.range, 0.9..1.1);
    }
}
