//! Files that are never seen half-written, and JSON that notices when it was damaged.
//!
//! Everything written whole is replaced in one step ([`vdm_files::write_atomic`]); logs that grow have
//! their own rules ([`crate::log`]). What a run writes for later commands to trust is sealed
//! ([`vdm_files::seal`]): [`write_sealed`], [`read_sealed`].

use std::fs;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use vdm_files::Seal;

use crate::Error;

/// Replaces `path` by a file of these bytes, atomically; creates the folder it lies in.
///
/// # Errors
/// [`Error::Io`] where the system refuses. The destination is then as it was before.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::io("create the folder", folder))?;
    }
    vdm_files::write_atomic(path, bytes).map_err(Error::io("write", path))
}

/// Finds out whether `path` can be written, which is better known before a long computation than after
/// it. Creates the folder it lies in, and removes what killed processes left there.
///
/// # Errors
/// [`Error::Io`] where the system refuses.
pub fn prepare(path: &Path) -> Result<(), Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(Error::io("create the folder", folder))?;
    remove_abandoned(folder)?;
    vdm_files::probe(path).map_err(Error::io("write", path))
}

/// Removes the temporary files in `folder` whose writers are gone.
///
/// # Errors
/// [`Error::Io`] if the folder cannot be listed. Files that cannot be removed are left.
pub fn remove_abandoned(folder: &Path) -> Result<(), Error> {
    vdm_files::remove_abandoned(folder).map_err(Error::io("list", folder))
}

/// Replaces `path` by `value` as indented JSON, atomically. Floats that are not finite become `null`,
/// which JSON has a word for.
///
/// # Errors
/// [`Error::ToJson`] for what JSON cannot express (a map with keys that are no strings),
/// [`Error::Io`] where the system refuses.
pub fn write_json<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<(), Error> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(Error::to_json(path))?;
    bytes.push(b'\n');
    write_atomic(path, &bytes)
}

/// The same of an object, with a seal.
///
/// # Errors
/// As [`write_json`].
pub fn write_sealed<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<(), Error> {
    let text = vdm_files::seal(value).map_err(Error::to_json(path))?;
    write_atomic(path, text.as_bytes())
}

/// The same on one line, for long lists of numbers that nobody reads.
///
/// # Errors
/// As [`write_json`].
pub fn write_sealed_line<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<(), Error> {
    let (line, _) = vdm_files::seal_line(value, "").map_err(Error::to_json(path))?;
    write_atomic(path, format!("{line}\n").as_bytes())
}

/// Reads what [`write_sealed`] or [`write_sealed_line`] wrote.
///
/// # Errors
/// [`Error::Io`] for a file that is missing or unreadable, [`Error::Json`] for one that holds something
/// else, [`Error::Damaged`] for one that does not say what it said when it was written.
pub fn read_sealed<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    match read_editable(path)? {
        (value, Seal::Whole) => Ok(value),
        (_, Seal::Broken) => Err(Error::damaged(path, "does not say what its seal vouches for")),
        (_, Seal::Absent) => Err(Error::damaged(path, "has no seal: the program did not write it")),
    }
}

/// Reads what [`write_sealed`] wrote and people may edit, and whether they did.
///
/// # Errors
/// [`Error::Io`], [`Error::Json`].
pub fn read_editable<T: DeserializeOwned>(path: &Path) -> Result<(T, Seal), Error> {
    let json = |source| Error::Json { path: path.to_owned(), source };
    let (value, seal) = vdm_files::unseal(&read(path)?).map_err(json)?;
    Ok((serde_json::from_value(value).map_err(json)?, seal))
}

/// The bytes of a file, or an error that names it.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(Error::io("read", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_failed_write_names_what_it_could_not_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir_all(path.join("by a folder that is not empty")).unwrap();
        let message = write_atomic(&path, b"bytes").unwrap_err().to_string();
        assert!(message.contains("cannot write") && message.contains("taken"), "{message}");
    }

    #[test]
    fn what_cannot_be_written_is_known_before() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"whole").unwrap();
        let left = folder.path().join(format!(".file.{}.tmp", u32::MAX));
        fs::write(&left, b"").unwrap();
        prepare(&file).unwrap();
        assert!(fs::read(&file).unwrap() == b"whole" && !left.exists());
        prepare(&folder.path().join("new/preview.png")).unwrap();
        let message = prepare(&file.join("below")).unwrap_err().to_string();
        assert!(message.contains("cannot create the folder"), "{message}");
        for path in [folder.path(), Path::new("/dev/null")] {
            let message = prepare(path).unwrap_err().to_string();
            assert!(message.contains("is no file"), "{message}");
        }
    }

    #[test]
    fn sealed_documents_are_trusted_as_long_as_they_say_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.json");
        write_sealed(&path, &json!({"steps": 1})).unwrap();
        assert_eq!(read_sealed::<Value>(&path).unwrap(), json!({"steps": 1}));
        write_sealed_line(&path, &json!({"steps": 1})).unwrap();
        assert_eq!(read_sealed::<Value>(&path).unwrap(), json!({"steps": 1}));
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace(":1", ":7")).unwrap();
        let message = read_sealed::<Value>(&path).unwrap_err().to_string();
        assert!(message.contains("result.json") && message.contains("seal"), "{message}");
        assert_eq!(read_editable(&path).unwrap(), (json!({"steps": 7}), Seal::Broken));
        write_json(&path, &json!({"steps": 7})).unwrap();
        let message = read_sealed::<Value>(&path).unwrap_err().to_string();
        assert!(message.contains("no seal"), "{message}");
    }
}
