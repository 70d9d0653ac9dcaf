//! What a usable libtorch is: its version, its files, and whether it has the CUDA part.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::wheels::Variant;

/// The one libtorch the pinned tch binds to; [`crate::command::tidy`] checks the pair.
pub(crate) const VERSION: &str = "2.11.0";

/// Below this `libtorch_cpu.so` is cut off: the real one has 400 MB and more.
const LEAST_CPU_LIBRARY_BYTES: u64 = 50_000_000;

/// A folder with `lib/` and `include/` that was looked at and found right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Libtorch {
    pub root: PathBuf,
    /// Whether `libtorch_cuda.so` is there.
    pub cuda: bool,
    /// The pinned set that it is, whose files are verified; none for the user's own.
    pub pinned: Option<Variant>,
}

impl Libtorch {
    /// Looks at `root` without loading anything.
    ///
    /// # Errors
    ///
    /// Says what is missing, or which version was found and which is wanted.
    pub(crate) fn inspect(root: &Path) -> Result<Self> {
        let version = version_of(root)?;
        ensure!(
            version == VERSION,
            "{} is libtorch {version}, but {VERSION} is wanted",
            root.display()
        );
        let lib = root.join("lib");
        require_file(&lib.join("libc10.so"), 1)?;
        require_file(&lib.join("libtorch_cpu.so"), LEAST_CPU_LIBRARY_BYTES)?;
        require_file(&root.join("include/torch/csrc/api/include/torch/torch.h"), 1)?;
        let cuda = lib.join("libtorch_cuda.so");
        let has_cuda = cuda.exists();
        for library in [lib.join("libtorch_cpu.so")].into_iter().chain(has_cuda.then_some(cuda)) {
            let missing = Dependencies::of(&library)?.missing;
            ensure!(
                missing.is_empty(),
                "{} cannot be loaded: it needs {}",
                library.display(),
                missing.join(", ")
            );
        }
        Ok(Self { root: root.to_path_buf(), cuda: has_cuda, pinned: None })
    }

    /// `CPU` or `CPU and CUDA`, for messages.
    pub(crate) fn devices(&self) -> &'static str {
        if self.cuda { "CPU and CUDA" } else { "CPU" }
    }
}

fn require_file(path: &Path, least_bytes: u64) -> Result<()> {
    let size = fs::metadata(path).with_context(|| format!("{} is missing", path.display()))?.len();
    ensure!(
        size >= least_bytes,
        "{} has only {size} bytes of at least {least_bytes}: it is cut off",
        path.display()
    );
    Ok(())
}

/// The version by the headers, which every kind of distribution has (wheel, zip, own build).
fn version_of(root: &Path) -> Result<String> {
    ensure!(root.is_dir(), "{} is not a folder", root.display());
    let candidates =
        ["include/torch/headeronly/version.h", "include/torch/csrc/api/include/torch/version.h"];
    for candidate in candidates {
        if let Ok(text) = fs::read_to_string(root.join(candidate))
            && let Some(version) = version_in_header(&text)
        {
            return Ok(version);
        }
    }
    bail!("{} is no libtorch folder: it has no include/torch/**/version.h", root.display())
}

/// `2.11.0` from the lines `#define TORCH_VERSION_{MAJOR,MINOR,PATCH} n`.
fn version_in_header(text: &str) -> Option<String> {
    let part = |name: &str| {
        text.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next()? == "#define" && words.next()? == name)
                .then(|| words.next()?.parse::<u32>().ok())?
        })
    };
    let major = part("TORCH_VERSION_MAJOR")?;
    let minor = part("TORCH_VERSION_MINOR")?;
    let patch = part("TORCH_VERSION_PATCH")?;
    Some(format!("{major}.{minor}.{patch}"))
}

/// The libraries that the dynamic loader would bring in with one library.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Dependencies {
    pub found: Vec<PathBuf>,
    pub missing: Vec<String>,
}

impl Dependencies {
    /// Asks `ldd`; where that is not installed the answer is empty, as the loader will tell later.
    ///
    /// # Errors
    ///
    /// If `ldd` refuses the file, which is then no (whole) library.
    pub(crate) fn of(library: &Path) -> Result<Self> {
        let Ok(output) = Command::new("ldd").arg(library).output() else {
            return Ok(Self::default());
        };
        ensure!(
            output.status.success(),
            "{} is no loadable library: {}",
            library.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(Self::parse(&String::from_utf8_lossy(&output.stdout)))
    }

    fn parse(ldd: &str) -> Self {
        let mut dependencies = Self::default();
        for (name, target) in ldd.lines().filter_map(|line| line.split_once("=>")) {
            match target.trim() {
                "not found" => dependencies.missing.push(name.trim().to_owned()),
                target => {
                    let path = target.rsplit_once(" (").map_or(target, |(path, _)| path);
                    dependencies.found.push(PathBuf::from(path));
                }
            }
        }
        dependencies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "#pragma once\n#define TORCH_VERSION_MAJOR 2\n\
        #define TORCH_VERSION_MINOR 5\n#define TORCH_VERSION_PATCH 1\n";

    #[test]
    fn the_version_is_read_from_the_header() {
        assert_eq!(version_in_header(HEADER).as_deref(), Some("2.5.1"));
        assert_eq!(version_in_header("#define TORCH_VERSION_MAJOR 2\n"), None);
    }

    #[test]
    fn another_version_is_refused_with_both_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let headers = dir.path().join("include/torch/headeronly");
        fs::create_dir_all(&headers).unwrap();
        fs::write(headers.join("version.h"), HEADER).unwrap();
        let message = Libtorch::inspect(dir.path()).unwrap_err().to_string();
        assert!(message.contains("is libtorch 2.5.1"), "{message}");
        assert!(message.contains(VERSION), "{message}");
    }

    #[test]
    fn a_folder_without_libtorch_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let message = Libtorch::inspect(dir.path()).unwrap_err().to_string();
        assert!(message.contains("is no libtorch folder"), "{message}");
        let message = Libtorch::inspect(&dir.path().join("absent")).unwrap_err().to_string();
        assert!(message.contains("is not a folder"), "{message}");
    }

    #[test]
    fn a_cut_off_library_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join("libtorch_cpu.so");
        fs::write(&library, "short").unwrap();
        let message = require_file(&library, LEAST_CPU_LIBRARY_BYTES).unwrap_err().to_string();
        assert!(message.contains("only 5 bytes"), "{message}");
    }

    #[test]
    fn what_ldd_says_is_sorted_into_found_and_missing() {
        let text = "\tlinux-vdso.so.1 (0x7f)\n\tlibc10.so => /t/lib/libc10.so (0x7f)\n\
            \tlibcudart.so.13 => not found\n\t/lib64/ld-linux-x86-64.so.2 (0x7f)\n";
        let dependencies = Dependencies::parse(text);
        assert_eq!(dependencies.found, [PathBuf::from("/t/lib/libc10.so")]);
        assert_eq!(dependencies.missing, ["libcudart.so.13"]);
    }
}
