//! Rounds of draws, until the mean is known as well as asked.

use std::error::Error;

use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

use vdm_core::count::{Cost, TooMany, bounded};
use vdm_core::schedule::LogSnrRange;
use vdm_core::setting::{InvalidSetting, at_least_one, require};

use super::statistics::{Moments, Summary};
use crate::SolveError;
use crate::grid::GridError;

/// How often every item is estimated anew.
///
/// With a standard error asked for, rounds go on until the one *due to the draws* is at most that:
/// the part that draws can lower. The differences between items stay whatever they are.
///
/// Stopping when an estimate of the error happens to be small makes that estimate a little too small
/// on average, and biases the mean where the two are not independent: rounds of a skewed distribution that lie
/// low also look less spread. Both vanish with the degrees of freedom behind the estimate, `N(m − 1)`
/// for `N` items and `m` rounds; at least 30 are waited for. `docs/likelihood.md` has the
/// coverage that is left.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rounds {
    /// At least so many, `≥ 1`; two tell the error due to the draws.
    pub least: usize,
    /// Never more, `≥ least`.
    pub most: usize,
    /// Stop at this error due to the draws, in nats per item, `> 0`.
    #[serde(default)]
    pub standard_error: Option<f64>,
}

/// Degrees of freedom below which an error is not trusted to stop.
const DEGREES_OF_FREEDOM: usize = 30;

impl Rounds {
    /// So many and no more.
    #[must_use]
    pub fn exactly(rounds: usize) -> Self {
        Self { least: rounds, most: rounds, standard_error: None }
    }

    /// As many as it takes to this error due to the draws in nats per item, but at most `most`.
    #[must_use]
    pub fn until(standard_error: f64, most: usize) -> Self {
        Self { least: most.min(2), most, standard_error: Some(standard_error) }
    }

    pub(super) fn check<E: Error + 'static>(&self) -> Result<(), EstimateError<E>> {
        at_least_one("least rounds", self.least)?;
        let legal = self.most >= self.least;
        require(legal, "most rounds", self.most, "use no fewer than the least")?;
        bounded("rounds", self.most, Cost::Items)?;
        if let Some(error) = self.standard_error {
            require(error > 0.0, "standard error", error, "use a number above 0")?;
        }
        Ok(())
    }

    /// Whether a number is known as well as asked; [`None`] where no error is asked for.
    fn reached(&self, done: usize, total: &[Moments]) -> Option<bool> {
        let known = |wanted| {
            total.len() * (done - 1) >= DEGREES_OF_FREEDOM
                && Summary::of(total).draw_error.is_some_and(|found| found <= wanted)
        };
        self.standard_error.map(known)
    }

    /// Whether all series, of as many rounds, may end.
    pub(super) fn enough<const N: usize>(&self, series: &[Series<N>]) -> bool {
        let done = series.first().map_or(0, |series| series.rounds);
        let known = |series: &Series<N>| self.reached(done, &series.columns[0]).unwrap_or(true);
        done >= self.most || (done >= self.least && series.iter().all(known))
    }

    /// Repeats `round`, which gives every item's values in the order of `names`, the first of them
    /// the estimate itself.
    pub(super) fn run<const N: usize, E: Error + 'static>(
        &self,
        names: [&'static str; N],
        items: usize,
        mut round: impl FnMut(u64) -> Result<Vec<[f64; N]>, EstimateError<E>>,
    ) -> Result<Estimate, EstimateError<E>> {
        self.check()?;
        let mut series = Series::new(names, items)?;
        while series.rounds == 0 || !self.enough(std::slice::from_ref(&series)) {
            series.add(round(series.rounds as u64)?)?;
        }
        Ok(series.finish(self))
    }
}

/// The values of all items, round by round, in the order of some names, the first of which is the estimate
/// itself.
#[derive(Debug, Clone)]
pub(super) struct Series<const N: usize> {
    names: [&'static str; N],
    columns: [Vec<Moments>; N],
    pub(super) rounds: usize,
}

impl<const N: usize> Series<N> {
    pub(super) fn new(names: [&'static str; N], items: usize) -> Result<Self, InvalidSetting> {
        at_least_one("items", items)?;
        let columns = [(); N].map(|()| vec![Moments::default(); items]);
        Ok(Self { names, columns, rounds: 0 })
    }

    /// Observes a round.
    ///
    /// # Panics
    /// If there are not as many rows as items.
    pub(super) fn add<E: Error + 'static>(
        &mut self,
        rows: Vec<[f64; N]>,
    ) -> Result<(), EstimateError<E>> {
        assert_eq!(rows.len(), self.columns[0].len(), "a row for each item");
        for (item, values) in rows.into_iter().enumerate() {
            // The last first: names begin with totals, and what one is made of says more.
            for ((name, column), value) in
                self.names.iter().zip(&mut self.columns).zip(values).rev()
            {
                if !value.is_finite() {
                    return Err(EstimateError::NotFinite { term: name, item, value });
                }
                column[item].add(value);
            }
        }
        self.rounds += 1;
        Ok(())
    }

