//! The bound on tensors: each term in nats per item.
//!
//! The formulas are vdm-core's; here they meet batches. Levels and factors are computed in f64 on
//! the host and rounded once.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use vdm_core::importance::{Estimator, LossSample};
use vdm_core::schedule::{LogSnrRange, Partials};
use vdm_core::setting::{InvalidSetting, require};
use vdm_core::{Dual, Latent, LogSnr, NoiseLevel, NoiseSchedule, Parameterization, Scaling, bound};

use crate::model::{Diffusion, Model};
use crate::nn::Mode;
use crate::{Batch, Error, PerSample};

/// The discrete times `1/T, …, 1` of a `T`-step hierarchy, or all of `[0, 1]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TimeDiscretization {
    /// `L_∞`.
    #[default]
    Continuous,
    /// `L_T`.
    Discrete {
        /// `T ≥ 1`.
        steps: u32,
    },
}

impl TimeDiscretization {
    /// `T`; [`None`] for infinitely many.
    #[must_use]
    pub fn steps(self) -> Option<u32> {
        match self {
            Self::Continuous => None,
            Self::Discrete { steps } => Some(steps),
        }
    }
}

/// Where items of a batch are noised, and what their squared errors count for.
#[derive(Debug)]
pub(crate) struct NoisedBatch {
    /// Time of each item, snapped to the grid if the hierarchy is discrete.
    pub(crate) times: Vec<f64>,
    /// Log-SNR of each.
    pub(crate) log_snrs: Vec<f64>,
    /// `dλ/dt` there, of the schedule that times are of: `−1/p(λ)`.
    slopes: Vec<f64>,
    /// Factor on `‖ε − ε̂‖²` such that its mean over uniform times is the diffusion loss in nats.
    factors: Vec<f64>,
}

/// A step of a discrete hierarchy as a weighting sees it: its level has the density of the step,
///
/// ```text
/// (1/T) / expm1(λ_s − λ_t),   expm1(λ_s − λ_t) = ∫ e^{λ − λ_t} dλ over the step,
/// ```
///
/// time over the measure that the bound `½ T expm1(λ_s − λ_t)` has there, which is `p(λ)` for many
/// steps. The squared noise error of DDPM, whose weight is the density, then counts equally at every
/// step.
#[derive(Debug)]
struct Step<'a> {
    schedule: &'a dyn NoiseSchedule,
    density: f64,
}

impl NoiseSchedule for Step<'_> {
    fn range(&self) -> LogSnrRange {
        self.schedule.range()
    }

    fn log_snr(&self, t: f64) -> LogSnr {
        self.schedule.log_snr(t)
    }

    fn slope(&self, t: f64) -> f64 {
        self.schedule.slope(t)
    }

    fn density(&self, _: LogSnr) -> f64 {
        self.density
    }
}

impl NoisedBatch {
    fn new(times: Vec<f64>, schedule: &dyn NoiseSchedule, factor: impl Fn(f64) -> f64) -> Self {
        let map = |f: &dyn Fn(f64) -> f64| times.iter().map(|t| f(*t)).collect();
        Self {
            log_snrs: map(&|t| schedule.log_snr(t).value()),
            slopes: map(&|t| schedule.slope(t)),
            factors: map(&factor),
            times,
        }
    }

    /// For uniform draws `u` in `[0, 1)`, with the bound's own weight of 1.
    pub(crate) fn bound(u: &[f64], schedule: &dyn NoiseSchedule, time: TimeDiscretization) -> Self {
        match time {
            TimeDiscretization::Continuous => {
                Self::new(u.to_vec(), schedule, |t| bound::continuous_factor(schedule.slope(t)))
            }
            TimeDiscretization::Discrete { steps } => {
                let steps = f64::from(steps);
                let snap = |u: &f64| ((u * steps).floor() + 1.0).min(steps) / steps;
                Self::new(u.iter().map(snap).collect(), schedule, |t| {
                    // i − 1 over T: an exact 0 at the first step, where t − 1/T would round.
                    let s = ((t * steps).round() - 1.0) / steps;
                    steps * bound::discrete_factor(schedule.log_snr(s), schedule.log_snr(t))
                })
            }
        }
    }

