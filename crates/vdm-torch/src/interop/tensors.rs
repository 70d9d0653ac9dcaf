//! Tensors by name, of which none may be missing and none left over.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use tch::{Kind, Tensor};

use super::file;
use crate::Error;

/// What to do about weights that are no floats.
const QUANTIZED: &str = "quantized weights mean nothing without their scales; save the model in float32, \
                         such as with model.float()";

/// The finite f32 tensors of a file, whatever floats it stores them as.
#[derive(Debug)]
pub(super) struct Tensors {
    path: PathBuf,
    found: BTreeMap<String, Tensor>,
    /// Types other than f32 that they are stored as.
    converted: BTreeSet<String>,
}

impl Tensors {
    /// None yet, of the file at `path`.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.into(), found: BTreeMap::new(), converted: BTreeSet::new() }
    }

    /// Those of a safetensors file.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        Self::of(path, &opened(path, &file::read(path, u64::MAX)?)?, "")
    }

    /// Those of an open file whose names start with `prefix`, without it.
    pub(super) fn of(path: &Path, file: &SafeTensors<'_>, prefix: &str) -> Result<Self, Error> {
        let mut tensors = Self::new(path);
        // By name, so that the same file has the same error every time.
        let sorted: BTreeMap<_, _> = file.iter().collect();
        for (name, view) in sorted {
            if let Some(name) = name.strip_prefix(prefix) {
                let stored = decoded(&view).map_err(|p| tensors.refuse(format!("{name} {p}")))?;
                tensors.insert(name, &stored)?;
            }
        }
        Ok(tensors)
    }

    /// Adds a tensor of floats.
    pub(super) fn insert(&mut self, name: &str, stored: &Tensor) -> Result<(), Error> {
        let tensor = stored.to_kind(Kind::Float);
        if !bool::try_from(tensor.isfinite().all())? {
            return Err(self.refuse(format!(
                "{name} holds values that are not finite in float32; use weights from before the training \
                 diverged"
            )));
        }
        if stored.kind() != Kind::Float {
            self.converted.insert(format!("{:?}", stored.kind()).to_lowercase());
        }
        match self.found.insert(name.to_owned(), tensor) {
            Some(_) => Err(self.refuse(format!("has the tensor {name} twice; bring another copy"))),
            None => Ok(()),
        }
    }

    /// Adds those of another part of the same model.
    pub(super) fn extend(&mut self, part: Self) -> Result<(), Error> {
        self.converted.extend(part.converted);
        part.found.into_iter().try_for_each(|(name, tensor)| self.insert(&name, &tensor))
    }

    /// Types other than f32 that weights are stored as.
    pub(super) fn converted(&self) -> Vec<String> {
        self.converted.iter().cloned().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.found.contains_key(name)
    }

    /// The shape of a tensor that must be there.
    pub(super) fn shape(&self, name: &str) -> Result<Vec<i64>, Error> {
        self.found.get(name).map(Tensor::size).ok_or_else(|| self.missing(name))
    }

    /// Takes a tensor out, which must have this shape.
    pub(super) fn take(&mut self, name: &str, shape: &[i64]) -> Result<Tensor, Error> {
        let tensor = self.found.remove(name).ok_or_else(|| self.missing(name))?;
        if tensor.size() != shape {
            let found = tensor.size();
            return Err(self.refuse(format!("{name} has shape {found:?} instead of {shape:?}")));
        }
        Ok(tensor)
    }

    /// That nothing is left.
    pub(super) fn finish(self) -> Result<(), Error> {
        match self.found.keys().next() {
            None => Ok(()),
            Some(name) => {
                Err(self
                    .refuse(format!("has a tensor {name} that this architecture does not have")))
            }
        }
    }

    /// All that is left, as it is named.
    pub(super) fn rest(self) -> Vec<(String, Tensor)> {
        self.found.into_iter().collect()
    }

    pub(super) fn refuse(&self, problem: String) -> Error {
        Error::Interop { path: self.path.clone(), problem }
    }

    fn missing(&self, name: &str) -> Error {
        self.refuse(format!("has no tensor {name}"))
    }
}

/// A safetensors file from its bytes.
pub(super) fn opened<'a>(path: &Path, bytes: &'a [u8]) -> Result<SafeTensors<'a>, Error> {
    SafeTensors::deserialize(bytes).map_err(|e| {
        let problem = file::mistaken(bytes).unwrap_or_else(|| {
            format!("cannot be read as safetensors ({e}); bring a complete copy")
        });
        Error::Interop { path: path.into(), problem }
    })
}

/// A stored tensor of floats.
fn decoded(view: &TensorView<'_>) -> Result<Tensor, String> {
    let kind = match view.dtype() {
        Dtype::F32 => Kind::Float,
        Dtype::F64 => Kind::Double,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        other => return Err(not_floats(other)),
    };
    let shape: Option<Vec<i64>> =
        view.shape().iter().map(|side| i64::try_from(*side).ok()).collect();
    tensor(view.data(), &shape.unwrap_or_default(), kind)
}

/// From row-major little-endian bytes that fill the shape.
pub(super) fn tensor(bytes: &[u8], shape: &[i64], kind: Kind) -> Result<Tensor, String> {
    const MOST: usize = 8;
    if shape.len() > MOST {
        return Err(format!("has {} dimensions, more than {MOST}", shape.len()));
    }
    let items = shape.iter().map(|side| usize::try_from(*side).ok());
    let items = items.into_iter().try_fold(1_usize, |product, side| product.checked_mul(side?));
    if items.and_then(|items| items.checked_mul(kind.elt_size_in_bytes())) != Some(bytes.len()) {
        return Err(format!("has {} bytes, which do not fill {shape:?}", bytes.len()));
    }
    Tensor::f_from_data_size(bytes, shape, kind).map_err(|e| e.to_string())
}

/// Why a tensor of this type is refused.
pub(super) fn not_floats(kind: impl std::fmt::Debug) -> String {
    format!("is stored as {kind:?} instead of a float: {QUANTIZED}")
}
