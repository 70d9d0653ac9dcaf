//! The one error type of the crate.

use std::io;
use std::path::{Path, PathBuf};

/// Why something could not be written, read or drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried, a verb: "read", "write", ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's own words.
        source: io::Error,
    },

    /// Something lies where a new folder was to be.
    #[error("{} {found}; name a new folder", .path.display())]
    Occupied {
        /// Where.
        path: PathBuf,
        /// What it is, a verb with its object.
        found: &'static str,
    },

    /// A complete line of a log is not as it was written.
    #[error("{}, line {line}, {problem}; restore the file from a copy, or delete it to begin it anew", .path.display())]
    LogLine {
        /// The log.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },

    /// A document does not say what it said when it was written.
    #[error("{} {problem}; restore it from a copy, or have it written again: `vdm train --resume` of a \
             finished run does", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What gives it away.
        problem: &'static str,
    },

    /// A JSON file does not hold what its name promises.
    #[error("{} does not hold the JSON expected there: {source}", .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What it lacks.
        source: serde_json::Error,
    },

    /// A value cannot be written as JSON.
    #[error("cannot express {what} as JSON: {source}")]
    ToJson {
        /// The thing.
        what: String,
        /// Why not.
        source: serde_json::Error,
    },

    /// Numbers in a file contradict each other.
    #[error("{}: {reason}", .path.display())]
    Inconsistent {
        /// The file.
        path: PathBuf,
        /// Which numbers, and how.
        reason: String,
    },

    /// A preview or an array was asked for that cannot exist.
    #[error("{0}")]
    Shape(String),

    /// A pixel lies outside the levels it was declared to have.
    #[error(
        "pixel {index} has value {value}, but {levels} levels allow 0..={}; pass the levels of the data set",
        .levels - 1
    )]
    PixelOutOfRange {
        /// Index into the pixel buffer.
        index: usize,
        /// The value found.
        value: u8,
        /// The levels declared, at least 2.
        levels: u16,
    },

    /// PNG compression failed.
    #[error("cannot encode a {width} x {height} preview as PNG: {source}")]
    EncodePng {
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
        /// The encoder's words.
        source: png::EncodingError,
    },

    /// A PNG file is damaged.
    #[error("{} is not a readable PNG: {source}", .path.display())]
    DecodePng {
        /// The file.
        path: PathBuf,
        /// The decoder's words.
        source: png::DecodingError,
    },

    /// A plot could not be drawn.
    #[error("cannot draw the plot of {what}: {reason}")]
    Plot {
        /// The quantity plotted.
        what: String,
        /// The plotting library's words.
        reason: String,
    },
}

impl Error {
    /// For `map_err` after an operation on `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// For a document that cannot be trusted.
    pub(crate) fn damaged(path: &Path, problem: &'static str) -> Self {
        Self::Damaged { path: path.to_owned(), problem }
    }

    /// For `map_err` after writing JSON for `path`.
    pub(crate) fn to_json(path: &Path) -> impl Fn(serde_json::Error) -> Self {
        move |source| Self::ToJson { what: path.display().to_string(), source }
    }

    /// Whether the reason is that a file does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}
