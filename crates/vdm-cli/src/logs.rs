//! The logs of a run that goes on: which lines stay, and that none is missing.

use std::path::Path;

use anyhow::{Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use vdm_report::RunDir;
use vdm_report::log::{Log, Records};
use vdm_report::metrics::{MetricsLog, Record, Timing, TimingsLog};
use vdm_torch::checkpoint::CheckpointInfo;
use vdm_torch::{AnyModel, RunConfig};

use crate::terminal;

/// Opens the logs of a run of `steps` that goes on from a checkpoint, or starts.
pub(crate) fn open(
    run: &RunDir,
    from: Option<&CheckpointInfo>,
    steps: u64,
) -> Result<(MetricsLog, TimingsLog)> {
    let Some(from) = from else {
        return Ok((Log::create(&run.metrics(), &[])?, Log::create(&run.timings(), &[])?));
    };
    let RunConfig::<AnyModel> { output, training, .. } = from.config()?;
    let lines = |every, written| Lines::new(from.step, training.steps, every, steps, written);
    let train = lines(output.log_every, true);
    let validation = lines(output.validate_every, from.validation.is_some());
    let lines_of = |record: &Record| match record {
        Record::Train(_) => train,
        Record::Validation(_) => validation,
    };
    let metrics = continued(
        &run.metrics(),
        from.step,
        |record: &Record| lines_of(record).keep(record.step()),
        |records| {
            [train, validation].into_iter().all(|kind| {
                let of_kind = records.iter().filter(|record| lines_of(record) == kind);
                kind.are_all_there(of_kind.map(Record::step))
            })
        },
    )?;
    let timings = continued(
        &run.timings(),
        from.step,
        |timing: &Timing| train.keep(timing.step),
        |timings| train.are_all_there(timings.iter().map(|timing| timing.step)),
    )?;
    Ok((metrics, timings))
}

/// The lines of one kind up to a checkpoint, as a run has them that was never interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lines {
    /// Steps between them.
    every: u64,
    /// Steps done.
    done: u64,
    /// Whether one at the last of these is kept: the last step of a run has one that a longer run lacks.
    at_the_end: bool,
    /// The last step that has one.
    last: u64,
}

impl Lines {
    /// Of a run of `total` steps that is continued to `steps` after `done`; the line there is `written` before
    /// the checkpoint was.
    fn new(done: u64, total: u64, every: u64, steps: u64, written: bool) -> Self {
        let lengthened = total == done && steps > done;
        let at_the_end = written && (!lengthened || done.is_multiple_of(every));
        let before = done - u64::from(!at_the_end && done > 0);
        let last = if at_the_end && total == done { done } else { before - before % every };
        Self { every, done, at_the_end, last }
    }

    fn keep(self, step: u64) -> bool {
        step < self.done || (step == self.done && self.at_the_end)
    }

    /// A log whose seals fit can only lack lines at its end.
    fn are_all_there(self, steps: impl Iterator<Item = u64>) -> bool {
        steps.max().unwrap_or(0) >= self.last
    }
}

/// A log with the lines to keep. What is wrong with later ones does not matter: their steps are taken
/// again.
fn continued<R: Serialize + DeserializeOwned>(
    path: &Path,
    done: u64,
    keep: impl Fn(&R) -> bool,
    are_all_there: impl Fn(&[R]) -> bool,
) -> Result<Log<R>> {
    if done > 0 && !path.exists() {
        let gone = path.display();
        terminal::note(format_args!("note: {gone} is gone: it begins again after step {done}"));
        return Ok(Log::create(path, &[])?);
    }
    let Records { mut intact, fault } = Log::intact(path)?;
    if !are_all_there(&intact) {
        fault.map_or(Ok(()), Err)?;
        bail!(
            "{} ends before step {done}, of which the checkpoint is: lines are missing; restore it from a \
             copy, or delete it to begin it anew",
            path.display()
        );
    }
    intact.retain(keep);
    Ok(Log::create(path, &intact)?)
}
