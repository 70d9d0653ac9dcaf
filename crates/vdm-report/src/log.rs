//! Logs: one JSON object a line, appended while a training goes on.
//!
//! A record is one write of one line, on the disk before the next step is taken; so a process killed at
//! any moment leaves at most one torn line, at the end. Each line is sealed after the one before it
//! ([`vdm_files::seal_line`]): a line that was damaged, taken out or moved is found.
//!
//! JSON has no word for NaN and the infinities. They are written as `null` and read back as NaN, so
//! that a run that diverged still leaves a log that every JSON tool can read.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use vdm_files::{Seal, seal_line, unseal_line};

use crate::{Error, files};

/// An open log of records `R`.
#[derive(Debug)]
pub struct Log<R> {
    path: PathBuf,
    file: File,
    /// Of the last line.
    seal: String,
    records: PhantomData<fn(R)>,
}

/// What can be read of a log.
#[derive(Debug)]
pub struct Records<R> {
    /// Up to the first line that is not as it was written.
    pub intact: Vec<R>,
    /// What is wrong with that line. A torn last line is not wrong: it was never finished.
    pub fault: Option<Error>,
}

impl<R: Serialize + DeserializeOwned> Log<R> {
    /// Starts a log at `path` with these records, atomically in place of what lies there.
    ///
    /// # Errors
    /// [`Error::Io`] where the system refuses. The log is then as it was before.
    pub fn create(path: &Path, records: &[R]) -> Result<Self, Error> {
        let (mut text, mut seal) = (String::new(), String::new());
        for record in records {
            let (line, own) = seal_line(record, &seal).map_err(Error::to_json(path))?;
            text.push_str(&line);
            text.push('\n');
            seal = own;
        }
        files::write_atomic(path, text.as_bytes())?;
        let file = OpenOptions::new().append(true).open(path).map_err(Error::io("open", path))?;
        Ok(Self { path: path.to_owned(), file, seal, records: PhantomData })
    }

    /// Appends one line, by one write to an unbuffered file, and waits until it is on the disk.
    ///
    /// # Errors
    /// [`Error::Io`] where the system refuses.
    pub fn append(&mut self, record: &R) -> Result<(), Error> {
        let (line, own) = seal_line(record, &self.seal).map_err(Error::to_json(&self.path))?;
        let written = self.file.write_all((line + "\n").as_bytes());
        written.and_then(|()| self.file.sync_data()).map_err(Error::io("append to", &self.path))?;
        self.seal = own;
        Ok(())
    }

    /// The records of a log, in the order of the file; none of a file that is not there.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that cannot be read.
    pub fn intact(path: &Path) -> Result<Records<R>, Error> {
        match files::read(path) {
            Err(error) if error.is_not_found() => Ok(Records { intact: Vec::new(), fault: None }),
            bytes => Ok(parse(path, &bytes?)),
        }
    }

    /// The same of a log that has to be there, and as it was written.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::LogLine`].
    pub fn read(path: &Path) -> Result<Vec<R>, Error> {
        let Records { intact, fault } = parse(path, &files::read(path)?);
        fault.map_or(Ok(intact), Err)
    }
}

/// A last line without a line feed is torn unless it is whole all the same.
fn parse<R: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Records<R> {
    let (mut intact, mut seal) = (Vec::new(), String::new());
    for (index, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let (text, complete) = match line.strip_suffix(b"\n") {
            Some(text) => (text, true),
            None => (line, false),
        };
        let fault = match record(text, &seal) {
            Ok((record, own)) => {
                intact.push(record);
                seal = own;
                continue;
            }
            Err(_) if !complete => None,
            Err(problem) => {
                Some(Error::LogLine { path: path.to_owned(), line: index + 1, problem })
            }
        };
        return Records { intact, fault };
    }
    Records { intact, fault: None }
}

