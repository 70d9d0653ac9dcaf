//! IDX, the format of MNIST: a magic number, big-endian sizes, bytes.
//!
//! ```text
//! 00 00 08 03   N   H   W   pixels      (08: unsigned bytes, 03: three sizes)
//! 00 00 08 01   N   labels
//! ```

mod names;

use std::ffi::OsStr;
use std::path::Path;

use names::{Part, Set};

use super::{Images, same_shape};
use crate::input::{Input, hex};
use crate::split::Splits;
use crate::{DataError, Items, Shape};

/// How every IDX file starts.
pub(crate) const MAGIC_START: [u8; 2] = [0, 0];

const UNSIGNED_BYTES: u8 = 0x08;
const INTEGERS: u8 = 0x0c;

/// Whether a file is named like one of a data set.
pub(crate) fn names(name: &OsStr) -> bool {
    names::parse(name).is_some()
}

/// The data set of which a folder holds files, if any; two of them are an error.
pub(crate) fn only_set(dir: &Path) -> Result<Option<Set>, DataError> {
    let mut sets = names::sets(dir)?;
    if sets.len() < 2 {
        return Ok(sets.pop());
    }
    let sets: Vec<_> =
        sets.iter().map(|set| format!("`{}`", dir.join(&set.name).display())).collect();
    Err(DataError::Several { path: dir.into(), found: sets.join(", ") })
}

/// The data set whose files have names that start with `path`, such as `emnist/emnist-letters`.
pub(crate) fn set_named(path: &Path) -> Result<Option<Set>, DataError> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    if !dir.is_dir() {
        return Ok(None);
    }
    Ok(names::sets(dir)?.into_iter().find(|set| name == set.name.as_str()))
}

impl Set {
    /// Training and test images with their labels.
    pub(crate) fn read(&self) -> Result<Splits, DataError> {
        let (shape, train) = self.labeled(Part::TrainImages, Part::TrainLabels)?;
        let (test_shape, test) = self.labeled(Part::TestImages, Part::TestLabels)?;
        same_shape(self.file(Part::TestImages)?, test_shape, shape)?;
        let notes = Vec::from_iter(is_transposed(&self.name).then(|| TURNED.into()));
        Ok(Splits { shape, train, validation: None, test: Some(test), notes })
    }

    fn labeled(&self, image_part: Part, label_part: Part) -> Result<(Shape, Items), DataError> {
        let (image_file, label_file) = (self.file(image_part)?, self.file(label_part)?);
        let images = images(image_file)?;
        let images = if is_transposed(&self.name) { images.transposed() } else { images };
        images.into_items(label_file, Some(labels(label_file)?))
    }
}

const TURNED: &str = "EMNIST stores its images transposed: they were turned upright";

/// Whether a set stores its images column by column.
fn is_transposed(set: &str) -> bool {
    set == "emnist" || set.starts_with("emnist-")
}

/// The images of one file that is given by itself.
pub(crate) fn read_file(path: &Path) -> Result<Splits, DataError> {
    let mut notes = Vec::new();
    let mut images = images(path)?;
    if let Some((set, _)) = path.file_name().and_then(names::parse) {
        if is_transposed(&set) {
            images = images.transposed();
            notes.push(TURNED.into());
        }
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        notes.push(format!(
            "this is one file of a data set: labels and other splits are left out; give `{}` to have them",
            dir.join(set).display()
        ));
    }
    let (shape, train) = images.into_items(path, None)?;
    Ok(Splits { shape, train, validation: None, test: None, notes })
}

/// The images of one file, gzip or not.
fn images(path: &Path) -> Result<Images, DataError> {
    let expected = "an IDX file of images (00 00 08 03)";
    let mut input = Input::open(path)?;
    let (kind, dimensions) = magic(&mut input, expected)?;
    if dimensions != 3 {
        let found = hex(&[0, 0, kind, dimensions]);
        return Err(DataError::Magic { path: path.into(), found, expected });
    }
    if kind != UNSIGNED_BYTES {
        return Err(wrong_type(path, kind, "unsigned bytes (08)"));
    }
    let [items, height, width] = sizes(&mut input)?;
    let pixels = input.rest(&[items, height, width], "pixels")?;
    let shape = Shape { channels: 1, height: height as usize, width: width as usize };
    Ok(Images { shape, pixels })
}

/// The labels of one file: bytes, or as in QMNIST the first of several columns of integers.
fn labels(path: &Path) -> Result<Vec<u32>, DataError> {
    let expected = "an IDX file of labels (00 00 08 01)";
    let mut input = Input::open(path)?;
    match magic(&mut input, expected)? {
        (UNSIGNED_BYTES, 1) => {
            let sizes = sizes::<1>(&mut input)?;
            Ok(input.rest(&sizes, "labels")?.into_iter().map(u32::from).collect())
        }
        (INTEGERS, columns @ 1..=2) => {
            let [items, columns] = match columns {
                1 => [sizes::<1>(&mut input)?[0], 1],
                _ => sizes::<2>(&mut input)?,
            };
            let bytes = input.rest(&[items, columns, 4], "labels")?;
            let first = bytes.as_chunks::<4>().0.iter().step_by(columns as usize);
            let label = |(item, bytes): (usize, &[u8; 4])| {
                let found = i32::from_be_bytes(*bytes);
                let (path, expected) = (path.into(), "a class from 0 to 2147483647");
                let error = |_| DataError::Label { path, item, found: found.into(), expected };
                u32::try_from(found).map_err(error)
            };
            first.enumerate().map(label).collect()
        }
        (kind, _) => Err(wrong_type(path, kind, "unsigned bytes (08) or 32-bit integers (0c)")),
    }
}

/// The type of the values and the number of sizes that a file starts with.
fn magic(input: &mut Input<'_>, expected: &'static str) -> Result<(u8, u8), DataError> {
    let magic = input.exactly(4, "magic number")?;
    match magic[..] {
        [0, 0, kind, sizes] if type_name(kind).is_some() => Ok((kind, sizes)),
        _ => Err(DataError::Magic { path: input.path().into(), found: hex(&magic), expected }),
    }
}

fn sizes<const SIZES: usize>(input: &mut Input<'_>) -> Result<[u64; SIZES], DataError> {
    let header = input.exactly(4 * SIZES as u64, "header")?;
    let mut sizes = [0; SIZES];
    for (size, bytes) in sizes.iter_mut().zip(header.as_chunks().0) {
        *size = u32::from_be_bytes(*bytes).into();
    }
    Ok(sizes)
}

fn wrong_type(path: &Path, kind: u8, expected: &'static str) -> DataError {
    let found = type_name(kind).unwrap_or_default().into();
    DataError::Dtype { path: path.into(), found, expected }
}

fn type_name(code: u8) -> Option<&'static str> {
    Some(match code {
        UNSIGNED_BYTES => "unsigned byte (08)",
        0x09 => "signed byte (09)",
        0x0b => "16-bit big-endian integer (0b)",
        INTEGERS => "32-bit big-endian integer (0c)",
        0x0d => "32-bit big-endian float (0d)",
        0x0e => "64-bit big-endian float (0e)",
        _ => return None,
    })
}
