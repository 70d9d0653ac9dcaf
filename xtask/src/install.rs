//! Brings libtorch from pypi.org into the cache: pinned wheels, by pip, unpacked and checked.
//!
//! Everything happens in a temporary folder beside the final one, which a rename then puts in
//! place: whoever finds the final folder finds it whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};

use crate::cache::{self, Cache, megabytes};
use crate::libtorch::{Libtorch, VERSION};
use crate::unpack::unpack;
use crate::wheels::Variant;
use crate::{manifest, progress, terminal};

/// The wheels are built for this Python; they are never imported.
const WHEEL_PYTHON: &str = "3.11";
/// Every tag that one of the pinned wheels carries: older pips do not know which imply which.
const WHEEL_PLATFORMS: [&str; 5] = [
    "manylinux_2_28_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux_2_25_x86_64",
    "manylinux_2_18_x86_64",
    "manylinux2014_x86_64",
];

/// What to do when libtorch cannot be installed from here.
fn by_hand() -> String {
    format!("or get libtorch {VERSION} yourself and set LIBTORCH to its folder")
}

/// Where [`install`] puts a variant: the folder with `lib/` and `include/`.
pub(crate) fn place(cache: &Cache, variant: Variant) -> PathBuf {
    cache.dir.join(variant.folder()).join("torch")
}

/// Installs `variant` unless another process did so while this one waited for the cache.
///
/// # Errors
///
/// Names what is missing (Python, pip, the network, disk space, write access) and the remedy.
pub(crate) fn install(cache: &Cache, variant: Variant) -> Result<Libtorch> {
    let _lock = cache.lock()?;
    let place = place(cache, variant);
    let folder = cache.dir.join(variant.folder());
    if manifest::verify(&folder, variant.files_sha256()).is_ok()
        && let Ok(found) = Libtorch::inspect(&place)
    {
        return Ok(Libtorch { pinned: Some(variant), ..found });
    }
    require_platform()?;
    require_pip()?;
    // First, as it frees what an interrupted run took.
    let partial = cache.fresh_partial(&variant.folder())?;
    let outcome = cache.require_space(variant.disk_bytes()).and_then(|()| {
        let (fetched, kept) = (variant.download_bytes(), variant.unpacked_bytes());
        terminal::note(format_args!(
            "installing libtorch {VERSION} from pypi.org into {}",
            folder.display()
        ));
        terminal::note(format_args!("({} to fetch, {} kept)", megabytes(fetched), megabytes(kept)));
        fetch(variant, &partial)?;
        put_in_place(&partial, &folder, variant.files_sha256())
    });
    if outcome.is_err() {
        // Best effort: the next run removes it otherwise.
        let _ = fs::remove_dir_all(&partial);
    }
    outcome?;
    Ok(Libtorch { pinned: Some(variant), ..Libtorch::inspect(&place)? })
}

fn require_platform() -> Result<()> {
    ensure!(
        cfg!(all(target_os = "linux", target_arch = "x86_64")),
        "the wheels of pypi.org are pinned for Linux on x86-64 only; here is {} on {}.\n\
         Install torch=={VERSION} for your python3, {}",
        std::env::consts::OS,
        std::env::consts::ARCH,
        by_hand()
    );
    Ok(())
}

/// `python3`, told not to insist on a virtual environment: nothing is installed into Python. It runs in the
/// root folder, as it takes modules from the current one first: a `pip.py` there would be run as pip.
pub(crate) fn python() -> Command {
    let mut command = Command::new("python3");
    command.current_dir("/");
    command.env("PIP_REQUIRE_VIRTUALENV", "false").env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    command
}

