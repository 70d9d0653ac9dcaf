//! The parts of a run, as far as they can be read.

use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use vdm_files::Seal;

use crate::metrics::{MetricsLog, Record, Timing, TimingsLog, TrainRecord, ValidationRecord};
use crate::preview::decoded_size;
use crate::result::{Latents, Layers, LossByLogSnr, NoiseLevels, RunResult};
use crate::{Error, RunDir, files};

/// A page of more than this many bytes a preview opens slowly.
const MAX_PREVIEW_BYTES: usize = 8 << 20;
/// Sample grids of a training shown beside each other.
const MAX_STAGES: usize = 6;

/// A part of the report, or why there is none.
pub(super) type Part<T> = Result<T, Gap>;

/// Why a part is not in the report.
#[derive(Debug)]
pub(super) enum Gap {
    /// Not written yet, or never.
    Absent(String),
    /// Written, but damaged.
    Unreadable(Error),
    /// Nothing to show in it.
    Empty(&'static str),
}

impl fmt::Display for Gap {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(name) => write!(to, "The run has no {name} (yet)."),
            // Some words of a decoder end a sentence themselves.
            Self::Unreadable(error) => {
                write!(to, "Left out: {}.", error.to_string().trim_end_matches('.'))
            }
            Self::Empty(reason) => to.write_str(reason),
        }
    }
}

/// All parts.
#[derive(Debug)]
pub(super) struct Run {
    /// The name of the folder.
    pub(super) name: String,
    /// Whether it is as the run wrote it, which may have been edited since.
    pub(super) config: Part<(Value, Seal)>,
    pub(super) metrics: Part<Metrics>,
    pub(super) timings: Part<Vec<Timing>>,
    pub(super) result: Part<RunResult>,
    pub(super) loss_by_log_snr: Part<LossByLogSnr>,
    pub(super) noise_levels: Part<NoiseLevels>,
    pub(super) samples: Part<Embedded>,
    /// Samples of a few stages of the training, each with its step.
    pub(super) stages: Part<Vec<(u64, Part<Embedded>)>>,
    pub(super) denoising: Part<Embedded>,
    pub(super) layers: Part<Layers>,
    pub(super) latents: Part<Latents>,
    pub(super) reconstructions: Part<Embedded>,
}

/// The metrics log by kind.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    pub(super) train: Vec<TrainRecord>,
    pub(super) validation: Vec<ValidationRecord>,
}

/// A preview inside the page.
#[derive(Debug)]
pub(super) struct Embedded {
    pub(super) width: u32,
    pub(super) height: u32,
    /// A `data:` address that holds the preview itself.
    pub(super) source: String,
}

impl Run {
    pub(super) fn load(dir: &RunDir) -> Self {
        let result: Part<RunResult> = part(&dir.result(), files::read_sealed);
        let steps = result.as_ref().map_or(0, |result| result.steps);
        Self {
            name: folder_name(dir.root()),
            config: part(&dir.config(), files::read_editable),
            metrics: part(&dir.metrics(), |path| Metrics::read(path, steps)),
            timings: part(&dir.timings(), TimingsLog::read),
            result,
            loss_by_log_snr: part(&dir.loss_by_log_snr(), LossByLogSnr::read),
            noise_levels: part(&dir.noise_levels(), files::read_sealed),
            samples: part(&dir.samples_png(), embed),
            stages: stages(dir),
            denoising: part(&dir.denoising(), embed),
            layers: part(&dir.layers(), files::read_sealed),
            latents: part(&dir.latents(), files::read_sealed),
            reconstructions: part(&dir.reconstructions(), embed),
        }
    }

    /// Whether its model has layers of latents in place of noise levels.
    pub(super) fn is_hierarchy(&self) -> bool {
        self.config.as_ref().is_ok_and(|(config, _)| config.get("hierarchy").is_some())
    }
}

impl Metrics {
    /// Those of a run that ended after `steps`, or later; 0 if it has not ended. Lines that are missing
    /// at the end break no seal.
    fn read(path: &Path, steps: u64) -> Result<Self, Error> {
        let mut metrics = Self::default();
        for record in MetricsLog::read(path)? {
            match record {
                Record::Train(record) => metrics.train.push(record),
                Record::Validation(record) => metrics.validation.push(record),
            }
        }
        // The last line of a run is the validation after its last step.
        let last = metrics.validation.last().map_or(0, |record| record.step);
        if last < steps {
            let reason = format!(
                "its last validation is of step {last}, but the run has a result of step {steps}: lines \
                 are missing at its end"
            );
            return Err(Error::Inconsistent { path: path.to_owned(), reason });
        }
        Ok(metrics)
    }
}

fn folder_name(root: &Path) -> String {
    // "." has no name of its own.
    let path = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    path.file_name().map_or_else(|| "run".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn part<T>(path: &Path, read: impl FnOnce(&Path) -> Result<T, Error>) -> Part<T> {
    read(path).map_err(|error| {
        if error.is_not_found() {
            let name = path.file_name().unwrap_or(path.as_os_str());
            Gap::Absent(name.to_string_lossy().into_owned())
        } else {
            Gap::Unreadable(error)
        }
    })
}

fn stages(dir: &RunDir) -> Part<Vec<(u64, Part<Embedded>)>> {
    let steps = part(&dir.samples_folder(), |_| dir.sample_steps())?;
    if steps.is_empty() {
        return Err(Gap::Empty("The run has no previews in samples (yet)."));
    }
    let chosen = evenly(steps.len(), MAX_STAGES).map(|index| steps[index]);
    Ok(chosen.map(|step| (step, part(&dir.samples_at(step), embed))).collect())
}

/// At most `count` indices below `length`, evenly spread, the first and the last among them.
fn evenly(length: usize, count: usize) -> impl Iterator<Item = usize> {
    let count = count.min(length);
    (0..count).map(move |i| (i * (length - 1)).checked_div(count - 1).unwrap_or(length - 1))
}

/// Reads a PNG and decodes it once, so that no damaged preview gets into the page.
fn embed(path: &Path) -> Result<Embedded, Error> {
    let bytes = files::read(path)?;
    if bytes.len() > MAX_PREVIEW_BYTES {
        let reason = format!("{} bytes are too many to put into a page", bytes.len());
        return Err(Error::Inconsistent { path: path.to_owned(), reason });
    }
    let (width, height) = decoded_size(&bytes)
        .map_err(|source| Error::DecodePng { path: path.to_owned(), source })?;
    let source = format!("data:image/png;base64,{}", STANDARD.encode(&bytes));
    Ok(Embedded { width, height, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_spread_evenly_from_first_to_last() {
        let picked = |length| evenly(length, 6).collect::<Vec<_>>();
        assert_eq!(picked(1), [0]);
        assert_eq!(picked(3), [0, 1, 2]);
        assert_eq!(picked(11), [0, 2, 4, 6, 8, 10]);
        assert_eq!(picked(100), [0, 19, 39, 59, 79, 99]);
    }
}
