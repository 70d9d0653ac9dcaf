//! Pixels in general image formats: to write them, and to compare a code with.

use std::io::Write;

use anyhow::{Result, ensure};
use image_webp::{ColorType, WebPEncoder};
use lzma_rust2::{LzmaOptions, LzmaWriter};
use png::{BitDepth, Compression};
use vdm_data::{Items, Shape};

use crate::output::channels_last;

/// The smallest that LZMA offers, and the slowest.
const LZMA_PRESET: u32 = 9;
/// The least window that LZMA can have.
const LZMA_WINDOW: u32 = 1 << 12;
/// The longest side a WebP file can have.
const WEBP_SIDE: usize = 1 << 14;

/// Gray or color pixels, rows from the top, channels last.
struct Raster<'a> {
    pixels: &'a [u8],
    width: u32,
    height: u32,
    color: bool,
}

impl<'a> Raster<'a> {
    /// Items below one another, `[N, H, W, C]`.
    fn new(pixels: &'a [u8], shape: Shape) -> Result<Self> {
        let Shape { channels, height, width } = shape;
        ensure!(
            channels == 1 || channels == 3,
            "items of {channels} channels are no pictures: only 1 (gray) and 3 (color) are"
        );
        let height = height * (pixels.len() / shape.dims());
        Ok(Self { pixels, width: width as u32, height: height as u32, color: channels == 3 })
    }

    fn png(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width, self.height);
        encoder.set_color(if self.color { png::ColorType::Rgb } else { png::ColorType::Grayscale });
        encoder.set_depth(BitDepth::Eight);
        encoder.set_compression(Compression::High);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(self.pixels)?;
        writer.finish()?;
        Ok(bytes)
    }

    fn webp(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let color = if self.color { ColorType::Rgb8 } else { ColorType::L8 };
        WebPEncoder::new(&mut bytes).encode(self.pixels, self.width, self.height, color)?;
        Ok(bytes)
    }
}

/// Bytes of a file of LZMA, the format below xz and 7z.
fn lzma(pixels: &[u8]) -> Result<Vec<u8>> {
    let mut options = LzmaOptions::with_preset(LZMA_PRESET);
    // A larger window sees no more, and is allocated for each file.
    let whole = u32::try_from(pixels.len()).unwrap_or(u32::MAX);
    options.dict_size = options.dict_size.min(whole.max(LZMA_WINDOW));
    let mut writer = LzmaWriter::new_use_header(Vec::new(), &options, Some(pixels.len() as u64))?;
    writer.write_all(pixels)?;
    Ok(writer.finish()?)
}

/// One item, `[C, H, W]`, as a PNG file with its values as they are.
pub(crate) fn png_file(item: &[u8], shape: Shape) -> Result<Vec<u8>> {
    Raster::new(&channels_last(item, shape), shape)?.png()
}

/// A line per format: bits per dimension and bytes. PNG and WebP are left out for what is no
/// picture.
pub(crate) fn table(items: &Items, shape: Shape) -> Result<String> {
    let pixels = channels_last(items.pixels(), shape);
    let each = || pixels.chunks_exact(shape.dims());
    let sum = |encode: &dyn Fn(&[u8]) -> Result<Vec<u8>>| -> Result<usize> {
        each().map(|item| Ok(encode(item)?.len())).sum()
    };
    let mut rows = Vec::new();
    if let Ok(column) = Raster::new(&pixels, shape) {
        rows.push(("PNG, a file per image", sum(&|item| Raster::new(item, shape)?.png())?));
        rows.push(("PNG, all in one column", column.png()?.len()));
        if shape.width.max(shape.height) < WEBP_SIDE {
            rows.push(("WebP, a file per image", sum(&|item| Raster::new(item, shape)?.webp())?));
        }
        if shape.width < WEBP_SIDE && (column.height as usize) < WEBP_SIDE {
            rows.push(("WebP, all in one column", column.webp()?.len()));
        }
    }
    rows.push(("LZMA, a file per image", sum(&lzma)?));
    rows.push(("LZMA, all as one", lzma(&pixels)?.len()));
    let line = |(name, bytes): &(&str, usize)| {
        let bits_per_dim = 8.0 * *bytes as f64 / pixels.len() as f64;
        format!("{name:<24} {bits_per_dim:>8.4} bits/dim {bytes:>12} bytes")
    };
    Ok(rows.iter().map(line).collect::<Vec<_>>().join("\n"))
}
