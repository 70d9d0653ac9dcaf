//! Named tensors as the bytes of a safetensors file, and what identifies a model.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, TensorView, serialize};
use safetensors::{SafeTensorError, SafeTensors};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

use crate::Error;
use crate::nn::fitting;

/// A list of named tensors.
pub type Named = Vec<(String, Tensor)>;

/// A note that goes into a file beside its tensors: key and text. One only, since the format's library
/// writes more than one in an order that changes from process to process.
pub(crate) type Note<'a> = Option<(&'a str, String)>;

/// The file of these tensors: the same bytes for the same tensors.
///
/// # Errors
/// [`Error::Torch`] if they cannot be brought to the host, [`Error::Safetensors`].
pub(crate) fn to_bytes(tensors: &Named, note: Note<'_>) -> Result<Vec<u8>, Error> {
    let host: Result<Vec<_>, Error> =
        tensors.iter().map(|(name, tensor)| Ok((name, shape(tensor), bytes(tensor)?))).collect();
    let host = host?;
    let views: Result<Vec<_>, SafeTensorError> = host
        .iter()
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect();
    let note = note.map(|(key, text)| HashMap::from([(key.to_owned(), text)]));
    Ok(serialize(views?, note)?)
}

/// The tensors of such a file.
///
/// # Errors
/// In words, if it is none.
pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Named, String> {
    let unreadable = |error| format!("cannot be read as safetensors ({error})");
    let found = SafeTensors::deserialize(bytes).map_err(unreadable)?;
    let tensor = |(name, view): (&str, TensorView<'_>)| {
        if view.dtype() != Dtype::F32 {
            return Err(format!("{name} is {:?} instead of F32", view.dtype()));
        }
        let shape: Vec<i64> = view.shape().iter().map(|side| *side as i64).collect();
        let tensor = Tensor::f_from_data_size(view.data(), &shape, Kind::Float);
        Ok((name.to_owned(), tensor.map_err(|error| format!("{name}: {error}"))?))
    };
    found.iter().map(tensor).collect()
}

/// The first tensor with a value that is none.
pub(crate) fn not_finite(tensors: &Named) -> Option<&str> {
    let finite = |tensor: &Tensor| tensor.isfinite().all().int64_value(&[]) != 0;
    tensors.iter().find(|(_, tensor)| !finite(tensor)).map(|(name, _)| name.as_str())
}

fn shape(tensor: &Tensor) -> Vec<usize> {
    tensor.size().iter().map(|side| *side as usize).collect()
}

/// Row-major and little-endian.
fn bytes(tensor: &Tensor) -> Result<Vec<u8>, Error> {
    let flat = tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).flatten(0, -1);
    Ok(Vec::<f32>::try_from(flat)?.into_iter().flat_map(f32::to_le_bytes).collect())
}

/// Copies tensors over those of the same names.
///
/// # Errors
/// In words, naming the first that is missing, extra, mis-shaped, of another type or not finite.
/// Nothing is changed then.
pub(crate) fn copy_into(found: Named, into: &Named) -> Result<(), String> {
    let mut found: HashMap<String, Tensor> = found.into_iter().collect();
    let mut pairs = Vec::with_capacity(into.len());
    for (name, target) in into {
        let value = fitting(name, found.remove(name), &target.size())?;
        pairs.push((name.clone(), target, value));
    }
    if let Some(name) = found.keys().min() {
        return Err(format!("has a tensor {name} that the configured model does not have"));
    }
    let values = pairs.iter().map(|(name, _, value)| (name.clone(), value.shallow_clone()));
    if let Some(name) = not_finite(&values.collect()) {
        return Err(format!("{name} has values that are not finite; use other weights"));
    }
    tch::no_grad(|| {
        for (_, target, value) in pairs {
            target.shallow_clone().copy_(&value);
        }
    });
    Ok(())
}

/// SHA-256 of a specification as JSON, then of name and values of each tensor: what two models share that give the
/// same answers.
///
/// # Errors
/// [`Error::Torch`] if the tensors cannot be brought to the host, [`Error::Json`].
pub(crate) fn sha256(spec: &impl Serialize, tensors: &Named) -> Result<String, Error> {
    let document = serde_json::to_vec(spec);
    let mut hash = Sha256::new();
    hash.update(document.map_err(|source| Error::Json { what: "a model", source })?);
    for (name, tensor) in tensors {
        hash.update(name.as_bytes());
        hash.update([0]);
        hash.update(bytes(tensor)?);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors() -> Named {
        let arange = Tensor::arange(6, (Kind::Float, Device::Cpu));
        vec![("b".into(), arange.view([2, 3])), ("a".into(), &arange.view([3, 2]) / 3.0)]
    }

    #[test]
    fn files_have_the_same_bytes_every_time_and_are_read_back() {
        let note = || Some(("key", "text".to_owned()));
        let file = to_bytes(&tensors(), note()).unwrap();
        for _ in 0..20 {
            assert_eq!(to_bytes(&tensors(), note()).unwrap(), file);
        }
        let mut read = from_bytes(&file).unwrap();
        read.sort_by(|a, b| b.0.cmp(&a.0));
        for ((name, tensor), (wanted, value)) in read.iter().zip(tensors()) {
            assert_eq!((name, tensor), (&wanted, &value));
        }
        assert!(from_bytes(&file[1..]).unwrap_err().contains("safetensors"));
    }

    #[test]
    fn values_that_are_none_are_found() {
        let mut all = tensors();
        assert_eq!(not_finite(&all), None);
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            all[1].1 = Tensor::from_slice(&[0.0, bad]);
            assert_eq!(not_finite(&all), Some("a"));
        }
    }
}
