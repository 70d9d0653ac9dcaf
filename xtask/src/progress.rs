//! A line that ticks while a folder is filled.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cache::{bytes_below, megabytes};

/// Runs `work`, showing on stderr how many of `expected` bytes lie in `dir`.
///
/// # Errors
///
/// That of `work`.
pub(crate) fn while_growing<T>(
    label: &str,
    dir: &Path,
    expected: u64,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let start = Instant::now();
    let (done, is_done) = mpsc::channel::<()>();
    let outcome = thread::scope(|scope| {
        scope.spawn(move || tick(label, dir, expected, &is_done));
        let outcome = work();
        drop(done);
        outcome
    });
    eprintln!("{}{label}: {:.1} s", line_start(), start.elapsed().as_secs_f64());
    outcome
}

fn tick(label: &str, dir: &Path, expected: u64, done: &mpsc::Receiver<()>) {
    // A log wants few lines, a terminal one that moves.
    let terminal = io::stderr().is_terminal();
    let pause = Duration::from_millis(if terminal { 500 } else { 5000 });
    let end = if terminal { "" } else { "\n" };
    while done.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        // pip holds each file twice for a moment.
        let so_far = bytes_below(dir).min(expected);
        eprint!("{}{label}: {} of {}{end}", line_start(), megabytes(so_far), megabytes(expected));
        // Nothing is lost if a progress line is.
        let _ = io::stderr().flush();
    }
}

/// Clears the moving line of a terminal.
fn line_start() -> &'static str {
    if io::stderr().is_terminal() { "\r\x1b[2K" } else { "" }
}
