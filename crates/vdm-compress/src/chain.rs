//! The chain of latents of a diffusion model of `T` steps.
//!
//! ```text
//! q(z_0|x) q(z_1|z_0) … q(z_T|z_{T−1})      p(x|z_0) p(z_0|z_1) … p(z_{T−1}|z_T) p(z_T)
//! ```
//!
//! Latent `i` lies at a level `λ_i`, by default at time `t = i/T`. Its values are whole multiples of a cell, a power of two at
//! least `cells_per_std` times narrower than each Gaussian it is coded with, so that every value is
//! an exact f32.

use std::collections::BTreeMap;
use std::iter::once;

use serde::{Deserialize, Serialize};
use vdm_core::likelihood::Discretized;
use vdm_core::setting::require;
use vdm_core::{Denoiser, LogSnr, NoiseLevel, NoiseSchedule, Posterior, Scaling, Transition};
use vdm_sample::TimeGrid;
use vdm_sample::grid::GridError;

use crate::cells::{Cells, REACH, check_cells_per_std};
use crate::distribution::Normal;
use crate::error::{CodecError, Error};
use crate::walk::{Coded, Likelihood, Move, Walk};

/// The latents of a diffusion model, as a reader needs to know them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    /// `T`: model calls per batch, and the bound that the code length meets; 1 to 2^20.
    pub steps: u32,
    /// Where the latents lie.
    #[serde(default, skip_serializing_if = "LatentLevels::are_uniform")]
    pub levels: LatentLevels,
    /// Cells of a latent's grid per standard deviation of the narrowest Gaussian it is coded with;
    /// 1 to 4,096. Each doubling costs one more initial bit per latent. See
    /// [`Settings::CELLS`](crate::Settings::CELLS).
    pub cells_per_std: u32,
}

/// The noise levels of the latents. A reader takes them from the file, so they are listed where they are not
/// the schedule's own: a grid that is computed anew has to come out the same to the last bit.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LatentLevels {
    /// At equal steps of the schedule's time.
    #[default]
    UniformTime,
    /// `T + 1` log-SNRs that rise, the last of them finite.
    LogSnrs(Vec<f64>),
}

impl LatentLevels {
    fn are_uniform(&self) -> bool {
        *self == Self::UniformTime
    }

    fn grid(&self, steps: usize, schedule: &dyn NoiseSchedule) -> Result<TimeGrid, GridError> {
        let scaling = Scaling::VariancePreserving;
        match self {
            Self::UniformTime => TimeGrid::uniform_time(steps, schedule, scaling),
            Self::LogSnrs(log_snrs) if log_snrs.len() == steps + 1 => {
                TimeGrid::from_log_snrs(log_snrs.iter().copied(), scaling)
            }
            Self::LogSnrs(log_snrs) => {
                Err(GridError::Steps { asked: steps, found: log_snrs.len().saturating_sub(1) })
            }
        }
    }
}

/// One latent's noise level and its cells.
#[derive(Debug, Clone, Copy)]
struct Latent {
    at: NoiseLevel,
    cells: Cells,
}

/// Between a latent and the next noisier one.
#[derive(Debug, Clone, Copy)]
struct Transitions {
    forward: Transition,
    reverse: Posterior,
}

/// A diffusion model with all latents from `z_0` on, and the steps between them.
#[derive(Debug)]
pub(crate) struct CodedChain<'a, D> {
    model: &'a D,
    data: Discretized,
    latents: Vec<Latent>,
    steps: Vec<Transitions>,
}

impl<'a, D: Denoiser<Vec<f32>>> CodedChain<'a, D> {
    pub(crate) fn new(
        model: &'a D,
        data: Discretized,
        schedule: &dyn NoiseSchedule,
        chain: &Chain,
    ) -> Result<Self, Error> {
        let Chain { steps, cells_per_std, .. } = *chain;
        require((1..=1 << 20).contains(&steps), "steps", steps, "use 1 to 1048576")?;
        check_cells_per_std(cells_per_std)?;
        let grid = chain.levels.grid(steps as usize, schedule)?;
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
        let popped = once(levels[0].sigma);
        let popped = popped.chain(between.iter().map(|step| step.forward.var_ts.sqrt()));
        let pushed = between.iter().map(|step| step.reverse.var.sqrt()).chain([1.0]);
        let mut latents = Vec::with_capacity(levels.len());
        for ((at, popped), pushed) in levels.into_iter().zip(popped).zip(pushed) {
            let narrowest = popped.min(pushed) / f64::from(cells_per_std);
            let reach = at.alpha + REACH * at.sigma;
            latents.push(Latent { at, cells: Cells::new(latents.len(), narrowest, reach)? });
        }
        Ok(Self { model, data, latents, steps: between })
    }

