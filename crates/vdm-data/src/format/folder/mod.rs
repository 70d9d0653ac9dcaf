//! A folder of PNG and JPEG images of any size.
//!
//! Each image is laid over white where it is transparent, cropped to the square in its middle, resized
//! with a triangle filter (as wide as the reduction, so that it does not alias) unless it has the right
//! size already, reduced to 8 bits, and turned as its EXIF data say. If all images are gray, one channel
//! is kept; otherwise all have three.
//!
//! Every file below the folder is read, left out with a note ([`kind`]), or refused by its name; linked
//! files and folders count like others. The first level of sub-folders gives the labels, in sorted order
//! of names, if every image lies in one. If the sub-folders are `train` and what is named like a
//! validation or test split, they are the splits; each is then read as such a folder, and they share the
//! classes. If there are no images but, in one of the sub-folders, a data set in another format, that is
//! the data set.

mod budget;
mod decode;
mod jpeg;
mod kind;
mod layout;
mod picture;
mod scan;

use std::path::Path;

use budget::Budget;
use decode::{Seen, decode};
use scan::{Entry, Scan};

use super::another;
use crate::input::product;
use crate::split::Splits;
use crate::{DataError, Shape};

const DEFAULT_SIZE: usize = 32;
const MAX_SIZE: usize = 4096;

/// The data set in a folder.
pub(crate) fn read(root: &Path, size: Option<usize>) -> Result<Splits, DataError> {
    // What a folder holds itself goes before what lies below.
    if let Some(splits) = another(root)? {
        return Ok(splits);
    }
    let found = scan::walk(root)?;
    let path = root.to_owned();
    match (&found.sets[..], found.pictures.first()) {
        ([], _) => pictures(root, found, size),
        ([set, ..], Some(picture)) => {
            Err(DataError::Mixed { picture: picture.path.clone(), set: set.clone() })
        }
        ([set], None) => another(set)?.ok_or(DataError::Empty { path, what: "data set" }),
        (sets, None) => {
            let sets: Vec<_> = sets.iter().map(|set| format!("`{}`", set.display())).collect();
            Err(DataError::Several { path, found: sets.join(", ") })
        }
    }
}

/// The images below `root` at `size` × `size` pixels.
fn pictures(root: &Path, mut found: Scan, size: Option<usize>) -> Result<Splits, DataError> {
    let size = size.unwrap_or(DEFAULT_SIZE);
    if !(1..=MAX_SIZE).contains(&size) {
        let expected = "a side of 1 to 4,096 pixels";
        return Err(DataError::Option { name: "size", value: size.to_string(), expected });
    }
    if let Some(refused) = found.refused.take() {
        return Err(refused);
    }
    let count = found.pictures.len() as u64;
    if count == 0 {
        let path = root.into();
        return Err(match &found.companions[..] {
            [] => DataError::Empty { path, what: "PNG or JPEG images" },
            _ => DataError::NoImages { path, found: found.companions() },
        });
    }
    product(root, &[count, 3, size as u64, size as u64], "pixels")?;
    let mut notes = Vec::from_iter(found.note_of_companions());
    let folders = layout::splits(root, found)?;
    let classes = layout::classes(folders.all());
    if classes.is_none() && folders.all().any(|folder| folder.entries.iter().any(Entry::has_class))
    {
        notes.push(
            "there are no labels: some images lie in no sub-folder that could be their class"
                .into(),
        );
    }

    let budget = Budget::new();
    let decoded = folders.try_map(|folder| decode(folder, size, &budget))?;
    let of_all = |kind: fn(&Seen) -> usize| decoded.all().map(|images| kind(&images.seen)).sum();
    let colored: usize = of_all(|seen| seen.color);
    let color = colored > 0;
    let some: [(usize, String); 4] = [
        (
            of_all(|seen| seen.transparent),
            "have an alpha channel: they were laid over white".into(),
        ),
        (of_all(|seen| seen.deep), "have 16 bits a value: they were reduced to 8".into()),
        (
            // All in color, or none, is as it was.
            if colored as u64 == count { 0 } else { colored },
            "are in color: the gray ones have three equal channels beside them".into(),
        ),
        (
            of_all(|seen| seen.resized),
            format!(
                "were cropped to a square and resized to {size}×{size}, as their size was another"
            ),
        ),
    ];
    let some = some.into_iter().filter(|(images, _)| *images > 0);
    notes.extend(some.map(|(images, what)| format!("{images} of {count} images {what}")));
    let shape = Shape { channels: if color { 3 } else { 1 }, height: size, width: size };
    let items = decoded.try_map(|images| images.into_items(shape, classes.as_deref()))?;
    let PerSplit { train, validation, test } = items;
    Ok(Splits { shape, train, validation, test, notes })
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