    /// For training in continuous time under the process's own weighting, at levels that `proposal`
    /// draws: `½ w(λ)/p(λ)`.
    ///
    /// # Errors
    /// [`Error::Core`] unless the proposal has the end points of the process.
    pub(crate) fn proposed(
        u: &[f64],
        diffusion: &Diffusion,
        proposal: &dyn NoiseSchedule,
    ) -> Result<Self, Error> {
        let estimator = Estimator::new(diffusion.weighting.clone(), &diffusion.schedule, proposal)?;
        Ok(Self::new(u.to_vec(), proposal, |t| estimator.factor(t)))
    }

    /// For training with a hierarchy of discrete times, each step weighted by the level it starts at;
    /// what weighs by the schedule's density, by that of the step.
    pub(crate) fn discrete(u: &[f64], diffusion: &Diffusion, time: TimeDiscretization) -> Self {
        let schedule = &diffusion.schedule;
        let mut noising = Self::bound(u, schedule, time);
        for (factor, log_snr) in noising.factors.iter_mut().zip(&noising.log_snrs) {
            let step = Step { schedule, density: 0.5 / *factor };
            *factor *= diffusion.weighting.at(LogSnr::new(*log_snr), &step);
        }
        noising
    }

    /// The items of a range.
    pub(crate) fn part(&self, range: Range<usize>) -> Self {
        let slice = |list: &[f64]| list[range.clone()].to_vec();
        Self {
            times: slice(&self.times),
            log_snrs: slice(&self.log_snrs),
            slopes: slice(&self.slopes),
            factors: slice(&self.factors),
        }
    }

    /// The items with their losses, in nats.
    pub(crate) fn draws(&self, losses: &[f64]) -> Vec<LossSample> {
        let levels = self.log_snrs.iter().zip(&self.slopes);
        let draw = |((log_snr, slope), loss): ((&f64, &f64), &f64)| LossSample {
            log_snr: LogSnr::new(*log_snr),
            density: -1.0 / slope,
            loss: *loss,
        };
        levels.zip(losses).map(draw).collect()
    }

    /// How each item's loss moves with its level and slope, from its value and from what its squared
    /// error in the space of the prediction `of`, scaled to nats, moves by with the level.
    ///
    /// Under a weighting with a formula: one that is the schedule's density is no function of the
    /// level.
    pub(crate) fn partials(
        &self,
        diffusion: &Diffusion,
        of: Parameterization,
        losses: &[f64],
        by_squares: &[f64],
    ) -> Vec<Partials> {
        let log_factor = |log_snr: f64| {
            let log_snr = Dual::variable(log_snr);
            let to_noise =
                of.error_factor(Parameterization::Noise, &diffusion.scaling.level(log_snr));
            let weight = diffusion.weighting.log_weight(log_snr);
            to_noise.derivative / to_noise.value + weight.map_or(0.0, |log| log.derivative)
        };
        let item = |i: usize| {
            let by_log_snr = by_squares[i] + losses[i] * log_factor(self.log_snrs[i]);
            Partials::of_loss(self.times[i], losses[i], self.slopes[i], by_log_snr)
        };
        (0..self.times.len()).map(item).collect()
    }

    /// The levels on a device.
    pub(crate) fn levels(&self, scaling: Scaling, device: Device) -> NoiseLevel<PerSample> {
        PerSample::levels_at(&self.log_snrs, scaling, device)
    }
}

/// What one pass of the network says about a batch.
#[derive(Debug)]
pub(crate) struct DiffusionLoss {
    /// Squared error of the network's own prediction per item, `[B]`; differentiable.
    pub(crate) squares: Tensor,
    /// What turns each into nats of the loss, `[B]`.
    to_nats: Tensor,
}

