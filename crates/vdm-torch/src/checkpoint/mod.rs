//! Checkpoints: weights, their average, optimizer moments and the step, written atomically and read
//! back only if they are what was written.
//!
//! ```text
//! checkpoints/step-00000500/
//!     model.safetensors      weights of the average, the ones to sample and evaluate with
//!     training.safetensors   trained weights `weights.*` and moments `exp_avg.*`, `exp_avg_sq.*`
//!     checkpoint.json        format, step, seconds trained, the run's configuration, what fixes the model
//!                            but its weights, data, validation result, what else was learned, sums since
//!                            the last line of metrics; SHA-256 of the two files, and a seal
//! ```
//!
//! A [`Checkpoint`] is one that was read: its description is sealed, the description vouches for the
//! files, and their bytes are in memory, so that nothing that happens to the folder afterwards matters.
//! [`Checkpoints`] are those of a run. One appears under its name when all of it is on disk and was read
//! back, and loses that name before any of it is deleted; folders called `unfinished-…` are in between.
//! Nothing else is state: order of data, times and noise are functions of (seed, step).
//!
//! What is trained is no concern of this module: configuration and model are JSON documents here, which
//! [`CheckpointInfo::config`] and [`CheckpointInfo::model`] read as the types that they are of.

mod folder;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

pub use folder::{Checkpoints, Chosen, PassedOver};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vdm_data::Dataset;
use vdm_files::{Seal, sha256, unseal};

use crate::identity::{Change, RunIdentity};
pub use crate::weights::Named;
use crate::{Error, weights};

pub(crate) const FORMAT: u32 = 3;
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
    /// How many of them were skipped for a gradient that was too long.
    #[serde(default)]
    pub skipped: u64,
    /// Seconds spent on them. All else is the same whenever the run is repeated.
    pub seconds: f64,
    /// What the run was configured as when it was written.
    pub config: Value,
    /// What fixes the model that the weights are of.
    pub model: Value,
    /// SHA-256 of the data it was trained on.
    pub data_sha256: String,
    /// Bits per dimension on the validation split, once it is measured at this step.
    pub validation: Option<f64>,
    /// What was learned or seen beside the weights, as training needs it to go on as it did; null if nothing.
    #[serde(default)]
    pub state: Value,
    /// Sums since the last line of metrics; null where a line was due at this step.
    #[serde(default)]
    pub window: Value,
    /// SHA-256 of each file beside this one; set when they are written.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
}

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

    /// Copies the averaged weights over those named.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if they have other names or shapes, or are not finite; nothing is changed then.
    pub fn load_average(&self, into: &Named) -> Result<(), Error> {
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
            .and_then(|found| weights::copy_into(found, into))
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

    /// That this run wrote it, or one that differs in what may change.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] naming the fields that make another run of it.
    pub fn check_run(&self, run: &RunIdentity) -> Result<(), Error> {
        self.info.check_run(&self.path, run)
    }
}

impl CheckpointInfo {
    /// The configuration of the run.
    ///
    /// # Errors
    /// [`Error::Json`] if it is that of something else.
    pub fn config<C: DeserializeOwned>(&self) -> Result<C, Error> {
        read_as("the configuration in a checkpoint", &self.config)
    }

    /// What fixes the model.
    ///
    /// # Errors
    /// [`Error::Json`] if it is that of something else.
    pub fn model<M: DeserializeOwned>(&self) -> Result<M, Error> {
        read_as("the model in a checkpoint", &self.model)
    }

    fn check_run(&self, path: &Path, run: &RunIdentity) -> Result<(), Error> {
        let mut changes = Change::between(&self.config, run.config());
        changes.retain(|change| run.is_changed_by(change));
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

fn read_as<T: DeserializeOwned>(what: &'static str, document: &Value) -> Result<T, Error> {
    T::deserialize(document).map_err(|source| Error::Json { what, source })
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
    let format = document.get("format").and_then(Value::as_u64);
    if seal == Seal::Broken {
        return Err(refuse(format!("was damaged or edited: its seal does not fit; {REMEDY}")));
    }
    match (seal, format) {
        (Seal::Whole, Some(format)) if format == u64::from(FORMAT) => {}
        (_, Some(format)) if format != u64::from(FORMAT) => {
            let why = match format {
                1 => ", which has no hashes to tell damage by",
                2 => ", which has other names of fields",
                _ => "",
            };
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
