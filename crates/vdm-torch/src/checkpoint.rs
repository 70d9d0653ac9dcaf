//! Checkpoints: weights, their average, optimizer moments and the step, written atomically.
//!
//! ```text
//! checkpoints/step-00000500/
//!     model.safetensors      weights of the average, the ones to sample and evaluate with
//!     training.safetensors   trained weights `weights.*` and moments `exp_avg.*`, `exp_avg_sq.*`
//!     checkpoint.json        format, step, seconds trained, model with its schedule, data,
//!                            validation result, what was learned about noise levels
//! ```
//!
//! A checkpoint is a folder that appears under its name when all of it is on disk, and loses that
//! name before any of it is deleted; folders called `unfinished-…` are in between. Nothing else is
//! state: order of data, times and noise are functions of (seed, step).

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use vdm_core::importance::Adaptive;
use vdm_sample::Seed;

use crate::Error;
use crate::model::{Model, ModelSpec};
use crate::train::ScheduleMoments;

const FORMAT: u32 = 1;
const MODEL: &str = "model.safetensors";
const TRAINING: &str = "training.safetensors";
const INFO: &str = "checkpoint.json";
/// Start of the names of folders that are no checkpoints yet, or no more.
const UNFINISHED: &str = "unfinished-";

/// What a checkpoint says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointInfo {
    /// Version of this layout.
    pub format: u32,
    /// Training steps done.
    pub step: u64,
    /// Seconds spent on them.
    pub seconds: f64,
    /// The model the weights are of.
    pub model: ModelSpec,
    /// SHA-256 of the data it was trained on.
    pub data_sha256: String,
    /// Bits per dimension on the validation split, if it was measured at this step.
    pub validation: Option<f64>,
    /// What training needs to go on noising as it did.
    #[serde(default)]
    pub levels: LevelState,
}

/// What a training has learned about noise levels, beyond the schedule in its model.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelState {
    /// Errors seen, of an adaptive proposal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<Adaptive>,
    /// Moments of a learned schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleMoments>,
}

/// A list of named tensors.
pub type Named = Vec<(String, Tensor)>;

/// The checkpoints of one run.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: PathBuf,
    keep: usize,
}

