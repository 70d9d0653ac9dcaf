//! Settings, each within what it may be.
//!
//! A setting is what a file, a flag or a caller chooses: a number, a name, a list. Every crate refuses one that
//! is out of its bounds in the same shape, so that a message names the setting, its value and what to use instead
//! wherever it comes from. Counts that cost too much are refused by [`count`](crate::count).
//!
//! ```
//! use vdm_core::setting::{InvalidSetting, below_one, require};
//! fn check(dropout: f64, kernel: u32) -> Result<(), InvalidSetting> {
//!     below_one("dropout", dropout)?;
//!     require(kernel % 2 == 1, "kernel", kernel, "use an odd number")
//! }
//! assert_eq!(check(0.1, 3), Ok(()));
//! let refused = |dropout, kernel| check(dropout, kernel).unwrap_err().to_string();
//! assert_eq!(refused(1.0, 3), "dropout = 1: use a number from 0 to below 1");
//! assert_eq!(refused(0.1, 2), "kernel = 2: use an odd number");
//! ```

use std::fmt::Display;

use thiserror::Error;

/// A setting outside of what it may be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field} = {value}: {remedy}")]
pub struct InvalidSetting {
    /// The name of the setting, with a path to it where the name alone would not tell which it is.
    pub field: &'static str,
    /// Its value; of a number at most some twenty characters.
    pub value: String,
    /// What to use instead.
    pub remedy: &'static str,
}

impl InvalidSetting {
    /// From the name of the setting, its value, and what to use instead, as an imperative.
    #[must_use]
    pub fn new(field: &'static str, value: impl Display, remedy: &'static str) -> Self {
        Self { field, value: short(value), remedy }
    }
}

/// A value as it is displayed, or in scientific notation if it is a number that is shorter so.
pub(crate) fn short(value: impl Display) -> String {
    let text = value.to_string();
    let Ok(number) = text.parse::<f64>() else { return text };
    let is_rounded = text.parse::<u128>().is_ok_and(|integer| integer != number as u128);
    let scientific = format!("{number:e}");
    if text.len() > 15 && scientific.len() < text.len() && !is_rounded { scientific } else { text }
}

/// That a setting is legal.
///
/// # Errors
/// [`InvalidSetting`] unless it is.
pub fn require(
    legal: bool,
    field: &'static str,
    value: impl Display,
    remedy: &'static str,
) -> Result<(), InvalidSetting> {
    if legal { Ok(()) } else { Err(InvalidSetting::new(field, value, remedy)) }
}

/// That a count is not 0.
///
/// # Errors
/// [`InvalidSetting`] if it is.
pub fn at_least_one<N: Display + PartialOrd + From<u8>>(
    field: &'static str,
    count: N,
) -> Result<(), InvalidSetting> {
    require(count >= N::from(1), field, count, "use at least 1")
}

/// That a number is finite.
///
/// # Errors
/// [`InvalidSetting`] unless it is.
pub fn finite(field: &'static str, value: f64) -> Result<(), InvalidSetting> {
    require(value.is_finite(), field, value, "use a finite number")
}

/// That a number is above 0 and finite.
///
/// # Errors
/// [`InvalidSetting`] unless it is.
pub fn positive(field: &'static str, value: f64) -> Result<(), InvalidSetting> {
    require(value > 0.0 && value.is_finite(), field, value, "use a finite number above 0")
}

/// That a number is at least 0 and finite.
///
/// # Errors
/// [`InvalidSetting`] unless it is.
pub fn non_negative(field: &'static str, value: f64) -> Result<(), InvalidSetting> {
    require(value >= 0.0 && value.is_finite(), field, value, "use a finite number of at least 0")
}

/// That a number is at least 0 and below 1.
///
/// # Errors
/// [`InvalidSetting`] unless it is.
pub fn below_one(field: &'static str, value: f64) -> Result<(), InvalidSetting> {
    require((0.0..1.0).contains(&value), field, value, "use a number from 0 to below 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_told_in_at_most_some_twenty_characters() {
        for (value, told) in [
            (0.1 + 0.2, "0.30000000000000004"),
            (1e16, "1e16"),
            (-5e-324, "-5e-324"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(short(value), told);
        }
        assert_eq!(short(u64::MAX), "18446744073709551615");
        assert_eq!(short(10_000_000_000_000_001_u64), "10000000000000001");
        assert_eq!(short("a name of more than 15 letters"), "a name of more than 15 letters");
    }

    #[test]
    fn what_is_no_number_is_no_legal_one() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(
                [finite, positive, non_negative, below_one].iter().all(|is| is("x", bad).is_err()),
                "{bad}"
            );
        }
        assert!(positive("x", 0.0).is_err() && non_negative("x", 0.0).is_ok());
        assert!(non_negative("x", -1.0).is_err() && finite("x", -1.0).is_ok());
        assert!(below_one("x", 1.0).is_err() && below_one("x", 0.0).is_ok());
    }
}
