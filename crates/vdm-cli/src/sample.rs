//! `vdm sample`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::ValueEnum;
use vdm_sample::{GridSpec, SamplerSpec, Seed, SolverSpec};
use vdm_torch::checkpoint::load_model;
use vdm_torch::{DeviceChoice, RunConfig};

use crate::output;

/// `vdm sample`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Folder of the run
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// How many samples
    #[arg(long, default_value_t = 64)]
    count: usize,
    /// How a step is taken [default: as configured]
    #[arg(long, value_enum)]
    solver: Option<Solver>,
    /// Where the steps lie [default: as configured]
    #[arg(long, value_enum)]
    grid: Option<Grid>,
    /// How many steps [default: as configured]
    #[arg(long)]
    steps: Option<usize>,
    /// Seed of the samples [default: that of the run]
    #[arg(long)]
    seed: Option<u64>,
    /// Number of the first sample of the seed
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Samples per pass of the network
    #[arg(long, default_value_t = 256)]
    batch: usize,
    /// Checkpoint of this step [default: the best on validation]
    #[arg(long, value_name = "STEP")]
    checkpoint: Option<u64>,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Path of the PNG; the array gets the same name with .npy [default: samples.png in the run]
    #[arg(long, value_name = "FILE.png")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Solver {
    Ancestral,
    Ddim,
    #[value(name = "dpm-solver-pp-2m")]
    DpmSolverPp2M,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Grid {
    UniformTime,
    UniformLogSnr,
}

impl From<Solver> for SolverSpec {
    fn from(solver: Solver) -> Self {
        match solver {
            Solver::Ancestral => Self::Ancestral,
            Solver::Ddim => Self::Ddim,
            Solver::DpmSolverPp2M => Self::DpmSolverPp2M,
        }
    }
}

impl From<Grid> for GridSpec {
    fn from(grid: Grid) -> Self {
        match grid {
            Grid::UniformTime => Self::UniformTime,
            Grid::UniformLogSnr => Self::UniformLogSnr,
        }
    }
}

/// Draws samples from a checkpoint of a run.
pub(crate) fn sample(options: &Options) -> Result<()> {
    let run = output::existing_run(&options.run)?;
    let config: RunConfig = vdm_report::files::read_json(&run.config())?;
    let checkpoint = crate::train::checkpoint(&run, options.checkpoint)?;
    let (model, _) = load_model(&checkpoint, options.device.resolve()?)?;
    let sampler = SamplerSpec {
        solver: options.solver.map_or(config.sampler.solver, Into::into),
        grid: options.grid.map_or(config.sampler.grid, Into::into),
        steps: options.steps.unwrap_or(config.sampler.steps),
    };
    let seed = options.seed.map_or(config.seed, Seed);
    let samples =
        vdm_torch::sample(&model, &sampler, seed, options.first, options.count, options.batch, 0)?;
    let png = options.out.clone().unwrap_or_else(|| run.samples_png());
    let array = png.with_extension("npy");
    let spec = model.spec();
    output::save_samples(&samples.pixels, spec.shape, spec.levels, &png, &array)
        .with_context(|| format!("cannot write {}", png.display()))?;
    output::say(png.display());
    output::say(array.display());
    Ok(())
}
