//! Folders that diffusers' `save_pretrained` writes for a `UNet2DModel`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tch::{Kind, Tensor};
use vdm_core::schedule::{Betas, Discrete};
use vdm_core::{Scaling, Schedule, Weighting};

use super::Imported;
use super::tensors::Tensors;
use crate::Error;
use crate::head::Head;
use crate::model::Diffusion;
use crate::nn::{DiffusersSpec, NetworkSpec, UNet2DConfig};

const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";
/// The last step of the embedding, to which that of a class is added.
const EMBEDDING_BIAS: &str = "time_embedding.linear_2.bias";
const SCHEDULER: &str = "scheduler_config.json";

/// What a folder of a network may leave open.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DiffusersOptions {
    /// The `scheduler_config.json` of its training, if it lies neither in the folder nor in
    /// `../scheduler`.
    pub scheduler: Option<PathBuf>,
    /// The class to model, for networks with `num_class_embeds`.
    pub label: Option<i64>,
}

/// Reads the folder of a network, or of a pipeline that holds one in `unet/`.
///
/// # Errors
/// [`Error::Io`] for a file that cannot be read; [`Error::Foreign`] naming the first option or
/// tensor that is not supported; [`Error::Core`] if the betas are no schedule.
pub fn diffusers(folder: &Path, options: &DiffusersOptions) -> Result<Imported, Error> {
    let inner = folder.join("unet");
    let folder =
        if !folder.join("config.json").is_file() && inner.is_dir() { &inner } else { folder };
    let (config, classes) = config(&folder.join("config.json"))?;
    let (timesteps, head) = scheduler(folder, options.scheduler.as_deref())?;
    let path = folder.join(WEIGHTS);
    if !path.is_file() {
        let problem = "is not there; let diffusers write it with \
                       model.save_pretrained(FOLDER, safe_serialization=True)";
        return Err(Error::Foreign { path, problem: problem.into() });
    }
    let mut found = Tensors::read(&path)?;
    let offset = class_offset(&mut found, classes, options.label)?;
    let present = |(name, tensor): (String, Tensor)| {
        let tensor = tensor.to_kind(Kind::Float);
        match &offset {
            Some(offset) if name == EMBEDDING_BIAS => (name, tensor + offset),
            _ => (present_name(&name), tensor),
        }
    };
    let weights = found.rest().into_iter().map(present).collect();
    Ok(Imported {
        diffusion: Diffusion {
            schedule: Schedule::Discrete(timesteps.clone()),
            scaling: Scaling::VariancePreserving,
            weighting: Weighting::Elbo,
        },
        network: NetworkSpec::Diffusers(Box::new(DiffusersSpec { config, timesteps })),
        head,
        conditioning: None,
        levels: 256,
        path,
        weights,
    })
}

/// Attention layers of before 2023 have other names.
fn present_name(name: &str) -> String {
    let pairs = [
        (".query.", ".to_q."),
        (".key.", ".to_k."),
        (".value.", ".to_v."),
        (".proj_attn.", ".to_out.0."),
    ];
    match pairs.into_iter().find(|(old, _)| name.contains(".attentions.") && name.contains(old)) {
        Some((old, new)) => name.replace(old, new),
        None => name.to_owned(),
    }
}

/// The options of a network and, if it is conditioned on classes, their number.
fn config(path: &Path) -> Result<(UNet2DConfig, Option<i64>), Error> {
    let refuse = |problem: String| Error::Foreign { path: path.into(), problem };
    let mut fields = object(path)?;
    if let Some(class) = fields.get("_class_name").filter(|class| *class != "UNet2DModel") {
        return Err(refuse(format!("_class_name = {class}: only UNet2DModel can be read")));
    }
    // What the network itself does not depend on.
    fields.retain(|name, _| {
        !name.starts_with('_') && !["sample_size", "num_train_timesteps"].contains(&name.as_str())
    });
    let kind = fields.remove("class_embed_type").unwrap_or_default();
    if !kind.is_null() {
        let remedy = "only null, with num_class_embeds or without, can be read";
        return Err(refuse(format!("class_embed_type = {kind}: {remedy}")));
    }
    let classes = fields.remove("num_class_embeds").unwrap_or_default();
    if !classes.is_null() && classes.as_i64().is_none() {
        return Err(refuse(format!("num_class_embeds = {classes}: use an integer or null")));
    }
    Ok((parse(fields, path)?, classes.as_i64()))
}

fn object(path: &Path) -> Result<Map<String, Value>, Error> {
    let text = std::fs::read(path).map_err(Error::io("read", path))?;
    serde_json::from_slice(&text).map_err(|e| Error::Foreign {
        path: path.into(),
        problem: format!("is not a JSON object ({e})"),
    })
}

