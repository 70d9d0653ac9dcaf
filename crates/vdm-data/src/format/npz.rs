//! `NumPy`'s `.npz` archives: a zip of `.npy` files, found by the names that data sets give them.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::{npy, same_shape};
use crate::input::Input;
use crate::split::Splits;
use crate::{DataError, Items, Shape};

/// How every zip archive with a member starts.
pub(crate) const MAGIC: &[u8] = b"PK\x03\x04";

/// The names one split's images and labels may have.
struct Names {
    images: &'static [&'static str],
    labels: &'static [&'static str],
}

const TRAIN: Names = Names {
    images: &["x_train", "train", "train_images", "train_x"],
    labels: &["y_train", "train_labels", "train_y"],
};
const VALIDATION: Names = Names {
    images: &["x_val", "val", "val_images", "val_x", "x_validation", "validation"],
    labels: &["y_val", "val_labels", "val_y", "y_validation", "validation_labels"],
};
const TEST: Names = Names {
    images: &["x_test", "test", "test_images", "test_x"],
    labels: &["y_test", "test_labels", "test_y"],
};
const WHOLE: Names = Names { images: &["x", "images", "arr_0"], labels: &["y", "labels"] };

/// The splits an archive holds; `path` is named in errors.
pub(crate) fn read(path: &Path, reader: impl Read + Seek) -> Result<Splits, DataError> {
    let mut archive = Archive::open(path, reader)?;
    let Some((shape, train)) = archive.split(&TRAIN)? else {
        let (shape, train) = archive.whole()?;
        let notes = archive.notes();
        return Ok(Splits { shape, train, validation: None, test: None, notes });
    };
    let mut other = |names| -> Result<Option<Items>, DataError> {
        let Some((other_shape, items)) = archive.split(names)? else { return Ok(None) };
        same_shape(&path.join(names.images[0]), other_shape, shape)?;
        Ok(Some(items))
    };
    let (validation, test) = (other(&VALIDATION)?, other(&TEST)?);
    Ok(Splits { shape, train, validation, test, notes: archive.notes() })
}

struct Archive<'a, R> {
    path: &'a Path,
    zip: ZipArchive<R>,
    /// Bytes of the whole archive.
    length: u64,
    /// The arrays' names, without `.npy`.
    names: Vec<String>,
    /// Names of arrays that were not read.
    left: Vec<String>,
}

impl<'a, R: Read + Seek> Archive<'a, R> {
    fn open(path: &'a Path, mut reader: R) -> Result<Self, DataError> {
        let io = |source| DataError::Io { action: "read", path: path.into(), source };
        let length = reader.seek(SeekFrom::End(0)).map_err(io)?;
        let damaged =
            |source: ZipError| DataError::Damaged { path: path.into(), source: source.into() };
        let zip = ZipArchive::new(reader).map_err(damaged)?;
        let files = zip.file_names().collect::<Result<Vec<_>, _>>().map_err(damaged)?;
        let names = files.iter().filter_map(|file| file.strip_suffix(".npy")).map(Into::into);
        let names: Vec<String> = names.collect();
        Ok(Self { path, zip, length, left: names.clone(), names })
    }

    /// The images and labels of a split, if the archive has it.
    fn split(&mut self, names: &Names) -> Result<Option<(Shape, Items)>, DataError> {
        match self.first_of(names.images) {
            Some(images) => self.items(&images, names.labels).map(Some),
            None => Ok(None),
        }
    }

    /// The images and labels of an archive without splits: under their names, or alone.
    fn whole(&mut self) -> Result<(Shape, Items), DataError> {
        // What is named as a part of a data set is no whole one.
        let is_part =
            |name: &String| [VALIDATION, TEST].iter().any(|names| names.images.contains(&&**name));
        let alone =
            || self.names.first().filter(|name| self.names.len() == 1 && !is_part(name)).cloned();
        match self.first_of(WHOLE.images).or_else(alone) {
            Some(images) => self.items(&images, WHOLE.labels),
            None => {
                Err(DataError::Arrays { path: self.path.into(), found: inventory(&self.names) })
            }
        }
    }

    fn first_of(&self, candidates: &[&str]) -> Option<String> {
        let known = |candidate: &&&str| self.names.iter().any(|name| name == **candidate);
        candidates.iter().find(known).map(|&name| name.into())
    }

    fn items(&mut self, images: &str, labels: &[&str]) -> Result<(Shape, Items), DataError> {
        let images = npy::images(self.member(images)?)?;
        let labels = match self.first_of(labels) {
            Some(name) => Some(npy::labels(self.member(&name)?)?),
            None => None,
        };
        images.into_items(self.path, labels)
    }

    fn member(&mut self, name: &str) -> Result<Input<'_>, DataError> {
        let file = format!("{name}.npy");
        let path = self.path.join(&file);
        self.left.retain(|left| left != name);
        let member = match self.zip.by_name(&file) {
            Ok(member) => member,
            Err(ZipError::UnsupportedArchive(_)) => return Err(DataError::Compression { path }),
            Err(source) => return Err(DataError::Damaged { path, source: source.into() }),
        };
        if !matches!(member.compression(), CompressionMethod::Stored | CompressionMethod::Deflated)
        {
            return Err(DataError::Compression { path });
        }
        // No member has more, whatever its header says.
        let stored = member.compressed_size().min(self.length);
        Ok(Input::compressed(path, member, stored))
    }

    /// Which arrays were left out, if any were.
    fn notes(&self) -> Vec<String> {
        let note = || format!("arrays of other names were left out: {}", inventory(&self.left));
        Vec::from_iter((!self.left.is_empty()).then(note))
    }
}

/// Names for a message.
fn inventory(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown = names.iter().take(SHOWN).map(|name| name.escape_debug().to_string());
    match (names.len(), shown.collect::<Vec<_>>().join(", ")) {
        (0, _) => "no arrays".into(),
        (count, names) if count > SHOWN => format!("{names} and {} more", count - SHOWN),
        (_, names) => names,
    }
}
