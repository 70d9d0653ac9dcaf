//! `vdm export`.

use std::path::PathBuf;

use anyhow::Result;
use tch::Device;
use vdm_torch::interop;

use crate::opened::{AnyOpened, Which};
use crate::{outputs, terminal};

/// `vdm export`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Folder of the run
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// The file to write
    #[arg(long, value_name = "FILE.safetensors")]
    out: PathBuf,
    /// Checkpoint of this step [default: the best on validation]
    #[arg(long, value_name = "STEP|latest|best")]
    checkpoint: Option<Which>,
}

/// Writes the averaged weights of a checkpoint, with what they mean in the metadata.
pub(crate) fn export(options: &Options) -> Result<()> {
    let opened = AnyOpened::of(&options.run, options.checkpoint)?;
    outputs::prepare(&[("--out", &options.out)], opened.data_path().as_slice())?;
    match opened {
        AnyOpened::Diffusion(opened) => {
            interop::export(&opened.model(Device::Cpu)?, &options.out)?;
        }
        AnyOpened::Hierarchy(opened) => {
            interop::export(&opened.model(Device::Cpu)?, &options.out)?;
        }
    }
    terminal::print(options.out.display())
}
