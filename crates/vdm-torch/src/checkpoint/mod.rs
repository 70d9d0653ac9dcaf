//! Checkpoints: weights, their average, optimizer moments and the step, written atomically and read
//! back only if they are what was written.
//!
//! ```text
//! checkpoints/step-00000500/
//!     model.safetensors      weights of the average, the ones to sample and evaluate with
//!     training.safetensors   trained weights `weights.*` and moments `exp_avg.*`, `exp_avg_sq.*`
//!     checkpoint.json        format, step, seconds trained, the run's configuration, model with its
//!                            schedule, data, validation result, what was learned about noise levels,
//!                            sums since the last line of metrics; SHA-256 of the two files, and a seal
//! ```
//!
//! A [`Checkpoint`] is one that was read: its description is sealed, the description vouches for the
//! files, and their bytes are in memory, so that nothing that happens to the folder afterwards matters.
//! [`Checkpoints`] are those of a run. One appears under its name when all of it is on disk and was read
//! back, and loses that name before any of it is deleted; folders called `unfinished-…` are in between.
//! Nothing else is state: order of data, times and noise are functions of (seed, step).

mod folder;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

pub use folder::{Checkpoints, Chosen, PassedOver};
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};
use vdm_core::importance::Adaptive;
use vdm_data::Dataset;
use vdm_files::{Seal, sha256, unseal};
use vdm_sample::Seed;

use crate::config::RunConfig;
use crate::model::{Model, ModelSpec};
use crate::nn::fitting;
use crate::train::{ScheduleMoments, Window};
use crate::{Error, weights};

pub(crate) const FORMAT: u32 = 2;
const MODEL: &str = "model.safetensors";
const TRAINING: &str = "training.safetensors";
const INFO: &str = "checkpoint.json";

/// What to do about a file that cannot be used.
const REMEDY: &str = "restore the folder from a copy, or use another checkpoint";

/// What a checkpoint says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointInfo {
    /// Version of this layout.
    pub format: u32,
    /// Training steps done.
    pub step: u64,
    /// Seconds spent on them. All else is the same whenever the run is repeated.
    pub seconds: f64,
    /// What the run was configured as when it was written.
    pub config: RunConfig,
    /// The model the weights are of.
    pub model: ModelSpec,
    /// SHA-256 of the data it was trained on.
    pub data_sha256: String,
    /// Bits per dimension on the validation split, once it is measured at this step.
    pub validation: Option<f64>,
    /// What training needs to go on noising as it did.
    #[serde(default)]
    pub levels: LevelState,
    /// Sums since the last line of metrics; none where a line was due at this step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// SHA-256 of each file beside this one; set when they are written.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
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

/// A checkpoint in memory, every byte of which is as it was written.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    path: PathBuf,
    info: CheckpointInfo,
    model: Vec<u8>,
    /// Only of one that was read to go on training.
    training: Option<Vec<u8>>,
}

/// What of a checkpoint is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Sample,
    Train,
}

impl Checkpoint {
    /// Reads what sampling and evaluating need of the checkpoint in this folder, whatever its name.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] naming the file that is missing, damaged or of another version.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::of(path, read_info(path)?, Use::Sample)
    }

    /// The same with what training needs to go on.
    ///
    /// # Errors
    /// As [`Checkpoint::read`].
    pub fn read_for_training(path: &Path) -> Result<Self, Error> {
        Self::of(path, read_info(path)?, Use::Train)
    }

    fn of(path: &Path, info: CheckpointInfo, needed: Use) -> Result<Self, Error> {
        let training =
            (needed == Use::Train).then(|| vouched(path, TRAINING, &info)).transpose()?;
        let model = vouched(path, MODEL, &info)?;
        Ok(Self { path: path.into(), info, model, training })
    }

    /// Where it was read.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says of itself.
    #[must_use]
    pub fn info(&self) -> &CheckpointInfo {
        &self.info
    }

    /// The averaged model, to sample and evaluate with.
    ///
    /// # Errors
    /// [`Error::Config`] if its model cannot be built, [`Error::Checkpoint`] if the weights are not those
    /// of its model, or not finite.
    pub fn model(&self, device: Device) -> Result<Model, Error> {
        let model = Model::new(&self.info.model, Seed(0), device)?;
        self.load_average(&model.parameters().named())?;
        Ok(model)
    }

    /// Copies the averaged weights over those named.
    pub(crate) fn load_average(&self, into: &Named) -> Result<(), Error> {
        self.load(MODEL, &self.model, into)
    }

    /// Copies trained weights and moments over those named.
    pub(crate) fn load_training(&self, into: &Named) -> Result<(), Error> {
        let bytes = self.training.as_ref().ok_or_else(|| {
            self.refuse(TRAINING, "was not read: use Checkpoint::read_for_training".into())
        })?;
        self.load(TRAINING, bytes, into)
    }

    fn load(&self, file: &str, bytes: &[u8], into: &Named) -> Result<(), Error> {
        weights::from_bytes(bytes)
            .and_then(|found| copy_into(found, into))
            .map_err(|problem| self.refuse(file, problem))
    }

    fn refuse(&self, file: &str, problem: String) -> Error {
        Error::Checkpoint { path: self.path.join(file), problem }
    }

    /// That the model belongs to these data: shape, levels, and every byte.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] naming both.
    pub fn check_data(&self, data: &Dataset) -> Result<(), Error> {
        if self.info.data_sha256 == data.sha256 {
            return Ok(());
        }
        let problem = format!(
            "was trained on data with SHA-256 {}, but {} has {}: its test items may be among the \
             training items; bring back the data of the run",
            self.info.data_sha256, data.name, data.sha256
        );
        Err(Error::Checkpoint { path: self.path.clone(), problem })
    }

    /// That a run of this configuration wrote it, or one that differs in what may change.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] naming the fields that make another run of it.
    pub fn check_config(&self, config: &RunConfig) -> Result<(), Error> {
        self.info.check_config(&self.path, config)
    }
}

