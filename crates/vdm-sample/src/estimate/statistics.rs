//! Means over items that are each estimated from a few draws, and how well they are known.
//!
//! With `Ȳᵢ` the mean of item `i` over `m` rounds and `sᵢ²` the variance of one of its rounds, the
//! mean over `N` items has two standard errors:
//!
//! ```text
//! of the mean   √(Σᵢ (Ȳᵢ − Ȳ)² / (N(N − 1)))   what other items and other draws would change
//! of the draws  √(Σᵢ sᵢ²/m) / N                 what other draws for the same items would change
//! ```
//!
//! The first needs no extra term for the draws: the spread of the `Ȳᵢ` already has theirs in it.

use serde::Serialize;

use vdm_core::bound::bits_per_dim;

/// Count, mean and spread of the values seen so far, by Welford's updates, which do not cancel.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moments {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Observes a value.
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        let from_old = value - self.mean;
        self.mean += from_old / self.count as f64;
        self.squares += from_old * (value - self.mean);
    }

    /// How many values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their mean; 0 if there are none.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The unbiased estimate of their variance, from at least two.
    #[must_use]
    pub fn variance(&self) -> Option<f64> {
        (self.count > 1).then(|| self.squares / (self.count - 1) as f64)
    }

    /// Standard error of the mean, from at least two.
    #[must_use]
    pub fn standard_error(&self) -> Option<f64> {
        self.variance().map(|variance| (variance / self.count as f64).sqrt())
    }
}

/// A mean over items with its two standard errors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// The mean.
    pub mean: f64,
    /// Standard error of the mean, for items drawn at random: differences between items and the noise
    /// of their draws together. `None` for a single item.
    pub standard_error: Option<f64>,
    /// Standard error due to the draws alone, for these very items. `None` for a single round.
    pub draw_error: Option<f64>,
}

impl Summary {
    /// Of items with the moments of their rounds.
    #[must_use]
    pub fn of(items: &[Moments]) -> Self {
        let mut means = Moments::default();
        items.iter().for_each(|item| means.add(item.mean()));
        let of_draws = |item: &Moments| item.standard_error().map(|error| error.powi(2));
        let squares: Option<f64> = items.iter().map(of_draws).sum();
        Self {
            mean: means.mean(),
            standard_error: means.standard_error(),
            draw_error: squares.map(|squares| squares.sqrt() / items.len() as f64),
        }
    }

    /// Nats of one item to bits per dimension.
    #[must_use]
    pub fn bits_per_dim(self, dims: usize) -> Self {
        let bits = |nats| bits_per_dim(nats, dims);
        Self {
            mean: bits(self.mean),
            standard_error: self.standard_error.map(bits),
            draw_error: self.draw_error.map(bits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(values: &[f64]) -> Moments {
        let mut moments = Moments::default();
        values.iter().for_each(|value| moments.add(*value));
        moments
    }

    #[test]
    fn moments_do_not_cancel() {
        let far = moments(&[1e9 + 1.0, 1e9 + 2.0, 1e9 + 3.0]);
        assert_eq!((far.count(), far.mean(), far.variance()), (3, 1e9 + 2.0, Some(1.0)));
        assert_eq!(moments(&[4.0]).standard_error(), None);
    }

    /// Items at 1 and 5 with rounds ±1: means 1 and 5, s² = 2 each over two rounds.
    #[test]
    fn the_two_errors_are_those_of_the_formulas() {
        let found = Summary::of(&[moments(&[0.0, 2.0]), moments(&[4.0, 6.0])]);
        assert_eq!(found.mean, 3.0);
        assert_eq!(found.standard_error, Some(2.0));
        assert_eq!(found.draw_error, Some(2.0_f64.sqrt() / 2.0));
        let one_round = Summary::of(&[moments(&[1.0]), moments(&[5.0])]);
        assert_eq!((one_round.standard_error, one_round.draw_error), (Some(2.0), None));
        assert_eq!(Summary::of(&[moments(&[1.0, 2.0])]).standard_error, None);
    }
}
