//! A run that was written before: its configuration, a checkpoint that is whole, and what is said where
//! either is not as the program left it.

use std::path::Path;

use anyhow::{Context, Result};
use vdm_data::Dataset;
use vdm_files::Seal;
use vdm_report::{RunDir, files};
use vdm_torch::RunConfig;
use vdm_torch::checkpoint::{Checkpoint, Checkpoints, Chosen, PassedOver};

use crate::output;

/// What may change in a run without changing what its checkpoints say.
const OF_TRAINING: [&str; 2] = ["training", "output"];

/// A run whose model is used.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) config: RunConfig,
    pub(crate) checkpoint: Checkpoint,
}

impl Opened {
    /// Of the checkpoint of a step, or the best on validation.
    pub(crate) fn of(folder: &Path, step: Option<u64>) -> Result<Self> {
        let run = output::existing_run(folder)?;
        let (config, seal) = configuration(&run)?;
        let checkpoints = checkpoints(&run, &config);
        let checkpoint = match step {
            Some(step) => checkpoints.of_step(step)?,
            None => best(&checkpoints)?,
        };
        note_changes(&config, seal, Some(&checkpoint), &OF_TRAINING)?;
        Ok(Self { config, checkpoint })
    }

    /// Its data, which are those the checkpoint was trained on.
    pub(crate) fn data(&self) -> Result<Dataset> {
        let data = vdm_data::load(&self.config.data)?;
        self.checkpoint.check_data(&data)?;
        Ok(data)
    }
}

/// The configuration of a run, and whether it is as the program wrote it.
pub(crate) fn configuration(run: &RunDir) -> Result<(RunConfig, Seal)> {
    files::read_editable(&run.config()).with_context(|| {
        "the configuration of the run is damaged: restore it from a copy, or from the field `config` of \
         the checkpoint.json of its newest checkpoint"
    })
}

pub(crate) fn checkpoints(run: &RunDir, config: &RunConfig) -> Checkpoints {
    Checkpoints::new(run.root().join("checkpoints"), config)
}

/// The best checkpoint that is whole; says which would have been preferred.
pub(crate) fn best(checkpoints: &Checkpoints) -> Result<Checkpoint> {
    let Chosen { checkpoint, passed_over } = checkpoints.best()?;
    for PassedOver { why, .. } in &passed_over {
        eprintln!("note: passed over: {why}");
    }
    if !passed_over.is_empty() {
        eprintln!("note: step {} is used instead", checkpoint.info().step);
    }
    Ok(checkpoint)
}

/// Gives checkpoints that were passed over another name and says so.
pub(crate) fn set_aside(checkpoints: &Checkpoints, passed_over: &[PassedOver]) -> Result<()> {
    for PassedOver { path, why } in passed_over {
        eprintln!("note: passed over: {why}");
        if let Some(aside) = checkpoints.set_aside(path)? {
            eprintln!("note: {} is {} from now on", path.display(), aside.display());
        }
    }
    Ok(())
}

/// Says in what a configuration that was edited, or damaged, differs from what a checkpoint was trained
/// under; but for what is below `apart`.
pub(crate) fn note_changes(
    config: &RunConfig,
    seal: Seal,
    checkpoint: Option<&Checkpoint>,
    apart: &[&str],
) -> Result<()> {
    if seal == Seal::Whole {
        return Ok(());
    }
    let Some(checkpoint) = checkpoint else {
        eprintln!("note: config.json is not as the program wrote it: it was edited, or damaged");
        return Ok(());
    };
    for change in config.changes_since(&checkpoint.info().config)? {
        if !change.is_below(apart) {
            eprintln!(
                "note: config.json was edited, or damaged: {change} when step {} was saved",
                checkpoint.info().step
            );
        }
    }
    Ok(())
}
