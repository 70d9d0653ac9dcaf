//! What is being written, beside what it will be: `.NAME.PID.tmp`.
//!
//! A process that is killed leaves it there. The lock that it held is gone with the process: that, and its
//! number, tell [`remove_abandoned`] what nobody writes any more.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The temporary name of a file or folder: in the same folder, for a rename cannot cross file systems; with
/// the process id, so that two processes do not write into one.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for a path that ends in no name.
pub fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| invalid("it names a folder, not a file to write"))?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.tmp", std::process::id()));
    Ok(path.with_file_name(hidden))
}

pub(crate) fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// Takes the lock that says that a temporary file or folder is being written, for as long as the result
/// lives. Where a file system has no locks nothing is taken for abandoned, so that having none is no fault.
///
/// # Errors
/// The system's own, if it cannot be opened.
pub fn hold(temporary: &Path) -> io::Result<File> {
    let file = File::open(temporary)?;
    let _unsupported = file.lock();
    Ok(file)
}

/// Removes the temporary files and folders in `folder` whose writers are gone.
///
/// # Errors
/// The system's own, if the folder cannot be listed. What cannot be removed is left: it is hidden and
/// harmless.
pub fn remove_abandoned(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let writer = path.file_name().and_then(|name| writer(name.to_str()?));
        if writer.is_some_and(is_gone) {
            remove_unlocked(&path);
        }
    }
    Ok(())
}

/// A writer may live where this process cannot see it, in another container: then it holds the lock.
fn remove_unlocked(path: &Path) {
    let Ok(file) = File::open(path) else { return };
    if file.try_lock().is_ok() {
        // Nothing depends on it.
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
}

/// The process that a temporary file is named after.
fn writer(name: &str) -> Option<u32> {
    let (_, process) = name.strip_prefix('.')?.strip_suffix(".tmp")?.rsplit_once('.')?;
    process.parse().ok()
}

/// Whether a process of this machine has ended. One that cannot be looked up may live.
fn is_gone(process: u32) -> bool {
    let processes = Path::new("/proc");
    processes.join("self").exists() && !processes.join(process.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        // No process has this number: those of Linux end at 2^22.
        let (dead, own) = (u32::MAX, std::process::id());
        let left = format!(".config.json.{dead}.tmp");
        let kept = [format!(".config.json.{own}.tmp"), format!(".held.{dead}.tmp")];
        let strangers = ["config.json", ".hidden", ".x.tmp", "x.4294967295.tmp", ".x.12y.tmp"];
        for name in strangers.iter().copied().chain([left.as_str(), &kept[0], &kept[1]]) {
            fs::write(place(name), b"").unwrap();
        }
        let run = format!(".run.{dead}.tmp");
        fs::create_dir_all(place(&run).join("inner")).unwrap();
        // A writer in another container.
        let held = hold(&place(&kept[1])).unwrap();
        remove_abandoned(folder.path()).unwrap();
        assert!(!place(&left).exists() && !place(&run).exists());
        assert!(strangers.iter().all(|name| place(name).exists()));
        assert!(kept.iter().all(|name| place(name).exists()));
        drop(held);
        remove_abandoned(folder.path()).unwrap();
        assert!(!place(&kept[1]).exists() && place(&kept[0]).exists());
    }
}