impl DiffusionLoss {
    /// Nats per item, `[B]`; differentiable.
    pub(crate) fn nats(&self) -> Tensor {
        &self.squares * &self.to_nats
    }
}

/// Noises `x` with `eps` and measures the model's error. `at` are the levels of `noising`, through
/// which gradients flow if they are asked for.
///
/// The error is taken in the space of the network's own prediction and converted by the exact
/// factor between squared errors, so nothing is divided by a small α or σ on the way.
///
/// # Errors
/// [`Error::Shim`] if the precision cannot be had.
pub(crate) fn diffusion_loss(
    model: &Model,
    x: &Batch,
    eps: &Batch,
    noising: &NoisedBatch,
    at: &NoiseLevel<PerSample>,
    mode: Mode,
) -> Result<DiffusionLoss, Error> {
    let scaling = model.spec().diffusion.scaling;
    let of = model.spec().head.measured_as();
    // Before the network's work is queued on the device, which a copy from the host would wait for.
    let to_noise = |l: &f64| of.error_factor(Parameterization::Noise, &scaling.level(*l));
    let to_nats = noising.log_snrs.iter().zip(&noising.factors).map(|(l, f)| to_noise(l) * f);
    let to_nats = PerSample::new(&to_nats.collect::<Vec<f64>>(), model.device()).0.view([-1]);
    let z = Batch::lincomb(&[(at.alpha.clone(), x), (at.sigma.clone(), eps)]);
    let prediction = model.predict(&z, at, mode)?;
    let target = target(of, x, eps, at);
    let squares = Batch((prediction.value.0 - target).square()).sum_per_item();
    Ok(DiffusionLoss { squares, to_nats })
}

/// What a perfect network would have output. Image and noise are at hand; others are computed.
pub(crate) fn target(
    of: Parameterization,
    x: &Batch,
    eps: &Batch,
    at: &NoiseLevel<PerSample>,
) -> Tensor {
    match of {
        Parameterization::Image => x.0.shallow_clone(),
        Parameterization::Noise => eps.0.shallow_clone(),
        _ => {
            let (on_x, on_eps) = of.target(at);
            Batch::lincomb(&[(on_x, x), (on_eps, eps)]).0
        }
    }
}

/// `KL(q(z_1|x) ‖ N(0, I))` in nats per item, `[B]`, in f64.
pub(crate) fn prior_kl(x: &Batch, log_snr: LogSnr) -> Tensor {
    per_item(x, |x| bound::prior_kl(log_snr, x))
}

/// What [`prior_kl`] moves by with `λ_1`, per nat, `[B]`, in f64.
pub(crate) fn prior_kl_slope(x: &Batch, log_snr: LogSnr) -> Tensor {
    per_item(x, |x| bound::prior_kl_slope(log_snr, x))
}

/// The sum over an item's components of a function that is a constant plus a multiple of `x²`.
fn per_item(x: &Batch, function: impl Fn(f64) -> f64) -> Tensor {
    let constant = function(0.0);
    let slope = function(1.0) - constant;
    let dims = x.0.numel() as f64 / x.0.size()[0] as f64;
    let squares = x.0.to_kind(Kind::Double).square().flatten(1, -1);
    squares.sum_dim_intlist([1_i64].as_slice(), false, Kind::Double) * slope + constant * dims
}

/// `−log p(x|z_0)` in nats per item, `[B]`, for `z_0` noised by `eps` at level `log_snr`; `values`
/// are the data themselves, `[B, C, H, W]`.
pub(crate) fn reconstruction(
    model: &Model,
    values: &Tensor,
    eps: &Batch,
    log_snr: LogSnr,
) -> Tensor {
    reconstruction_at(model, values, eps, &Tensor::from(log_snr.edm_sigma()))
}

