//! The process that starts the others and says what they found.

use std::env;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use vdm_fuzz::{find, mutant};

use super::{Failure, NO_END, Report};
use crate::Options;

/// Every target in its own process, a line for each, and the inputs that failed as files.
pub(crate) fn parent(options: &Options) -> Result<ExitCode> {
    println!(
        "{:<20} {:>9} {:>9} {:>9} {:>11} {:>11} {:>9}",
        "target", "mutants", "accepted", "refused", "slowest", "largest", "seconds"
    );
    let mut failed = false;
    for name in &options.targets {
        let start = Instant::now();
        let report = run(name, options)?;
        let refused = report.mutants - report.accepted - report.failures.len() as u64;
        println!(
            "{name:<20} {:>9} {:>9} {refused:>9} {:>8.1} ms {:>8.1} MB {:>9.1}",
            report.mutants,
            report.accepted,
            1e3 * report.slowest.0,
            report.largest.0 as f64 / f64::from(1 << 20),
            start.elapsed().as_secs_f64()
        );
        for failure in &report.failures {
            failed = true;
            tell(name, options.seed, failure)?;
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// One target, whatever becomes of its process.
fn run(name: &str, options: &Options) -> Result<Report> {
    let progress = tempfile::NamedTempFile::new()?;
    let mut command = Command::new(env::current_exe()?);
    command.arg(name).arg("--child").arg(progress.path());
    command.arg("--mutants").arg(options.mutants.to_string());
    command.arg("--seed").arg(options.seed.to_string());
    if let Some(seconds) = options.seconds {
        command.arg("--seconds").arg(seconds.to_string());
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut out = child.stdout.take().context("the output of a target's process")?;
    let reader = thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).map(|_| text)
    });
    let hung = watch(&mut child, progress.path())?;
    let status = child.wait()?;
    let text = reader.join().ok().context("the output of a target's process")??;
    if let (true, Ok(report)) = (status.success(), serde_json::from_str(&text)) {
        return Ok(report);
    }
    let number = number(progress.path())?.unwrap_or(0);
    let what = if hung {
        format!("did not end within {} s", NO_END.as_secs())
    } else {
        format!("ended its process: {status}")
    };
    let failures = vec![Failure { number, what }];
    Ok(Report { mutants: number + 1, accepted: number, failures, ..Report::default() })
}

/// Waits for the end of a process, and ends one that stays at an input. Whether it did.
fn watch(child: &mut Child, progress: &Path) -> Result<bool> {
    let mut last = (None, Instant::now());
    loop {
        if child.try_wait()?.is_some() {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(20));
        let now = number(progress)?;
        if now != last.0 {
            last = (now, Instant::now());
        } else if last.1.elapsed() > NO_END {
            child.kill()?;
            return Ok(true);
        }
    }
}

/// The number of the input that a process is at.
fn number(progress: &Path) -> Result<Option<u64>> {
    let bytes: Result<[u8; 8], _> = fs::read(progress)?.try_into();
    Ok(bytes.ok().map(u64::from_le_bytes))
}

/// Writes an input that failed and says how to repeat it.
fn tell(name: &str, seed: u64, failure: &Failure) -> Result<()> {
    let Failure { number, what } = failure;
    let target = find(name).with_context(|| format!("there is no target \"{name}\""))?;
    let folder = PathBuf::from("target").join("fuzz");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{name}-{seed}-{number}"));
    fs::write(&path, mutant(&target, seed, *number))?;
    println!("  mutant {number}: {}", what.replace('\n', "\n    "));
    println!("    written to {}; to repeat:", path.display());
    println!("    cargo run --release -p vdm-fuzz -- {name} --seed {seed} --number {number}");
    Ok(())
}