impl Checkpoints {
    /// In `folder`, keeping the last `keep` (at least 1) and the best on validation.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, keep: usize) -> Self {
        Self { folder: folder.into(), keep: keep.max(1) }
    }

    /// Steps of all complete checkpoints, ascending.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be listed. A missing folder has no checkpoints.
    pub fn steps(&self) -> Result<Vec<u64>, Error> {
        let list = match fs::read_dir(&self.folder) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            list => list.map_err(Error::io("list", &self.folder))?,
        };
        let mut steps = Vec::new();
        for entry in list {
            let name = entry.map_err(Error::io("list", &self.folder))?.file_name();
            let step = name.to_str().and_then(|n| n.strip_prefix("step-"));
            steps.extend(step.and_then(|digits| digits.parse::<u64>().ok()));
        }
        steps.retain(|step| self.at(*step).join(INFO).is_file());
        steps.sort_unstable();
        Ok(steps)
    }

    /// The newest.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Checkpoint`] if there is none.
    pub fn latest(&self) -> Result<PathBuf, Error> {
        let step = self.steps()?.pop().ok_or_else(|| self.none())?;
        Ok(self.at(step))
    }

    /// The one of this step.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Checkpoint`] that lists those there are.
    pub fn of_step(&self, step: u64) -> Result<PathBuf, Error> {
        let steps = self.steps()?;
        if steps.contains(&step) {
            return Ok(self.at(step));
        }
        let problem = format!("there is no checkpoint of step {step}; there are {steps:?}");
        Err(Error::Checkpoint { path: self.folder.clone(), problem })
    }

    /// The one with the lowest validation result; the newest if none was validated.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Checkpoint`] if there is none or one is damaged.
    pub fn best(&self) -> Result<PathBuf, Error> {
        match self.best_step()? {
            Some(step) => Ok(self.at(step)),
            None => self.latest(),
        }
    }

    fn none(&self) -> Error {
        let problem = "there is no checkpoint in this folder; train first, or name the folder of \
                       another run";
        Error::Checkpoint { path: self.folder.clone(), problem: problem.into() }
    }

    fn at(&self, step: u64) -> PathBuf {
        self.folder.join(format!("step-{step:08}"))
    }

    fn best_step(&self) -> Result<Option<u64>, Error> {
        let mut best: Option<(f64, u64)> = None;
        for step in self.steps()? {
            let validation = read_info(&self.at(step))?.validation;
            if let Some(value) = validation.filter(|v| best.is_none_or(|(low, _)| *v < low)) {
                best = Some((value, step));
            }
        }
        Ok(best.map(|(_, step)| step))
    }

    /// Writes a checkpoint, then deletes those no longer kept.
    ///
    /// `model` are the averaged weights, `training` all else that training needs.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Torch`]; the checkpoints there before stay.
    pub fn save(
        &self,
        info: &CheckpointInfo,
        model: &Named,
        training: &Named,
    ) -> Result<PathBuf, Error> {
        let path = self.at(info.step);
        let unfinished = self.unfinished(info.step);
        remove(&unfinished)?;
        fs::create_dir_all(&unfinished).map_err(Error::io("create", &unfinished))?;
        write_tensors(&unfinished.join(MODEL), model)?;
        write_tensors(&unfinished.join(TRAINING), training)?;
        let json = serde_json::to_vec_pretty(info).map_err(std::io::Error::from);
        let info_path = unfinished.join(INFO);
        json.and_then(|json| fs::write(&info_path, json))
            .map_err(Error::io("write", &info_path))?;
        for name in [MODEL, TRAINING, INFO] {
            sync(&unfinished.join(name))?;
        }
        sync(&unfinished)?;
        // Saved before at this step: the same content, by the same steps.
        let replaced = self.folder.join(format!("{UNFINISHED}replaced-{}", info.step));
        set_aside(&path, &replaced)?;
        fs::rename(&unfinished, &path).map_err(Error::io("write", &path))?;
        sync(&self.folder)?;
        remove(&replaced)?;
        self.delete_superseded()?;
        Ok(path)
    }

    fn delete_superseded(&self) -> Result<(), Error> {
        let (steps, best) = (self.steps()?, self.best_step()?);
        let old = steps.len().saturating_sub(self.keep);
        for step in steps[..old].iter().filter(|step| best != Some(**step)) {
            self.retire(*step)?;
        }
        Ok(())
    }

    fn unfinished(&self, step: u64) -> PathBuf {
        self.folder.join(format!("{UNFINISHED}{step}"))
    }

    /// Deletes a checkpoint. It loses its name first, so that a process killed in the middle
    /// leaves no half of one under it.
    fn retire(&self, step: u64) -> Result<(), Error> {
        let (path, unfinished) = (self.at(step), self.unfinished(step));
        remove(&unfinished)?;
        fs::rename(&path, &unfinished).map_err(Error::io("delete", &path))?;
        remove(&unfinished)
    }

    /// Deletes what a killed run left unfinished, and checkpoints after `step`: continuing from an
    /// earlier one makes them another run's.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn discard_after(&self, step: u64) -> Result<(), Error> {
        for later in self.steps()?.into_iter().filter(|s| *s > step) {
            self.retire(later)?;
        }
        if let Ok(list) = fs::read_dir(&self.folder) {
            for entry in list.flatten() {
                if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                    remove(&entry.path())?;
                }
            }
        }
        Ok(())
    }
}

/// Takes a folder's name away, if there is one, under what a killed run leaves unfinished.
fn set_aside(path: &Path, aside: &Path) -> Result<(), Error> {
    remove(aside)?;
    match fs::rename(path, aside) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("replace", path)(e)),
        _ => Ok(()),
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("delete", path)(e)),
        _ => Ok(()),
    }
}

/// Waits until the system has written a file or folder to disk.
fn sync(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|file| file.sync_all()).map_err(Error::io("write", path))
}

fn write_tensors(path: &Path, tensors: &Named) -> Result<(), Error> {
    let host: Named = tensors
        .iter()
        .map(|(name, t)| (name.clone(), t.detach().to_device(Device::Cpu).contiguous()))
        .collect();
    Ok(Tensor::write_safetensors(&host, path)?)
}

