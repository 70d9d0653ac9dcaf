//! The diffusion objective: what [`train`](crate::train) trains when it trains a variational diffusion model.
//!
//! `½ w(λ)/p(λ)·‖ε − ε̂‖²` at levels from a [time sampler](TimeSampler), the schedule
//! [learned](LearnedSchedule) beside the weights where that is asked for.

mod learned_schedule;
mod levels;
mod time_sampler;

pub use learned_schedule::{LearnedSchedule, Part, ScheduleMoments, ScheduleTraining};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::ops::Range;
use tch::Tensor;
pub use time_sampler::TimeSampler;
use vdm_core::count::{Cost, bounded};
use vdm_core::importance::{Adaptive, LossSample, LossVariance};
use vdm_core::setting::{at_least_one, require};
use vdm_core::{NoiseSchedule, Schedule, times};
use vdm_data::{Items, Shape};
use vdm_sample::noise::{Purpose, fill_normal};
use vdm_sample::{SamplerSpec, Seed};

use self::learned_schedule::Observed;
use self::levels::Levels;
use crate::evaluate::{EvaluationSpec, Likelihood, evaluate};
use crate::model::{Diffusion, Model, ModelSpec};
use crate::nn::{Mode, Parameters};
use crate::objective::{self, NoisedBatch, TimeDiscretization};
use crate::sample::sample;
use crate::train::{Bound, Loss, LossTerm, OptimizerSpec, StepTaken, Trainable, Trainer};
use crate::{Batch, Error, PerSample};

/// Draws per item of the bound on the validation split during training.
const VALIDATION_DRAWS: usize = 8;

/// Intervals of log-SNR over which the best density of levels is looked for.
const BINS: usize = 24;

/// Which diffusion objective is trained, beyond the weighting of the process.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectiveSpec {
    /// How the noise levels of items are proposed.
    pub time_sampler: TimeSampler,
    /// Whether the bound of continuous time or that of a number of steps is trained. Under a weighting
    /// by the schedule's density, such as `simple`, each step counts by its own: all alike, as in DDPM.
    pub time: TimeDiscretization,
    /// Whether the noise schedule is learned.
    pub schedule: ScheduleTraining,
}

impl ObjectiveSpec {
    /// That its fields fit the process and each other.
    ///
    /// # Errors
    /// [`Error::Setting`] or [`Error::Core`] naming what does not, below `objective`; [`Error::Count`] for what
    /// costs too much.
    pub fn check(&self, diffusion: &Diffusion, optimizer: &OptimizerSpec) -> Result<(), Error> {
        self.levels(diffusion, optimizer).map(|_| ())
    }

    /// The noise levels of a training at its beginning, if all fits.
    fn levels(&self, diffusion: &Diffusion, optimizer: &OptimizerSpec) -> Result<Levels, Error> {
        objective::check(diffusion)?;
        if let TimeSampler::Adaptive { bins, .. } = self.time_sampler {
            bounded("objective.time_sampler.adaptive.bins", bins as u64, Cost::List)?;
        }
        if let Some(steps) = self.time.steps() {
            let field = "objective.time.discrete.steps";
            bounded(field, steps, Cost::List)?;
            at_least_one(field, steps)?;
        }
        Levels::new(self, diffusion, optimizer)
    }
}

/// What a diffusion model in training needs besides itself.
#[derive(Debug, Clone, PartialEq)]
pub struct DiffusionPlan {
    /// Which objective.
    pub objective: ObjectiveSpec,
    /// Whose moments decay for a learned schedule as for the weights.
    pub optimizer: OptimizerSpec,
    /// How it is sampled.
    pub sampler: SamplerSpec,
    /// Items per pass of the network where it is validated and sampled.
    pub batch: usize,
    /// Of validation and samples.
    pub seed: Seed,
}

/// A diffusion model in training.
#[derive(Debug)]
pub struct DiffusionTraining {
    model: Model,
    levels: Levels,
    /// Losses of single items by their levels, since the last line of metrics.
    loss_variance: LossVariance,
    /// Those of the last step.
    last: Vec<LossSample>,
    plan: DiffusionPlan,
}

/// What trains a diffusion model.
pub type DiffusionTrainer = Trainer<DiffusionTraining>;

/// What a step draws beside its items.
#[derive(Debug, Clone, PartialEq)]
pub struct DiffusionDraws {
    /// One number in `[0, 1)` per item: its time before any change of density.
    pub times: Vec<f64>,
    /// Unit normals of the shape of the data.
    pub noise: Vec<f32>,
}

