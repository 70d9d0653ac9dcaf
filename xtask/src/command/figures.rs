//! `cargo xtask figures`: the monograph's figures and tables, from the code.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

use crate::cargo;
use crate::checkout::Checkout;
use crate::command::no_options;

pub(crate) const HELP: &str = "\
Draws the monograph's figures that need no trained network into docs/images, and writes docs/figures.md, which
shows them, and docs/tables.md. Needs no libtorch.

Usage: cargo xtask figures";

/// Runs the command.
///
/// # Errors
///
/// On arguments, and if a figure cannot be made or written.
pub(crate) fn run(args: Vec<OsString>) -> Result<ExitCode> {
    no_options(args)?;
    let checkout = Checkout::current()?;
    cargo::run(cargo::cargo(&checkout).args(["run", "--quiet", "--package", "vdm-figures"]))?;
    Ok(ExitCode::SUCCESS)
}
