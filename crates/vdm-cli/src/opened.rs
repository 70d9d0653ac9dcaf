//! A run that was written before: its configuration, a checkpoint that is whole, and what is said where
//! either is not as the program left it.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use tch::Device;
use vdm_data::{Dataset, Source};
use vdm_files::Seal;
use vdm_report::{RunDir, files};
use vdm_torch::checkpoint::{Checkpoint, Checkpoints, Chosen, PassedOver};
use vdm_torch::hierarchy::{Hierarchy, HierarchySpec};
use vdm_torch::{AnyModel, Change, DiffusionConfig, Model, ModelConfig, RunConfig, StoredModel};

use crate::terminal;

/// What may change in a run without changing what its checkpoints say.
const OF_TRAINING: [&str; 2] = ["training", "output"];

/// One of a run's checkpoints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Which {
    /// The lowest validation result.
    #[default]
    Best,
    /// The newest.
    Latest,
    /// That of a step.
    Step(u64),
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "best" => Ok(Self::Best),
            "latest" => Ok(Self::Latest),
            step => step.parse().map(Self::Step).map_err(|_| {
                "name a step, as the folders in checkpoints/ do, or use best or latest".to_owned()
            }),
        }
    }
}

/// A run whose model is used.
#[derive(Debug)]
pub(crate) struct Opened<M: ModelConfig = DiffusionConfig> {
    pub(crate) config: RunConfig<M>,
    pub(crate) checkpoint: Checkpoint,
}

/// A run by the family of its model.
#[derive(Debug)]
pub(crate) enum AnyOpened {
    Diffusion(Box<Opened>),
    Hierarchy(Box<Opened<HierarchySpec>>),
}

impl AnyOpened {
    /// Of this checkpoint; the best on validation unless another is named.
    pub(crate) fn of(folder: &Path, which: Option<Which>) -> Result<Self> {
        let run = existing_run(folder)?;
        let (config, seal) = configuration(&run)?;
        let checkpoints = checkpoints(&run, &config)?;
        let checkpoint = match which.unwrap_or_default() {
            Which::Best => best(&checkpoints)?,
            Which::Latest => chosen(checkpoints.latest()?),
            Which::Step(step) => checkpoints.of_step(step)?,
        };
        note_changes(&config, seal, Some(&checkpoint), &OF_TRAINING)?;
        Ok(match config.model.clone() {
            AnyModel::Diffusion(model) => {
                Self::Diffusion(Box::new(Opened { config: config.with_model(*model), checkpoint }))
            }
            AnyModel::Hierarchy(model) => {
                Self::Hierarchy(Box::new(Opened { config: config.with_model(model), checkpoint }))
            }
        })
    }

    /// Where its data are, if they are not bundled.
    pub(crate) fn data_path(&self) -> Option<PathBuf> {
        match self {
            Self::Diffusion(opened) => opened.data_path(),
            Self::Hierarchy(opened) => opened.data_path(),
        }
    }
}

impl Opened {
    /// The averaged model, to sample and evaluate with.
    pub(crate) fn model(&self, device: Device) -> Result<Model> {
        Ok(Model::of_checkpoint(&self.checkpoint, device)?)
    }
}

impl Opened<HierarchySpec> {
    /// The averaged model, to sample and evaluate with.
    pub(crate) fn model(&self, device: Device) -> Result<Hierarchy> {
        Ok(Hierarchy::of_checkpoint(&self.checkpoint, device)?)
    }
}

impl<M: ModelConfig> Opened<M> {
    /// Where its data are, if they are not bundled.
    pub(crate) fn data_path(&self) -> Option<PathBuf> {
        data_path(&self.config.data)
    }

    /// Its data, which are those the checkpoint was trained on.
    pub(crate) fn data(&self) -> Result<Dataset> {
        let data = vdm_data::load(&self.config.data)?;
        self.checkpoint.check_data(&data)?;
        Ok(data)
    }
}

/// Where data are, if they are not bundled.
pub(crate) fn data_path(source: &Source) -> Option<PathBuf> {
    match source {
        Source::Path { path, .. } => Some(path.clone()),
        _ => None,
    }
}

/// That a flag is not given which means nothing for a hierarchy.
pub(crate) fn check_for_hierarchy(flag: &str, is_given: bool) -> Result<()> {
    ensure!(
        !is_given,
        "{flag} means nothing for a hierarchy, which has layers of latents in place of noise levels; leave it out"
    );
    Ok(())
}

/// A folder that holds a run.
pub(crate) fn existing_run(folder: &Path) -> Result<RunDir> {
    let run = RunDir::new(folder);
    ensure!(
        run.config().is_file(),
        "{} is not the folder of a run: it has no config.json; `vdm train` prints the folder it \
         makes",
        folder.display()
    );
    Ok(run)
}

/// The configuration of a run, and whether it is as the program wrote it.
pub(crate) fn configuration(run: &RunDir) -> Result<(RunConfig<AnyModel>, Seal)> {
    files::read_editable(&run.config()).with_context(|| {
        "the configuration of the run is damaged: restore it from a copy, or from the field `config` of \
         the checkpoint.json of its newest checkpoint"
    })
}

pub(crate) fn checkpoints<M: ModelConfig>(
    run: &RunDir,
    config: &RunConfig<M>,
) -> Result<Checkpoints> {
    Ok(config.checkpoints(run.checkpoints())?)
}

/// The best checkpoint that is whole; says which would have been preferred.
pub(crate) fn best(checkpoints: &Checkpoints) -> Result<Checkpoint> {
    Ok(chosen(checkpoints.best()?))
}

fn chosen(chosen: Chosen) -> Checkpoint {
    let Chosen { checkpoint, passed_over } = chosen;
    for PassedOver { why, .. } in &passed_over {
        terminal::note(format_args!("note: passed over: {why}"));
    }
    if !passed_over.is_empty() {
        terminal::note(format_args!("note: step {} is used instead", checkpoint.info().step));
    }
    checkpoint
}

/// Gives checkpoints that were passed over another name and says so.
pub(crate) fn set_aside(checkpoints: &Checkpoints, passed_over: &[PassedOver]) -> Result<()> {
    for PassedOver { path, why } in passed_over {
        terminal::note(format_args!("note: passed over: {why}"));
        if let Some(aside) = checkpoints.set_aside(path)? {
            let (path, aside) = (path.display(), aside.display());
            terminal::note(format_args!("note: {path} is {aside} from now on"));
        }
    }
    Ok(())
}

/// Says in what a configuration that was edited, or damaged, differs from what a checkpoint was trained
/// under; but for what is below `apart`.
pub(crate) fn note_changes(
    config: &RunConfig<AnyModel>,
    seal: Seal,
    checkpoint: Option<&Checkpoint>,
    apart: &[&str],
) -> Result<()> {
    if seal == Seal::Whole {
        return Ok(());
    }
    let Some(checkpoint) = checkpoint else {
        terminal::note(
            "note: config.json is not as the program wrote it: it was edited, or damaged",
        );
        return Ok(());
    };
    let now = config.identity()?;
    for change in Change::between(&checkpoint.info().config, now.config()) {
        if !change.is_below(apart) {
            terminal::note(format_args!(
                "note: config.json was edited, or damaged: {change} when step {} was saved",
                checkpoint.info().step
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_a_run_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = existing_run(folder.path()).unwrap_err().to_string();
        assert!(error.contains("config.json") && error.contains("is not the folder of a run"));
    }
}
