//! Tensors by name, of which none may be missing and none left over.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tch::{Kind, Tensor};

use crate::Error;

/// The tensors of a file in f32.
#[derive(Debug)]
pub(super) struct Tensors {
    path: PathBuf,
    found: BTreeMap<String, Tensor>,
}

impl Tensors {
    pub(super) fn new(path: &Path, found: impl IntoIterator<Item = (String, Tensor)>) -> Self {
        Self { path: path.into(), found: found.into_iter().collect() }
    }

    /// Those of a safetensors file.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let found = Tensor::read_safetensors(path).map_err(|e| Error::Foreign {
            path: path.into(),
            problem: format!("cannot be read as safetensors ({e})"),
        })?;
        Ok(Self::new(path, found))
    }

    /// Those below `prefix`, without it.
    pub(super) fn below(self, prefix: &str) -> Self {
        let strip = |(name, t): (String, Tensor)| Some((name.strip_prefix(prefix)?.to_owned(), t));
        Self { found: self.found.into_iter().filter_map(strip).collect(), path: self.path }
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
        if !tensor.is_floating_point() {
            let kind = tensor.kind();
            return Err(self.refuse(format!("{name} is {kind:?} instead of a float")));
        }
        Ok(tensor.to_kind(Kind::Float))
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
        Error::Foreign { path: self.path.clone(), problem }
    }

    fn missing(&self, name: &str) -> Error {
        self.refuse(format!("has no tensor {name}"))
    }
}
