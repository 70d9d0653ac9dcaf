//! Which noise levels the items of a step get.

use serde::{Deserialize, Serialize};
use vdm_core::importance::{Adaptive, Estimator, LossSample};
use vdm_core::setting::require;
use vdm_core::{NoiseSchedule, Schedule};

use crate::Error;
use crate::model::Diffusion;
use crate::objective::{NoisedBatch, TimeDiscretization};

/// How noise levels are proposed. The objective is the same for all of them; its variance is not
/// (monograph §2.4.3).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TimeSampler {
    /// By the process's own schedule.
    #[default]
    Schedule,
    /// By another with the same end points.
    Proposal(Schedule),
    /// In proportion to the root mean square of the loss seen at them, which has the least variance;
    /// see [`Adaptive`](vdm_core::importance::Adaptive).
    Adaptive {
        /// Equal intervals of log-SNR, such as 100.
        bins: usize,
        /// What remains of an interval's average at each item it sees, such as 0.999.
        decay: f64,
        /// The share of items at uniform levels, for errors too rare to have been seen.
        #[serde(default = "uniform_share")]
        uniform: f64,
    },
}

fn uniform_share() -> f64 {
    Adaptive::UNIFORM
}

/// What [`TimeSampler`] is while training goes on.
#[derive(Debug)]
pub(super) enum Proposal {
    /// The process's schedule, which may be learned.
    Own,
    /// Another schedule.
    Fixed(Schedule),
    /// One that follows the root mean square of the loss.
    Adaptive(Adaptive),
}

impl Proposal {
    /// Before the first step.
    ///
    /// # Errors
    /// [`Error::Core`] if the ends differ from the process's or a number is not legal,
    /// [`Error::Setting`] if a hierarchy of discrete times is to be drawn from by anything but itself.
    pub(super) fn new(
        sampler: &TimeSampler,
        diffusion: &Diffusion,
        time: TimeDiscretization,
    ) -> Result<Self, Error> {
        let own = &diffusion.schedule;
        let proposal = match sampler {
            TimeSampler::Schedule => return Ok(Self::Own),
            TimeSampler::Proposal(schedule) => Self::Fixed(schedule.clone()),
            TimeSampler::Adaptive { bins, decay, uniform } => {
                Self::Adaptive(Adaptive::new(own.range(), *bins, *decay, *uniform)?)
            }
        };
        let (field, value) = ("objective.time_sampler", format_args!("{sampler:?}"));
        let remedy = "use \"schedule\" with a discrete objective.time: the levels of a hierarchy are its own";
        require(time == TimeDiscretization::Continuous, field, value, remedy)?;
        if let Self::Fixed(proposal) = &proposal {
            Estimator::new(diffusion.weighting.clone(), own, proposal)?;
        }
        Ok(proposal)
    }

    /// Where the items of uniform numbers `u` are noised by now.
    ///
    /// # Errors
    /// [`Error::Core`] as [`Proposal::new`].
    pub(super) fn noising(
        &self,
        u: &[f64],
        diffusion: &Diffusion,
        time: TimeDiscretization,
    ) -> Result<NoisedBatch, Error> {
        match (self, time) {
            (_, TimeDiscretization::Discrete { .. }) => {
                Ok(NoisedBatch::discrete(u, diffusion, time))
            }
            (Self::Own, _) => NoisedBatch::proposed(u, diffusion, &diffusion.schedule),
            (Self::Fixed(schedule), _) => NoisedBatch::proposed(u, diffusion, schedule),
            (Self::Adaptive(adaptive), _) => {
                NoisedBatch::proposed(u, diffusion, &adaptive.schedule())
            }
        }
    }

    /// Observes what a step saw.
    pub(super) fn observe(&mut self, draws: &[LossSample]) {
        if let Self::Adaptive(adaptive) = self {
            for draw in draws {
                adaptive.observe(draw.log_snr, draw.weighted_error());
            }
        }
    }

    /// The density of levels by now, if it is not that of the process's schedule.
    pub(super) fn schedule(&self) -> Option<Schedule> {
        match self {
            Self::Own => None,
            Self::Fixed(schedule) => Some(schedule.clone()),
            Self::Adaptive(adaptive) => Some(Schedule::Histogram(adaptive.schedule())),
        }
    }

    /// What a checkpoint has to keep.
    pub(super) fn state(&self) -> Option<&Adaptive> {
        if let Self::Adaptive(adaptive) = self { Some(adaptive) } else { None }
    }

