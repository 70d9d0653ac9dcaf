//! One document that fixes a run.

mod document;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tch::Device;
use vdm_core::count::{Cost, bounded_product};
use vdm_core::schedule::LogSnrRange;
use vdm_core::setting::{InvalidSetting, at_least_one, require};
use vdm_core::{NoiseSchedule, Scaling};
use vdm_data::{Dataset, Source};
use vdm_sample::{Method, SamplerSpec, Seed};

use self::document::{Document, Fields};
use crate::Error;
use crate::checkpoint::{Checkpoint, Checkpoints};
use crate::diffusion::{DiffusionPlan, DiffusionTraining, ObjectiveSpec};
use crate::evaluate::EvaluationSpec;
use crate::head::Head;
use crate::hierarchy::{Hierarchy, HierarchyModelSpec, HierarchySpec, HierarchyTraining};
use crate::identity::RunIdentity;
use crate::model::{Diffusion, Model, ModelSpec};
use crate::nn::{NetworkSpec, Precision};
use crate::train::{OutputSpec, Plan, Trainable, Trainer, TrainingSpec};

/// What may change between two stretches of one run; where the data lie too, since their hash says
/// whether they are the same.
const FREE: [&str; 7] =
    ["preset", "data", "training.steps", "training.optimizer", "evaluation", "sampler", "output"];

/// Everything a run depends on but its device. Saved resolved as `config.json` in the run folder, where the
/// fields of the model stand beside the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Document", into = "Document", bound = "M: ModelConfig")]
pub struct RunConfig<M: ModelConfig = DiffusionConfig> {
    /// Name of the preset it came from, and of the folder that a run is put into unless another is asked
    /// for: letters, digits, `-`, `_` and `.`, the first of them a letter or a digit.
    pub preset: String,
    /// Determines every random number of the run.
    pub seed: Seed,
    /// Which data.
    pub data: Source,
    /// What is trained.
    pub model: M,
    /// How it is trained.
    pub training: TrainingSpec,
    /// How its likelihood is estimated at the end.
    pub evaluation: EvaluationSpec,
    /// When things are written.
    pub output: OutputSpec,
}

/// What a configuration says of a model.
pub trait ModelConfig: Clone + Fields {
    /// That its numbers make sense, together with those of the run.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the first field that does not, [`Error::Count`] for one that costs too much.
    fn check_with(&self, training: &TrainingSpec) -> Result<(), Error>;
}

/// Models of one kind, which `vdm train` can train.
pub trait Family: ModelConfig {
    /// What trains them.
    type Training: Trainable;

    /// A training of a configuration, before its first step.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Core`] or [`Error::Count`] if it is not legal for these data.
    fn training(
        config: &RunConfig<Self>,
        data: &Dataset,
        device: Device,
    ) -> Result<Self::Training, Error>;
}

/// A variational diffusion model, its objective and its sampler.
#[derive(Debug, Clone, PartialEq)]
pub struct DiffusionConfig {
    /// The process.
    pub diffusion: Diffusion,
    /// The architecture.
    pub network: NetworkSpec,
    /// The meaning of its output.
    pub head: Head,
    /// The levels that the network knows as its first and last; the ends of the schedule unless
    /// given, as with weights that were trained elsewhere.
    pub clock: Option<LogSnrRange>,
    /// Which objective is trained, beyond the weighting of the process.
    pub objective: ObjectiveSpec,
    /// How it is sampled.
    pub sampler: SamplerSpec,
}

/// A model of whichever family a document names.
#[derive(Debug, Clone, PartialEq)]
pub enum AnyModel {
    /// With the fields `diffusion`, `network`, `head` and `sampler`.
    Diffusion(Box<DiffusionConfig>),
    /// With the field `hierarchy`.
    Hierarchy(HierarchySpec),
}

impl<M: ModelConfig> RunConfig<M> {
    /// The same with another model.
    pub fn with_model<N: ModelConfig>(self, model: N) -> RunConfig<N> {
        let Self { preset, seed, data, model: _, training, evaluation, output } = self;
        RunConfig { preset, seed, data, model, training, evaluation, output }
    }

    /// How the engine trains it.
    ///
    /// # Errors
    /// [`Error::Json`] if the configuration cannot be expressed as JSON.
    pub fn plan(&self) -> Result<Plan, Error> {
        Ok(Plan {
            seed: self.seed,
            training: self.training.clone(),
            output: self.output.clone(),
            identity: self.identity()?,
        })
    }

