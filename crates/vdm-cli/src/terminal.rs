//! The one door to the terminal: lines of results, of messages, and what keeps bars out of their way.
//!
//! Paths, headers and fields come from other people's files. What of them a terminal would obey, or
//! would turn around, or that would begin a line of its own, is shown as JSON writes it: `\u001b`,
//! `\u202e`, `\n`. A JSON document thus stays the same document.

use std::fmt::{self, Display, Write as _};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::LazyLock;

use anyhow::{Context, Error, Result};
use indicatif::{MultiProgress, ProgressBar};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The bars on the terminal; lines are printed above them.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Prints a line of results for people or pipes.
///
/// A reader that has seen enough and closed the pipe is no error: `vdm eval … | head -1` must not
/// fail. A line that is lost for any other reason is.
pub(crate) fn print(line: impl Display) -> Result<()> {
    let line = format!("{}\n", Inert(line));
    let written = BARS.suspend(|| {
        let mut out = io::stdout().lock();
        out.write_all(line.as_bytes()).and_then(|()| out.flush())
    });
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to the standard output"),
    }
}

/// The same of each line of a text whose line breaks are our own.
pub(crate) fn print_lines(text: &str) -> Result<()> {
    text.lines().try_for_each(print)
}

/// Prints a message on the standard error. If that fails there is nobody left to tell.
pub(crate) fn note(message: impl Display) {
    let line = format!("{}\n", Inert(message));
    let _ = BARS.suspend(|| io::stderr().lock().write_all(line.as_bytes()));
}

/// The same of each line of a text whose line breaks are our own.
pub(crate) fn note_lines(text: &str) {
    text.lines().for_each(note);
}

/// Shows a bar while it lives, if there is a terminal to show it on.
pub(crate) fn show(bar: ProgressBar) -> ProgressBar {
    BARS.add(bar)
}

/// Whether bars can be seen.
pub(crate) fn shows_bars() -> bool {
    !BARS.is_hidden()
}

/// Whether results and bars appear on one screen.
pub(crate) fn is_one_screen() -> bool {
    shows_bars() && io::stdout().is_terminal()
}

/// An error with its causes, each said once: many of them have their cause in their own words too.
pub(crate) fn described(error: &Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// Sends diagnostics (`RUST_LOG`) through the same door.
pub(crate) fn trace() {
    let chosen = std::env::var("RUST_LOG").ok().and_then(|chosen| chosen.parse().ok());
    let chosen = chosen.unwrap_or_else(|| Targets::new().with_default(LevelFilter::WARN));
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(|| Notes);
    tracing_subscriber::registry().with(lines).with(chosen).init();
}

/// Each write is one event of diagnostics, with a line break at its end.
struct Notes;

impl Write for Notes {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        note(String::from_utf8_lossy(event).trim_end_matches('\n'));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Shown so that a terminal obeys nothing in it.
pub(crate) struct Inert<T>(pub(crate) T);

impl<T: Display> Display for Inert<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.to_string().chars() {
            match c {
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c if is_obeyed(c) => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// The control characters of ASCII and Latin 1, the separators of lines, and what sets the direction of
/// writing (Unicode's property `Bidi_Control`). All of them have four digits.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}')
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown_as_json_writes_it() {
        let hostile = "a\u{1b}[2Jb\u{7f}c\u{9b}31md\u{202e}e\nf\u{2028}g\u{7}";
        let shown = Inert(hostile).to_string();
        assert_eq!(shown, r"a\u001b[2Jb\u007fc\u009b31md\u202ee\nf\u2028g\u0007");
        let read: String = serde_json::from_str(&format!("\"{shown}\"")).unwrap();
        assert_eq!(read, hostile);
        // Names as people have them stay as they are.
        let names = "Ünï/日本語/ملف/👩\u{200d}🔬 'a\" b\\c";
        assert_eq!(Inert(names).to_string(), names);
        let obeyed =
            (0..=u32::from(char::MAX)).filter_map(char::from_u32).filter(|c| is_obeyed(*c));
        assert_eq!(obeyed.count(), 65 + 2 + 12);
    }

    #[test]
    fn a_cause_is_said_once() {
        let folder = tempfile::tempdir().unwrap();
        let read = vdm_report::files::read_sealed::<u32>(folder.path()).unwrap_err();
        let said = described(&Error::new(read).context("while reading"));
        assert_eq!(said.matches("Is a directory (os error 21)").count(), 1, "{said}");
        assert!(said.starts_with("while reading: cannot read"), "{said}");
        let apart = anyhow::anyhow!("the cause").context("the consequence");
        assert_eq!(described(&apart), "the consequence: the cause");
    }
}
