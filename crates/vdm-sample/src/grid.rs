//! The levels a sampler visits.

use std::ops::RangeInclusive;

use thiserror::Error;
use vdm_core::{NoiseLevel, NoiseSchedule, Scaling, times};

/// Noise levels from noise to data, strictly less noisy at every step.
///
/// A grid of `n` steps has `n + 1` levels; duplicates and off-by-one ends cannot be expressed. It
/// knows the scaling of the levels *between* its own, where some solvers call the model.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeGrid {
    levels: Vec<NoiseLevel>,
    scaling: Scaling,
}

/// Why a list of times or levels is not a grid.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum GridError {
    /// Fewer than two points.
    #[error("a grid needs at least 2 points (1 step), got {found}")]
    TooShort {
        /// Number of points given.
        found: usize,
    },
    /// A grid of times must run over the whole interval.
    #[error("a grid of times starts at 1 and ends at 0, got {first} and {last}")]
    Ends {
        /// First time given.
        first: f64,
        /// Last time given.
        last: f64,
    },
    /// Noise must fall at every step.
    #[error("log-SNR must rise at every step of a grid, but step {step} goes from {from} to {to}")]
    NotRising {
        /// Index of the offending step, from 0.
        step: usize,
        /// `λ` before it.
        from: f64,
        /// `λ` after it.
        to: f64,
    },
    /// A level at which no latent exists.
    #[error(
        "point {point} of the grid, at log-SNR {log_snr}, has scales alpha = {alpha} and sigma = \
         {sigma}: use a schedule with finite ends (truncate it) or another scaling"
    )]
    NoLatent {
        /// Index of the point, from 0.
        point: usize,
        /// Its `λ`.
        log_snr: f64,
        /// Its `α`.
        alpha: f64,
        /// Its `σ`.
        sigma: f64,
    },
    /// Spacing in log-SNR (or a function of it) needs ends to space between.
    #[error(
        "{grid} needs a schedule whose ends are finite, but it runs from log-SNR {from} to {to}: \
         truncate it, or use uniform_time"
    )]
    InfiniteEnds {
        /// The grid's name.
        grid: &'static str,
        /// The noisiest `λ`.
        from: f64,
        /// The cleanest `λ`.
        to: f64,
    },
}

impl TimeGrid {
    /// From levels, noisiest first; `scaling` is that of the levels between them.
    ///
    /// # Errors
    /// [`GridError::TooShort`], [`GridError::NotRising`] or [`GridError::NoLatent`].
    pub fn from_levels(levels: Vec<NoiseLevel>, scaling: Scaling) -> Result<Self, GridError> {
        if levels.len() < 2 {
            return Err(GridError::TooShort { found: levels.len() });
        }
        for (step, pair) in levels.windows(2).enumerate() {
            let (from, to) = (pair[0].log_snr, pair[1].log_snr);
            if from.partial_cmp(&to) != Some(std::cmp::Ordering::Less) {
                return Err(GridError::NotRising { step, from, to });
            }
        }
        for (point, &NoiseLevel { log_snr, alpha, sigma }) in levels.iter().enumerate() {
            if !(alpha.is_finite() && sigma.is_finite()) {
                return Err(GridError::NoLatent { point, log_snr, alpha, sigma });
            }
        }
        Ok(Self { levels, scaling })
    }

    /// From log-SNRs, noisiest first; `±∞` are legal where the scaling has a level there.
    ///
    /// # Errors
    /// Those of [`from_levels`](Self::from_levels).
    pub fn from_log_snrs(
        log_snrs: impl IntoIterator<Item = f64>,
        scaling: Scaling,
    ) -> Result<Self, GridError> {
        Self::from_levels(log_snrs.into_iter().map(|l| scaling.level(l)).collect(), scaling)
    }

    /// From times that fall from 1 to 0.
    ///
    /// # Errors
    /// Any [`GridError`].
    pub fn from_times(
        times: &[f64],
        schedule: &dyn NoiseSchedule,
        scaling: Scaling,
    ) -> Result<Self, GridError> {
        if let (Some(&first), Some(&last)) = (times.first(), times.last())
            && (first != 1.0 || last != 0.0)
        {
            return Err(GridError::Ends { first, last });
        }
        Self::from_log_snrs(times.iter().map(|t| schedule.log_snr(*t).value()), scaling)
    }

    /// `t_i = 1 − i/steps`: the grid of the `T`-step hierarchy.
    ///
    /// # Errors
    /// Those of [`from_levels`](Self::from_levels).
    pub fn uniform_time(
        steps: usize,
        schedule: &dyn NoiseSchedule,
        scaling: Scaling,
    ) -> Result<Self, GridError> {
        Self::from_log_snrs(evenly(steps).map(|f| schedule.log_snr(1.0 - f).value()), scaling)
    }

    /// Equal steps of `λ` between the schedule's end points.
    ///
    /// # Errors
    /// [`GridError::InfiniteEnds`], or those of [`from_levels`](Self::from_levels).
    pub fn uniform_log_snr(
        steps: usize,
        schedule: &dyn NoiseSchedule,
        scaling: Scaling,
    ) -> Result<Self, GridError> {
        let (noise, data) = finite_ends("uniform_log_snr", schedule)?;
        Self::from_log_snrs(evenly(steps).map(|f| noise * (1.0 - f) + data * f), scaling)
    }

