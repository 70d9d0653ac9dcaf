//! The variational bound of every item: prior, reconstruction, and `L_T` or `L_∞`.
//!
//! ```text
//! −log p(x) ≤ KL(q(z_1|x) ‖ p(z_1)) + E[−log p(x|z_0)] + E_u[c(u) ‖ε − ε̂(z_u)‖²],  u ~ U(0, 1)
//! L_∞   c = −½ dλ/dt at t = u
//! L_T   c = ½ T expm1(λ_{i−1} − λ_i) at λ_i, i = ⌊uT⌋ + 1
//! ```
//!
//! A round takes `n` numbers `u` of an item, one in each `n`-th of `[0, 1)`, or all `T` steps. The
//! levels `λ_0 > … > λ_T` are those of a grid, of which `i/T` in time is one. Times and noise are functions of (seed, item, draw), so an item's number depends on neither the batch
//! nor the other items.

use serde::{Deserialize, Serialize};
use vdm_core::count::{Cost, bounded};
use vdm_core::schedule::LogSnrRange;
use vdm_core::setting::{InvalidSetting, at_least_one};
use vdm_core::{NoiseSchedule, bound, times};

use super::curve::{Curve, CurvePoint};
use super::hierarchy::{HierarchyLevels, HierarchyStep};
use super::rounds::check_range;
use super::terms::{BoundTerms, NoisedItem};
use super::{Estimate, EstimateError, Rounds};
use crate::grid::LossTable;
use crate::noise::Purpose;
use crate::{GridSpec, Seed};

/// Which diffusion term, and how many noised copies of an item a round takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DiffusionTerm {
    /// `L_∞` at stratified times.
    Continuous {
        /// Copies, `≥ 1`.
        draws: usize,
    },
    /// `L_T` at stratified steps.
    SampledSteps {
        /// `T ≥ 1`.
        steps: u32,
        /// Copies, `≥ 1`.
        draws: usize,
    },
    /// `L_T`, every step of it.
    AllSteps {
        /// `T ≥ 1`.
        steps: u32,
    },
}

impl DiffusionTerm {
    /// Noised copies of an item in a round.
    #[must_use]
    pub fn copies(self) -> usize {
        match self {
            Self::Continuous { draws } | Self::SampledSteps { draws, .. } => draws,
            Self::AllSteps { steps } => steps as usize,
        }
    }

    /// `T`, if there is one.
    #[must_use]
    pub fn steps(self) -> Option<u32> {
        match self {
            Self::Continuous { .. } => None,
            Self::SampledSteps { steps, .. } | Self::AllSteps { steps } => Some(steps),
        }
    }

    fn check<E: std::error::Error + 'static>(self) -> Result<(), EstimateError<E>> {
        if let Self::Continuous { draws } | Self::SampledSteps { draws, .. } = self {
            at_least_one("draws", draws)?;
            bounded("draws", draws, Cost::List)?;
        }
        Ok(())
    }
}

/// The estimator.
///
/// For `L_∞` every schedule with the model's end points is legal: the value stays, and the schedule
/// is a proposal that decides the variance ([`vdm_core::importance`]). `L_T` is that of the levels that the
/// grid has under the schedule, and the same under all schedules for a grid in log-SNR.
///
/// ```
/// use vdm_core::{GaussianMixture, Scaling, Schedule, likelihood::Discretized};
/// use vdm_sample::{GridSpec, Seed};
/// use vdm_sample::estimate::{Bound, DiffusionTerm, DiscreteItems, DenoiserTerms, Rounds};
///
/// let model = GaussianMixture::new(vec![1.0], vec![vec![0.1]], vec![0.3])?;
/// let items = DiscreteItems::new(Discretized::new(256)?, vec![vec![120], vec![150]])?;
/// let scaling = Scaling::VariancePreserving;
/// let process = DenoiserTerms::<Vec<f64>, _> { model: &model, items: &items, scaling, seed: Seed(1) };
/// let schedule = Schedule::linear(12.0, -10.0)?;
/// let bound = Bound {
///     schedule: &schedule,
///     grid: &GridSpec::UNIFORM_TIME,
///     diffusion: DiffusionTerm::Continuous { draws: 16 },
///     rounds: Rounds::until(0.5, 10_000), // nats
///     seed: Seed(1),
///     batch: 64,
/// };
/// let found = bound.estimate(&process, |_, _| ())?;
/// assert!(found.estimate.total.draw_error.unwrap() <= 0.5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Bound<'a> {
    /// Where the levels of the copies come from.
    pub schedule: &'a dyn NoiseSchedule,
    /// How a number of steps becomes levels, with the schedule's ends; not asked in continuous time.
    pub grid: &'a GridSpec,
    /// The diffusion term.
    pub diffusion: DiffusionTerm,
    /// How often.
    pub rounds: Rounds,
    /// Of the run.
    pub seed: Seed,
    /// Copies per call of the process, `≥ 1`. Changes no number.
    pub batch: usize,
}

