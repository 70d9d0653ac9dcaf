//! `vdm`: trains, samples and evaluates variational diffusion models.

mod compress;
mod configuration;
mod decompress;
mod engine;
mod evaluate;
mod export;
mod formats;
mod grid;
mod import;
mod logs;
mod observer;
mod opened;
mod output;
mod preset;
mod sample;
mod specification;
mod split;
mod train;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

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
    /// List the solvers that `vdm sample --solver` takes
    Solvers,
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
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()))
        .with_writer(std::io::stderr)
        .init();
    vdm_torch_sys::keep_freed_memory();
    match engine::guarded(|| dispatch(arguments.command)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Train(options) => train::train(&options),
        Command::Sample(options) => sample::sample(&options).map(|()| ExitCode::SUCCESS),
        Command::Solvers => {
            sample::print_solvers();
            Ok(ExitCode::SUCCESS)
        }
        Command::Eval(options) => evaluate::evaluate(&options).map(|()| ExitCode::SUCCESS),
        Command::Compress(options) => compress::compress(&options).map(|()| ExitCode::SUCCESS),
        Command::Decompress(options) => {
            decompress::decompress(&options).map(|()| ExitCode::SUCCESS)
        }
        Command::Import(options) => import::import(&options).map(|()| ExitCode::SUCCESS),
        Command::Export(options) => export::export(&options).map(|()| ExitCode::SUCCESS),
        Command::Report(options) => output::report(&options).map(|()| ExitCode::SUCCESS),
        Command::Presets { name } => {
            configuration::print_presets(name.as_deref()).map(|()| ExitCode::SUCCESS)
        }
    }
}
