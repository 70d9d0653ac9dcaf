//! Many images of one shape as one preview.

use super::{GAP_COLOR, Preview};
use crate::Error;

/// About as wide as a column of text.
const COMFORTABLE_WIDTH: usize = 800;

/// A batch of images as the data set stores them: small integers, channel by channel.
#[derive(Debug, Clone, Copy)]
pub struct Images<'a> {
    pixels: &'a [u8],
    count: usize,
    channels: usize,
    height: usize,
    width: usize,
    levels: u16,
}

impl<'a> Images<'a> {
    /// Images from `pixels` of this `[count, channels, height, width]`, last index fastest, with
    /// values in `0..levels`. One channel is gray, three are red, green and blue.
    ///
    /// # Errors
    /// [`Error::Shape`] for an empty batch, other channel counts, levels outside 2..=256 or a buffer
    /// of another length; [`Error::PixelOutOfRange`] for a value of `levels` or more.
    pub fn new(pixels: &'a [u8], shape: [usize; 4], levels: u16) -> Result<Self, Error> {
        let volume = shape.iter().try_fold(1_usize, |volume, &side| volume.checked_mul(side));
        let [count, channels, height, width] = shape;
        if volume != Some(pixels.len()) || pixels.is_empty() {
            return Err(Error::Shape(format!(
                "{} pixels do not fill images of shape {shape:?} ([count, channels, height, width], \
                 none of them 0)",
                pixels.len()
            )));
        }
        if channels != 1 && channels != 3 {
            return Err(Error::Shape(format!(
                "images of {channels} channels cannot be shown; 1 is gray, 3 is RGB"
            )));
        }
        if !(2..=256).contains(&levels) {
            return Err(Error::Shape(format!("{levels} levels are outside 2..=256")));
        }
        match pixels.iter().position(|&value| u16::from(value) >= levels) {
            Some(index) => Err(Error::PixelOutOfRange { index, value: pixels[index], levels }),
            None => Ok(Self { pixels, count, channels, height, width, levels }),
        }
    }

    /// The color of a pixel: `0..levels` stretched to `0..=255`.
    fn color(&self, image: usize, x: usize, y: usize) -> [u8; 3] {
        [0, 1, 2].map(|channel| {
            let plane = image * self.channels + channel.min(self.channels - 1);
            let value = self.pixels[(plane * self.height + y) * self.width + x];
            let top = u32::from(self.levels) - 1;
            // At most 255, since no value exceeds the top.
            ((u32::from(value) * 255 + top / 2) / top) as u8
        })
    }
}

/// How a grid is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Images in a row; a longer row than there are images is cut.
    pub columns: usize,
    /// Each pixel becomes a square of this side, so that small images can be seen.
    pub zoom: usize,
}

impl Layout {
    /// A grid about as wide as high, and about 800 pixels across.
    ///
    /// ```
    /// use vdm_report::preview::{Images, Layout};
    /// let digits = [0; 64 * 64];
    /// let images = Images::new(&digits, [64, 1, 8, 8], 17)?;
    /// assert_eq!(Layout::square(&images), Layout { columns: 8, zoom: 12 });
    /// # Ok::<(), vdm_report::Error>(())
    /// ```
    #[must_use]
    pub fn square(images: &Images<'_>) -> Self {
        let area = images.count * images.height;
        let columns = (area as f64 / images.width as f64).sqrt().ceil() as usize;
        Self::comfortable(images, columns)
    }

    /// A grid of this many columns, about 800 pixels across.
    #[must_use]
    pub fn comfortable(images: &Images<'_>, columns: usize) -> Self {
        let columns = columns.clamp(1, images.count);
        Self { columns, zoom: (COMFORTABLE_WIDTH / (columns * images.width)).max(1) }
    }
}