/// Fields as a type; an error names the field that does not fit.
fn parse<T: DeserializeOwned>(fields: Map<String, Value>, path: &Path) -> Result<T, Error> {
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(|e| {
        let problem = format!("{}: {}; this value cannot be read", e.path(), e.inner());
        Error::Foreign { path: path.into(), problem }
    })
}

/// What a scheduler's file says of training; how it samples does not matter.
#[derive(Debug, Deserialize)]
struct SchedulerConfig {
    #[serde(default = "thousand")]
    num_train_timesteps: usize,
    #[serde(default = "ddpm_start")]
    beta_start: f64,
    #[serde(default = "ddpm_end")]
    beta_end: f64,
    #[serde(default)]
    beta_schedule: Option<BetaSchedule>,
    #[serde(default)]
    trained_betas: Option<Vec<f64>>,
    #[serde(default)]
    prediction_type: PredictionType,
    #[serde(default)]
    rescale_betas_zero_snr: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BetaSchedule {
    Linear,
    ScaledLinear,
    #[serde(rename = "squaredcos_cap_v2")]
    SquaredCosine,
    Sigmoid,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PredictionType {
    #[default]
    Epsilon,
    VPrediction,
    Sample,
}

fn thousand() -> usize {
    1000
}

fn ddpm_start() -> f64 {
    1e-4
}

fn ddpm_end() -> f64 {
    0.02
}

/// The table of levels and what the network predicts.
fn scheduler(folder: &Path, given: Option<&Path>) -> Result<(Discrete, Head), Error> {
    let beside = folder.join("../scheduler").join(SCHEDULER);
    let path = match given {
        Some(path) => path.to_owned(),
        None => [folder.join(SCHEDULER), beside]
            .into_iter()
            .find(|path| path.is_file())
            .ok_or_else(|| Error::Foreign {
                path: folder.into(),
                problem: format!(
                    "has no {SCHEDULER}, nor has ../scheduler; name that of the training with \
                     --scheduler FILE"
                ),
            })?,
    };
    let refuse = |problem: String| Error::Foreign { path: path.clone(), problem };
    let fields = object(&path)?;
    let class = fields.get("_class_name").unwrap_or(&Value::Null).to_string();
    let config: SchedulerConfig = parse(fields, &path)?;
    if config.rescale_betas_zero_snr {
        let problem = "rescale_betas_zero_snr = true: a last level without any signal has no \
                       log-SNR to start a bound or a sampler from";
        return Err(refuse(problem.into()));
    }
    let SchedulerConfig { num_train_timesteps: steps, beta_start, beta_end, .. } = config;
    let betas = match (config.trained_betas, config.beta_schedule) {
        (Some(betas), _) => Betas::Custom(betas),
        (None, Some(BetaSchedule::Linear)) => Betas::Linear { steps, beta_start, beta_end },
        (None, Some(BetaSchedule::ScaledLinear)) => {
            Betas::ScaledLinear { steps, beta_start, beta_end }
        }
        (None, Some(BetaSchedule::SquaredCosine)) => {
            Betas::Cosine { steps, offset: 0.008, cap: 0.999 }
        }
        (None, Some(BetaSchedule::Sigmoid)) => Betas::Sigmoid { steps, beta_start, beta_end },
        (None, None) => {
            return Err(refuse(format!(
                "_class_name = {class}: has neither beta_schedule nor trained_betas; only tables \
                 of betas can be read"
            )));
        }
    };
    let head = match config.prediction_type {
        PredictionType::Epsilon => Head::PlainNoise,
        PredictionType::VPrediction => Head::Velocity,
        PredictionType::Sample => Head::Image,
    };
    Ok((Discrete::new(betas, false)?, head))
}

/// What one class adds to the embedding of every timestep: an offset that stays the same.
fn class_offset(
    found: &mut Tensors,
    classes: Option<i64>,
    label: Option<i64>,
) -> Result<Option<Tensor>, Error> {
    let Some(classes) = classes else {
        return match label {
            None => Ok(None),
            Some(label) => {
                Err(found
                    .refuse(format!("is not conditioned on classes; leave out --label {label}")))
            }
        };
    };
    let label = label.filter(|label| (0..classes).contains(label)).ok_or_else(|| {
        found.refuse(format!("is conditioned on {classes} classes; name one from 0 with --label"))
    })?;
    let shape = [[classes].as_slice(), &found.shape(EMBEDDING_BIAS)?].concat();
    Ok(Some(found.take("class_embedding.weight", &shape)?.get(label)))
}
