//! The targets.

mod archive;
mod data;
mod documents;
mod report;
mod sampler;
mod schedule;
#[cfg(feature = "torch")]
mod torch;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

/// What became of an input that broke no promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It was an error.
    Refused,
    /// It was read.
    Accepted,
}

/// How inputs are mutated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As bytes.
    Bytes,
    /// As JSON, token by token.
    Json,
}

/// A parser, or a kind of document.
#[derive(Debug)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// How its inputs are mutated.
    pub kind: Kind,
    /// Valid inputs, at least one.
    pub corpus: fn() -> Vec<Vec<u8>>,
    /// Reads an input. It panics where a promise is broken.
    pub check: fn(&Scratch, &[u8]) -> Verdict,
}

/// Every target, those of bytes first.
#[must_use]
pub fn all() -> Vec<Target> {
    let mut all = data::targets();
    all.extend(archive::targets());
    all.extend(report::targets());
    #[cfg(feature = "torch")]
    all.extend(torch::targets());
    all.extend(schedule::targets());
    all.extend(sampler::targets());
    all.extend(documents::targets());
    all.sort_by_key(|target| (target.kind == Kind::Json, target.name));
    all
}

/// The target of that name.
#[must_use]
pub fn find(name: &str) -> Option<Target> {
    all().into_iter().find(|target| target.name == name)
}

/// A folder for the files of parsers that read files.
#[derive(Debug)]
pub struct Scratch(TempDir);

impl Scratch {
    /// A new one, deleted with this.
    ///
    /// # Errors
    /// That of the system.
    pub fn new() -> io::Result<Self> {
        // In memory where the system has such a folder: a million inputs are a million files.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
        folder.or_else(|_| TempDir::new()).map(Self)
    }

    /// The path of a file in it.
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, in folders as its name says.
    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        let folder = path.parent().expect("a file in a folder");
        fs::create_dir_all(folder).expect("a folder can be made");
        fs::write(&path, bytes).expect("a file can be written");
        path
    }

    /// Writes a file that all inputs share.
    fn write_once(&self, name: &str, bytes: impl FnOnce() -> Vec<u8>) -> PathBuf {
        let path = self.path(name);
        if path.is_file() { path } else { self.write(name, &bytes()) }
    }
}

fn verdict<T, E>(result: &Result<T, E>) -> Verdict {
    if result.is_ok() { Verdict::Accepted } else { Verdict::Refused }
}

/// Reads a document, holds it to a promise, and reads again what it writes.
fn document<T>(input: &[u8], promise: impl FnOnce(&T)) -> Verdict
where
    T: Serialize + DeserializeOwned,
{
    let Ok(read) = serde_json::from_slice::<T>(input) else { return Verdict::Refused };
    promise(&read);
    let written = serde_json::to_string(&read).expect("what was read can be written");
    let again: T = serde_json::from_str(&written)
        .unwrap_or_else(|error| panic!("{written} cannot be read again: {error}"));
    let twice = serde_json::to_string(&again).expect("what was read can be written");
    assert_eq!(twice, written, "what is written twice stays the same");
    Verdict::Accepted
}

/// A document with a seal, so that mutants get past it, if it can have one.
fn sealed(input: &[u8]) -> Vec<u8> {
    let value = serde_json::from_slice::<serde_json::Value>(input).ok();
    let sealed = value.and_then(|value| vdm_files::seal(&value).ok());
    sealed.map_or_else(|| input.to_vec(), String::into_bytes)
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
