//! Child cargos that build with the checkout's own configuration, whatever the environment says.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context, Result};

use crate::checkout::Checkout;
use crate::terminal;

/// A variable that, exported, would change how the checkout builds or links.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trap {
    pub name: &'static str,
    pub effect: &'static str,
}

const LOSES_RPATH: &str = "replaces the linking flags of .cargo/local.toml, so that programs do \
    not find libtorch";
const LOSES_DOCTEST_RPATH: &str = "replaces the linking flags of doctests in .cargo/local.toml";
const OTHER_LIBTORCH: &str =
    "makes torch-sys build against something else than third_party/libtorch";

const TRAPS: [Trap; 6] = [
    Trap { name: "RUSTFLAGS", effect: LOSES_RPATH },
    Trap { name: "CARGO_ENCODED_RUSTFLAGS", effect: LOSES_RPATH },
    Trap { name: "RUSTDOCFLAGS", effect: LOSES_DOCTEST_RPATH },
    Trap { name: "CARGO_ENCODED_RUSTDOCFLAGS", effect: LOSES_DOCTEST_RPATH },
    Trap { name: "LIBTORCH_USE_PYTORCH", effect: OTHER_LIBTORCH },
    Trap { name: "LIBTORCH_STATIC", effect: OTHER_LIBTORCH },
];

/// The traps that are set.
pub(crate) fn traps() -> Vec<Trap> {
    TRAPS.into_iter().filter(|trap| std::env::var_os(trap.name).is_some()).collect()
}

/// Says which variables are ignored. Once a run.
pub(crate) fn report_traps() {
    for Trap { name, effect } in traps() {
        terminal::note(format_args!(
            "note: ignoring {name}, which {effect}; unset it before using plain cargo"
        ));
    }
}

/// A cargo in the checkout's root without the traps.
pub(crate) fn cargo(checkout: &Checkout) -> Command {
    // Set by the cargo that runs us: the same toolchain.
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(&checkout.root);
    for trap in TRAPS {
        command.env_remove(trap.name);
    }
    // Only the set-up looks at the user's own.
    command.env_remove("LIBTORCH");
    command
}

/// Builds vdm-core and vdm-sample optimized, which the dev profile does not: their slow tests, and those of
/// the crates above them, take minutes otherwise. What they depend on stays as it is built; what depends on them is built anew, so
/// that commands which share a build must all have these flags or none.
pub(crate) const OPTIMIZED: [&str; 4] = [
    "--config",
    "profile.dev.package.vdm-core.opt-level=1",
    "--config",
    "profile.dev.package.vdm-sample.opt-level=1",
];

/// Builds the program as people run it, and says where it lies.
///
/// # Errors
///
/// If it does not build, or cargo put it elsewhere.
pub(crate) fn build_program(checkout: &Checkout) -> Result<PathBuf> {
    run(cargo(checkout).args(["build", "--profile", "program", "--package", "vdm-cli"]))?;
    let program = Checkout::target_dir()?.join("program/vdm");
    anyhow::ensure!(program.is_file(), "cargo built no {}", program.display());
    Ok(program)
}

/// Runs to the end; a failed status becomes an error that names the command.
///
/// # Errors
///
/// If it cannot be started or fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    anyhow::ensure!(status.success(), "{} failed ({status})", shown(command));
    Ok(())
}

/// `cargo build --release`, for messages.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The exit code of a finished child, as a shell would report it.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_gets_none_of_the_traps() {
        let checkout = Checkout { root: "/nowhere".into() };
        let command = cargo(&checkout);
        for trap in TRAPS {
            assert!(
                command.get_envs().any(|(name, value)| name == trap.name && value.is_none()),
                "{} is passed on",
                trap.name
            );
        }
    }

    #[test]
    fn a_command_is_shown_without_its_folder() {
        let mut command = Command::new("/opt/bin/cargo");
        command.args(["build", "--release"]);
        assert_eq!(shown(&command), "cargo build --release");
    }
}
