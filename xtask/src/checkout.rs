//! The checkout that this program works on, and the fixed places in it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A working copy of the repository.
#[derive(Debug, Clone)]
pub(crate) struct Checkout {
    pub root: PathBuf,
}

impl Checkout {
    /// The checkout whose `cargo xtask` was called.
    ///
    /// # Errors
    ///
    /// If this binary was moved away from its sources and is not run by cargo.
    pub(crate) fn current() -> Result<Self> {
        // Set by `cargo run`; a target folder may be shared by checkouts, so it goes first.
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest.parent().context("xtask must lie in a folder of the workspace")?;
        Ok(Self { root: root.to_path_buf() })
    }

    /// The git-ignored place that cargo's configuration points at.
    pub(crate) fn libtorch(&self) -> PathBuf {
        self.third_party().join("libtorch")
    }

    /// The folder of what is not ours.
    pub(crate) fn third_party(&self) -> PathBuf {
        self.root.join("third_party")
    }

    /// The optional, git-ignored part of cargo's configuration.
    pub(crate) fn local_config(&self) -> PathBuf {
        self.root.join(".cargo/local.toml")
    }

    /// The target folder in use, by where this very program was built to.
    ///
    /// # Errors
    ///
    /// If the running program's path cannot be found out.
    pub(crate) fn target_dir() -> Result<PathBuf> {
        let exe = std::env::current_exe().context("cannot find the path of this program")?;
        let profile = exe.parent().and_then(Path::parent);
        Ok(profile.context("this program is not in a target folder")?.to_path_buf())
    }
}
