//! `cargo xtask figures`: the monograph's figures and tables, from the code.

use std::ffi::OsString;
use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use lexopt::Arg::Long;
use lexopt::Parser;

use crate::cargo;
use crate::checkout::Checkout;
use crate::command::setup;

pub(crate) const HELP: &str = "\
Draws the monograph's figures into docs/images, and writes docs/figures.md, which shows them, and docs/tables.md. One
of them needs trained networks: the preset clusters-vae is trained twice for it, a minute or two each.

Usage: cargo xtask figures [--recorded]

Options:
  --recorded  Train nothing: draw that figure from what the last training left in crates/vdm-figures/data. Needs no
              libtorch";

/// Runs the command.
///
/// # Errors
///
/// On other arguments, and if a network cannot be trained, or a figure cannot be made or written.
pub(crate) fn run(args: Vec<OsString>) -> Result<ExitCode> {
    let mut recorded = false;
    let mut parser = Parser::from_args(args);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("recorded") => recorded = true,
            _ => return Err(arg.unexpected().into()),
        }
    }
    let checkout = Checkout::current()?;
    if !recorded {
        record(&checkout)?;
    }
    cargo::run(cargo::cargo(&checkout).args(["run", "--quiet", "--package", "vdm-figures"]))?;
    Ok(ExitCode::SUCCESS)
}

/// What a figure shows of trainings: where that is kept, and the steps over which the divergence rises to its weight.
/// The preset has 4,000 steps in all, so that in 12,000 it rises to a third.
const RECORDED: [(&str, &str); 2] = [("latents.json", "500"), ("latents-at-a-third.json", "12000")];

/// Trains what a figure shows. On one thread, so that the sums of libtorch have one order.
fn record(checkout: &Checkout) -> Result<()> {
    setup::ensure_ready(checkout)?;
    let program = cargo::build_program(checkout)?;
    let run = Checkout::target_dir()?.join("figures/clusters-vae");
    for (name, warmup) in RECORDED {
        if run.exists() {
            fs::remove_dir_all(&run).with_context(|| format!("cannot remove {}", run.display()))?;
        }
        let arguments = ["train", "--preset", "clusters-vae", "--threads", "1", "--set"];
        let warmup = format!("hierarchy.kl_warmup={warmup}");
        cargo::run(Command::new(&program).args(arguments).arg(warmup).arg("--out").arg(&run))?;
        let to = checkout.root.join("crates/vdm-figures/data").join(name);
        fs::copy(run.join("latents.json"), &to)
            .with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}
