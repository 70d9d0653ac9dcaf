//! Discrete data under the probability-flow ODE.
//!
//! [`FlowLikelihood`] gives `log p(z_0)` of a latent; [`Dequantization`] draws the latent of an item
//! and says how the two make a bound on `−log p(x)`. With `K` draws it is importance-weighted,
//! `−E log (1/K) Σ p(z_0)p(x|z_0)/q(z_0|x)`, and tends to the likelihood itself as `K` grows.
//!
//! The trace may be estimated ([`Trace::Hutchinson`]) as long as `K = 1`: its noise has mean 0 in
//! `log p` and not in `p`, so that under the logarithm of a mean it would make the data look likelier
//! than they are.

use std::error::Error;

use serde::{Deserialize, Serialize};
use vdm_core::count::{Cost, bounded, bounded_product};
use vdm_core::schedule::LogSnrRange;
use vdm_core::setting::{at_least_one, require};
use vdm_core::{Divergence, LogSnr, NoiseLevel, Vjp};

use super::importance_weighted::bounds;
use super::rounds::check_range;
use super::terms::DenoiserTerms;
use super::{Dequantization, Estimate, EstimateError, Moments, Rounds};
use crate::likelihood::{FlowLikelihood, LogLikelihood, ProbeDistribution, ProbeSource, Probes};
use crate::{AdaptiveOde, InnerProduct, SolveError};

/// How the divergence of the flow is had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Trace {
    /// Exactly.
    Exact,
    /// From random directions.
    Hutchinson {
        /// How many per item, `≥ 1`.
        probes: usize,
        /// Their distribution.
        distribution: ProbeDistribution,
    },
}

/// The estimator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FlowBound {
    /// How the ODE is solved.
    pub solver: AdaptiveOde,
    /// The model's levels, both ends finite: latents are dequantized at the cleanest, where training
    /// had them too, and have their prior at the noisiest.
    pub range: LogSnrRange,
    /// How an item becomes a latent.
    pub dequantization: Dequantization,
    /// The divergence.
    pub trace: Trace,
    /// `K ≥ 1` draws under one logarithm.
    pub samples: usize,
    /// How often.
    pub rounds: Rounds,
    /// Items that are solved together, `≥ 1`. Changes no number.
    pub batch: usize,
}

/// A bound by the flow.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowEstimate {
    /// The bound, and as terms the means over draws of `dequantization` (`E log q(z_0|x)`), `flow`
    /// (`−E log p(z_0)`), `reconstruction` (`−E log p(x|z_0)`) and `one_sample`, which is their sum
    /// and, for `K = 1`, the bound.
    pub estimate: Estimate,
    /// Model calls per draw.
    pub calls: Moments,
}

/// The names of its values.
const NAMES: [&str; 5] = ["bound", "one_sample", "dequantization", "flow", "reconstruction"];

/// Rounds are this far apart in the numbers that probes go by.
const DRAWS_PER_ROUND: u64 = 1 << 40;

impl FlowBound {
    /// Estimates the bound of every item. `progress(round, items)` is told how many items of a round
    /// are done.
    ///
    /// # Errors
    /// Any [`EstimateError`].
    pub fn estimate<Z, D>(
        &self,
        process: &DenoiserTerms<'_, Z, D>,
        mut progress: impl FnMut(u64, usize),
    ) -> Result<FlowEstimate, EstimateError<D::Error>>
    where
        Z: InnerProduct,
        D: Divergence<Z> + Vjp<Z> + ?Sized,
        Probes: ProbeSource<Z>,
    {
        let width = self.check(process)?;
        let items = process.items.len();
        let mut calls = Moments::default();
        let estimate = self.rounds.run(NAMES, items, |round| {
            let samples = self.samples as u64;
            let draw = |item| (0..samples).map(move |k| (item, round * samples + k));
            let draws: Vec<(usize, u64)> = (0..items).flat_map(draw).collect();
            let mut parts = Vec::with_capacity(draws.len());
            for draws in draws.chunks(self.batch) {
                let first = parts.len() as u64 + round * DRAWS_PER_ROUND;
                parts.extend(self.draw(process, draws, first, width, &mut calls)?);
                progress(round, parts.len() / self.samples);
            }
            Ok(parts.chunks_exact(self.samples).map(row).collect())
        })?;
        Ok(FlowEstimate { estimate, calls })
    }

