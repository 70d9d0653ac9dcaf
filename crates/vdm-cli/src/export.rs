//! `vdm export`.

use std::path::PathBuf;

use anyhow::Result;
use tch::Device;

use crate::opened::Opened;
use crate::output;

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
    #[arg(long, value_name = "STEP")]
    checkpoint: Option<u64>,
}

/// Writes the averaged weights of a checkpoint, with what they mean in the metadata.
pub(crate) fn export(options: &Options) -> Result<()> {
    let opened = Opened::of(&options.run, options.checkpoint)?;
    vdm_torch::foreign::export(&opened.checkpoint.model(Device::Cpu)?, &options.out)?;
    output::say(options.out.display());
    Ok(())
}
