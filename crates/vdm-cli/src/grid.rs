//! `--grid`: where steps lie, by name or by what the model's errors say.

use anyhow::Result;
use vdm_data::Items;
use vdm_sample::GridSpec;
use vdm_sample::grid::GridKind;
use vdm_sample::spec::NameOf;
use vdm_torch::{Evaluation, Model, RunConfig};

use crate::solvers::known;

/// Items that errors are measured on, and noised copies of each: 6,144 in all, 256 in each of the curve's
/// 24 intervals, which tell the error there to a few percent.
const ITEMS: usize = 128;
const COPIES: usize = 48;

/// A grid as the command line names it.
#[derive(Debug, Clone)]
pub(crate) enum Grid {
    /// With all that it needs.
    Given(GridSpec),
    /// `elbo-optimal` by its bare name: from errors that are measured when it is asked for.
    Measured,
}

impl Grid {
    /// By name or as JSON.
    pub(crate) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        match NameOf::Grid.resolve(text) {
            Some("elbo_optimal") => Ok(Self::Measured),
            _ => known(NameOf::Grid, text).map(Self::Given),
        }
    }

    /// The grid for the model of a run. Errors are measured on `items`, which should be none that the result
    /// is about.
    pub(crate) fn of(
        &self,
        model: &Model,
        config: &RunConfig,
        items: impl FnOnce() -> Result<Items>,
    ) -> Result<GridSpec> {
        match self {
            Self::Given(spec) => Ok(spec.clone()),
            Self::Measured => {
                let all = items()?;
                let items = all.select(&(0..all.len().min(ITEMS)).collect::<Vec<_>>());
                let (seed, batch) = (config.seed, config.evaluation.batch);
                let losses = Evaluation::new(model, &items, seed, batch).losses(COPIES)?;
                Ok(GridKind::ElboOptimal { losses }.into())
            }
        }
    }
}
