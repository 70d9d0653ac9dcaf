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

/// Gray, gray with alpha, color, color with alpha.
const MAX_CHANNELS: u64 = 4;

/// Images of shape (N, H, W) or (N, H, W, C), brought into `[N, C, H, W]` order.
pub(crate) fn images(mut input: Input<'_>) -> Result<Images, DataError> {
    let header = read_header(&mut input)?;
    if !["|u1", "<u1", ">u1", "=u1", "u1"].contains(&header.descr.as_str()) {
        return Err(wrong_type(input.path(), &header.descr, "uint8 ('|u1')"));
    }
    let (items, height, width, channels) = match header.shape[..] {
        [items, height, width] => (items, height, width, 1),
        [items, height, width, channels] if channels <= MAX_CHANNELS => {
            (items, height, width, channels)
        }
        _ => {
            let expected = "(N, H, W) or (N, H, W, C) with at most 4 channels C, which come last";
            return Err(wrong_shape(input.path(), &header.shape, expected));
        }
    };
    let pixels = input.rest(&[items, height, width, channels], "pixels")?;
    // In range: their product was read.
    let [channels, height, width] = [channels, height, width].map(|size| size as usize);
    let shape = Shape { channels, height, width };
    Ok(Images { shape, pixels: channels_first(pixels, shape) })
}

/// Labels of shape (N,) or (N, 1).
pub(crate) fn labels(mut input: Input<'_>) -> Result<Vec<u32>, DataError> {
    let path = input.path().to_owned();
    let header = read_header(&mut input)?;
    let Some((signed, size)) = integer_type(&header.descr) else {
        return Err(wrong_type(&path, &header.descr, "little-endian integers, such as '<i8'"));
    };
    let ([items] | [items, 1]) = header.shape[..] else {
        return Err(wrong_shape(&path, &header.shape, "(N,) or (N, 1)"));
    };
    let bytes = input.rest(&[items, size as u64], "labels")?;
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
    let header = Header::parse(&text).map_err(malformed)?;
    if header.fortran_order {
        return Err(DataError::FortranOrder { path });
    }
    Ok(header)
}

/// `[N, H, W, C]` to `[N, C, H, W]`.
fn channels_first(pixels: Vec<u8>, shape: Shape) -> Vec<u8> {
    if shape.channels == 1 {
        return pixels;
    }
    let mut planes = Vec::with_capacity(pixels.len());
    for image in pixels.chunks_exact(shape.dims()) {
        for channel in 0..shape.channels {
            planes.extend(image[channel..].iter().step_by(shape.channels));
        }
    }
    planes
}

/// Whether an integer type is signed, and its size in bytes.
fn integer_type(descr: &str) -> Option<(bool, usize)> {
    let (signed, size) = match descr.trim_start_matches(['<', '|', '=']).split_at_checked(1)? {
        ("i", size) => (true, size),
        ("u", size) => (false, size),
        _ => return None,
    };
    let size = size.parse().ok()?;
    [1, 2, 4, 8].contains(&size).then_some((signed, size))
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
