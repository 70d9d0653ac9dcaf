//! Decoding, cropping and resizing on a few threads.

use std::error::Error;
use std::num::NonZero;
use std::panic::{catch_unwind, resume_unwind};
use std::path::Path;
use std::thread;

use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage};

use super::scan::{Entry, Folder};
use crate::prefetch::panic_message;
use crate::{DataError, Items, Shape};

/// Beyond eight, reading the files is what takes the time.
const MAX_THREADS: usize = 8;
/// The longest side of an image file.
const MAX_SIDE: u32 = 32_768;
/// The most memory that decoding one image may take: 100 megapixels of color.
const MAX_IMAGE_BYTES: u64 = 300_000_000;

/// The images of a folder as `[N, 3, size, size]`.
pub(super) struct Decoded {
    folder: Folder,
    pixels: Vec<u8>,
    /// Whether any of them is in color; if not, the three channels are the same.
    pub(super) color: bool,
}

/// Decodes all images of a folder; the error is the first image's that has one.
pub(super) fn decode(folder: Folder, size: usize) -> Result<Decoded, DataError> {
    let dims = 3 * size * size;
    let mut pixels = vec![0; folder.entries.len() * dims];
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS);
    let share = folder.entries.len().div_ceil(threads);
    let color = thread::scope(|scope| {
        let shares = folder.entries.chunks(share).zip(pixels.chunks_mut(share * dims));
        let workers: Vec<_> = shares
            .map(|(entries, pixels)| scope.spawn(move || decode_share(entries, pixels, size)))
            .collect();
        let mut color = false;
        for worker in workers {
            color |= worker.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        }
        Ok(color)
    })?;
    Ok(Decoded { folder, pixels, color })
}

/// Decodes images into their places; whether any is in color.
fn decode_share(entries: &[Entry], pixels: &mut [u8], size: usize) -> Result<bool, DataError> {
    let mut any_color = false;
    for (entry, pixels) in entries.iter().zip(pixels.chunks_mut(3 * size * size)) {
        // A decoder's panic would be a bug of the decoder; the user still learns which file it was.
        let (image, color) = catch_unwind(|| decode_file(&entry.path, size))
            .unwrap_or_else(|panic| Err(panic_message(&*panic).into()))
            .map_err(|source| DataError::Image { path: entry.path.clone(), source })?;
        any_color |= color;
        let planes = (0..3).flat_map(|channel| image.as_raw()[channel..].iter().step_by(3));
        for (pixel, value) in pixels.iter_mut().zip(planes) {
            *pixel = *value;
        }
    }
    Ok(any_color)
}

/// One image at its final size, and whether it is in color.
fn decode_file(path: &Path, size: usize) -> Result<(RgbImage, bool), Box<dyn Error + Send + Sync>> {
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_IMAGE_BYTES);

    // By content: many a file called .jpg is a PNG.
    let mut reader = ImageReader::open(path)?.with_guessed_format()?;
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder()?;
    limits.reserve(decoder.total_bytes())?;
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    let color = image.color().has_color();
    Ok((square(&over_white(image), size as u32), color))
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
    let middle = imageops::crop_imm(image, left, top, side, side).to_image();
    if side == size { middle } else { imageops::resize(&middle, size, size, FilterType::Triangle) }
}

impl Decoded {
    /// The items in `shape`, which has one channel or three, labeled if there are classes.
    pub(super) fn into_items(
        self,
        shape: Shape,
        classes: Option<&[std::ffi::OsString]>,
    ) -> Result<Items, DataError> {
        let Self { folder, mut pixels, .. } = self;
        if shape.channels == 1 {
            let images = pixels.chunks_exact(3 * shape.dims());
            pixels = images.flat_map(|image| &image[..shape.dims()]).copied().collect();
        }
        let label = |entry: &Entry| -> Option<u32> {
            let position = classes?.binary_search(entry.class.as_ref()?).ok()?;
            u32::try_from(position).ok()
        };
        let labels = folder.entries.iter().map(label).collect();
        Items::new(&folder.path, shape.dims(), pixels, labels)
    }
}
