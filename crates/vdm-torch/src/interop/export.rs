//! A model as one file: safetensors with the weights under their dotted names, and one entry in the
//! metadata, `vdm_model`: a JSON document with
//!
//! - `format`: `vdm-model/3`,
//! - `sha256`: what [`StoredModel::sha256`] is of it, so that damage is found when it is read,
//! - `model`: its specification, of a diffusion model's or a hierarchy's fields.

use std::path::Path;

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::Device;

use super::tensors::{self, Tensors};
use super::{Imported, file};
use crate::hierarchy::Hierarchy;
use crate::model::Model;
use crate::stored::StoredModel;
use crate::{Error, weights};

const FORMAT: &str = "vdm-model/3";
const KEY: &str = "vdm_model";

#[derive(Debug, Serialize, Deserialize)]
struct Description<S> {
    format: String,
    sha256: String,
    model: S,
}

/// What a file holds.
#[derive(Debug)]
pub enum Exported {
    /// The network of a diffusion model and its process.
    Diffusion(Imported),
    /// A hierarchy whose posterior is learned.
    Hierarchy(Hierarchy),
}

/// Writes a model: the same bytes for the same model.
///
/// # Errors
/// [`Error::Interop`] if it has weights that are not finite, or the file cannot be written.
pub fn export<M: StoredModel>(model: &M, path: &Path) -> Result<(), Error> {
    let refuse = |problem: String| Error::Interop { path: path.into(), problem };
    let named = model.parameters().named();
    if let Some(name) = weights::not_finite(&named) {
        return Err(refuse(format!(
            "is not written: {name} has values that are not finite; use another checkpoint"
        )));
    }
    let description =
        Description { format: FORMAT.into(), sha256: model.sha256()?, model: model.spec() };
    let text = serde_json::to_string(&description)
        .map_err(|source| Error::Json { what: "a model", source })?;
    let bytes = weights::to_bytes(&named, Some((KEY, text)))?;
    vdm_files::write_atomic(path, &bytes)
        .map_err(|error| refuse(format!("cannot be written ({error})")))
}

/// Reads what [`export`] wrote.
///
/// # Errors
/// [`Error::Io`] or [`Error::Interop`] if it is no such file, or not as it was written.
pub fn exported(path: &Path) -> Result<Exported, Error> {
    let bytes = file::read(path, u64::MAX)?;
    let opened = tensors::opened(path, &bytes)?;
    let document =
        described(&bytes).map_err(|problem| Error::Interop { path: path.into(), problem })?;
    let tensors = Tensors::of(path, &opened, "")?;
    let converted = tensors.converted();
    if document["model"]["hierarchy"].is_object() {
        return Ok(Exported::Hierarchy(stored(path, document, tensors)?));
    }
    let model: Model = stored(path, document, tensors)?;
    let spec = model.spec();
    Ok(Exported::Diffusion(Imported {
        diffusion: spec.diffusion.clone(),
        network: spec.network.clone(),
        head: spec.head,
        clock: spec.clock,
        values: spec.values,
        converted,
        path: path.into(),
        weights: model.parameters().named(),
    }))
}

/// The model of a file, as it was written.
fn stored<M: StoredModel>(path: &Path, document: Value, tensors: Tensors) -> Result<M, Error> {
    let refuse = |problem: String| Error::Interop { path: path.into(), problem };
    let Description::<M::Spec> { sha256, model: spec, .. } = serde_json::from_value(document)
        .map_err(|e| refuse(format!("has a model in its metadata that is none ({e})")))?;
    let model = match M::with_weights(&spec, tensors.rest(), Device::Cpu) {
        Err(Error::Weights(problem)) => return Err(refuse(problem)),
        model => model?,
    };
    let own = model.sha256()?;
    if own != sha256 {
        return Err(refuse(format!(
            "is damaged: the SHA-256 of its model is {own}, and was {sha256} when it was written; export \
             it again, or restore it from a copy"
        )));
    }
    Ok(model)
}

/// What the metadata say.
fn described(bytes: &[u8]) -> Result<Value, String> {
    let (_, header) = SafeTensors::read_metadata(bytes)
        .map_err(|e| format!("cannot be read as safetensors ({e})"))?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let Some(text) = metadata.get(KEY) else {
        let older = metadata.get("format").map_or("", String::as_str);
        let why = if older.starts_with("vdm-model/") {
            "is of an earlier version, which has no hash to tell damage by; export it again"
        } else {
            "has no vdm_model in its metadata; `vdm export` writes such files"
        };
        return Err(why.into());
    };
    let document: Value =
        serde_json::from_str(text).map_err(|e| format!("has metadata that are no JSON ({e})"))?;
    if document["format"] != FORMAT {
        let format = &document["format"];
        return Err(format!("has format {format}; this program reads {FORMAT:?}"));
    }
    Ok(document)
}
