//! What is summed between two lines of metrics.

use serde::{Deserialize, Serialize};
use vdm_core::importance::Spread;
use vdm_core::schedule::LogSnrRange;

use super::StepReport;

/// Intervals of log-SNR over which the best density of levels is looked for.
const BINS: usize = 24;

/// Sums over the steps since the last line of metrics was due. Part of a checkpoint, so that the lines
/// of a run do not depend on where it was interrupted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// How many steps.
    pub steps: u64,
    /// Of the loss, in nats per item.
    pub loss: f64,
    /// Of prior and reconstruction, in nats per item, where they change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_terms: Option<f64>,
    /// Of single items' losses.
    pub spread: Spread,
    /// Seconds spent before these steps.
    pub seconds_before: f64,
}

impl Window {
    /// Before any step.
    pub(super) fn new(range: LogSnrRange, seconds_before: f64) -> Self {
        Self {
            steps: 0,
            loss: 0.0,
            end_terms: None,
            spread: Spread::new(range, BINS),
            seconds_before,
        }
    }

    pub(super) fn add(&mut self, report: &StepReport) {
        self.steps = self.steps.saturating_add(1);
        self.loss += report.loss;
        if let Some(end_terms) = report.end_terms {
            *self.end_terms.get_or_insert_default() += end_terms;
        }
        report.draws.iter().for_each(|draw| self.spread.observe(draw));
    }
}
