//! A folder of PNG and JPEG images of any size.
//!
//! Each image is turned as its EXIF data say, laid over white where it is transparent, cropped to
//! the square in its middle, resized with a triangle filter (as wide as the reduction, so that it
//! does not alias) unless it has the right size already, and reduced to 8 bits. If all images are
//! gray, one channel is kept; otherwise all have three.
//!
//! The first level of sub-folders gives the labels, in sorted order of names, if every image lies
//! in one. If there is a sub-folder `train` and one of `test`, `val`, `valid` and `validation`,
//! these are the splits; each is then read as such a folder, and they share the classes. Names that
//! start with a dot and files that are no images are skipped; symbolic links to folders are not
//! followed.

mod decode;
mod scan;

use std::path::Path;

use decode::decode;

use crate::input::product;
use crate::split::Splits;
use crate::{DataError, Shape};

const DEFAULT_SIZE: usize = 32;
const MAX_SIZE: usize = 4096;

/// The images below `root` at `size` × `size` pixels.
pub(crate) fn read(root: &Path, size: Option<usize>) -> Result<Splits, DataError> {
    let size = size.unwrap_or(DEFAULT_SIZE);
    if !(1..=MAX_SIZE).contains(&size) {
        let expected = "a side of 1 to 4,096 pixels";
        return Err(DataError::Option { name: "size", value: size.to_string(), expected });
    }
    let folders = scan::splits(root)?;
    let count = folders.all().map(|folder| folder.entries.len() as u64).sum();
    product(root, &[count, 3, size as u64, size as u64], "pixels")?;
    let classes = scan::classes(folders.all());

    let decoded = folders.try_map(|folder| decode(folder, size))?;
    let color = decoded.all().any(|images| images.color);
    let shape = Shape { channels: if color { 3 } else { 1 }, height: size, width: size };
    let items = decoded.try_map(|images| images.into_items(shape, classes.as_deref()))?;
    Ok(Splits { shape, train: items.train, validation: items.validation, test: items.test })
}

/// Something for each split that the folder has.
struct PerSplit<T> {
    train: T,
    validation: Option<T>,
    test: Option<T>,
}

impl<T> PerSplit<T> {
    fn all(&self) -> impl Iterator<Item = &T> {
        [Some(&self.train), self.validation.as_ref(), self.test.as_ref()].into_iter().flatten()
    }

    fn try_map<U>(self, f: impl Fn(T) -> Result<U, DataError>) -> Result<PerSplit<U>, DataError> {
        Ok(PerSplit {
            train: f(self.train)?,
            validation: self.validation.map(&f).transpose()?,
            test: self.test.map(&f).transpose()?,
        })
    }
}
