//! From flags to one resolved configuration.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use vdm_data::Source;
use vdm_torch::{PRESETS, RunConfig};

/// What the command line says about a new run.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ConfigOptions {
    /// Configuration to start from; `vdm presets` lists them [default: digits]
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    preset: Option<String>,
    /// Configuration file to start from, such as another run's config.json
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// digits, swirl, clusters, or a path: IDX or CIFAR-10 folder, .npy, .npz, folder of images
    #[arg(long, value_name = "NAME|PATH")]
    data: Option<String>,
    /// Side to which a folder of images is cropped and resized
    #[arg(long, value_name = "PIXELS", requires = "data")]
    size: Option<usize>,
    /// Seed of every random number of the run
    #[arg(long)]
    seed: Option<u64>,
    /// Items per step
    #[arg(long)]
    batch: Option<usize>,
    /// f32 or bf16
    #[arg(long)]
    precision: Option<String>,
    /// Any other field, as path=JSON: training.optimizer.learning_rate=1e-3 (repeatable)
    #[arg(long = "set", value_name = "PATH=JSON")]
    set: Vec<String>,
}

impl ConfigOptions {
    /// The first option given, if any: none of them fits a run that is continued.
    pub(crate) fn given(&self) -> Option<&'static str> {
        [
            (self.preset.is_some(), "--preset"),
            (self.config.is_some(), "--config"),
            (self.data.is_some(), "--data"),
            (self.seed.is_some(), "--seed"),
            (self.batch.is_some(), "--batch"),
            (self.precision.is_some(), "--precision"),
            (!self.set.is_empty(), "--set"),
        ]
        .into_iter()
        .find_map(|(given, name)| given.then_some(name))
    }

    /// The configuration, resolved and checked.
    pub(crate) fn resolve(&self, steps: Option<u64>) -> Result<RunConfig> {
        let (origin, text) = match &self.config {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read the configuration {}", path.display()))?;
                (path.display().to_string(), text)
            }
            None => {
                let name = self.preset.as_deref().unwrap_or("digits");
                (format!("preset {name}"), preset(name)?.to_owned())
            }
        };
        let of_a_run = || format!("{origin} is not a configuration of a run");
        // A run's own has a seal, which nobody minds that edits a copy of it.
        let (document, _) = vdm_files::unseal(text.as_bytes()).with_context(of_a_run)?;
        let config: RunConfig =
            serde_path_to_error::deserialize(document).with_context(of_a_run)?;
        // With every default in its place, so that each can be set by its path.
        let mut document = serde_json::to_value(config)?;
        let mut overrides: Vec<(&str, Value)> = Vec::new();
        overrides.extend(steps.map(|n| ("training.steps", n.into())));
        overrides.extend(self.seed.map(|n| ("seed", n.into())));
        overrides.extend(self.batch.map(|n| ("training.batch", n.into())));
        overrides.extend(self.precision.clone().map(|p| ("training.precision", p.into())));
        for (path, value) in overrides {
            set(&mut document, path, value)?;
        }
        for assignment in &self.set {
            let (path, value) = assignment
                .split_once('=')
                .with_context(|| format!("--set {assignment}: use PATH=JSON"))?;
            // A bare word is taken as a string, as in network.attention=everywhere.
            let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
            set(&mut document, path, value)?;
        }
        let mut config: RunConfig =
            serde_path_to_error::deserialize(document).with_context(|| {
                format!("with these options {origin} is not a configuration of a run")
            })?;
        if let Some(data) = &self.data {
            config.data = source(data, self.size)?;
        }
        fill_in_path(&mut config)?;
        config.check()?;
        Ok(config)
    }
}

fn preset(name: &str) -> Result<&'static str> {
    let found = PRESETS.iter().find(|(preset, _)| *preset == name);
    found.map(|(_, text)| *text).with_context(|| {
        let names: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
        format!("there is no preset {name:?}; the presets are {}", names.join(", "))
    })
}

/// Replaces one field, which must exist, by its dotted path.
fn set(document: &mut Value, path: &str, value: Value) -> Result<()> {
    let mut place = document;
    for key in path.split('.') {
        let known: Vec<String> =
            place.as_object().map(|o| o.keys().cloned().collect()).unwrap_or_default();
        place = place.get_mut(key).with_context(|| match known.as_slice() {
            [] => format!("--set {path}: there is nothing below the field before {key:?}"),
            known => {
                format!("--set {path}: there is no field {key:?}; there are {}", known.join(", "))
            }
        })?;
    }
    *place = value;
    Ok(())
}

/// Data by name, or by path.
pub(crate) fn source(data: &str, size: Option<usize>) -> Result<Source> {
    Ok(match data {
        "digits" => Source::Digits {},
        "swirl" => Source::Swirl { items: None },
        "clusters" => Source::Clusters { items: None },
        path => {
            let path = Path::new(path);
            let path = std::path::absolute(path)
                .with_context(|| format!("--data {} is not a path", path.display()))?;
            Source::Path { path, size, levels: None }
        }
    })
}

