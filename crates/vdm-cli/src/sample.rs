//! `vdm sample`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use vdm_data::Shape;
use vdm_report::RunDir;
use vdm_sample::spec::{GuidanceSpec, NameOf, NoiseSpec, SamplerFields};
use vdm_sample::{AnySolver, Seed};
use vdm_torch::Sampling;
use vdm_torch::hierarchy::HierarchySpec;

use crate::engine::Engine;
use crate::grid::Grid;
use crate::opened::{AnyOpened, Opened, Which};
use crate::progress::{Lines, Progress};
use crate::solvers::{known, note};
use crate::specification::{Specification, named};
use crate::{output, outputs, terminal};

/// `vdm sample`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Folder of the run
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// How many samples
    #[arg(long, default_value_t = 64)]
    count: usize,
    /// How a step is taken; `vdm solvers` lists them [default: as configured]
    #[arg(long, value_name = "NAME|JSON", value_parser = crate::solvers::solver)]
    solver: Option<AnySolver>,
    /// Where the steps lie, unless the solver chooses them, such as karras, or elbo-optimal for the least
    /// bound by the errors on validation items [default: as configured]
    #[arg(long, value_name = "NAME|JSON", value_parser = Grid::parse)]
    grid: Option<Grid>,
    /// How many steps, unless the solver chooses them [default: as configured]
    #[arg(long)]
    steps: Option<usize>,
    /// iid, antithetic (in mirrored pairs) or brownian (one path at any number of steps)
    /// [default: as configured]
    #[arg(long, value_name = "NAME", value_parser = noise)]
    noise: Option<NoiseSpec>,
    /// Correction of the predicted image: none, clip or dynamic-threshold [default: as configured]
    #[arg(long, value_name = "NAME|JSON", value_parser = named::<GuidanceSpec>)]
    guidance: Option<GuidanceSpec>,
    #[command(flatten)]
    specification: Specification,
    /// Of a hierarchy: by what its layers' standard deviations are multiplied, below 1 for samples nearer to their
    /// means [default: 1]
    #[arg(long, value_name = "FACTOR")]
    temperature: Option<f64>,
    /// Of a hierarchy: the way from each sample to the next in so many steps, a row each, in place of samples alone
    #[arg(long, value_name = "STEPS", conflicts_with = "latent_grid")]
    latent_walk: Option<usize>,
    /// Of a model of two latents: what it makes of SIDE × SIDE of them at quantiles of the prior
    #[arg(long, value_name = "SIDE", conflicts_with_all = ["count", "first", "seed", "temperature"])]
    latent_grid: Option<usize>,
    /// Seed of the samples [default: that of the run]
    #[arg(long)]
    seed: Option<u64>,
    /// Number of the first sample of the seed
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Samples per pass of the network
    #[arg(long, default_value_t = 256)]
    batch: usize,
    /// Run the network in 64-bit floats as the sampler does, several times slower: how much of a sample is
    /// its rounding
    #[arg(long)]
    double: bool,
    /// Checkpoint of this step [default: the best on validation]
    #[arg(long, value_name = "STEP|latest|best")]
    checkpoint: Option<Which>,
    #[command(flatten)]
    engine: Engine,
    /// Path of the PNG; the array gets the same name with .npy [default: samples.png in the run]
    #[arg(long, value_name = "FILE.png")]
    out: Option<PathBuf>,
    /// Also write the samples as they are before rounding to data values, float32 from -1 to 1
    #[arg(long, value_name = "FILE.npy")]
    latents: Option<PathBuf>,
}

/// The share of components outside of the data above which samples are remarked on.
const MOST_OUTSIDE: f64 = 0.01;

/// `--noise`.
fn noise(text: &str) -> Result<NoiseSpec, serde_json::Error> {
    known(NameOf::Noise, text)
}

/// Draws samples from a checkpoint of a run.
pub(crate) fn sample(options: &Options) -> Result<()> {
    ensure!(options.steps != Some(0), "--steps 0: use at least 1");
    ensure!(options.count > 0, "--count 0: use at least 1");
    ensure!(options.batch > 0, "--batch 0: use at least 1");
    if let Some(temperature) = options.temperature {
        ensure!(
            (0.0..=10.0).contains(&temperature),
            "--temperature {temperature}: use a number from 0 to 10"
        );
    }
    let samples_png = || RunDir::new(&options.run).samples_png();
    let png = options.out.clone().unwrap_or_else(samples_png);
    let array = png.with_extension("npy");
    ensure!(
        png.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png")),
        "--out {}: name the PNG, such as samples.png; the array gets its name with .npy",
        png.display()
    );
    // A folder that holds no run is not made into one.
    let opened = AnyOpened::of(&options.run, options.checkpoint)?;
    let latents = options.latents.as_deref().map(|path| ("--latents", path));
    let outs = [("--out", &*png), ("the array of --out", &*array)];
    let outs: Vec<_> = outs.into_iter().chain(latents).collect();
    outputs::prepare(&outs, opened.data_path().as_slice())?;
    let files = Files { png: &png, array: &array };
    match opened {
        AnyOpened::Diffusion(opened) => diffusion(options, &opened, &files),
        AnyOpened::Hierarchy(opened) => hierarchy(options, &opened, &files),
    }
}

