//! A data set in memory: bytes, labels, the three splits, and the hash that identifies them.

use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::DataError;

/// The shape of one item: channels × height × width.
///
/// A point of the plane is one channel of one row of two columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// 1 for gray, 3 for red, green and blue.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Shape {
    /// The number of values of one item: the D of bits per dimension.
    ///
    /// ```
    /// let shape = vdm_data::Shape { channels: 3, height: 32, width: 32 };
    /// assert_eq!(shape.dims(), 3072);
    /// ```
    #[must_use]
    pub fn dims(&self) -> usize {
        self.channels * self.height * self.width
    }
}

/// Items of one split: pixels in `[N, C, H, W]` order and, where the source has them, labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items {
    dims: usize,
    pixels: Vec<u8>,
    labels: Option<Vec<u32>>,
}

impl Items {
    /// Items of `dims` bytes each; `origin` is named in errors.
    ///
    /// # Errors
    /// [`DataError::Empty`] without pixels or with `dims` = 0, [`DataError::Shape`] if the pixels
    /// are no whole number of items, [`DataError::LabelCount`] unless labels are one per item.
    ///
    /// ```
    /// use vdm_data::Items;
    /// let items = Items::new("mine".as_ref(), 2, vec![1, 2, 3, 4], Some(vec![0, 9]))?;
    /// assert_eq!(items.len(), 2);
    /// assert_eq!(items.item(1), [3, 4]);
    /// assert_eq!(items.gather(&[1, 0, 1]), [3, 4, 1, 2, 3, 4]);
    /// # Ok::<(), vdm_data::DataError>(())
    /// ```
    pub fn new(
        origin: &Path,
        dims: usize,
        pixels: Vec<u8>,
        labels: Option<Vec<u32>>,
    ) -> Result<Self, DataError> {
        if dims == 0 || pixels.is_empty() {
            return Err(DataError::Empty { path: origin.into(), what: "pixels" });
        }
        if !pixels.len().is_multiple_of(dims) {
            return Err(DataError::Shape {
                path: origin.into(),
                found: format!("({},)", pixels.len()),
                expected: format!("a whole number of items of {dims} bytes"),
            });
        }
        let items = pixels.len() / dims;
        if let Some(labels) = labels.as_ref().filter(|labels| labels.len() != items) {
            return Err(DataError::LabelCount { path: origin.into(), labels: labels.len(), items });
        }
        Ok(Self { dims, pixels, labels })
    }

    /// The number of items, at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no Items are empty: `new` refuses them")]
    pub fn len(&self) -> usize {
        self.pixels.len() / self.dims
    }

    /// The bytes of item `index`, in `[C, H, W]` order. Panics out of bounds, like a slice.
    #[must_use]
    pub fn item(&self, index: usize) -> &[u8] {
        &self.pixels[index * self.dims..][..self.dims]
    }

    /// All pixels, in `[N, C, H, W]` order.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// One label an item, if the source has labels.
    #[must_use]
    pub fn labels(&self) -> Option<&[u32]> {
        self.labels.as_deref()
    }

    /// The bytes of the items at `indices`, one after the other. Panics out of bounds.
    #[must_use]
    pub fn gather(&self, indices: &[usize]) -> Vec<u8> {
        let mut pixels = Vec::with_capacity(indices.len() * self.dims);
        for &index in indices {
            pixels.extend_from_slice(self.item(index));
        }
        pixels
    }

    /// The items at `indices`, of which there is at least one, with their labels. Panics out of
    /// bounds.
    #[must_use]
    pub fn select(&self, indices: &[usize]) -> Self {
        let labels = self.labels.as_ref().map(|all| indices.iter().map(|&i| all[i]).collect());
        Self { dims: self.dims, pixels: self.gather(indices), labels }
    }
}

/// A data set with fixed splits.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// A short name for reports, such as `digits` or the name of the file.
    pub name: String,
    /// The shape of one item.
    pub shape: Shape,
    /// The number of gray values: pixels are 0 to `values - 1`.
    pub values: u16,
    /// What the model learns from.
    pub train: Items,
    /// What choices are made on.
    pub validation: Items,
    /// What is reported.
    pub test: Items,
    /// Identifies the data, whatever file they came from; 64 hexadecimal digits.
    ///
    /// SHA-256 of: the ASCII bytes `vdm-data 1` and a line feed; channels, height, width and
    /// values as 64-bit little-endian integers; then for train, validation and test in turn the
    /// number of items (64-bit little-endian), the pixels, a byte that is 1 if there are labels
    /// and 0 if not, and the labels as 32-bit little-endian integers.
    pub sha256: String,
    /// What whoever uses the data should know: what was left out or changed on the way. Sentences
    /// without a full stop.
    pub notes: Vec<String>,
}

