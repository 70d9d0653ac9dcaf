//! How far a long command is: a bar on a terminal, else a line every half minute.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

use crate::terminal;

/// Between lines, for a log that somebody follows.
const PAUSE: Duration = Duration::from_secs(30);
/// Between pictures of a bar, for its clock.
const TICK: Duration = Duration::from_millis(500);

/// Where lines go that stand for a bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lines {
    /// Among the results, unless the bar is on the same screen.
    Results,
    /// To the standard error, unless it shows the bar.
    Messages,
}

/// What a long command does and how much of it is done, shown while this lives.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    /// Says lines until the sender is gone.
    teller: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Of `length` parts: `Progress::new("drawing", "samples", 64, …)`.
    pub(crate) fn new(
        what: &'static str,
        unit: &'static str,
        length: u64,
        lines: Lines,
    ) -> Result<Self> {
        let bar = terminal::show(ProgressBar::new(length));
        let template =
            format!("{what} {{bar:24}} {{pos}}/{{len}} {unit}  {{msg}}  {{elapsed}} < {{eta}}");
        bar.set_style(ProgressStyle::with_template(&template)?);
        if terminal::shows_bars() {
            bar.enable_steady_tick(TICK);
        }
        let is_seen = match lines {
            Lines::Results => terminal::is_one_screen(),
            Lines::Messages => terminal::shows_bars(),
        };
        let mut progress = Self { bar, teller: None };
        if !is_seen {
            let bar = progress.bar.clone();
            let line = move || in_words(what, unit, &bar);
            progress.teller = Some(tell(lines, line).context("cannot start a thread")?);
        }
        Ok(progress)
    }

    /// Of samples that are drawn.
    pub(crate) fn drawing(lines: Lines) -> Result<Self> {
        Self::new("drawing", "%", 100, lines)
    }

    /// So much of all is done, from 0 to 1.
    pub(crate) fn share(&self, done: f64) {
        self.set((done * self.bar.length().unwrap_or_default() as f64) as u64);
    }

    /// So many parts are done.
    pub(crate) fn set(&self, done: u64) {
        self.bar.set_position(done);
    }

    /// What else there is to say of where it is.
    pub(crate) fn mention(&self, words: String) {
        self.bar.set_message(words);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.teller.take() {
            drop(sender);
            let _ = thread.join();
        }
        self.bar.finish_and_clear();
    }
}

/// On a thread of its own: one pass of a large network may take longer than the pause.
fn tell(
    lines: Lines,
    line: impl Fn() -> String + Send + 'static,
) -> std::io::Result<(mpsc::Sender<()>, JoinHandle<()>)> {
    let (sender, over) = mpsc::channel::<()>();
    let thread = thread::Builder::new().name("progress".into()).spawn(move || {
        while over.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
            match lines {
                // The command's own next line of results meets the same error, and reports it.
                Lines::Results => terminal::print(line()).unwrap_or_default(),
                Lines::Messages => terminal::note(line()),
            }
        }
    })?;
    Ok((sender, thread))
}

fn in_words(what: &str, unit: &str, bar: &ProgressBar) -> String {
    let (done, length) = (bar.position(), bar.length().unwrap_or_default());
    let line = format!("{what}: {done} of {length} {unit} after {} s", bar.elapsed().as_secs());
    match bar.message().as_str() {
        "" => line,
        words => format!("{line}, {words}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_a_bar_shows() {
        let bar = ProgressBar::hidden().with_message("loss 2.1 bits/dim");
        bar.set_length(64);
        bar.set_position(3);
        let line = in_words("drawing", "samples", &bar);
        assert_eq!(line, "drawing: 3 of 64 samples after 0 s, loss 2.1 bits/dim");
    }
}
