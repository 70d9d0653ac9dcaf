//! The examples that `cargo xtask ci` builds and runs: each asserts what it shows.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cargo;
use crate::checkout::Checkout;
use crate::terminal;

/// Of the workspace, but for those that write pages.
const EXAMPLES: [&str; 7] = [
    "plain_vec",
    "ndarray",
    "numpy_to_batches",
    "two_patterns",
    "train_swirl",
    "own_network",
    "vae",
];

/// Workspaces of their own, by their folder: sampling on the tensors of another library.
const OTHER_LIBRARIES: [&str; 2] =
    ["crates/vdm-sample/examples-candle", "crates/vdm-sample/examples-onnx"];

/// Builds all of the workspace's examples as the tests build them, and runs [`EXAMPLES`].
///
/// # Errors
///
/// Names the first that does not build or fails.
pub(crate) fn run(checkout: &Checkout) -> Result<()> {
    let mut build = cargo::cargo(checkout);
    build.args(["build", "--quiet", "--workspace", "--all-features", "--examples"]);
    cargo::run(build.args(cargo::OPTIMIZED))?;
    for name in EXAMPLES {
        terminal::print(format_args!("-- {name}"))?;
        cargo::run(&mut Command::new(Checkout::target_dir()?.join("debug/examples").join(name)))?;
    }
    Ok(())
}

/// Checks the examples on other libraries, which are left out only where their packages are neither at
/// hand nor can be fetched.
///
/// # Errors
///
/// Names the first that does not compile, or whose lock file does not fit.
pub(crate) fn check_other_libraries(checkout: &Checkout) -> Result<()> {
    for folder in OTHER_LIBRARIES {
        let manifest = format!("{folder}/Cargo.toml");
        let command = |name| {
            let mut command = cargo::cargo(checkout);
            command.args([name, "--quiet", "--locked", "--manifest-path", &manifest]);
            command
        };
        let mut fetch = command("fetch");
        let fetched =
            fetch.output().with_context(|| format!("cannot start {}", cargo::shown(&fetch)))?;
        if !fetched.status.success() {
            let message = String::from_utf8_lossy(&fetched.stderr);
            ensure!(!message.contains("lock file"), "{folder}: {message}");
            terminal::print(format_args!(
                "-- {folder}: skipped, its packages cannot be fetched\n{message}"
            ))?;
            continue;
        }
        terminal::print(format_args!("-- {folder}"))?;
        let mut check = command("clippy");
        check.arg("--target-dir").arg(Checkout::target_dir()?.join("other-libraries"));
        cargo::run(check.args(["--", "-D", "warnings"]))?;
    }
    Ok(())
}