    /// What its checkpoints are recognized by.
    ///
    /// # Errors
    /// [`Error::Json`] if the configuration cannot be expressed as JSON, as a path that is not Unicode.
    pub fn identity(&self) -> Result<RunIdentity, Error> {
        RunIdentity::new(self, &FREE)
    }

    /// The checkpoints of its run in a folder.
    ///
    /// # Errors
    /// As [`identity`](Self::identity).
    pub fn checkpoints(&self, folder: impl Into<PathBuf>) -> Result<Checkpoints, Error> {
        Ok(Checkpoints::new(folder, self.identity()?, self.output.keep))
    }

    /// That all numbers make sense together.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the first field that does not, [`Error::Count`] for one that costs too much.
    pub fn check(&self) -> Result<(), Error> {
        check_preset_name(&self.preset)?;
        self.training.check()?;
        self.output.check()?;
        self.evaluation.check()?;
        self.model.check_with(&self.training)
    }

    /// The same as [`check`](Self::check), and that batches of these items can be made.
    fn check_for(&self, data: &Dataset) -> Result<(), Error> {
        self.check()?;
        let field = "evaluation.batch times components";
        bounded_product(field, &[self.evaluation.batch, data.shape.dims()], Cost::Numbers)?;
        Ok(())
    }
}

impl<M: Family> RunConfig<M> {
    /// A training of this configuration, from its beginning.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Core`] or [`Error::Count`] if it is not legal for these data.
    pub fn trainer(&self, data: &Dataset, device: Device) -> Result<Trainer<M::Training>, Error> {
        self.check_for(data)?;
        Trainer::new(self.plan()?, data, || M::training(self, data, device))
    }

    /// The training that goes on from a checkpoint of a run of this configuration, read for training.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it is of another run, model or data; else as [`trainer`](Self::trainer).
    pub fn resumed(
        &self,
        data: &Dataset,
        device: Device,
        checkpoint: &Checkpoint,
    ) -> Result<Trainer<M::Training>, Error> {
        self.check_for(data)?;
        Trainer::resume(self.plan()?, data, checkpoint, || M::training(self, data, device))
    }
}

impl DiffusionConfig {
    /// The model that is trained on these data.
    #[must_use]
    pub fn spec(&self, data: &Dataset) -> ModelSpec {
        ModelSpec {
            shape: data.shape,
            values: data.values,
            diffusion: self.diffusion.clone(),
            network: self.network.clone(),
            head: self.head,
            clock: Some(self.clock.unwrap_or(self.diffusion.schedule.range())),
        }
    }
}

impl ModelConfig for DiffusionConfig {
    fn check_with(&self, training: &TrainingSpec) -> Result<(), Error> {
        self.head.check()?;
        self.objective.check(&self.diffusion, &training.optimizer)?;
        if let Method::OnGrid { grid, steps, .. } = &self.sampler.method {
            at_least_one("sampler.steps", *steps)?;
            grid.time_grid(*steps, &self.diffusion.schedule, Scaling::VariancePreserving)?;
        }
        // The rounding of bf16, 2^-9, would be multiplied by √SNR at the data end.
        let amplified = self.head == Head::Image && training.precision == Precision::Bf16;
        let remedy = "use \"f32\" with head \"image\"; other heads can use \"bf16\"";
        Ok(require(!amplified, "training.precision", "bf16", remedy)?)
    }
}

impl Family for DiffusionConfig {
    type Training = DiffusionTraining;

    fn training(
        config: &RunConfig<Self>,
        data: &Dataset,
        device: Device,
    ) -> Result<DiffusionTraining, Error> {
        let RunConfig { seed, model, training, evaluation, .. } = config;
        let plan = DiffusionPlan {
            objective: model.objective.clone(),
            optimizer: training.optimizer.clone(),
            sampler: model.sampler.clone(),
            batch: evaluation.batch,
            seed: *seed,
        };
        DiffusionTraining::new(Model::new(&model.spec(data), *seed, device)?, &plan)
    }
}

impl ModelConfig for HierarchySpec {
    fn check_with(&self, _: &TrainingSpec) -> Result<(), Error> {
        self.check()
    }
}

impl Family for HierarchySpec {
    type Training = HierarchyTraining;

    fn training(
        config: &RunConfig<Self>,
        data: &Dataset,
        device: Device,
    ) -> Result<HierarchyTraining, Error> {
        let RunConfig { seed, model, evaluation, .. } = config;
        let spec =
            HierarchyModelSpec { shape: data.shape, values: data.values, hierarchy: model.clone() };
        Ok(HierarchyTraining::new(Hierarchy::new(&spec, *seed, device)?, evaluation.batch, *seed))
    }
}

