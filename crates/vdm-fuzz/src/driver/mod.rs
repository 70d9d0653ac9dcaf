//! Running targets: each in a process of its own, or one input in this one.

mod child;
mod parent;

pub(crate) use child::{child, one};
pub(crate) use parent::parent;

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long an input may take.
const MOST_TIME: Duration = Duration::from_secs(1);
/// After which its process is ended.
const NO_END: Duration = Duration::from_secs(20);
/// How much memory it may have at once, beyond what there was before it, in bytes.
const MOST_MEMORY: usize = 256 << 20;

/// What a target's process found, as it tells the driver.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Report {
    mutants: u64,
    accepted: u64,
    /// Seconds of the slowest input, and its number.
    slowest: (f64, u64),
    /// Most bytes at once, and the number of the input.
    largest: (usize, u64),
    failures: Vec<Failure>,
}

/// An input that broke a promise.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Failure {
    number: u64,
    what: String,
}
