//! The `T`-step hierarchy on grids of cells.
//!
//! ```text
//! q(z_0|x) q(z_1|z_0) … q(z_T|z_{T−1})      p(x|z_0) p(z_0|z_1) … p(z_{T−1}|z_T) p(z_T)
//! ```
//!
//! Latent `i` lies at a level `λ_i`, by default at time `t = i/T`. Its values are whole multiples of a cell, a power of two at
//! least `cells_per_std` times narrower than each Gaussian it is coded with, so that every value is
//! an exact f32.

use vdm_core::{NoiseLevel, NoiseSchedule, Posterior, Transition};

use crate::distribution::Normal;
use crate::{Error, Settings};

/// Whole numbers up to this times a power of two are exact f32.
const MAX_EDGE: i32 = 1 << 24;
/// How many standard deviations of its marginal a grid reaches to: a latent is cut off there with
/// probability 1e-15.
const REACH: f64 = 8.0;

/// One latent's noise level and its grid.
#[derive(Debug, Clone, Copy)]
struct LatentGrid {
    at: NoiseLevel,
    cell: f64,
    edge: i32,
}

/// Between a latent and the next noisier one.
#[derive(Debug, Clone, Copy)]
struct Transitions {
    forward: Transition,
    reverse: Posterior,
}

/// All latents from `z_0` on, and the steps between them.
#[derive(Debug)]
pub(crate) struct Hierarchy {
    grids: Vec<LatentGrid>,
    steps: Vec<Transitions>,
}

impl Hierarchy {
    pub(crate) fn new(schedule: &dyn NoiseSchedule, settings: &Settings) -> Result<Self, Error> {
        let steps = settings.steps as usize;
        let grid = settings.levels.grid(steps, schedule)?;
        let levels: Vec<NoiseLevel> = grid.levels().iter().rev().copied().collect();
        if levels[0].sigma == 0.0 {
            return Err(Error::CleanEnd { log_snr: levels[0].log_snr });
        }
        let between = |pair: &[NoiseLevel]| Transitions {
            forward: Transition::between(&pair[0], &pair[1]),
            reverse: Posterior::between(&pair[0], &pair[1]),
        };
        let between: Vec<Transitions> = levels.windows(2).map(between).collect();
        // What each latent is popped with in writing, and what it is pushed with.
        let popped = [levels[0].sigma].into_iter();
        let popped = popped.chain(between.iter().map(|step| step.forward.var_ts.sqrt()));
        let pushed = between.iter().map(|step| step.reverse.var.sqrt()).chain([1.0]);
        let mut grids = Vec::with_capacity(levels.len());
        for ((at, popped), pushed) in levels.into_iter().zip(popped).zip(pushed) {
            let widest = popped.min(pushed) / f64::from(settings.cells_per_std);
            let cell = 2.0_f64.powi(widest.log2().floor() as i32);
            let cells = ((at.alpha + REACH * at.sigma) / cell).ceil();
            if cells > f64::from(MAX_EDGE) {
                let latent = grids.len();
                return Err(Error::Cells { latent, steps, cells, limit: MAX_EDGE });
            }
            grids.push(LatentGrid { at, cell, edge: cells as i32 });
        }
        Ok(Self { grids, steps: between })
    }

    /// `T`.
    pub(crate) fn steps(&self) -> usize {
        self.steps.len()
    }

    pub(crate) fn level(&self, latent: usize) -> &NoiseLevel {
        &self.grids[latent].at
    }

    /// A latent's value.
    pub(crate) fn value(&self, latent: usize, k: i32) -> f64 {
        f64::from(k) * self.grids[latent].cell
    }

    fn normal(&self, latent: usize, mean: f64, std: f64) -> Normal {
        let LatentGrid { cell, edge, .. } = self.grids[latent];
        Normal { mean: mean / cell, std: std / cell, edge }
    }

    /// `q(z_0|x)`.
    pub(crate) fn clean(&self, x: f64) -> Normal {
        let NoiseLevel { alpha, sigma, .. } = self.grids[0].at;
        self.normal(0, alpha * x, sigma)
    }

    /// `q(z_{i+1}|z_i)` for latent `i` below the top, in cell `k`.
    pub(crate) fn forward(&self, latent: usize, k: i32) -> Normal {
        let Transition { alpha_ts, var_ts } = self.steps[latent].forward;
        self.normal(latent + 1, alpha_ts * self.value(latent, k), var_ts.sqrt())
    }

    /// `p(z_i|z_{i+1})` for latent `i` below the top, given the cell of `z_{i+1}` and the image
    /// predicted from it.
    pub(crate) fn reverse(&self, latent: usize, k: i32, x_hat: f64) -> Normal {
        let Posterior { on_z, on_x, var } = self.steps[latent].reverse;
        self.normal(latent, on_z * self.value(latent + 1, k) + on_x * x_hat, var.sqrt())
    }

    /// `p(z_T)`.
    pub(crate) fn prior(&self) -> Normal {
        self.normal(self.steps(), 0.0, 1.0)
    }
}
