//! A configuration as a file has it: one flat document, whose fields say of which family its model is.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use vdm_core::schedule::LogSnrRange;
use vdm_data::Source;
use vdm_sample::{SamplerSpec, Seed};

use super::{AnyModel, DiffusionConfig, ModelConfig, RunConfig, check_preset_name};
use crate::diffusion::ObjectiveSpec;
use crate::evaluate::EvaluationSpec;
use crate::head::Head;
use crate::hierarchy::HierarchySpec;
use crate::model::Diffusion;
use crate::nn::NetworkSpec;
use crate::train::{OutputSpec, TrainingSpec};

/// All fields that a configuration can have.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    #[serde(deserialize_with = "preset_name")]
    preset: String,
    seed: Seed,
    data: Source,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    diffusion: Option<Diffusion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    network: Option<NetworkSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head: Option<Head>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clock: Option<LogSnrRange>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    objective: Option<ObjectiveSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hierarchy: Option<HierarchySpec>,
    training: TrainingSpec,
    evaluation: EvaluationSpec,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sampler: Option<SamplerSpec>,
    output: OutputSpec,
}

fn preset_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    check_preset_name(&name).map_err(D::Error::custom)?;
    Ok(name)
}

impl<M: ModelConfig> TryFrom<Document> for RunConfig<M> {
    type Error = String;

    fn try_from(mut document: Document) -> Result<Self, String> {
        let model = M::taken(&mut document)?;
        if let Some(field) = document.left_over() {
            return Err(format!("field `{field}` is of another kind of model"));
        }
        let Document { preset, seed, data, training, evaluation, output, .. } = document;
        Ok(Self { preset, seed, data, model, training, evaluation, output })
    }
}

impl<M: ModelConfig> From<RunConfig<M>> for Document {
    fn from(config: RunConfig<M>) -> Self {
        let RunConfig { preset, seed, data, model, training, evaluation, output } = config;
        let mut document = Self {
            preset,
            seed,
            data,
            diffusion: None,
            network: None,
            head: None,
            clock: None,
            objective: None,
            hierarchy: None,
            training,
            evaluation,
            sampler: None,
            output,
        };
        model.put(&mut document);
        document
    }
}

impl Document {
    /// A field that no model has taken.
    fn left_over(&self) -> Option<&'static str> {
        let fields = [
            ("diffusion", self.diffusion.is_some()),
            ("network", self.network.is_some()),
            ("head", self.head.is_some()),
            ("clock", self.clock.is_some()),
            ("objective", self.objective.is_some()),
            ("hierarchy", self.hierarchy.is_some()),
            ("sampler", self.sampler.is_some()),
        ];
        fields.into_iter().find_map(|(field, is_left)| is_left.then_some(field))
    }
}

fn needed<T>(field: &'static str, value: Option<T>) -> Result<T, String> {
    value.ok_or_else(|| format!("missing field `{field}`"))
}

/// Which fields of a configuration are the model's.
pub trait Fields: Sized {
    /// Takes them.
    ///
    /// # Errors
    /// In words, the first that is missing.
    fn taken(document: &mut Document) -> Result<Self, String>;

    /// Puts them back.
    fn put(self, document: &mut Document);
}

impl Fields for DiffusionConfig {
    fn taken(document: &mut Document) -> Result<Self, String> {
        Ok(Self {
            diffusion: needed("diffusion", document.diffusion.take())?,
            network: needed("network", document.network.take())?,
            head: needed("head", document.head.take())?,
            clock: document.clock.take(),
            objective: document.objective.take().unwrap_or_default(),
            sampler: needed("sampler", document.sampler.take())?,
        })
    }

    fn put(self, document: &mut Document) {
        let Self { diffusion, network, head, clock, objective, sampler } = self;
        document.diffusion = Some(diffusion);
        document.network = Some(network);
        document.head = Some(head);
        document.clock = clock;
        document.objective = Some(objective);
        document.sampler = Some(sampler);
    }
}

impl Fields for HierarchySpec {
    fn taken(document: &mut Document) -> Result<Self, String> {
        needed("hierarchy", document.hierarchy.take())
    }

    fn put(self, document: &mut Document) {
        document.hierarchy = Some(self);
    }
}

impl Fields for AnyModel {
    fn taken(document: &mut Document) -> Result<Self, String> {
        if document.hierarchy.is_some() {
            return HierarchySpec::taken(document).map(Self::Hierarchy);
        }
        DiffusionConfig::taken(document).map(|model| Self::Diffusion(Box::new(model)))
    }

    fn put(self, document: &mut Document) {
        match self {
            Self::Diffusion(model) => model.put(document),
            Self::Hierarchy(model) => model.put(document),
        }
    }
}
