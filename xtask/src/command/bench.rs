//! `cargo xtask bench`: the criterion targets, the comparison with samplers in Python, or two programs at once.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use lexopt::Arg::Long;
use lexopt::Parser;
use sha2::{Digest, Sha256};

use crate::cache::Cache;
use crate::cargo;
use crate::checkout::Checkout;
use crate::command::{setup, together};
use crate::install;
use crate::terminal;

pub(crate) const HELP: &str = "\
Measures. Without options: every criterion target under benches/.

Usage: cargo xtask bench [--peers | --together] [-- ARGUMENTS OF cargo bench]

  --peers    error by number of model calls, and cost of a step, beside diffusers and k-diffusion:
             brings them, in pinned versions, into a virtual environment in the cache (6 GB), runs
             benches/peers/*.py, and writes docs/overhead.md and docs/work-precision.md with its
             plot
  --together how much longer training and sampling take beside another one of their kind; fails above
             2.2 times. For a machine that does nothing else";

/// What k-diffusion's own requirements would add is not used by its samplers.
const WITHOUT_REQUIREMENTS: &str = "k-diffusion==0.1.1.post1";

/// Runs the command.
///
/// # Errors
///
/// On wrong options, or if a program that measures fails.
pub(crate) fn run(args: Vec<OsString>) -> Result<ExitCode> {
    let (what, rest) = options(args)?;
    let checkout = Checkout::current()?;
    setup::ensure_ready(&checkout)?;
    match what {
        What::Peers => compare(&checkout)?,
        What::Together => together::run(&checkout)?,
        What::Targets => {
            let mut command = cargo::cargo(&checkout);
            let status = command.args(["bench", "--package", "vdm-bench"]).args(rest).status()?;
            return Ok(cargo::exit_code(status));
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Targets,
    Peers,
    Together,
}

/// What is measured, and what is passed on to `cargo bench`.
fn options(args: Vec<OsString>) -> Result<(What, Vec<OsString>), lexopt::Error> {
    let mut what = What::Targets;
    let mut own = args;
    let rest = match own.iter().position(|arg| arg == "--") {
        Some(at) => own.split_off(at).split_off(1),
        None => Vec::new(),
    };
    let mut parser = Parser::from_args(own);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("peers") => what = What::Peers,
            Long("together") => what = What::Together,
            other => return Err(other.unexpected()),
        }
    }
    Ok((what, rest))
}

fn compare(checkout: &Checkout) -> Result<()> {
    let scripts = checkout.root.join("benches/peers");
    let python = environment(&scripts.join("requirements.txt"))?;
    let results = Checkout::target_dir()?.join("peers");
    fs::create_dir_all(&results)?;
    let mut build = cargo::cargo(checkout);
    cargo::run(build.args(["build", "--release", "--package", "vdm-bench", "--bins"]))?;
    let programs = Checkout::target_dir()?.join("release");
    let script = |name: &str| {
        let mut command = Command::new(&python);
        command.arg(scripts.join(format!("{name}.py")));
        command.arg("--out").arg(results.join(format!("{name}.json")));
        command
    };
    // Before anything else has warmed the machine up or kept it busy.
    let mut overhead = script("overhead");
    overhead.arg("--program").arg(programs.join("overhead"));
    cargo::run(overhead.arg("--page").arg(checkout.root.join("docs/overhead.md")))?;
    cargo::run(&mut script("work_precision"))?;
    cargo::run(Command::new(programs.join("work-precision")).arg("--peers").arg(&results))
}

/// The Python of an environment that holds exactly what the file asks for; made once per content.
fn environment(requirements: &Path) -> Result<PathBuf> {
    let cache = Cache::of_user()?;
    let text = fs::read_to_string(requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let digest = Sha256::digest(format!("{text}{WITHOUT_REQUIREMENTS}"));
    let name: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let place = cache.dir.join(format!("peers-{name}"));
    let python = place.join("bin/python");
    let _lock = cache.lock()?;
    let complete = place.join("complete");
    if complete.is_file() {
        return Ok(python);
    }
    install::require_pip()?;
    // PyPI has torch with its CUDA libraries only.
    cache.require_space(8_000_000_000)?;
    terminal::note(format_args!("making an environment for the peers in {}", place.display()));
    // A virtual environment holds its own path, so it cannot be made elsewhere and moved.
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    cargo::run(install::python().args(["-m", "venv"]).arg(&place))?;
    let pip = || {
        let mut pip = Command::new(&python);
        // As `python()`: not among modules of the current folder.
        pip.current_dir("/");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        pip
    };
    cargo::run(pip().arg("--requirement").arg(requirements))?;
    cargo::run(pip().args(["--no-deps", WITHOUT_REQUIREMENTS]))?;
    fs::write(complete, "")?;
    Ok(python)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<OsString> {
        list.iter().map(OsString::from).collect()
    }

    #[test]
    fn what_follows_two_dashes_is_cargos() {
        assert_eq!(options(words(&[])).unwrap(), (What::Targets, words(&[])));
        assert_eq!(options(words(&["--peers"])).unwrap(), (What::Peers, words(&[])));
        assert_eq!(options(words(&["--together"])).unwrap(), (What::Together, words(&[])));
        let passed_on = options(words(&["--", "--bench", "core", "--", "--quick"])).unwrap();
        assert_eq!(passed_on, (What::Targets, words(&["--bench", "core", "--", "--quick"])));
        let error = options(words(&["--python"])).unwrap_err();
        assert!(error.to_string().contains("--python"), "{error}");
    }
}
