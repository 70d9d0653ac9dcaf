//! AdamW whose whole state can be saved, and the learning rate and averaging that go with it.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use vdm_core::count::{Cost, bounded};
use vdm_core::setting::{InvalidSetting, below_one, require};
use vdm_torch_sys::{AdamW, AdamWState};

use crate::Error;

/// Constants of the optimizer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerSpec {
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Steps over which it rises linearly from 0.
    pub warmup: u64,
    /// What it does afterwards.
    pub decay: Decay,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Largest norm of the gradient; longer ones are shortened to it.
    pub clip: f64,
    /// The norm of the gradient above which a step is skipped, and counted: its batch changes nothing but the
    /// number of the step (VDVAE). So is one whose norm or loss is not finite, which ends a training without this.
    /// [`MOST_SKIPPED`](super::MOST_SKIPPED) in a row end it here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_above: Option<f64>,
}

/// The learning rate after its warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Decay {
    /// Stays (VDM).
    Constant {},
    /// `√(after/step)` from step `after` on. Needs no horizon, so a longer run continues a shorter
    /// one exactly.
    InverseSqrt {
        /// The step at which it starts.
        after: u64,
    },
    /// Falls along half a cosine to 0 at the run's last step.
    Cosine {},
}

impl OptimizerSpec {
    /// That its numbers make sense.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the first that does not, below `training.optimizer`; [`Error::Count`] for one
    /// that costs too much.
    pub fn check(&self) -> Result<(), Error> {
        let Self { learning_rate, warmup, beta1, beta2, weight_decay, clip, skip_above, .. } =
            *self;
        bounded("training.optimizer.warmup", warmup, Cost::Training)?;
        for (field, value) in
            [("training.optimizer.learning_rate", learning_rate), ("training.optimizer.clip", clip)]
        {
            require(value > 0.0, field, value, "use a number above 0")?;
        }
        if let Some(norm) = skip_above {
            let remedy = "use a number above training.optimizer.clip, or leave it out";
            require(norm > clip, "training.optimizer.skip_above", norm, remedy)?;
        }
        below_one("training.optimizer.beta1", beta1)?;
        below_one("training.optimizer.beta2", beta2)?;
        let (field, legal) = ("training.optimizer.weight_decay", weight_decay >= 0.0);
        Ok(require(legal, field, weight_decay, "use 0 or more")?)
    }

    /// The rate of step `step` (from 1) of a run of `steps`.
    #[must_use]
    pub fn learning_rate_at(&self, step: u64, steps: u64) -> f64 {
        let warm = (step as f64 / self.warmup.max(1) as f64).min(1.0);
        let decay = match self.decay {
            Decay::Constant {} => 1.0,
            Decay::InverseSqrt { after } => (after.max(1) as f64 / step as f64).sqrt().min(1.0),
            Decay::Cosine {} => {
                // The last step still moves: its rate is that of (steps − 1)/steps.
                let done = ((step - 1) as f64 / steps.max(1) as f64).min(1.0);
                0.5 * (1.0 + (std::f64::consts::PI * done).cos())
            }
        };
        self.learning_rate * warm * decay
    }
}

/// The moving average of the trained weights, which is what is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ema {
    /// Exponential with a fixed rate, after a warm-up of `(1 + step)/(10 + step)`.
    Exponential {
        /// What remains of the average at each step, such as 0.9999.
        rate: f64,
    },
    /// The power function of Karras et al. 2024: rate `(1 − 1/step)^{exponent+1}`, so that the
    /// average always reaches back over the same share of the run.
    Power {
        /// 6.94 reaches back over about 10 % of the run.
        exponent: f64,
    },
}

impl Ema {
    /// That its number makes sense.
    ///
    /// # Errors
    /// [`InvalidSetting`] naming the one that does not, below `training.ema`.
    pub fn check(self) -> Result<(), InvalidSetting> {
        match self {
            Self::Exponential { rate } => below_one("training.ema.rate", rate),
            Self::Power { exponent } => {
                let remedy = "use 0 to 1e6, such as 6.94";
                let legal = (0.0..=1e6).contains(&exponent);
                require(legal, "training.ema.exponent", exponent, remedy)
            }
        }
    }

