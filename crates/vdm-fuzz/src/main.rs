//! The driver on stable Rust: mutants of every target's valid inputs, with limits on time and memory.
//!
//! Each target runs in a process of its own, so that one that does not end, or that the system kills, is a
//! line in the table like any other; its last input is then known by its number.

mod driver;

use std::process::ExitCode;

use anyhow::{Result, bail};
use lexopt::ValueExt;
use lexopt::prelude::{Long, Value};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const HELP: &str = "\
Mutates the valid inputs of fuzz targets and checks that every mutant is accepted or refused: no panic, at most
1 s, at most 256 MB.

Usage: vdm-fuzz [TARGET…] [--mutants N] [--seed S] [--number I] [--list]

  TARGET…       which targets; all without
  --mutants N   mutants of each target [default: 20000]
  --seconds S   stop each target after so many seconds, if it has mutants left
  --seed S      of the mutations [default: 1]
  --number I    only mutant I, in this process: to repeat one
  --file PATH   only this input, in this process: for what another fuzzer found
  --list        names of the targets";

/// What is asked for.
#[derive(Debug, Clone)]
struct Options {
    targets: Vec<String>,
    mutants: u64,
    seconds: Option<f64>,
    seed: u64,
    number: Option<u64>,
    file: Option<std::path::PathBuf>,
    /// Set by the driver for a target's own process: where it writes the number of its input.
    child: Option<std::path::PathBuf>,
}

fn main() -> Result<ExitCode> {
    let Some(options) = parse()? else { return Ok(ExitCode::SUCCESS) };
    if options.child.is_some() {
        return driver::child(&options);
    }
    if options.number.is_some() || options.file.is_some() {
        return driver::one(&options);
    }
    driver::parent(&options)
}

fn parse() -> Result<Option<Options>> {
    let mut options = Options {
        targets: vec![],
        mutants: 20_000,
        seconds: None,
        seed: 1,
        number: None,
        file: None,
        child: None,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("mutants") => options.mutants = parser.value()?.parse()?,
            Long("seconds") => options.seconds = Some(parser.value()?.parse()?),
            Long("seed") => options.seed = parser.value()?.parse()?,
            Long("number") => options.number = Some(parser.value()?.parse()?),
            Long("file") => options.file = Some(parser.value()?.into()),
            Long("child") => options.child = Some(parser.value()?.into()),
            Long("list") => {
                vdm_fuzz::all().iter().for_each(|target| println!("{}", target.name));
                return Ok(None);
            }
            Long("help") => {
                println!("{HELP}");
                return Ok(None);
            }
            Value(name) => {
                let name = name.string()?;
                if vdm_fuzz::find(&name).is_none() {
                    bail!("there is no target \"{name}\"; --list names them");
                }
                options.targets.push(name);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if options.targets.is_empty() {
        options.targets = vdm_fuzz::all().iter().map(|target| target.name.to_owned()).collect();
    }
    Ok(Some(options))
}