/// Reads the description of a checkpoint folder.
///
/// # Errors
/// [`Error::Checkpoint`] naming the file and what is wrong with it.
pub fn read_info(path: &Path) -> Result<CheckpointInfo, Error> {
    let file = path.join(INFO);
    let damaged = |problem: String| Error::Checkpoint { path: file.clone(), problem };
    let text = fs::read_to_string(&file).map_err(|e| {
        damaged(format!(
            "cannot be read ({e}); name a folder such as RUN/checkpoints/step-00000500"
        ))
    })?;
    let info: CheckpointInfo = serde_json::from_str(&text).map_err(|e| {
        damaged(format!("is not a description of a checkpoint ({e}); use another checkpoint"))
    })?;
    if info.format != FORMAT {
        let problem = format!(
            "has format {}, this program reads {FORMAT}; use the version that wrote it",
            info.format
        );
        return Err(damaged(problem));
    }
    Ok(info)
}

impl CheckpointInfo {
    /// For the present layout.
    #[must_use]
    pub fn new(
        step: u64,
        seconds: f64,
        model: ModelSpec,
        data_sha256: String,
        validation: Option<f64>,
        levels: LevelState,
    ) -> Self {
        Self { format: FORMAT, step, seconds, model, data_sha256, validation, levels }
    }

    /// That the model belongs to these data: shape, levels, and every byte.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] naming both.
    pub fn check_data(&self, path: &Path, data: &vdm_data::Dataset) -> Result<(), Error> {
        if self.data_sha256 == data.sha256 {
            return Ok(());
        }
        let problem = format!(
            "was trained on data with SHA-256 {}, but {} has {}: its test items may be among the \
             training items; bring back the data of the run",
            self.data_sha256, data.name, data.sha256
        );
        Err(Error::Checkpoint { path: path.into(), problem })
    }
}

/// Copies the tensors of a file over those named, all of which must be there with their shapes.
///
/// # Errors
/// [`Error::Checkpoint`] naming the first that is missing, extra, mis-shaped or of another type.
pub(crate) fn load_into(path: &Path, into: &Named) -> Result<(), Error> {
    let damaged = |problem: String| Error::Checkpoint { path: path.into(), problem };
    let found = Tensor::read_safetensors(path).map_err(|e| {
        damaged(format!("cannot be read as safetensors ({e}); use another checkpoint"))
    })?;
    copy_into(found, into).map_err(damaged)
}

/// Copies tensors over those of the same names.
///
/// # Errors
/// In words, naming the first that is missing, extra, mis-shaped or of another type. Nothing is
/// changed then.
pub(crate) fn copy_into(found: Named, into: &Named) -> Result<(), String> {
    let mut found: std::collections::HashMap<String, Tensor> = found.into_iter().collect();
    let mut pairs = Vec::with_capacity(into.len());
    for (name, target) in into {
        let value = found.remove(name).ok_or_else(|| {
            format!("has no tensor {name}: it is of another model than the configuration")
        })?;
        if value.size() != target.size() || value.kind() != Kind::Float {
            return Err(format!(
                "{name} is {:?} of shape {:?}, the configured model has f32 of shape {:?}",
                value.kind(),
                value.size(),
                target.size()
            ));
        }
        pairs.push((target, value));
    }
    if let Some(name) = found.keys().min() {
        return Err(format!("has a tensor {name} that the configured model does not have"));
    }
    tch::no_grad(|| {
        for (target, value) in pairs {
            target.shallow_clone().copy_(&value);
        }
    });
    Ok(())
}

/// The averaged model of a checkpoint, to sample and evaluate with.
///
/// # Errors
/// [`Error::Checkpoint`] if it is damaged, [`Error::Config`] if its model cannot be built.
pub fn load_model(path: &Path, device: Device) -> Result<(Model, CheckpointInfo), Error> {
    let info = read_info(path)?;
    let model = Model::new(&info.model, Seed(0), device)?;
    load_into(&path.join(MODEL), &model.parameters().named())?;
    Ok((model, info))
}

/// The file of everything but the averaged weights.
pub(crate) fn training_file(path: &Path) -> PathBuf {
    path.join(TRAINING)
}

/// The file of the averaged weights.
pub(crate) fn model_file(path: &Path) -> PathBuf {
    path.join(MODEL)
}