impl Dataset {
    /// Puts the splits together after checking every pixel against `values`.
    pub(crate) fn new(
        origin: &Path,
        name: String,
        shape: Shape,
        values: u16,
        [train, validation, test]: [Items; 3],
    ) -> Result<Self, DataError> {
        for items in [&train, &validation, &test] {
            let out_of_range = items.pixels.iter().find(|&&pixel| u16::from(pixel) >= values);
            if let Some(&found) = out_of_range {
                return Err(DataError::PixelRange { path: origin.into(), found, values });
            }
        }
        let sha256 = fingerprint(shape, values, [&train, &validation, &test]);
        let notes = Vec::new();
        Ok(Self { name, shape, values, train, validation, test, sha256, notes })
    }

    /// The items of all splits: train, then validation, then test. They have labels if each split does.
    #[must_use]
    pub fn all(&self) -> Items {
        let splits = [&self.train, &self.validation, &self.test];
        let labels: Option<Vec<&[u32]>> = splits.iter().map(|items| items.labels()).collect();
        Items {
            dims: self.train.dims,
            pixels: splits.map(|items| items.pixels()).concat(),
            labels: labels.map(|labels| labels.concat()),
        }
    }
}

/// The hash that [`Dataset::sha256`] documents.
fn fingerprint(shape: Shape, values: u16, splits: [&Items; 3]) -> String {
    let mut hash = Sha256::new();
    hash.update(b"vdm-data 1\n");
    for number in [shape.channels, shape.height, shape.width, usize::from(values)] {
        hash.update((number as u64).to_le_bytes());
    }
    for items in splits {
        hash.update((items.len() as u64).to_le_bytes());
        hash.update(&items.pixels);
        hash.update([u8::from(items.labels.is_some())]);
        for label in items.labels.iter().flatten() {
            hash.update(label.to_le_bytes());
        }
    }
    hash.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a String cannot fail");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(pixels: &[u8], labels: Option<&[u32]>) -> Items {
        Items::new("test".as_ref(), 2, pixels.to_vec(), labels.map(<[u32]>::to_vec)).unwrap()
    }

    #[test]
    fn the_hash_is_sha256_of_the_documented_bytes() {
        let shape = Shape { channels: 1, height: 1, width: 2 };
        let (train, rest) = (items(&[1, 2, 3, 4], Some(&[5, 6])), items(&[7, 8], None));
        let mut bytes = b"vdm-data 1\n".to_vec();
        for number in [1u64, 1, 2, 256] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend([2, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 1, 5, 0, 0, 0, 6, 0, 0, 0]);
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0, 7, 8, 0].repeat(2));
        let expected: String =
            Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(fingerprint(shape, 256, [&train, &rest, &rest]), expected);
    }

    #[test]
    fn items_refuse_what_is_not_whole() {
        let new =
            |dims, pixels: &[u8], labels| Items::new("f".as_ref(), dims, pixels.into(), labels);
        assert!(matches!(new(0, &[1], None), Err(DataError::Empty { .. })));
        assert!(matches!(new(2, &[], None), Err(DataError::Empty { .. })));
        assert!(matches!(new(2, &[1, 2, 3], None), Err(DataError::Shape { .. })));
        let error = new(2, &[1, 2], Some(vec![1, 2])).unwrap_err();
        assert!(matches!(error, DataError::LabelCount { labels: 2, items: 1, .. }));
    }

    #[test]
    fn all_items_are_those_of_the_splits_in_order() {
        let shape = Shape { channels: 1, height: 1, width: 2 };
        let data = |last: Option<&[u32]>| {
            let splits = [
                items(&[1, 2, 3, 4], Some(&[0, 1])),
                items(&[5, 6], Some(&[2])),
                items(&[7, 8], last),
            ];
            Dataset::new("test".as_ref(), "test".into(), shape, 256, splits).unwrap()
        };
        assert_eq!(data(Some(&[3])).all(), items(&[1, 2, 3, 4, 5, 6, 7, 8], Some(&[0, 1, 2, 3])));
        assert_eq!(data(None).all(), items(&[1, 2, 3, 4, 5, 6, 7, 8], None));
    }
}
