//! `metrics.jsonl`: one JSON object a line, appended while training.
//!
//! Each record is one write of one line, so a process killed at any moment leaves at most one torn
//! line, at the end. [`MetricsLog::resume`] removes it, together with the records of steps that
//! will be taken again; [`read`] passes over it.
//!
//! JSON has no word for NaN and the infinities. They are written as `null` and read back as NaN, so
//! that a run that diverged still leaves a log that every JSON tool can read.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

use crate::{Error, files};

/// One line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrainRecord {
    /// Optimizer steps taken, counted from 1.
    pub step: u64,
    /// Seconds of training so far, those before a resume included.
    #[serde(deserialize_with = "number_or_null")]
    pub seconds: f64,
    /// The whole bound on this step's batch; NaN where the loss is weighted, and none.
    #[serde(deserialize_with = "number_or_null")]
    pub loss_bits_per_dim: f64,
    /// Its diffusion term alone.
    #[serde(deserialize_with = "number_or_null")]
    pub diffusion_bits_per_dim: f64,
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
    /// Training speed since the last record.
    #[serde(deserialize_with = "number_or_null")]
    pub images_per_second: f64,
    /// Variance of a single item's diffusion loss since the last record, in (bits per dimension)²; of
    /// its weighted loss, per dimension squared, where the loss is weighted.
    #[serde(default = "not_measured", deserialize_with = "number_or_null")]
    pub loss_variance: f64,
    /// That over the square of the mean.
    #[serde(default = "not_measured", deserialize_with = "number_or_null")]
    pub relative_variance: f64,
    /// The least variance any density of noise levels could have given, as a share of that.
    #[serde(default = "not_measured", deserialize_with = "number_or_null")]
    pub least_variance_share: f64,
}

/// What records from before a quantity was measured have for it.
fn not_measured() -> f64 {
    f64::NAN
}

/// The bound on the validation split, in bits per dimension.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ValidationRecord {
    /// Optimizer steps taken.
    pub step: u64,
    /// Seconds of training so far.
    #[serde(deserialize_with = "number_or_null")]
    pub seconds: f64,
    /// The sum of the three terms.
    #[serde(deserialize_with = "number_or_null")]
    pub bits_per_dim: f64,
    /// Its standard error over the items.
    #[serde(deserialize_with = "number_or_null")]
    pub standard_error: f64,
    /// KL divergence of the noisiest latent from its prior.
    #[serde(deserialize_with = "number_or_null")]
    pub prior: f64,
    /// Negative log-likelihood of the data given the cleanest latent.
    #[serde(deserialize_with = "number_or_null")]
    pub reconstruction: f64,
    /// The loss of all denoising steps in between.
    #[serde(deserialize_with = "number_or_null")]
    pub diffusion: f64,
}

/// The open log of a run.
#[derive(Debug)]
pub struct MetricsLog {
    path: PathBuf,
    file: File,
}

impl MetricsLog {
    /// Starts an empty log at `path`, in place of what lies there.
    ///
    /// # Errors
    /// [`Error::Io`] where the system refuses.
    pub fn create(path: &Path) -> Result<Self, Error> {
        files::write_atomic(path, b"")?;
        Self::open(path)
    }

    /// Continues the log of a run that goes on from `last_step`: drops a torn last line and every
    /// record of a later step, atomically, and appends from there. A missing log is an empty one.
    ///
    /// # Errors
    /// [`Error::MetricsLine`] for a complete line that is no record, [`Error::Io`] where the system
    /// refuses. The log is then as it was before.
    pub fn resume(path: &Path, last_step: u64) -> Result<Self, Error> {
        let bytes = match files::read(path) {
            Err(error) if error.is_not_found() => Vec::new(),
            other => other?,
        };
        let mut kept = Vec::with_capacity(bytes.len());
        for (line, record) in parse(path, &bytes)? {
            if record.step() <= last_step {
                kept.extend_from_slice(line);
                kept.push(b'\n');
            }
        }
        files::write_atomic(path, &kept)?;
        Self::open(path)
    }

    fn open(path: &Path) -> Result<Self, Error> {
        let file = OpenOptions::new().append(true).open(path).map_err(Error::io("open", path))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Appends one line, by one write to an unbuffered file.
    ///
    /// # Errors
    /// [`Error::Io`] where the system refuses.
    pub fn append(&mut self, record: &Record) -> Result<(), Error> {
        let mut line = serde_json::to_vec(record)
            .map_err(|source| Error::ToJson { what: format!("{record:?}"), source })?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(Error::io("append to", &self.path))
    }
}

/// All records of a log, in the order of the file.
///
/// # Errors
/// [`Error::Io`] for a file that is missing or unreadable, [`Error::MetricsLine`] for a complete
/// line that is no record.
pub fn read(path: &Path) -> Result<Vec<Record>, Error> {
    let bytes = files::read(path)?;
    Ok(parse(path, &bytes)?.into_iter().map(|(_, record)| record).collect())
}

/// Each line, without its line feed, and the record it holds. A last line without a line feed is
/// torn unless it parses: JSON objects end in a brace, so what parses is whole.
fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Vec<(&'a [u8], Record)>, Error> {
    let mut records = Vec::new();
    for (index, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let (text, complete) = match line.strip_suffix(b"\n") {
            Some(text) => (text, true),
            None => (line, false),
        };
        match serde_json::from_slice(text) {
            Ok(record) => records.push((text, record)),
            Err(_) if !complete => {}
            Err(source) => {
                return Err(Error::MetricsLine { path: path.to_owned(), line: index + 1, source });
            }
        }
    }
    Ok(records)
}

/// For `deserialize_with`: `null` stands for a number that was not finite.
pub(crate) fn number_or_null<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

/// The same for a number that may be missing, which `null` is not.
fn some_number_or_null<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    number_or_null(from).map(Some)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn train(step: u64, loss: f64) -> Record {
        Record::Train(TrainRecord {
            step,
            seconds: 0.1,
            loss_bits_per_dim: loss,
            diffusion_bits_per_dim: 1.0 / 3.0,
            weighted_loss: None,
            learning_rate: 2e-3,
            gradient_norm: 1.0,
            images_per_second: 900.0,
            loss_variance: 0.5,
            relative_variance: 0.2,
            least_variance_share: 0.75,
        })
    }