/// The same with `σ_0/α_0` as a scalar tensor, through which gradients flow if they are asked for.
pub(crate) fn reconstruction_at(
    model: &Model,
    values: &Tensor,
    eps: &Batch,
    edm_sigma: &Tensor,
) -> Tensor {
    let items = values.size()[0];
    // z_0/α_0, which is all the likelihood depends on.
    let y = (model.encode(values).0 + &eps.0 * edm_sigma).view([-1, 1]);
    let index = values.to_kind(Kind::Int64).view([-1, 1]);
    let centers = model.centers().view([1, -1]);
    // Some values at a time: all of them by all levels would be gigabytes for color images.
    let slice = (1 << 22) / i64::from(model.spec().values);
    let log_prob = |first: i64| {
        let count = slice.min(y.size()[0] - first);
        let distance = (y.narrow(0, first, count) - &centers) / edm_sigma;
        let log_prob = (distance.square() * -0.5).log_softmax(1, Kind::Float);
        log_prob.gather(1, &index.narrow(0, first, count), false)
    };
    let parts: Vec<Tensor> = (0..y.size()[0]).step_by(slice as usize).map(log_prob).collect();
    -Batch(Tensor::cat(&parts, 0).view([items, -1])).sum_per_item()
}

/// The terms of the bound that depend on the ends of the schedule alone, and their derivatives by
/// those ends: sums over items, in nats and f64, `[4]`.
///
/// ```text
/// −log p(x|z_0), KL(q(z_1|x) ‖ p(z_1)), d/dλ_0 of the first, d/dλ_1 of the second
/// ```
pub(crate) fn end_terms(model: &Model, values: &Tensor, eps: &Batch) -> Tensor {
    let schedule = &model.spec().diffusion.schedule;
    let clean = Tensor::from(schedule.log_snr(0.0).value() as f32).to_device(model.device());
    let clean = clean.set_requires_grad(true);
    // EDM's σ of the level, as a function that is differentiated.
    let sigma = PerSample(clean.shallow_clone());
    let sigma = Scaling::VarianceExploding.level(sigma).sigma.0;
    let reconstruction = reconstruction_at(model, values, eps, &sigma).sum(Kind::Double);
    reconstruction.backward();
    let (x, noisy) = (model.encode(values), schedule.log_snr(1.0));
    let terms = [
        reconstruction.detach(),
        prior_kl(&x, noisy).sum(Kind::Double),
        clean.grad().to_kind(Kind::Double),
        prior_kl_slope(&x, noisy).sum(Kind::Double),
    ];
    Tensor::stack(&terms, 0)
}

