//! From flags to one resolved configuration.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use vdm_core::NoiseSchedule;
use vdm_data::{Dataset, Shape, Source};
use vdm_torch::{AnyModel, PRESETS, RunConfig};

use crate::preset::{self, EndsEarly};
use crate::terminal;

/// What the command line says about a new run.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ConfigOptions {
    /// Configuration to start from; `vdm presets` lists them [default: the one that suits the data]
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

    /// The configuration, resolved and checked, and its data. Data that come without a preset choose theirs.
    pub(crate) fn resolve(&self, steps: Option<u64>) -> Result<(RunConfig<AnyModel>, Dataset)> {
        let mut loaded = None;
        let base = match (self.named()?, self.source()?) {
            (Some(base), _) => base,
            (None, None) => Base::preset("digits")?,
            (None, Some(source)) => {
                let data = vdm_data::load(&source)?;
                let base = Base::suiting(&data)?;
                terminal::print(format_args!("{}; --preset NAME takes another", base.origin))?;
                loaded = Some((source, data));
                base
            }
        };
        let config = self.configure(&base, steps)?;
        let data = match loaded {
            Some((source, data)) if source == config.data => data,
            _ => vdm_data::load(&config.data)?,
        };
        // What comes together is taken to be meant so.
        if config.data != base.config.data
            && let Some(early) = EndsEarly::find(&config, &data)?
        {
            terminal::note(format_args!("warning: {early}"));
        }
        Ok((config, data))
    }

    /// What `--config` or `--preset` names.
    fn named(&self) -> Result<Option<Base>> {
        if let Some(path) = &self.config {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the configuration {}", path.display()))?;
            return Base::new(path.display().to_string(), &text).map(Some);
        }
        self.preset.as_deref().map(Base::preset).transpose()
    }

    /// The data that are named apart from any preset.
    fn source(&self) -> Result<Option<Source>> {
        if let Some(data) = &self.data {
            return source(data, self.size).map(Some);
        }
        let assigned =
            self.set.iter().rev().find_map(|assignment| assignment.strip_prefix("data="));
        // What is no source is refused with its place when it is set.
        Ok(assigned.and_then(|json| serde_json::from_str(json).ok()))
    }

    /// The options over what they start from.
    fn configure(&self, base: &Base, steps: Option<u64>) -> Result<RunConfig<AnyModel>> {
        let origin = &base.origin;
        // With every default in its place, so that each can be set by its path.
        let mut document = serde_json::to_value(&base.config)?;
        let data = self.data.as_deref().map(|data| source(data, self.size)).transpose()?;
        let mut overrides: Vec<(&str, &str, Value)> = Vec::new();
        overrides.extend(steps.map(|n| ("--steps", "training.steps", n.into())));
        overrides.extend(self.seed.map(|n| ("--seed", "seed", n.into())));
        overrides.extend(self.batch.map(|n| ("--batch", "training.batch", n.into())));
        overrides.extend(
            self.precision.clone().map(|p| ("--precision", "training.precision", p.into())),
        );
        if let Some(data) = data {
            overrides.push(("--data", "data", serde_json::to_value(data)?));
        }
        for (_, path, value) in &overrides {
            *field(&mut document, path)? = value.clone();
        }
        let mut added = Vec::new();
        for assignment in &self.set {
            let (path, value) = assignment
                .split_once('=')
                .with_context(|| format!("--set {assignment}: use PATH=JSON"))?;
            if let Some((option, field, _)) =
                overrides.iter().find(|(_, field, _)| one_holds_the_other(field, path))
            {
                bail!("--set {path}: {option} sets {field} already; leave one of them out");
            }
            if add_field(&mut document, path)? {
                added.push(path);
            }
            let replaced = field(&mut document, path)?;
            // A bare word is taken as a string, as in network.attention=everywhere.
            *replaced = match vdm_files::distinct(value.as_bytes()) {
                Ok(value) => value,
                Err(error) if value.starts_with(['{', '[', '"']) => {
                    bail!("--set {path}: {value} is no JSON: {error}")
                }
                Err(_) if replaced.is_number() => {
                    bail!(
                        "--set {path}: {value} is no number that JSON has; use one such as {replaced}"
                    )
                }
                Err(_) => value.into(),
            };
        }
        let mut config: RunConfig<AnyModel> = serde_path_to_error::deserialize(document)
            .with_context(|| {
                format!("with these options {origin} is not a configuration of a run")
            })?;
        // What was read over was known to no part of the configuration.
        let mut resolved = serde_json::to_value(&config)?;
        added.into_iter().try_for_each(|path| field(&mut resolved, path).map(|_| ()))?;
        fill_in_path(&mut config)?;
        config.check()?;
        Ok(config)
    }
}

