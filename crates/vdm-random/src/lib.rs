//! Keyed random streams: numbers as a function of (seed, purpose, step, sample).
//!
//! Whoever asks again gets the same numbers, in whatever order and batch: a resumed run needs no
//! saved state of a generator. [`Seed::stream`] is a generator for one such key, [`fill_normal`] fills
//! a batch of samples with unit normals.
//!
//! ```
//! use vdm_random::{Purpose, Seed, fill_normal};
//!
//! let mut batch = [0.0_f32; 6]; // samples 4 and 5 of three components
//! fill_normal(&mut batch, 3, Seed(1), Purpose::Prior, 0, 4);
//! let mut alone = [0.0_f32; 3];
//! fill_normal(&mut alone, 3, Seed(1), Purpose::Prior, 0, 5);
//! assert_eq!(batch[3..], alone);
//! ```

mod box_muller;
mod normal;
mod seed;

pub use normal::fill_normal;
pub use seed::{Purpose, Seed};

/// The example of the README, so that it cannot rot.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
