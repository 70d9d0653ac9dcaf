//! Links a libtorch into the checkout, so that one binary serves every libtorch.
//!
//! ```text
//! third_party/libtorch/
//!   lib            → the found libtorch's lib      what programs load (their run path, see rpath.rs)
//!   include        → the found libtorch's include
//!   build-version                                  torch-sys reads it
//!   origin                                         the pinned set it is, or that it is the user's own
//!   link/include   → ../include
//!   link/lib/*.so                                  what the linker sees (LIBTORCH_LIB)
//! ```
//!
//! `lib` is a link to a *folder*: the loader expands `$ORIGIN` of a library to the folder it was
//! found in, and through a folder's link `$ORIGIN/../../nvidia/…` still leads to the neighbors of
//! the real one. Links to the single files would break that.
//!
//! `link/lib` is the same on every machine: `libtorch_cpu.so`, `libc10.so`, and a `libtorch.so`
//! that is `libtorch_cpu.so` under the name torch-sys asks for. The linker records the name inside
//! the library, so binaries ask for `libtorch_cpu.so` and never for the real `libtorch.so`, which
//! would drag in CUDA. torch-sys finds no `libtorch_cuda.so` there either, so a build is the same
//! with and without CUDA; a program that wants the GPU dlopens `libtorch_cuda.so` from `lib`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::cache::{lock_file, remove};
use crate::checkout::Checkout;
use crate::libtorch::{Dependencies, Libtorch, VERSION};
use crate::manifest;
use crate::wheels::Variant;

/// The file that says what is linked.
const ORIGIN: &str = "origin";

/// The libtorch that the checkout is linked to, if it is usable.
///
/// # Errors
///
/// Says what is wrong with it, or that there is none.
pub(crate) fn current(checkout: &Checkout) -> Result<Libtorch> {
    let place = checkout.libtorch();
    ensure!(place.is_dir(), "{} is not set up", place.display());
    for name in ["libtorch.so", "libtorch_cpu.so", "libc10.so"] {
        let link = place.join("link/lib").join(name);
        ensure!(link.exists(), "{} is missing or leads nowhere", link.display());
    }
    let origin = fs::read_to_string(place.join(ORIGIN))
        .with_context(|| format!("{} was linked by another set-up", place.display()))?;
    let pinned = Variant::ALL.into_iter().find(|variant| variant.folder() == origin.trim());
    if let Some(variant) = pinned {
        let lib = place.join("lib").canonicalize()?;
        verify(checkout, lib.parent().context("libtorch cannot be the root folder")?, variant)?;
    }
    Ok(Libtorch { pinned, ..Libtorch::inspect(&place)? })
}

/// Verifies that `root` is what the set-up installs there, if anything changed since this was done last.
///
/// # Errors
///
/// Names the files that are not those of the pinned wheels.
pub(crate) fn verify(checkout: &Checkout, root: &Path, variant: Variant) -> Result<()> {
    let folder = root.parent().context("libtorch cannot be the root folder")?;
    fs::create_dir_all(checkout.third_party())?;
    manifest::verify_if_changed(folder, variant.files_sha256(), &memory(checkout))
}

/// Makes the next [`verify`] read every file.
pub(crate) fn forget_verified(checkout: &Checkout) {
    let _ = fs::remove_file(memory(checkout));
}

/// Which state of which folder was verified last.
fn memory(checkout: &Checkout) -> PathBuf {
    checkout.third_party().join("verified")
}

/// Makes `third_party/libtorch` lead to `libtorch`, replacing what was there.
///
/// # Errors
///
/// If the checkout cannot be written, or the libraries do not load through the links.
pub(crate) fn link(checkout: &Checkout, libtorch: &Libtorch) -> Result<()> {
    let third_party = checkout.third_party();
    fs::create_dir_all(&third_party)
        .with_context(|| format!("cannot create {}", third_party.display()))?;
    let _lock = lock_file(&third_party.join(".lock"))?;
    let place = checkout.libtorch();
    if current(checkout).is_ok() && same_folder(&place.join("lib"), &libtorch.root.join("lib")) {
        return Ok(());
    }
    let fresh = third_party.join(".libtorch.new");
    remove(&fresh)?;
    make_view(&fresh, libtorch)?;
    remove(&place)?;
    fs::rename(&fresh, &place)?;
    current(checkout).context("libtorch was linked into the checkout, but does not load there")?;
    Ok(())
}

fn make_view(view: &Path, libtorch: &Libtorch) -> Result<()> {
    let real = libtorch.root.canonicalize()?;
    let names = view.join("link/lib");
    fs::create_dir_all(&names)?;
    fs::write(view.join("build-version"), format!("{VERSION}\n"))?;
    let origin = libtorch.pinned.map_or_else(|| "the user's own".to_owned(), Variant::folder);
    fs::write(view.join(ORIGIN), format!("{origin}\n"))?;
    symlink(real.join("lib"), view.join("lib"))?;
    symlink(real.join("include"), view.join("include"))?;
    symlink("../include", view.join("link/include"))?;
    symlink("libtorch_cpu.so", names.join("libtorch.so"))?;
    for name in ["libtorch_cpu.so", "libc10.so"] {
        symlink(Path::new("../../lib").join(name), names.join(name))?;
    }
    // GNU ld follows what a library needs, and looks beside it; LLVM's does not care.
    for path in Dependencies::of(&real.join("lib/libtorch_cpu.so"))?.found {
        if let Some(name) = path.file_name().filter(|_| path.starts_with(&real))
            && !names.join(name).exists()
        {
            symlink(&path, names.join(name))?;
        }
    }
    Ok(())
}

fn same_folder(one: &Path, other: &Path) -> bool {
    one.canonicalize().is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fake_libtorch(root: &Path) -> Libtorch {
        fs::create_dir_all(root.join("lib")).unwrap();
        fs::create_dir_all(root.join("include")).unwrap();
        // Whole enough for ldd: this program itself.
        let program = std::env::current_exe().unwrap();
        for name in ["libtorch_cpu.so", "libc10.so", "libtorch_cuda.so"] {
            fs::copy(&program, root.join("lib").join(name)).unwrap();
        }
        Libtorch { root: root.to_path_buf(), cuda: true, pinned: None }
    }

    #[test]
    fn the_linker_sees_no_cuda_and_the_loader_does() {
        let dir = tempfile::tempdir().unwrap();
        let view = dir.path().join("view");
        make_view(&view, &fake_libtorch(&dir.path().join("real"))).unwrap();
        assert!(view.join("lib/libtorch_cuda.so").exists());
        assert!(!view.join("link/lib/libtorch_cuda.so").exists());
        let libtorch = view.join("link/lib/libtorch.so").canonicalize().unwrap();
        assert!(libtorch.ends_with("real/lib/libtorch_cpu.so"), "{}", libtorch.display());
        assert_eq!(fs::read_to_string(view.join("build-version")).unwrap().trim(), VERSION);
    }

    #[test]
    fn an_absent_link_says_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let checkout = Checkout { root: dir.path().to_path_buf() };
        assert!(current(&checkout).unwrap_err().to_string().contains("is not set up"));
        fs::create_dir_all(checkout.libtorch()).unwrap();
        assert!(current(&checkout).unwrap_err().to_string().contains("libtorch.so is missing"));
    }
}