/// A configuration before options change it.
#[derive(Debug)]
struct Base {
    /// What it is, for people.
    origin: String,
    config: RunConfig<AnyModel>,
}

impl Base {
    fn new(origin: String, text: &str) -> Result<Self> {
        let of_a_run = || format!("{origin} is not a configuration of a run");
        // A run's own has a seal, which nobody minds that edits a copy of it.
        // Some editors begin a file with a mark of its encoding.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (document, _) = vdm_files::unseal(text.as_bytes()).with_context(of_a_run)?;
        let config = serde_path_to_error::deserialize(document).with_context(of_a_run)?;
        Ok(Self { origin, config })
    }

    fn preset(name: &str) -> Result<Self> {
        Self::new(format!("preset {name}"), preset(name)?)
    }

    /// The preset for data of this shape, its schedule ending where their number of values asks for.
    fn suiting(data: &Dataset) -> Result<Self> {
        let Dataset { shape: Shape { channels, height, width }, values, .. } = data;
        let Self { mut origin, mut config } = Self::preset(preset::for_shape(data.shape))?;
        if let AnyModel::Diffusion(model) = &config.model
            && let Some(end) = preset::clean_end(*values, model.diffusion.schedule.range().max())?
        {
            let mut document = serde_json::to_value(config)?;
            *field(&mut document, "diffusion.schedule.log_snr_max")? = end.into();
            config = serde_json::from_value(document)?;
            origin = format!("{origin} up to log-SNR {end}");
        }
        origin = format!("{origin} for items of {channels}×{height}×{width} and {values} values");
        Ok(Self { origin, config })
    }
}

pub(crate) fn preset(name: &str) -> Result<&'static str> {
    let found = PRESETS.iter().find(|(preset, _)| *preset == name);
    found.map(|(_, text)| *text).with_context(|| {
        let names: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
        format!("there is no preset {name:?}; the presets are {}", names.join(", "))
    })
}

/// Whether two dotted paths name the same field, or one a part of the other's.
fn one_holds_the_other(one: &str, other: &str) -> bool {
    one.split('.').zip(other.split('.')).all(|(one, other)| one == other)
}

/// One field, which must exist, by its dotted path.
fn field<'a>(document: &'a mut Value, path: &str) -> Result<&'a mut Value> {
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
    Ok(place)
}

/// Adds a field beside others, if it is not there: one that is left out where it has no value. Says whether it did.
fn add_field(document: &mut Value, path: &str) -> Result<bool> {
    let Some((parent, key)) = path.rsplit_once('.') else { return Ok(false) };
    let Value::Object(fields) = field(document, parent)? else { return Ok(false) };
    let is_new = !fields.contains_key(key);
    fields.entry(key).or_insert(Value::Null);
    Ok(is_new)
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
            Source::Path { path, size, values: None }
        }
    })
}

