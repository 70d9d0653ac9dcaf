//! One document that fixes a run.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use vdm_core::count::{Cost, TooMany, bounded, bounded_product};
use vdm_core::schedule::LogSnrRange;
use vdm_core::{NoiseSchedule, Scaling};
use vdm_data::{Dataset, Source};
use vdm_sample::{Method, SamplerSpec, Seed};

use crate::evaluate::EvaluationSpec;
use crate::head::Head;
use crate::model::{Diffusion, ModelSpec, Precision};
use crate::nn::NetworkSpec;
use crate::objective::Depth;
use crate::train::{Averaging, Levels, OptimizerSpec, ScheduleTraining, Times};
use crate::{Error, objective};

/// Everything a run depends on but its device. Saved resolved as `config.json` in the run folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Name of the preset it came from, and of the folder that a run is put into unless another is asked
    /// for: letters, digits, `-`, `_` and `.`, the first of them a letter or a digit.
    #[serde(deserialize_with = "preset_name")]
    pub preset: String,
    /// Determines every random number of the run.
    pub seed: Seed,
    /// Which data.
    pub data: Source,
    /// The process.
    pub diffusion: Diffusion,
    /// The architecture.
    pub network: NetworkSpec,
    /// The meaning of its output.
    pub head: Head,
    /// The levels that the network knows as its first and last; the ends of the schedule unless
    /// given, as with weights that were trained elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditioning: Option<LogSnrRange>,
    /// How it is trained.
    pub training: TrainingSpec,
    /// How its likelihood is estimated at the end.
    pub evaluation: EvaluationSpec,
    /// How it is sampled.
    pub sampler: SamplerSpec,
    /// When things are written.
    pub output: OutputSpec,
}

/// Length, batches and optimizer of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSpec {
    /// Optimizer steps.
    pub steps: u64,
    /// Items per step.
    pub batch: usize,
    /// Parts a batch is split into to save memory; divides `batch`. Gradients are summed.
    pub accumulate: usize,
    /// Precision of matrix products and convolutions.
    pub precision: Precision,
    /// AdamW and its learning rate.
    pub optimizer: OptimizerSpec,
    /// How the evaluated weights follow the trained ones.
    pub averaging: Averaging,
    /// How the noise levels of items are proposed.
    #[serde(default)]
    pub times: Times,
    /// Whether the bound of continuous time or that of a number of steps is trained. Under a weighting
    /// by the schedule's density, such as `simple`, each step counts by its own: all alike, as in DDPM.
    #[serde(default)]
    pub depth: Depth,
    /// Whether the noise schedule is learned.
    #[serde(default)]
    pub schedule: ScheduleTraining,
}

/// Intervals in steps; the last step always counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    /// A line of metrics.
    pub log_every: u64,
    /// The bound on the validation split.
    pub validate_every: u64,
    /// At most this many items of the validation split are used during training.
    pub validation_items: usize,
    /// A grid of samples.
    pub sample_every: u64,
    /// Samples in a grid.
    pub samples: usize,
    /// A checkpoint.
    pub checkpoint_every: u64,
    /// How many of the last checkpoints are kept beside the best.
    pub keep: usize,
}

impl RunConfig {
    /// The model this configuration trains on these data.
    #[must_use]
    pub fn model(&self, data: &Dataset) -> ModelSpec {
        ModelSpec {
            shape: data.shape,
            levels: data.levels,
            diffusion: self.diffusion.clone(),
            network: self.network.clone(),
            head: self.head,
            conditioning: Some(self.conditioning.unwrap_or(self.diffusion.schedule.range())),
        }
    }

    /// That batches of items of so many components can be made.
    ///
    /// # Errors
    /// [`Error::Count`] naming the batch.
    pub(crate) fn check_batches(&self, dims: usize) -> Result<(), Error> {
        let batches = [
            ("training.batch times components", self.training.batch),
            ("evaluation.batch times components", self.evaluation.batch),
            ("output.samples times components", self.output.samples),
        ];
        for (field, batch) in batches {
            bounded_product(field, &[batch, dims], Cost::Numbers)?;
        }
        Ok(())
    }

    /// That no count costs more than it may.
    fn check_counts(&self) -> Result<(), TooMany> {
        let (training, output) = (&self.training, &self.output);
        let bins = if let Times::Adaptive { bins, .. } = training.times { bins } else { 0 };
        let depth = training.depth.steps().unwrap_or(0);
        let counts = [
            ("training.times.adaptive.bins", bins as u64, Cost::List),
            ("training.depth.discrete.steps", depth.into(), Cost::List),
            ("evaluation.draws", self.evaluation.draws as u64, Cost::List),
            ("training.batch", training.batch as u64, Cost::Items),
            ("training.accumulate", training.accumulate as u64, Cost::Items),
            ("evaluation.batch", self.evaluation.batch as u64, Cost::Items),
            ("output.samples", output.samples as u64, Cost::Items),
            ("output.validation_items", output.validation_items as u64, Cost::Items),
            ("output.keep", output.keep as u64, Cost::Items),
            ("training.steps", training.steps, Cost::Training),
            ("training.optimizer.warmup", training.optimizer.warmup, Cost::Training),
            ("output.log_every", output.log_every, Cost::Training),
            ("output.validate_every", output.validate_every, Cost::Training),
            ("output.sample_every", output.sample_every, Cost::Training),
            ("output.checkpoint_every", output.checkpoint_every, Cost::Training),
        ];
        for (field, value, cost) in counts {
            bounded(field, value, cost)?;
        }
        Ok(())
    }

