//! Test likelihood of a trained model: the estimators of [`vdm_sample::estimate`] on tensors.

mod process;

use serde::{Deserialize, Serialize};
use vdm_core::count::{Cost, TooMany, bounded, bounded_product};
use vdm_core::setting::at_least_one;
use vdm_core::{NoiseSchedule, Scaling, Schedule, bound};
use vdm_data::Items;
use vdm_sample::estimate::{
    Bound, BoundEstimate, CurvePoint, DenoiserTerms, DepthEstimate, DiffusionTerm, Estimate,
    EstimateError, FlowBound, FlowEstimate, ImportanceWeighted, Moments, NoisedItem, Rounds,
};
use vdm_sample::grid::LossTable;
use vdm_sample::{GridSpec, Seed};

use crate::model::Model;
use crate::objective::TimeDiscretization;
use crate::{Batch, Error};
use process::{OneByOne, Tensors};

/// How a likelihood is estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSpec {
    /// Noised copies of each item, at times that divide `[0, 1]` evenly; at least 1.
    pub draws: usize,
    /// Items per pass of the network. Does not change the result.
    pub batch: usize,
}

impl EvaluationSpec {
    /// That its numbers make sense.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the first that does not, below `evaluation`; [`Error::Count`] for one that costs
    /// too much.
    pub fn check(&self) -> Result<(), Error> {
        for (field, value, cost) in [
            ("evaluation.draws", self.draws as u64, Cost::List),
            ("evaluation.batch", self.batch as u64, Cost::Items),
        ] {
            bounded(field, value, cost)?;
            at_least_one(field, value)?;
        }
        Ok(())
    }
}

/// A bound on the negative log-likelihood, all terms in bits per dimension.
#[derive(Debug, Clone, PartialEq)]
pub struct Likelihood {
    /// The bound: the sum of the three terms, averaged over items.
    pub bits_per_dim: f64,
    /// Standard error of that mean: items differ, and each is estimated from a few draws.
    pub standard_error: f64,
    /// `KL(q(z_1|x) ‖ p(z_1))`.
    pub prior: f64,
    /// `−log p(x|z_0)`.
    pub reconstruction: f64,
    /// `L_∞` or `L_T`.
    pub diffusion: f64,
    /// How many items it is the mean over.
    pub items: usize,
    /// In words, for people: which bound, how many draws.
    pub estimator: String,
    /// Noise error by level.
    pub curve: LossCurve,
}

/// The two terms of the bound that depend on the data and the schedule's ends alone, in bits per
/// dimension.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EndTerms {
    /// `KL(q(z_1|x) ‖ p(z_1))`.
    pub prior: f64,
    /// `−log p(x|z_0)`.
    pub reconstruction: f64,
}

/// The end terms on the first 1,000 of `items`: what to add to a training loss, whose diffusion
/// term is all that learns, to read it as a bound.
#[must_use]
pub fn end_terms(model: &Model, items: &Items, seed: Seed) -> EndTerms {
    let schedule = &model.spec().diffusion.schedule;
    let tensors = Evaluation::new(model, items, seed, 64).tensors();
    let dims = model.spec().shape.dims();
    let (mut prior, mut reconstruction) = (Moments::default(), Moments::default());
    let indices: Vec<usize> = (0..items.len().min(1000)).collect();
    for indices in indices.chunks(64) {
        let first = indices[0];
        let draw = |item| NoisedItem { item, number: 0, log_snr: schedule.log_snr(0.0) };
        let draws: Vec<NoisedItem> = indices.iter().copied().map(draw).collect();
        let nats = tensors.prior(first..first + indices.len(), schedule.log_snr(1.0));
        nats.iter().for_each(|nats| prior.add(bound::bits_per_dim(*nats, dims)));
        let nats = tensors.reconstruction(&draws);
        nats.iter().for_each(|nats| reconstruction.add(bound::bits_per_dim(*nats, dims)));
    }
    EndTerms { prior: prior.mean(), reconstruction: reconstruction.mean() }
}

/// `E‖ε − ε̂‖²/D` in equal bins of log-SNR, over all draws of all items.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LossCurve {
    /// Bin centers, from noise to data; bins with draws of fewer than two items are left out.
    pub log_snr: Vec<f64>,
    /// Mean in each bin.
    pub loss: Vec<f64>,
    /// Standard error of that mean, over items.
    pub standard_error: Vec<f64>,
}