    fn top(&self) -> usize {
        self.steps.len()
    }

    fn normal(&self, latent: usize, mean: f64, std: f64) -> Normal {
        self.latents[latent].cells.normal(mean, std)
    }
}

impl<D: Denoiser<Vec<f32>>> Coded<D::Error> for CodedChain<'_, D> {
    fn walk(&self, pixels: usize) -> Box<dyn Walk<D::Error> + '_> {
        Box::new(ChainWalk { coded: self, pixels: vec![0; pixels], cells: BTreeMap::new() })
    }
}

/// A batch on its way through a diffusion model, which keeps two latents at a time.
struct ChainWalk<'a, D> {
    coded: &'a CodedChain<'a, D>,
    pixels: Vec<u8>,
    cells: BTreeMap<usize, Vec<i32>>,
}

impl<D: Denoiser<Vec<f32>>> ChainWalk<'_, D> {
    fn values(&self, latent: usize) -> impl Iterator<Item = f64> {
        let cells = self.coded.latents[latent].cells;
        self.cells[&latent].iter().map(move |k| cells.value(*k))
    }

    /// The images predicted from the latents above `latent`, of which the mean of `latent` is made.
    fn predict(&self, latent: usize) -> Result<Vec<f32>, CodecError<D::Error>> {
        let at = &self.coded.latents[latent + 1].at;
        let z: Vec<f32> = self.values(latent + 1).map(|z| z as f32).collect();
        let images = self.coded.model.denoise(&z, at).map_err(CodecError::Model)?.image(&z, at);
        match images.iter().find(|x_hat| !x_hat.is_finite()) {
            Some(value) => Err(Error::NonFinite { latent, value: f64::from(*value) }.into()),
            None => Ok(images),
        }
    }
}

impl<D: Denoiser<Vec<f32>>> Walk<D::Error> for ChainWalk<'_, D> {
    /// Each latent is pushed as soon as the next noisier one is known.
    fn moves(&self) -> Box<dyn DoubleEndedIterator<Item = Move>> {
        let top = self.coded.top();
        let noisier = (0..top).flat_map(|i| [Move::Draw(i + 1), Move::Latent(i)]);
        Box::new(
            [Move::Draw(0), Move::Pixels].into_iter().chain(noisier).chain([Move::Latent(top)]),
        )
    }

    /// `q(z_0|x)`, or `q(z_i|z_{i−1})`.
    fn posterior(&mut self, latent: usize) -> Result<Vec<Normal>, CodecError<D::Error>> {
        let coded = self.coded;
        if latent == 0 {
            let NoiseLevel { alpha, sigma, .. } = coded.latents[0].at;
            let clean = |x: &u8| coded.normal(0, alpha * coded.data.encode((*x).into()), sigma);
            return Ok(self.pixels.iter().map(clean).collect());
        }
        let Transition { alpha_ts, var_ts } = coded.steps[latent - 1].forward;
        let std = var_ts.sqrt();
        Ok(self.values(latent - 1).map(|z| coded.normal(latent, alpha_ts * z, std)).collect())
    }

    /// `p(z_T)`, or `p(z_i|z_{i+1})` by the image predicted from `z_{i+1}`.
    fn prior(&mut self, latent: usize) -> Result<Vec<Normal>, CodecError<D::Error>> {
        let coded = self.coded;
        if latent == coded.top() {
            return Ok(vec![coded.normal(latent, 0.0, 1.0); self.pixels.len()]);
        }
        let Posterior { on_z, on_x, var } = coded.steps[latent].reverse;
        let std = var.sqrt();
        let images = self.predict(latent)?;
        let mean = |(z, x_hat): (f64, f32)| on_z * z + on_x * f64::from(x_hat);
        let means = self.values(latent + 1).zip(images).map(mean);
        Ok(means.map(|mean| coded.normal(latent, mean, std)).collect())
    }

    fn likelihood(&mut self) -> Result<Likelihood<'_>, CodecError<D::Error>> {
        let Latent { at, cells } = self.coded.latents[0];
        let (clean, data) = (&self.cells[&0], self.coded.data);
        Ok(Box::new(move |pixel, distribution| {
            let y = cells.value(clean[pixel]) / at.alpha;
            let log_probs = data.log_probs(y, LogSnr::new(at.log_snr));
            distribution.set(log_probs.map(f64::exp), data.levels());
        }))
    }

    fn know(&mut self, latent: usize, cells: Vec<i32>) {
        self.cells.insert(latent, cells);
    }

    fn know_pixels(&mut self, pixels: &[u8]) {
        self.pixels = pixels.to_vec();
    }

    fn forget(&mut self, latent: usize) -> Vec<i32> {
        self.cells.remove(&latent).expect("a latent that is known")
    }
}