    /// What remains of the average at step `step`, from 1.
    #[must_use]
    pub fn rate_at(self, step: u64) -> f64 {
        let step = step as f64;
        match self {
            Self::Exponential { rate } => rate.min((1.0 + step) / (10.0 + step)),
            Self::Power { exponent } => (1.0 - 1.0 / step).powf(exponent + 1.0),
        }
    }
}

/// What a step did, on the device: scalars of type float.
#[derive(Debug)]
pub(crate) struct Update {
    /// Norm of the gradient before clipping.
    pub(crate) norm: Tensor,
    /// 1 if the step is skipped for [`OptimizerSpec::skip_above`], else 0.
    pub(crate) skipped: Tensor,
}

/// First and second moments of every parameter.
#[derive(Debug)]
pub(crate) struct Optimizer {
    params: Vec<Tensor>,
    pub(crate) exp_avgs: Vec<Tensor>,
    pub(crate) exp_avg_sqs: Vec<Tensor>,
    device: Device,
}

impl Optimizer {
    pub(crate) fn new(params: Vec<Tensor>, device: Device) -> Self {
        let zeros = || params.iter().map(Tensor::zeros_like).collect::<Vec<_>>();
        Self { exp_avgs: zeros(), exp_avg_sqs: zeros(), params, device }
    }

    /// Forgets the gradients of the step before.
    pub(crate) fn clear_gradients(&self) -> Result<(), Error> {
        Ok(vdm_torch_sys::clear_gradients(&self.params)?)
    }