impl LossCurve {
    fn new(points: &[CurvePoint]) -> Self {
        let mut curve = Self::default();
        for point in points {
            if let Some(error) = point.standard_error {
                curve.log_snr.push(point.log_snr);
                curve.loss.push(point.noise_error);
                curve.standard_error.push(error);
            }
        }
        curve
    }
}

/// Estimates the bound on all of `items` under the model's own specification: [`Evaluation::likelihood`].
///
/// # Errors
/// Those of [`Evaluation::likelihood`].
pub fn evaluate(
    model: &Model,
    items: &Items,
    time: TimeDiscretization,
    spec: EvaluationSpec,
    seed: Seed,
    progress: impl FnMut(usize),
) -> Result<Likelihood, Error> {
    Evaluation::new(model, items, seed, spec.batch).likelihood(time, spec.draws, progress)
}

/// A model, the items it is judged on, and the specification it is judged under.
///
/// Schedule and scaling are the model's own to begin with. Under others with the same end points the
/// continuous-time bound and the flow's likelihood are the same numbers (monograph §2.3.3); `L_T` is
/// another hierarchy's where the grid has other levels under it.
#[derive(Debug, Clone)]
pub struct Evaluation<'a> {
    /// The model.
    pub model: &'a Model,
    /// The items.
    pub items: &'a Items,
    /// How levels follow from time.
    pub schedule: Schedule,
    /// How a number of steps becomes levels: at equal steps of time to begin with.
    pub grid: GridSpec,
    /// The scaling that latents are made in.
    pub scaling: Scaling,
    /// Of all draws.
    pub seed: Seed,
    /// Noised items per pass of the network. Changes no number.
    pub batch: usize,
}

impl<'a> Evaluation<'a> {
    /// Under the model's own specification.
    #[must_use]
    pub fn new(model: &'a Model, items: &'a Items, seed: Seed, batch: usize) -> Self {
        let diffusion = &model.spec().diffusion;
        let (schedule, scaling) = (diffusion.schedule.clone(), diffusion.scaling);
        Self { model, items, schedule, grid: GridSpec::UNIFORM_TIME, scaling, seed, batch }
    }

