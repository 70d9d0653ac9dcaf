//! Where data come from, as a configuration names it, and loading it.

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
/// assert_eq!(source, Source::Path { path: "pictures".into(), size: Some(64), levels: None });
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// 1,797 handwritten digits of 8×8 pixels and 17 gray levels, embedded: the test set of
    /// *Optical Recognition of Handwritten Digits* (Alpaydin and Kaynak, UCI, CC BY 4.0).
    // Braces, because serde ignores unknown fields of a unit variant.
    Digits {},
    /// The 8-bit swirl of the VDM paper's notebook; see [`swirl_law`](crate::swirl_law).
    Swirl {
        /// Training points, 1 to 100,000,000; 100,000 unless given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        items: Option<usize>,
    },
    /// Five Gaussian clusters in 8 bits; see [`clusters_law`](crate::clusters_law).
    Clusters {
        /// Training points, 1 to 100,000,000; 100,000 unless given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        items: Option<usize>,
    },
    /// A file or folder, recognized by its content:
    ///
    /// - a folder with the four IDX files of MNIST or Fashion-MNIST (`train-images-idx3-ubyte`, …,
    ///   plain or `.gz`), or one IDX file of images;
    /// - a folder with CIFAR-10's binary batches, or one holding `cifar-10-batches-bin`;
    /// - `.npy`, uint8 of shape (N, H, W) or (N, H, W, C);
    /// - `.npz` with one such array, with `x` (and labels `y`), or with `x_train`, `x_test`, `x_val`
    ///   (and `y_train`, …), where `train`, `train_images` and the like serve too;
    /// - a folder of PNG and JPEG images, whose sub-folders are classes.
    Path {
        /// The file or folder.
        path: PathBuf,
        /// For a folder of images: the side they are cropped and resized to, 1 to 4,096; 32 unless
        /// given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<usize>,
        /// The number of gray levels, 2 to 256, if the pixels use fewer than 256.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        levels: Option<u16>,
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
        Source::Path { path, size, levels } => load_path(path, *size, *levels),
    }
}

fn load_path(path: &Path, size: Option<usize>, levels: Option<u16>) -> Result<Dataset, DataError> {
    let levels = levels.unwrap_or(256);
    if !(2..=256).contains(&levels) {
        let expected = "2 to 256 gray levels";
        return Err(DataError::Option { name: "levels", value: levels.to_string(), expected });
    }
    let io = |source| DataError::Io { action: "open", path: path.into(), source };
    let splits = if path.metadata().map_err(io)?.is_dir() {
        read_folder(path, size)?
    } else {
        refuse_size(size)?;
        read_file(path)?
    };
    let shape = splits.shape;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Dataset::new(path, name, shape, levels, split::complete(path, splits)?)
}

fn read_folder(path: &Path, size: Option<usize>) -> Result<Splits, DataError> {
    if idx::recognizes(path) {
        refuse_size(size)?;
        return idx::read_folder(path);
    }
    if let Some(batches) = cifar::folder_of_batches(path) {
        refuse_size(size)?;
        return cifar::read_folder(&batches);
    }
    if path.join("data_batch_1").is_file() {
        let found = "it is CIFAR-10 as Python pickles; fetch the binary version \
                     (cifar-10-binary.tar.gz)";
        return Err(DataError::Unrecognized { path: path.into(), found: found.into() });
    }
    folder::read(path, size)
}

fn read_file(path: &Path) -> Result<Splits, DataError> {
    let mut input = Input::open(path)?;
    let magic = input.up_to(6)?;
    if magic.starts_with(npz::MAGIC) {
        let io = |source| DataError::Io { action: "open", path: path.into(), source };
        return npz::read(path, BufReader::new(std::fs::File::open(path).map_err(io)?));
    }
    let images = if magic.starts_with(npy::MAGIC) {
        npy::images(Input::open(path)?)?
    } else if magic.starts_with(&idx::MAGIC_START) {
        idx::images(path)?
    } else {
        let found = format!("it starts with the bytes {}", hex(&magic));
        return Err(DataError::Unrecognized { path: path.into(), found });
    };
    let (shape, train) = images.into_items(path, None)?;
    Ok(Splits { shape, train, validation: None, test: None })
}

/// Only pictures are resized: a size that would be ignored is an error.
fn refuse_size(size: Option<usize>) -> Result<(), DataError> {
    let expected = "no size, except for a folder of PNG or JPEG images";
    match size {
        Some(size) => Err(DataError::Option { name: "size", value: size.to_string(), expected }),
        None => Ok(()),
    }
}
