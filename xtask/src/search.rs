//! The order in which a libtorch is looked for: `LIBTORCH`, the user's Python, the cache.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::libtorch::{Libtorch, VERSION};
use crate::wheels::Variant;

/// Which devices the user forced by a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Device {
    #[default]
    Auto,
    Cpu,
    Cuda,
}

/// What the set-up has to provide.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Want {
    pub device: Device,
    /// Whether this machine has an NVIDIA GPU.
    pub gpu: bool,
}

impl Want {
    /// Whether a libtorch with or without CUDA will do.
    pub(crate) fn accepts(self, libtorch: &Libtorch) -> bool {
        match self.device {
            Device::Auto => libtorch.cuda || !self.gpu,
            Device::Cpu => !libtorch.cuda,
            Device::Cuda => libtorch.cuda,
        }
    }

    /// What to install if nothing is found.
    pub(crate) fn variant(self) -> Variant {
        match self.device {
            Device::Auto if self.gpu => Variant::Cuda,
            Device::Auto | Device::Cpu => Variant::Cpu,
            Device::Cuda => Variant::Cuda,
        }
    }
}

/// Where candidates come from; the tests put in their own.
pub(crate) trait Probe {
    /// The user's `LIBTORCH`.
    fn env(&self) -> Option<PathBuf>;
    /// The folder of the `torch` package of `python3`.
    fn python(&self) -> Option<PathBuf>;
    /// The places that an earlier set-up may have filled.
    fn cache(&self) -> Vec<PathBuf>;
    /// Looks at a candidate.
    ///
    /// # Errors
    ///
    /// If it is not usable.
    fn inspect(&self, root: &std::path::Path) -> Result<Libtorch>;
}

/// A usable libtorch and the place it was found in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub libtorch: Libtorch,
    pub origin: &'static str,
}

/// Searches in order; `note` is told of each candidate that was passed over, and why.
///
/// # Errors
///
/// If `LIBTORCH` is set to something unusable: an explicit wish is never passed over.
pub(crate) fn search(
    want: Want,
    probe: &impl Probe,
    mut note: impl FnMut(String),
) -> Result<Option<Located>> {
    if let Some(root) = probe.env() {
        return from_env(want, probe, &root, note).map(Some);
    }
    let python = probe.python().map(|root| (root, "python3's torch"));
    let cache = probe.cache().into_iter().map(|root| (root, "the cache"));
    for (root, origin) in python.into_iter().chain(cache) {
        match probe.inspect(&root) {
            Ok(libtorch) if want.accepts(&libtorch) => {
                return Ok(Some(Located { libtorch, origin }));
            }
            Ok(libtorch) => {
                let has = libtorch.devices();
                note(format!("not used: {origin} in {} (built for {has})", root.display()));
            }
            Err(fault) => note(format!("not used: {origin}: {fault:#}")),
        }
    }
    Ok(None)
}

