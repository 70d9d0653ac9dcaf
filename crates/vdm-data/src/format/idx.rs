//! IDX, the format of MNIST: a magic number, big-endian sizes, bytes.
//!
//! ```text
//! 00 00 08 03   N   H   W   pixels      (08: unsigned bytes, 03: three sizes)
//! 00 00 08 01   N   labels
//! ```

use std::path::{Path, PathBuf};

use super::{Images, same_shape};
use crate::input::{Input, hex};
use crate::split::Splits;
use crate::{DataError, Items, Shape};

/// How every IDX file starts.
pub(crate) const MAGIC_START: [u8; 2] = [0, 0];

const UNSIGNED_BYTES: u8 = 8;

/// The four files of a folder, without their endings.
const TRAIN_IMAGES: &str = "train-images";
const TRAIN_LABELS: &str = "train-labels";
const TEST_IMAGES: &str = "t10k-images";
const TEST_LABELS: &str = "t10k-labels";

/// Whether a folder has any of the four files.
pub(crate) fn recognizes(dir: &Path) -> bool {
    let images = [TRAIN_IMAGES, TEST_IMAGES].iter().any(|stem| find(dir, stem, 3).is_ok());
    images || [TRAIN_LABELS, TEST_LABELS].iter().any(|stem| find(dir, stem, 1).is_ok())
}

/// The four files: training and test images with their labels.
pub(crate) fn read_folder(dir: &Path) -> Result<Splits, DataError> {
    let (shape, train) = labeled(dir, TRAIN_IMAGES, TRAIN_LABELS)?;
    let (test_shape, test) = labeled(dir, TEST_IMAGES, TEST_LABELS)?;
    same_shape(&dir.join(TEST_IMAGES), test_shape, shape)?;
    Ok(Splits { shape, train, validation: None, test: Some(test) })
}

fn labeled(dir: &Path, image_stem: &str, label_stem: &str) -> Result<(Shape, Items), DataError> {
    let (image_file, label_file) = (find(dir, image_stem, 3)?, find(dir, label_stem, 1)?);
    images(&image_file)?.into_items(&label_file, Some(labels(&label_file)?))
}

/// The file of a stem under any of its usual names.
fn find(dir: &Path, stem: &str, sizes: u8) -> Result<PathBuf, DataError> {
    let names = ["-", "."].map(|separator| format!("{stem}{separator}idx{sizes}-ubyte"));
    let candidates = names.iter().flat_map(|name| [name.clone(), format!("{name}.gz")]);
    let found = candidates.map(|name| dir.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| DataError::MissingFile {
        dir: dir.into(),
        format: "an IDX data set (MNIST, Fashion-MNIST)",
        missing: format!("{}[.gz]", names[0]),
    })
}

/// The images of one file, gzip or not.
pub(crate) fn images(path: &Path) -> Result<Images, DataError> {
    let expected = "an IDX file of images (00 00 08 03)";
    let (input, [items, height, width]) = open(path, expected)?;
    let pixels = input.rest(&[items, height, width], "pixels")?;
    let shape = Shape { channels: 1, height: height as usize, width: width as usize };
    Ok(Images { shape, pixels })
}

fn labels(path: &Path) -> Result<Vec<u32>, DataError> {
    let (input, sizes) = open::<1>(path, "an IDX file of labels (00 00 08 01)")?;
    Ok(input.rest(&sizes, "labels")?.into_iter().map(u32::from).collect())
}

/// Opens a file of unsigned bytes and reads its `SIZES` sizes.
fn open<const SIZES: usize>(
    path: &Path,
    expected: &'static str,
) -> Result<(Input<'static>, [u64; SIZES]), DataError> {
    let mut input = Input::open(path)?;
    let magic = input.exactly(4, "magic number")?;
    let wrong_magic = || DataError::Magic { path: path.into(), found: hex(&magic), expected };
    if magic[..2] != MAGIC_START || usize::from(magic[3]) != SIZES {
        return Err(wrong_magic());
    }
    if magic[2] != UNSIGNED_BYTES {
        let found = type_name(magic[2]).ok_or_else(wrong_magic)?.into();
        return Err(DataError::Dtype { path: path.into(), found, expected: "unsigned bytes (08)" });
    }
    let header = input.exactly(4 * SIZES as u64, "header")?;
    let mut sizes = [0; SIZES];
    for (size, bytes) in sizes.iter_mut().zip(header.as_chunks().0) {
        *size = u32::from_be_bytes(*bytes).into();
    }
    Ok((input, sizes))
}

fn type_name(code: u8) -> Option<&'static str> {
    Some(match code {
        0x09 => "signed byte (09)",
        0x0b => "16-bit big-endian integer (0b)",
        0x0c => "32-bit big-endian integer (0c)",
        0x0d => "32-bit big-endian float (0d)",
        0x0e => "64-bit big-endian float (0e)",
        _ => return None,
    })
}