/// Presets of data that are not bundled leave their path empty.
fn fill_in_path(config: &mut RunConfig) -> Result<()> {
    let Source::Path { path, .. } = &mut config.data else { return Ok(()) };
    if !path.as_os_str().is_empty() {
        return Ok(());
    }
    if config.preset != "fashion-mnist" {
        let what = if config.preset == "mnist" {
            "MNIST's four IDX files (train-images-idx3-ubyte[.gz], …)"
        } else {
            "CIFAR-10's binary batches (data_batch_1.bin, …)"
        };
        bail!("preset {} needs --data PATH, the folder with {what}", config.preset);
    }
    let place = cache()?.join("data/fashion-mnist");
    if !place.is_dir() {
        bail!(
            "Fashion-MNIST is not in {}: `cargo xtask data fashion-mnist` brings it, \
             or name its folder with --data PATH",
            place.display()
        );
    }
    *path = place;
    Ok(())
}

/// The per-user cache that `cargo xtask` fills.
fn cache() -> Result<PathBuf> {
    let folder = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    folder("VDM_CACHE")
        .or_else(|| Some(folder("XDG_CACHE_HOME")?.join("vdm")))
        .or_else(|| Some(folder("HOME")?.join(".cache/vdm")))
        .context("no place for the cache: none of VDM_CACHE, XDG_CACHE_HOME, HOME is set")
}

/// Lists the presets, or prints one.
pub(crate) fn print_presets(name: Option<&str>) -> Result<()> {
    match name {
        Some(name) => crate::output::say(preset(name)?.trim_end()),
        None => PRESETS.iter().for_each(|(name, _)| crate::output::say(name)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vdm_torch::train::Times;

    fn options(set: &[&str]) -> ConfigOptions {
        ConfigOptions { set: set.iter().map(ToString::to_string).collect(), ..Default::default() }
    }

    /// Every preset is a legal configuration under its own name.
    #[test]
    fn presets_are_configurations() {
        for (name, text) in PRESETS {
            let config: RunConfig =
                serde_json::from_str(text).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(config.preset, name);
            config.check().unwrap();
        }
    }

    #[test]
    fn no_options_mean_digits() {
        let config = options(&[]).resolve(Some(7)).unwrap();
        assert_eq!((config.preset.as_str(), config.training.steps), ("digits", 7));
        assert_eq!(config.data, Source::Digits {});
    }

    #[test]
    fn any_field_can_be_set_and_a_wrong_one_is_named() {
        let config = options(&["training.optimizer.learning_rate=1e-3", "head=velocity"])
            .resolve(None)
            .unwrap();
        assert_eq!(config.training.optimizer.learning_rate, 1e-3);
        let cases = [
            ("training.optimiser.clip=1", "optimiser"),
            ("seed.x=1", "nothing below"),
            ("training.times=never", "unknown variant `never`"),
            ("training.schedule={\"learned\": {}}", "missing field"),
            ("training.batch", "PATH=JSON"),
            ("training.batch=-1", "invalid value"),
            ("head=vision", "unknown variant `vision`"),
            ("training.batch=0", "training.batch = 0"),
            ("diffusion.schedule.log_snr_max=-9", "log_snr_max = -9"),
        ];
        for (assignment, named) in cases {
            let error = format!("{:#}", options(&[assignment]).resolve(None).unwrap_err());
            assert!(error.contains(named), "{assignment}: {error}");
        }
    }

    /// Fields that a preset leaves out have their defaults, and a path.
    #[test]
    fn defaults_can_be_set() {
        let adaptive = "training.times={\"adaptive\": {\"bins\": 100, \"decay\": 0.999}}";
        let learned = "training.schedule={\"learned\": \
                       {\"ends\": \"learned\", \"interior\": \"pinned\", \"learning_rate\": 1e-3}}";
        let config = options(&[adaptive]).resolve(None).unwrap();
        let times = Times::Adaptive { bins: 100, decay: 0.999, uniform: 0.1 };
        assert_eq!(config.training.times, times);
        assert!(options(&[learned]).resolve(None).is_ok());
        let error = format!("{:#}", options(&[adaptive, learned]).resolve(None).unwrap_err());
        assert!(error.contains("training.times"), "{error}");
    }

    #[test]
    fn presets_without_data_say_what_they_need() {
        for preset in ["mnist", "cifar10", "cifar10-paper"] {
            let options = ConfigOptions { preset: Some(preset.into()), ..Default::default() };
            let error = options.resolve(None).unwrap_err().to_string();
            assert!(error.contains("needs --data PATH"), "{error}");
        }
        let unknown = ConfigOptions { preset: Some("digit".into()), ..Default::default() };
        assert!(unknown.resolve(None).unwrap_err().to_string().contains("fashion-mnist"));
    }
}
