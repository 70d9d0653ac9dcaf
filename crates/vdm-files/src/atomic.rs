//! Replacing a file in one step.
//!
//! A file is written beside its destination under a temporary name, flushed to the disk, and then
//! renamed over the destination, which is one indivisible step on every file system that matters. A
//! process that is killed leaves its temporary file. The lock it held on it is gone with the process:
//! that tells [`remove_abandoned`](crate::remove_abandoned) what nobody writes any more.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::temporary::{hold, invalid, temporary_beside};

/// Replaces `path` by a file of these bytes, atomically.
///
/// Whoever looks, after a crash or in the middle of a run, finds the old file or the new one. Its mode
/// is that of any new file.
///
/// # Errors
/// The system's own, or [`io::ErrorKind::InvalidInput`] for a path that names no file, such as a folder or a
/// device. What lay there before stays.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_file(path)?;
    let written = create_held(&temporary).and_then(|(mut file, _lock)| {
        file.write_all(bytes)?;
        file.sync_all()?;
        // Still held: nobody takes it for abandoned.
        fs::rename(&temporary, path)
    });
    written.inspect_err(|_| {
        // The first failure is the one worth reporting; the temporary file may not even exist.
        let _ = fs::remove_file(&temporary);
    })
}

/// Finds out whether [`write_atomic`] could write `path` now.
///
/// # Errors
/// What it would fail with.
pub fn probe(path: &Path) -> io::Result<()> {
    let temporary = temporary_file(path)?;
    create_held(&temporary)?;
    fs::remove_file(&temporary)
}

fn temporary_file(path: &Path) -> io::Result<PathBuf> {
    // A rename would put a file in place of a device.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(invalid("it is there already and is no file; name another"));
    }
    temporary_beside(path)
}

/// A new file, held before anybody can take it for abandoned: who does removes it under a lock.
fn create_held(path: &Path) -> io::Result<(File, File)> {
    loop {
        let file = File::create(path)?;
        let lock = hold(path)?;
        if path.exists() {
            return Ok((file, lock));
        }
    }
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
        probe(&path).unwrap();
        assert_eq!(
            (fs::read(&path).unwrap(), names(folder.path())),
            (b"2".into(), vec!["config.json".into()])
        );
    }

    #[test]
    fn a_failed_write_leaves_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir_all(path.join("by a folder that is not empty")).unwrap();
        for (path, named) in [
            (path.as_path(), "is no file"),
            (Path::new("/dev/null"), "is no file"),
            (Path::new("/"), "is no file"),
        ] {
            let message = write_atomic(path, b"bytes").unwrap_err().to_string();
            assert!(message.contains(named), "{message}");
            assert_eq!(probe(path).unwrap_err().to_string(), message);
        }
        assert_eq!(names(folder.path()), ["taken"]);
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
