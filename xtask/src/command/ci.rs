//! `cargo xtask ci`: all that the continuous integration runs, in one build of the dev profile.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Result, ensure};

use crate::cargo;
use crate::checkout::Checkout;
use crate::command::test::{self, Tier};
use crate::command::{no_options, setup, tidy};
use crate::examples;
use crate::terminal;

pub(crate) const HELP: &str = "\
Runs what the continuous integration runs: formatting, lints, documentation, invariants, dependencies
(if cargo-deny is installed), packages, examples, a short training, a minute of mutants for every parser, and
every test but two that train for minutes.

Usage: cargo xtask ci";

/// Runs the command; the test count is the last line.
///
/// # Errors
///
/// Names the first step that fails.
pub(crate) fn run(args: Vec<OsString>) -> Result<ExitCode> {
    no_options(args)?;
    let checkout = Checkout::current()?;
    let cargo = |args: &[&str]| {
        let mut command = cargo::cargo(&checkout);
        command.args(args);
        command
    };
    step("formatting", &mut cargo(&["fmt", "--all", "--check"]))?;
    setup::ensure_ready(&checkout)?;
    let lints =
        ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    step("lints", &mut cargo(&lints))?;
    // The variable replaces the doctests' linking flags, which building pages does not need.
    let mut documentation =
        cargo(&["doc", "--workspace", "--all-features", "--no-deps", "--quiet"]);
    step("documentation", documentation.env("RUSTDOCFLAGS", "-D warnings"))?;
    terminal::print("== invariants")?;
    ensure!(tidy::check(&checkout)? == 0, "the invariants do not hold");
    dependencies(&cargo)?;
    // What a release would upload; building it once more from there takes minutes.
    let packages = ["package", "--workspace", "--no-verify", "--allow-dirty", "--quiet"];
    step("packages", &mut cargo(&packages))?;
    terminal::print("== examples")?;
    examples::run(&checkout)?;
    examples::check_other_libraries(&checkout)?;
    training(&checkout)?;
    fuzzing(&checkout)?;
    terminal::print("== tests")?;
    test::run_tests(&checkout, Tier::Ci)
}

fn step(name: &str, command: &mut Command) -> Result<()> {
    terminal::print(format_args!("== {name}: {}", cargo::shown(command)))?;
    cargo::run(command)
}

fn dependencies(cargo: &impl Fn(&[&str]) -> Command) -> Result<()> {
    let mut probe = Command::new("cargo-deny");
    let installed = probe.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !installed.is_ok_and(|status| status.success()) {
        return terminal::print(
            "== dependencies: skipped, cargo-deny is not installed (cargo install --locked cargo-deny)",
        );
    }
    step("dependencies", &mut cargo(&["deny", "check", "licenses", "bans", "sources"]))?;
    if !has_advisories() {
        return terminal::print(
            "== advisories: skipped, no database is at hand (cargo deny fetch brings it)",
        );
    }
    // Without a network; cargo-deny refuses a database of more than 90 days.
    step("advisories", &mut cargo(&["deny", "--offline", "check", "advisories"]))
}

/// Whether `cargo deny fetch` has brought a database of advisories.
fn has_advisories() -> bool {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let entries = home.and_then(|home| std::fs::read_dir(home.join("advisory-dbs")).ok());
    entries.is_some_and(|entries| entries.flatten().any(|entry| entry.path().is_dir()))
}

/// The same mutants every time, as many of each target as fit into a second and a half.
fn fuzzing(checkout: &Checkout) -> Result<()> {
    let mut command = cargo::cargo(checkout);
    // In the build that the tests use.
    command.arg("run").args(cargo::OPTIMIZED);
    command.args(["--quiet", "--package", "vdm-fuzz", "--features", "torch", "--"]);
    step("fuzzing", command.args(["--seconds", "1.5", "--seed", "1"]))
}

/// The real binary on the bundled digits, just long enough to write every file.
fn training(checkout: &Checkout) -> Result<()> {
    let out = Checkout::target_dir()?.join("ci-run");
    if out.exists() {
        std::fs::remove_dir_all(&out)?;
    }
    let mut command = cargo::cargo(checkout);
    // In the build that the tests use.
    command.arg("run").args(cargo::OPTIMIZED);
    command.args(["--quiet", "--package", "vdm-cli", "--", "train", "--preset", "digits"]);
    step("training", command.args(["--steps", "20", "--out"]).arg(&out))?;
    ensure!(
        out.join("result.json").is_file(),
        "the training wrote no {}",
        out.join("result.json").display()
    );
    Ok(())
}
