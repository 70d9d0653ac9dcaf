//! `cargo xtask train | sample | eval | compress | …`: set-up if needed, build, then the `vdm` binary.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Error, Result};

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
    let binary = cargo::build_program(&checkout)?;
    let error = Command::new(&binary).arg(subcommand).args(args).exec();
    Err(Error::new(error).context(format!("cannot run {}", binary.display())))
}