/// Images row by row, one of their own pixels apart, enlarged without smoothing. Cells without an image stay empty.
///
/// For a strip of noise levels, order the images by run, then level, with a column per level.
///
/// # Errors
/// [`Error::Shape`] for no columns, no zoom, or more than 2^26 pixels.
pub fn grid(images: &Images<'_>, layout: Layout) -> Result<Preview, Error> {
    let columns = layout.columns.min(images.count);
    if columns == 0 || layout.zoom == 0 {
        return Err(Error::Shape(format!(
            "a grid needs at least one column and a zoom of 1, not {layout:?}"
        )));
    }
    let extent = |cells: usize, pixels: usize| {
        let cell = (pixels as u64).saturating_mul(layout.zoom as u64);
        let gaps = (cells as u64 - 1).saturating_mul(layout.zoom as u64);
        (cells as u64).saturating_mul(cell).saturating_add(gaps)
    };
    let rows = images.count.div_ceil(columns);
    let (width, height) = (extent(columns, images.width), extent(rows, images.height));
    let mut preview = Preview::filled(width, height, GAP_COLOR)?;
    for image in 0..images.count {
        let left = image % columns * (images.width + 1) * layout.zoom;
        let top = image / columns * (images.height + 1) * layout.zoom;
        draw(&mut preview, images, image, [left, top], layout.zoom);
    }
    Ok(preview)
}

/// Draws one image, its upper left corner at this place, which has room for it.
fn draw(preview: &mut Preview, images: &Images<'_>, image: usize, at: [usize; 2], zoom: usize) {
    let [left, top] = at;
    for y in 0..images.height * zoom {
        for x in 0..images.width * zoom {
            let color = images.color(image, x / zoom, y / zoom);
            preview.set_pixel((left + x) as u32, (top + y) as u32, color);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn levels_are_stretched_to_bytes() {
        let pixels: Vec<u8> = (0..17).collect();
        let images = Images::new(&pixels, [1, 1, 1, 17], 17).unwrap();
        let row = grid(&images, Layout { columns: 1, zoom: 1 }).unwrap();
        let gray: Vec<u8> = (0..17).map(|x| row.pixel(x, 0)[0]).collect();
        let expected: Vec<u8> =
            (0..17).map(|v| (f64::from(v) * 255.0 / 16.0).round() as u8).collect();
        assert_eq!(gray, expected);
    }

    #[test]
    fn three_channels_are_planes() {
        let pixels = [1, 2, 10, 20, 100, 200];
        let images = Images::new(&pixels, [1, 3, 1, 2], 256).unwrap();
        let preview = grid(&images, Layout { columns: 9, zoom: 2 }).unwrap();
        assert_eq!((preview.width(), preview.height()), (4, 2));
        assert_eq!(preview.pixel(1, 1), [1, 10, 100]);
        assert_eq!(preview.pixel(2, 0), [2, 20, 200]);
    }

    #[test]
    fn the_last_row_may_be_short() {
        let pixels = [0, 64, 128];
        let images = Images::new(&pixels, [3, 1, 1, 1], 256).unwrap();
        let preview = grid(&images, Layout { columns: 2, zoom: 1 }).unwrap();
        assert_eq!((preview.width(), preview.height()), (3, 3));
        assert_eq!(preview.pixel(2, 0), [64; 3]);
        assert_eq!(preview.pixel(0, 2), [128; 3]);
        assert_eq!(preview.pixel(1, 0), GAP_COLOR);
        assert_eq!(preview.pixel(2, 2), GAP_COLOR);
    }

    #[test]
    fn impossible_batches_are_refused() {
        assert!(message(Images::new(&[0; 3], [1, 1, 2, 2], 2)).contains("3 pixels"));
        assert!(message(Images::new(&[], [0, 1, 2, 2], 2)).contains("none of them 0"));
        assert!(message(Images::new(&[0; 2], [1, 2, 1, 1], 2)).contains("2 channels"));
        assert!(message(Images::new(&[0], [1, 1, 1, 1], 1)).contains("1 levels"));
        assert!(message(Images::new(&[0], [1, 1, 1, 1], 257)).contains("257 levels"));
        let high = message(Images::new(&[0, 17], [1, 1, 1, 2], 17));
        assert!(high.contains("pixel 1 has value 17") && high.contains("0..=16"), "{high}");
    }

    #[test]
    fn impossible_layouts_are_refused() {
        let images = Images::new(&[0], [1, 1, 1, 1], 2).unwrap();
        for (columns, zoom) in [(0, 1), (1, 0)] {
            assert!(message(grid(&images, Layout { columns, zoom })).contains("at least one"));
        }
        for zoom in [10_000, usize::MAX] {
            assert!(message(grid(&images, Layout { columns: 1, zoom })).contains("another zoom"));
        }
    }
}
