//! The checkpoints of one run: which to take, when one is deleted, and what never is.
//!
//! A checkpoint counts if its folder bears the name of its step, its description is whole and this run
//! wrote it. Only such a one is ever deleted, once newer ones are on disk. Whatever
//! else lies in the folder (copies under other names, links, what is damaged or of another run) is
//! passed over, and at most given another name.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::{Checkpoint, CheckpointInfo, INFO, MODEL, TRAINING, Use, check_hash, read_info};
use crate::Error;
use crate::identity::RunIdentity;
use crate::weights::{self, Named};

/// Start of the names of folders that are no checkpoints yet, or no more.
const UNFINISHED: &str = "unfinished-";
/// The same of what was there before, while a checkpoint of the same step takes its place.
const REPLACED: &str = "unfinished-replaced-";
/// Start of the names of folders that were in the way and nobody may delete.
const ASIDE: &str = "set-aside-";
/// How often to look again for checkpoints that go away while they are read: beside a training that
/// saves every few milliseconds.
const ATTEMPTS: usize = 50;

/// The checkpoints of one run.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: PathBuf,
    run: RunIdentity,
    keep: usize,
}

/// A checkpoint, and those that would have been preferred if they could be used.
#[derive(Debug)]
pub struct Chosen {
    /// The one to use.
    pub checkpoint: Checkpoint,
    /// The others.
    pub passed_over: Vec<PassedOver>,
}

/// A checkpoint that cannot be used.
#[derive(Debug)]
pub struct PassedOver {
    /// Its folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: Error,
}

/// How a checkpoint is chosen among those of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// The last step first.
    Step,
    /// The lowest validation result first, the earlier of equals; then those without one, the last step
    /// first.
    Validation,
}

/// Those that cannot be used, by their steps.
type Failed = Vec<(u64, PassedOver)>;

