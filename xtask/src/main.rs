//! `cargo xtask`: finds or installs libtorch, then builds and runs the rest of the workspace.
//!
//! Small on purpose: it links nothing of the project and builds in seconds, so that it can prepare
//! the machine for what does not build yet.

mod cache;
mod cargo;
mod checkout;
mod command;
mod examples;
mod hash;
mod install;
mod libtorch;
mod link;
mod machine;
mod manifest;
mod progress;
mod rpath;
mod rust_text;
mod search;
mod terminal;
mod tidy;
mod trust;
mod unpack;
mod wheels;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

/// A subcommand by its name.
struct Subcommand {
    name: &'static str,
    summary: &'static str,
    action: Action,
}

enum Action {
    /// Done here.
    Own { help: &'static str, run: fn(Vec<OsString>) -> Result<ExitCode> },
    /// Done by the `vdm` binary's subcommand of the same name, `--help` included.
    Forwarded,
}

const fn own(
    name: &'static str,
    summary: &'static str,
    help: &'static str,
    run: fn(Vec<OsString>) -> Result<ExitCode>,
) -> Subcommand {
    Subcommand { name, summary, action: Action::Own { help, run } }
}

const fn forwarded(name: &'static str, summary: &'static str) -> Subcommand {
    Subcommand { name, summary, action: Action::Forwarded }
}

const SUBCOMMANDS: &[Subcommand] = &[
    own(
        "setup",
        "find libtorch or install it, and link it into this checkout",
        command::setup::HELP,
        command::setup::run,
    ),
    own(
        "doctor",
        "say what training needs, what is there, and what to do about it",
        command::doctor::HELP,
        command::doctor::run,
    ),
    forwarded("train", "train a model (without arguments: on the bundled digits)"),
    forwarded("sample", "draw samples from a trained model"),
    forwarded("solvers", "list the solvers that sampling can use"),
    forwarded("eval", "measure a trained model's test likelihood"),
    forwarded("compress", "compress images losslessly with a trained model"),
    forwarded("decompress", "read the images of a compressed file"),
    forwarded("import", "make a run of a model that another library trained"),
    forwarded("export", "write a trained model as one safetensors file"),
    forwarded("report", "write a run's report"),
    forwarded("presets", "list the presets, or print one"),
    own(
        "data",
        "bring a data set into the cache and verify it",
        command::data::HELP,
        command::data::run,
    ),
    own("test", "run every test of the workspace", command::test::HELP, command::test::run),
    own(
        "bench",
        "measure: the criterion targets, or the comparison with Python's samplers",
        command::bench::HELP,
        command::bench::run,
    ),
    own(
        "figures",
        "draw the monograph's figures and print its tables, from the code",
        command::figures::HELP,
        command::figures::run,
    ),
    own("tidy", "check the architecture's invariants", command::tidy::HELP, command::tidy::run),
    own("ci", "run all that the continuous integration runs", command::ci::HELP, command::ci::run),
];

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let name = args.next().unwrap_or_else(|| "help".into());
    if name == "help" || name == "--help" || name == "-h" {
        return finish(terminal::print(overview()).map(|()| ExitCode::SUCCESS), "");
    }
    let Some(subcommand) = SUBCOMMANDS.iter().find(|subcommand| name == subcommand.name) else {
        terminal::note(format_args!(
            "error: no command named {}\n\n{}",
            name.display(),
            overview()
        ));
        return ExitCode::FAILURE;
    };
    let args = args.collect();
    match subcommand.action {
        Action::Own { help, run } => finish(run_own(args, help, run), help),
        Action::Forwarded => finish(command::forward::run(subcommand.name, args), ""),
    }
}

fn run_own(
    args: Vec<OsString>,
    help: &str,
    run: fn(Vec<OsString>) -> Result<ExitCode>,
) -> Result<ExitCode> {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        return terminal::print(help).map(|()| ExitCode::SUCCESS);
    }
    run(args)
}

/// Reports an error; a wrong command line also gets the help.
fn finish(outcome: Result<ExitCode>, help: &str) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        match error.downcast_ref::<lexopt::Error>() {
            Some(wrong) => terminal::note(format_args!("error: {wrong}\n\n{help}")),
            None => terminal::note(format_args!("error: {error:#}")),
        }
        ExitCode::FAILURE
    })
}

/// The list of commands.
fn overview() -> String {
    let list: String = SUBCOMMANDS
        .iter()
        .map(|subcommand| format!("  {:<10}  {}\n", subcommand.name, subcommand.summary))
        .collect();
    format!(
        "Usage: cargo xtask COMMAND [ARGUMENTS]\n\n{list}\n\
         `cargo xtask COMMAND --help` tells more about one."
    )
}