    fn log_of(steps: &[u64]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut log = MetricsLog::create(&path).unwrap();
        for &step in steps {
            log.append(&train(step, 2.0)).unwrap();
        }
        (folder, path)
    }

    fn steps(path: &Path) -> Vec<u64> {
        read(path).unwrap().iter().map(Record::step).collect()
    }

    #[test]
    fn what_is_appended_is_read_back_exactly() {
        let (_folder, path) = log_of(&[1]);
        assert_eq!(read(&path).unwrap(), [train(1, 2.0)]);
        assert!(fs::read_to_string(&path).unwrap().starts_with(r#"{"kind":"train","step":1,"#));
    }

    #[test]
    fn numbers_that_are_not_finite_stay_valid_json_and_come_back_as_nan() {
        let (_folder, path) = log_of(&[]);
        let mut log = MetricsLog::resume(&path, 0).unwrap();
        for loss in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            log.append(&train(1, loss)).unwrap();
        }
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches(r#""loss_bits_per_dim":null"#).count(), 3);
        for record in read(&path).unwrap() {
            assert!(matches!(record, Record::Train(train) if train.loss_bits_per_dim.is_nan()));
        }
    }

    /// A weighted loss that is not finite is still one, and other records say nothing of it.
    #[test]
    fn a_weighted_loss_is_told_from_a_bound() {
        let (_folder, path) = log_of(&[1]);
        assert!(!fs::read_to_string(&path).unwrap().contains("weighted_loss"));
        let mut log = MetricsLog::resume(&path, 1).unwrap();
        for loss in [0.25, f64::NAN] {
            let Record::Train(record) = train(2, f64::NAN) else { panic!() };
            log.append(&Record::Train(TrainRecord { weighted_loss: Some(loss), ..record }))
                .unwrap();
        }
        let loss = |record: &Record| match record {
            Record::Train(record) => record.weighted_loss.map(|loss| loss.to_string()),
            Record::Validation(_) => None,
        };
        let losses: Vec<_> = read(&path).unwrap().iter().map(loss).collect();
        assert_eq!(losses, [None, Some("0.25".into()), Some("NaN".into())]);
    }

    #[test]
    fn resuming_drops_the_superseded_tail_and_keeps_other_lines_as_they_are() {
        let (_folder, path) = log_of(&[10, 20, 30]);
        let before = fs::read_to_string(&path).unwrap();
        let mut log = MetricsLog::resume(&path, 20).unwrap();
        let lines: Vec<&str> = before.split_inclusive('\n').take(2).collect();
        assert_eq!(fs::read_to_string(&path).unwrap(), lines.concat());

        log.append(&train(25, 2.0)).unwrap();
        assert_eq!(steps(&path), [10, 20, 25]);
    }

    #[test]
    fn a_log_cut_at_any_byte_can_be_read_and_resumed() {
        let (folder, path) = log_of(&[10, 20]);
        let whole = fs::read(&path).unwrap();
        let first = whole.iter().position(|&byte| byte == b'\n').unwrap();
        for length in 0..=whole.len() {
            let cut = folder.path().join("cut.jsonl");
            fs::write(&cut, &whole[..length]).unwrap();
            // A line is complete with its closing brace, one byte before its line feed.
            let expected: &[u64] = match length {
                n if n < first => &[],
                n if n + 1 < whole.len() => &[10],
                _ => &[10, 20],
            };
            assert_eq!(steps(&cut), expected, "cut after {length} bytes");
            MetricsLog::resume(&cut, 20).unwrap().append(&train(21, 2.0)).unwrap();
            assert_eq!(steps(&cut), [expected, &[21]].concat(), "resumed after {length} bytes");
        }
    }

    #[test]
    fn a_complete_line_that_is_no_record_is_named_and_nothing_is_lost() {
        let (_folder, path) = log_of(&[10]);
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("{\"kind\":\"train\",\"step\":11}\n");
        fs::write(&path, &text).unwrap();

        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains("metrics.jsonl, line 2,"), "{message}");
        assert!(message.contains("missing field `seconds`"), "{message}");
        assert!(matches!(MetricsLog::resume(&path, 5), Err(Error::MetricsLine { line: 2, .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn records_from_before_variances_were_measured_can_be_read() {
        let (_folder, path) = log_of(&[10]);
        let text = fs::read_to_string(&path).unwrap();
        let (old, _) = text.split_once(",\"loss_variance\"").unwrap();
        fs::write(&path, format!("{old}}}\n")).unwrap();
        let [Record::Train(record)] = read(&path).unwrap()[..] else { panic!("{old}") };
        assert!(record.step == 10 && record.relative_variance.is_nan());
    }

    #[test]
    fn a_missing_log_resumes_as_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        MetricsLog::resume(&path, 100).unwrap();
        assert_eq!(read(&path).unwrap(), []);
    }
}