    /// Continues from what a checkpoint kept; `false` if that is of another kind.
    pub(super) fn restore(&mut self, state: Option<Adaptive>) -> bool {
        match (self, state) {
            (Self::Adaptive(adaptive), Some(state)) => {
                *adaptive = state;
                true
            }
            (Self::Own | Self::Fixed(_), None) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Batch;
    use crate::head::Head;
    use crate::model::{Model, ModelSpec};
    use crate::nn::{MlpSpec, Mode, NetworkSpec};
    use crate::objective;
    use tch::{Device, Tensor};
    use vdm_core::importance::LossVariance;

    use vdm_data::Shape;
    use vdm_sample::Seed;
    use vdm_sample::noise::{Purpose, fill_normal};

    const ITEMS: usize = 512;

    fn model(head: Head) -> Model {
        let spec = ModelSpec {
            shape: Shape { channels: 1, height: 2, width: 2 },
            values: 17,
            diffusion: Diffusion::variational(Schedule::linear(11.0, -9.0).unwrap()),
            network: NetworkSpec::Mlp(MlpSpec::new(8, 1)),
            head,
            clock: None,
        };
        Model::new(&spec, Seed(0), Device::Cpu).unwrap()
    }

    /// Steps `from..to` of a training that changes no weight: independent times, data and noise.
    fn observe(model: &Model, proposal: &mut Proposal, from: u64, to: u64) -> LossVariance {
        let diffusion = &model.spec().diffusion;
        let mut spread = LossVariance::new(diffusion.schedule.range(), 20);
        for step in from..to {
            let number = |purpose, i| Seed(9).uniform(purpose, step, i);
            let u: Vec<f64> = (0..ITEMS as u64).map(|i| number(Purpose::TrainingTime, i)).collect();
            let pixels: Vec<u8> =
                (0..4 * ITEMS as u64).map(|i| (17.0 * number(Purpose::Prior, i)) as u8).collect();
            let size = [ITEMS as i64, 1, 2, 2];
            let mut eps = vec![0.0; 4 * ITEMS];
            fill_normal(&mut eps, 4, Seed(9), Purpose::TrainingNoise, step, 0);
            let x = model.encode(&Tensor::from_slice(&pixels).view(size));
            let eps = Batch::from_slice(&eps, size, Device::Cpu);
            let noising = proposal.noising(&u, diffusion, TimeDiscretization::Continuous).unwrap();
            let levels = noising.levels(diffusion.scaling, Device::Cpu);
            let mode = Mode::EVALUATION;
            let loss = objective::diffusion_loss(model, &x, &eps, &noising, &levels, mode).unwrap();
            let nats = Vec::<f32>::try_from(loss.nats().detach()).unwrap();
            let nats: Vec<f64> = nats.into_iter().map(f64::from).collect();
            let draws = noising.draws(&nats);
            proposal.observe(&draws);
            draws.iter().for_each(|draw| spread.observe(draw));
        }
        spread
    }

    /// M56 and M59 on a network: proposals leave the mean as it is, within 4 standard errors of the
    /// difference, and the adaptive one lowers the variance, to near the least there is. Untrained, the
    /// noise head answers `z`, which is the noise itself where there is nothing else: its loss is in the
    /// cleaner half of the levels, and smooth there. The categorical head is exact for these pixels: its loss is
    /// in a few levels, and beyond them errors are rare but large, so that levels drawn by the mean error
    /// would do worse, and with a smaller uniform share worse than by the schedule.
    #[test]
    fn m59_the_adaptive_proposal_is_unbiased_and_lowers_the_variance() {
        for head in [Head::Noise, Head::Categorical] {
            let model = model(head);
            let of = |times| {
                Proposal::new(&times, &model.spec().diffusion, TimeDiscretization::Continuous)
                    .unwrap()
            };
            let own = observe(&model, &mut of(TimeSampler::Schedule), 100, 140);
            let mut adaptive =
                of(TimeSampler::Adaptive { bins: 40, decay: 0.999, uniform: uniform_share() });
            observe(&model, &mut adaptive, 0, 40);
            let adapted = observe(&model, &mut adaptive, 200, 240);
            let cosine = TimeSampler::Proposal(Schedule::cosine(11.0, -9.0).unwrap());
            let fixed = observe(&model, &mut of(cosine), 300, 340);
            for other in [&adapted, &fixed] {
                let draws = 40.0 * ITEMS as f64;
                let error = ((own.variance() + other.variance()) / draws).sqrt();
                let off = (own.mean() - other.mean()).abs();
                assert!(off < 4.0 * error, "{head:?}: {off}, standard error {error}");
            }
            // The levels that matter are half of all, or fewer.
            assert!(
                adapted.variance() < 0.5 * own.variance(),
                "{head:?}: {adapted:?}, was {own:?}"
            );
            assert!(adapted.least_variance() > 0.8 * adapted.variance(), "{head:?}: {adapted:?}");
            // What the first predicts from its own draws is what the second finds.
            let predicted = own.least_variance() / adapted.variance();
            assert!((0.75..1.25).contains(&predicted), "{head:?}: {predicted}");
        }
    }

    #[test]
    fn proposals_that_do_not_fit_are_named() {
        let model = model(Head::Noise);
        let refusal = |times: TimeSampler, depth| {
            Proposal::new(&times, &model.spec().diffusion, depth).unwrap_err().to_string()
        };
        let shorter = TimeSampler::Proposal(Schedule::linear(10.0, -9.0).unwrap());
        assert!(refusal(shorter, TimeDiscretization::Continuous).contains("10"));
        let adaptive = |bins| TimeSampler::Adaptive { bins, decay: 0.9, uniform: 0.1 };
        assert!(refusal(adaptive(0), TimeDiscretization::Continuous).contains("bins"));
        let discrete = refusal(adaptive(10), TimeDiscretization::Discrete { steps: 10 });
        assert!(discrete.contains("objective.time_sampler"), "{discrete}");
    }
}
