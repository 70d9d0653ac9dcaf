//! Learning the noise schedule.
//!
//! Its ends go down the bound, prior and reconstruction included; its interior, which the bound does
//! not depend on, goes down the second moment of the bound's estimator, hence its variance (VDM,
//! appendix I; monograph §2.3.3). Both are mean gradients over the items of a step, at fixed times
//! and noise. The parameters are few: they stay on the host, in f64, and Adam with them.

use serde::{Deserialize, Serialize};
use vdm_core::schedule::{Parameters, Parametric, Partials};
use vdm_core::setting::{InvalidSetting, positive, require};
use vdm_core::{Schedule, Weighting};

use super::{ObjectiveSpec, TimeSampler};
use crate::Error;
use crate::model::Diffusion;
use crate::objective::TimeDiscretization;
use crate::train::OptimizerSpec;

/// Whether the noise schedule is learned.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleTraining {
    /// It stays as configured.
    #[default]
    Fixed,
    /// It starts as configured.
    Learned(LearnedSchedule),
}

/// What of a schedule is learned, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearnedSchedule {
    /// The end points, down the bound: `linear`, `monotone` and `monotone_network` schedules.
    pub ends: Part,
    /// What lies between, down the variance of the bound's estimator: `monotone` and
    /// `monotone_network` schedules.
    pub interior: Part,
    /// Of Adam, about the change of each parameter a step: nats of log-SNR for the ends. Its moments
    /// decay as those of `training.optimizer`.
    pub learning_rate: f64,
}

/// A part of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Stays.
    Pinned,
    /// Is learned.
    Learned,
}

/// Adam's moments of a schedule's parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleMoments {
    exp_avg: Parameters,
    exp_avg_sq: Parameters,
}

/// A schedule's optimizer.
#[derive(Debug)]
pub(super) struct Learner {
    spec: LearnedSchedule,
    betas: [f64; 2],
    moments: ScheduleMoments,
}

/// What a step says of the schedule: means over its items, in nats.
#[derive(Debug)]
pub(super) struct Observed<'a> {
    /// Loss of each item.
    pub(super) losses: &'a [f64],
    /// Its derivatives.
    pub(super) partials: &'a [Partials],
    /// What reconstruction and prior move by with `λ_0` and `λ_1`, on which each depends.
    pub(super) end_slopes: [f64; 2],
}

impl Learner {
    /// Before the first step; `None` if the schedule stays.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the first field that does not fit.
    pub(super) fn new(
        objective: &ObjectiveSpec,
        diffusion: &Diffusion,
        optimizer: &OptimizerSpec,
    ) -> Result<Option<Self>, Error> {
        let ScheduleTraining::Learned(spec) = objective.schedule else { return Ok(None) };
        let moments = check(objective, diffusion, spec)?;
        let &OptimizerSpec { beta1, beta2, .. } = optimizer;
        Ok(Some(Self { spec, betas: [beta1, beta2], moments }))
    }

    /// Whether the terms of the bound at the ends are needed.
    pub(super) fn ends(&self) -> bool {
        self.spec.ends == Part::Learned
    }

    /// What a checkpoint has to keep.
    pub(super) fn state(&self) -> &ScheduleMoments {
        &self.moments
    }

    /// Continues with `schedule`, learned before, from what a checkpoint kept; `false` if either is
    /// of another kind.
    pub(super) fn restore(
        &mut self,
        configured: &Schedule,
        schedule: &Schedule,
        state: ScheduleMoments,
    ) -> bool {
        let (Some(start), Some(now)) = (configured.parametric(), schedule.parametric()) else {
            return false;
        };
        let (start, now) = (start.parameters(), now.parameters());
        let kind = std::mem::discriminant(configured) == std::mem::discriminant(schedule);
        let counts = [&now, &state.exp_avg, &state.exp_avg_sq].map(|p| p.interior.len());
        let pinned = (self.spec.ends == Part::Learned || start.ends == now.ends)
            && (self.spec.interior == Part::Learned || start.interior == now.interior);
        self.moments = state;
        kind && pinned && counts == [start.interior.len(); 3]
    }