impl ModelConfig for AnyModel {
    fn check_with(&self, training: &TrainingSpec) -> Result<(), Error> {
        match self {
            Self::Diffusion(model) => model.check_with(training),
            Self::Hierarchy(model) => model.check_with(training),
        }
    }
}

/// Longer ones are no names of files on some systems.
const LONGEST_NAME: usize = 100;

/// That a name is one of a folder, wherever it stands: neither a path, nor hidden, nor taken for an option,
/// nor with anything in it that a terminal obeys.
fn check_preset_name(name: &str) -> Result<(), InvalidSetting> {
    let plain = name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c));
    let legal = plain && name.len() <= LONGEST_NAME && name.starts_with(char::is_alphanumeric);
    let remedy = "use up to 100 letters, digits, \"-\", \"_\" and \".\", a letter or digit first: it names a folder";
    require(legal, "preset", format_args!("{name:?}"), remedy)
}

/// The configurations that come with the program, by name.
pub const PRESETS: [(&str, &str); 16] = [
    ("digits", include_str!("../../presets/digits.json")),
    ("swirl", include_str!("../../presets/swirl.json")),
    ("clusters-energy", include_str!("../../presets/clusters-energy.json")),
    ("digits-vae", include_str!("../../presets/digits-vae.json")),
    ("digits-hvae-bottom-up", include_str!("../../presets/digits-hvae-bottom-up.json")),
    ("digits-ladder", include_str!("../../presets/digits-ladder.json")),
    ("digits-hvae-top-down", include_str!("../../presets/digits-hvae-top-down.json")),
    ("digits-fixed-posterior", include_str!("../../presets/digits-fixed-posterior.json")),
    ("swirl-vae", include_str!("../../presets/swirl-vae.json")),
    ("clusters-vae", include_str!("../../presets/clusters-vae.json")),
    ("fashion-mnist", include_str!("../../presets/fashion-mnist.json")),
    ("fashion-mnist-hvae-top-down", include_str!("../../presets/fashion-mnist-hvae-top-down.json")),
    ("mnist", include_str!("../../presets/mnist.json")),
    ("cifar10-small", include_str!("../../presets/cifar10-small.json")),
    ("cifar10", include_str!("../../presets/cifar10.json")),
    ("cifar10-paper", include_str!("../../presets/cifar10-paper.json")),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Change;
    use serde_json::Value;

    /// What a user may edit in a run's `config.json`, and what would make another run of it.
    #[test]
    fn changes_are_named_and_judged() {
        let before: Value = serde_json::from_str(PRESETS[0].1).unwrap();
        let parsed = |document: &Value| serde_json::from_value::<RunConfig>(document.clone());
        let run = parsed(&before).unwrap();
        let identity = |config: &RunConfig| config.identity().unwrap();
        let before_it = identity(&run);
        assert_eq!(Change::between(before_it.config(), before_it.config()), []);
        for (place, value, another) in [
            ("/seed", 7.into(), true),
            ("/training/batch", 3.into(), true),
            ("/training/precision", "bf16".into(), true),
            ("/network/width", 64.into(), true),
            ("/head", "velocity".into(), true),
            ("/diffusion/schedule/log_snr_max", 9.25.into(), true),
            ("/training/ema/exponent", 3.5.into(), true),
            (
                "/objective/time_sampler",
                serde_json::json!({"adaptive": {"bins": 9, "decay": 0.5}}),
                true,
            ),
            ("/training/steps", 99.into(), false),
            ("/training/optimizer/learning_rate", 0.5.into(), false),
            ("/evaluation/draws", 3.into(), false),
            ("/sampler/steps", 3.into(), false),
            ("/output/keep", 7.into(), false),
            ("/data", serde_json::json!({"kind": "swirl"}), false),
        ] {
            let mut document = serde_json::to_value(&run).unwrap();
            *document.pointer_mut(place).unwrap() = value;
            let now = identity(&parsed(&document).unwrap());
            let changes = Change::between(before_it.config(), now.config());
            assert!(!changes.is_empty(), "{place}");
            let field = place[1..].replace('/', ".");
            for change in changes {
                assert!(change.is_below(&[&field]), "{place}: {change}");
                assert_eq!(now.is_changed_by(&change), another, "{place}: {change}");
            }
        }
    }
}