/// What a diffusion training has learned and seen beyond weights and schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiffusionState {
    /// Errors seen, of an adaptive time sampler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<Adaptive>,
    /// Moments of a learned schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleMoments>,
    /// Losses since the last line of metrics.
    pub loss_variance: LossVariance,
}

impl DiffusionTraining {
    /// Of a model under an objective.
    ///
    /// # Errors
    /// [`Error::Setting`] or [`Error::Core`] if objective and process do not fit each other.
    pub fn new(model: Model, plan: &DiffusionPlan) -> Result<Self, Error> {
        let ModelSpec { diffusion, .. } = model.spec();
        let levels = plan.objective.levels(diffusion, &plan.optimizer)?;
        let legal = !levels.are_learned() || model.network().has_differentiable_time();
        let remedy = "use \"fixed\" with a network that looks its timesteps up in a table, as a \
                      \"diffusers\" one: they have no slope to learn by";
        require(legal, "objective.schedule", "learned", remedy)?;
        let range = levels.proposal().as_ref().unwrap_or(&diffusion.schedule).range();
        Ok(Self {
            levels,
            loss_variance: LossVariance::new(range, BINS),
            last: vec![],
            plan: plan.clone(),
            model,
        })
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What draws the noise levels of the next step: the process's own schedule, as far as it is
    /// learned, or a proposal.
    #[must_use]
    pub fn proposal(&self) -> Schedule {
        let own = || self.model.spec().diffusion.schedule.clone();
        self.levels.proposal().unwrap_or_else(own)
    }

    /// The losses of single items by their levels, since the last line of metrics was due.
    #[must_use]
    pub fn loss_variance(&self) -> &LossVariance {
        &self.loss_variance
    }

    /// The losses of the last step's items, with the levels they were noised at.
    #[must_use]
    pub fn last_losses(&self) -> &[LossSample] {
        &self.last
    }

    fn noising(&self, draws: &DiffusionDraws) -> Result<NoisedBatch, Error> {
        self.levels.noising(&draws.times, &self.model.spec().diffusion)
    }
}

impl Bound for Likelihood {
    fn bits_per_dim(&self) -> f64 {
        self.bits_per_dim
    }
}

impl Trainable for DiffusionTraining {
    type Draws = DiffusionDraws;
    type Bound = Likelihood;

    fn parameters(&self) -> &Parameters {
        self.model.parameters()
    }

    fn shape(&self) -> Shape {
        self.model.spec().shape
    }

    fn spec(&self) -> Result<Value, Error> {
        serde_json::to_value(self.model.spec())
            .map_err(|source| Error::Json { what: "a model", source })
    }

    fn draws(&self, seed: Seed, batch: usize) -> Box<dyn FnMut(u64) -> DiffusionDraws + Send> {
        let dims = self.model.spec().shape.dims();
        Box::new(move |step| {
            let u = seed.uniform(Purpose::TrainingTime, step, 0);
            let mut noise = vec![0.0; batch * dims];
            fill_normal(&mut noise, dims, seed, Purpose::TrainingNoise, step, 0);
            DiffusionDraws { times: times::low_discrepancy(u, batch).collect(), noise }
        })
    }

    fn has_dropout(&self) -> bool {
        self.model.network().has_dropout()
    }