    /// One step along the clipped gradients.
    ///
    /// If the step is to be skipped, or the norm or the loss, a scalar on the device, is not finite, nothing is
    /// updated: the caller sees it, and the weights are still those of the step before.
    pub(crate) fn step(
        &self,
        spec: &OptimizerSpec,
        step: u64,
        lr: f64,
        loss: &Tensor,
    ) -> Result<Update, Error> {
        let grads: Vec<Tensor> = self.params.iter().map(Tensor::grad).collect();
        let norm = vdm_torch_sys::global_norm(&grads)?;
        let scale = (&norm / spec.clip).clamp_min(1.0);
        let is_finite = (&norm + loss).isfinite();
        let (is_skipped, stays) = match spec.skip_above {
            Some(most) => {
                let is_skipped = norm.less_equal(most).logical_and(&is_finite).logical_not();
                (is_skipped.shallow_clone(), is_skipped)
            }
            None => (is_finite.zeros_like(), is_finite.logical_not()),
        };
        // Filled there: a copy from the host would wait for the backward pass.
        let count = Tensor::full([0_i64; 0], step as f64, (Kind::Float, self.device));
        let steps: Vec<Tensor> = grads.iter().map(|_| count.shallow_clone()).collect();
        let state = AdamWState {
            params: &self.params,
            grads: &grads,
            exp_avgs: &self.exp_avgs,
            exp_avg_sqs: &self.exp_avg_sqs,
            steps: &steps,
        };
        let &OptimizerSpec { beta1, beta2, weight_decay, .. } = spec;
        let constants = AdamW { lr, beta1, beta2, weight_decay, eps: 1e-8 };
        vdm_torch_sys::fused_adamw(&state, constants, &scale, &stays.to_kind(Kind::Float))?;
        Ok(Update { norm, skipped: is_skipped.to_kind(Kind::Float) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(decay: Decay) -> OptimizerSpec {
        OptimizerSpec {
            learning_rate: 0.1,
            warmup: 10,
            decay,
            beta1: 0.9,
            beta2: 0.99,
            weight_decay: 0.0,
            clip: 1.0,
            skip_above: None,
        }
    }

    #[test]
    fn learning_rates_rise_then_follow_their_decay() {
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        for decay in [Decay::Constant {}, Decay::InverseSqrt { after: 100 }] {
            assert!(close(spec(decay).learning_rate_at(5, 1000), 0.05));
            assert!(close(spec(decay).learning_rate_at(10, 1000), 0.1));
        }
        let root = spec(Decay::InverseSqrt { after: 100 });
        assert!(close(root.learning_rate_at(400, 1000), 0.05));
        assert!(close(root.learning_rate_at(400, 9999), 0.05), "no horizon");
        let cosine = spec(Decay::Cosine {});
        assert!(close(cosine.learning_rate_at(501, 1000), 0.05));
        let last = cosine.learning_rate_at(1000, 1000);
        assert!(last > 0.0 && last < 1e-5);
    }

    #[test]
    fn averages_start_at_the_weights_themselves() {
        assert_eq!(Ema::Power { exponent: 6.94 }.rate_at(1), 0.0);
        let exponential = Ema::Exponential { rate: 0.9999 };
        assert!(exponential.rate_at(1) < 0.2 && exponential.rate_at(1_000_000) == 0.9999);
    }

    /// A quadratic bowl: the optimizer must reach its bottom, and clipping must not prevent it.
    #[test]
    fn a_bowl_is_descended() {
        let x = Tensor::from_slice(&[3.0_f32, -2.0]).set_requires_grad(true);
        let optimizer = Optimizer::new(vec![x.shallow_clone()], Device::Cpu);
        let spec = spec(Decay::InverseSqrt { after: 50 });
        for step in 1..=400 {
            optimizer.clear_gradients().unwrap();
            let loss = (&x * 100.0).square().sum(Kind::Float);
            loss.backward();
            let lr = spec.learning_rate_at(step, 400);
            let Update { norm, .. } = optimizer.step(&spec, step, lr, &loss.detach()).unwrap();
            assert!(norm.double_value(&[]).is_finite());
        }
        // Within the size of a late step.
        assert!(x.abs().max().double_value(&[]) < 0.1);
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        let x = Tensor::from_slice(&[3.0_f32]).set_requires_grad(true);
        let optimizer = Optimizer::new(vec![x.shallow_clone()], Device::Cpu);
        let constant = spec(Decay::Constant {});
        (&x * f64::INFINITY).sum(Kind::Float).backward();
        let Update { norm, .. } =
            optimizer.step(&constant, 1, 0.1, &Tensor::from(0.0_f32)).unwrap();
        assert!(!norm.double_value(&[]).is_finite());
        assert_eq!(x.double_value(&[0]), 3.0);
        // Nor does a loss that is not, whatever the gradient.
        optimizer.clear_gradients().unwrap();
        x.sum(Kind::Float).backward();
        let Update { norm, .. } =
            optimizer.step(&constant, 1, 0.1, &Tensor::from(f32::NAN)).unwrap();
        assert_eq!(norm.double_value(&[]), 1.0);
        assert_eq!(x.double_value(&[0]), 3.0);
    }

    /// One above the threshold is skipped, as is one whose length is no number; one at it is not.
    #[test]
    fn a_gradient_that_is_too_long_changes_nothing() {
        let spec = OptimizerSpec { skip_above: Some(3.0), ..spec(Decay::Constant {}) };
        for (length, skipped) in
            [(3.5, true), (3.0, false), (f64::INFINITY, true), (f64::NAN, true)]
        {
            let x = Tensor::from_slice(&[3.0_f32]).set_requires_grad(true);
            let optimizer = Optimizer::new(vec![x.shallow_clone()], Device::Cpu);
            (&x * length).sum(Kind::Float).backward();
            let update = optimizer.step(&spec, 1, 0.1, &Tensor::from(0.0_f32)).unwrap();
            assert_eq!(update.norm.double_value(&[]).to_string(), length.to_string());
            assert_eq!(update.skipped.double_value(&[]), f64::from(u8::from(skipped)));
            assert_eq!(x.double_value(&[0]) == 3.0, skipped);
            assert_eq!(optimizer.exp_avgs[0].double_value(&[0]) == 0.0, skipped);
            assert_eq!(optimizer.exp_avg_sqs[0].double_value(&[0]) == 0.0, skipped);
        }
    }
}
