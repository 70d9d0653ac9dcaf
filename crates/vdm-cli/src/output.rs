//! Previews and reports of a run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use vdm_data::Shape;
use vdm_report::preview::{self, Images, Layout};
use vdm_report::{Preview, RunDir, npy, report as html};
use vdm_torch::Samples;

use crate::{opened, terminal};

/// `vdm report`.
#[derive(Debug, clap::Args)]
pub(crate) struct ReportOptions {
    /// Folder of the run
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
}

/// Writes the report of a run folder.
pub(crate) fn report(options: &ReportOptions) -> Result<()> {
    let run = opened::existing_run(&options.run)?;
    terminal::print(html::write(&run)?.display())
}

/// How to go on with a run that ended before its end.
pub(crate) fn stopped(run: &RunDir, step: u64) -> String {
    let folder = run.root().display();
    format!("stopped and saved at step {step}; continue with `cargo xtask train --resume {folder}`")
}

/// Whether items are points of the plane rather than images.
pub(crate) fn is_points(shape: Shape) -> bool {
    shape == Shape { channels: 1, height: 1, width: 2 }
}

/// `[N, C, H, W]` values as one preview: a square grid of images, or a scatter plot of points.
pub(crate) fn overview(pixels: &[u8], shape: Shape, levels: u16) -> Result<Preview> {
    in_columns(pixels, shape, levels, None)
}

/// The same with so many images in a row.
fn in_columns(pixels: &[u8], shape: Shape, levels: u16, columns: Option<usize>) -> Result<Preview> {
    if is_points(shape) {
        return scatter(pixels, levels, 512);
    }
    let images = images(pixels, shape, levels)?;
    let layout = columns
        .map_or_else(|| Layout::square(&images), |columns| Layout::comfortable(&images, columns));
    Ok(preview::grid(&images, layout)?)
}

fn images(pixels: &[u8], shape: Shape, levels: u16) -> Result<Images<'_>> {
    let count = pixels.len() / shape.dims();
    Ok(Images::new(pixels, [count, shape.channels, shape.height, shape.width], levels)?)
}

fn scatter(pixels: &[u8], levels: u16, side: u32) -> Result<Preview> {
    let points = pixels.chunks_exact(2).map(|p| [f32::from(p[0]), f32::from(p[1])]);
    Ok(preview::scatter(points, 0.0..=f32::from(levels - 1), side)?)
}

/// Rows of the preview of latents along sampling.
const ROWS: usize = 6;

/// Latents along sampling: a row for each of the first samples and a column per level, or a scatter
/// plot of all points per level.
pub(crate) fn denoising(samples: &Samples, shape: Shape, levels: u16) -> Result<Preview> {
    let columns = &samples.snapshots;
    if is_points(shape) {
        let plots: Result<Vec<Preview>> =
            columns.iter().map(|points| scatter(points, levels, 192)).collect();
        return Ok(preview::strip(&plots?)?);
    }
    let dims = shape.dims();
    let rows = columns.first().map_or(0, |column| column.len() / dims).min(ROWS);
    let mut pixels = Vec::with_capacity(rows * columns.len() * dims);
    for row in 0..rows {
        for column in columns {
            pixels.extend(&column[row * dims..(row + 1) * dims]);
        }
    }
    let images = images(&pixels, shape, levels)?;
    Ok(preview::grid(&images, Layout::comfortable(&images, columns.len()))?)
}

/// Items and what was made of each, one after the other: pairs above each other, or a scatter plot of all.
pub(crate) fn pairs(pixels: &[u8], shape: Shape, levels: u16) -> Result<Preview> {
    if is_points(shape) {
        return overview(pixels, shape, levels);
    }
    let dims = shape.dims();
    let row = |first: usize| pixels.chunks_exact(dims).skip(first).step_by(2);
    let pixels: Vec<u8> = row(0).chain(row(1)).flatten().copied().collect();
    let images = images(&pixels, shape, levels)?;
    Ok(preview::grid(&images, Layout::comfortable(&images, pixels.len() / dims / 2))?)
}

/// Writes samples, so many in a row or in a square, as `<stem>.png` and `<stem>.npy` (uint8 `[N, H, W, C]`, gray without `C`).
pub(crate) fn save_samples(
    pixels: &[u8],
    shape: Shape,
    levels: u16,
    columns: Option<usize>,
    png: &Path,
    array: &Path,
) -> Result<()> {
    in_columns(pixels, shape, levels, columns)?.save(png)?;
    save_array(pixels, shape, array).context("cannot write the samples")
}

/// Writes items as uint8 `[N, H, W, C]`, gray without `C`.
pub(crate) fn save_array(pixels: &[u8], shape: Shape, path: &Path) -> Result<()> {
    Ok(npy::write(path, &channels_last(pixels, shape), &array_shape(pixels.len(), shape))?)
}

/// The same of latents, as float32.
pub(crate) fn save_latents(latents: &[f32], shape: Shape, path: &Path) -> Result<()> {
    let latents = channels_last(latents, shape);
    Ok(npy::write_f32(path, &latents, &array_shape(latents.len(), shape))?)
}

/// `[N, C, H, W]` as `[N, H, W, C]`.
pub(crate) fn channels_last<T: Copy>(pixels: &[T], shape: Shape) -> Vec<T> {
    let (channels, plane) = (shape.channels, shape.height * shape.width);
    pixels
        .chunks_exact(shape.dims())
        .flat_map(|item| {
            (0..plane).flat_map(move |p| (0..channels).map(move |c| item[c * plane + p]))
        })
        .collect()
}

fn array_shape(components: usize, shape: Shape) -> Vec<usize> {
    let Shape { channels, height, width } = shape;
    let mut dims = vec![components / shape.dims(), height, width];
    if channels > 1 {
        dims.push(channels);
    }
    dims
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_written_channels_last() {
        let folder = tempfile::tempdir().unwrap();
        let (png, array) = (folder.path().join("s.png"), folder.path().join("s.npy"));
        let shape = Shape { channels: 3, height: 1, width: 2 };
        save_samples(&[1, 2, 3, 4, 5, 6], shape, 256, None, &png, &array).unwrap();
        let bytes = std::fs::read(&array).unwrap();
        assert_eq!(bytes[bytes.len() - 6..], [1, 3, 5, 2, 4, 6]);
        assert!(String::from_utf8_lossy(&bytes).contains("(1,1,2,3"));
        assert!(png.exists());
    }
}
