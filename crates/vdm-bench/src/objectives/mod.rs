//! What an objective reaches in a given time: the parameterizations of the text and the ways to choose
//! noise levels, on the digits preset and from the same seed, each trained for as many seconds.
//!
//! Proposals of levels do not change the objective, so besides what they reach in equal time they are
//! compared where nothing else differs: at the weights of one training, by the variance of the
//! gradient that a batch gives.

mod report;

use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tch::{Device, Kind};
use vdm_core::importance::LossVariance;
use vdm_core::{NoiseSchedule, Schedule};
use vdm_data::Dataset;
use vdm_torch::diffusion::{DiffusionTrainer, TimeSampler};
use vdm_torch::{Likelihood, Model, RunConfig, TimeDiscretization, evaluate};

pub use report::markdown;

use crate::preset;

/// Batches whose gradients are compared.
const GRADIENTS: usize = 200;
/// The last of a training's steps, whose losses tell its variance.
const LAST_STEPS: u64 = 200;
/// Bins of log-SNR for the least variance a proposal could have.
const BINS: usize = 20;

/// One way to train, as changes of the preset.
#[derive(Debug, Clone)]
pub struct Variant {
    /// What the table calls it.
    pub label: &'static str,
    /// JSON pointers into the configuration, and what is put there.
    pub changes: Vec<(&'static str, Value)>,
}

/// What it came to.
#[derive(Debug)]
pub struct Outcome {
    /// See [`Variant::label`].
    pub label: &'static str,
    /// Steps done in the time.
    pub steps: u64,
    /// The bound on the test split.
    pub test: Likelihood,
    /// Losses of the last steps.
    pub loss_variance: LossVariance,
    /// Trace of the covariance of a batch's gradient over its squared norm, at the weights of the first
    /// variant, with levels drawn as this one came to draw them; where its proposal has their ends.
    pub gradient_noise: Option<f64>,
}

/// Every parameterization, with levels drawn by the preset's linear schedule.
#[must_use]
pub fn heads() -> Vec<Variant> {
    let names = ["categorical", "noise", "image", "velocity", "flow", "score", "energy"];
    let head = |label| Variant { label, changes: vec![("/head", json!(label))] };
    let edm = ("/head", json!({"edm": {"data_std": 0.7}}));
    names.into_iter().map(head).chain([Variant { label: "edm", changes: vec![edm] }]).collect()
}

/// Every way to choose levels, with the preset's head.
///
/// # Errors
/// If the preset is none.
pub fn schedules() -> Result<Vec<Variant>> {
    let range = preset("digits")?.model.diffusion.schedule.range();
    let of_kind = |kind: &str| {
        let mut schedule =
            json!({"kind": kind, "log_snr_max": range.max(), "log_snr_min": range.min()});
        if kind == "monotone" {
            schedule["increments"] = json!(vec![0.0; 12]);
        }
        ("/diffusion/schedule", schedule)
    };
    // Four units that rise one after the other: nearly a line.
    let network = json!({"kind": "monotone_network", "log_snr_max": range.max(),
                         "log_snr_min": range.min(), "slope": 1.0, "hidden": [8.0, 8.0, 8.0, 8.0],
                         "hidden_bias": [6.0, 2.0, -2.0, -6.0], "output": [1.0, 1.0, 1.0, 1.0]});
    let learned = |ends: &str, interior: &str| {
        let spec = json!({"ends": ends, "interior": interior, "learning_rate": 0.01});
        ("/training/schedule", json!({ "learned": spec }))
    };
    let adaptive = ("/training/times", json!({"adaptive": {"bins": 50, "decay": 0.999}}));
    let variant = |label, changes| Variant { label, changes };
    Ok(vec![
        variant("linear, fixed", vec![]),
        variant("cosine, fixed", vec![of_kind("cosine")]),
        variant("adaptive proposal", vec![adaptive]),
        variant("interior learned", vec![of_kind("monotone"), learned("pinned", "learned")]),
        variant(
            "interior learned, a network",
            vec![("/diffusion/schedule", network), learned("pinned", "learned")],
        ),
        variant("ends learned", vec![learned("learned", "pinned")]),
        variant(
            "ends and interior learned",
            vec![of_kind("monotone"), learned("learned", "learned")],
        ),
    ])
}

/// Trains each variant for `seconds` and evaluates it.
///
/// # Errors
/// A variant that is no configuration, or whatever training fails with.
pub fn compare(variants: &[Variant], seconds: f64) -> Result<Vec<Outcome>> {
    let mut first: Option<DiffusionTrainer> = None;
    let mut outcomes = Vec::new();
    for variant in variants {
        let config = variant.config()?;
        let data = vdm_data::load(&config.data)?;
        let (trainer, loss_variance) = train(&config, &data, seconds)?;
        let spec = config.evaluation;
        let model = trainer.average().model();
        let test =
            evaluate(model, &data.test, TimeDiscretization::Continuous, spec, config.seed, |_| ())?;
        eprintln!("{}: {:.4} after {}", variant.label, test.bits_per_dim, trainer.steps_done());
        let (steps, proposal) = (trainer.steps_done(), trainer.model().proposal());
        let weights = first.get_or_insert(trainer).model().model();
        let noise = gradient_noise(&variants[0].config()?, &data, weights, &proposal)?;
        let label = variant.label;
        outcomes.push(Outcome { label, steps, test, loss_variance, gradient_noise: noise });
    }
    Ok(outcomes)
}

impl Variant {
    fn config(&self) -> Result<RunConfig> {
        // With every default in its place.
        let mut document = serde_json::to_value(preset("digits")?)?;
        for (place, value) in &self.changes {
            let field = document.pointer_mut(place);
            *field.with_context(|| format!("{}: no field {place}", self.label))? = value.clone();
        }
        serde_json::from_value(document).with_context(|| format!("{} is no run", self.label))
    }
}

fn train(
    config: &RunConfig,
    data: &Dataset,
    seconds: f64,
) -> Result<(DiffusionTrainer, LossVariance)> {
    let mut trainer = config.trainer(data, Device::Cpu)?;
    let mut batches = trainer.batches(Arc::new(data.train.clone()))?;
    let mut draws = std::collections::VecDeque::new();
    while trainer.seconds() < seconds {
        let batch = batches.next().context("batches go on for ever")??;
        trainer.train_step(&batch)?;
        draws.push_back(trainer.model().last_losses().to_vec());
        if draws.len() as u64 > LAST_STEPS {
            draws.pop_front();
        }
    }
    let mut loss_variance =
        LossVariance::new(trainer.average().model().spec().diffusion.schedule.range(), BINS);
    draws.iter().flatten().for_each(|draw| loss_variance.observe(draw));
    Ok((trainer, loss_variance))
}

/// See [`Outcome::gradient_noise`].
fn gradient_noise(
    config: &RunConfig,
    data: &Dataset,
    weights: &Model,
    proposal: &Schedule,
) -> Result<Option<f64>> {
    if proposal.range() != config.model.diffusion.schedule.range() {
        return Ok(None);
    }
    let mut config = config.clone();
    config.model.objective.time_sampler = TimeSampler::Proposal(proposal.clone());
    let mut trainer = config.trainer(data, Device::Cpu)?;
    trainer.start_from(weights.parameters())?;
    let mut batches = trainer.batches(Arc::new(data.train.clone()))?;
    let (mut sum, mut squares) = (None, 0.0);
    for _ in 0..GRADIENTS {
        let batch = batches.next().context("batches go on for ever")??;
        let gradient = trainer.gradient(&batch)?.to_kind(Kind::Double);
        squares += gradient.square().sum(Kind::Double).double_value(&[]);
        sum = Some(sum.map_or_else(|| gradient.shallow_clone(), |sum| sum + &gradient));
    }
    let n = GRADIENTS as f64;
    let of_sum = sum.map_or(0.0, |sum| sum.square().sum(Kind::Double).double_value(&[]));
    // Without the bias of the mean's own noise.
    let noise = (squares - of_sum / n) / (n - 1.0);
    Ok(Some(noise / (of_sum / (n * n) - noise / n)))
}
