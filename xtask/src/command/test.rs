//! `cargo xtask test`: the tests of the workspace, counted.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use lexopt::Arg::Long;
use lexopt::Parser;

use crate::cargo;
use crate::checkout::Checkout;
use crate::command::setup;
use crate::terminal;

pub(crate) const HELP: &str = "\
Runs the tests of the workspace, those that need libtorch and the documentation's included.
Sets up libtorch first if needed. The last line counts them.

Usage: cargo xtask test [--full | --faults]

  --full      also the slow ones, most of them statistical, which are ignored otherwise; vdm-core and
              vdm-sample are then built optimized, and what depends on them anew
  --faults    only those of docs/reliability.md, and many more of each: 1,000 kills, 300 damages of each
              file (VDM_FAULT_KILLS and VDM_FAULT_DAMAGES choose other numbers); about an hour";

/// Runs the command.
///
/// # Errors
///
/// On wrong options, or if the tests cannot be started.
pub(crate) fn run(args: Vec<OsString>) -> Result<ExitCode> {
    let tier = options(args)?;
    let checkout = Checkout::current()?;
    setup::ensure_ready(&checkout)?;
    run_tests(&checkout, tier)
}

/// Which tests are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    /// Those that nobody minds waiting for.
    Quick,
    /// The slow ones too, but for those that train a network for minutes.
    Ci,
    /// All.
    Full,
    /// What happens to a run when the machine under it fails, at length.
    Faults,
}

/// How many of each are tried at length, by the variables that say so.
const FAULTS: [(&str, &str); 2] = [("VDM_FAULT_KILLS", "1000"), ("VDM_FAULT_DAMAGES", "300")];

/// The tests of vdm-torch that train for a minute or two.
const TRAININGS: [&str; 2] =
    ["the_energy_preset_learns_the_clusters", "the_swirl_is_learned_to_within_4_percent"];

fn options(args: Vec<OsString>) -> Result<Tier, lexopt::Error> {
    let mut tier = Tier::Quick;
    let mut parser = Parser::from_args(args);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("full") if tier == Tier::Quick => tier = Tier::Full,
            Long("faults") if tier == Tier::Quick => tier = Tier::Faults,
            other => return Err(other.unexpected()),
        }
    }
    Ok(tier)
}

/// Runs the tests of a tier, showing cargo's output as it comes; the count is the last line.
///
/// # Errors
///
/// If cargo cannot be started.
pub(crate) fn run_tests(checkout: &Checkout, tier: Tier) -> Result<ExitCode> {
    let start = Instant::now();
    let mut command = cargo::cargo(checkout);
    command.args(["test", "--workspace", "--all-features", "--no-fail-fast"]);
    command.args(cargo::OPTIMIZED);
    match tier {
        Tier::Quick => {}
        Tier::Full => {
            command.args(["--", "--include-ignored"]);
        }
        Tier::Ci => {
            command.args(["--", "--include-ignored"]);
            command.args(TRAININGS.iter().flat_map(|name| ["--skip", *name]));
        }
        Tier::Faults => {
            command.args(["--test", "faults", "--", "--nocapture"]);
            for (variable, number) in FAULTS.iter().filter(|(v, _)| std::env::var_os(v).is_none()) {
                command.env(variable, number);
            }
        }
    }
    let (summary, status) = stream(&mut command)?;
    let seconds = start.elapsed().as_secs_f64();
    if summary.binaries == 0 {
        terminal::print("no test ran: the workspace does not build")?;
    }
    terminal::print(format_args!(
        "{} test programs, {seconds:.0} s with the build",
        summary.binaries
    ))?;
    terminal::print(format_args!(
        "{} passed, {} failed, {} ignored",
        summary.passed, summary.failed, summary.ignored
    ))?;
    Ok(cargo::exit_code(status))
}

fn stream(command: &mut Command) -> Result<(Summary, std::process::ExitStatus)> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", cargo::shown(command)))?;
    let mut summary = Summary::default();
    let output = child.stdout.take().context("cargo's output was not captured")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        summary.take(&line);
    }
    Ok((summary, child.wait()?))
}

/// The sum over all test programs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Summary {
    binaries: usize,
    passed: usize,
    failed: usize,
    ignored: usize,
}

impl Summary {
    /// Adds a line like `test result: ok. 3 passed; 0 failed; 1 ignored; …`; others are nothing.
    fn take(&mut self, line: &str) {
        let Some((_, counts)) =
            line.strip_prefix("test result: ").and_then(|result| result.split_once(". "))
        else {
            return;
        };
        self.binaries += 1;
        for count in counts.split(';') {
            let Some((number, kind)) = count.trim().split_once(' ') else { continue };
            let Ok(number) = number.parse::<usize>() else { continue };
            match kind {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_add_up_over_programs_and_other_lines_do_not_count() {
        let mut summary = Summary::default();
        for line in [
            "running 4 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.12s",
            "test a_test ... ok",
            "test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
        ] {
            summary.take(line);
        }
        assert_eq!(summary, Summary { binaries: 2, passed: 8, failed: 2, ignored: 1 });
    }

    #[test]
    fn a_tier_is_one_option() {
        let tier = |words: &[&str]| options(words.iter().map(OsString::from).collect());
        assert_eq!(tier(&[]).unwrap(), Tier::Quick);
        assert_eq!(tier(&["--full"]).unwrap(), Tier::Full);
        assert_eq!(tier(&["--faults"]).unwrap(), Tier::Faults);
        assert!(tier(&["--full", "--faults"]).unwrap_err().to_string().contains("--faults"));
        assert!(tier(&["--all"]).unwrap_err().to_string().contains("--all"));
    }
}