/// Where samples go.
struct Files<'a> {
    png: &'a Path,
    array: &'a Path,
}

impl Files<'_> {
    /// `columns` of the PNG; as many as rows if none are given.
    fn write(
        &self,
        pixels: &[u8],
        shape: Shape,
        values: u16,
        columns: Option<usize>,
    ) -> Result<()> {
        output::save_samples(pixels, shape, values, columns, self.png, self.array)
            .with_context(|| format!("cannot write {}", self.png.display()))?;
        terminal::print(self.png.display())?;
        terminal::print(self.array.display())
    }
}

/// Ancestral samples of a hierarchy.
fn hierarchy(options: &Options, opened: &Opened<HierarchySpec>, files: &Files<'_>) -> Result<()> {
    let given = [
        ("--solver", options.solver.is_some()),
        ("--grid", options.grid.is_some()),
        ("--steps", options.steps.is_some()),
        ("--noise", options.noise.is_some()),
        ("--guidance", options.guidance.is_some()),
        ("--scaling or --schedule", options.specification.is_given()),
        ("--double", options.double),
        ("--latents", options.latents.is_some()),
    ];
    for (flag, is_given) in given {
        ensure!(
            !is_given,
            "{flag} means nothing for a hierarchy, which is sampled layer by layer in one pass; leave it out"
        );
    }
    let model = opened.model(options.engine.start()?)?;
    let seed = options.seed.map_or(opened.config.seed, Seed);
    let temperature = options.temperature.unwrap_or(1.0);
    let Options { first, count, batch, .. } = *options;
    let pixels = match (options.latent_grid, options.latent_walk) {
        (Some(side), _) => model.latent_grid(side, batch)?,
        (_, Some(steps)) => model.latent_walk(seed, first, count, steps, batch, temperature)?,
        _ => model.samples(seed, first, count, batch, temperature)?,
    };
    let columns = options.latent_grid.or(options.latent_walk);
    files.write(&pixels, model.spec().shape, model.spec().values, columns)
}

fn diffusion(options: &Options, opened: &Opened, files: &Files<'_>) -> Result<()> {
    ensure!(
        options.temperature.is_none(),
        "--temperature means nothing for a diffusion model; a solver with less noise, such as ddim, is the nearest"
    );
    for (flag, is_given) in [
        ("--latent-walk", options.latent_walk.is_some()),
        ("--latent-grid", options.latent_grid.is_some()),
    ] {
        ensure!(!is_given, "{flag} is for hierarchies, whose latents are few; leave it out");
    }
    let config = &opened.config;
    let model = opened.model(options.engine.start()?)?;
    let model = if options.double { model.in_f64()? } else { model };
    let items = || Ok(opened.data()?.validation);
    let grid = options.grid.as_ref().map(|grid| grid.of(&model, config, items));
    let sampler = SamplerFields {
        solver: options.solver,
        grid: grid.transpose()?,
        steps: options.steps,
        noise: options.noise,
        guidance: options.guidance,
    };
    let sampler = sampler.over(config.model.sampler.clone())?;
    let seed = options.seed.map_or(config.seed, Seed);
    let mut sampling = Sampling::new(&model, &sampler, seed, options.batch);
    (sampling.schedule, sampling.scaling) = options.specification.over(&model.spec().diffusion)?;
    sampling.cautions()?.into_iter().filter(|caution| !caution.is_fatal()).for_each(note);
    let samples = {
        let progress = Progress::drawing(Lines::Messages)?;
        sampling.draw(options.first, options.count, 0, |share| progress.share(share))?
    };
    if samples.outside > MOST_OUTSIDE {
        let share = 100.0 * samples.outside;
        note(format_args!(
            "{share:.1} % of the components lie far outside of the data, which end at -1 and 1: more steps, \
             another solver or `--guidance clip` may help"
        ));
    }
    let spec = model.spec();
    files.write(&samples.pixels, spec.shape, spec.values, None)?;
    if let Some(path) = &options.latents {
        output::save_latents(&samples.latents, spec.shape, path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        terminal::print(path.display())?;
    }
    Ok(())
}
