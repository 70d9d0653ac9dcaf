//! Counts, bounded by what they cost.
//!
//! A number in a flag or a file is a byte or two; what it asks for may be more than any machine has. Each
//! count of the workspace passes here before anything is allocated or run, so that it is an error with the
//! field, the value and the limit, and never a process that is killed or does not end.
//!
//! ```
//! use vdm_core::count::{Cost, bounded};
//! assert_eq!(bounded("steps", 1000, Cost::List)?, 1000);
//! let error = bounded("corrections", usize::MAX, Cost::Calls).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "corrections = 18446744073709551615 is more than 1000000, the most model calls of one sample or draw; \
//!      use fewer"
//! );
//! # Ok::<(), vdm_core::count::TooMany>(())
//! ```

use std::fmt;

use thiserror::Error;

/// What one more of something costs, and with it how many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// A few numbers in memory at once: entries of a table, levels of a grid, bins of a histogram. At most
    /// 2^20, some tens of megabytes.
    List,
    /// A model call of one sample or of one draw, after those before it: steps, corrections, repeats, all
    /// multiplied. At most 10^6, weeks with a small network.
    Calls,
    /// An item of a data set, a sample, or a draw that is averaged, of each of which some numbers are kept. At
    /// most 2^24.
    Items,
    /// Numbers of a tensor that exists at once, items times components. At most 2^29, 2 GiB in single
    /// precision.
    Numbers,
    /// Samples that one seed numbers, of which only some are drawn. At most 2^53, the numbers that JSON keeps.
    Numbered,
    /// Steps of training, and what is counted in them. At most 10^12, a million steps a second for 11 days.
    Training,
}

impl Cost {
    /// The most there may be.
    #[must_use]
    pub const fn limit(self) -> u64 {
        match self {
            Self::List => 1 << 20,
            Self::Calls => 1_000_000,
            Self::Items => 1 << 24,
            Self::Numbers => 1 << 29,
            Self::Numbered => 1 << 53,
            Self::Training => 1_000_000_000_000,
        }
    }
}

/// What the limit is one of.
impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "the most entries of a list that is kept in memory",
            Self::Calls => "the most model calls of one sample or draw",
            Self::Items => "the most items, samples or draws of which something is kept",
            Self::Numbers => "the most numbers of one tensor",
            Self::Numbered => "the largest number of a seed's samples",
            Self::Training => "the most steps of a run",
        })
    }
}

/// A count beyond what it may cost.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field} = {value} is more than {}, {cost}; use fewer", .cost.limit())]
pub struct TooMany {
    /// The name of the number, or of the numbers whose product it is.
    pub field: &'static str,
    /// The number as given; the largest there is for a product beyond it.
    pub value: u64,
    /// What it costs.
    pub cost: Cost,
}

/// The count, if it costs no more than its kind may.
///
/// # Errors
/// [`TooMany`].
pub fn bounded<N: Copy + TryInto<u64>>(
    field: &'static str,
    count: N,
    cost: Cost,
) -> Result<N, TooMany> {
    // No count here has more than 64 bits, or is negative.
    let value = count.try_into().unwrap_or(u64::MAX);
    if value > cost.limit() { Err(TooMany { field, value, cost }) } else { Ok(count) }
}

/// The product of several counts, if it costs no more than its kind may.
///
/// ```
/// use vdm_core::count::{Cost, bounded_product};
/// assert_eq!(bounded_product("batch times components", &[64, 3072], Cost::Numbers), Ok(196_608));
/// assert!(bounded_product("steps times repeats", &[1 << 40, 1 << 40], Cost::Calls).is_err());
/// ```
///
/// # Errors
/// [`TooMany`].
pub fn bounded_product(
    field: &'static str,
    factors: &[usize],
    cost: Cost,
) -> Result<usize, TooMany> {
    bounded(field, factors.iter().fold(1, |product: usize, n| product.saturating_mul(*n)), cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_itself_is_legal_and_one_more_is_not() {
        for cost in
            [Cost::List, Cost::Calls, Cost::Items, Cost::Numbers, Cost::Numbered, Cost::Training]
        {
            assert_eq!(bounded("n", cost.limit(), cost), Ok(cost.limit()));
            let value = cost.limit() + 1;
            assert_eq!(bounded("n", value, cost), Err(TooMany { field: "n", value, cost }));
        }
    }

    #[test]
    fn products_do_not_wrap_around() {
        let half = 1 << (usize::BITS / 2);
        assert!(bounded_product("n", &[half, half, half], Cost::Items).is_err());
        assert_eq!(bounded_product("n", &[usize::MAX, 0], Cost::Items), Ok(0));
    }
}
