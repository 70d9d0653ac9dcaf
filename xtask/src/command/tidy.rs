//! `cargo xtask tidy`: the architecture's invariants.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::cargo;
use crate::checkout::Checkout;
use crate::command::no_options;
use crate::terminal;
use crate::tidy::tree::{Fault, Tree};
use crate::tidy::{CHECKS, NO_ENGINE, code};

pub(crate) const HELP: &str = "\
Checks the architecture's invariants, which ARCHITECTURE.md states under the same numbers.

Usage: cargo xtask tidy";

/// Runs the command.
///
/// # Errors
///
/// On arguments, and if the sources cannot be read.
pub(crate) fn run(args: Vec<OsString>) -> Result<ExitCode> {
    no_options(args)?;
    let faults = check(&Checkout::current()?)?;
    Ok(if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Reports every fault and returns their number.
///
/// # Errors
///
/// If the sources or the dependencies cannot be read.
pub(crate) fn check(checkout: &Checkout) -> Result<usize> {
    let tree = Tree::read(&checkout.root)?;
    let mut count = report(NO_ENGINE.0, NO_ENGINE.1, &engines(checkout)?)?;
    for check in CHECKS {
        count += report(check.id, check.statement, &(check.run)(&tree))?;
    }
    terminal::print(format_args!("tidy: {} invariants, {count} faults", CHECKS.len() + 1))?;
    Ok(count)
}

fn report(id: &str, statement: &str, faults: &[Fault]) -> Result<usize> {
    terminal::print(format_args!(
        "{} {id} {statement}",
        if faults.is_empty() { "ok  " } else { "FAIL" }
    ))?;
    for fault in faults {
        terminal::print(format_args!("       {fault}"))?;
    }
    Ok(faults.len())
}

fn engines(checkout: &Checkout) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for package in ["vdm-core", "vdm-random", "vdm-sample"] {
        let mut command = cargo::cargo(checkout);
        command.args(["tree", "--package", package, "--edges", "normal", "--prefix", "none"]);
        let output = command.output().context("cannot run cargo tree")?;
        ensure!(
            output.status.success(),
            "{} failed: {}",
            cargo::shown(&command),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        faults.extend(code::engines(package, &String::from_utf8_lossy(&output.stdout)));
    }
    Ok(faults)
}
