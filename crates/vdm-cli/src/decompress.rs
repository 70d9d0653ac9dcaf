//! `vdm decompress`.

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use vdm_compress::{Archive, Budget, Header};
use vdm_data::Shape;
use vdm_report::{files, folders};
use vdm_torch::DeviceChoice;

use crate::compress::reproducible;
use crate::engine::set_threads;
use crate::opened::{AnyOpened, Which};
use crate::progress::{Lines, Progress};
use crate::{coder, formats, output, outputs, terminal};

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
    #[arg(long, value_name = "STEP|latest|best")]
    checkpoint: Option<Which>,
    /// cpu: where files are written
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Read it whatever its header asks for: only for files from someone you trust
    #[arg(long)]
    unlimited: bool,
    /// Where to write: a .npy array, or a folder of PNG files with the pixels' own values
    #[arg(long, value_name = "FOLDER|FILE.npy")]
    out: PathBuf,
}

/// Reads the items of a compressed file.
pub(crate) fn decompress(options: &Options) -> Result<()> {
    check_place(&options.out)?;
    let named = || format!("{}", options.file.display());
    let bytes = fs::read(&options.file).with_context(|| format!("cannot read {}", named()))?;
    let archive = Archive::from_bytes(&bytes).with_context(named)?;
    archive.check_cost(&options.budget(bytes.len())).with_context(named)?;
    let Archive { header, words } = archive;
    let device = reproducible(options.device)?;
    let written_on = header.origin.device.as_str();
    ensure!(
        written_on == "cpu",
        "{} was written on {written_on} by an earlier version, whose bits nothing promises; compress \
         the images again",
        named()
    );
    set_threads(header.origin.threads).with_context(named)?;
    let which = options.checkpoint.unwrap_or(Which::Step(header.origin.checkpoint));
    let opened = AnyOpened::of(&options.run, Some(which))?;
    let read: Vec<PathBuf> = opened.data_path().into_iter().chain([options.file.clone()]).collect();
    outputs::check("--out", &options.out, &read)?;
    let model = coder::of(&opened, device)?;
    let shape = model.shape();
    let sides = [shape.channels, shape.height, shape.width];
    header.check_model(&model.sha256()?, sides, model.values()).with_context(named)?;
    let codec = model.codec(&header.settings).with_context(named)?;
    let progress = Progress::new("decoding", "items", header.items as u64, Lines::Messages)?;
    let read = || codec.decompress(&words, header.items, |done| progress.set(done as u64));
    let pixels = tch::no_grad(read).with_context(|| written_by(&header, &named()))?;
    drop(progress);
    header.check_pixels(&pixels).with_context(|| written_by(&header, &named()))?;
    write(&options.out, &pixels, shape)?;
    terminal::print(format_args!("{} items, bit for bit as they were written", header.items))?;
    terminal::print(options.out.display())
}

/// For errors that come from a model answering differently.
fn written_by(header: &Header, file: &str) -> String {
    let origin = &header.origin;
    format!(
        "{file}, written by {} on {} with {} threads",
        origin.engine, origin.device, origin.threads
    )
}

impl Options {
    fn budget(&self, bytes: usize) -> Budget {
        if self.unlimited {
            return Budget::UNLIMITED;
        }
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = (4 * processors).max(64);
        Budget::of_file(bytes, u32::try_from(threads).unwrap_or(u32::MAX))
    }
}

fn is_array(out: &Path) -> bool {
    out.extension().is_some_and(|extension| extension == "npy")
}

/// That the items can be put there, before all the work of reading them.
fn check_place(out: &Path) -> Result<()> {
    if is_array(out) {
        ensure!(!out.is_dir(), "--out {} is a folder; name a file to write", out.display());
        return Ok(());
    }
    folders::vacant(out).context("--out")?;
    Ok(())
}

fn write(out: &Path, pixels: &[u8], shape: Shape) -> Result<()> {
    if is_array(out) {
        return output::save_array(pixels, shape, out);
    }
    folders::write(out, |folder| {
        for (number, item) in pixels.chunks_exact(shape.dims()).enumerate() {
            let path = folder.join(format!("{number:06}.png"));
            files::write_atomic(&path, &formats::png_file(item, shape)?)?;
        }
        Ok(())
    })
}
