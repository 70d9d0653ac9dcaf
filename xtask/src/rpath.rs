//! Where programs look for libtorch: in one folder of this checkout, by its absolute path.
//!
//! The loader searches the folders of a program's run path for *every* library, libc included, before
//! the system's own. A path that is relative to the program (`$ORIGIN/../..`) or to the current folder
//! leaves the checkout as soon as the program lies, or is run, elsewhere than was thought; whoever
//! can create the folder that it then names has their code run. An absolute path cannot be committed,
//! so the set-up writes it into `.cargo/local.toml`, which cargo's configuration includes. It also
//! serves a target folder outside the checkout, and programs that are copied or installed.
//!
//! The old kind of tag, `DT_RPATH`, is needed: `libtorch_cuda.so` is loaded by `dlopen`, and the new
//! kind is not inherited by what that brings in.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::checkout::Checkout;

/// Whether programs built now find the libtorch of this checkout.
pub(crate) fn is_set(checkout: &Checkout) -> bool {
    let written = fs::read_to_string(checkout.local_config());
    configuration(checkout).is_ok_and(|text| written.is_ok_and(|old| old == text))
}

/// Writes the run path into cargo's configuration, unless it is there. What was built with another one,
/// or before there was one, cargo builds again.
///
/// # Errors
///
/// If the checkout's own path cannot stand in a run path, or the file cannot be written.
pub(crate) fn set(checkout: &Checkout) -> Result<()> {
    if is_set(checkout) {
        return Ok(());
    }
    let file = checkout.local_config();
    // A cargo that reads it meanwhile sees the old one or the new one.
    let fresh = file.with_extension("new");
    fs::write(&fresh, configuration(checkout)?)
        .and_then(|()| fs::rename(&fresh, &file))
        .with_context(|| format!("cannot write {}", file.display()))
}

fn configuration(checkout: &Checkout) -> Result<String> {
    let root = &checkout.root;
    let root = root.canonicalize().with_context(|| format!("cannot find {}", root.display()))?;
    let folder = Checkout { root }.libtorch().join("lib");
    let path = run_path(&folder)?.replace('\\', "\\\\").replace('"', "\\\"");
    let flags = format!(
        "[\"-Clink-arg=-Wl,--disable-new-dtags\", \"-Clink-arg=-Xlinker\", \"-Clink-arg=-rpath={path}\"]"
    );
    Ok(format!(
        "# Written by `cargo xtask`, which writes it again where the checkout has moved. Without it programs\n\
         # build but do not find libtorch. Why it is not committed: xtask/src/rpath.rs.\n\
         [target.'cfg(target_os = \"linux\")']\nrustflags = {flags}\n\n\
         [build]\nrustdocflags = {flags}\n"
    ))
}

/// `folder` as the only entry of a run path.
fn run_path(folder: &Path) -> Result<&str> {
    let remedy = "move the checkout to a folder without it";
    let path = folder.to_str().with_context(|| {
        format!(
            "programs cannot look for libtorch in {}: it is not UTF-8; {remedy}",
            folder.display()
        )
    })?;
    // A colon would end the entry, a dollar begin one of the loader's own words.
    let wrong = path.chars().find(|&c| c == ':' || c == '$' || c.is_control());
    ensure!(
        wrong.is_none() && folder.is_absolute(),
        "programs cannot look for libtorch in {path:?}, whose {:?} is special there; {remedy}",
        wrong.unwrap_or('/')
    );
    Ok(path)
}

#[cfg(test)]
mod tests {
    use object::elf::{DT_RPATH, DT_RUNPATH, DynamicTag};
    use object::read::elf::ElfFile64;

    use super::*;

    fn checkout(root: &Path) -> Checkout {
        fs::create_dir_all(root.join(".cargo")).unwrap();
        Checkout { root: root.to_path_buf() }
    }

    /// All run paths of a program, of both kinds.
    fn run_paths(program: &Path) -> Vec<(DynamicTag, String)> {
        let bytes = fs::read(program).unwrap();
        let elf = ElfFile64::<object::Endianness>::parse(&*bytes).unwrap();
        let table = elf.elf_dynamic_table().unwrap();
        let strings = table.strings();
        table
            .iter()
            .filter(|entry| [DT_RPATH, DT_RUNPATH].contains(&entry.tag))
            .map(|entry| {
                let text = entry.string(strings).unwrap();
                (entry.tag, String::from_utf8(text.to_vec()).unwrap())
            })
            .collect()
    }

    /// This very program is linked with the flags of all others.
    #[test]
    fn programs_trust_one_folder_inside_the_checkout() {
        let checkout = Checkout::current().unwrap();
        let program = std::env::current_exe().unwrap();
        let root = checkout.root.canonicalize().unwrap();
        let wanted = root.join("third_party/libtorch/lib");
        for (tag, path) in run_paths(&program) {
            assert_eq!(Path::new(&path), wanted, "nothing relative, nothing beside it");
            assert_eq!(tag, DT_RPATH, "dlopen needs the old kind");
        }
        // Before the set-up there is none, and nothing either that would load libtorch.
        let wanted = is_set(&checkout) && crate::cargo::traps().is_empty();
        assert_eq!(run_paths(&program).len(), usize::from(wanted));
    }

    #[test]
    fn the_configuration_is_written_once_and_follows_the_checkout() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("a, \"b\" c"), dir.path().join("moved"));
        let before = checkout(&old);
        assert!(!is_set(&before));
        set(&before).unwrap();
        assert!(is_set(&before));
        let written = fs::metadata(before.local_config()).unwrap().modified().unwrap();
        set(&before).unwrap();
        assert_eq!(fs::metadata(before.local_config()).unwrap().modified().unwrap(), written);
        let text = fs::read_to_string(before.local_config()).unwrap();
        assert!(text.contains("a, \\\"b\\\" c/third_party/libtorch/lib\"]"), "{text}");
        fs::rename(&old, &new).unwrap();
        let after = checkout(&new);
        assert!(!is_set(&after));
        set(&after).unwrap();
        assert!(is_set(&after));
    }

    #[test]
    fn a_checkout_that_no_run_path_can_name_is_refused() {
        for name in ["a:b", "$ORIGIN", "a\nb"] {
            let dir = tempfile::tempdir().unwrap();
            let error = set(&checkout(&dir.path().join(name))).unwrap_err().to_string();
            assert!(error.contains("move the checkout") && !error.contains('\n'), "{error}");
        }
    }
}
