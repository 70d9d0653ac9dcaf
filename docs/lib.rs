//! The code on the pages, as documentation tests: `cargo test -p vdm-docs --doc`.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

#[cfg(doctest)]
#[doc = include_str!("extending.md")]
mod extending {}
