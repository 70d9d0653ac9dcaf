//! `vdm eval`.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use indicatif::ProgressBar;
use serde_json::json;
use vdm_data::{Dataset, Items};
use vdm_torch::checkpoint::{load_model, read_info};
use vdm_torch::{Depth, DeviceChoice, EvaluationSpec, Likelihood, RunConfig};

use crate::output;

/// `vdm eval`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Folder of the run
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Which items
    #[arg(long, value_enum, default_value = "test")]
    split: Split,
    /// T of the T-step bound; the continuous-time bound without it
    #[arg(long, value_name = "T")]
    steps: Option<u32>,
    /// Noised copies of each item [default: as configured]
    #[arg(long)]
    draws: Option<usize>,
    /// Only this many items, from the first
    #[arg(long)]
    items: Option<usize>,
    /// Checkpoint of this step [default: the best on validation]
    #[arg(long, value_name = "STEP")]
    checkpoint: Option<u64>,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

/// Part of a data set.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Split {
    Train,
    Validation,
    Test,
}

impl Split {
    /// Its items.
    pub(crate) fn of(self, data: &Dataset) -> &Items {
        match self {
            Self::Train => &data.train,
            Self::Validation => &data.validation,
            Self::Test => &data.test,
        }
    }
}

/// The bound on a split under a checkpoint of a run, printed as text and JSON.
pub(crate) fn evaluate(options: &Options) -> Result<()> {
    let run = output::existing_run(&options.run)?;
    let config: RunConfig = vdm_report::files::read_json(&run.config())?;
    let data = vdm_data::load(&config.data)?;
    let checkpoint = crate::train::checkpoint(&run, options.checkpoint)?;
    let info = read_info(&checkpoint)?;
    info.check_data(&checkpoint, &data)?;
    let (model, info) = load_model(&checkpoint, options.device.resolve()?)?;
    let all = options.split.of(&data);
    let count = options.items.unwrap_or(all.len()).min(all.len());
    ensure!(count > 0, "--items 0: use at least 1");
    let items = all.select(&(0..count).collect::<Vec<_>>());
    let spec = EvaluationSpec {
        draws: options.draws.unwrap_or(config.evaluation.draws),
        ..config.evaluation
    };
    let depth = options.steps.map_or(Depth::Continuous, |steps| Depth::Discrete { steps });
    let bar = ProgressBar::new(count as u64);
    let progress = |done: usize| bar.set_position(done as u64);
    let result = vdm_torch::evaluate(&model, &items, depth, spec, config.seed, progress)?;
    bar.finish_and_clear();
    output::say(describe(&result));
    let document = json!({
        "data": {"name": data.name, "sha256": data.sha256, "split": format!("{:?}", options.split).to_lowercase()},
        "checkpoint_step": info.step,
        "likelihood": likelihood(&result),
    });
    output::say(serde_json::to_string_pretty(&document).context("numbers are JSON")?);
    Ok(())
}

/// A likelihood in words.
pub(crate) fn describe(result: &Likelihood) -> String {
    let Likelihood { bits_per_dim, standard_error, prior, reconstruction, diffusion, .. } = result;
    format!(
        "{bits_per_dim:.4} ± {standard_error:.4} bits/dim on {} items\n  = prior {prior:.4} + \
         reconstruction {reconstruction:.4} + diffusion {diffusion:.4}\n  {}",
        result.items, result.estimator
    )
}

/// A likelihood as `result.json` has it.
pub(crate) fn likelihood(result: &Likelihood) -> vdm_report::result::TestLikelihood {
    vdm_report::result::TestLikelihood {
        bits_per_dim: result.bits_per_dim,
        standard_error: result.standard_error,
        prior: result.prior,
        reconstruction: result.reconstruction,
        diffusion: result.diffusion,
        items: result.items as u64,
        estimator: result.estimator.clone(),
    }
}