    /// The schedule after step `step`, from 1, of what that step saw under `schedule`.
    ///
    /// # Errors
    /// [`Error::LearnedSchedule`] if that is no schedule.
    pub(super) fn step(
        &mut self,
        step: u64,
        schedule: &Schedule,
        observed: &Observed<'_>,
    ) -> Result<Schedule, Error> {
        let Some(schedule) = schedule.parametric() else { return Ok(schedule.clone()) };
        let gradient = self.gradient(schedule, observed);
        let mut parameters = schedule.parameters();
        let corrections = self.betas.map(|beta| 1.0 - beta.powf(step as f64));
        let ScheduleMoments { exp_avg, exp_avg_sq } = &mut self.moments;
        let moments = exp_avg.iter_mut().zip(exp_avg_sq.iter_mut());
        for ((value, slope), (first, second)) in
            parameters.iter_mut().zip(gradient.iter()).zip(moments)
        {
            *first += (1.0 - self.betas[0]) * (slope - *first);
            *second += (1.0 - self.betas[1]) * (slope * slope - *second);
            let deviation = (*second / corrections[1]).sqrt() + 1e-8;
            *value -= self.spec.learning_rate * (*first / corrections[0]) / deviation;
        }
        schedule.with(parameters).map_err(|source| Error::LearnedSchedule { step, source })
    }

    /// Of the bound for the ends, of its estimator's second moment for the interior.
    fn gradient(&self, schedule: &dyn Parametric, observed: &Observed<'_>) -> Parameters {
        let Observed { losses, partials, end_slopes } = observed;
        let items = losses.len() as f64;
        let mut gradient = schedule.parameters().zeros_like();
        if self.spec.ends == Part::Learned {
            let diffusion = schedule.gradient(partials).ends;
            gradient.ends = [0, 1].map(|i| diffusion[i] / items + end_slopes[i]);
        }
        if self.spec.interior == Part::Learned {
            let squares: Vec<Partials> =
                partials.iter().zip(*losses).map(|(by, loss)| by.squared(*loss)).collect();
            gradient.interior = schedule.gradient(&squares).interior;
            gradient.interior.iter_mut().for_each(|slope| *slope /= items);
        }
        gradient
    }
}

