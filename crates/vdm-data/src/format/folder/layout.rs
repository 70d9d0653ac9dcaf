//! Which pictures of a folder make which split, and their classes.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::PerSplit;
use super::scan::{Entry, Scan};
use crate::DataError;

/// The images of one split.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// In sorted order of paths.
    pub(super) entries: Vec<Entry>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Split {
    Train,
    Validation,
    Test,
}

impl Split {
    /// The split that a sub-folder of this name is.
    fn of(name: &OsStr) -> Option<Self> {
        match name.to_str()?.to_ascii_lowercase().as_str() {
            "train" | "training" => Some(Self::Train),
            "val" | "valid" | "validation" | "dev" => Some(Self::Validation),
            "test" | "testing" => Some(Self::Test),
            _ => None,
        }
    }
}

/// The splits of pictures below `root`: its sub-folders `train`, `val` and `test`, where these are all
/// that it has, else all pictures together.
pub(super) fn splits(root: &Path, found: Scan) -> Result<PerSplit<Folder>, DataError> {
    let Scan { pictures, folders, .. } = found;
    let depth = depth_of_splits(&pictures);
    let Some(depth) = depth else {
        if let Some(other) = beside_splits(root, &pictures) {
            return Err(other);
        }
        let entries = with_classes(pictures, 0);
        return Ok(PerSplit {
            train: Folder { path: root.into(), entries },
            validation: None,
            test: None,
        });
    };
    let base =
        pictures[0].folders[..depth].iter().fold(root.to_owned(), |path, name| path.join(name));
    let empty = folders.into_iter().find(|folder| {
        folder.parent() == Some(&base)
            && folder.file_name().is_some_and(|name| Split::of(name).is_some())
            && !pictures.iter().any(|picture| picture.path.starts_with(folder))
    });
    if let Some(path) = empty {
        return Err(DataError::Empty { path, what: "PNG or JPEG images" });
    }
    let mut splits = [const { None }; 3];
    for picture in with_classes(pictures, depth + 1) {
        let name = &picture.folders[depth];
        let Some(split) = Split::of(name) else { continue };
        let path = base.join(name);
        let folder: &mut Option<Folder> = &mut splits[split as usize];
        let folder = folder.get_or_insert(Folder { path: path.clone(), entries: Vec::new() });
        if folder.path != path {
            return Err(DataError::Splits {
                path,
                found: format!("it is the same split as `{}`", folder.path.display()),
            });
        }
        folder.entries.push(picture);
    }
    let [train, validation, test] = splits;
    let Some(train) = train else {
        return Err(DataError::Splits { path: base, found: "it has no folder `train`".into() });
    };
    Ok(PerSplit { train, validation, test })
}

/// How deep below the root the folders of splits lie, if each picture is below one of them. Folders that
/// are alone, as archives have them, may lie in between.
fn depth_of_splits(pictures: &[Entry]) -> Option<usize> {
    let first = &pictures.first()?.folders;
    let splits = |depth: usize| {
        let name = |picture: &Entry| {
            picture.folders.get(depth).is_some_and(|name| Split::of(name).is_some())
        };
        pictures.iter().all(name)
    };
    let common = |depth: usize| {
        pictures.iter().all(|picture| picture.folders.get(depth) == first.get(depth))
    };
    (0..first.len()).take_while(|&depth| (0..depth).all(common)).find(|&depth| splits(depth))
}

/// An error if pictures lie beside folders `train` and `test` or `val`: they would be classes then.
fn beside_splits(root: &Path, pictures: &[Entry]) -> Option<DataError> {
    let split = |picture: &Entry| picture.folders.first().and_then(|name| Split::of(name));
    let has = |wanted| pictures.iter().any(|picture| split(picture) == Some(wanted));
    let other = pictures.iter().find(|picture| split(picture).is_none())?;
    let splits = has(Split::Train) && (has(Split::Validation) || has(Split::Test));
    splits.then(|| DataError::Splits {
        path: other.path.clone(),
        found: format!("it lies in none of the splits of `{}`", root.display()),
    })
}

/// Takes the folder at `depth` for the class.
fn with_classes(pictures: Vec<Entry>, depth: usize) -> Vec<Entry> {
    let class = |entry: Entry| Entry { class: entry.folders.get(depth).cloned(), ..entry };
    pictures.into_iter().map(class).collect()
}

/// The classes in sorted order, if every image has one.
pub(super) fn classes<'a>(folders: impl Iterator<Item = &'a Folder>) -> Option<Vec<OsString>> {
    let classes = folders.flat_map(|folder| &folder.entries).map(|entry| entry.class.clone());
    let sorted: Option<BTreeSet<_>> = classes.collect();
    sorted.map(|classes| classes.into_iter().collect())
}
