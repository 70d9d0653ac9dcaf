//! JPEG: whether a file is whole, and its pixels.
//!
//! Decoders are made to show something whatever they are given: where the data of a scan end early
//! they go on with gray, and no option of theirs refuses all of it. So a file is walked through
//! first ([`scan`]), code by code to the last block, and only one in which nothing is missing or
//! left over is decoded. JPEG has no checksum: damage in the middle that happens to leave the number of
//! blocks as it was is not seen. Bytes behind the end of the picture are other programs' and are left
//! alone.

mod bits;
mod color;
mod frame;
mod scan;

use std::io::{Read, Seek};
use std::sync::Arc;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use bits::Huffman;
use frame::{Frame, is_frame};
use scan::{Scan, Sent, Tables};

use super::picture::Size;

/// How every JPEG file starts.
pub(super) const MAGIC: &[u8] = b"\xff\xd8\xff";

/// Encoders write about ten. Each costs time for every block, whatever it sends.
const MAX_SCANS: usize = 100;

/// What is wrong with a JPEG file.
#[derive(Debug, thiserror::Error)]
pub(super) enum JpegError {
    #[error("it is cut off: no marker ends it")]
    CutOff,
    #[error("it is damaged: the data of a scan end before its last block")]
    ScanEndsEarly,
    #[error("it is damaged: the data of a scan go on after its last block")]
    ScanGoesOn,
    #[error("it is cut off: scans are missing, so that a part of the picture was never sent")]
    ScansMissing,
    #[error("it is damaged: a code in its data stands for nothing")]
    Code,
    #[error("it is damaged: a table of codes is none")]
    Table,
    #[error("it is damaged: a scan uses a table that the file does not have")]
    TableMissing,
    #[error("it is damaged: the header of {0} does not fit")]
    Header(&'static str),
    #[error("it has more than {MAX_SCANS} scans")]
    Scans,
    #[error(
        "it has {0} components, which no color space has; save it in gray (one) or in color (three)"
    )]
    Components(usize),
    #[error("it uses {0}, which is not read; save it as a baseline or progressive JPEG")]
    Unsupported(&'static str),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Decoder(String),
}

/// The size of the picture in a file, and the bytes that decoding it takes.
pub(super) fn size(file: impl Read + Seek) -> Result<Size, JpegError> {
    let (frame, together) = Frame::find(file).map_err(|error| match error {
        JpegError::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            JpegError::CutOff
        }
        other => other,
    })?;
    let pixels = (frame.width * frame.height) as u64;
    // A coefficient has two bytes, a block 64 of them and eight bytes of the walk.
    let stored = if frame.progressive || !together { frame.blocks() * (2 * 64 + 8) } else { 0 };
    // Gray ones are copied into three channels.
    let samples = if frame.components.len() == 1 { 1 + 3 } else { 3 };
    Ok(Size { width: frame.width, height: frame.height, bytes: pixels * samples + stored })
}

