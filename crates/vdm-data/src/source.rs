//! Where data come from, as a configuration names it, and loading it.

use std::ffi::OsStr;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::format::{cifar, folder, idx, npy, npz};
use crate::input::{Input, hex};
use crate::split::{self, Splits};
use crate::{DataError, Dataset, digits, points};

/// Where a data set comes from.
///
/// ```
/// use vdm_data::Source;
/// let source: Source = serde_json::from_str(r#"{"kind": "path", "path": "pictures", "size": 64}"#)?;
/// assert_eq!(source, Source::Path { path: "pictures".into(), size: Some(64), values: None });
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// 1,797 handwritten digits of 8×8 pixels and 17 gray values, embedded: the test set of
    /// *Optical Recognition of Handwritten Digits* (Alpaydin and Kaynak, UCI, CC BY 4.0).
    // Braces, because serde ignores unknown fields of a unit variant.
    Digits {},
    /// The 8-bit swirl of the VDM paper's notebook; see [`swirl_distribution`](crate::swirl_distribution).
    Swirl {
        /// Training points, 1 to 100,000,000; 100,000 unless given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        items: Option<usize>,
    },
    /// Five Gaussian clusters in 8 bits; see [`clusters_distribution`](crate::clusters_distribution).
    Clusters {
        /// Training points, 1 to 100,000,000; 100,000 unless given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        items: Option<usize>,
    },
    /// A file or folder, recognized by its content:
    ///
    /// - a folder with the four IDX files of MNIST, Fashion-MNIST, KMNIST, QMNIST or one of EMNIST's
    ///   sets (`train-images-idx3-ubyte`, …, plain or `.gz`); of a folder with several sets, what the
    ///   names of one start with (`EMNIST/raw/emnist-letters`); or one IDX file of images;
    /// - a folder with the binary batches of CIFAR-10 or CIFAR-100, plain or `.gz`;
    /// - a folder with one of these somewhere below it, and no images;
    /// - `.npy`, uint8 of shape (N, H, W) or (N, H, W, C) with one channel or three;
    /// - `.npz` with one such array, with `x` (and labels `y`), or with `x_train`, `x_test`, `x_val`
    ///   (and `y_train`, …), where `train`, `train_images` and the like serve too;
    /// - a folder of PNG and JPEG images, whose sub-folders are splits or classes.
    Path {
        /// The file or folder.
        path: PathBuf,
        /// For a folder of images: the side they are cropped and resized to, 1 to 4,096; 32 unless
        /// given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<usize>,
        /// The number of gray values, 2 to 256, if the pixels use fewer than 256.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        values: Option<u16>,
    },
}

/// Loads a data set with its fixed splits.
///
/// # Errors
/// [`DataError`], which names the file, what was found and what to do.
pub fn load(source: &Source) -> Result<Dataset, DataError> {
    match source {
        Source::Digits {} => digits::load(),
        Source::Swirl { items } => points::swirl(*items),
        Source::Clusters { items } => points::clusters(*items),
        Source::Path { path, size, values } => load_path(path, *size, *values),
    }
}

fn load_path(path: &Path, size: Option<usize>, values: Option<u16>) -> Result<Dataset, DataError> {
    let values = values.unwrap_or(256);
    if !(2..=256).contains(&values) {
        let expected = "2 to 256 gray values";
        return Err(DataError::Option { name: "values", value: values.to_string(), expected });
    }
    let io = |source| DataError::Io { action: "open", path: path.into(), source };
    let mut splits = match path.metadata() {
        Ok(metadata) if metadata.is_dir() => folder::read(path, size)?,
        Ok(_) => read_file(path)?,
        Err(error) => match idx::set_named(path)? {
            Some(set) => set.read()?,
            None => return Err(io(error)),
        },
    };
    let (shape, notes) = (splits.shape, std::mem::take(&mut splits.notes));
    // Only pictures are resized: a size that would be ignored is an error.
    if let Some(size) = size.filter(|&size| (shape.height, shape.width) != (size, size)) {
        let expected =
            "no size, or the one that the data have, except for a folder of PNG or JPEG images";
        return Err(DataError::Option { name: "size", value: size.to_string(), expected });
    }
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let data = Dataset::new(path, name, shape, values, split::complete(path, splits)?)?;
    Ok(Dataset { notes, ..data })
}

fn read_file(path: &Path) -> Result<Splits, DataError> {
    let mut input = Input::open(path)?;
    let magic = input.up_to(6)?;
    if magic.starts_with(npz::MAGIC) {
        let io = |source| DataError::Io { action: "open", path: path.into(), source };
        return npz::read(path, BufReader::new(std::fs::File::open(path).map_err(io)?));
    }
    if magic.starts_with(npy::MAGIC) {
        let (shape, train) = npy::images(Input::open(path)?)?.into_items(path, None)?;
        return Ok(Splits { shape, train, validation: None, test: None, notes: Vec::new() });
    }
    if magic.starts_with(&idx::MAGIC_START) {
        return idx::read_file(path);
    }
    let name = path.file_name().unwrap_or_default();
    let found = if cifar::names(name) {
        "it is one batch of CIFAR; give the folder that holds all of them".into()
    } else if is_archive(name) {
        "it is an archive; unpack it and give the folder".into()
    } else {
        format!("it starts with the bytes {}", hex(&magic))
    };
    Err(DataError::Unrecognized { path: path.into(), found })
}

/// Whether a file is named like a packed folder.
fn is_archive(name: &OsStr) -> bool {
    let name = name.to_string_lossy().to_ascii_lowercase();
    [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar"]
        .iter()
        .any(|end| name.ends_with(end))
}
