//! `vdm`: trains, samples and evaluates variational diffusion models.

mod claim;
mod coder;
mod compress;
mod configuration;
mod decompress;
mod engine;
mod evaluate;
mod export;
mod family;
mod formats;
mod grid;
mod import;
mod items;
mod logs;
mod observer;
mod opened;
mod output;
mod outputs;
mod preset;
mod progress;
mod sample;
mod solvers;
mod specification;
mod stop;
mod terminal;
mod train;

use std::env;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::stop::Stop;

/// Of the whole process, libtorch too. Activations of some hundred kilobytes come and go with every layer, which
/// glibc's allocator merges and splits each time, or unmaps.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Train, sample and evaluate variational diffusion models.
#[derive(Debug, Parser)]
#[command(name = "vdm", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a model; without options on the bundled digits
    Train(train::Options),
    /// Draw samples from a trained model
    Sample(sample::Options),
    /// List the solvers that `vdm sample --solver` takes, or tell all about one
    Solvers {
        /// A solver, by its name here or in another library
        name: Option<String>,
    },
    /// Estimate the likelihood of a split under a trained model
    Eval(evaluate::Options),
    /// Compress images losslessly with a trained model
    Compress(compress::Options),
    /// Read the images of a compressed file
    Decompress(decompress::Options),
    /// Make a run of a model that another library trained
    Import(import::Options),
    /// Write the model of a run as one safetensors file
    Export(export::Options),
    /// Write report.html of a run again, from what lies in its folder
    Report(output::ReportOptions),
    /// List the presets, or print one as JSON
    Presets {
        /// The preset to print
        name: Option<String>,
    },
}

fn main() -> ExitCode {
    let outcome = arguments().and_then(|command| match command {
        Ok(command) => run(command),
        Err(code) => Ok(code),
    });
    outcome.unwrap_or_else(|error| {
        terminal::note(format_args!("error: {}", terminal::described(&error)));
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> Result<ExitCode> {
    terminal::trace();
    // From the start: reading data takes long too.
    let stop = Stop::listen()?;
    vdm_torch_sys::wait_asleep();
    engine::guarded(|| dispatch(command, &stop))
}

/// What is asked for; or the exit code, where the command line is wrong or asks for help.
fn arguments() -> Result<Result<Command, ExitCode>> {
    let error = match Arguments::try_parse() {
        Ok(arguments) => return Ok(Ok(arguments.command)),
        Err(error) => error,
    };
    if !error.use_stderr() {
        terminal::print_lines(&error.to_string())?;
        return Ok(Err(ExitCode::SUCCESS));
    }
    // Its message has several lines, and words of the command line in them: those of inert words.
    let words = env::args_os().map(|word| terminal::Inert(word.display()).to_string());
    let error = Arguments::try_parse_from(words).err().unwrap_or(error);
    terminal::note_lines(&error.to_string());
    Ok(Err(ExitCode::from(error.exit_code() as u8)))
}

fn dispatch(command: Command, stop: &Stop) -> Result<ExitCode> {
    match command {
        Command::Train(options) => return train::train(&options, stop),
        Command::Sample(options) => sample::sample(&options),
        Command::Solvers { name } => solvers::show(name.as_deref()),
        Command::Eval(options) => evaluate::evaluate(&options),
        Command::Compress(options) => compress::compress(&options),
        Command::Decompress(options) => decompress::decompress(&options),
        Command::Import(options) => import::import(&options),
        Command::Export(options) => export::export(&options),
        Command::Report(options) => output::report(&options),
        Command::Presets { name } => configuration::print_presets(name.as_deref()),
    }
    .map(|()| ExitCode::SUCCESS)
}
