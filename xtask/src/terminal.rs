//! The one place where xtask prints.
//!
//! Paths and answers of other programs come from elsewhere. What of them a terminal would obey, or would
//! turn around, is shown escaped; line breaks stay.

use std::fmt::{self, Display, Write as _};
use std::io::{self, ErrorKind, Write};

use anyhow::{Context, Result};

/// Prints a result. A reader that has closed the pipe has seen enough, which is no error.
///
/// # Errors
///
/// If it cannot be written for another reason.
pub(crate) fn print(text: impl Display) -> Result<()> {
    match writeln!(io::stdout(), "{}", Inert(text)) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to the standard output"),
    }
}

/// Prints a message. If that fails there is nobody left to tell.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(io::stderr(), "{}", Inert(text));
}

/// Shown so that a terminal obeys nothing in it.
struct Inert<T>(T);

impl<T: Display> Display for Inert<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.to_string().chars() {
            let is_bidi = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            match c {
                '\n' => f.write_char(c)?,
                c if c.is_control() || is_bidi => write!(f, "{}", c.escape_unicode())?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_in_a_path() {
        let shown = Inert("a\u{1b}[2Jb\u{202e}\u{9b}c\nd é").to_string();
        assert_eq!(shown, "a\\u{1b}[2Jb\\u{202e}\\u{9b}c\nd é");
    }
}
