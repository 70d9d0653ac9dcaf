//! `cargo xtask train | sample | eval | compress | …`: set-up if needed, build, then the `vdm` binary.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Error, Result, ensure};

use crate::cargo;
use crate::checkout::Checkout;
use crate::command::setup;

/// Becomes `vdm SUBCOMMAND ARGS…`, so that signals and the exit code are the binary's own.
///
/// # Errors
///
/// If libtorch cannot be provided or the binary does not build; else this does not return.
pub(crate) fn run(subcommand: &str, args: Vec<OsString>) -> Result<ExitCode> {
    let checkout = Checkout::current()?;
    setup::ensure_ready(&checkout)?;
    cargo::run(cargo::cargo(&checkout).args(["build", "--release", "--package", "vdm-cli"]))?;
    let binary = Checkout::target_dir()?.join("release/vdm");
    ensure!(binary.is_file(), "cargo built no {}", binary.display());
    let error = Command::new(&binary).arg(subcommand).args(args).exec();
    Err(Error::new(error).context(format!("cannot run {}", binary.display())))
}
