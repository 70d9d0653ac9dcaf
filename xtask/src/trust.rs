//! Who else can change what is run from here: folders that others can write to.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::checkout::Checkout;

const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// What is wrong with the places of a checkout and its libtorch, each with what to do about it.
pub(crate) fn findings(checkout: &Checkout) -> Vec<(String, String)> {
    let mut findings = Vec::new();
    if let Some(why) = exposed(&checkout.root) {
        let remedy =
            "anyone who can write there can change what runs here; move the checkout".into();
        findings.push((why, remedy));
    }
    for file in foreign_configurations(checkout) {
        let what = format!("{} belongs to another user, and cargo obeys it", file.display());
        findings.push((what, "move the checkout out of that folder".into()));
    }
    let lib = checkout.libtorch().join("lib");
    if let Some(why) = lib.exists().then(|| exposed(&lib)).flatten() {
        let remedy = "anyone who can write there can exchange libtorch after it was verified; take the \
                      right from them (chmod go-w), or choose another cache (VDM_CACHE=DIR)";
        findings.push((why, remedy.into()));
    }
    findings
}

/// Why somebody else can replace what lies in `folder`, if they can: it is theirs, or everyone may write
/// to it, or to a folder above it.
fn exposed(folder: &Path) -> Option<String> {
    let folder = folder.ancestors().find(|path| path.exists())?.canonicalize().ok()?;
    folder.ancestors().find_map(|path| {
        let meta = fs::metadata(path).ok()?;
        let theirs = belongs_to_others(&meta);
        // In a sticky folder such as /tmp only the owner of an entry can replace it.
        let open = meta.mode() & OTHERS_WRITE != 0 && (path == folder || meta.mode() & STICKY == 0);
        let why = if theirs { "belongs to another user" } else { "is writable for everyone" };
        (theirs || open).then(|| format!("{} {why}", path.display()))
    })
}

/// Configurations of cargo above the checkout that belong to somebody else: cargo obeys them, whatever they
/// tell it to run.
fn foreign_configurations(checkout: &Checkout) -> Vec<PathBuf> {
    let above = checkout.root.ancestors().skip(1);
    above
        .flat_map(|folder| ["config.toml", "config"].map(|name| folder.join(".cargo").join(name)))
        .filter(|file| fs::metadata(file).is_ok_and(|meta| belongs_to_others(&meta)))
        .collect()
}

/// Neither ours nor the system's.
fn belongs_to_others(meta: &Metadata) -> bool {
    // The owner of a process's own folder is its effective user; without /proc nobody is foreign.
    let us = fs::metadata("/proc/self").map_or(meta.uid(), |meta| meta.uid());
    meta.uid() != us && meta.uid() != 0
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_folder_is_exposed_by_its_mode_and_by_those_above() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("outer/inner");
        fs::create_dir_all(&inner).unwrap();
        mode(&inner, 0o755);
        let exposed_as = |outer: u32| {
            mode(&dir.path().join("outer"), outer);
            exposed(&inner)
        };
        // Whatever the temporary folder itself is like.
        let above = exposed(dir.path());
        assert_eq!(exposed_as(0o755), above);
        assert_eq!(exposed_as(0o1777), above, "sticky: nobody else can replace our folder");
        let why = exposed_as(0o777).unwrap();
        assert!(why.ends_with("outer is writable for everyone"), "{why}");
        mode(&inner, 0o1777);
        let why = exposed(&inner).unwrap();
        assert!(why.ends_with("inner is writable for everyone"), "anyone can add to it: {why}");
        mode(&inner, 0o755);
        let why = exposed(&inner.join("not/yet/there")).unwrap();
        assert!(why.ends_with("outer is writable for everyone"), "{why}");
    }

    #[test]
    fn our_own_and_the_systems_configurations_are_not_foreign() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(".cargo")).unwrap();
        fs::write(dir.path().join(".cargo/config.toml"), "").unwrap();
        let checkout = Checkout { root: dir.path().join("a/b") };
        assert!(!foreign_configurations(&checkout).iter().any(|path| path.starts_with(&dir)));
    }
}
