//! What is summed between two lines of metrics.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::StepReport;

/// Sums over the steps since the last line of metrics was due. Part of a checkpoint, so that the lines
/// of a run do not depend on where it was interrupted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// How many steps.
    pub steps: u64,
    /// How many of them were skipped: their losses are in no sum.
    #[serde(default)]
    pub skipped: u64,
    /// Of the loss, in nats per item.
    pub loss: f64,
    /// Of each named term, in nats per item.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub terms: BTreeMap<String, f64>,
    /// Seconds spent before these steps.
    pub seconds_before: f64,
}

impl Window {
    /// Before any step.
    pub(super) fn new(seconds_before: f64) -> Self {
        Self { seconds_before, ..Self::default() }
    }

    /// The mean over the steps that were not skipped of what has this sum; NaN if all were.
    #[must_use]
    pub fn mean(&self, sum: f64) -> f64 {
        sum / self.steps.saturating_sub(self.skipped) as f64
    }

    pub(super) fn add(&mut self, report: &StepReport) {
        self.steps = self.steps.saturating_add(1);
        if report.skipped {
            self.skipped = self.skipped.saturating_add(1);
            return;
        }
        self.loss += report.loss;
        for (name, nats) in &report.terms {
            *self.terms.entry((*name).to_owned()).or_default() += nats;
        }
    }
}