impl Checkpoints {
    /// Those in `folder` of a run, of which `keep` are kept beside the best on validation: at least 1.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, run: RunIdentity, keep: usize) -> Self {
        Self { folder: folder.into(), run, keep }
    }

    /// Steps of all folders that are named as checkpoints are, ascending.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be listed. A missing folder has no checkpoints.
    pub fn steps(&self) -> Result<Vec<u64>, Error> {
        let mut steps = Vec::new();
        for name in self.names()? {
            let step = name.strip_prefix("step-").and_then(|digits| digits.parse::<u64>().ok());
            // Of exactly that name: neither `step-200` nor `step-+0000200` is it.
            steps.extend(step.filter(|step| name == name_of(*step) && self.at(*step).is_dir()));
        }
        steps.sort_unstable();
        Ok(steps)
    }

    /// The newest that is whole, with what training needs to go on; [`None`] if there are none at all.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Checkpoint`] if there are some but none can be used.
    pub fn to_continue(&self) -> Result<Option<Chosen>, Error> {
        match self.choose(By::Step, Use::Train)? {
            (Some(chosen), _) => Ok(Some(chosen)),
            (None, mut failed) => match failed.pop() {
                None => Ok(None),
                Some(newest) => Err(self
                    .none_whole(&newest, "restore a copy of one, or start anew in another folder")),
            },
        }
    }

    /// The whole one with the lowest validation result; the newest if none was validated.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Checkpoint`] if there is none that can be used.
    pub fn best(&self) -> Result<Chosen, Error> {
        self.to_sample(By::Validation)
    }

    /// The newest that is whole.
    ///
    /// # Errors
    /// As [`Checkpoints::best`].
    pub fn latest(&self) -> Result<Chosen, Error> {
        self.to_sample(By::Step)
    }

    fn to_sample(&self, by: By) -> Result<Chosen, Error> {
        match self.choose(by, Use::Sample)? {
            (Some(chosen), _) => Ok(chosen),
            (None, mut failed) => Err(match failed.pop() {
                Some(newest) => self.none_whole(&newest, "restore a copy of one"),
                None => Error::Checkpoint {
                    path: self.folder.clone(),
                    problem:
                        "there is no checkpoint in this folder; train first, or name the folder \
                              of another run"
                            .into(),
                },
            }),
        }
    }

    /// The one of this step.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Checkpoint`]: what is wrong with it, or which there are.
    pub fn of_step(&self, step: u64) -> Result<Checkpoint, Error> {
        if self.steps()?.contains(&step) {
            let read = self.describe(step);
            let read = read.and_then(|info| Checkpoint::of(&self.at(step), info, Use::Sample));
            if read.is_ok() || self.at(step).exists() {
                return read;
            }
        }
        let steps = self.steps()?;
        let problem = format!("there is no checkpoint of step {step}; there are {steps:?}");
        Err(Error::Checkpoint { path: self.folder.clone(), problem })
    }

    /// The first in order that can be used, with those before it; or all that cannot, by ascending step.
    fn choose(&self, by: By, needed: Use) -> Result<(Option<Chosen>, Vec<PassedOver>), Error> {
        let mut attempt = 1;
        loop {
            let (checkpoint, passed_over) = self.look(by, needed)?;
            // One that went away while it was read was not damaged: look at what is there now.
            let gone = passed_over.iter().any(|(_, failed)| !failed.path.exists());
            if gone && attempt < ATTEMPTS {
                attempt += 1;
                continue;
            }
            let Some(checkpoint) = checkpoint else {
                return Ok((None, passed_over.into_iter().map(|(_, failed)| failed).collect()));
            };
            let newer = |step: u64| by != By::Step || step > checkpoint.info.step;
            let passed_over = passed_over.into_iter().filter(|(step, _)| newer(*step));
            let passed_over = passed_over.map(|(_, failed)| failed).collect();
            return Ok((Some(Chosen { checkpoint, passed_over }), Vec::new()));
        }
    }

    fn look(&self, by: By, needed: Use) -> Result<(Option<Checkpoint>, Failed), Error> {
        let (mut described, mut failed) = (Vec::new(), Vec::new());
        for step in self.steps()? {
            match self.describe(step) {
                Ok(info) => described.push(info),
                Err(why) => failed.push((step, PassedOver { path: self.at(step), why })),
            }
        }
        described.sort_by(|a, b| by.prefers(a, b));
        let mut found = None;
        for info in described {
            let (step, path) = (info.step, self.at(info.step));
            match Checkpoint::of(&path, info, needed) {
                Ok(checkpoint) => {
                    found = Some(checkpoint);
                    break;
                }
                Err(why) => failed.push((step, PassedOver { path, why })),
            }
        }
        failed.sort_by_key(|(step, _)| *step);
        Ok((found, failed))
    }

    /// What the checkpoint of a step says of itself, if it counts as one of this run.
    ///
    /// # Errors
    /// [`Error::Checkpoint`]: why it does not.
    pub fn describe(&self, step: u64) -> Result<CheckpointInfo, Error> {
        let path = self.at(step);
        let info = read_info(&path)?;
        if info.step != step {
            let problem = format!(
                "is of step {}, not of the step in its name; give it the name {} if that is free",
                info.step,
                name_of(info.step)
            );
            return Err(Error::Checkpoint { path, problem });
        }
        info.check_run(&path, &self.run)?;
        Ok(info)
    }

    fn none_whole(&self, newest: &PassedOver, remedy: &str) -> Error {
        let problem = format!("no checkpoint can be used; {remedy}. Of the newest: {}", newest.why);
        Error::Checkpoint { path: self.folder.clone(), problem }
    }

    /// Writes a checkpoint, reads it back, then deletes those no longer kept. What lies under its name
    /// and is no checkpoint of this run is set aside.
    ///
    /// `model` are the averaged weights, `training` all else that training needs.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Torch`], or [`Error::Checkpoint`] if the disk does not hold what was
    /// written; the checkpoints there before stay.
    pub fn save(
        &self,
        mut info: CheckpointInfo,
        model: &Named,
        training: &Named,
    ) -> Result<PathBuf, Error> {
        let step = info.step;
        let path = self.at(step);
        let unfinished = self.folder.join(format!("{UNFINISHED}{step}"));
        remove(&unfinished)?;
        // Not the folders above: a run that was moved away must not come back in part.
        create(&self.folder)?;
        create(&unfinished)?;
        for (name, tensors) in [(MODEL, model), (TRAINING, training)] {
            let bytes = weights::to_bytes(tensors, None)?;
            info.files.insert(name.into(), vdm_files::sha256(&bytes));
            write(&unfinished.join(name), &bytes)?;
        }
        write_info(&unfinished.join(INFO), &info)?;
        sync(&unfinished)?;
        verify(&unfinished)?;
        let replaced = self.folder.join(format!("{REPLACED}{step}"));
        if self.owns(step) {
            // Saved before at this step: the same content, by the same steps.
            remove(&replaced)?;
            rename(&path, &replaced)?;
        } else {
            self.set_aside(&path)?;
        }
        rename(&unfinished, &path)?;
        sync(&self.folder)?;
        remove(&replaced)?;
        self.delete_superseded()?;
        Ok(path)
    }

    /// Writes the result on the validation split into the checkpoint of a step, then deletes those no
    /// longer kept. What is measured comes after what must not be lost: the checkpoint is there before.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Checkpoint`] if that checkpoint is damaged; it stays as it was.
    pub fn record_validation(&self, step: u64, bits_per_dim: f64) -> Result<(), Error> {
        let path = self.at(step);
        let info = CheckpointInfo { validation: Some(bits_per_dim), ..self.describe(step)? };
        let (old, new) = (path.join(INFO), path.join(format!(".{INFO}")));
        write_info(&new, &info)?;
        fs::rename(&new, &old).map_err(Error::io("write", &old))?;
        sync(&path)?;
        self.delete_superseded()
    }

    /// Deletes all but the last, and the best, of those that this run wrote.
    fn delete_superseded(&self) -> Result<(), Error> {
        let mut own = Vec::new();
        for step in self.steps()?.into_iter().filter(|step| !self.is_link(*step)) {
            own.extend(self.describe(step));
        }
        let old = own.len().saturating_sub(self.keep.max(1));
        let best = own.iter().min_by(|a, b| By::Validation.prefers(a, b)).map(|info| info.step);
        for info in own[..old].iter().filter(|info| Some(info.step) != best) {
            self.retire(info.step)?;
        }
        Ok(())
    }

    /// Deletes a checkpoint. It loses its name first, so that a process killed in the middle
    /// leaves no half of one under it.
    fn retire(&self, step: u64) -> Result<(), Error> {
        let unfinished = self.folder.join(format!("{UNFINISHED}{step}"));
        remove(&unfinished)?;
        rename(&self.at(step), &unfinished)?;
        remove(&unfinished)
    }

    /// Whether a checkpoint of this run lies under the name of a step.
    fn owns(&self, step: u64) -> bool {
        !self.is_link(step) && self.describe(step).is_ok()
    }

    fn is_link(&self, step: u64) -> bool {
        self.at(step).is_symlink()
    }

    /// Gives what lies at `path`, if anything, a name that is no checkpoint's: `set-aside-` and the name it
    /// had. Returns the new path.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn set_aside(&self, path: &Path) -> Result<Option<PathBuf>, Error> {
        if path.symlink_metadata().is_err() {
            return Ok(None);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let numbered = (2_u64..).map(|n| format!("{ASIDE}{name}-{n}"));
        let names = std::iter::once(format!("{ASIDE}{name}")).chain(numbered);
        let mut free = names.map(|name| self.folder.join(name));
        let aside = free.find(|aside| aside.symlink_metadata().is_err());
        let aside = aside.unwrap_or_else(|| self.folder.join(ASIDE));
        rename(path, &aside)?;
        Ok(Some(aside))
    }

    /// Gives checkpoints their names back that a killed process was about to replace.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn put_back(&self) -> Result<(), Error> {
        for (name, step) in self.between(REPLACED)? {
            if self.at(step).symlink_metadata().is_err() {
                rename(&self.folder.join(name), &self.at(step))?;
            }
        }
        Ok(())
    }

    /// Deletes what a killed process left of checkpoints that it had not finished, or begun to delete.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn clear_up(&self) -> Result<(), Error> {
        for (name, _) in [self.between(REPLACED)?, self.between(UNFINISHED)?].concat() {
            remove(&self.folder.join(name))?;
        }
        Ok(())
    }

    /// Names of this kind, with their steps.
    fn between(&self, prefix: &str) -> Result<Vec<(String, u64)>, Error> {
        let step = |name: &String| name.strip_prefix(prefix)?.parse::<u64>().ok();
        let named = self.names()?.into_iter().filter_map(|name| Some((name.clone(), step(&name)?)));
        Ok(named.filter(|(name, step)| *name == format!("{prefix}{step}")).collect())
    }

    /// Names in the folder, those of Unicode characters; none if it is not there.
    fn names(&self) -> Result<Vec<String>, Error> {
        let list = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            list => list.map_err(Error::io("list", &self.folder))?,
        };
        let mut names = Vec::new();
        for entry in list {
            names.extend(entry.map_err(Error::io("list", &self.folder))?.file_name().into_string());
        }
        Ok(names)
    }

    fn at(&self, step: u64) -> PathBuf {
        self.folder.join(name_of(step))
    }
}

