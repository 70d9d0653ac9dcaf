//! What this machine has: the real [`Probe`], and whether there is an NVIDIA GPU.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::cache::Cache;
use crate::checkout::Checkout;
use crate::install;
use crate::libtorch::Libtorch;
use crate::link;
use crate::search::Probe;
use crate::wheels::Variant;

/// Prints the folder of the torch package without importing it, which takes seconds.
const WHERE_IS_TORCH: &str = "\
import importlib.util
spec = importlib.util.find_spec('torch')
print(spec.submodule_search_locations[0] if spec and spec.submodule_search_locations else '')";

/// The candidates of this machine for one checkout and one cache.
#[derive(Debug)]
pub(crate) struct Machine<'a> {
    pub checkout: &'a Checkout,
    pub cache: &'a Cache,
}

impl Probe for Machine<'_> {
    fn env(&self) -> Option<PathBuf> {
        user_libtorch(self.checkout)
    }

    fn python(&self) -> Option<PathBuf> {
        let output = install::python().args(["-c", WHERE_IS_TORCH]).output().ok()?;
        let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (!path.is_empty()).then(|| PathBuf::from(path))
    }

    fn cache(&self) -> Vec<PathBuf> {
        Variant::ALL
            .map(|variant| install::place(self.cache, variant))
            .into_iter()
            .filter(|place| place.exists())
            .collect()
    }

    fn inspect(&self, root: &Path) -> Result<Libtorch> {
        let is_root = |variant: &Variant| install::place(self.cache, *variant) == root;
        let pinned = Variant::ALL.into_iter().find(is_root);
        if let Some(variant) = pinned {
            link::verify(self.checkout, root, variant)?;
        }
        Ok(Libtorch { pinned, ..Libtorch::inspect(root)? })
    }
}

/// `LIBTORCH` if the user set it: cargo's configuration otherwise fills in the checkout's own link.
pub(crate) fn user_libtorch(checkout: &Checkout) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("LIBTORCH").filter(|value| !value.is_empty())?);
    (path != checkout.libtorch()).then_some(path)
}

/// Where an NVIDIA GPU shows, if anywhere.
pub(crate) fn gpu() -> Option<String> {
    let listed = Command::new("nvidia-smi").arg("-L").output().ok().and_then(|output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let name = text.lines().find(|line| line.starts_with("GPU "))?.to_owned();
        output.status.success().then_some(name)
    });
    listed.or_else(|| {
        let trace = ["/proc/driver/nvidia/version", "/dev/nvidia0"]
            .into_iter()
            .find(|path| Path::new(path).exists())?;
        Some(format!("{trace} exists"))
    })
}