    /// The same with one more step, to clean data (`λ = ∞`): how models are sampled whose last
    /// level still holds noise that nothing decodes. A grid that ends there already stays.
    #[must_use]
    pub fn to_clean(mut self) -> Self {
        let clean = self.scaling.level(f64::INFINITY);
        if self.levels.last().is_some_and(|last| last.sigma > 0.0) {
            self.levels.push(clean);
        }
        self
    }

    /// The `steps + 1` levels, noisiest first.
    #[must_use]
    pub fn levels(&self) -> &[NoiseLevel] {
        &self.levels
    }

    /// The grid of some of its levels, at least two.
    pub(crate) fn part(&self, levels: RangeInclusive<usize>) -> Self {
        Self { levels: self.levels[levels].to_vec(), scaling: self.scaling }
    }

    /// Number of steps.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.levels.len() - 1
    }

    /// The level at a log-SNR between the grid's points.
    #[must_use]
    pub fn between(&self, log_snr: f64) -> NoiseLevel {
        self.scaling.level(log_snr)
    }
}

/// `(λ at t = 1, λ at t = 0)`.
pub(crate) fn finite_ends(
    grid: &'static str,
    schedule: &dyn NoiseSchedule,
) -> Result<(f64, f64), GridError> {
    let (from, to) = (schedule.log_snr(1.0).value(), schedule.log_snr(0.0).value());
    if from.is_finite() && to.is_finite() {
        Ok((from, to))
    } else {
        Err(GridError::InfiniteEnds { grid, from, to })
    }
}

/// `0, 1/steps, …, 1`, exact at both ends; a single point for 0 steps, which is no grid.
pub(crate) fn evenly(steps: usize) -> impl Iterator<Item = f64> {
    times::low_discrepancy(0.0, steps).chain([1.0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vdm_core::Schedule;

    proptest! {
        #[test]
        fn grids_run_from_noise_to_data_without_duplicates(steps in 1..2000_usize) {
            for schedule in [Schedule::linear(13.3, -5.0).unwrap(), Schedule::cosine(15.0, -15.0).unwrap()] {
                for grid in [
                    TimeGrid::uniform_time(steps, &schedule, Scaling::VariancePreserving).unwrap(),
                    TimeGrid::uniform_log_snr(steps, &schedule, Scaling::StraightLine).unwrap(),
                ] {
                    prop_assert_eq!(grid.steps(), steps);
                    let levels = grid.levels();
                    prop_assert_eq!(levels[0].log_snr, schedule.range().min());
                    prop_assert_eq!(levels[steps].log_snr, schedule.range().max());
                    let again = TimeGrid::from_levels(levels.to_vec(), grid.scaling);
                    prop_assert_eq!(again, Ok(grid.clone()));
                }
            }
        }
    }

    #[test]
    fn what_is_not_a_grid_is_refused_with_its_numbers() {
        let schedule = Schedule::linear(5.0, -5.0).unwrap();
        let grid = |times: &[f64]| TimeGrid::from_times(times, &schedule, Scaling::StraightLine);
        assert_eq!(grid(&[]), Err(GridError::TooShort { found: 0 }));
        assert_eq!(grid(&[1.0, 0.1]), Err(GridError::Ends { first: 1.0, last: 0.1 }));
        assert_eq!(
            grid(&[1.0, 0.5, 0.5, 0.0]),
            Err(GridError::NotRising { step: 1, from: 0.0, to: 0.0 })
        );
        assert!(matches!(grid(&[1.0, f64::NAN, 0.0]), Err(GridError::NotRising { step: 0, .. })));
        assert_eq!(grid(&[1.0, 0.25, 0.0]).unwrap().steps(), 2);
    }

    #[test]
    fn levels_without_latents_and_ends_without_space_between_are_refused() {
        let endless: Schedule = serde_json::from_str(r#"{"kind": "straight_line"}"#).unwrap();
        let explode = TimeGrid::uniform_time(4, &endless, Scaling::VarianceExploding);
        assert!(matches!(explode, Err(GridError::NoLatent { point: 0, .. })), "{explode:?}");
        let spaced = TimeGrid::uniform_log_snr(4, &endless, Scaling::StraightLine);
        assert!(matches!(spaced, Err(GridError::InfiniteEnds { .. })), "{spaced:?}");
        let none = TimeGrid::uniform_time(0, &endless, Scaling::StraightLine);
        assert_eq!(none, Err(GridError::TooShort { found: 1 }));
    }

    #[test]
    fn a_last_step_to_clean_data_is_added_once() {
        let schedule = Schedule::linear(5.0, -5.0).unwrap();
        let grid = TimeGrid::uniform_time(3, &schedule, Scaling::StraightLine).unwrap().to_clean();
        assert_eq!((grid.steps(), grid.levels()[4].sigma), (4, 0.0));
        assert_eq!(grid.clone().to_clean(), grid);
    }
}