    fn loss<'a>(
        &'a self,
        values: &'a Tensor,
        draws: &'a DiffusionDraws,
        items: Range<usize>,
        mode: Mode,
    ) -> Result<Loss<'a>, Error> {
        let (model, device) = (&self.model, self.model.device());
        let dims = model.spec().shape.dims();
        let noising = self.noising(draws)?.part(items.clone());
        let noise = &draws.noise[items.start * dims..items.end * dims];
        let (items, channels, height, width) = values.size4()?;
        let eps = Batch::from_slice(noise, [items, channels, height, width], device);
        let x = model.encode(values);
        let scaling = model.spec().diffusion.scaling;
        let leaf = self.levels.are_learned().then(|| {
            let log_snr = PerSample::new(&noising.log_snrs, device);
            PerSample(log_snr.0.set_requires_grad(true))
        });
        let at = match &leaf {
            None => noising.levels(scaling, device),
            Some(log_snr) => scaling.level(log_snr.clone()),
        };
        let loss = objective::diffusion_loss(model, &x, &eps, &noising, &at, mode)?;
        let nats = loss.nats();
        let ends = self.levels.ends_are_learned();
        let Some(leaf) = leaf else { return Ok(Loss::of(nats)) };
        let observe = move |scale: f64| {
            let by_level = leaf.0.grad().view([-1]) / scale;
            let end_terms = ends.then(|| objective::end_terms(model, values, &eps));
            [Some(by_level), end_terms].into_iter().flatten().collect()
        };
        Ok(Loss { observe: Some(Box::new(observe)), ..Loss::of(nats) })
    }

    /// Lets the time sampler see the step's losses and the schedule learn from them. The terms are those
    /// of the schedule's ends, where they are learned.
    fn learn(&mut self, step: &StepTaken<'_, DiffusionDraws>) -> Result<Vec<LossTerm>, Error> {
        let noising = self.noising(step.draws)?;
        let draws = noising.draws(step.nats);
        draws.iter().for_each(|draw| self.loss_variance.observe(draw));
        self.levels.observe(&draws);
        self.last = draws;
        let Some(by_level) = step.observed.first() else { return Ok(Vec::new()) };
        let spec = self.model.spec();
        let items = step.nats.len() as f64;
        // Of each part of a batch that was split, four sums.
        let ends = step.observed.get(1).map(|parts| {
            [0, 1, 2, 3].map(|i| parts.iter().skip(i).step_by(4).sum::<f64>() / items)
        });
        let of = spec.head.measured_as();
        let observed = Observed {
            losses: step.nats,
            partials: &noising.partials(&spec.diffusion, of, step.nats, by_level),
            end_slopes: ends.map_or([0.0; 2], |[_, _, by_max, by_min]| [by_max, by_min]),
        };
        let learned = self.levels.learn(step.step, &spec.diffusion.schedule, &observed)?;
        if let Some(schedule) = learned {
            self.model.set_schedule(schedule);
        }
        Ok(ends.map_or(vec![], |[reconstruction, prior, ..]| {
            vec![("reconstruction", reconstruction), ("prior", prior)]
        }))
    }

    fn follow(&mut self, other: &Self) {
        if self.levels.are_learned() {
            self.model.set_schedule(other.model.spec().diffusion.schedule.clone());
        }
    }

    fn begin_window(&mut self) {
        self.loss_variance = LossVariance::new(self.proposal().range(), BINS);
    }

    fn state(&self) -> Result<Value, Error> {
        let (adaptive, schedule) = self.levels.state();
        let state =
            DiffusionState { adaptive, schedule, loss_variance: self.loss_variance.clone() };
        serde_json::to_value(state)
            .map_err(|source| Error::Json { what: "the state of a training", source })
    }

    fn restore(&mut self, spec: &Value, state: &Value) -> Result<(), String> {
        let own = self.spec().map_err(|error| error.to_string())?;
        let (mut found, mut learned) = (spec.clone(), None);
        if self.levels.are_learned() {
            let schedule = found["diffusion"]["schedule"].take();
            found["diffusion"]["schedule"] = own["diffusion"]["schedule"].clone();
            let schedule = serde_json::from_value::<Schedule>(schedule);
            learned = Some(schedule.map_err(|error| format!("has no schedule ({error})"))?);
        }
        if found != own {
            return Err(
                "is of another model, process or data shape than the configuration".to_owned()
            );
        }
        let DiffusionState { adaptive, schedule, loss_variance } =
            DiffusionState::deserialize(state).map_err(|error| {
                format!("has another state than a diffusion training ({error})")
            })?;
        let configured = self.model.spec().diffusion.schedule.clone();
        let now = learned.unwrap_or_else(|| configured.clone());
        if !self.levels.restore(adaptive, schedule, &configured, &now) {
            let objective = "objective.time_sampler or objective.schedule";
            return Err(format!("was trained with another {objective}"));
        }
        self.loss_variance = loss_variance;
        self.model.set_schedule(now);
        Ok(())
    }

    fn validate(&self, items: &Items) -> Result<Likelihood, Error> {
        let spec = EvaluationSpec { draws: VALIDATION_DRAWS, batch: self.plan.batch };
        // The bound of the hierarchy that is trained.
        let time = self.plan.objective.time;
        evaluate(&self.model, items, time, spec, self.plan.seed, |_| ())
    }

    fn samples(&self, count: usize) -> Result<Vec<u8>, Error> {
        let DiffusionPlan { sampler, seed, batch, .. } = &self.plan;
        Ok(sample(&self.model, sampler, *seed, 0, count, *batch, 0)?.pixels)
    }

    fn describe(&self, draws: &DiffusionDraws) -> Value {
        self.noising(draws).map_or(
            Value::Null,
            |noising| json!({"times": noising.times, "log_snr": noising.log_snrs}),
        )
    }
}