/// Presets of data that are not bundled leave their path empty.
fn fill_in_path(config: &mut RunConfig<AnyModel>) -> Result<()> {
    let Source::Path { path, .. } = &mut config.data else { return Ok(()) };
    if !path.as_os_str().is_empty() {
        return Ok(());
    }
    if !config.preset.starts_with("fashion-mnist") {
        let what = if config.preset == "mnist" {
            "MNIST's four IDX files (train-images-idx3-ubyte[.gz], …)"
        } else {
            "CIFAR-10's binary batches (data_batch_1.bin, …) or your color images"
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
        Some(name) => terminal::print_lines(preset(name)?),
        None => PRESETS.iter().try_for_each(|(name, _)| terminal::print(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vdm_torch::DiffusionConfig;
    use vdm_torch::diffusion::TimeSampler;

    fn options(set: &[&str]) -> ConfigOptions {
        ConfigOptions { set: set.iter().map(ToString::to_string).collect(), ..Default::default() }
    }

    fn diffusion(config: RunConfig<AnyModel>) -> DiffusionConfig {
        match config.model {
            AnyModel::Diffusion(model) => *model,
            AnyModel::Hierarchy(_) => panic!("{} is a hierarchy", config.preset),
        }
    }

    #[test]
    fn a_field_that_is_there_twice_is_refused_and_a_mark_of_the_encoding_is_none() {
        let twice = options(&[r#"data={"kind": "swirl", "kind": "digits"}"#]);
        let error = twice.resolve(None).unwrap_err().to_string();
        assert!(error.contains("data") && error.contains("\"kind\" is there twice"), "{error}");
        let text = preset("digits").unwrap();
        Base::new("a.json".into(), &format!("\u{feff}{text}")).unwrap();
        let twice = text.replacen("\"seed\": 1,", "\"seed\": 1, \"seed\": 7,", 1);
        let error = format!("{:#}", Base::new("a.json".into(), &twice).unwrap_err());
        assert!(error.contains("a.json") && error.contains("\"seed\" is there twice"), "{error}");
    }

    #[test]
    fn a_field_that_a_preset_leaves_out_can_be_set() {
        let set = ["data={\"kind\": \"swirl\"}", "training.optimizer.skip_above=5"];
        let config = options(&set).resolve(None).unwrap().0;
        assert_eq!(config.training.optimizer.skip_above, Some(5.0));
        for (set, named) in [
            ("training.optimizer.skip=5", "skip"),
            ("training.nothing=5", "nothing"),
            ("nothing=1", "there is no field \"nothing\""),
        ] {
            let error = format!("{:#}", options(&[set]).resolve(None).unwrap_err());
            assert!(error.contains(named), "{set}: {error}");
        }
    }

    /// Every preset is a legal configuration under its own name.
    #[test]
    fn presets_are_configurations() {
        for (name, text) in PRESETS {
            let config: RunConfig<AnyModel> =
                serde_json::from_str(text).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(config.preset, name);
            config.check().unwrap();
        }
    }

    #[test]
    fn no_options_mean_digits() {
        let config = options(&[]).resolve(Some(7)).unwrap().0;
        assert_eq!((config.preset.as_str(), config.training.steps), ("digits", 7));
        assert_eq!(config.data, Source::Digits {});
    }

    /// Either could be the one that was meant.
    #[test]
    fn a_field_is_not_set_twice() {
        let refused = |data: Option<&str>, seed, set: &[&str]| {
            let options = ConfigOptions { data: data.map(Into::into), seed, ..options(set) };
            let error = options.resolve(Some(7)).unwrap_err();
            assert!(error.to_string().ends_with("already; leave one of them out"), "{error:#}");
            error.to_string()
        };
        assert!(refused(None, None, &["training.steps=8"]).contains("--steps sets training.steps"));
        assert!(refused(None, Some(1), &["head=velocity", "seed=2"]).contains("--seed sets seed"));
        let part = refused(Some("swirl"), None, &["preset=swirl", "data.items=9"]);
        assert!(part.starts_with("--set data.items: --data sets data"), "{part}");
        assert!(
            refused(None, None, &[r#"training={"steps":8}"#]).contains("--set training: --steps")
        );
    }

    #[test]
    fn any_field_can_be_set_and_a_wrong_one_is_named() {
        let config = options(&["training.optimizer.learning_rate=1e-3", "head=velocity"])
            .resolve(None)
            .unwrap()
            .0;
        assert_eq!(config.training.optimizer.learning_rate, 1e-3);
        let cases = [
            ("training.optimiser.clip=1", "optimiser"),
            ("seed.x=1", "nothing below"),
            ("objective.time_sampler=never", "unknown variant `never`"),
            ("objective.schedule={\"learned\": {}}", "missing field"),
            ("training.batch", "PATH=JSON"),
            ("training.batch=-1", "invalid value"),
            (
                r#"head={"edm": {"data_std": NaN}}"#,
                "is no JSON: expected value at line 1 column 22",
            ),
            ("head=vision", "unknown variant `vision`"),
            ("training.batch=0", "training.batch = 0"),
            ("diffusion.schedule.log_snr_max=-9", "log_snr_max = -9"),
        ];
        for (assignment, named) in cases {
            let error = format!("{:#}", options(&[assignment]).resolve(None).unwrap_err());
            assert!(error.contains(named), "{assignment}: {error}");
        }
    }

    /// A run without `--out` goes to `runs/` and this name.
    #[test]
    fn the_name_of_a_preset_is_no_path() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.json");
        let named = |name: &str| {
            let mut document: Value = serde_json::from_str(preset("digits").unwrap()).unwrap();
            document["preset"] = name.into();
            std::fs::write(&file, document.to_string()).unwrap();
            let from_file = ConfigOptions { config: Some(file.clone()), ..Default::default() };
            let by_option = options(&[&format!("preset={}", Value::from(name))]);
            [from_file, by_option].map(|options| options.resolve(None))
        };
        for name in ["digits-2", "Ziffern_ü.v2", "0", &"x".repeat(100)] {
            assert!(named(name).iter().all(|config| config.as_ref().unwrap().0.preset == name));
        }
        let hostile = [
            "",
            ".",
            "..",
            "../evil",
            "/evil",
            "a/b",
            "a\\b",
            "a/../../b",
            ".hidden",
            "-flag",
            "~",
            "a b",
            "a\0b",
            "a\nb",
            "\u{1b}[2Jb",
            "\u{202e}b",
            "a:b",
            "$HOME",
            "*",
            &"x".repeat(101),
        ];
        for name in hostile {
            for outcome in named(name) {
                let error = format!("{:#}", outcome.unwrap_err());
                assert!(error.contains("first: it names a folder"), "{name:?}: {error}");
                assert!(!error.contains(char::is_control), "{error:?}");
            }
        }
    }

    /// Fields that a preset leaves out have their defaults, and a path.
    #[test]
    fn defaults_can_be_set() {
        let adaptive = "objective.time_sampler={\"adaptive\": {\"bins\": 100, \"decay\": 0.999}}";
        let learned = "objective.schedule={\"learned\": \
                       {\"ends\": \"learned\", \"interior\": \"pinned\", \"learning_rate\": 1e-3}}";
        let (config, _) = options(&[adaptive]).resolve(None).unwrap();
        let times = TimeSampler::Adaptive { bins: 100, decay: 0.999, uniform: 0.1 };
        assert_eq!(diffusion(config).objective.time_sampler, times);
        assert!(options(&[learned]).resolve(None).is_ok());
        let error = format!("{:#}", options(&[adaptive, learned]).resolve(None).unwrap_err());
        assert!(error.contains("objective.time_sampler"), "{error}");
    }

    #[test]
    fn presets_without_data_say_what_they_need() {
        for preset in ["mnist", "cifar10-small", "cifar10", "cifar10-paper"] {
            let options = ConfigOptions { preset: Some(preset.into()), ..Default::default() };
            let error = options.resolve(None).unwrap_err().to_string();
            assert!(error.contains("needs --data PATH"), "{error}");
        }
        let unknown = ConfigOptions { preset: Some("digit".into()), ..Default::default() };
        assert!(unknown.resolve(None).unwrap_err().to_string().contains("fashion-mnist"));
    }

    /// Gray images of 8×8 pixels and 256 values.
    fn fine_array(folder: &Path) -> String {
        let path = folder.join("fine.npy");
        let pixels: Vec<u8> = (0..40 * 64_u32).map(|i| (i * 37 % 256) as u8).collect();
        vdm_report::npy::write(&path, &pixels, &[40, 8, 8]).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[test]
    fn data_without_a_preset_choose_theirs() {
        let folder = tempfile::tempdir().unwrap();
        let fine = fine_array(folder.path());
        let few = format!("data={{\"kind\": \"path\", \"path\": {fine:?}}}");
        let chosen = |options: &ConfigOptions| {
            let (config, data) = options.resolve(None).unwrap();
            assert_eq!(EndsEarly::find(&config, &data).unwrap(), None);
            (config.preset.clone(), diffusion(config).diffusion.schedule.range().max())
        };
        let named = |data: &str| ConfigOptions { data: Some(data.into()), ..Default::default() };
        assert_eq!(chosen(&named("digits")), ("digits".into(), 8.5));
        assert_eq!(chosen(&named("swirl")), ("swirl".into(), 13.3));
        let (preset, end) = chosen(&named(&fine));
        assert_eq!((preset.as_str(), end), ("digits", 13.3));
        assert_eq!(chosen(&options(&[&few])), (preset, end));
        // What is said holds.
        let end = ["diffusion.schedule.log_snr_max=14.5"];
        assert_eq!(chosen(&ConfigOptions { set: options(&end).set, ..named(&fine) }).1, 14.5);
    }

    /// A schedule that cannot tell the data's values apart is found, and the option that is named mends it.
    #[test]
    fn a_schedule_that_ends_early_is_named_with_its_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let fine = fine_array(folder.path());
        let table = r#"diffusion.schedule={"kind": "discrete", "betas":
            {"linear": {"steps": 1000, "beta_start": 1e-4, "beta_end": 0.02}}}"#;
        for (set, end) in [(&[][..], "log-SNR 8.5"), (&[table], "log-SNR 9.21")] {
            let mut options = ConfigOptions {
                preset: Some("digits".into()),
                data: Some(fine.clone()),
                ..options(set)
            };
            let (config, data) = options.resolve(None).unwrap();
            let early = EndsEarly::find(&config, &data).unwrap().unwrap().to_string();
            assert!(early.contains(end) && early.contains("256 values"), "{early}");
            let (_, remedy) = early.split_once("--set ").unwrap();
            let (remedy, _) = remedy.split_once(" makes").unwrap();
            options.set.push(remedy.trim_matches('\'').to_owned());
            let (config, data) = options.resolve(None).unwrap();
            assert_eq!(EndsEarly::find(&config, &data).unwrap(), None, "{remedy}");
        }
    }
}
