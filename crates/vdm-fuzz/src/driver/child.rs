//! The process of one target.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use vdm_fuzz::{Mutator, Scratch, Target, Verdict, find, mutant};

use super::{Failure, MOST_MEMORY, MOST_TIME, Report};
use crate::{MEMORY, Options};

/// Failures after which a target is given up: more tell nothing new.
const ENOUGH: usize = 10;

thread_local! {
    /// Where the last panic was and what it said.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What one input cost.
struct Cost {
    time: Duration,
    bytes: usize,
    /// Accepted or refused, or what went wrong.
    outcome: Result<Verdict, String>,
}

fn measured(target: &Target, scratch: &Scratch, input: &[u8]) -> Cost {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let (start, worked) = (Instant::now(), processor_time());
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| (target.check)(scratch, input)));
    let mut time = start.elapsed();
    if time > MOST_TIME {
        // On a busy machine time passes while the process waits for its turn.
        let worked = worked.zip(processor_time()).map(|(from, to)| to.saturating_sub(from));
        time = worked.map_or(time, |worked| worked.min(time));
    }
    let bytes = MEMORY.peak_usage().saturating_sub(before);
    let outcome = match outcome {
        Err(_) => Err(PANIC.take()),
        Ok(_) if time > MOST_TIME => Err(format!("took {:.1} s", time.as_secs_f64())),
        Ok(_) if bytes > MOST_MEMORY => Err(format!("had {} MB of memory", bytes >> 20)),
        Ok(verdict) => Ok(verdict),
    };
    Cost { time, bytes, outcome }
}

/// What this process has had of the processors, on all threads, in steps of a hundredth of a second. Only Linux
/// tells it without a library.
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the name of the program, in brackets, which may hold anything.
    let (_, fields) = text.rsplit_once(')')?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks: u64 = ticks.sum::<Result<u64, _>>().ok()?;
    Some(Duration::from_millis(10 * ticks))
}

/// All mutants of the one target, told to the driver as JSON.
pub(crate) fn child(options: &Options) -> Result<ExitCode> {
    // Panics are told by the one who catches them.
    panic::set_hook(Box::new(|info| PANIC.set(info.to_string())));
    let target = named(options)?;
    let (mutator, scratch) = (Mutator::new(&target), Scratch::new()?);
    let progress = options.child.as_ref().context("the file of a target's progress")?;
    let progress = File::options().write(true).open(progress)?;
    let (start, mut report) = (Instant::now(), Report::default());
    for number in 0..options.mutants {
        if options.seconds.is_some_and(|most| start.elapsed().as_secs_f64() > most) {
            break;
        }
        // If this is the last that is heard of this process, it is known what it was about.
        progress.write_all_at(&number.to_le_bytes(), 0)?;
        let input = mutator.mutant(options.seed, number);
        let cost = measured(&target, &scratch, &input);
        report.mutants += 1;
        report.slowest = larger(report.slowest, (cost.time.as_secs_f64(), number));
        report.largest = larger(report.largest, (cost.bytes, number));
        match cost.outcome {
            Ok(verdict) => report.accepted += u64::from(verdict == Verdict::Accepted),
            Err(what) => report.failures.push(Failure { number, what }),
        }
        if report.failures.len() >= ENOUGH {
            break;
        }
    }
    println!("{}", serde_json::to_string(&report)?);
    Ok(ExitCode::SUCCESS)
}

fn larger<T: PartialOrd>(old: (T, u64), new: (T, u64)) -> (T, u64) {
    if new.0 > old.0 { new } else { old }
}

fn named(options: &Options) -> Result<Target> {
    let name = options.targets.first().context("name a target")?;
    find(name).with_context(|| format!("there is no target \"{name}\""))
}

/// One input, told to a person. A panic is left to be one.
pub(crate) fn one(options: &Options) -> Result<ExitCode> {
    let target = named(options)?;
    let input = match (&options.file, options.number) {
        (Some(path), _) => std::fs::read(path).with_context(|| path.display().to_string())?,
        (None, number) => mutant(&target, options.seed, number.unwrap_or(0)),
    };
    println!("{} bytes: {}", input.len(), String::from_utf8_lossy(&input).escape_debug());
    let start = Instant::now();
    MEMORY.reset_peak_usage();
    let verdict = (target.check)(&Scratch::new()?, &input);
    let megabytes = MEMORY.peak_usage() >> 20;
    println!("{verdict:?} in {:.3} s with {megabytes} MB", start.elapsed().as_secs_f64());
    Ok(ExitCode::SUCCESS)
}
