//! A model as one file: safetensors with the weights under their dotted names, and one entry in the
//! metadata, `vdm_model`: a JSON document with
//!
//! - `format`: `vdm-model/3`,
//! - `sha256`: what [`Model::sha256`] is of it, so that damage is found when it is read,
//! - `model`: its [`ModelSpec`].

use std::path::Path;

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use tch::Device;

use super::tensors::{self, Tensors};
use super::{Imported, file};
use crate::model::{Model, ModelSpec};
use crate::{Error, weights};

const FORMAT: &str = "vdm-model/3";
const KEY: &str = "vdm_model";

#[derive(Debug, Serialize, Deserialize)]
struct Description {
    format: String,
    sha256: String,
    model: ModelSpec,
}

/// Writes a model: the same bytes for the same model.
///
/// # Errors
/// [`Error::Interop`] if it has weights that are not finite, or the file cannot be written.
pub fn export(model: &Model, path: &Path) -> Result<(), Error> {
    let refuse = |problem: String| Error::Interop { path: path.into(), problem };
    let named = model.parameters().named();
    if let Some(name) = weights::not_finite(&named) {
        return Err(refuse(format!(
            "is not written: {name} has values that are not finite; use another checkpoint"
        )));
    }
    let description =
        Description { format: FORMAT.into(), sha256: model.sha256()?, model: model.spec().clone() };
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
pub fn exported(path: &Path) -> Result<Imported, Error> {
    let refuse = |problem: String| Error::Interop { path: path.into(), problem };
    let bytes = file::read(path, u64::MAX)?;
    let opened = tensors::opened(path, &bytes)?;
    let Description { sha256, model: spec, .. } = described(&bytes).map_err(refuse)?;
    let tensors = Tensors::of(path, &opened, "")?;
    let converted = tensors.converted();
    let model = match Model::with_weights(&spec, tensors.rest(), Device::Cpu) {
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
    Ok(Imported {
        diffusion: spec.diffusion,
        network: spec.network,
        head: spec.head,
        clock: spec.clock,
        values: spec.values,
        converted,
        path: path.into(),
        weights: model.parameters().named(),
    })
}

/// What the metadata say.
fn described(bytes: &[u8]) -> Result<Description, String> {
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
    let document: serde_json::Value =
        serde_json::from_str(text).map_err(|e| format!("has metadata that are no JSON ({e})"))?;
    if document["format"] != FORMAT {
        let format = &document["format"];
        return Err(format!("has format {format}; this program reads {FORMAT:?}"));
    }
    serde_json::from_value(document)
        .map_err(|e| format!("has a model in its metadata that is none ({e})"))
}
