//! `--grid`: where steps lie, by name or by what the model's errors say.

use anyhow::{Context, Result};
use vdm_data::Dataset;
use vdm_sample::{GridKind, GridSpec, LossTable};
use vdm_torch::{Evaluation, Model, RunConfig};

use crate::specification::named;

/// Items that errors are measured on, and noised copies of each: 6,000 calls, which tell the error in
/// each of the curve's 24 intervals to a few percent.
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
        match text.replace('-', "_").as_str() {
            "elbo_optimal" => Ok(Self::Measured),
            _ => named(text).map(Self::Given),
        }
    }

    /// Its name on the command line.
    pub(crate) fn name(&self) -> Result<String> {
        let Self::Given(spec) = self else { return Ok("elbo-optimal".into()) };
        let spec = serde_json::to_value(spec)?;
        Ok(spec["kind"].as_str().unwrap_or_default().replace('_', "-"))
    }

    /// The grid for the model of a run. A measured one becomes a list of its levels where there is one
    /// number of steps: that is all a reader needs to have the same.
    pub(crate) fn of(
        &self,
        model: &Model,
        config: &RunConfig,
        data: impl FnOnce() -> Result<Dataset>,
        steps: Option<u32>,
    ) -> Result<GridSpec> {
        let losses = || measured(model, config, &data()?);
        match (self, steps) {
            (Self::Given(spec), _) => Ok(spec.clone()),
            (Self::Measured, None) => Ok(GridKind::ElboOptimal { losses: losses()? }.into()),
            (Self::Measured, Some(steps)) => {
                let log_snrs = losses()?.best(steps as usize).with_context(|| {
                    format!(
                        "--steps {steps} --grid elbo-optimal: so many steps gain nothing by a grid"
                    )
                })?;
                Ok(GridKind::LogSnrs { log_snrs }.into())
            }
        }
    }
}

/// Errors by level on validation items, so that no item that a result is about has a say in it.
fn measured(model: &Model, config: &RunConfig, data: &Dataset) -> Result<LossTable> {
    let count = data.validation.len().min(ITEMS);
    let items = data.validation.select(&(0..count).collect::<Vec<_>>());
    let evaluation = Evaluation::new(model, &items, config.seed, config.evaluation.batch);
    Ok(evaluation.losses(COPIES)?)
}
