//! Folders that are never seen half-written.
//!
//! A folder of several files is written beside its destination under a temporary name and renamed when it
//! is whole. A process that is killed in the middle leaves nothing under the destination's name; what it
//! leaves beside it is deleted by the next one that writes there ([`vdm_files::remove_abandoned`]).

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::{Error, files};

/// Where [`write()`] would put a folder called `path`, which is nothing yet or an empty folder. Ask before
/// what takes long.
///
/// # Errors
/// [`Error::Occupied`] if something is there, [`Error::Io`] where the system refuses to look.
pub fn vacant(path: &Path) -> Result<PathBuf, Error> {
    let found = match fs::canonicalize(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            // A link whose target is missing is no place to rename to.
            return match fs::symlink_metadata(path) {
                Ok(_) => Err(occupied(path, "is a link to nowhere")),
                Err(_) => std::path::absolute(path).map_err(Error::io("find", path)),
            };
        }
        found => found.map_err(Error::io("find", path))?,
    };
    if !found.is_dir() {
        return Err(occupied(path, "is a file"));
    }
    match fs::read_dir(&found).map_err(Error::io("list", path))?.next() {
        None => Ok(found),
        Some(_) => Err(occupied(path, "is not empty")),
    }
}

fn occupied(path: &Path, found: &'static str) -> Error {
    Error::Occupied { path: path.into(), found }
}

/// Makes a folder called `path` of what `fill` writes into the folder it is given, and creates those it
/// lies in.
///
/// # Errors
/// Those of `fill` and of [`vacant`], and [`Error::Io`] where the system refuses. Nothing is called `path`
/// then that was not before.
pub fn write<E: From<Error>>(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let place = vacant(path)?;
    let Some(parent) = place.parent() else { return Err(occupied(path, "is the root").into()) };
    fs::create_dir_all(parent).map_err(Error::io("create the folder", parent))?;
    let refused = || Error::io("create the folder", &place);
    files::remove_abandoned(parent)?;
    let temporary = vdm_files::temporary_beside(&place).map_err(refused())?;
    // Of an earlier process with the same number.
    let _ = fs::remove_dir_all(&temporary);
    fs::create_dir(&temporary).map_err(refused())?;
    // Until the end: nobody takes it for abandoned.
    let lock = vdm_files::hold(&temporary).map_err(refused())?;
    let written = fill(&temporary).and_then(|()| {
        lock.sync_all()
            .and_then(|()| fs::rename(&temporary, &place))
            .and_then(|()| File::open(parent)?.sync_all())
            .map_err(|source| Error::io("put the finished folder in place at", path)(source).into())
    });
    if written.is_err() {
        // The first failure is the one worth reporting.
        let _ = fs::remove_dir_all(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn fill(folder: &Path) -> Result<(), Error> {
        fs::create_dir(folder.join("inner")).map_err(Error::io("create", folder))?;
        fs::write(folder.join("inner/file"), b"whole").map_err(Error::io("write", folder))
    }

    #[test]
    fn a_folder_appears_whole_in_a_new_place_or_an_empty_one() {
        let root = tempfile::tempdir().unwrap();
        for place in ["new", "empty", "deeper/new"] {
            let path = root.path().join(place);
            if place == "empty" {
                fs::create_dir(&path).unwrap();
            }
            write(&path, |folder| {
                assert_eq!(names(path.parent().unwrap()).iter().filter(|n| *n == "new").count(), 0);
                assert_eq!(folder.parent(), path.parent());
                fill(folder)
            })
            .unwrap();
            assert_eq!(fs::read(path.join("inner/file")).unwrap(), b"whole");
            fs::remove_dir_all(path).unwrap();
        }
        assert_eq!(names(root.path()), ["deeper"]);
    }

    #[test]
    fn a_failure_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("folder");
        let fail = |folder: &Path| fill(folder).and(Err(Error::Shape("no".into())));
        assert_eq!(write(&path, fail).unwrap_err().to_string(), "no");
        assert!(names(root.path()).is_empty());
    }

    #[test]
    fn what_is_there_stays() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::write(at("file"), b"1").unwrap();
        fs::create_dir(at("full")).unwrap();
        fs::write(at("full/file"), b"2").unwrap();
        std::os::unix::fs::symlink(at("nowhere"), at("link")).unwrap();
        for (name, named) in [("file", "is a file"), ("full", "is not empty"), ("link", "nowhere")]
        {
            let error = write(&at(name), fill).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains(name), "{error}");
        }
        assert_eq!(names(root.path()), ["file", "full", "link"]);
        assert_eq!(names(&at("full")), ["file"]);
    }
}
