//! The levels a sampler visits.

use thiserror::Error;
use vdm_core::{NoiseLevel, NoiseSchedule, Scaling, times};

/// Noise levels from `t = 1` (noise) to exactly `t = 0` (data), strictly less noisy at every step.
///
/// A grid of `n` steps has `n + 1` levels; duplicates and off-by-one ends cannot be expressed.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeGrid {
    levels: Vec<NoiseLevel>,
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
}

impl TimeGrid {
    /// From levels, noisiest first.
    ///
    /// # Errors
    /// [`GridError::TooShort`] or [`GridError::NotRising`].
    pub fn from_levels(levels: Vec<NoiseLevel>) -> Result<Self, GridError> {
        if levels.len() < 2 {
            return Err(GridError::TooShort { found: levels.len() });
        }
        for (step, pair) in levels.windows(2).enumerate() {
            let (from, to) = (pair[0].log_snr, pair[1].log_snr);
            if from.partial_cmp(&to) != Some(std::cmp::Ordering::Less) {
                return Err(GridError::NotRising { step, from, to });
            }
        }
        Ok(Self { levels })
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
        let level = |t: &f64| scaling.level(schedule.log_snr(*t).value());
        Self::from_levels(times.iter().map(level).collect())
    }

    /// `t_i = 1 − i/steps`: the grid of the `T`-step hierarchy. Zero steps are taken as one.
    #[must_use]
    pub fn uniform_time(steps: usize, schedule: &dyn NoiseSchedule, scaling: Scaling) -> Self {
        let level = |f: f64| scaling.level(schedule.log_snr(1.0 - f).value());
        Self { levels: evenly(steps).map(level).collect() }
    }

    /// Equal steps of `λ` between the schedule's end points. Zero steps are taken as one.
    #[must_use]
    pub fn uniform_log_snr(steps: usize, schedule: &dyn NoiseSchedule, scaling: Scaling) -> Self {
        let (noise, data) = (schedule.log_snr(1.0).value(), schedule.log_snr(0.0).value());
        let level = |f: f64| scaling.level(noise * (1.0 - f) + data * f);
        Self { levels: evenly(steps).map(level).collect() }
    }

    /// The `steps + 1` levels, noisiest first.
    #[must_use]
    pub fn levels(&self) -> &[NoiseLevel] {
        &self.levels
    }

    /// Number of steps.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.levels.len() - 1
    }
}

/// `0, 1/steps, …, 1`, exact at both ends.
fn evenly(steps: usize) -> impl Iterator<Item = f64> {
    let steps = steps.max(1);
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
                    TimeGrid::uniform_time(steps, &schedule, Scaling::VariancePreserving),
                    TimeGrid::uniform_log_snr(steps, &schedule, Scaling::StraightLine),
                ] {
                    prop_assert_eq!(grid.steps(), steps);
                    let levels = grid.levels();
                    prop_assert_eq!(levels[0].log_snr, schedule.range().min());
                    prop_assert_eq!(levels[steps].log_snr, schedule.range().max());
                    prop_assert_eq!(TimeGrid::from_levels(levels.to_vec()), Ok(grid.clone()));
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
}
