//! `--scaling` and `--schedule`: the same model under another diffusion specification.

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use vdm_core::{NoiseSchedule, Scaling, Schedule};
use vdm_torch::Diffusion;

/// What is followed in place of the model's own process (monograph §2.3.3).
#[derive(Debug, clap::Args)]
pub(crate) struct Specification {
    /// Make latents in another scaling than the model's, such as variance-exploding, straight-line or
    /// sub-variance-preserving. Changes no result beyond rounding
    #[arg(long, value_name = "NAME|JSON", value_parser = named::<Scaling>)]
    scaling: Option<Scaling>,
    /// Take levels from another schedule with the model's end points, such as cosine
    #[arg(long, value_name = "NAME|JSON")]
    schedule: Option<String>,
}

/// A choice by its bare name (dashes will do for underscores) or as a JSON object.
pub(crate) fn named<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    if text.trim_start().starts_with('{') {
        serde_json::from_value(vdm_files::distinct(text.as_bytes())?)
    } else {
        serde_json::from_value(Value::String(text.replace('-', "_")))
    }
}

impl Specification {
    /// Whether another than the model's own is asked for.
    pub(crate) fn is_given(&self) -> bool {
        self.scaling.is_some() || self.schedule.is_some()
    }

    /// The schedule and scaling asked for, and `own` where nothing is.
    ///
    /// # Errors
    /// If `--schedule` names none, or one with other end points.
    pub(crate) fn over(&self, own: &Diffusion) -> Result<(Schedule, Scaling)> {
        let scaling = self.scaling.unwrap_or(own.scaling);
        let Some(text) = &self.schedule else { return Ok((own.schedule.clone(), scaling)) };
        let ends = own.schedule.range();
        let schedule: Schedule = if text.trim_start().starts_with('{') {
            vdm_files::distinct(text.as_bytes()).and_then(serde_json::from_value)
        } else {
            let kind = text.replace('-', "_");
            serde_json::from_value(
                json!({"kind": kind, "log_snr_max": ends.max(), "log_snr_min": ends.min()}),
            )
        }
        .with_context(|| {
            format!(
                "--schedule {text} is none: name one that its ends determine, such as cosine, or \
                 write all its fields as a JSON object"
            )
        })?;
        let found = schedule.range();
        ensure!(
            found == ends,
            "--schedule runs from log-SNR {} to {}, the model from {} to {}: give it those ends, \
             other levels are another model",
            found.max(),
            found.min(),
            ends.max(),
            ends.min()
        );
        Ok((schedule, scaling))
    }
}