    /// That all numbers make sense together.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first field that does not, [`Error::Count`] for one that costs too much.
    pub fn check(&self) -> Result<(), Error> {
        check_preset_name(&self.preset)?;
        let refuse = |field, value: String, remedy| Err(Error::Config { field, value, remedy });
        self.check_counts()?;
        objective::check(&self.diffusion)?;
        self.head.check()?;
        if let Method::OnGrid { grid, steps, .. } = &self.sampler.method {
            grid.time_grid(*steps, &self.diffusion.schedule, Scaling::VariancePreserving)?;
        }
        Levels::new(self)?;
        let TrainingSpec { steps, batch, accumulate, optimizer, averaging, .. } = &self.training;
        let output = &self.output;
        let counts = [
            ("training.steps", *steps),
            ("training.batch", *batch as u64),
            ("training.accumulate", *accumulate as u64),
            ("training.depth.discrete.steps", self.training.depth.steps().map_or(1, u64::from)),
            ("evaluation.draws", self.evaluation.draws as u64),
            ("evaluation.batch", self.evaluation.batch as u64),
            ("output.log_every", output.log_every),
            ("output.validate_every", output.validate_every),
            ("output.validation_items", output.validation_items as u64),
            ("output.sample_every", output.sample_every),
            ("output.samples", output.samples as u64),
            ("output.checkpoint_every", output.checkpoint_every),
        ];
        if let Some((field, _)) = counts.into_iter().find(|(_, value)| *value == 0) {
            return refuse(field, "0".into(), "use at least 1");
        }
        if batch % accumulate != 0 {
            let remedy = "use a divisor of training.batch";
            return refuse("training.accumulate", accumulate.to_string(), remedy);
        }
        let positive = [
            ("training.optimizer.learning_rate", optimizer.learning_rate),
            ("training.optimizer.clip", optimizer.clip),
        ];
        if let Some((field, value)) = positive.into_iter().find(|(_, v)| *v <= 0.0 || v.is_nan()) {
            return refuse(field, value.to_string(), "use a positive number");
        }
        let below_one = [
            ("training.optimizer.beta1", optimizer.beta1),
            ("training.optimizer.beta2", optimizer.beta2),
            (
                "training.averaging.rate",
                if let Averaging::Exponential { rate } = *averaging { rate } else { 0.0 },
            ),
        ];
        if let Some((field, value)) = below_one.into_iter().find(|(_, v)| !(0.0..1.0).contains(v)) {
            return refuse(field, value.to_string(), "use a number from 0 to below 1");
        }
        if optimizer.weight_decay < 0.0 || optimizer.weight_decay.is_nan() {
            let value = optimizer.weight_decay.to_string();
            return refuse("training.optimizer.weight_decay", value, "use 0 or more");
        }
        if let Averaging::Power { exponent } = *averaging
            && !(0.0..=1e6).contains(&exponent)
        {
            let value = exponent.to_string();
            return refuse("training.averaging.exponent", value, "use 0 or more, such as 6.94");
        }
        if self.head == Head::Image && self.training.precision == Precision::Bf16 {
            // Its rounding, 2^-9, would be multiplied by √SNR at the data end.
            let remedy = "with head \"image\" use \"f32\"; other heads can use \"bf16\"";
            return refuse("training.precision", "bf16".into(), remedy);
        }
        Ok(())
    }
}

/// Longer ones are no names of files on some systems.
const LONGEST_NAME: usize = 100;

/// That a name is one of a folder, wherever it stands: neither a path, nor hidden, nor taken for an option,
/// nor with anything in it that a terminal obeys.
fn check_preset_name(name: &str) -> Result<(), Error> {
    let plain = name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c));
    if plain && name.len() <= LONGEST_NAME && name.starts_with(char::is_alphanumeric) {
        return Ok(());
    }
    Err(Error::Config {
        field: "preset",
        value: format!("{name:?}"),
        remedy: "it names a folder: use up to 100 letters, digits, \"-\", \"_\" and \".\", a letter or digit first",
    })
}

fn preset_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    check_preset_name(&name).map_err(D::Error::custom)?;
    Ok(name)
}

/// The configurations that come with the program, by name.
pub const PRESETS: [(&str, &str); 8] = [
    ("digits", include_str!("../presets/digits.json")),
    ("swirl", include_str!("../presets/swirl.json")),
    ("clusters-energy", include_str!("../presets/clusters-energy.json")),
    ("fashion-mnist", include_str!("../presets/fashion-mnist.json")),
    ("mnist", include_str!("../presets/mnist.json")),
    ("cifar10-small", include_str!("../presets/cifar10-small.json")),
    ("cifar10", include_str!("../presets/cifar10.json")),
    ("cifar10-paper", include_str!("../presets/cifar10-paper.json")),
];