fn record<R: DeserializeOwned>(text: &[u8], previous: &str) -> Result<(R, String), String> {
    let no_record = |error: serde_json::Error| format!("is no record ({error})");
    let (value, seal, own) = unseal_line(text, previous).map_err(no_record)?;
    match seal {
        Seal::Whole => Ok((serde_json::from_value(value).map_err(no_record)?, own)),
        Seal::Broken => {
            Err("is not as it was written, or does not follow the line before it".into())
        }
        Seal::Absent => Err("has no seal: the program did not write it".into()),
    }
}

/// For `deserialize_with`: `null` stands for a number that was not finite.
pub(crate) fn number_or_null<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Entry {
        step: u64,
        #[serde(deserialize_with = "number_or_null")]
        loss: f64,
    }

    fn entry(step: u64) -> Entry {
        Entry { step, loss: 1.0 / step as f64 }
    }

    fn log_of(steps: &[u64]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut log = Log::create(&path, &[]).unwrap();
        steps.iter().for_each(|&step| log.append(&entry(step)).unwrap());
        (folder, path)
    }

    fn steps(records: &[Entry]) -> Vec<u64> {
        records.iter().map(|entry| entry.step).collect()
    }

    #[test]
    fn what_is_appended_is_read_back_exactly() {
        let (_folder, path) = log_of(&[1, 3]);
        assert_eq!(Log::<Entry>::read(&path).unwrap(), [entry(1), entry(3)]);
        assert!(
            fs::read_to_string(&path).unwrap().starts_with("{\"step\":1,\"loss\":1.0,\"seal\":")
        );
    }

    #[test]
    fn numbers_that_are_not_finite_stay_valid_json_and_come_back_as_nan() {
        let (_folder, path) = log_of(&[]);
        let mut log = Log::create(&path, &[]).unwrap();
        for loss in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            log.append(&Entry { step: 1, loss }).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap().matches(r#""loss":null"#).count(), 3);
        assert!(Log::<Entry>::read(&path).unwrap().iter().all(|entry| entry.loss.is_nan()));
    }

    /// A log that goes on from some of its records has the bytes of one that had no others.
    #[test]
    fn a_log_can_go_on_from_any_record() {
        let (_folder, path) = log_of(&[1, 2, 3]);
        let (_other, uninterrupted) = log_of(&[1, 3, 4]);
        let records = [entry(1), entry(3)];
        Log::create(&path, &records).unwrap().append(&entry(4)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), fs::read(&uninterrupted).unwrap());
    }

    #[test]
    fn a_log_cut_at_any_byte_keeps_its_whole_lines() {
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
            let read = Log::read(&cut).unwrap();
            assert_eq!(steps(&read), expected, "cut after {length} bytes");
        }
    }

    #[test]
    fn a_line_that_is_not_as_it_was_written_is_named() {
        let (_folder, path) = log_of(&[10, 20, 30]);
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let cases = [
            (text.replace("\"step\":20", "\"step\":21"), "line 2,", vec![10]),
            (format!("{}\n{}\n", lines[0], lines[2]), "line 2,", vec![10]),
            (format!("{}\n{text}", lines[0]), "line 2,", vec![10]),
            (text.replace("\"step\":30", "\"stop\":30"), "line 3,", vec![10, 20]),
            (format!("{{\"step\":5,\"loss\":1}}\n{text}"), "line 1, has no seal", vec![]),
            (format!("{text}{{}}\n"), "line 4, has no seal", vec![10, 20, 30]),
            (text.replace("{\"step\":20", "{step:20"), "line 2, is no record", vec![10]),
        ];
        for (damaged, named, before) in cases {
            fs::write(&path, &damaged).unwrap();
            let message = Log::<Entry>::read(&path).unwrap_err().to_string();
            assert!(message.contains("metrics.jsonl") && message.contains(named), "{message}");
            let Records { intact, fault } = Log::<Entry>::intact(&path).unwrap();
            assert_eq!((steps(&intact), fault.unwrap().to_string()), (before, message));
        }
    }

    #[test]
    fn a_missing_log_has_no_records() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let Records { intact, fault } = Log::<Entry>::intact(&path).unwrap();
        assert!(intact.is_empty() && fault.is_none());
        assert!(Log::<Entry>::read(&path).unwrap_err().is_not_found());
    }
}
