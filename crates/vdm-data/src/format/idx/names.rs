//! Names of IDX files, as MNIST and the data sets made after it use them.
//!
//! ```text
//! train-images-idx3-ubyte.gz                    MNIST, Fashion-MNIST, KMNIST
//! t10k-labels.idx1-ubyte                        the same, from elsewhere
//! emnist-letters-test-images-idx3-ubyte         EMNIST, six sets in one folder
//! qmnist-train-labels-idx2-int.gz               QMNIST, labels of several columns
//! ```

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::DataError;

/// Which part of a data set a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    TrainImages,
    TrainLabels,
    TestImages,
    TestLabels,
}

/// The files of one data set in a folder.
pub(crate) struct Set {
    pub(super) dir: PathBuf,
    /// What their names start with; nothing for MNIST.
    pub(super) name: String,
    pub(super) files: BTreeMap<Part, PathBuf>,
}

/// The set's name and the part, if a file is named like one of them.
pub(super) fn parse(name: &OsStr) -> Option<(String, Part)> {
    let name = name.to_str()?.to_ascii_lowercase().replace(['.', '_'], "-");
    let name = name.strip_suffix("-gz").unwrap_or(&name);
    let (name, sizes) =
        name.strip_suffix("-ubyte").or(name.strip_suffix("-int"))?.rsplit_once("-idx")?;
    let (name, what) = name.rsplit_once('-')?;
    let images = match (what, sizes) {
        ("images", "3") => true,
        ("labels", "1" | "2") => false,
        _ => return None,
    };
    let (set, split) = name.rsplit_once('-').unwrap_or(("", name));
    let part = match (split, images) {
        ("train", true) => Part::TrainImages,
        ("train", false) => Part::TrainLabels,
        ("t10k" | "test", true) => Part::TestImages,
        ("t10k" | "test", false) => Part::TestLabels,
        _ => return None,
    };
    Some((set.into(), part))
}

/// The sets of a folder, by name. Of a file that is there plain and compressed, the plain one is taken.
pub(super) fn sets(dir: &Path) -> Result<Vec<Set>, DataError> {
    let io = |source| DataError::Io { action: "list", path: dir.into(), source };
    let children: Result<Vec<_>, _> = fs::read_dir(dir).and_then(Iterator::collect).map_err(io);
    let mut paths: Vec<PathBuf> = children?.iter().map(fs::DirEntry::path).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    let mut sets: BTreeMap<String, BTreeMap<Part, PathBuf>> = BTreeMap::new();
    for path in paths {
        if let Some((set, part)) = path.file_name().and_then(parse) {
            sets.entry(set).or_default().entry(part).or_insert(path);
        }
    }
    let set = |(name, files)| Set { dir: dir.into(), name, files };
    Ok(sets.into_iter().map(set).collect())
}

impl Set {
    /// The file of a part.
    pub(super) fn file(&self, part: Part) -> Result<&Path, DataError> {
        self.files.get(&part).map(PathBuf::as_path).ok_or_else(|| {
            let test = if self.name.is_empty() { "t10k" } else { "test" };
            let (split, what) = match part {
                Part::TrainImages => ("train", "images-idx3"),
                Part::TrainLabels => ("train", "labels-idx1"),
                Part::TestImages => (test, "images-idx3"),
                Part::TestLabels => (test, "labels-idx1"),
            };
            let dash = if self.name.is_empty() { "" } else { "-" };
            DataError::MissingFile {
                dir: self.dir.clone(),
                format: "an IDX data set (MNIST, EMNIST, QMNIST, Fashion-MNIST)",
                missing: format!("{}{dash}{split}-{what}-ubyte[.gz]", self.name),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_set_and_part() {
        for (name, set, part) in [
            ("train-images-idx3-ubyte", "", Part::TrainImages),
            ("t10k-labels.idx1-ubyte.gz", "", Part::TestLabels),
            ("emnist-digits-test-images-idx3-ubyte.gz", "emnist-digits", Part::TestImages),
            ("qmnist-train-labels-idx2-int.gz", "qmnist", Part::TrainLabels),
            ("Train_Labels_idx1_ubyte", "", Part::TrainLabels),
        ] {
            assert_eq!(parse(name.as_ref()), Some((set.into(), part)), "{name}");
        }
        for name in
            ["images-idx3-ubyte", "train-images", "train-images-idx1-ubyte", "a.png", "-idx3-ubyte"]
        {
            assert_eq!(parse(name.as_ref()), None, "{name}");
        }
    }
}
