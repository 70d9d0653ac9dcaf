//! Replacing a file in one step.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Replaces `path` by a file of these bytes, atomically.
///
/// The bytes are written beside it under a temporary name, flushed to the disk, and renamed over it,
/// which is one indivisible step on every file system that matters. Whoever looks, after a crash or in
/// the middle of a run, finds the old file or the new one. Its mode is that of any new file.
///
/// # Errors
/// The system's own, or [`io::ErrorKind::InvalidInput`] for a path that names no file. What lay there
/// before stays.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_beside(path)?;
    let written = write_and_sync(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    written.inspect_err(|_| {
        // The first failure is the one worth reporting; the temporary file may not even exist.
        let _ = fs::remove_file(&temporary);
    })
}

/// In the same folder, for a rename cannot cross file systems; with the process id, so that two
/// processes do not write into one file.
fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "it names a folder, not a file to write")
    })?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.tmp", std::process::id()));
    Ok(path.with_file_name(hidden))
}

fn write_and_sync(path: &Path, bytes: &[u8]) -> io::Result<()> {
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
        let path = folder.path().join("config.json");
        write_atomic(&path, b"1").unwrap();
        write_atomic(&path, b"2").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2");
        assert_eq!(names(folder.path()), ["config.json"]);
    }

    #[test]
    fn a_failed_write_leaves_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir_all(path.join("by a folder that is not empty")).unwrap();
        assert!(write_atomic(&path, b"bytes").is_err());
        assert_eq!(names(folder.path()), ["taken"]);
        let message = write_atomic(Path::new("/"), b"").unwrap_err().to_string();
        assert!(message.contains("names a folder"), "{message}");
    }

    /// Readable by whoever the user's mask lets read, as with any file that a program makes.
    #[cfg(unix)]
    #[test]
    fn the_mode_is_that_of_any_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (path, usual) = (folder.path().join("a"), folder.path().join("b"));
        write_atomic(&path, b"").unwrap();
        File::create(&usual).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&usual));
    }
}
