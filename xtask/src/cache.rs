//! The per-user cache: where it is, who may write to it, how much room it has.
//!
//! `VDM_CACHE` if set, else `$XDG_CACHE_HOME/vdm`, else `~/.cache/vdm`. The `vdm` binary looks for
//! downloaded data in the same place.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::terminal;

/// How the names of folders begin that only a run under way or a killed one has.
const PARTIAL: &str = ".vdm-partial-";

/// A cache folder, which need not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cache {
    pub dir: PathBuf,
}

impl Cache {
    /// The user's cache by the environment.
    ///
    /// # Errors
    ///
    /// If none of `VDM_CACHE`, `XDG_CACHE_HOME` and `HOME` is set.
    pub(crate) fn of_user() -> Result<Self> {
        Self::locate(|name| std::env::var_os(name))
    }

    fn locate(var: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let folder = |name| var(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let dir = folder("VDM_CACHE")
            .or_else(|| Some(folder("XDG_CACHE_HOME")?.join("vdm")))
            .or_else(|| Some(folder("HOME")?.join(".cache/vdm")))
            .context("no place for the cache: none of VDM_CACHE, XDG_CACHE_HOME, HOME is set")?;
        ensure!(
            dir.is_absolute(),
            "the cache folder {} must be an absolute path: change VDM_CACHE",
            dir.display()
        );
        Ok(Self { dir })
    }

    /// Waits until no other process writes here; the lock falls with the returned file, also when
    /// the process is killed.
    ///
    /// # Errors
    ///
    /// If the folder cannot be written.
    pub(crate) fn lock(&self) -> Result<File> {
        // Whatever the umask, nobody else writes to it.
        DirBuilder::new().recursive(true).mode(0o755).create(&self.dir).with_context(|| {
            format!(
                "cannot create the cache {} (VDM_CACHE=DIR chooses another)",
                self.dir.display()
            )
        })?;
        lock_file(&self.dir.join("lock"))
    }

    /// Removes what a killed run left, and gives a fresh folder for this one. Hold the lock.
    ///
    /// # Errors
    ///
    /// If the cache cannot be written.
    pub(crate) fn fresh_partial(&self, what: &str) -> Result<PathBuf> {
        let leftovers = fs::read_dir(&self.dir)?
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(PARTIAL));
        for entry in leftovers {
            terminal::note(format_args!(
                "removing what an interrupted run left: {}",
                entry.path().display()
            ));
            remove(&entry.path())?;
        }
        // The process id keeps a still running child of a killed run out of the new folder.
        let partial = self.dir.join(format!("{PARTIAL}{what}-{}", std::process::id()));
        fs::create_dir(&partial).with_context(|| format!("cannot create {}", partial.display()))?;
        Ok(partial)
    }

    /// Checks before fetching that `need` bytes fit.
    ///
    /// # Errors
    ///
    /// Names the place, the need and what is free.
    pub(crate) fn require_space(&self, need: u64) -> Result<()> {
        let Some(free) = free_bytes(&self.dir) else { return Ok(()) };
        ensure!(
            free >= need,
            "not enough disk space in {}: {} needed, {} free.\n\
             Free some, or choose another place: VDM_CACHE=DIR cargo xtask setup",
            self.dir.display(),
            megabytes(need),
            megabytes(free)
        );
        Ok(())
    }
}

/// Takes the lock at `path`, saying so if another process holds it.
///
/// # Errors
///
/// If the file cannot be created or locked.
pub(crate) fn lock_file(path: &Path) -> Result<File> {
    // Not cut to nothing, as it may be a link that somebody else put there.
    let file = File::options().create(true).truncate(false).write(true).open(path);
    let file = file.with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            terminal::note(format_args!(
                "waiting for another cargo xtask that holds {} …",
                path.display()
            ));
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
            Ok(file)
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// Removes a link, a file, a folder, or nothing.
///
/// # Errors
///
/// If the folder it lies in cannot be written.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    let outcome = if meta.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    outcome.with_context(|| format!("cannot remove {}", path.display()))
}

/// Free bytes on the file system of `dir` or of its nearest existing parent.
pub(crate) fn free_bytes(dir: &Path) -> Option<u64> {
    let existing = dir.ancestors().find(|path| path.exists())?;
    let output = Command::new("df").arg("-Pk").arg(existing).output().ok()?;
    parse_df(&String::from_utf8_lossy(&output.stdout))
}

