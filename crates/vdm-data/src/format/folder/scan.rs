//! All files below a folder, in an order that does not depend on the file system's.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};

use super::kind::{self, Kind};
use crate::DataError;
use crate::format::{cifar, idx};

/// What lies below a folder.
#[derive(Default)]
pub(super) struct Scan {
    /// Pictures, sorted by path.
    pub(super) pictures: Vec<Entry>,
    /// Sub-folders of any depth, but for hidden ones.
    pub(super) folders: Vec<PathBuf>,
    /// Folders that hold the files of a data set in another format.
    pub(super) sets: Vec<PathBuf>,
    /// Text and hidden files.
    pub(super) companions: Vec<PathBuf>,
    /// The first file that is refused if the data set is one of pictures, and why.
    pub(super) refused: Option<DataError>,
}

/// One image.
pub(super) struct Entry {
    pub(super) path: PathBuf,
    /// The folders between the root and the file, whether linked or not.
    pub(super) folders: Vec<OsString>,
    /// The name of the sub-folder that stands for a class.
    pub(super) class: Option<OsString>,
}

/// Walks through all folders below `root`, those that are linked too.
pub(super) fn walk(root: &Path) -> Result<Scan, DataError> {
    let mut found = Scan::default();
    let mut seen = BTreeMap::new();
    let mut pending = vec![(root.to_owned(), Vec::new())];
    while let Some((dir, below)) = pending.pop() {
        let io = |action, source| DataError::Io { action, path: dir.clone(), source };
        // A link back up would have no end; one to a folder beside it would take pictures twice.
        let itself = dir.canonicalize().map_err(|error| io("open", error))?;
        if let Some(first) = seen.insert(itself, dir.clone()) {
            // Of the two it is the link that can go.
            let path = if first.is_symlink() { first } else { dir };
            return Err(DataError::Linked { path });
        }
        let children: Result<Vec<DirEntry>, _> =
            fs::read_dir(&dir).and_then(Iterator::collect).map_err(|error| io("list", error));
        let mut children: Vec<OsString> = children?.iter().map(DirEntry::file_name).collect();
        children.sort();
        for name in children {
            let path = dir.join(&name);
            if path.is_dir() {
                if name.as_encoded_bytes().starts_with(b".") {
                    found.companions.push(path);
                } else {
                    let below = below.iter().cloned().chain([name]).collect();
                    found.folders.push(path.clone());
                    pending.push((path, below));
                }
            } else if idx::names(&name) || cifar::names(&name) {
                if found.sets.last() != Some(&dir) {
                    found.sets.push(dir.clone());
                }
            } else {
                found.file(path, &below);
            }
        }
    }
    found.pictures.sort_by(|a, b| a.path.cmp(&b.path));
    found.companions.sort();
    found.sets.sort();
    Ok(found)
}

impl Entry {
    pub(super) fn has_class(&self) -> bool {
        self.class.is_some()
    }
}

impl Scan {
    /// Which files were left out, if any were.
    pub(super) fn note_of_companions(&self) -> Option<String> {
        let names = self.companions();
        match self.companions.len() {
            0 => None,
            1 => Some(format!("1 file that is no image was left out: {names}")),
            count => Some(format!("{count} files that are no images were left out: {names}")),
        }
    }

    /// The first few of the files that are left out.
    pub(super) fn companions(&self) -> String {
        const SHOWN: usize = 3;
        let names = self.companions.iter().take(SHOWN).map(|path| format!("`{}`", path.display()));
        let rest = if self.companions.len() > SHOWN { ", …" } else { "" };
        names.collect::<Vec<_>>().join(", ") + rest
    }

    fn file(&mut self, path: PathBuf, folders: &[OsString]) {
        // Opening a pipe or a device could wait for ever.
        let kind = fs::metadata(&path).and_then(|metadata| match metadata.is_file() {
            true => kind::of(&path),
            false => Ok(Kind::Other { found: "no regular file", remedy: "put a file there" }),
        });
        let refused = match kind {
            Ok(Kind::Picture) => {
                return self.pictures.push(Entry { path, folders: folders.into(), class: None });
            }
            Ok(Kind::Companion) => return self.companions.push(path),
            Ok(Kind::System) => return,
            Ok(Kind::Other { found, remedy }) => DataError::ImageFormat { path, found, remedy },
            Err(source) => DataError::Io { action: "open", path, source },
        };
        self.refused.get_or_insert(refused);
    }
}
