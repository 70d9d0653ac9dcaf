//! Which images a folder holds, and which classes and splits they are of.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};

use super::PerSplit;
use crate::DataError;

/// The images of one split.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// In sorted order of paths, whatever order the file system lists them in.
    pub(super) entries: Vec<Entry>,
}

/// One image.
pub(super) struct Entry {
    pub(super) path: PathBuf,
    /// The sub-folder of the split's folder that it lies below.
    pub(super) class: Option<OsString>,
}

/// Finds the images below `root`, split as its sub-folders are.
pub(super) fn splits(root: &Path) -> Result<PerSplit<Folder>, DataError> {
    let sub_folder =
        |names: &[&str]| names.iter().map(|name| root.join(name)).find(|path| path.is_dir());
    let train = sub_folder(&["train"]);
    let validation = sub_folder(&["val", "valid", "validation"]);
    let test = sub_folder(&["test"]);
    match train {
        Some(train) if validation.is_some() || test.is_some() => {
            PerSplit { train, validation, test }.try_map(Folder::scan)
        }
        _ => PerSplit { train: root.into(), validation: None, test: None }.try_map(Folder::scan),
    }
}

/// The classes in sorted order, if every image has one.
pub(super) fn classes<'a>(folders: impl Iterator<Item = &'a Folder>) -> Option<Vec<OsString>> {
    let classes = folders.flat_map(|folder| &folder.entries).map(|entry| entry.class.clone());
    let sorted: Option<BTreeSet<_>> = classes.collect();
    sorted.map(|classes| classes.into_iter().collect())
}

impl Folder {
    fn scan(path: PathBuf) -> Result<Self, DataError> {
        let mut entries = Vec::new();
        let mut pending = vec![(path.clone(), None)];
        while let Some((dir, class)) = pending.pop() {
            let io = |source| DataError::Io { action: "list", path: dir.clone(), source };
            for child in fs::read_dir(&dir).map_err(io)? {
                let child = child.map_err(io)?;
                let (path, name) = (child.path(), child.file_name());
                if name.as_encoded_bytes().starts_with(b".") {
                    continue;
                }
                if child.file_type().map_err(io)?.is_dir() {
                    pending.push((path, class.clone().or(Some(name))));
                } else if is_image(&child)? {
                    entries.push(Entry { path, class: class.clone() });
                }
            }
        }
        if entries.is_empty() {
            return Err(DataError::Empty { path, what: "PNG or JPEG images" });
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { path, entries })
    }
}

/// Whether a directory entry is a PNG or JPEG file, by its name. Images of other kinds are an
/// error: a data set without them would silently be another one.
fn is_image(entry: &DirEntry) -> Result<bool, DataError> {
    let path = entry.path();
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "png" | "jpg" | "jpeg" => Ok(!path.is_dir()),
        "avif" | "bmp" | "gif" | "heic" | "jxl" | "tif" | "tiff" | "webp" => {
            Err(DataError::ImageFormat { path })
        }
        _ => Ok(false),
    }
}