/// The available column of `df -Pk`: the one before `NN%`, as names may hold spaces.
fn parse_df(text: &str) -> Option<u64> {
    let words: Vec<&str> = text.lines().nth(1)?.split_whitespace().collect();
    let capacity = words.iter().position(|word| word.ends_with('%'))?;
    let kilobytes: u64 = words.get(capacity.checked_sub(1)?)?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Bytes of all files below `dir`; what vanishes meanwhile counts nothing.
pub(crate) fn bytes_below(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

/// `531 MB`.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn located(vars: &[(&str, &str)]) -> Result<PathBuf> {
        let var = |name: &str| {
            vars.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        Ok(Cache::locate(var)?.dir)
    }

    #[test]
    fn the_most_particular_variable_wins() {
        let all = [("VDM_CACHE", "/v"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(located(&all).unwrap(), Path::new("/v"));
        assert_eq!(located(&all[1..]).unwrap(), Path::new("/x/vdm"));
        assert_eq!(located(&all[2..]).unwrap(), Path::new("/h/.cache/vdm"));
        assert_eq!(
            located(&[("VDM_CACHE", ""), ("HOME", "/h")]).unwrap(),
            Path::new("/h/.cache/vdm")
        );
    }

    #[test]
    fn no_place_and_a_relative_place_are_errors() {
        assert!(located(&[]).unwrap_err().to_string().contains("none of VDM_CACHE"));
        let message = located(&[("VDM_CACHE", "here")]).unwrap_err().to_string();
        assert!(message.contains("must be an absolute path"), "{message}");
    }

    #[test]
    fn df_is_read_also_with_spaces_in_names() {
        let text = "Filesystem 1024-blocks Used Available Capacity Mounted on\n\
            my disk 100 40 60 40% /mnt/a b\n";
        assert_eq!(parse_df(text), Some(60 * 1024));
        assert_eq!(parse_df("df: error\n"), None);
    }

    #[test]
    fn too_little_space_names_place_need_and_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache { dir: dir.path().to_path_buf() };
        let message = cache.require_space(u64::MAX).unwrap_err().to_string();
        assert!(message.contains("needed") && message.contains("free"), "{message}");
        assert!(message.contains("VDM_CACHE=DIR"), "{message}");
        cache.require_space(1).unwrap();
    }

    #[test]
    fn a_fresh_partial_folder_replaces_leftovers() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache { dir: dir.path().to_path_buf() };
        let old = dir.path().join(".vdm-partial-x-1");
        fs::create_dir(&old).unwrap();
        // Put there by somebody else: the link goes, what it leads to stays.
        let planted = dir.path().join(".vdm-partial-y");
        symlink(dir.path().join("keep"), &planted).unwrap();
        fs::create_dir(dir.path().join("keep")).unwrap();
        let fresh = cache.fresh_partial("x").unwrap();
        assert!(!old.exists() && fresh.is_dir());
        assert!(planted.symlink_metadata().is_err() && dir.path().join("keep").is_dir());
    }

    #[test]
    fn a_lock_empties_no_file_that_a_planted_link_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache { dir: dir.path().join("cache") };
        drop(cache.lock().unwrap());
        let mode = fs::metadata(&cache.dir).unwrap().permissions().mode();
        assert_eq!(mode & 0o022, 0, "{mode:o}");
        let precious = dir.path().join("precious");
        fs::write(&precious, "text").unwrap();
        fs::remove_file(cache.dir.join("lock")).unwrap();
        symlink(&precious, cache.dir.join("lock")).unwrap();
        drop(cache.lock().unwrap());
        assert_eq!(fs::read_to_string(precious).unwrap(), "text");
    }

    #[test]
    fn anything_in_the_way_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let [folder, broken, file] = ["folder", "broken", "file"].map(|name| dir.path().join(name));
        fs::create_dir_all(folder.join("inner")).unwrap();
        symlink("nowhere", &broken).unwrap();
        fs::write(&file, "").unwrap();
        for path in [&folder, &broken, &file] {
            remove(path).unwrap();
            assert!(fs::symlink_metadata(path).is_err());
            remove(path).unwrap();
        }
    }

    #[test]
    fn a_lock_excludes_a_second_holder_until_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache { dir: dir.path().to_path_buf() };
        let held = cache.lock().unwrap();
        let second = File::create(dir.path().join("lock")).unwrap();
        assert!(second.try_lock().is_err());
        drop(held);
        assert!(second.try_lock().is_ok());
    }
}