    fn tensors(&self) -> Tensors<'a> {
        let Self { model, items, scaling, seed, .. } = *self;
        Tensors { model, items, scaling, seed }
    }

    /// That a batch of items can be made.
    fn check_batch(&self) -> Result<(), TooMany> {
        let dims = self.model.spec().shape.dims();
        bounded_product("batch times components", &[self.batch, dims], Cost::Numbers).map(|_| ())
    }

    fn plan(&self, diffusion: DiffusionTerm, rounds: Rounds) -> Bound<'_> {
        let Self { seed, batch, .. } = *self;
        Bound { schedule: &self.schedule, grid: &self.grid, diffusion, rounds, seed, batch }
    }

    /// The variational bound in one round of `draws` stratified copies of each item, in bits.
    ///
    /// Draws are a function of (seed, item, draw), so an item's number depends neither on the batch
    /// size nor on the other items. `progress(done)` is told how many items are
    /// done.
    ///
    /// # Errors
    /// [`Error::Setting`] for no draws, no steps, an empty batch or a grid with other ends, [`Error::Count`],
    /// [`Error::Grid`];
    /// [`Error::NonFiniteLikelihood`].
    pub fn likelihood(
        &self,
        time: TimeDiscretization,
        draws: usize,
        mut progress: impl FnMut(usize),
    ) -> Result<Likelihood, Error> {
        let diffusion = match time {
            TimeDiscretization::Continuous => DiffusionTerm::Continuous { draws },
            TimeDiscretization::Discrete { steps } => DiffusionTerm::SampledSteps { steps, draws },
        };
        let BoundEstimate { estimate, curve } =
            self.bound(diffusion, Rounds::exactly(1), |_, done| progress(done))?;
        let dims = self.model.spec().shape.dims();
        let bits = |term: &str| {
            let mean = estimate.term(term).map_or(f64::NAN, |term| term.mean.mean);
            bound::bits_per_dim(mean, dims)
        };
        let total = estimate.total.bits_per_dim(dims);
        Ok(Likelihood {
            bits_per_dim: total.mean,
            standard_error: total.standard_error.unwrap_or(f64::INFINITY),
            prior: bits("prior"),
            reconstruction: bits("reconstruction"),
            diffusion: bits("diffusion"),
            items: self.items.len(),
            estimator: self.named(diffusion),
            curve: LossCurve::new(&curve),
        })
    }

    /// A bound in words, for people.
    #[must_use]
    pub fn named(&self, diffusion: DiffusionTerm) -> String {
        let grid = self.on_grid();
        match diffusion {
            DiffusionTerm::Continuous { draws } => {
                format!("continuous-time bound (L_inf), {draws} stratified draws per item")
            }
            DiffusionTerm::SampledSteps { steps, draws } => {
                format!("{steps}-step bound (L_T){grid}, {draws} stratified draws per item")
            }
            DiffusionTerm::AllSteps { steps } => {
                format!("{steps}-step bound (L_T){grid}, every step")
            }
        }
    }

    /// ` on the … grid`, but for steps at equal times.
    #[must_use]
    pub fn on_grid(&self) -> String {
        if self.grid == GridSpec::UNIFORM_TIME {
            return String::new();
        }
        format!(" on the {} grid", self.grid.kind.name())
    }

    /// The variational bound.
    ///
    /// # Errors
    /// Any [`EstimateError`].
    pub fn bound(
        &self,
        diffusion: DiffusionTerm,
        rounds: Rounds,
        progress: impl FnMut(u64, usize),
    ) -> Result<BoundEstimate, EstimateError<Error>> {
        self.check_batch()?;
        self.plan(diffusion, rounds).estimate(&self.tensors(), progress)
    }

    /// The model's errors by level, from so many noised copies of each item, evenly over all levels whatever
    /// the schedule: what the grid that is best for
    /// the bound ([`GridKind::ElboOptimal`](vdm_sample::grid::GridKind::ElboOptimal)) is chosen from.
    ///
    /// # Errors
    /// Any [`EstimateError`].
    pub fn losses(&self, draws: usize) -> Result<LossTable, EstimateError<Error>> {
        let range = self.schedule.range();
        let even = Schedule::linear(range.max(), range.min());
        let schedule = even.map_err(|error| EstimateError::Grid(error.into()))?;
        let evenly = Self { schedule, ..self.clone() };
        let term = DiffusionTerm::Continuous { draws };
        let found = evenly.bound(term, Rounds::exactly(1), |_, _| ())?;
        Ok(found.losses(range, self.model.spec().shape.dims())?)
    }

    /// The variational bound at several depths, and what changes from each to the next.
    ///
    /// # Errors
    /// Any [`EstimateError`].
    pub fn depth_sweep(
        &self,
        rungs: &[DiffusionTerm],
        rounds: Rounds,
        progress: impl FnMut(DiffusionTerm, u64, usize),
    ) -> Result<Vec<DepthEstimate>, EstimateError<Error>> {
        let first = rungs.first().copied().unwrap_or(DiffusionTerm::Continuous { draws: 1 });
        self.check_batch()?;
        self.plan(first, rounds).depth_sweep(&self.tensors(), rungs, progress)
    }

    /// The importance-weighted bound of `samples` paths of `steps` steps.
    ///
    /// # Errors
    /// Any [`EstimateError`].
    pub fn importance_weighted(
        &self,
        steps: u32,
        samples: usize,
        rounds: Rounds,
        progress: impl FnMut(u64, usize),
    ) -> Result<Estimate, EstimateError<Error>> {
        self.check_batch()?;
        let Self { schedule, grid, batch, .. } = self;
        let batch = *batch;
        let plan = ImportanceWeighted { schedule, grid, steps, samples, rounds, batch };
        self.one_by_one(|process| plan.estimate(process, progress))
    }

    /// The bound by the probability-flow ODE. Range and batch of `plan` are replaced by the
    /// evaluation's.
    ///
    /// # Errors
    /// Any [`EstimateError`].
    pub fn flow(
        &self,
        plan: FlowBound,
        progress: impl FnMut(u64, usize),
    ) -> Result<FlowEstimate, EstimateError<Error>> {
        self.check_batch()?;
        let plan = FlowBound { range: self.schedule.range(), batch: self.batch, ..plan };
        self.one_by_one(|process| plan.estimate(process, progress))
    }

    fn one_by_one<T>(&self, run: impl FnOnce(&DenoiserTerms<'_, Batch, Model>) -> T) -> T {
        let Self { model, items, scaling, seed, .. } = *self;
        let items = OneByOne { model, items };
        run(&DenoiserTerms { model, items: &items, scaling, seed })
    }
}
