//! Folders that diffusers' `save_pretrained` writes for a `UNet2DModel`.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;
use tch::Tensor;
use vdm_core::Schedule;

use super::scheduler::{Scheduler, scheduler};
use super::tensors::Tensors;
use super::{Imported, json};
use crate::Error;
use crate::model::Diffusion;
use crate::nn::{DiffusersSpec, NetworkSpec, UNet2DConfig};

const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";
/// The last step of the embedding, to which that of a class is added.
const EMBEDDING_BIAS: &str = "time_embedding.linear_2.bias";

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
/// [`Error::Io`] for a file that cannot be read; [`Error::Interop`] naming the first option, setting or
/// tensor that is not supported; [`Error::Core`] if the betas are no schedule.
pub fn diffusers(folder: &Path, options: &DiffusersOptions) -> Result<Imported, Error> {
    if folder.is_file() {
        let problem = format!("is a file; name the folder that holds config.json and {WEIGHTS}");
        return Err(Error::Interop { path: folder.into(), problem });
    }
    let inner = folder.join("unet");
    let folder =
        if !folder.join("config.json").is_file() && inner.is_dir() { &inner } else { folder };
    let Config { network: config, classes, steps } = config(&folder.join("config.json"))?;
    refuse_autoencoder(folder)?;
    let scheduler = scheduler(folder, options.scheduler.as_deref())?;
    check(&scheduler, &config, steps)?;
    let Scheduler { timesteps, head, .. } = scheduler;
    let mut found = weights(folder)?;
    let converted = found.converted();
    let path = folder.join(WEIGHTS);
    let offset = class_offset(&mut found, classes, options.label)?;
    let present = |(name, tensor): (String, Tensor)| match &offset {
        Some(offset) if name == EMBEDDING_BIAS => (name, tensor + offset),
        _ => (present_name(&name), tensor),
    };
    let weights = found.rest().into_iter().map(present).collect();
    Ok(Imported {
        diffusion: Diffusion::variational(Schedule::Discrete(timesteps.clone())),
        network: NetworkSpec::Diffusers(Box::new(DiffusersSpec { config, timesteps })),
        head,
        clock: None,
        values: 256,
        converted,
        path,
        weights,
    })
}

/// The weights in a network's folder, in one file or in several with an index.
fn weights(folder: &Path) -> Result<Tensors, Error> {
    let path = folder.join(WEIGHTS);
    let index = folder.join(format!("{WEIGHTS}.index.json"));
    if path.is_file() {
        return Tensors::read(&path);
    }
    if index.is_file() {
        return shards(folder, &index);
    }
    let mut others: Vec<String> = std::fs::read_dir(folder)
        .map_err(Error::io("list", folder))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("diffusion_"))
        .collect();
    others.sort();
    let problem =
        if others.is_empty() { String::new() } else { format!("; there is {}", others.join(", ")) };
    let problem = format!(
        "is not there{problem}; let diffusers write it with model.save_pretrained(FOLDER, \
         safe_serialization=True)"
    );
    Err(Error::Interop { path, problem })
}

