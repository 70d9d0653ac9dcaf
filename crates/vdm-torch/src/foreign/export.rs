//! A model as one file: safetensors with the weights under their dotted names, and in the metadata
//! `format` = `vdm-model/1` and `model`, the [`ModelSpec`] as JSON.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use tch::{Device, Kind, Tensor};

use super::Imported;
use super::tensors::Tensors;
use crate::Error;
use crate::model::{Model, ModelSpec};

const FORMAT: &str = "vdm-model/1";

/// Writes a model.
///
/// # Errors
/// [`Error::Foreign`] if the file cannot be written.
pub fn export(model: &Model, path: &Path) -> Result<(), Error> {
    let refuse = |problem: String| Error::Foreign { path: path.into(), problem };
    let spec = serde_json::to_string(model.spec()).map_err(|e| refuse(e.to_string()))?;
    let metadata =
        HashMap::from([("format".to_owned(), FORMAT.to_owned()), ("model".to_owned(), spec)]);
    let mut weights = Vec::new();
    for (name, tensor) in model.parameters().named() {
        weights.push((name, shape(&tensor), bytes(&tensor)?));
    }
    let views: Result<Vec<_>, _> = weights
        .iter()
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect();
    // Beside it first: whoever looks finds the file as it was before, or the whole of the new one.
    let name = path.file_name().ok_or_else(|| refuse("names no file to write".into()))?;
    let temporary = path.with_file_name(format!(".{}.{}.tmp", name.display(), std::process::id()));
    let written = views
        .and_then(|views| serialize_to_file(views, Some(metadata), &temporary))
        .map_err(|e| e.to_string())
        .and_then(|()| {
            File::open(&temporary)
                .and_then(|file| file.sync_all())
                .and_then(|()| fs::rename(&temporary, path))
                .map_err(|e| e.to_string())
        });
    written.map_err(|problem| {
        // The first failure is the one worth reporting; the temporary file may not even exist.
        let _ = fs::remove_file(&temporary);
        refuse(format!("cannot be written ({problem})"))
    })
}

fn shape(tensor: &Tensor) -> Vec<usize> {
    tensor.size().iter().map(|side| *side as usize).collect()
}

/// Row-major and little-endian.
fn bytes(tensor: &Tensor) -> Result<Vec<u8>, Error> {
    let flat = tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).flatten(0, -1);
    Ok(Vec::<f32>::try_from(flat)?.into_iter().flat_map(f32::to_le_bytes).collect())
}

/// Reads what [`export`] wrote.
///
/// # Errors
/// [`Error::Io`] or [`Error::Foreign`] if it is no such file.
pub fn exported(path: &Path) -> Result<Imported, Error> {
    let refuse = |problem: String| Error::Foreign { path: path.into(), problem };
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    let (_, header) = SafeTensors::read_metadata(&bytes)
        .map_err(|e| refuse(format!("cannot be read as safetensors ({e})")))?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let spec = match (metadata.get("format").map(String::as_str), metadata.get("model")) {
        (Some(FORMAT), Some(spec)) => spec,
        (format, _) => {
            return Err(refuse(format!(
                "has format {format:?} in its metadata instead of {FORMAT:?}; `vdm export` writes \
                 such files"
            )));
        }
    };
    let spec: ModelSpec = serde_json::from_str(spec)
        .map_err(|e| refuse(format!("has a model in its metadata that is none ({e})")))?;
    Ok(Imported {
        diffusion: spec.diffusion,
        network: spec.network,
        head: spec.head,
        conditioning: spec.conditioning,
        levels: spec.levels,
        path: path.into(),
        weights: Tensors::read(path)?.rest(),
    })
}
