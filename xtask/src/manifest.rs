//! That an installed libtorch is, file by file, what the pinned wheels hold.
//!
//! The list of all files with their hashes, as `sha256sum` writes it, is pinned by its own hash in
//! [`crate::wheels`]. So whoever can write to the cache can change libraries, but not what they are
//! compared with. A file that no wheel holds is as bad as a changed one: the loader looks for every
//! library, the system's included, in libtorch's folder first, and a compiler for every header.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::hash::{sha256, sha256_of};
use crate::terminal;
use anyhow::{Context, Result, bail, ensure};

/// The list, beside what it lists. It only tells which file differs: `sha256sum --check SHA256SUMS`.
const LIST: &str = "SHA256SUMS";
/// So many differences are named.
const NAMED: usize = 3;

/// Hashes everything in `folder`, and leaves the list there.
///
/// # Errors
///
/// Names what differs from the list whose SHA-256 is `pinned`.
pub(crate) fn verify(folder: &Path, pinned: &str) -> Result<()> {
    let list = list(folder, &files(folder)?)?;
    let file = folder.join(LIST);
    if sha256_of(&list) == pinned {
        // Not needed for anything that is promised, so a cache that is read-only will do.
        let _ = fs::write(file, list);
        return Ok(());
    }
    let wanted = fs::read(file).ok().filter(|wanted| sha256_of(wanted) == pinned);
    let which = match wanted {
        Some(wanted) => differences(&wanted, &list),
        None => "its files are not those of the pinned wheels".to_owned(),
    };
    bail!("{} is damaged or was tampered with: {which}", folder.display())
}

/// [`verify`], unless nothing in the folder has changed since `memory` was written, which nobody else must be
/// able to write.
///
/// # Errors
///
/// As [`verify`].
pub(crate) fn verify_if_changed(folder: &Path, pinned: &str, memory: &Path) -> Result<()> {
    // Before the files are read: a change meanwhile is seen the next time.
    let state = state(&files(folder)?);
    if fs::read_to_string(memory).is_ok_and(|known| known == state) {
        return Ok(());
    }
    terminal::note(format_args!("verifying the files of {} …", folder.display()));
    verify(folder, pinned)?;
    fs::write(memory, state).with_context(|| format!("cannot write {}", memory.display()))
}

/// Every file below a folder by its path from there; nothing else may lie there.
fn files(folder: &Path) -> Result<BTreeMap<Vec<u8>, Metadata>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(inner) = folders.pop() {
        let path = folder.join(&inner);
        let entries =
            fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = inner.join(entry.file_name());
            // Of a link itself, not of where it leads.
            let meta = entry.metadata()?;
            if meta.is_dir() {
                folders.push(name);
            } else if name != Path::new(LIST) {
                ensure!(
                    meta.is_file(),
                    "{} is neither a file nor a folder",
                    entry.path().display()
                );
                found.insert(name.into_os_string().into_vec(), meta);
            }
        }
    }
    Ok(found)
}

/// `HASH  PATH` a line, by path.
fn list(folder: &Path, files: &BTreeMap<Vec<u8>, Metadata>) -> Result<Vec<u8>> {
    let mut list = Vec::new();
    for name in files.keys() {
        let path = folder.join(OsString::from_vec(name.clone()));
        let hash = File::open(&path)
            .and_then(sha256)
            .with_context(|| format!("cannot read {}", path.display()))?;
        list.extend_from_slice(hash.as_bytes());
        list.extend_from_slice(b"  ");
        list.extend_from_slice(name);
        list.push(b'\n');
    }
    Ok(list)
}

/// What changes when a file does. Its time of change (ctime) cannot be set back, as its modification time can.
fn state(files: &BTreeMap<Vec<u8>, Metadata>) -> String {
    let mut state = Vec::new();
    for (name, meta) in files {
        state.extend_from_slice(name);
        let numbers = [meta.dev(), meta.ino(), meta.size()].map(u64::to_le_bytes);
        let times = [meta.ctime(), meta.ctime_nsec()].map(i64::to_le_bytes);
        state.extend(numbers.into_iter().chain(times).flatten());
    }
    sha256_of(&state)
}

