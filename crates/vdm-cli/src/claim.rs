//! A run folder that belongs to this process.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use vdm_report::{RunDir, files};

use crate::opened;

/// A folder with a lock that is held while this lives, however the process ends.
#[derive(Debug)]
pub(crate) struct Claim {
    run: RunDir,
    lock: File,
}

impl Claim {
    /// The folder of a new run. One that is there must not hold a run.
    pub(crate) fn new_run(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| cannot_create(folder))?;
        let claim = Self::of(RunDir::new(folder))?;
        // Now that no other process can begin one there.
        check_free(folder)?;
        claim.furnish()?;
        Ok(claim)
    }

    /// `runs/digits`, or the first of `runs/digits-2, …` that is not there.
    pub(crate) fn next_run(parent: &Path, name: &str) -> Result<Self> {
        fs::create_dir_all(parent).with_context(|| cannot_create(parent))?;
        let mut folder = parent.join(name);
        let mut number = 1_u64;
        // Made and not looked for: another process may be about to take the same name.
        while let Err(error) = fs::create_dir(&folder) {
            if error.kind() != ErrorKind::AlreadyExists {
                return Err(error).with_context(|| cannot_create(&folder));
            }
            number += 1;
            folder = parent.join(format!("{name}-{number}"));
        }
        Self::new_run(&folder)
    }

    /// The folder of a run that goes on.
    pub(crate) fn existing_run(folder: &Path) -> Result<Self> {
        let claim = Self::of(opened::existing_run(folder)?)?;
        claim.furnish()?;
        Ok(claim)
    }

    fn of(run: RunDir) -> Result<Self> {
        let path = run.lock();
        // Whatever it is, it loses nothing by being locked.
        let lock = File::options().write(true).create(true).truncate(false).open(&path);
        let lock = lock.with_context(|| format!("cannot write {}", path.display()))?;
        ensure!(
            lock.try_lock().is_ok(),
            "another process is training in {}; wait for it, or train in another folder",
            run.root().display()
        );
        Ok(Self { run, lock })
    }

    /// Makes the folders of a run, and removes what a killed process left half-written in them.
    fn furnish(&self) -> Result<()> {
        for folder in [self.run.checkpoints(), self.run.samples_folder()] {
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot create the folder {}", folder.display()))?;
            files::remove_abandoned(&folder)?;
        }
        Ok(files::remove_abandoned(self.run.root())?)
    }

    /// The run.
    pub(crate) fn run(&self) -> &RunDir {
        &self.run
    }

    /// That the folder is still the one that was claimed and has what makes it a run. Whatever else is
    /// written into it cannot be continued.
    pub(crate) fn check(&self) -> Result<()> {
        let (lock, config) = (self.run.lock(), self.run.config());
        let is_ours = fs::metadata(&lock).is_ok_and(|found| {
            self.lock
                .metadata()
                .is_ok_and(|own| (own.dev(), own.ino()) == (found.dev(), found.ino()))
        });
        let missing = [config, self.run.metrics(), self.run.checkpoints()];
        let missing = missing.iter().find(|path| !path.exists());
        let what = match (is_ours, missing) {
            (true, None) => return Ok(()),
            (true, Some(path)) => format!("{} was removed", path.display()),
            (false, _) => format!("{} was removed or replaced", self.run.root().display()),
        };
        bail!(
            "{what} while this process trained there, so that its run cannot be continued; \
             start it anew, and leave the folder alone while it trains"
        )
    }
}

fn cannot_create(folder: &Path) -> String {
    format!("cannot create the run folder {}; choose another --out", folder.display())
}

/// That a folder does not hold a run, or a part of one.
pub(crate) fn check_free(folder: &Path) -> Result<()> {
    let run = RunDir::new(folder);
    ensure!(
        !run.config().exists(),
        "{} already holds a run; continue it with --resume {0} or choose another --out",
        folder.display()
    );
    if let Some(part) = run.first_part() {
        bail!(
            "{} holds a part of a run, {}, but no config.json; restore that from the field `config` of the \
             checkpoint.json of its newest checkpoint, or choose another --out",
            folder.display(),
            part.strip_prefix(folder).unwrap_or(&part).display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_owner_and_one_run() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("run");
        let first = Claim::new_run(&folder).unwrap();
        let fault = |claim: Result<Claim>| claim.unwrap_err().to_string();
        assert!(fault(Claim::new_run(&folder)).contains("another process is training in"));
        fs::write(first.run().config(), "{}").unwrap();
        assert!(fault(Claim::existing_run(&folder)).contains("another process is training in"));
        drop(first);
        // It looked before the first began, and claims after the first has ended.
        assert!(fault(Claim::new_run(&folder)).contains("already holds a run"));
        // What a killed process has made before anything of its own is no run.
        let begun = parent.path().join("begun");
        drop(Claim::new_run(&begun).unwrap());
        fs::write(Claim::new_run(&begun).unwrap().run().metrics(), "").unwrap();
        let part = "a part of a run, metrics.jsonl,";
        assert!(fault(Claim::new_run(&begun)).contains(part));
        assert!(Claim::existing_run(&folder).is_ok());
    }

    #[test]
    fn runs_without_a_name_take_the_next_number() {
        let parent = tempfile::tempdir().unwrap();
        let next = || Claim::next_run(&parent.path().join("runs"), "digits").unwrap();
        let claims = [next(), next(), next()];
        let names = claims.iter().map(|claim| claim.run().root().file_name().unwrap());
        assert!(names.eq(["digits", "digits-2", "digits-3"]));
    }

    #[test]
    fn a_folder_that_is_no_longer_the_run_is_noticed() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("run");
        let claim = Claim::new_run(&folder).unwrap();
        let owned = [claim.run().config(), claim.run().metrics()];
        for path in &owned {
            fs::write(path, "").unwrap();
        }
        claim.check().unwrap();
        for path in &owned {
            fs::rename(path, parent.path().join("aside")).unwrap();
            let fault = claim.check().unwrap_err().to_string();
            assert!(fault.starts_with(&format!("{} was removed", path.display())), "{fault}");
            fs::rename(parent.path().join("aside"), path).unwrap();
        }
        fs::rename(&folder, parent.path().join("elsewhere")).unwrap();
        assert!(claim.check().unwrap_err().to_string().contains("was removed or replaced"));
        // Another run of that name.
        let other = Claim::new_run(&folder).unwrap();
        fs::write(other.run().config(), "{}").unwrap();
        fs::write(other.run().metrics(), "").unwrap();
        other.check().unwrap();
        assert!(claim.check().unwrap_err().to_string().contains("was removed or replaced"));
    }
}