/// The weights of all files that an index names.
fn shards(folder: &Path, index: &Path) -> Result<Tensors, Error> {
    let refuse = |problem: String| Error::Interop { path: index.into(), problem };
    let fields = json::object(index)?;
    let places = fields.get("weight_map").and_then(Value::as_object);
    let places = places.ok_or_else(|| refuse("has no weight_map".into()))?;
    let mut files = BTreeSet::new();
    for (tensor, file) in places {
        let name = file.as_str().map(Path::new);
        // A name and nothing else: the index must not reach beyond its folder.
        let plain = name.filter(|name| {
            matches!(name.components().collect::<Vec<_>>().as_slice(), [Component::Normal(_)])
        });
        files.insert(plain.ok_or_else(|| {
            refuse(format!("weight_map.{tensor} = {file}: it is no name of a file in the folder"))
        })?);
    }
    let mut all = Tensors::new(index);
    for file in files {
        all.extend(Tensors::read(&folder.join(file))?)?;
    }
    match places.keys().find(|name| !all.has(name)) {
        Some(name) => Err(refuse(format!("has a tensor {name} that its files do not have"))),
        None => Ok(all),
    }
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

/// What a network's `config.json` says.
struct Config {
    network: UNet2DConfig,
    /// How many classes it is conditioned on, if it is.
    classes: Option<i64>,
    /// How many timesteps it was made for, if it says so.
    steps: Option<u64>,
}

fn config(path: &Path) -> Result<Config, Error> {
    let refuse = |problem: String| Error::Interop { path: path.into(), problem };
    let mut fields = json::object(path)?;
    if let Some(class) = fields.get("_class_name").filter(|class| *class != "UNet2DModel") {
        return Err(refuse(format!("_class_name = {class}: only UNet2DModel can be read")));
    }
    // What the network itself does not depend on.
    fields.retain(|name, _| !name.starts_with('_') && name != "sample_size");
    let mut number = |field: &str| -> Result<Option<i64>, Error> {
        let value = fields.remove(field).unwrap_or_default();
        let legal = value.is_null() || value.as_i64().is_some_and(|number| number > 0);
        let problem = || refuse(format!("{field} = {value}: use a positive integer or null"));
        legal.then(|| value.as_i64()).ok_or_else(problem)
    };
    let classes = number("num_class_embeds")?;
    let steps = number("num_train_timesteps")?.map(i64::unsigned_abs);
    let kind = fields.remove("class_embed_type").unwrap_or_default();
    if !kind.is_null() {
        let remedy = "only null, with num_class_embeds or without, can be read";
        return Err(refuse(format!("class_embed_type = {kind}: {remedy}")));
    }
    Ok(Config { network: json::parse(fields, path)?, classes, steps })
}

/// That a network's pipeline, if it lies in one, works on images and not on codes of them.
fn refuse_autoencoder(folder: &Path) -> Result<(), Error> {
    let path = folder.join("../model_index.json");
    if !path.is_file() {
        return Ok(());
    }
    let codes = |(name, part): &(String, Value)| {
        let there = part.as_array().is_some_and(|part| part.iter().any(|word| !word.is_null()));
        there && ["vae", "vqvae", "vqgan", "movq", "image_encoder"].contains(&name.as_str())
    };
    match json::object(&path)?.into_iter().find(codes) {
        Some((name, _)) => {
            let problem = format!(
                "{name}: the network of this pipeline denoises the codes of an autoencoder; only networks \
                 of pixels can be read"
            );
            Err(Error::Interop { path, problem })
        }
        None => Ok(()),
    }
}

/// That scheduler and network can belong to each other.
fn check(scheduler: &Scheduler, config: &UNet2DConfig, steps: Option<u64>) -> Result<(), Error> {
    let refuse = |problem: String| Error::Interop { path: scheduler.path.clone(), problem };
    let found = scheduler.timesteps.steps() as u64;
    if let Some(steps) = steps.filter(|steps| *steps != found) {
        return Err(refuse(format!(
            "num_train_timesteps = {found}: the network's config.json has {steps}; name the scheduler of \
             its training with --scheduler"
        )));
    }
    if scheduler.learned_variance && config.out_channels == config.in_channels {
        return Err(refuse(format!(
            "variance_type is a learned one, for which the network would need {} out_channels; it has {}; \
             name the scheduler of its training with --scheduler",
            config.in_channels.saturating_mul(2),
            config.out_channels
        )));
    }
    Ok(())
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
                    .refuse(format!("is not conditioned on classes; leave out the label {label}")))
            }
        };
    };
    let label = label.filter(|label| (0..classes).contains(label)).ok_or_else(|| {
        found.refuse(format!("is conditioned on {classes} classes; name one from 0 by the label"))
    })?;
    let shape = [[classes].as_slice(), &found.shape(EMBEDDING_BIAS)?].concat();
    Ok(Some(found.take("class_embedding.weight", &shape)?.get(label)))
}
