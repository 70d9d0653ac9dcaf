//! Fuzz targets: what reads bytes that somebody else wrote.
//!
//! Each [`Target`] is one parser or one kind of document, with valid inputs to start from and a check that
//! any input must pass: it is accepted or refused, never a panic, and what is accepted keeps its type's
//! promises. A schedule that was accepted falls strictly and is finite; a sampler that was accepted runs.
//!
//! Two programs run them. `cargo run --release -p vdm-fuzz` mutates the valid inputs with a fixed seed on
//! stable Rust and also holds each input to a limit of time and memory; `cargo fuzz run TARGET`, in this
//! crate's folder, searches by coverage. `docs/fuzzing.md` says how.
//!
//! ```
//! use vdm_fuzz::{Scratch, Verdict, find};
//! let schedule = find("schedule").unwrap();
//! let scratch = Scratch::new()?;
//! let check = |json: &str| (schedule.check)(&scratch, json.as_bytes());
//! let legal = r#"{"kind": "cosine", "log_snr_max": 9, "log_snr_min": -6}"#;
//! assert_eq!(check(legal), Verdict::Accepted);
//! assert_eq!(check(r#"{"kind": "karras", "rho": 1e-16, "sigma_max": 80, "sigma_min": 2}"#), Verdict::Refused);
//! # Ok::<(), std::io::Error>(())
//! ```

mod corpus;
mod mutate;
mod targets;

pub use mutate::{Mutator, mutant};
pub use targets::{Kind, Scratch, Target, Verdict, all, find};

/// Runs a target on one input, for a fuzzer that calls a function: panics where the target fails.
///
/// # Panics
/// If there is no such target, or the input breaks its promise.
pub fn fuzz(name: &str, input: &[u8]) {
    thread_local! {
        static SCRATCH: Scratch = Scratch::new().expect("a folder for temporary files");
    }
    let target = find(name).unwrap_or_else(|| panic!("there is no target {name}"));
    SCRATCH.with(|scratch| (target.check)(scratch, input));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Valid inputs are valid, so that mutants begin near what is accepted.
    #[test]
    fn the_corpus_of_every_target_is_accepted() {
        let scratch = Scratch::new().unwrap();
        for target in all() {
            let corpus = (target.corpus)();
            let accepted = |input: &&Vec<u8>| (target.check)(&scratch, input) == Verdict::Accepted;
            // Of files of weights some are there for their layout, without all the tensors.
            let weights = target.kind == Kind::Bytes && cfg!(feature = "torch");
            let wanted = if weights { 1 } else { corpus.len() };
            let found = corpus.iter().filter(accepted).count();
            assert!(found >= wanted, "{}: {found} of {} are accepted", target.name, corpus.len());
        }
    }

    #[test]
    fn every_target_is_one_of_cargo_fuzz_too() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        for Target { name, .. } in all() {
            let text = std::fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs")));
            assert!(text.unwrap().contains(&format!("fuzz(\"{name}\"")), "{name}");
            assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name}");
        }
    }
}