/// That the terms above are those of a process they hold for.
///
/// # Errors
/// [`InvalidSetting`] for a scaling whose prior is not the unit normal.
pub(crate) fn check(diffusion: &Diffusion) -> Result<(), InvalidSetting> {
    let scaling = diffusion.scaling;
    let (legal, value) = (scaling == Scaling::VariancePreserving, format_args!("{scaling:?}"));
    let remedy =
        "use \"variance_preserving\" to train; a trained model can be sampled under any scaling";
    require(legal, "diffusion.scaling", value, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Head;
    use crate::model::ModelSpec;
    use crate::nn::{MlpSpec, NetworkSpec};
    use tch::Device;
    use vdm_core::likelihood::Discretized;
    use vdm_core::{Schedule, Weighting};
    use vdm_data::Shape;
    use vdm_sample::Seed;

    const HEADS: [Head; 8] = [
        Head::Noise,
        Head::Image,
        Head::Velocity,
        Head::Flow,
        Head::Score,
        Head::Energy,
        Head::Edm { data_std: 0.5 },
        Head::Categorical,
    ];

    fn model(head: Head, values: u16) -> Model {
        let spec = ModelSpec {
            shape: Shape { channels: 1, height: 2, width: 3 },
            values,
            diffusion: Diffusion::variational(Schedule::cosine(7.0, -4.0).unwrap()),
            network: NetworkSpec::Mlp(MlpSpec::new(8, 1)),
            head,
            clock: None,
        };
        Model::new(&spec, Seed(1), Device::Cpu).unwrap()
    }

    fn values() -> Tensor {
        Tensor::from_slice(&[0_u8, 3, 16, 8, 1, 2, 5, 5, 9, 12, 15, 0]).view([2, 1, 2, 3])
    }

    fn noise() -> Batch {
        let eps: Vec<f32> = (0..12_u8).map(|i| (f32::from(i) * 1.7).sin()).collect();
        Batch::from_slice(&eps, [2, 1, 2, 3], Device::Cpu)
    }

    /// Reconstruction and prior against vdm-core's scalar functions, pixel by pixel.
    #[test]
    fn terms_agree_with_their_scalar_definitions() {
        let (model, at) = (model(Head::Noise, 17), LogSnr::new(5.0));
        let code: Discretized = model.code();
        let got = reconstruction(&model, &values(), &noise(), at);
        let prior = prior_kl(&model.encode(&values()), at);
        for item in 0..2_i64 {
            let row: Vec<u8> = Vec::try_from(values().get(item).flatten(0, -1)).unwrap();
            let eps: Vec<f32> = Vec::try_from(noise().0.get(item).flatten(0, -1)).unwrap();
            let (mut nats, mut kl) = (0.0, 0.0);
            for (k, eps) in row.iter().zip(eps) {
                let x = code.encode(u16::from(*k));
                nats -= code.log_prob(u16::from(*k), x + at.edm_sigma() * f64::from(eps), at);
                kl += bound::prior_kl(at, x);
            }
            assert!((got.double_value(&[item]) - nats).abs() < 1e-4 * (1.0 + nats));
            assert!((prior.double_value(&[item]) - kl).abs() < 1e-5 * (1.0 + kl));
        }
    }

    /// Whatever the head, the loss is ½(−dλ/dt)‖ε − ε̂‖² with ε̂ converted from its prediction.
    #[test]
    fn every_head_yields_the_noise_error_of_its_prediction() {
        for head in HEADS {
            let model = model(head, 17);
            let Diffusion { schedule, scaling, .. } = &model.spec().diffusion;
            let (x, eps) = (model.encode(&values()), noise());
            let noising = NoisedBatch::bound(&[0.3, 0.7], schedule, TimeDiscretization::Continuous);
            let levels = noising.levels(*scaling, Device::Cpu);
            let mode = Mode::EVALUATION;
            let loss = diffusion_loss(&model, &x, &eps, &noising, &levels, mode).unwrap();
            for (i, t) in [0.3, 0.7].into_iter().enumerate() {
                let item = |b: &Batch| Batch(b.0.narrow(0, i as i64, 1));
                let level = scaling.level(schedule.log_snr(t).value());
                let z = Batch::lincomb(&[(level.alpha, &item(&x)), (level.sigma, &item(&eps))]);
                let eps_hat =
                    vdm_core::Denoiser::denoise(&model, &z, &level).unwrap().noise(&z, &level);
                let error = (eps_hat.0 - item(&eps).0).square().sum(Kind::Double).double_value(&[]);
                let wanted = -0.5 * schedule.slope(t) * error;
                let got = loss.nats().double_value(&[i as i64]);
                assert!((got / wanted - 1.0).abs() < 1e-3, "{head:?}: {got} for {wanted}");
            }
        }
    }

    /// Where σ or α is 2e-9 nothing is divided by it: losses and gradients stay numbers.
    #[test]
    fn every_head_has_a_loss_at_extreme_levels() {
        for head in HEADS {
            let schedule = Schedule::linear(40.0, -40.0).unwrap();
            let mut spec = model(head, 17).spec().clone();
            spec.diffusion.schedule = schedule.clone();
            let model = Model::new(&spec, Seed(1), Device::Cpu).unwrap();
            let (x, eps) = (model.encode(&values()), noise());
            let noising =
                NoisedBatch::bound(&[0.0, 1.0], &schedule, TimeDiscretization::Continuous);
            let mode = Mode { train: true, ..Mode::EVALUATION };
            let levels = noising.levels(Scaling::VariancePreserving, Device::Cpu);
            let nats = diffusion_loss(&model, &x, &eps, &noising, &levels, mode).unwrap().nats();
            assert_eq!(nats.isfinite().all().int64_value(&[]), 1, "{head:?}: {nats:?}");
            nats.sum(Kind::Float).backward();
            for (name, weight) in model.parameters().named() {
                assert_eq!(weight.grad().isfinite().all().int64_value(&[]), 1, "{head:?} {name}");
            }
        }
    }

    /// Discrete times are exactly i/T, their factors those of vdm-core, and the first step's
    /// cleaner end is exactly t = 0.
    #[test]
    fn discrete_times_are_those_of_the_hierarchy() {
        let schedule = Schedule::linear(7.0, -4.0).unwrap();
        let noising = NoisedBatch::bound(
            &[0.0, 0.3, 0.999_999],
            &schedule,
            TimeDiscretization::Discrete { steps: 10 },
        );
        assert_eq!(noising.times, [0.1, 0.4, 1.0]);
        let whole_step = 10.0 * bound::discrete_factor(LogSnr::new(7.0), schedule.log_snr(0.1));
        assert!((noising.factors[0] / whole_step - 1.0).abs() < 1e-12);
    }

    /// DDPM's objective: the squared noise error of every step alike; its hybrid adds the bound's share.
    #[test]
    fn simple_is_uniform_over_discrete_steps() {
        let mut diffusion = model(Head::Noise, 17).spec().diffusion.clone();
        let depth = TimeDiscretization::Discrete { steps: 100 };
        let u: Vec<f64> = (0..100).map(|i| (f64::from(i) + 0.5) / 100.0).collect();
        let bound = NoisedBatch::discrete(&u, &diffusion, depth).factors;
        assert!(bound[0] / bound[50] > 10.0, "the bound is far from uniform");
        diffusion.weighting = Weighting::Simple;
        for factor in NoisedBatch::discrete(&u, &diffusion, depth).factors {
            assert!((factor - 0.5).abs() < 1e-12, "{factor}");
        }
        diffusion.weighting = Weighting::hybrid(0.001);
        let hybrid = NoisedBatch::discrete(&u, &diffusion, depth).factors;
        let constants: Vec<f64> =
            hybrid.iter().zip(&bound).map(|(hybrid, bound)| hybrid - 0.001 * bound).collect();
        for constant in &constants {
            assert!((constant / constants[0] - 1.0).abs() < 1e-12, "{constants:?}");
        }
        // With many steps it is the objective of continuous time.
        let (u, depth) = ([0.4], TimeDiscretization::Discrete { steps: 100_000 });
        diffusion.weighting = Weighting::Simple;
        let fine = NoisedBatch::discrete(&u, &diffusion, depth).factors[0];
        let continuous =
            NoisedBatch::proposed(&u, &diffusion, &diffusion.schedule).unwrap().factors[0];
        assert!((fine / continuous - 1.0).abs() < 1e-12);
    }

    /// A constant error integrates to the same loss under any schedule of the same end points:
    /// the mean of the factor over uniform times is half the range.
    #[test]
    fn factors_integrate_to_half_the_log_snr_range() {
        let u: Vec<f64> = vdm_core::times::low_discrepancy(0.5, 20_000).collect();
        for schedule in [Schedule::linear(7.0, -4.0).unwrap(), Schedule::cosine(7.0, -4.0).unwrap()]
        {
            let noising = NoisedBatch::bound(&u, &schedule, TimeDiscretization::Continuous);
            let mean = noising.factors.iter().sum::<f64>() / 20_000.0;
            assert!((mean - 5.5).abs() < 1e-3, "{schedule:?}: {mean}");
        }
    }

    #[test]
    fn other_scalings_are_refused_for_training() {
        let mut diffusion = model(Head::Noise, 17).spec().diffusion.clone();
        assert!(check(&diffusion).is_ok());
        diffusion.scaling = Scaling::StraightLine;
        assert!(check(&diffusion).unwrap_err().to_string().contains("diffusion.scaling"));
    }
}