impl CheckpointInfo {
    fn check_config(&self, path: &Path, config: &RunConfig) -> Result<(), Error> {
        let mut changes = config.changes_since(&self.config)?;
        changes.retain(|change| change.makes_another_run());
        if changes.is_empty() {
            return Ok(());
        }
        let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
        let problem = format!(
            "is of another run than config.json, where {}; set that back, or take the checkpoint to the \
             run that it is from",
            changes.join(", ")
        );
        Err(Error::Checkpoint { path: path.into(), problem })
    }
}

/// Reads the description of a checkpoint folder.
///
/// # Errors
/// [`Error::Checkpoint`] naming the file and what is wrong with it.
pub fn read_info(path: &Path) -> Result<CheckpointInfo, Error> {
    let file = path.join(INFO);
    let refuse = |problem: String| Error::Checkpoint { path: file.clone(), problem };
    let bytes = fs::read(&file).map_err(|e| {
        refuse(format!("cannot be read ({e}); name a folder such as RUN/checkpoints/step-00000500"))
    })?;
    let none = |e| refuse(format!("is not the description of a checkpoint ({e}); {REMEDY}"));
    let (document, seal) = unseal(&bytes).map_err(none)?;
    let format = document.get("format").and_then(serde_json::Value::as_u64);
    if seal == Seal::Broken {
        return Err(refuse(format!("was damaged or edited: its seal does not fit; {REMEDY}")));
    }
    match (seal, format) {
        (Seal::Whole, Some(format)) if format == u64::from(FORMAT) => {}
        (_, Some(format)) if format != u64::from(FORMAT) => {
            let why = if format == 1 { ", which has no hashes to tell damage by" } else { "" };
            return Err(refuse(format!(
                "has format {format}{why}; this program reads format {FORMAT}: use the version that \
                 wrote it"
            )));
        }
        _ => return Err(refuse(format!("has no format or no seal; {REMEDY}"))),
    }
    serde_json::from_value(document).map_err(none)
}

/// The bytes of a file that the description vouches for.
fn vouched(path: &Path, name: &str, info: &CheckpointInfo) -> Result<Vec<u8>, Error> {
    let file = path.join(name);
    let refuse = |problem: String| Error::Checkpoint { path: file.clone(), problem };
    let bytes = fs::read(&file).map_err(|e| refuse(format!("cannot be read ({e}); {REMEDY}")))?;
    check_hash(&file, name, info, &sha256(&bytes))?;
    Ok(bytes)
}

fn check_hash(file: &Path, name: &str, info: &CheckpointInfo, found: &str) -> Result<(), Error> {
    let wanted = info.files.get(name).map(String::as_str);
    if wanted == Some(found) {
        return Ok(());
    }
    let problem = format!(
        "is damaged: its SHA-256 is {found}, and was {} when it was written; {REMEDY}",
        wanted.unwrap_or("none")
    );
    Err(Error::Checkpoint { path: file.into(), problem })
}

/// Copies tensors over those of the same names.
///
/// # Errors
/// In words, naming the first that is missing, extra, mis-shaped, of another type or not finite.
/// Nothing is changed then.
pub(crate) fn copy_into(found: Named, into: &Named) -> Result<(), String> {
    let mut found: std::collections::HashMap<String, Tensor> = found.into_iter().collect();
    let mut pairs = Vec::with_capacity(into.len());
    for (name, target) in into {
        let value = fitting(name, found.remove(name), &target.size())?;
        pairs.push((name.clone(), target, value));
    }
    if let Some(name) = found.keys().min() {
        return Err(format!("has a tensor {name} that the configured model does not have"));
    }
    let values = pairs.iter().map(|(name, _, value)| (name.clone(), value.shallow_clone()));
    if let Some(name) = weights::not_finite(&values.collect()) {
        return Err(format!("{name} has values that are not finite; use other weights"));
    }
    tch::no_grad(|| {
        for (_, target, value) in pairs {
            target.shallow_clone().copy_(&value);
        }
    });
    Ok(())
}