/// Asks pip for its version.
///
/// # Errors
///
/// If there is no Python or no pip: the second line is the remedy.
pub(crate) fn require_pip() -> Result<String> {
    let Ok(output) = python().args(["-m", "pip", "--version"]).output() else {
        bail!(
            "python3 was not found, and pip is what fetches libtorch.\n\
             Install it (Debian, Ubuntu: apt-get install python3-pip), {}",
            by_hand()
        );
    };
    ensure!(
        output.status.success(),
        "python3 has no pip, which fetches libtorch ({}).\n\
         Install it (Debian, Ubuntu: apt-get install python3-pip), {}",
        last_lines(&output, 1).trim(),
        by_hand()
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Downloads into `partial/wheels`, unpacks into `partial/content`.
fn fetch(variant: Variant, partial: &Path) -> Result<()> {
    let wheels = partial.join("wheels");
    let content = partial.join("content");
    let temporary = partial.join("tmp");
    for dir in [&wheels, &content, &temporary] {
        fs::create_dir(dir)?;
    }
    let requirements = partial.join("requirements.txt");
    fs::write(&requirements, variant.requirements())?;
    let mut download = python();
    download
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"])
        .args(["--require-hashes", "--only-binary=:all:", "--python-version", WHEEL_PYTHON])
        .args(WHEEL_PLATFORMS.iter().flat_map(|platform| ["--platform", platform]))
        .arg("--dest")
        .arg(&wheels)
        .arg("--requirement")
        .arg(&requirements)
        // The checked disk, not a small /tmp.
        .env("TMPDIR", &temporary);
    let size = variant.download_bytes();
    let output = progress::while_growing("downloading", partial, size, || {
        download.output().context("python3 could not be run")
    })?;
    ensure!(output.status.success(), download_failed(&output));

    let size = variant.unpacked_bytes();
    progress::while_growing("unpacking", &content, size, || {
        unpack(&wheels, &content, |member| variant.keeps(member), size)
    })
}

fn download_failed(output: &Output) -> String {
    let other_file = String::from_utf8_lossy(&output.stderr).contains("Expected sha256");
    let why = if other_file {
        "A file is not the pinned one, so nothing was installed: does a mirror, a proxy or \
         PIP_FIND_LINKS serve another? Try without it,"
    } else {
        "Is pypi.org within reach? Behind a mirror or proxy set PIP_INDEX_URL or HTTPS_PROXY,"
    };
    let said = last_lines(output, 3);
    format!("pip could not fetch libtorch:\n{said}\n{why} {}", by_hand())
}

fn put_in_place(partial: &Path, place: &Path, pinned: &str) -> Result<()> {
    let content = partial.join("content");
    manifest::verify(&content, pinned)?;
    Libtorch::inspect(&content.join("torch")).context("what was downloaded is not usable")?;
    if place.symlink_metadata().is_ok() {
        terminal::note(format_args!("replacing the unusable {}", place.display()));
        cache::remove(place)?;
    }
    fs::rename(&content, place)
        .with_context(|| format!("cannot move {} into place", place.display()))?;
    fs::remove_dir_all(partial)?;
    Ok(())
}

/// The end of what a failed command said, indented.
fn last_lines(output: &Output, count: usize) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = &lines[lines.len().saturating_sub(count)..];
    if tail.is_empty() { output.status.to_string() } else { format!("  {}", tail.join("\n  ")) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    fn failed(stderr: &str) -> Output {
        Output {
            status: ExitStatus::from_raw(256),
            stdout: Vec::new(),
            stderr: stderr.as_bytes().to_vec(),
        }
    }

    #[test]
    fn a_failed_download_shows_the_end_of_what_pip_said_and_the_remedy() {
        let message = download_failed(&failed("one\n\ntwo\nthree\nfour\nfive\n"));
        assert!(!message.contains("one") && message.contains("five"), "{message}");
        assert!(message.contains("PIP_INDEX_URL") && message.contains("LIBTORCH"), "{message}");
    }

    #[test]
    fn a_file_of_another_hash_is_called_so() {
        let message = download_failed(&failed("Expected sha256 aa\nGot bb\n"));
        assert!(message.contains("not the pinned one") && message.contains("bb"), "{message}");
    }

    #[test]
    fn a_silent_failure_shows_the_status() {
        assert!(last_lines(&failed(""), 3).contains('1'));
    }

    #[test]
    fn an_unusable_download_is_not_put_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let partial = dir.path().join("partial");
        fs::create_dir_all(partial.join("content/torch")).unwrap();
        let place = dir.path().join("final");
        let message = put_in_place(&partial, &place, "00").unwrap_err().to_string();
        assert!(message.contains("pinned wheels"), "{message}");
        // The right files, of which there are none: no libtorch.
        let nothing = crate::hash::sha256_of(b"");
        let message = put_in_place(&partial, &place, &nothing).unwrap_err().to_string();
        assert!(message.contains("not usable"), "{message}");
        assert!(!place.exists());
    }
}
