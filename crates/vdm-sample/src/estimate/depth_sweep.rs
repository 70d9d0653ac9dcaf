//! The bound at several depths: what more steps change, on average and item by item.
//!
//! Twice the steps lower `L_T` on average over the data if the denoiser is good, but not for every
//! single item (erratum E14, [`vdm_core::bound`]). A depth sweep estimates all depths with the same draws
//! and reports the difference of each depth from the one before, with errors of the differences
//! themselves.

use serde::Serialize;

use super::bound::{Bound, DiffusionTerm, DrawNumbers};
use super::rounds::{EstimateTerm, Series};
use super::terms::BoundTerms;
use super::{Estimate, EstimateError, Summary};

/// Differences that stand out of their own error by this factor count as certain.
const CERTAIN: f64 = 3.0;

/// A depth and how it compares with the one before it.
#[derive(Debug, Clone, PartialEq)]
pub struct DepthEstimate {
    /// Its diffusion term.
    pub diffusion: DiffusionTerm,
    /// The bound.
    pub estimate: Estimate,
    /// What changed from the depth before; `None` for the first.
    pub change: Option<Change>,
}

/// The difference of two bounds on the same items, from the same draws.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Change {
    /// This depth less the one before, in nats per item.
    pub difference: Summary,
    /// Items whose bound became worse, by their estimates.
    pub worse: usize,
    /// Items whose bound became worse by more than 3 standard errors of their difference; `None` for
    /// a single round. With 8 rounds chance alone puts 1 % of unchanged items here.
    pub certainly_worse: Option<usize>,
    /// Of so many.
    pub items: usize,
}

impl Bound<'_> {
    /// The bound with each of some diffusion terms, in place of its own. All take as many rounds: with an
    /// error asked for, until each of them is known so well.
    ///
    /// # Errors
    /// Any [`EstimateError`].
    pub fn depth_sweep<P: BoundTerms + ?Sized>(
        &self,
        process: &P,
        depths: &[DiffusionTerm],
        mut progress: impl FnMut(DiffusionTerm, u64, usize),
    ) -> Result<Vec<DepthEstimate>, EstimateError<P::Error>> {
        self.rounds.check()?;
        if depths.is_empty() {
            return Ok(Vec::new());
        }
        // Room for those of the largest depth: in every round, copies of equal place share their noise.
        let copies = depths.iter().map(|depth| depth.copies()).max().unwrap_or(0);
        let bounds: Vec<Self> =
            depths.iter().map(|diffusion| Self { diffusion: *diffusion, ..*self }).collect();
        let levels: Result<Vec<_>, _> = bounds.iter().map(Self::levels).collect();
        let levels = levels?;
        let names = ["bound", "change", "prior", "reconstruction", "diffusion"];
        let mut series = Vec::new();
        for _ in depths {
            series.push(Series::new(names, process.items())?);
        }
        // All depths take a round before any takes the next: a difference is one of equal rounds.
        for round in 0.. {
            let mut below: Option<Vec<f64>> = None;
            for ((bound, levels), series) in bounds.iter().zip(&levels).zip(&mut series) {
                let values =
                    bound.round(process, levels, DrawNumbers { round, copies }, None, |i| {
                        progress(bound.diffusion, round, i);
                    })?;
                let change = |item: usize, total: f64| {
                    below.as_ref().map_or(0.0, |below| total - below[item])
                };
                let rows = values.iter().enumerate();
                series.add(
                    rows.map(|(i, [total, a, b, c])| [*total, change(i, *total), *a, *b, *c])
                        .collect(),
                )?;
                below = Some(values.iter().map(|[total, ..]| *total).collect());
            }
            if self.rounds.enough(&series) {
                break;
            }
        }
        let estimates = series.into_iter().map(|series| series.finish(&self.rounds));
        Ok(estimates
            .zip(depths)
            .enumerate()
            .map(|(depth, (mut estimate, diffusion))| {
                let change = estimate.terms.remove(0);
                let change = (depth > 0).then(|| Change::of(&change));
                DepthEstimate { diffusion: *diffusion, estimate, change }
            })
            .collect())
    }
}

impl Change {
    fn of(term: &EstimateTerm) -> Self {
        let certainly = |item: &super::Moments| {
            item.standard_error().map(|error| item.mean() > CERTAIN * error)
        };
        let certainly_worse: Option<usize> =
            term.items.iter().map(|item| certainly(item).map(usize::from)).sum();
        Self {
            difference: term.mean,
            worse: term.items.iter().filter(|item| item.mean() > 0.0).count(),
            certainly_worse,
            items: term.items.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::convert::Infallible;
    use std::ops::Range;

    use super::super::terms::NoisedItem;
    use super::*;
    use crate::estimate::Rounds;
    use crate::{GridSpec, Seed};
    use vdm_core::{LogSnr, Schedule};

    /// Remembers which draws it was asked for.
    #[derive(Debug, Default)]
    struct Asked {
        clean: RefCell<Vec<u64>>,
        copies: RefCell<Vec<u64>>,
    }

    impl BoundTerms for Asked {
        type Error = Infallible;
        fn items(&self) -> usize {
            1
        }
        fn dims(&self) -> usize {
            1
        }
        fn prior(&self, items: Range<usize>, _: LogSnr) -> Result<Vec<f64>, Infallible> {
            Ok(vec![0.0; items.len()])
        }
        fn reconstruction(&self, draws: &[NoisedItem]) -> Result<Vec<f64>, Infallible> {
            self.clean.borrow_mut().extend(draws.iter().map(|draw| draw.number));
            Ok(vec![0.0; draws.len()])
        }
        fn noise_errors(&self, draws: &[NoisedItem]) -> Result<Vec<f64>, Infallible> {
            self.copies.borrow_mut().extend(draws.iter().map(|draw| draw.number));
            Ok(vec![1.0; draws.len()])
        }
    }

    /// In every round, whatever the numbers of copies, and no draw twice.
    #[test]
    fn rungs_share_their_draws() {
        let process = Asked::default();
        let schedule = Schedule::linear(5.0, -5.0).unwrap();
        let diffusion = DiffusionTerm::AllSteps { steps: 2 };
        let rounds = Rounds::exactly(2);
        let bound = Bound {
            schedule: &schedule,
            grid: &GridSpec::UNIFORM_TIME,
            diffusion,
            rounds,
            seed: Seed(1),
            batch: 8,
        };
        let depths = [diffusion, DiffusionTerm::Continuous { draws: 3 }];
        bound.depth_sweep(&process, &depths, |_, _, _| ()).unwrap();
        assert_eq!(process.clean.into_inner(), [0, 0, 4, 4]);
        assert_eq!(process.copies.into_inner(), [1, 2, 1, 2, 3, 5, 6, 5, 6, 7]);
    }
}