impl By {
    /// The one to prefer comes first.
    fn prefers(self, a: &CheckpointInfo, b: &CheckpointInfo) -> std::cmp::Ordering {
        let newest = b.step.cmp(&a.step);
        match (self, a.validation, b.validation) {
            (Self::Validation, Some(x), Some(y)) => x.total_cmp(&y).then(newest.reverse()),
            (Self::Validation, x, y) if x.is_some() != y.is_some() => y.is_some().cmp(&x.is_some()),
            _ => newest,
        }
    }
}

fn name_of(step: u64) -> String {
    format!("step-{step:08}")
}

/// That the files in a folder are on disk what its description says.
fn verify(path: &Path) -> Result<(), Error> {
    let info = read_info(path)?;
    for name in [MODEL, TRAINING] {
        let file = path.join(name);
        let found = vdm_files::sha256_of_file(&file).map_err(Error::io("read back", &file))?;
        check_hash(&file, name, &info, &found)?;
    }
    Ok(())
}

fn create(path: &Path) -> Result<(), Error> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(Error::io("create", path)(error))
        }
        _ => Ok(()),
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(Error::io("rename", from))
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("delete", path)(error)),
        _ => Ok(()),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let written = || -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    written().map_err(Error::io("write", path))
}

fn write_info(path: &Path, info: &CheckpointInfo) -> Result<(), Error> {
    let text = vdm_files::seal(info)
        .map_err(|source| Error::Json { what: "a checkpoint's description", source })?;
    write(path, text.as_bytes())
}

/// Waits until the system has written a folder to disk.
fn sync(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|file| file.sync_all()).map_err(Error::io("write", path))
}
