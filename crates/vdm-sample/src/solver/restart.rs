//! An interval of noise levels walked more than once.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use vdm_core::{Denoiser, Latent, LogSnr, Transition};

use super::parameter::EdmSigmaRange;
use super::{Properties, Run, Solver, Step};
use crate::{SolveError, TimeGrid};

/// On arriving at the clean end of an interval, `repeats` times: add noise back up to its noisy end by
/// the forward process, and walk the grid's levels between the two down again.
///
/// Xu et al. 2023, algorithm 1. The large dose of fresh noise forgets the errors that a
/// deterministic walk has gathered, without the many noisy steps of an SDE solver. Going up takes
/// the distribution of one level exactly to that of the other, so expectations have the inner solver's
/// order. Each walk down is a run of the inner solver on the interval's part of the grid, with a
/// memory of its own; the last one's memory is carried on. The noise runs from a level to a noisier
/// one, which independent sources ([`Iid`](crate::Iid)) serve and a
/// [`BrownianPath`](crate::noise::BrownianPath) refuses.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restart<S> {
    /// What walks.
    pub solver: S,
    /// The interval. For each end the grid's nearest finite log-SNR is used, and nothing is repeated
    /// where that is one level for both.
    pub sigma: EdmSigmaRange,
    /// How often the interval is walked again.
    #[serde(deserialize_with = "super::parameter::repeats")]
    pub repeats: usize,
}

impl<S: Default> Default for Restart<S> {
    /// Twice over the middle of the path.
    fn default() -> Self {
        Self { solver: S::default(), sigma: EdmSigmaRange { min: 0.1, max: 2.0 }, repeats: 2 }
    }
}

/// The index of the level nearest in log-SNR; infinite levels are near to nothing.
fn nearest(grid: &TimeGrid, edm_sigma: f64) -> usize {
    let log_snr = LogSnr::from_edm_sigma(edm_sigma).value();
    let middles = grid.levels().windows(2).map(|pair| 0.5 * (pair[0].log_snr + pair[1].log_snr));
    middles.take_while(|middle| *middle < log_snr).count()
}

impl<S> Restart<S> {
    /// The levels of one walk, by their indices.
    fn interval(&self, grid: &TimeGrid) -> Option<RangeInclusive<usize>> {
        let (high, low) = (nearest(grid, self.sigma.max), nearest(grid, self.sigma.min));
        (self.repeats > 0 && high < low).then_some(high..=low)
    }
}

impl<Z: Latent, S: Solver<Z>> Solver<Z> for Restart<S> {
    type Memory = S::Memory;

    fn properties(&self) -> Properties {
        let inner = self.solver.properties();
        Properties { stochastic: inner.stochastic || self.repeats > 0, ..inner }
    }

    fn calls(&self, grid: &TimeGrid) -> usize {
        let again = self.interval(grid).map_or(0, |walk| self.solver.calls(&grid.part(walk)));
        self.solver.calls(grid).saturating_add(self.repeats.saturating_mul(again))
    }

    fn step<D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step<'_>,
        memory: &mut Self::Memory,
    ) -> Result<Z, SolveError<D::Error>> {
        let mut z = self.solver.step(run, z, step, memory)?;
        let walk = self.interval(step.grid).filter(|walk| *walk.end() == step.index + 1);
        let Some(walk) = walk else { return Ok(z) };
        let part = step.grid.part(walk);
        let (from, to) = (step.to, part.levels()[0]);
        let forward = Transition::between(&from, &to);
        for _ in 0..self.repeats {
            let raised =
                run.sample(&[(forward.alpha_ts, &z)], forward.var_ts.sqrt(), &from, &to)?;
            run.recycle(std::mem::replace(&mut z, raised));
            *memory = S::Memory::default();
            for index in 0..part.steps() {
                z = self.solver.step(run, z, &Step::of(&part, index), memory)?;
            }
        }
        Ok(z)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vdm_core::Scaling;

    #[test]
    fn intervals_are_snapped_to_finite_levels() {
        let ends = [f64::NEG_INFINITY, -4.0, 0.0, 4.0, f64::INFINITY];
        let grid = TimeGrid::from_log_snrs(ends, Scaling::StraightLine).unwrap();
        let sigma = |log_snr: f64| LogSnr::new(log_snr).edm_sigma();
        let index = |log_snr: f64| nearest(&grid, sigma(log_snr));
        assert_eq!([-90.0, -2.1, -1.9, 1.9, 2.1, 90.0].map(index), [1, 1, 2, 2, 3, 3]);
        assert_eq!(nearest(&grid, 0.0), 3);
        let restart = |from: f64, to: f64| {
            let restart = Restart {
                solver: (),
                sigma: EdmSigmaRange { min: sigma(to), max: sigma(from) },
                repeats: 2,
            };
            restart.interval(&grid)
        };
        assert_eq!(restart(-4.0, 4.0), Some(1..=3));
        assert_eq!(restart(0.5, -0.5), None);
        assert_eq!(restart(4.0, -4.0), None);
    }
}