fn from_env(
    want: Want,
    probe: &impl Probe,
    root: &std::path::Path,
    mut note: impl FnMut(String),
) -> Result<Located> {
    let libtorch = probe.inspect(root).with_context(|| {
        format!(
            "LIBTORCH={} cannot be used (unset it, or point it to the folder of a libtorch {VERSION})",
            root.display()
        )
    })?;
    ensure!(
        want.device != Device::Cuda || libtorch.cuda,
        "LIBTORCH={} has no libtorch_cuda.so, but --cuda was asked for: unset LIBTORCH to have \
         the CUDA set installed",
        root.display()
    );
    if want.device == Device::Auto && !want.accepts(&libtorch) {
        note(format!(
            "LIBTORCH={} has no CUDA part, so the GPU of this machine will not be used",
            root.display()
        ));
    }
    Ok(Located { libtorch, origin: "LIBTORCH" })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use anyhow::bail;

    use super::*;

    /// Candidates by name; a name with `cuda` has CUDA, one with `old` is of another version.
    #[derive(Default)]
    struct Fake {
        env: Option<&'static str>,
        python: Option<&'static str>,
        cache: Vec<&'static str>,
    }

    impl Probe for Fake {
        fn env(&self) -> Option<PathBuf> {
            self.env.map(PathBuf::from)
        }
        fn python(&self) -> Option<PathBuf> {
            self.python.map(PathBuf::from)
        }
        fn cache(&self) -> Vec<PathBuf> {
            self.cache.iter().map(PathBuf::from).collect()
        }
        fn inspect(&self, root: &Path) -> Result<Libtorch> {
            let name = root.to_string_lossy();
            if name.contains("old") {
                bail!("{name} is libtorch 2.5.1, but {VERSION} is wanted");
            }
            Ok(Libtorch { root: root.to_path_buf(), cuda: name.contains("cuda"), pinned: None })
        }
    }

    fn run(device: Device, gpu: bool, fake: &Fake) -> (Option<String>, Vec<String>) {
        let mut notes = Vec::new();
        let found = search(Want { device, gpu }, fake, |text| notes.push(text)).unwrap();
        (found.map(|found| found.libtorch.root.to_string_lossy().into_owned()), notes)
    }

    fn all() -> Fake {
        Fake { env: Some("env"), python: Some("python"), cache: vec!["cache"] }
    }

    #[test]
    fn the_order_is_environment_then_python_then_cache() {
        assert_eq!(run(Device::Auto, false, &all()).0.as_deref(), Some("env"));
        let fake = Fake { env: None, ..all() };
        assert_eq!(run(Device::Auto, false, &fake).0.as_deref(), Some("python"));
        let fake = Fake { env: None, python: None, ..all() };
        assert_eq!(run(Device::Auto, false, &fake).0.as_deref(), Some("cache"));
        assert_eq!(run(Device::Auto, false, &Fake::default()), (None, Vec::new()));
    }

    #[test]
    fn another_version_of_python_s_torch_is_passed_over_and_reported() {
        let fake = Fake { env: None, python: Some("old"), cache: vec!["cache"] };
        let (found, notes) = run(Device::Auto, false, &fake);
        assert_eq!(found.as_deref(), Some("cache"));
        assert!(notes[0].contains("2.5.1"), "{notes:?}");
    }

    #[test]
    fn an_unusable_libtorch_variable_is_an_error_with_the_remedy() {
        let fake = Fake { env: Some("old"), ..all() };
        let want = Want { device: Device::Auto, gpu: false };
        let message = format!("{:#}", search(want, &fake, |_| ()).unwrap_err());
        for part in ["LIBTORCH=old", "2.5.1", VERSION, "unset it"] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }

    #[test]
    fn a_gpu_passes_over_what_lacks_cuda() {
        let fake = Fake { env: None, python: Some("python"), cache: vec!["cpu", "cuda"] };
        let (found, notes) = run(Device::Auto, true, &fake);
        assert_eq!(found.as_deref(), Some("cuda"));
        assert_eq!(notes.len(), 2);
    }

    #[test]
    fn flags_force_either_set() {
        let fake = Fake { env: None, python: Some("cuda"), cache: vec!["cpu"] };
        assert_eq!(run(Device::Cpu, true, &fake).0.as_deref(), Some("cpu"));
        assert_eq!(run(Device::Cuda, false, &fake).0.as_deref(), Some("cuda"));
        let want = Want { device: Device::Cuda, gpu: true };
        assert!(search(want, &all(), |_| ()).unwrap_err().to_string().contains("libtorch_cuda.so"));
    }

    #[test]
    fn a_gpu_decides_what_is_installed_unless_forced() {
        let variant = |device, gpu| Want { device, gpu }.variant();
        assert_eq!(variant(Device::Auto, false), Variant::Cpu);
        assert_eq!(variant(Device::Auto, true), Variant::Cuda);
        assert_eq!(variant(Device::Cpu, true), Variant::Cpu);
        assert_eq!(variant(Device::Cuda, false), Variant::Cuda);
    }
}