/// A bound with its curves.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundEstimate {
    /// The bound; its terms `prior`, `reconstruction` and `diffusion` add up to the total.
    pub estimate: Estimate,
    /// Error, rate and distortion by level.
    pub curve: Vec<CurvePoint>,
}

/// Between candidate levels, in units of `λ`: far finer than the curve, and short to write down.
const CANDIDATES_PER_UNIT: f64 = 20.0;

impl BoundEstimate {
    /// The curve's errors at levels 0.05 apart over the `range` of the bound's schedule, of items with `dims`
    /// components: what [`GridKind::ElboOptimal`](crate::grid::GridKind::ElboOptimal) chooses from. Between the
    /// middles of the curve's intervals errors are interpolated, beyond them constant.
    ///
    /// # Errors
    /// [`InvalidSetting`] if the range is wider than 700 or an error is not finite.
    pub fn losses(&self, range: LogSnrRange, dims: usize) -> Result<LossTable, InvalidSetting> {
        let first = (range.min() * CANDIDATES_PER_UNIT).floor() + 1.0;
        let inner = (0..).map(|i| (first + f64::from(i)) / CANDIDATES_PER_UNIT);
        let inner = inner.take_while(|level| *level < range.max());
        let levels: Vec<f64> =
            [range.min()].into_iter().chain(inner).chain([range.max()]).collect();
        let errors = levels.iter().map(|level| dims as f64 * interpolated(&self.curve, *level));
        LossTable::new(levels.clone(), errors.collect())
    }
}

/// The error at a level.
fn interpolated(curve: &[CurvePoint], log_snr: f64) -> f64 {
    let above = curve.partition_point(|point| point.log_snr < log_snr);
    match (above.checked_sub(1).map(|below| curve[below]), curve.get(above)) {
        (Some(below), Some(above)) => {
            let share = (log_snr - below.log_snr) / (above.log_snr - below.log_snr);
            below.noise_error * (1.0 - share) + above.noise_error * share
        }
        (Some(last), None) => last.noise_error,
        (None, first) => first.map_or(f64::NAN, |first| first.noise_error),
    }
}

/// The numbers of an item's draws in a round: each round has room for one of `z_0`, then for as many
/// copies. Estimates with as much room share their draws.
#[derive(Debug, Clone, Copy)]
pub(super) struct DrawNumbers {
    pub(super) round: u64,
    pub(super) copies: usize,
}

impl DrawNumbers {
    /// The draw of `z_0`.
    fn clean(self) -> u64 {
        self.round * (self.copies as u64 + 1)
    }

    /// The draw of a copy.
    fn copy(self, copy: usize) -> u64 {
        self.clean() + 1 + copy as u64
    }

    /// The draw of a copy's time.
    fn time(self, copy: usize) -> u64 {
        self.round * self.copies as u64 + copy as u64
    }
}

/// The names of a bound's values.
const NAMES: [&str; 4] = ["bound", "prior", "reconstruction", "diffusion"];

/// What a process owes, for those who write one.
const SHORT: &str = "a process answers for every item and every draw";

