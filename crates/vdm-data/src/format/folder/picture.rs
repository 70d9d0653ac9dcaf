//! One picture: its size before it is decoded, its pixels, and the square that is kept of it.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use image::codecs::png::PngDecoder;
use image::imageops::{self, FilterType};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, Limits, RgbImage};

use super::budget::{Budget, Loan};
use super::jpeg;
use super::kind::PNG;
use crate::DataError;

/// The longest side of a picture.
const MAX_SIDE: usize = 32_768;
/// The most memory for what a PNG file holds beside its pixels, such as color profiles.
const MAX_METADATA: u64 = 4 << 20;

/// A picture at its final size, laid over white.
pub(super) struct Picture {
    pub(super) pixels: RgbImage,
    pub(super) color: bool,
    pub(super) transparent: bool,
    /// Whether it had more than 8 bits a value.
    pub(super) deep: bool,
    /// Whether it had another size.
    pub(super) resized: bool,
}

/// What is known of a picture before it is decoded.
pub(super) struct Size {
    pub(super) width: usize,
    pub(super) height: usize,
    /// What decoding it takes in memory.
    pub(super) bytes: u64,
}

/// Decodes a file, by its content: many a file called .jpg is a PNG.
pub(super) fn read(path: &Path, side: usize, budget: &Budget) -> Result<Picture, DataError> {
    let failed = |source| DataError::Image { path: path.into(), source };
    let io = |error: io::Error| failed(error.into());
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let mut start = Vec::new();
    (&mut file).take(PNG.len() as u64).read_to_end(&mut start).map_err(io)?;
    file.rewind().map_err(io)?;
    if start.starts_with(jpeg::MAGIC) {
        let mut size = jpeg::size(&mut file).map_err(|error| failed(error.into()))?;
        size.bytes += file.get_ref().metadata().map_err(io)?.len();
        let _loan = admit(path, &size, side, budget)?;
        let mut bytes = Vec::new();
        file.rewind().map_err(io)?;
        file.take(Budget::LIMIT).read_to_end(&mut bytes).map_err(io)?;
        let (image, orientation) = jpeg::decode(&bytes).map_err(|error| failed(error.into()))?;
        return Ok(finish(image, orientation, side));
    }
    if start != PNG {
        let found = if start.is_empty() { "it is empty" } else { "it is neither a PNG nor a JPEG" };
        return Err(failed(found.into()));
    }
    let is_indexed = is_indexed(&mut file).map_err(io)?;
    let png = |error: ImageError| failed(error.into());
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_METADATA);
    let mut decoder = PngDecoder::with_limits(file, limits).map_err(png)?;
    let _loan = admit(path, &png_size(&decoder), side, budget)?;
    let orientation = decoder.orientation().map_err(png)?;
    let image = DynamicImage::from_decoder(decoder).map_err(png)?;
    if is_indexed {
        check_indices(BufReader::new(File::open(path).map_err(io)?)).map_err(failed)?;
    }
    Ok(finish(image, orientation, side))
}

/// Whether a PNG has indices into a palette, by the color type in its header. At its start before and after.
fn is_indexed(file: &mut (impl Read + Seek)) -> io::Result<bool> {
    const COLOR_TYPE: u64 = 25;
    let mut header = Vec::new();
    file.take(COLOR_TYPE + 1).read_to_end(&mut header)?;
    file.rewind()?;
    Ok(header.get(COLOR_TYPE as usize) == Some(&(png::ColorType::Indexed as u8)))
}

/// That every index of a PNG has a color: a decoder makes black of one that has none.
fn check_indices(file: impl io::BufRead + Seek) -> Result<(), Box<dyn Error + Send + Sync>> {
    let limits = png::Limits { bytes: MAX_METADATA as usize };
    let mut reader = png::Decoder::new_with_limits(file, limits).read_info()?;
    let info = reader.info();
    let (bits, width) = (info.bit_depth as u8, info.width as usize);
    let colors = info.palette.as_ref().map_or(0, |palette| palette.len() / 3);
    while let Some(row) = reader.next_row()? {
        let parts = row.data().iter().flat_map(|byte| {
            (1..=8 / bits).map(move |part| byte >> (8 - part * bits) & (u8::MAX >> (8 - bits)))
        });
        // Interlaced rows are shorter; what encoders fill their last byte with is 0.
        if let Some(index) = parts.take(width).find(|index| usize::from(*index) >= colors) {
            return Err(format!("it has color {index} of a palette of {colors}").into());
        }
    }
    Ok(())
}

fn png_size(decoder: &impl ImageDecoder) -> Size {
    let (width, height) = decoder.dimensions();
    let color = decoder.color_type();
    // The copies that `over_white` makes: in 8 bits with alpha, and without.
    let copies = match (color.has_alpha(), color.bytes_per_pixel()) {
        (true, 4) | (false, 1 | 2 | 6) => 3,
        (true, _) => 7,
        (false, _) => 0,
    };
    let bytes = decoder.total_bytes().saturating_add(u64::from(width) * u64::from(height) * copies);
    Size { width: width as usize, height: height as usize, bytes }
}

/// Memory for a picture, if it is one that may be decoded.
fn admit<'a>(
    path: &Path,
    size: &Size,
    side: usize,
    budget: &'a Budget,
) -> Result<Loan<'a>, DataError> {
    let &Size { width, height, bytes } = size;
    // Resizing keeps rows of four floats.
    let resized = if width.min(height) == side { 0 } else { 16 * side as u64 };
    let needed = bytes.saturating_add(resized * width.min(height) as u64);
    if width.max(height) > MAX_SIDE || needed > Budget::LIMIT {
        let (path, limit) = (path.into(), Budget::LIMIT);
        return Err(DataError::PictureSize { path, width, height, needed, limit, side: MAX_SIDE });
    }
    Ok(budget.lend(needed))
}

fn finish(image: DynamicImage, orientation: Orientation, side: usize) -> Picture {
    let kind = image.color();
    let (color, transparent) = (kind.has_color(), kind.has_alpha());
    let deep = kind.bytes_per_pixel() > kind.channel_count();
    let resized = (image.width() as usize, image.height() as usize) != (side, side);
    // Turned when it is small, which takes no copy of the whole.
    let mut square = DynamicImage::from(square(&over_white(image), side as u32));
    square.apply_orientation(orientation);
    Picture { pixels: square.into_rgb8(), color, transparent, deep, resized }
}

/// Lays an image over white and drops its alpha channel.
fn over_white(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let image = image.into_rgba8();
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [color @ .., alpha] = image.get_pixel(x, y).0.map(u32::from);
        // Rounded to nearest, and at most 255.
        color.map(|value| ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8).into()
    })
}

/// The square in the middle at `size` × `size`; a picture of that size is left as it is.
fn square(image: &RgbImage, size: u32) -> RgbImage {
    let (width, height) = image.dimensions();
    let side = width.min(height);
    let (left, top) = ((width - side) / 2, (height - side) / 2);
    let middle = imageops::crop_imm(image, left, top, side, side);
    match side == size {
        true => middle.to_image(),
        false => imageops::resize(&*middle, size, size, FilterType::Triangle),
    }
}