    pub(super) fn finish(self, plan: &Rounds) -> Estimate {
        let Self { names, columns, rounds } = self;
        let reached = plan.reached(rounds, &columns[0]);
        let mut terms = names.into_iter().zip(columns).map(|(name, items)| EstimateTerm {
            name,
            mean: Summary::of(&items),
            items,
        });
        let total = terms.next().expect("the estimate itself");
        Estimate { total: total.mean, items: total.items, terms: terms.collect(), rounds, reached }
    }
}

/// What was found, in nats per item.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// The number that was asked for: an upper bound on `−log p(x)`, averaged over items.
    pub total: Summary,
    /// The same of each item, over its rounds.
    pub items: Vec<Moments>,
    /// What else was measured with the same draws; which terms, and whether they add up to the total,
    /// the estimator says.
    pub terms: Vec<EstimateTerm>,
    /// Rounds made.
    pub rounds: usize,
    /// Whether the error asked for was reached; [`None`] if none was.
    pub reached: Option<bool>,
}

/// A part of an [`Estimate`], in nats per item.
#[derive(Debug, Clone, PartialEq)]
pub struct EstimateTerm {
    /// Its name.
    pub name: &'static str,
    /// Mean over items.
    pub mean: Summary,
    /// Each item, over its rounds.
    pub items: Vec<Moments>,
}

impl Estimate {
    /// The term of that name, if the estimator has it.
    #[must_use]
    pub fn term(&self, name: &str) -> Option<&EstimateTerm> {
        self.terms.iter().find(|term| term.name == name)
    }
}

/// Why there is no estimate.
#[derive(Debug, ThisError)]
pub enum EstimateError<E: Error + 'static> {
    /// The model reports a fault.
    #[error(transparent)]
    Model(E),
    /// The ODE has no solution.
    #[error(transparent)]
    Solve(SolveError<E>),
    /// A setting out of its bounds, such as a schedule that ends in no noise at all or in nothing else, where no
    /// likelihood is finite, or a grid with other ends than the schedule.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// A count beyond what it may cost.
    #[error(transparent)]
    Count(#[from] TooMany),
    /// No levels for a hierarchy of so many steps.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// An item whose likelihood is no number.
    #[error(
        "the {term} of item {item} is {value}: look for a fault in the model's weights or in the data"
    )]
    NotFinite {
        /// Which number.
        term: &'static str,
        /// Of which item, from 0.
        item: usize,
        /// What it is.
        value: f64,
    },
}

/// That both ends of a schedule are finite.
pub(super) fn check_range(range: LogSnrRange) -> Result<(), InvalidSetting> {
    let value = format_args!("log-SNR from {} to {}", range.min(), range.max());
    let remedy = "truncate it: a likelihood needs finite ends";
    require(range.finite().is_ok(), "schedule", value, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn run(rounds: Rounds, spread: f64) -> Result<Estimate, EstimateError<Infallible>> {
        // Two items around 0 and 1, each off by ±spread in round_of.
        let round = |r: u64| {
            let off = if r.is_multiple_of(2) { spread } else { -spread };
            Ok(vec![[off, 1.0], [1.0 - off, 2.0]])
        };
        rounds.run(["total", "part"], 2, round)
    }

    #[test]
    fn rounds_stop_at_the_error_asked_for() {
        assert_eq!(run(Rounds::exactly(3), 1.0).unwrap().rounds, 3);
        // √(2/m)/2 ≤ 0.1 at m = 50 and a little more, as the variance is m/(m − 1).
        let found = run(Rounds::until(0.1, 1000), 1.0).unwrap();
        assert!((50..=53).contains(&found.rounds), "{}", found.rounds);
        assert!(found.total.draw_error.unwrap() <= 0.1);
        assert_eq!(found.reached, Some(true));
        let stopped = run(Rounds::until(0.1, 20), 1.0).unwrap();
        assert_eq!((stopped.rounds, stopped.reached), (20, Some(false)));
        // With no error at all: 30 degrees of freedom of 2 items, fewer of which tell nothing.
        assert_eq!(run(Rounds::until(0.1, 1000), 0.0).unwrap().rounds, 16);
        assert_eq!(run(Rounds::until(0.1, 15), 0.0).unwrap().reached, Some(false));
        assert_eq!(run(Rounds::exactly(3), 1.0).unwrap().reached, None);
        assert_eq!(found.term("part").unwrap().mean.mean, 1.5);
    }

    #[test]
    fn what_cannot_be_run_is_named() {
        let refused = |rounds| run(rounds, 1.0).unwrap_err().to_string();
        assert!(refused(Rounds::exactly(0)).contains("least rounds = 0"));
        assert!(
            refused(Rounds { least: 3, most: 2, standard_error: None }).contains("most rounds")
        );
        assert!(refused(Rounds::until(0.0, 9)).contains("standard error = 0"));
        let error = run(Rounds::exactly(1), f64::NAN).unwrap_err().to_string();
        assert!(error.contains("total of item 0 is NaN"), "{error}");
        // A total is not finite because a part is not.
        let round = |_| Ok(vec![[0.0, 0.0], [f64::INFINITY, f64::INFINITY]]);
        let found = Rounds::exactly(1).run::<2, Infallible>(["total", "part"], 2, round);
        assert!(found.unwrap_err().to_string().contains("part of item 1 is inf"));
    }
}
