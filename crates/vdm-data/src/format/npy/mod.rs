//! `NumPy`'s `.npy` files: images as uint8, labels as any little-endian integers.

mod header;

use std::path::Path;

use header::{Header, excerpt};

use super::Images;
use crate::input::{Input, hex};
use crate::{DataError, Shape};

/// How every `.npy` file starts; two bytes of version follow.
pub(crate) const MAGIC: &[u8] = b"\x93NUMPY";

/// `NumPy` itself reads no more than 10,000 bytes without being told to.
const MAX_HEADER: u64 = 1 << 16;

/// Images of shape (N, H, W) or (N, H, W, C), brought into `[N, C, H, W]` order.
pub(crate) fn images(mut input: Input<'_>) -> Result<Images, DataError> {
    let header = read_header(&mut input)?;
    if integer_type(&header.descr) != Some(UINT8) {
        return Err(wrong_type(input.path(), &header.descr, "uint8 ('|u1')"));
    }
    let (items, height, width, channels) = match header.shape[..] {
        [items, height, width] => (items, height, width, 1),
        [items, height, width, channels @ (1 | 3)] => (items, height, width, channels),
        [.., channels @ (2 | 4)] if header.shape.len() == 4 => {
            let expected = format!(
                "1 or 3 channels; drop the others first, in NumPy with array[..., :{}]",
                channels - 1
            );
            return Err(wrong_shape(input.path(), &header.shape, &expected));
        }
        _ => {
            let expected = "(N, H, W) or (N, H, W, C) with 1 or 3 channels C, which come last";
            return Err(wrong_shape(input.path(), &header.shape, expected));
        }
    };
    let pixels = input.rest(&[items, height, width, channels], "pixels")?;
    // In range: their product was read.
    let [items, channels, height, width] =
        [items, channels, height, width].map(|size| size as usize);
    let shape = Shape { channels, height, width };
    Ok(Images { shape, pixels: channels_first(pixels, items, shape, header.fortran_order) })
}

/// Labels of shape (N,) or (N, 1).
pub(crate) fn labels(mut input: Input<'_>) -> Result<Vec<u32>, DataError> {
    let path = input.path().to_owned();
    let header = read_header(&mut input)?;
    let Some(Integers { signed, size, big_endian }) = integer_type(&header.descr) else {
        return Err(wrong_type(&path, &header.descr, "integers, such as '<i8'"));
    };
    let ([items] | [items, 1]) = header.shape[..] else {
        return Err(wrong_shape(&path, &header.shape, "(N,) or (N, 1)"));
    };
    let mut bytes = input.rest(&[items, size as u64], "labels")?;
    if big_endian {
        bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
    let label = |(item, bytes)| {
        let found = integer(bytes, signed);
        let expected = "a class from 0 to 4294967295";
        let path = path.clone();
        u32::try_from(found).map_err(|_| DataError::Label { path, item, found, expected })
    };
    bytes.chunks_exact(size).enumerate().map(label).collect()
}

fn read_header(input: &mut Input<'_>) -> Result<Header, DataError> {
    let magic = input.exactly(8, "magic number")?;
    let path = input.path().to_owned();
    if !magic.starts_with(MAGIC) {
        let expected = "a .npy array (93 4e 55 4d 50 59)";
        return Err(DataError::Magic { path, found: hex(&magic), expected });
    }
    let malformed = |reason| DataError::Header { path: path.clone(), reason };
    let width = match magic[6] {
        1 => 2,
        2 | 3 => 4,
        version => return Err(malformed(format!("version {version}, where 1, 2 and 3 are known"))),
    };
    // Two or four bytes, little-endian.
    let length = integer(&input.exactly(width, "header length")?, false) as u64;
    if length > MAX_HEADER {
        let (what, found) = ("header", format!("{length} bytes"));
        return Err(DataError::TooLarge { path, what, found, limit: MAX_HEADER });
    }
    let text = String::from_utf8(input.exactly(length, "header")?)
        .map_err(|_| malformed("it is not UTF-8 text".into()))?;
    Header::parse(&text).map_err(malformed)
}

/// `[N, H, W, C]`, stored with the last size or (`fortran`) the first one running fastest, to
/// `[N, C, H, W]`.
fn channels_first(pixels: Vec<u8>, items: usize, shape: Shape, fortran: bool) -> Vec<u8> {
    let Shape { channels, height, width } = shape;
    if channels == 1 && !fortran {
        return pixels;
    }
    let [of_item, of_row, of_column, of_channel] = match fortran {
        true => [1, items, items * height, items * height * width],
        false => [height * width * channels, width * channels, channels, 1],
    };
    let mut planes = Vec::with_capacity(pixels.len());
    for item in 0..items {
        for channel in 0..channels {
            for row in 0..height {
                let start = item * of_item + channel * of_channel + row * of_row;
                planes.extend(pixels[start..].iter().step_by(of_column).take(width));
            }
        }
    }
    planes
}

/// How integers are stored.
#[derive(Debug, PartialEq, Eq)]
struct Integers {
    signed: bool,
    /// In bytes.
    size: usize,
    /// Never for one byte.
    big_endian: bool,
}

const UINT8: Integers = Integers { signed: false, size: 1, big_endian: false };

/// The integers that a name of `NumPy`'s stands for, which are what the names mean on 64-bit Linux.
fn integer_type(descr: &str) -> Option<Integers> {
    let name = descr.trim_start_matches(['<', '>', '|', '=']);
    if descr.len() - name.len() > 1 {
        return None;
    }
    let (signed, size) = match name {
        "i1" | "b" | "int8" | "byte" => (true, 1),
        "i2" | "h" | "int16" | "short" => (true, 2),
        "i4" | "i" | "int32" | "intc" => (true, 4),
        "i8" | "l" | "q" | "p" | "int64" | "int" | "long" | "longlong" | "intp" => (true, 8),
        "u1" | "B" | "uint8" | "ubyte" => (false, 1),
        "u2" | "H" | "uint16" | "ushort" => (false, 2),
        "u4" | "I" | "uint32" | "uintc" => (false, 4),
        "u8" | "L" | "Q" | "P" | "uint64" | "uint" | "ulong" | "ulonglong" | "uintp" => (false, 8),
        _ => return None,
    };
    Some(Integers { signed, size, big_endian: descr.starts_with('>') && size > 1 })
}

/// A little-endian integer of at most eight bytes.
fn integer(bytes: &[u8], signed: bool) -> i128 {
    let negative = signed && bytes.last().is_some_and(|&byte| byte >= 0x80);
    let mut wide = [if negative { 0xff } else { 0 }; 16];
    wide[..bytes.len()].copy_from_slice(bytes);
    i128::from_le_bytes(wide)
}

fn wrong_type(path: &Path, descr: &str, expected: &'static str) -> DataError {
    let order = if descr.starts_with('>') { " (big-endian)" } else { "" };
    DataError::Dtype { path: path.into(), found: format!("{}{order}", excerpt(descr)), expected }
}

fn wrong_shape(path: &Path, shape: &[u64], expected: &str) -> DataError {
    let sizes = shape.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let found = format!("({sizes})");
    DataError::Shape { path: path.into(), found, expected: expected.into() }
}
