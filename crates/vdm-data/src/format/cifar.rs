//! CIFAR-10's binary batches: records of one label byte and 3 × 32 × 32 pixel bytes.

use std::path::{Path, PathBuf};

use crate::input::{Input, MAX_BYTES};
use crate::split::Splits;
use crate::{DataError, Items, Shape};

const SHAPE: Shape = Shape { channels: 3, height: 32, width: 32 };
const DIMS: usize = 3 * 32 * 32;
const RECORD: usize = 1 + DIMS;
const CLASSES: u8 = 10;
const TEST: &str = "test_batch.bin";

fn train_names() -> [String; 5] {
    [1, 2, 3, 4, 5].map(|batch| format!("data_batch_{batch}.bin"))
}

/// The folder that holds the batches, if any of them are there or in the archive's own sub-folder.
pub(crate) fn folder_of_batches(dir: &Path) -> Option<PathBuf> {
    let names = || train_names().into_iter().chain([TEST.into()]);
    let holds = |folder: &PathBuf| names().any(|name| folder.join(name).is_file());
    [dir.into(), dir.join("cifar-10-batches-bin")].into_iter().find(holds)
}

/// The five training batches and the test batch.
pub(crate) fn read_folder(dir: &Path) -> Result<Splits, DataError> {
    let mut train = Records::default();
    for name in train_names() {
        train.read(dir, &name)?;
    }
    let mut test = Records::default();
    test.read(dir, TEST)?;
    let (train, test) = (train.into_items(dir)?, test.into_items(dir)?);
    Ok(Splits { shape: SHAPE, train, validation: None, test: Some(test) })
}

/// Records taken apart: CIFAR's pixels are channel by channel already.
#[derive(Default)]
struct Records {
    pixels: Vec<u8>,
    labels: Vec<u32>,
}

impl Records {
    /// Adds the records of one batch.
    fn read(&mut self, dir: &Path, name: &str) -> Result<(), DataError> {
        let path = dir.join(name);
        if !path.is_file() {
            let format = "CIFAR-10's binary version";
            return Err(DataError::MissingFile { dir: dir.into(), format, missing: name.into() });
        }
        let mut input = Input::open(&path)?;
        // A batch is 31 MB. This bound leaves the six of them together far below the limit.
        let bytes = input.up_to(MAX_BYTES / 16)?;
        input.finish()?;
        let (records, rest) = bytes.as_chunks::<RECORD>();
        if !rest.is_empty() {
            let (found, expected) = (rest.len() as u64, RECORD as u64);
            return Err(DataError::Truncated { path, what: "the last record", found, expected });
        }
        for [label, pixels @ ..] in records {
            if *label >= CLASSES {
                let (item, found) = (self.labels.len(), i128::from(*label));
                return Err(DataError::Label {
                    path,
                    item,
                    found,
                    expected: "a class from 0 to 9",
                });
            }
            self.labels.push(u32::from(*label));
            self.pixels.extend_from_slice(pixels);
        }
        Ok(())
    }

    fn into_items(self, dir: &Path) -> Result<Items, DataError> {
        Items::new(dir, DIMS, self.pixels, Some(self.labels))
    }
}
