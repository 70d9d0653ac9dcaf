//! Files that are never seen half-written.
//!
//! A file is written beside its destination under a temporary name, flushed to the disk, and then
//! renamed over the destination, which is one indivisible step on every file system that matters.
//! Whoever looks, after a crash or in the middle of a run, finds the old file or the new one. Use it
//! for everything written whole; logs that grow have their own rules ([`crate::metrics`]).

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;

/// Replaces `path` by a file of these bytes, atomically; creates the folder it lies in.
///
/// # Errors
/// [`Error::Io`] where the system refuses. The destination is then as it was before.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::io("create the folder", folder))?;
    }
    let temporary = temporary_beside(path)?;
    let written = write_and_sync(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| {
        // The first failure is the one worth reporting; the temporary file may not even exist.
        let _ = fs::remove_file(&temporary);
        Error::io("write", path)(source)
    })
}

/// Replaces `path` by `value` as indented JSON, atomically. Floats that are not finite become `null`,
/// which JSON has a word for.
///
/// # Errors
/// [`Error::ToJson`] for what JSON cannot express (a map with keys that are no strings),
/// [`Error::Io`] where the system refuses.
pub fn write_json<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<(), Error> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|source| Error::ToJson { what: path.display().to_string(), source })?;
    bytes.push(b'\n');
    write_atomic(path, &bytes)
}

/// Reads a JSON file into `T`.
///
/// # Errors
/// [`Error::Io`] for a file that is missing or unreadable, [`Error::Json`] for one that holds
/// something else.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let bytes = read(path)?;
    serde_json::from_slice(&bytes).map_err(|source| Error::Json { path: path.to_owned(), source })
}

/// The bytes of a file, or an error that names it.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(Error::io("read", path))
}

/// In the same folder, for a rename cannot cross file systems; with the process id, so that two
/// processes do not write into one file.
fn temporary_beside(path: &Path) -> Result<PathBuf, Error> {
    let name = path.file_name().ok_or_else(|| {
        Error::Shape(format!("{} names a folder, not a file to write", path.display()))
    })?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.tmp", std::process::id()));
    Ok(path.with_file_name(hidden))
}

fn write_and_sync(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn replaces_the_file_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deeper/config.json");
        write_json(&path, &serde_json::json!({"steps": 1})).unwrap();
        write_json(&path, &serde_json::json!({"steps": 2})).unwrap();

        assert_eq!(read_json::<serde_json::Value>(&path).unwrap()["steps"], 2);
        assert_eq!(names(&folder.path().join("deeper")), ["config.json"]);
    }

    #[test]
    fn a_failed_write_leaves_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir_all(path.join("by a folder that is not empty")).unwrap();

        let message = write_atomic(&path, b"bytes").unwrap_err().to_string();
        assert!(message.contains("cannot write") && message.contains("taken"), "{message}");
        assert_eq!(names(folder.path()), ["taken"]);
    }

    #[test]
    fn a_path_without_a_file_name_is_refused() {
        let message = write_atomic(Path::new("/"), b"").unwrap_err().to_string();
        assert!(message.contains("names a folder"), "{message}");
    }
}
