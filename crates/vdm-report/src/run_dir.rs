//! The layout of a run folder: every name in one place.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Error;

/// A run folder, as a set of names. Creating one touches no disk.
///
/// ```
/// use std::path::Path;
/// let run = vdm_report::RunDir::new("runs/digits");
/// assert_eq!(run.samples_at(500), Path::new("runs/digits/samples/step-00000500.png"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    /// The run folder at `root`, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself, where the `TensorBoard` files lie too.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `config.json`: the resolved configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root.join("config.json")
    }

    /// `metrics.jsonl`: a [`Record`](crate::metrics::Record) a line.
    #[must_use]
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.jsonl")
    }

    /// `timings.jsonl`: a [`Timing`](crate::metrics::Timing) a line.
    #[must_use]
    pub fn timings(&self) -> PathBuf {
        self.root.join("timings.jsonl")
    }

    /// `checkpoints/`: what training goes on from.
    #[must_use]
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// `.lock`: held by the process that trains here.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join(".lock")
    }

    /// `non_finite.json`: what led to a loss that is not finite.
    #[must_use]
    pub fn non_finite(&self) -> PathBuf {
        self.root.join("non_finite.json")
    }

    /// `samples/`: previews made while training.
    #[must_use]
    pub fn samples_folder(&self) -> PathBuf {
        self.root.join("samples")
    }

    /// `samples/step-00000500.png`: samples of the model as it was after `step` steps.
    #[must_use]
    pub fn samples_at(&self, step: u64) -> PathBuf {
        self.samples_folder().join(format!("step-{step:08}.png"))
    }

    /// `samples.png`: samples of the final model.
    #[must_use]
    pub fn samples_png(&self) -> PathBuf {
        self.root.join("samples.png")
    }

    /// `samples.npy`: the same as an array.
    #[must_use]
    pub fn samples_npy(&self) -> PathBuf {
        self.root.join("samples.npy")
    }

    /// `denoising.png`: one sampling run, a column per noise level.
    #[must_use]
    pub fn denoising(&self) -> PathBuf {
        self.root.join("denoising.png")
    }

    /// `layers.json`: [`Layers`](crate::result::Layers) of a hierarchy.
    #[must_use]
    pub fn layers(&self) -> PathBuf {
        self.root.join("layers.json")
    }

    /// `latents.json`: [`Latents`](crate::result::Latents) of a hierarchy of two.
    #[must_use]
    pub fn latents(&self) -> PathBuf {
        self.root.join("latents.json")
    }

    /// `reconstructions.png`: test items and what a hierarchy makes of them.
    #[must_use]
    pub fn reconstructions(&self) -> PathBuf {
        self.root.join("reconstructions.png")
    }

    /// `loss_by_log_snr.json`: a [`LossByLogSnr`](crate::result::LossByLogSnr).
    #[must_use]
    pub fn loss_by_log_snr(&self) -> PathBuf {
        self.root.join("loss_by_log_snr.json")
    }

    /// `noise_levels.json`: a [`NoiseLevels`](crate::result::NoiseLevels).
    #[must_use]
    pub fn noise_levels(&self) -> PathBuf {
        self.root.join("noise_levels.json")
    }

    /// `result.json`: a [`RunResult`](crate::result::RunResult).
    #[must_use]
    pub fn result(&self) -> PathBuf {
        self.root.join("result.json")
    }

    /// `report.html`: see [`crate::report`].
    #[must_use]
    pub fn report(&self) -> PathBuf {
        self.root.join("report.html")
    }

    /// The first part of a run that is there, if any is.
    #[must_use]
    pub fn first_part(&self) -> Option<PathBuf> {
        let holds_any =
            |folder: &PathBuf| fs::read_dir(folder).is_ok_and(|mut e| e.next().is_some());
        let folders = [self.checkpoints(), self.samples_folder()];
        let found = self.files().into_iter().find(|path| path.exists());
        found.or_else(|| folders.into_iter().find(holds_any)).or_else(|| {
            let entries = fs::read_dir(&self.root).ok()?.flatten();
            entries.map(|entry| entry.path()).find(|path| is_events(path))
        })
    }

    /// Whether a path is that of something which the run keeps for itself: all but its final samples.
    #[must_use]
    pub fn keeps(&self, path: &Path) -> bool {
        let samples = [self.samples_png(), self.samples_npy()];
        let folders = [self.checkpoints(), self.samples_folder()];
        path == self.lock()
            || (is_events(path) && path.parent() == Some(&self.root))
            || folders.iter().any(|folder| path.starts_with(folder))
            || self.files().iter().any(|file| path == file && !samples.contains(file))
    }

    /// Everything but logs of `TensorBoard`, checkpoints and the samples made while training.
    fn files(&self) -> [PathBuf; 14] {
        [
            self.config(),
            self.metrics(),
            self.timings(),
            self.non_finite(),
            self.samples_png(),
            self.samples_npy(),
            self.denoising(),
            self.layers(),
            self.latents(),
            self.reconstructions(),
            self.loss_by_log_snr(),
            self.noise_levels(),
            self.result(),
            self.report(),
        ]
    }

    /// The previews of [`RunDir::samples_at`] that exist, by ascending step. Other files in the
    /// folder are passed over.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder is missing or cannot be listed.
    pub fn sample_steps(&self) -> Result<Vec<u64>, Error> {
        let folder = self.samples_folder();
        let mut steps = Vec::new();
        for entry in fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
            let name = entry.map_err(Error::io("list", &folder))?.file_name();
            steps.extend(name.to_str().and_then(step_of));
        }
        steps.sort_unstable();
        Ok(steps)
    }
}

/// Whether a file is named as a log of `TensorBoard`.
fn is_events(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with("events.out.tfevents."))
}

fn step_of(name: &str) -> Option<u64> {
    name.strip_prefix("step-")?.strip_suffix(".png")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_any_part_of_a_run_has_one() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::new(folder.path());
        assert_eq!(RunDir::new(folder.path().join("missing")).first_part(), None);
        for folder in [run.checkpoints(), run.samples_folder()] {
            fs::create_dir(folder).unwrap();
        }
        for name in [".lock", "notes.txt"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(run.first_part(), None);
        let more =
            [run.checkpoints().join("step-00000002"), run.root().join("events.out.tfevents.1")];
        for part in run.files().into_iter().chain(more) {
            fs::write(&part, "").unwrap();
            let is_sample = [run.samples_png(), run.samples_npy()].contains(&part);
            assert_eq!(run.keeps(&part), !is_sample, "{}", part.display());
            assert!(part.starts_with(run.first_part().unwrap()), "{}", part.display());
            fs::remove_file(&part).unwrap();
        }
    }

    #[test]
    fn steps_are_listed_in_order_and_strangers_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::new(folder.path());
        assert!(run.sample_steps().unwrap_err().is_not_found());

        fs::create_dir(run.samples_folder()).unwrap();
        // The last one has outgrown its eight digits: text order would put it first.
        for step in [2_000, 500, 123_456_789] {
            fs::write(run.samples_at(step), b"").unwrap();
        }
        fs::write(run.samples_folder().join("notes.txt"), b"").unwrap();
        assert_eq!(run.sample_steps().unwrap(), [500, 2_000, 123_456_789]);
    }
}