    /// The width of a cell, if these settings make sense.
    fn check<Z, D: ?Sized, E: Error + 'static>(
        &self,
        process: &DenoiserTerms<'_, Z, D>,
    ) -> Result<f64, EstimateError<E>> {
        at_least_one("importance samples", self.samples)?;
        at_least_one("batch", self.batch)?;
        let bounds = self.samples == 1 || self.trace == Trace::Exact;
        let remedy = "use 1 with an estimated trace, whose noise would make the result no bound, or the \
                      exact trace";
        require(bounds, "importance samples", self.samples, remedy)?;
        let (items, dims) = (process.items.len(), process.items.dims());
        bounded("batch", self.batch, Cost::Items)?;
        bounded_product("items times importance samples", &[items, self.samples], Cost::Items)?;
        if let Trace::Hutchinson { probes, .. } = self.trace {
            let together = self.batch.min(items);
            let field = "probes times batch times components";
            bounded_product(field, &[probes, together, dims], Cost::Numbers)?;
        }
        check_range(self.range)?;
        let width = process.items.cell_width();
        let has_cells = width.is_some() || !self.dequantization.is_of_cells();
        let remedy = "use discrete items, or the posterior for continuous ones";
        require(has_cells, "cell width", "none", remedy)?;
        Ok(width.unwrap_or(f64::NAN))
    }

    /// Some (item, number of the draw): `log q(z_0|x)`, `−log p(z_0)` and `−log p(x|z_0)` of each. Probes
    /// count draws from `first` on.
    fn draw<Z, D>(
        &self,
        process: &DenoiserTerms<'_, Z, D>,
        draws: &[(usize, u64)],
        first: u64,
        width: f64,
        calls: &mut Moments,
    ) -> Result<Vec<[f64; 3]>, EstimateError<D::Error>>
    where
        Z: InnerProduct,
        D: Divergence<Z> + Vjp<Z> + ?Sized,
        Probes: ProbeSource<Z>,
    {
        let at = process.scaling.level(self.range.max());
        let (latents, log_q): (Vec<Z>, Vec<f64>) = draws
            .iter()
            .map(|(item, number)| {
                let key = (*number, *item as u64);
                let dims = process.items.dims();
                let (offset, log_q) = self.dequantization.draw(&at, width, dims, process.seed, key);
                let (x, offset) = (process.items.encode(*item), process.items.latent(&offset));
                (Z::lincomb(&[(at.alpha, &x), (1.0, &offset)]), log_q)
            })
            .unzip();
        let log_likelihoods = if self.dequantization.is_of_cells() {
            vec![0.0; draws.len()]
        } else {
            let asked: Vec<(usize, &Z)> =
                draws.iter().zip(&latents).map(|((item, _), z)| (*item, z)).collect();
            process.items.log_likelihoods(&asked, &at)
        };
        let flows = self
            .solve(process, latents, first)
            .map_err(|error| EstimateError::Solve(error.renumbered(|i| draws[i].0)))?;
        flows.iter().for_each(|flow| calls.add(flow.end.statistics.calls as f64));
        let parts = log_q.into_iter().zip(flows).zip(log_likelihoods);
        Ok(parts.map(|((log_q, flow), log_p)| [log_q, -flow.nats(), -log_p]).collect())
    }

    fn solve<Z, D>(
        &self,
        process: &DenoiserTerms<'_, Z, D>,
        latents: Vec<Z>,
        first_sample: u64,
    ) -> Result<Vec<LogLikelihood<Z>>, SolveError<D::Error>>
    where
        Z: InnerProduct,
        D: Divergence<Z> + Vjp<Z> + ?Sized,
        Probes: ProbeSource<Z>,
    {
        let NoiseLevel { alpha, sigma, .. } = process.scaling.level(self.range.min());
        let flow = FlowLikelihood {
            solver: self.solver,
            data: LogSnr::new(self.range.max()),
            noise: LogSnr::new(self.range.min()),
            scaling: process.scaling,
            prior_std: Some(alpha.hypot(sigma)),
        };
        match self.trace {
            Trace::Exact => flow.exact(process.model, latents),
            Trace::Hutchinson { probes: count, distribution } => {
                let probes = Probes { seed: process.seed, first_sample, count, distribution };
                flow.hutchinson(process.model, latents, &probes)
            }
        }
    }
}

/// The values of one item from the parts of its draws.
fn row(draws: &[[f64; 3]]) -> [f64; 5] {
    let log_weights: Vec<f64> = draws.iter().map(|parts| -parts.iter().sum::<f64>()).collect();
    let [bound, one_sample] = bounds(&log_weights);
    let mean =
        |part: usize| draws.iter().map(|parts| parts[part]).sum::<f64>() / draws.len() as f64;
    [bound, one_sample, mean(0), mean(1), mean(2)]
}
