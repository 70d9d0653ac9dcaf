//! CIFAR's binary versions: records of one label byte (CIFAR-10) or two (CIFAR-100: coarse, fine) and
//! 3 × 32 × 32 pixel bytes.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::input::Input;
use crate::split::Splits;
use crate::{DataError, Items, Shape};

const SHAPE: Shape = Shape { channels: 3, height: 32, width: 32 };
const DIMS: usize = 3 * 32 * 32;

/// One of the two.
struct Version {
    name: &'static str,
    train: &'static [&'static str],
    test: &'static str,
    /// Label bytes of a record, the last of which is taken.
    labels: usize,
    classes: u8,
    domain: &'static str,
}

const VERSIONS: [Version; 2] = [
    Version {
        name: "CIFAR-10's binary version",
        train: &[
            "data_batch_1.bin",
            "data_batch_2.bin",
            "data_batch_3.bin",
            "data_batch_4.bin",
            "data_batch_5.bin",
        ],
        test: "test_batch.bin",
        labels: 1,
        classes: 10,
        domain: "a class from 0 to 9",
    },
    Version {
        name: "CIFAR-100's binary version",
        train: &["train.bin"],
        test: "test.bin",
        labels: 2,
        classes: 100,
        domain: "a class from 0 to 99",
    },
];

/// Whether a file is named like one of the batches.
pub(crate) fn names(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    VERSIONS.iter().any(|version| version.files().any(|file| file == name))
}

/// The training and test batches of a folder that has any of them.
pub(crate) fn read_folder(dir: &Path) -> Result<Option<Splits>, DataError> {
    let present = |version: &&Version| version.files().any(|file| find(dir, file).is_some());
    VERSIONS.iter().find(present).map(|version| version.read(dir)).transpose()
}

/// A batch, plain or compressed.
fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    [dir.join(name), dir.join(format!("{name}.gz"))].into_iter().find(|path| path.is_file())
}

impl Version {
    fn files(&self) -> impl Iterator<Item = &'static str> {
        self.train.iter().copied().chain([self.test])
    }

    fn read(&self, dir: &Path) -> Result<Splits, DataError> {
        let train = self.items(dir, self.train)?;
        let test = Some(self.items(dir, &[self.test])?);
        Ok(Splits { shape: SHAPE, train, validation: None, test, notes: Vec::new() })
    }

    /// The records of batches taken apart: CIFAR's pixels are channel by channel already.
    fn items(&self, dir: &Path, names: &[&str]) -> Result<Items, DataError> {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for &name in names {
            let missing = || {
                let (dir, format, missing) = (dir.into(), self.name, name.into());
                DataError::MissingFile { dir, format, missing }
            };
            let path = find(dir, name).ok_or_else(missing)?;
            let mut input = Input::open(&path)?;
            loop {
                let record = input.up_to((self.labels + DIMS) as u64)?;
                if record.is_empty() {
                    break;
                }
                if record.len() < self.labels + DIMS {
                    let (found, expected) = (record.len() as u64, (self.labels + DIMS) as u64);
                    return Err(DataError::Truncated {
                        path,
                        what: "the last record",
                        found,
                        expected,
                    });
                }
                let (label, image) = (record[self.labels - 1], &record[self.labels..]);
                if label >= self.classes {
                    let (item, found, expected) = (labels.len(), label.into(), self.domain);
                    return Err(DataError::Label { path, item, found, expected });
                }
                labels.push(u32::from(label));
                pixels.extend_from_slice(image);
            }
        }
        Items::new(dir, DIMS, pixels, Some(labels))
    }
}
