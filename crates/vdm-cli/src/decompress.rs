//! `vdm decompress`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use indicatif::ProgressBar;
use vdm_compress::{Archive, Header};
use vdm_data::Shape;
use vdm_report::files;
use vdm_torch::DeviceChoice;

use crate::compress::{OnHost, reproducible};
use crate::engine::set_threads;
use crate::opened::Opened;
use crate::{formats, output};

/// `vdm decompress`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Folder of the run whose model wrote the file
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// The compressed file
    #[arg(value_name = "FILE.vdmz")]
    file: PathBuf,
    /// Checkpoint of this step [default: the one the file names]
    #[arg(long, value_name = "STEP")]
    checkpoint: Option<u64>,
    /// cpu: where files are written
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Where to write: a .npy array, or a folder of PNG files with the pixels' own values
    #[arg(long, value_name = "FOLDER|FILE.npy")]
    out: PathBuf,
}

/// Reads the items of a compressed file.
pub(crate) fn decompress(options: &Options) -> Result<()> {
    let named = || format!("{}", options.file.display());
    let bytes = fs::read(&options.file).with_context(|| format!("cannot read {}", named()))?;
    let Archive { header, words } = Archive::from_bytes(&bytes).with_context(named)?;
    let device = reproducible(options.device)?;
    let written_on = header.origin.device.as_str();
    ensure!(
        written_on == "cpu",
        "{} was written on {written_on} by an earlier version, whose bits nothing promises; compress \
         the images again",
        named()
    );
    set_threads(header.origin.threads).with_context(named)?;
    let step = options.checkpoint.unwrap_or(header.origin.checkpoint);
    let model = Opened::of(&options.run, Some(step))?.checkpoint.model(device)?;
    let shape = model.spec().shape;
    let sides = [shape.channels, shape.height, shape.width];
    header.check_model(&model.sha256()?, sides, model.spec().levels).with_context(named)?;
    let host = OnHost(&model);
    let bar = ProgressBar::new(header.items as u64);
    let pixels = host
        .codec(&header.settings)?
        .decompress(&words, header.items, |n| bar.set_position(n as u64))
        .with_context(|| written_by(&header, &named()))?;
    bar.finish_and_clear();
    header.check_pixels(&pixels).with_context(|| written_by(&header, &named()))?;
    write(&options.out, &pixels, shape)?;
    output::say(format_args!("{} items, bit for bit as they were written", header.items));
    output::say(options.out.display());
    Ok(())
}

/// For errors that come from a model answering differently.
fn written_by(header: &Header, file: &str) -> String {
    let origin = &header.origin;
    format!(
        "{file}, written by {} on {} with {} threads",
        origin.engine, origin.device, origin.threads
    )
}

fn write(out: &Path, pixels: &[u8], shape: Shape) -> Result<()> {
    if out.extension().is_some_and(|extension| extension == "npy") {
        return output::save_array(pixels, shape, out);
    }
    let empty = fs::read_dir(out).map_or(true, |mut entries| entries.next().is_none());
    ensure!(empty, "{} is not empty; name a new folder or a .npy file", out.display());
    for (number, item) in pixels.chunks_exact(shape.dims()).enumerate() {
        let path = out.join(format!("{number:06}.png"));
        files::write_atomic(&path, &formats::png_file(item, shape)?)?;
    }
    Ok(())
}
