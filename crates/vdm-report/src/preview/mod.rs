//! Previews of samples: grids of images, scatters of 2-D points, strips of previews, as PNG.
//!
//! ```
//! use vdm_report::preview::{self, Images, Layout};
//!
//! // Two 2x2 images of 17 levels, black and white.
//! let pixels = [[0; 4], [16; 4]].concat();
//! let images = Images::new(&pixels, [2, 1, 2, 2], 17)?;
//! let grid = preview::grid(&images, Layout { columns: 2, zoom: 3 })?;
//!
//! assert_eq!((grid.width(), grid.height()), (6 + 3 + 6, 6));
//! assert_eq!(grid.pixel(0, 0), [0; 3]);
//! assert_eq!(grid.pixel(14, 5), [255; 3]);
//! # Ok::<(), vdm_report::Error>(())
//! ```

mod grid;
mod scatter;

use std::path::Path;

use crate::{Error, files};

pub use grid::{Images, Layout, grid};
pub use scatter::scatter;

/// Between images: no level of gray in a preview is mistaken for it, on either background.
const GAP_COLOR: [u8; 3] = [110, 118, 130];
/// Wider than the gaps inside a grid.
const STRIP_GAP: u32 = 4;
/// More is a mistake in the arguments rather than a preview somebody looks at.
const MAX_PIXELS: u64 = 1 << 26;

/// An RGB preview of 8 bits a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    width: u32,
    height: u32,
    /// Row by row from the top, three bytes a pixel.
    rgb: Vec<u8>,
}

impl Preview {
    /// A preview of one color. Sizes come as u64 so that callers need not check their products.
    fn filled(width: u64, height: u64, color: [u8; 3]) -> Result<Self, Error> {
        let pixels = width.saturating_mul(height);
        if pixels == 0 || pixels > MAX_PIXELS {
            return Err(Error::Shape(format!(
                "a preview of {width} x {height} pixels is outside 1..={MAX_PIXELS} pixels; choose \
                 another zoom or number of columns"
            )));
        }
        // Neither side exceeds their product.
        Ok(Self { width: width as u32, height: height as u32, rgb: color.repeat(pixels as usize) })
    }

    /// Pixels across.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Pixels down.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The color at column `x` of row `y`, counted from the upper left.
    ///
    /// # Panics
    /// Outside the preview.
    #[must_use]
    pub fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        let at = self.offset(x, y);
        [self.rgb[at], self.rgb[at + 1], self.rgb[at + 2]]
    }

    fn set_pixel(&mut self, x: u32, y: u32, color: [u8; 3]) {
        let at = self.offset(x, y);
        self.rgb[at..at + 3].copy_from_slice(&color);
    }

    fn offset(&self, x: u32, y: u32) -> usize {
        assert!(x < self.width && y < self.height, "pixel ({x}, {y}) is outside the preview");
        3 * (y as usize * self.width as usize + x as usize)
    }

    /// Copies `other` in, its upper left corner at `(left, top)`. It must fit.
    fn paste(&mut self, other: &Self, left: u32, top: u32) {
        let length = 3 * other.width as usize;
        for (y, row) in (top..).zip(other.rgb.chunks_exact(length)) {
            let at = self.offset(left, y);
            self.rgb[at..at + length].copy_from_slice(row);
        }
    }

    /// The preview as the bytes of a PNG file.
    ///
    /// # Errors
    /// [`Error::EncodePng`] when the encoder fails.
    pub fn png(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.encode_into(&mut bytes).map_err(|source| Error::EncodePng {
            width: self.width,
            height: self.height,
            source,
        })?;
        Ok(bytes)
    }

    fn encode_into(&self, bytes: &mut Vec<u8>) -> Result<(), png::EncodingError> {
        let mut encoder = png::Encoder::new(bytes, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.rgb)?;
        writer.finish()
    }

    /// Writes the preview as a PNG file, atomically.
    ///
    /// # Errors
    /// [`Error::EncodePng`], or [`Error::Io`] where the system refuses.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        files::write_atomic(path, &self.png()?)
    }
}

/// Previews of the same height side by side, from left to right: stages of one process.
///
/// # Errors
/// [`Error::Shape`] without previews, for different heights, or for more than 2^26 pixels.
pub fn strip(previews: &[Preview]) -> Result<Preview, Error> {
    let height = previews.first().map_or(0, Preview::height);
    if let Some(other) = previews.iter().find(|preview| preview.height != height) {
        return Err(Error::Shape(format!(
            "a strip needs previews of one height, not of {height} and {}",
            other.height
        )));
    }
    let widths: u64 = previews.iter().map(|preview| u64::from(preview.width)).sum();
    let gaps = u64::from(STRIP_GAP) * (previews.len() as u64).saturating_sub(1);
    let mut strip = Preview::filled(widths + gaps, u64::from(height), GAP_COLOR)?;

    let mut left = 0;
    for preview in previews {
        strip.paste(preview, left, 0);
        left += preview.width + STRIP_GAP;
    }
    Ok(strip)
}

/// Whether a file is a preview that decodes to its end.
#[must_use]
pub fn is_whole(path: &Path) -> bool {
    files::read(path).is_ok_and(|bytes| decoded_size(&bytes).is_ok())
}

/// Decodes a PNG to its end, and says its width and height.
pub(crate) fn decoded_size(bytes: &[u8]) -> Result<(u32, u32), png::DecodingError> {
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info()?;
    while reader.next_row()?.is_some() {}
    reader.finish()?;
    Ok(reader.info().size())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strip_keeps_the_order_and_parts_by_a_gap() {
        let red = Preview::filled(2, 3, [255, 0, 0]).unwrap();
        let blue = Preview::filled(1, 3, [0, 0, 255]).unwrap();
        let both = strip(&[red.clone(), blue]).unwrap();
        assert_eq!((both.width(), both.height()), (2 + STRIP_GAP + 1, 3));
        let row: Vec<_> = (0..both.width()).map(|x| both.pixel(x, 2)).collect();
        assert_eq!(row[..2], [[255, 0, 0]; 2]);
        assert_eq!(row[2..6], [GAP_COLOR; 4]);
        assert_eq!(row[6], [0, 0, 255]);

        let taller = Preview::filled(2, 4, [0; 3]).unwrap();
        let message = strip(&[red, taller]).unwrap_err().to_string();
        assert!(message.contains("of 3 and 4"), "{message}");
        assert!(strip(&[]).is_err());
    }

    #[test]
    fn a_png_decodes_to_the_same_pixels() {
        let mut preview = Preview::filled(3, 2, [10, 20, 30]).unwrap();
        preview.set_pixel(2, 1, [1, 2, 3]);
        let bytes = preview.png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut rgb).unwrap();
        assert_eq!((info.width, info.height, info.color_type), (3, 2, png::ColorType::Rgb));
        assert_eq!(rgb, preview.rgb);
    }
}
