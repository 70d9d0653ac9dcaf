//! The levels of a `T`-step hierarchy.

use std::error::Error;

use vdm_core::count::{Cost, bounded};
use vdm_core::setting::{at_least_one, require};
use vdm_core::{LogSnr, NoiseSchedule, Scaling, bound};

use super::EstimateError;
use crate::GridSpec;

/// `λ_0 > λ_1 > … > λ_T`, from data to noise; none in continuous time.
#[derive(Debug, Default)]
pub(super) struct HierarchyLevels(Vec<LogSnr>);

/// How far a grid's ends may be from the schedule's, in units of `λ`: some roundings of a grid.
const SAME: f64 = 1e-9;

/// A step of the hierarchy.
#[derive(Debug, Clone, Copy)]
pub(super) struct HierarchyStep {
    /// `λ_t`, where the model is asked.
    pub(super) start: LogSnr,
    /// `λ_s`, the cleaner one.
    pub(super) end: LogSnr,
    /// What `‖ε − ε̂‖²` counts for.
    pub(super) factor: f64,
}

impl HierarchyLevels {
    /// # Errors
    /// [`EstimateError::Setting`] for no steps or a grid that ends elsewhere than the schedule,
    /// [`EstimateError::Count`] for more than 2^20, [`EstimateError::Grid`] if there is no such grid.
    pub(super) fn of<E: Error + 'static>(
        steps: u32,
        grid: &GridSpec,
        schedule: &dyn NoiseSchedule,
    ) -> Result<Self, EstimateError<E>> {
        at_least_one("steps", steps)?;
        bounded("steps", steps, Cost::List)?;
        // Of a level its log-SNR is used, which no scaling changes.
        let scaling = Scaling::VariancePreserving;
        let grid = grid.time_grid(steps as usize, schedule, scaling)?;
        let levels: Vec<LogSnr> =
            grid.levels().iter().rev().map(|level| LogSnr::new(level.log_snr)).collect();
        let [max, min] = [levels[0], levels[levels.len() - 1]].map(LogSnr::value);
        let range = schedule.range();
        let others = (max - range.max()).abs() > SAME || (min - range.min()).abs() > SAME;
        let (low, high) = (range.min(), range.max());
        let value = format_args!("log-SNR from {min} to {max}, on a schedule from {low} to {high}");
        require(
            !others,
            "grid",
            value,
            "use one with the schedule's ends, which a bound is about",
        )?;
        Ok(Self(levels))
    }

    /// `T`.
    pub(super) fn steps(&self) -> usize {
        self.0.len().saturating_sub(1)
    }

    /// `λ_i`.
    pub(super) fn level(&self, i: usize) -> LogSnr {
        self.0[i]
    }

    /// Step `i`, from 1.
    pub(super) fn step(&self, i: usize) -> HierarchyStep {
        let (end, start) = (self.0[i - 1], self.0[i]);
        HierarchyStep { start, end, factor: bound::discrete_factor(end, start) }
    }
}
