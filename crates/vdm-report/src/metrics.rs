//! What a training measures: `metrics.jsonl`, and how long that takes: `timings.jsonl`.
//!
//! Everything in the first is a function of configuration and data, so that a run has the same one
//! however often it was interrupted. What a clock says is in the second.

use serde::{Deserialize, Deserializer, Serialize};

use crate::log::{Log, number_or_null};
use crate::result::Term;

/// `metrics.jsonl`.
pub type MetricsLog = Log<Record>;

/// `timings.jsonl`.
pub type TimingsLog = Log<Timing>;

/// One line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Record {
    /// A look at the training loss.
    Train(TrainRecord),
    /// An evaluation on the validation split.
    Validation(ValidationRecord),
}

impl Record {
    /// The optimizer steps taken when it was made.
    #[must_use]
    pub fn step(&self) -> u64 {
        match self {
            Self::Train(record) => record.step,
            Self::Validation(record) => record.step,
        }
    }
}

/// The state of training after a step. Losses are in bits per dimension.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainRecord {
    /// Optimizer steps done, counted from 1.
    pub step: u64,
    /// How many of those since the last record were skipped, for a gradient that was too long. No mean of a loss
    /// has them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: u64,
    /// The whole bound, mean over the steps since the last record; NaN where the loss is weighted, and
    /// none, or every step was skipped.
    #[serde(deserialize_with = "number_or_null")]
    pub loss_bits_per_dim: f64,
    /// The parts of it that training sees.
    pub terms: Vec<Term>,
    /// The loss per dimension, under a weighting that makes it no bound.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "some_number_or_null"
    )]
    pub weighted_loss: Option<f64>,
    /// Learning rate of this step.
    #[serde(deserialize_with = "number_or_null")]
    pub learning_rate: f64,
    /// Norm of the gradient before clipping.
    #[serde(deserialize_with = "number_or_null")]
    pub gradient_norm: f64,
    /// How much the loss of one item varies with its noise level; none of a model without noise levels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variance: Option<LevelVariance>,
}

/// How much the loss of a single item varied since the last record.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LevelVariance {
    /// Variance of its diffusion loss, in (bits per dimension)²; of its weighted loss, per dimension squared,
    /// where the loss is weighted.
    #[serde(deserialize_with = "number_or_null")]
    pub loss_variance: f64,
    /// That over the square of the mean.
    #[serde(deserialize_with = "number_or_null")]
    pub relative_variance: f64,
    /// The least variance any density of noise levels could have given, as a share of that.
    #[serde(deserialize_with = "number_or_null")]
    pub least_variance_share: f64,
}

/// The bound on the validation split, in bits per dimension.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationRecord {
    /// Optimizer steps taken.
    pub step: u64,
    /// The sum of its terms.
    #[serde(deserialize_with = "number_or_null")]
    pub bits_per_dim: f64,
    /// Its standard error over the items.
    #[serde(deserialize_with = "number_or_null")]
    pub standard_error: f64,
    /// What it is the sum of.
    pub terms: Vec<Term>,
}

/// One line of `timings.jsonl`, beside each [`TrainRecord`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Optimizer steps taken.
    pub step: u64,
    /// Seconds of training so far, those before a resume included.
    #[serde(deserialize_with = "number_or_null")]
    pub seconds: f64,
    /// Training speed since the last record.
    #[serde(deserialize_with = "number_or_null")]
    pub images_per_second: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// [`number_or_null`] for a number that may be missing, which `null` is not.
fn some_number_or_null<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    number_or_null(from).map(Some)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A weighted loss that is not finite is still one, and other records say nothing of it.
    #[test]
    fn a_weighted_loss_is_told_from_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut log = MetricsLog::create(&path, &[]).unwrap();
        let record = |weighted_loss| {
            Record::Train(TrainRecord {
                step: 1,
                skipped: 0,
                loss_bits_per_dim: 2.0,
                terms: vec![Term::new("diffusion", 1.0 / 3.0)],
                weighted_loss,
                learning_rate: 2e-3,
                gradient_norm: 1.0,
                variance: None,
            })
        };
        log.append(&record(None)).unwrap();
        assert!(!fs::read_to_string(&path).unwrap().contains("weighted_loss"));
        log.append(&record(Some(0.25))).unwrap();
        log.append(&record(Some(f64::NAN))).unwrap();
        let loss = |record: &Record| match record {
            Record::Train(record) => record.weighted_loss.map(|loss| loss.to_string()),
            Record::Validation(_) => None,
        };
        let losses: Vec<_> = MetricsLog::read(&path).unwrap().iter().map(loss).collect();
        assert_eq!(losses, [None, Some("0.25".into()), Some("NaN".into())]);
    }
}
