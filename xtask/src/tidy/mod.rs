//! The architecture's invariants, each a function that lists what breaks it.
//!
//! `ARCHITECTURE.md` states them for people under the same numbers; I7 keeps the two together.

pub(crate) mod code;
pub(crate) mod equations;
pub(crate) mod modules;
pub(crate) mod pages;
pub(crate) mod tree;

use tree::{Fault, Tree};

/// An invariant that the sources alone decide.
pub(crate) struct Check {
    pub(crate) id: &'static str,
    pub(crate) statement: &'static str,
    pub(crate) run: fn(&Tree) -> Vec<Fault>,
}

/// The invariant that cargo's dependency tree decides.
pub(crate) const NO_ENGINE: (&str, &str) =
    ("I1", "vdm-core, vdm-random and vdm-sample depend on no tensor engine");

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "I2",
        statement: "only vdm-torch-sys uses `unsafe`",
        run: code::unsafe_outside_shim,
    },
    Check {
        id: "I3",
        statement: "libraries do not print, the program in one place",
        run: code::printing,
    },
    Check {
        id: "I4",
        statement: "libraries use no global randomness",
        run: code::global_randomness,
    },
    Check {
        id: "I5",
        statement: "links and paths in the documentation lead somewhere",
        run: pages::dead_paths,
    },
    Check {
        id: "I6",
        statement: "a file is one idea, below 500 lines of code",
        run: code::long_files,
    },
    Check {
        id: "I7",
        statement: "ARCHITECTURE.md and these checks list each other",
        run: pages::unlisted_invariants,
    },
    Check {
        id: "I8",
        statement: "nothing unfinished and no path of one machine",
        run: code::unfinished_or_local,
    },
    Check {
        id: "I9",
        statement: "the pinned tch, the installed and the reported libtorch fit together",
        run: code::libtorch_version,
    },
    Check {
        id: "I10",
        statement: "every equation in the index has its item and its test, and every such test is there",
        run: equations::broken_index,
    },
    Check {
        id: "I20",
        statement: "the modules of vdm-torch depend on each other one way",
        run: modules::circles,
    },
];

/// The numbers of all invariants checked here.
pub(crate) fn ids() -> impl Iterator<Item = &'static str> {
    std::iter::once(NO_ENGINE.0).chain(CHECKS.iter().map(|check| check.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_invariant_has_a_number_of_its_own() {
        let numbers: std::collections::BTreeSet<_> = ids().collect();
        assert_eq!(numbers.len(), CHECKS.len() + 1);
    }
}