/// Names the first few paths whose lines are in one list only.
fn differences(wanted: &[u8], found: &[u8]) -> String {
    let (wanted, found) = (by_path(wanted), by_path(found));
    let changed = wanted.iter().filter_map(|(path, hash)| match found.get(path) {
        Some(other) if other == hash => None,
        Some(_) => Some((path, "has other content")),
        None => Some((path, "is missing")),
    });
    let added = found.keys().filter(|path| !wanted.contains_key(*path));
    let all: Vec<_> = changed.chain(added.map(|path| (path, "is in no wheel"))).collect();
    let mut text: Vec<String> = all
        .iter()
        .take(NAMED)
        .map(|(path, what)| {
            format!("{} {what}", Path::new(std::ffi::OsStr::from_bytes(path)).display())
        })
        .collect();
    if all.len() > NAMED {
        text.push(format!("and {} more", all.len() - NAMED));
    }
    text.join(", ")
}

fn by_path(list: &[u8]) -> BTreeMap<&[u8], &[u8]> {
    list.split(|&byte| byte == b'\n')
        .filter_map(|line| line.split_at_checked(64))
        .map(|(hash, path)| (path.trim_ascii_start(), hash))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::os::unix::fs::symlink;
    use std::time::SystemTime;

    use super::*;

    /// A folder as an installation leaves it, and the hash of its list.
    fn installed() -> (tempfile::TempDir, PathBuf, String) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("libtorch");
        fs::create_dir_all(folder.join("torch/lib")).unwrap();
        fs::write(folder.join("torch/lib/libc10.so"), "abc").unwrap();
        fs::write(folder.join("torch-x"), "").unwrap();
        let pinned = sha256_of(&list(&folder, &files(&folder).unwrap()).unwrap());
        verify(&folder, &pinned).unwrap();
        (dir, folder, pinned)
    }

    #[test]
    fn the_list_is_that_of_sha256sum() {
        let (_dir, folder, _) = installed();
        assert_eq!(
            fs::read_to_string(folder.join(LIST)).unwrap(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  torch-x\n\
             ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  torch/lib/libc10.so\n"
        );
    }

    #[test]
    fn what_was_changed_added_removed_or_linked_is_named() {
        type Damage = fn(&Path) -> io::Result<()>;
        let damages: [(Damage, &str); 5] = [
            // Of the same length, as a poisoned library would be.
            (|f| fs::write(f.join("torch/lib/libc10.so"), "abd"), "libc10.so has other content"),
            (|f| fs::remove_file(f.join("torch-x")), "torch-x is missing"),
            (|f| fs::write(f.join("torch/lib/libc.so.6"), ""), "lib/libc.so.6 is in no wheel"),
            (|f| symlink("/etc", f.join("torch/more")), "more is neither a file nor a folder"),
            // Who changes a library can change the list as well.
            (
                |f| {
                    fs::write(f.join("torch-x"), "evil")?;
                    fs::write(f.join(LIST), "")
                },
                "not those of the pinned wheels",
            ),
        ];
        for (damage, said) in damages {
            let (_dir, folder, pinned) = installed();
            damage(&folder).unwrap();
            let error = verify(&folder, &pinned).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn an_unchanged_folder_is_hashed_once_and_a_changed_one_again() {
        let (dir, folder, pinned) = installed();
        let memory = dir.path().join("memory");
        verify_if_changed(&folder, &pinned, &memory).unwrap();
        // Were it hashed again, this would be an error.
        verify_if_changed(&folder, "another", &memory).unwrap();
        let library = folder.join("torch/lib/libc10.so");
        let before = fs::metadata(&library).unwrap().modified().unwrap();
        fs::write(&library, "abd").unwrap();
        File::options().write(true).open(&library).unwrap().set_modified(before).unwrap();
        assert!(before <= SystemTime::now());
        let error = verify_if_changed(&folder, &pinned, &memory).unwrap_err().to_string();
        assert!(error.contains("libc10.so has other content"), "{error}");
    }
}