/// That there is something to learn, and that it leaves the objective what it is. Returns moments
/// for as many parameters.
fn check(
    objective: &ObjectiveSpec,
    diffusion: &Diffusion,
    spec: LearnedSchedule,
) -> Result<ScheduleMoments, InvalidSetting> {
    let (schedule, weighting) = (&diffusion.schedule, &diffusion.weighting);
    let (sampler, time) = (&objective.time_sampler, objective.time);
    let Some(parametric) = schedule.parametric() else {
        let remedy =
            "use \"monotone\" or \"monotone_network\" to learn it, or \"linear\" to learn its ends";
        return Err(InvalidSetting::new("diffusion.schedule", format!("{schedule:?}"), remedy));
    };
    let parameters = parametric.parameters();
    let legal = spec.interior == Part::Pinned || !parameters.interior.is_empty();
    let remedy = "use a \"monotone\" diffusion.schedule, with an increment for each interval, or a \
                  \"monotone_network\"; \"linear\" has no interior";
    require(legal, "objective.schedule.learned.interior", "learned", remedy)?;
    let legal = [spec.ends, spec.interior] != [Part::Pinned; 2];
    let remedy = "learn the ends or the interior, or use \"fixed\"";
    require(legal, "objective.schedule.learned", "nothing", remedy)?;
    positive("objective.schedule.learned.learning_rate", spec.learning_rate)?;
    let legal = *sampler == TimeSampler::Schedule;
    let remedy = "use \"schedule\" while the schedule is learned: it is what it learns to draw";
    require(legal, "objective.time_sampler", format_args!("{sampler:?}"), remedy)?;
    let legal = time == TimeDiscretization::Continuous;
    let remedy = "use \"continuous\" while the schedule is learned";
    require(legal, "objective.time", format_args!("{time:?}"), remedy)?;
    let (field, value) = ("diffusion.weighting", format_args!("{weighting:?}"));
    let remedy = "use another while the schedule is learned: \"simple\" weighs by its own density, which \
                  would move to where errors are small";
    require(!weighting.depends_on_schedule(), field, value, remedy)?;
    let legal = spec.ends == Part::Pinned || *weighting == Weighting::Elbo;
    let remedy = "use \"elbo\" to learn the ends: no other weighting is a bound with them";
    require(legal, field, value, remedy)?;
    let zeros = parameters.zeros_like();
    Ok(ScheduleMoments { exp_avg: zeros.clone(), exp_avg_sq: zeros })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Head;
    use crate::model::{Model, ModelSpec};
    use crate::nn::{MlpSpec, Mode, NetworkSpec};
    use crate::objective::{self, NoisedBatch};
    use crate::{Batch, PerSample};
    use tch::{Device, Kind, Tensor};
    use vdm_core::schedule::{LogSnrRange, Monotone, MonotoneNetwork, MonotoneWeights};
    use vdm_core::{LogSnr, NoiseSchedule, Parameterization, times};
    use vdm_data::Shape;
    use vdm_sample::Seed;
    use vdm_sample::noise::{Purpose, fill_normal};

    const ITEMS: usize = 4096;
    const DIMS: usize = 6;

    fn range() -> LogSnrRange {
        LogSnrRange::new(5.0, -4.0).unwrap()
    }

    fn monotone() -> Schedule {
        Schedule::Monotone(Monotone::new(range(), vec![0.3, -1.0, 1.5, 0.0]).unwrap())
    }

    fn network() -> Schedule {
        let weights = MonotoneWeights {
            slope: 0.7,
            hidden: vec![3.0, -8.0],
            hidden_bias: vec![1.0, -3.0],
            output: vec![-0.9, 2.0],
        };
        Schedule::MonotoneNetwork(MonotoneNetwork::new(range(), weights).unwrap())
    }

    /// A network whose weights are all random, none of them the zeros it would start with.
    fn model(head: Head, schedule: Schedule) -> Model {
        let spec = ModelSpec {
            shape: Shape { channels: 1, height: 2, width: 3 },
            values: 17,
            diffusion: Diffusion::variational(schedule),
            network: NetworkSpec::Mlp(MlpSpec::new(8, 1)),
            head,
            clock: Some(range()),
        };
        let model = Model::new(&spec, Seed(1), Device::Cpu).unwrap();
        for (i, weights) in model.parameters().tensors().into_iter().enumerate() {
            let mut values = vec![0.0; weights.numel()];
            let dims = values.len();
            fill_normal(&mut values, dims, Seed(5), Purpose::TrainingNoise, i as u64, 0);
            let values = Tensor::from_slice(&values).view(weights.size().as_slice()) * 0.3;
            tch::no_grad(|| weights.shallow_clone().copy_(&values));
        }
        model
    }

    /// One item and one noise for all times, as the gradients of an integral over time need.
    fn item() -> (Tensor, Batch) {
        let mut eps = vec![0.0; DIMS];
        fill_normal(&mut eps, DIMS, Seed(3), Purpose::TrainingNoise, 0, 0);
        let pixels = Tensor::from_slice(&[0_u8, 3, 16, 8, 1, 12]).view([1, 1, 2, 3]);
        (pixels, Batch::from_slice(&eps, [1, 1, 2, 3], Device::Cpu))
    }

    fn repeated(item: &Tensor) -> Tensor {
        item.repeat([ITEMS as i64, 1, 1, 1])
    }

    fn host(tensor: &Tensor) -> Vec<f64> {
        Vec::try_from(tensor.detach().to_kind(Kind::Double).view([-1])).unwrap()
    }

    /// Losses at even times, with their derivatives.
    fn losses(model: &Model) -> (Vec<f64>, Vec<Partials>) {
        let (pixels, eps) = item();
        let (x, eps) = (model.encode(&repeated(&pixels)), Batch(repeated(&eps.0)));
        let u: Vec<f64> = times::low_discrepancy(0.5, ITEMS).collect();
        let diffusion = &model.spec().diffusion;
        let noising = NoisedBatch::proposed(&u, diffusion, &diffusion.schedule).unwrap();
        let leaf = PerSample::new(&noising.log_snrs, Device::Cpu).0.set_requires_grad(true);
        let at = diffusion.scaling.level(PerSample(leaf.shallow_clone()));
        let mode = Mode::EVALUATION;
        let loss = objective::diffusion_loss(model, &x, &eps, &noising, &at, mode).unwrap();
        let nats = loss.nats();
        nats.sum(Kind::Double).backward();
        let (nats, by_squares) = (host(&nats), host(&leaf.grad()));
        let partials =
            noising.partials(diffusion, model.spec().head.measured_as(), &nats, &by_squares);
        (nats, partials)
    }

    /// Prior and reconstruction of the item, in nats.
    fn end_terms(model: &Model) -> f64 {
        let (pixels, eps) = item();
        let schedule = &model.spec().diffusion.schedule;
        let prior = objective::prior_kl(&model.encode(&pixels), schedule.log_snr(1.0));
        let reconstruction = objective::reconstruction(model, &pixels, &eps, schedule.log_snr(0.0));
        host(&prior)[0] + host(&reconstruction)[0]
    }

    fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
        let count = values.len() as f64;
        values.sum::<f64>() / count
    }

    fn learner(model: &Model) -> Learner {
        let spec =
            LearnedSchedule { ends: Part::Learned, interior: Part::Learned, learning_rate: 0.1 };
        let zeros = model.spec().diffusion.schedule.parametric().unwrap().parameters().zeros_like();
        let moments = ScheduleMoments { exp_avg: zeros.clone(), exp_avg_sq: zeros };
        Learner { spec, betas: [0.9, 0.99], moments }
    }

    /// The slope of a function of the schedule by parameter `i`, everything else as it is, by a central
    /// difference, and by how much the roundings of its two f32 sums may move it.
    fn slope_by(
        model: &mut Model,
        i: usize,
        step: f64,
        value: impl Fn(&Model) -> f64,
    ) -> (f64, f64) {
        let schedule = model.spec().diffusion.schedule.clone();
        let mut at = |move_by: f64| {
            let parametric = schedule.parametric().unwrap();
            let mut moved = parametric.parameters();
            *moved.iter_mut().nth(i).unwrap() += move_by;
            model.set_schedule(parametric.with(moved).unwrap());
            value(model)
        };
        let (above, below) = (at(step), at(-step));
        model.set_schedule(schedule);
        let rounding = 0.5 * f64::from(f32::EPSILON) * above.abs().max(below.abs()) / step;
        ((above - below) / (2.0 * step), rounding)
    }

    /// M47 on a network: over all times of one item and noise, the gradient of the loss by the
    /// interior vanishes, and that by the ends is half the error there. Single items have gradients
    /// some tens of times larger; 4,096 midpoints of the network's fastest wave, 160 periods, and
    /// f32 sums leave 1e-3 of those.
    #[test]
    fn m47_a_networks_loss_has_no_gradient_but_through_the_ends() {
        for (head, schedule) in [
            (Head::Categorical, monotone()),
            (Head::Velocity, monotone()),
            (Head::Velocity, network()),
        ] {
            let model = model(head, schedule);
            let (losses, partials) = losses(&model);
            let parametric = model.spec().diffusion.schedule.parametric().unwrap();
            let gradient = parametric.gradient(&partials);
            for i in 0..gradient.interior.len() {
                let single = |by: &Partials| parametric.gradient(&[*by]).interior[i].abs();
                let size = mean(partials.iter().map(single));
                let ratio = (gradient.interior[i] / ITEMS as f64 / size).abs();
                assert!(ratio < 1e-3, "{head:?}, interior {i}: {ratio} of {size}");
            }
            let error = |item: usize| {
                losses[item] / -model.spec().diffusion.schedule.slope(partials[item].t)
            };
            let wanted = [error(0), -error(ITEMS - 1)];
            for (found, wanted) in gradient.ends.iter().zip(wanted) {
                let found = found / ITEMS as f64;
                assert!((found / wanted - 1.0).abs() < 0.03, "{head:?}: {found}, not {wanted}");
            }
        }
    }

    /// Ends: the whole bound; interior: the second moment. Both against differences under the same
    /// times and noise, which err by a few 1e-3 at the fastest waves of the network's clock. The bound is
    /// smoother in its ends than the second moment in the interior, and much larger than its slope by
    /// the noisy one: so a wider step there.
    #[test]
    fn m47_gradients_of_bound_and_variance_are_slopes() {
        for (head, schedule) in [
            (Head::Categorical, monotone()),
            (Head::Velocity, monotone()),
            (Head::Velocity, network()),
        ] {
            let mut model = model(head, schedule);
            let (nats, partials) = losses(&model);
            let (pixels, eps) = item();
            let end_slopes = host(&objective::end_terms(&model, &pixels, &eps));
            let observed = Observed {
                losses: &nats,
                partials: &partials,
                end_slopes: [end_slopes[2], end_slopes[3]],
            };
            let schedule = model.spec().diffusion.schedule.clone();
            let gradient = learner(&model).gradient(schedule.parametric().unwrap(), &observed);
            let bound = |model: &Model| mean(losses(model).0.into_iter()) + end_terms(model);
            let moment = |model: &Model| mean(losses(model).0.into_iter().map(|loss| loss * loss));
            // At an end the terms of the bound nearly cancel; over the interior so do those of single
            // slopes, which are judged as one vector.
            let (mut off, mut size) = (0.0_f64, 0.0_f64);
            for (i, exact) in gradient.iter().enumerate() {
                let end = observed.end_slopes.get(i);
                let (numeric, rounding) = match end {
                    Some(_) => slope_by(&mut model, i, 3e-3, bound),
                    None => slope_by(&mut model, i, 1e-3, moment),
                };
                let error = ((numeric - exact).abs() - rounding).max(0.0);
                match end {
                    Some(slope) => assert!(
                        error < 0.01 * (exact.abs() + slope.abs()),
                        "{head:?}, parameter {i}: {numeric}, not {exact}"
                    ),
                    None => (off, size) = (off.hypot(error), size.hypot(*exact)),
                }
            }
            assert!(off < 0.01 * size, "{head:?}, interior: {off} of {size}");
        }
    }

    /// Adam's first step is the learning rate in every direction, its moments those of the gradient;
    /// what is pinned stays to the last bit.
    #[test]
    fn a_step_moves_what_is_learned() {
        let model = model(Head::Categorical, network());
        let (nats, partials) = losses(&model);
        let observed = Observed { losses: &nats, partials: &partials, end_slopes: [0.5, 0.1] };
        let before = model.spec().diffusion.schedule.parametric().unwrap().parameters();
        for (ends, interior) in [(Part::Pinned, Part::Learned), (Part::Learned, Part::Pinned)] {
            let mut learner = learner(&model);
            learner.spec = LearnedSchedule { ends, interior, learning_rate: 0.1 };
            let after = learner.step(1, &model.spec().diffusion.schedule, &observed).unwrap();
            let after = after.parametric().unwrap().parameters();
            for (i, (before, after)) in before.iter().zip(after.iter()).enumerate() {
                let step = (after - before).abs();
                let moves = [ends, interior][usize::from(i > 1)] == Part::Learned;
                assert!((step - if moves { 0.1 } else { 0.0 }).abs() < 1e-6, "{i}: {step}");
            }
            if ends == Part::Pinned {
                assert_eq!(before.ends, after.ends);
            }
        }
        let mut wild = learner(&model);
        wild.spec.learning_rate = 1e9;
        let error = wild.step(1, &model.spec().diffusion.schedule, &observed).unwrap_err();
        assert!(error.to_string().contains("learning_rate"), "{error}");
    }

    /// The factor between squared errors moves with the level too.
    #[test]
    fn the_partials_of_a_constant_error_are_those_of_its_factor() {
        let model = model(Head::Velocity, monotone());
        let diffusion = &model.spec().diffusion;
        let noising = NoisedBatch::proposed(&[0.3], diffusion, &diffusion.schedule).unwrap();
        let partials = noising.partials(diffusion, Parameterization::Image, &[2.0], &[0.0]);
        // ‖ε − ε̂‖² = e^λ ‖x − x̂‖².
        assert!((partials[0].by_log_snr - 2.0).abs() < 1e-12);
        let slope = diffusion.schedule.slope(0.3);
        assert!((partials[0].by_slope - 2.0 / slope).abs() < 1e-12);
        assert!(LogSnr::new(noising.log_snrs[0]) == diffusion.schedule.log_snr(0.3));
    }
}