/// The picture in a file, and how it is to be turned.
pub(super) fn decode(bytes: &[u8]) -> Result<(DynamicImage, Orientation), JpegError> {
    let whole = Whole::check(bytes)?;
    let options = DecoderOptions::default().set_strict_mode(true);
    // So that the decoder takes no other frame than the one that was checked.
    let options = options.set_max_width(whole.frame.width).set_max_height(whole.frame.height);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let failed = |error| JpegError::Decoder(format!("{error:?}"));
    decoder.decode_headers().map_err(failed)?;
    let taken_for = decoder.input_colorspace();
    let gray = whole.frame.components.len() == 1;
    let colors = if gray { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(options.jpeg_set_out_colorspace(colors));
    let mut samples = decoder.decode().map_err(failed)?;
    // What the decoder takes for red, green and blue it hands on as it is. It goes by the components'
    // names before all else, and by Adobe's marker next.
    if whole.ycbcr && !matches!(taken_for, Some(ColorSpace::YCbCr | ColorSpace::YCCK)) {
        samples.as_chunks_mut().0.iter_mut().for_each(|pixel| *pixel = color::from_ycbcr(*pixel));
    }
    let (width, height) = (whole.frame.width as u32, whole.frame.height as u32);
    let image = match gray {
        true => GrayImage::from_raw(width, height, samples).map(DynamicImage::from),
        false => RgbImage::from_raw(width, height, samples).map(DynamicImage::from),
    };
    let image = image.ok_or(JpegError::Decoder("fewer samples than pixels".into()))?;
    Ok((image, whole.orientation))
}

/// A file that has all it promises.
struct Whole {
    frame: Frame,
    /// Of three components: whether they are luminance and differences of color.
    ycbcr: bool,
    orientation: Orientation,
}

impl Whole {
    /// Walks through all segments and scans of a file.
    fn check(bytes: &[u8]) -> Result<Self, JpegError> {
        let mut file = Segments { bytes, at: 2 };
        let (mut tables, mut restart) = (Tables::default(), 0);
        let (mut jfif, mut adobe, mut orientation) = (false, None, None);
        let (mut found, mut scans): (Option<(Frame, Sent)>, _) = (None, 0);
        loop {
            let (marker, body) = file.next()?;
            match (marker, body, &mut found) {
                (0xd9, ..) => break,
                (0xc4, body, _) => tables.define(body)?,
                (0xdd, &[high, low], _) => restart = u16::from_be_bytes([high, low]).into(),
                (0xe0, [b'J', b'F', b'I', b'F', 0, rest @ ..], _) => jfif |= rest.len() >= 9,
                (0xe1, [b'E', b'x', b'i', b'f', 0, 0, exif @ ..], _) => {
                    orientation = orientation.or_else(|| Orientation::from_exif_chunk(exif));
                }
                (0xee, [b'A', b'd', b'o', b'b', b'e', _, _, _, _, _, _, transform, ..], _) => {
                    adobe = Some(*transform);
                }
                (0xda, body, Some((frame, sent))) => {
                    scans += 1;
                    if scans > MAX_SCANS {
                        return Err(JpegError::Scans);
                    }
                    let scan = Scan::parse(body, frame, &tables)?;
                    file.at = sent.walk(bytes, file.at, frame, &scan, restart)?;
                    file.skip_restarts();
                }
                (0xc0..=0xcf, body, none @ None) if is_frame(marker) => {
                    let frame = Frame::parse(marker, body)?;
                    let sent = Sent::nothing(&frame);
                    *none = Some((frame, sent));
                }
                (0xc0..=0xcf, ..) => return Err(JpegError::Header("a frame")),
                (0xda | 0xdd, ..) => return Err(JpegError::Header("a scan")),
                (0xdc, ..) => {
                    return Err(JpegError::Unsupported("a height given after the picture"));
                }
                _ => (),
            }
        }
        let (frame, sent) = found.ok_or(JpegError::Header("a frame"))?;
        sent.complete()?;
        let ycbcr = match frame.components[..] {
            [ref a, ref b, ref c] => color::is_ycbcr([a.id, b.id, c.id], jfif, adobe),
            _ => false,
        };
        Ok(Self { frame, ycbcr, orientation: orientation.unwrap_or(Orientation::NoTransforms) })
    }
}

/// The segments of a file between its scans.
struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Segments<'a> {
    /// Some encoders send a restart marker after the last block too.
    fn skip_restarts(&mut self) {
        while let Some([0xff, 0xd0..=0xd7, ..]) = self.bytes.get(self.at..) {
            self.at += 2;
        }
    }

    /// The next marker and the body of its segment.
    fn next(&mut self) -> Result<(u8, &'a [u8]), JpegError> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let (marker, after) = match rest {
                [] | [0xff] => return Err(JpegError::CutOff),
                // Bytes of 0xff may fill the room before a marker.
                [0xff, 0xff, ..] => {
                    self.at += 1;
                    continue;
                }
                [0xff, marker, after @ ..] => (*marker, after),
                _ => return Err(JpegError::Header("a segment")),
            };
            if marker == 0xd9 {
                return Ok((marker, &[]));
            }
            let (length, body) = after.split_first_chunk().ok_or(JpegError::CutOff)?;
            let length = usize::from(u16::from_be_bytes(*length));
            let length = length.checked_sub(2).ok_or(JpegError::Header("a segment"))?;
            self.at += 4 + length;
            return Ok((marker, body.get(..length).ok_or(JpegError::CutOff)?));
        }
    }
}

impl Tables {
    /// Sets the codes that the body of a `DHT` segment defines.
    fn define(&mut self, mut body: &[u8]) -> Result<(), JpegError> {
        while let Some((&[place, ref counts @ ..], rest)) = body.split_first_chunk::<17>() {
            let counts = counts.first_chunk().ok_or(JpegError::Table)?;
            let symbols = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) = rest.split_at_checked(symbols).ok_or(JpegError::Table)?;
            let class = if place >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            let slot = class.get_mut(usize::from(place & 15)).ok_or(JpegError::Table)?;
            *slot = Some(Arc::new(Huffman::new(counts, symbols)?));
            body = rest;
        }
        if body.is_empty() { Ok(()) } else { Err(JpegError::Table) }
    }
}

#[cfg(test)]
mod tests;