impl Bound<'_> {
    /// Estimates the bound of every item. `progress(round, items)` is told how many items of a round
    /// are done.
    ///
    /// # Errors
    /// Any [`EstimateError`].
    ///
    /// # Panics
    /// If the process gives more or fewer answers than it was asked.
    pub fn estimate<P: BoundTerms + ?Sized>(
        &self,
        process: &P,
        mut progress: impl FnMut(u64, usize),
    ) -> Result<BoundEstimate, EstimateError<P::Error>> {
        let levels = self.levels()?;
        let items = process.items();
        let mut curve = Curve::new(self.schedule.range(), items);
        let estimate = self.rounds.run(NAMES, items, |round| {
            let numbers = DrawNumbers { round, copies: self.diffusion.copies() };
            self.round(process, &levels, numbers, Some(&mut curve), |done| progress(round, done))
        })?;
        let prior = estimate.terms[0].mean.mean;
        let curve = curve.points(prior, items, estimate.rounds, process.dims());
        Ok(BoundEstimate { estimate, curve })
    }

    /// The levels of the hierarchy, if these settings make sense.
    pub(super) fn levels<E: std::error::Error + 'static>(
        &self,
    ) -> Result<HierarchyLevels, EstimateError<E>> {
        at_least_one("batch", self.batch)?;
        bounded("batch", self.batch, Cost::Items)?;
        check_range(self.schedule.range())?;
        self.diffusion.check()?;
        match self.diffusion.steps() {
            Some(steps) => HierarchyLevels::of(steps, self.grid, self.schedule),
            None => Ok(HierarchyLevels::default()),
        }
    }

    /// One estimate of every item: the bound and its three terms.
    pub(super) fn round<P: BoundTerms + ?Sized>(
        &self,
        process: &P,
        levels: &HierarchyLevels,
        numbers: DrawNumbers,
        mut curve: Option<&mut Curve>,
        mut progress: impl FnMut(usize),
    ) -> Result<Vec<[f64; 4]>, EstimateError<P::Error>> {
        let (items, copies) = (process.items(), self.diffusion.copies());
        let mut found = Vec::with_capacity(items);
        let mut first = 0;
        while first < items {
            let group = first..items.min(first + (self.batch / copies).max(1));
            let prior = process.prior(group.clone(), self.schedule.log_snr(1.0));
            let prior = prior.map_err(EstimateError::Model)?;
            let reconstruction = self.reconstruction(process, group.clone(), numbers)?;
            assert_eq!((prior.len(), reconstruction.len()), (group.len(), group.len()), "{SHORT}");
            let (draws, steps): (Vec<NoisedItem>, Vec<HierarchyStep>) =
                group.clone().flat_map(|item| self.copies(levels, item, numbers)).unzip();
            let mut nats = Vec::with_capacity(draws.len());
            for (draws, steps) in draws.chunks(self.batch).zip(steps.chunks(self.batch)) {
                let errors = process.noise_errors(draws).map_err(EstimateError::Model)?;
                assert_eq!(errors.len(), draws.len(), "{SHORT}");
                for ((draw, HierarchyStep { start, end, factor }), error) in
                    draws.iter().zip(steps).zip(errors)
                {
                    nats.push(factor * error);
                    if let Some(curve) = curve.as_deref_mut() {
                        curve.add(draw.item, *start, *end, error, factor * error);
                    }
                }
            }
            let diffusion = nats.chunks_exact(copies).map(|nats| nats.iter().sum::<f64>());
            for ((prior, reconstruction), diffusion) in
                prior.into_iter().zip(reconstruction).zip(diffusion)
            {
                let total = prior + reconstruction + diffusion;
                found.push([total, prior, reconstruction, diffusion]);
            }
            first = group.end;
            progress(first);
        }
        Ok(found)
    }

    fn reconstruction<P: BoundTerms + ?Sized>(
        &self,
        process: &P,
        items: std::ops::Range<usize>,
        numbers: DrawNumbers,
    ) -> Result<Vec<f64>, EstimateError<P::Error>> {
        let number = numbers.clean();
        let log_snr = self.schedule.log_snr(0.0);
        let draws: Vec<NoisedItem> =
            items.map(|item| NoisedItem { item, number, log_snr }).collect();
        let parts = draws.chunks(self.batch).map(|draws| process.reconstruction(draws));
        let parts: Result<Vec<Vec<f64>>, _> = parts.collect();
        Ok(parts.map_err(EstimateError::Model)?.concat())
    }

    /// The noised copies of an item, each with its step and what its error counts for in the sum over all.
    fn copies(
        &self,
        levels: &HierarchyLevels,
        item: usize,
        numbers: DrawNumbers,
    ) -> Vec<(NoisedItem, HierarchyStep)> {
        let copies = self.diffusion.copies();
        let each = |share: f64| {
            move |step: HierarchyStep| HierarchyStep {
                factor: step.factor * share / copies as f64,
                ..step
            }
        };
        let steps: Vec<HierarchyStep> = match self.diffusion {
            DiffusionTerm::AllSteps { steps } => {
                (1..=steps as usize).map(|i| levels.step(i)).collect()
            }
            DiffusionTerm::Continuous { .. } => {
                let at = |t| {
                    let level = self.schedule.log_snr(t);
                    let factor = bound::continuous_factor(self.schedule.slope(t));
                    HierarchyStep { start: level, end: level, factor }
                };
                self.strata(item, numbers).into_iter().map(at).map(each(1.0)).collect()
            }
            DiffusionTerm::SampledSteps { steps, .. } => {
                let at = |u: f64| {
                    let i = (u * f64::from(steps)) as usize + 1;
                    levels.step(i.min(steps as usize))
                };
                self.strata(item, numbers).into_iter().map(at).map(each(f64::from(steps))).collect()
            }
        };
        let draw = |(copy, step): (usize, HierarchyStep)| {
            (NoisedItem { item, number: numbers.copy(copy), log_snr: step.start }, step)
        };
        steps.into_iter().enumerate().map(draw).collect()
    }

    /// One number in each equal part of `[0, 1)`.
    fn strata(&self, item: usize, numbers: DrawNumbers) -> Vec<f64> {
        let draw =
            |copy| self.seed.uniform(Purpose::EvaluationTime, numbers.time(copy), item as u64);
        let copies = 0..self.diffusion.copies();
        times::stratified(&copies.map(draw).collect::<Vec<_>>()).collect()
    }
}
