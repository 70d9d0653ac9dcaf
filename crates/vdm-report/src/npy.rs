//! Arrays of bytes and of floats as `NumPy` files, version 1.0 of the format.
//!
//! The header is a short text, so there is no need for a crate that parses Python.

use std::path::Path;

use crate::{Error, files};

/// `NumPy`'s own limit on dimensions before version 2.
const MAX_DIMENSIONS: usize = 32;
/// The data starts at a multiple of this, so that it can be memory-mapped.
const ALIGNMENT: usize = 64;

/// Writes `data` as an array of this `shape`, last index fastest, for `numpy.load`. Atomic.
///
/// # Errors
/// [`Error::Shape`] when the shape does not hold exactly `data.len()` values or has more than 32
/// dimensions, [`Error::Io`] where the system refuses.
pub fn write(path: &Path, data: &[u8], shape: &[usize]) -> Result<(), Error> {
    let mut bytes = header("|u1", data.len(), shape)?;
    bytes.extend_from_slice(data);
    files::write_atomic(path, &bytes)
}

/// Like [`write()`], as 32-bit floats.
///
/// # Errors
/// As [`write()`].
pub fn write_f32(path: &Path, data: &[f32], shape: &[usize]) -> Result<(), Error> {
    let mut bytes = header("<f4", data.len(), shape)?;
    bytes.extend(data.iter().flat_map(|value| value.to_le_bytes()));
    files::write_atomic(path, &bytes)
}

/// `descr` is `NumPy`'s name of the type of an element, of which there are `length`.
fn header(descr: &str, length: usize, shape: &[usize]) -> Result<Vec<u8>, Error> {
    let volume = shape.iter().try_fold(1_usize, |volume, &side| volume.checked_mul(side));
    if volume != Some(length) || shape.len() > MAX_DIMENSIONS {
        return Err(Error::Shape(format!(
            "an array of shape {shape:?} cannot hold {length} values; its product must be {length}, \
             in at most {MAX_DIMENSIONS} dimensions"
        )));
    }
    // A comma after each entry: (3) would be a number in Python, (3,) is a tuple.
    let sides: String = shape.iter().map(|side| format!("{side},")).collect();
    let fields = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sides}), }}");

    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    let text_start = bytes.len() + 2;
    let end = (text_start + fields.len() + 1).next_multiple_of(ALIGNMENT);
    // At most 32 dimensions of 21 characters: far below what 16 bits count.
    bytes.extend_from_slice(&((end - text_start) as u16).to_le_bytes());
    bytes.extend_from_slice(fields.as_bytes());
    bytes.resize(end - 1, b' ');
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_aligned_and_says_what_follows() {
        for shape in [vec![6], vec![2, 3], vec![1; 32], vec![]] {
            let length = shape.iter().product();
            let bytes = header("|u1", length, &shape).unwrap();
            assert_eq!(bytes.len() % 64, 0);
            assert_eq!(bytes[..8], *b"\x93NUMPY\x01\x00");
            let text = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
            assert_eq!(text + 10, bytes.len());
            assert_eq!(bytes.last(), Some(&b'\n'));
        }
        let one = String::from_utf8_lossy(&header("<f4", 6, &[6]).unwrap()).into_owned();
        assert!(one.contains("'descr': '<f4'") && one.contains("'shape': (6,), }"), "{one}");
    }

    #[test]
    fn a_shape_that_does_not_fit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        for shape in [vec![5], vec![usize::MAX, 2], [vec![6], vec![1; 32]].concat()] {
            let message = write(&path, &[0; 6], &shape).unwrap_err().to_string();
            assert!(message.contains("6 values"), "{message}");
        }
        assert!(!path.exists());
    }
}
