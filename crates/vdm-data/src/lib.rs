//! Image data sets as plain bytes: no tensor engine, no printing, no global state.
//!
//! A [`Source`] names where the data come from; [`load`] returns a [`Dataset`] with fixed train,
//! validation and test [`Items`] and a SHA-256 that identifies the data whatever file they came
//! from.
//!
//! | source | what it is | test split |
//! |---|---|---|
//! | [`Source::Digits`] | 1,797 real 8×8 digits of 17 gray values, embedded | 20 %, fixed |
//! | [`Source::Swirl`], [`Source::Clusters`] | generated 2-D points of 8 bits, entropy known exactly | generated apart |
//! | [`Source::Path`] | IDX (MNIST, EMNIST, QMNIST …), CIFAR's binary batches, `.npy`, `.npz`, a folder of PNG and JPEG | the format's own, else 20 % |
//!
//! What a format does not split itself is split by a permutation that depends on nothing but the
//! number of items: 70 % train, 10 % validation, 20 % test where there are no splits at all, and
//! one twelfth of train (at most 5,000 items) for each split that is missing where there are some.
//!
//! Training reads batches through [`Batches`], whose order is a pure function of the seed
//! ([`order`]), on a thread of its own ([`Prefetch`]):
//!
//! ```
//! use std::sync::Arc;
//! use vdm_data::{Batches, Prefetch, Source, load};
//!
//! let digits = load(&Source::Digits {})?;
//! assert_eq!((digits.train.len(), digits.validation.len(), digits.test.len()), (1259, 179, 359));
//! assert_eq!(digits.shape.dims(), 64);
//!
//! let mut batches = Batches::new(Arc::new(digits.train), 7, 32);
//! let mut prefetch = Prefetch::spawn(0, 3, move |step| batches.at(step))?;
//! let first = prefetch.next().expect("batches never end")?;
//! assert_eq!(first.pixels.len(), 32 * 64);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Files are untrusted: a malformed one gives a [`DataError`] that names the file, what was found,
//! what was expected and what to do. Reads are bounded by what a header promises, by [`MAX_BYTES`] and,
//! where data are compressed, by the size of the file; decoding images takes at most 192 MiB on all
//! threads together. Every file of a folder is read, left out with one of [`Dataset::notes`], or refused.

mod batches;
mod dataset;
mod digits;
mod error;
mod format;
mod input;
pub mod order;
mod points;
mod prefetch;
mod random;
mod source;
mod split;

pub use batches::{Batch, Batches};
pub use dataset::{Dataset, Items, Shape};
pub use error::DataError;
pub use input::MAX_BYTES;
pub use points::{
    CellDistribution, clusters_distribution, clusters_entropy_bits_per_dim, swirl_distribution,
    swirl_entropy_bits_per_dim,
};
pub use prefetch::{Prefetch, PrefetchError};
pub use source::{Source, load};

/// The example of the README, so that it cannot rot.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
