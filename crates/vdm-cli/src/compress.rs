//! `vdm compress`, and what `vdm decompress` shares with it.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use tch::Device;
use vdm_compress::{
    Archive, Chain, Code, Header, LatentLevels, Latents, Layers, Origin, Settings, sha256,
};
use vdm_core::Scaling;
use vdm_data::Items;
use vdm_report::files;
use vdm_report::result::TestLikelihood;
use vdm_sample::GridSpec;
use vdm_torch::hierarchy::{Hierarchy, HierarchyEvaluation, HierarchySpec};
use vdm_torch::{DeviceChoice, Evaluation, Model, ModelConfig, RunConfig, TimeDiscretization};

use crate::coder::{Coder, OnHost};
use crate::engine::set_asked_threads;
use crate::family::{self, test_likelihood};
use crate::grid::Grid;
use crate::items::ItemOptions;
use crate::opened::{AnyOpened, Opened, Which, check_for_hierarchy};
use crate::progress::{Lines, Progress};
use crate::{outputs, terminal};

/// `vdm compress`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Folder of the run whose model codes
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    #[command(flatten)]
    items: ItemOptions,
    /// T: model calls per batch each way, and the bound that the size meets; not of a hierarchy, which has layers
    /// [default: the T that it was trained with, or 100]
    #[arg(long, value_name = "T")]
    steps: Option<u32>,
    /// Where the T steps lie, such as elbo-optimal for the least bound by the errors on validation items
    /// [default: uniform-time]
    #[arg(long, value_name = "NAME|JSON", value_parser = Grid::parse)]
    grid: Option<Grid>,
    /// Items per model call
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,
    /// Cells of a latent's grid per standard deviation of its narrowest Gaussian
    #[arg(long, value_name = "N", default_value_t = Settings::CELLS,
          value_parser = clap::value_parser!(u32).range(1..=4096))]
    cells: u32,
    /// Checkpoint of this step [default: the best on validation]
    #[arg(long, value_name = "STEP|latest|best")]
    checkpoint: Option<Which>,
    /// cpu: the reader needs the same bits, which a GPU does not promise
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Threads of the processor that libtorch uses; the reader takes the same number
    #[arg(long)]
    threads: Option<u32>,
    /// The file to write
    #[arg(long, value_name = "FILE.vdmz")]
    out: PathBuf,
}

/// What is to be coded, how, and what it should cost.
struct Job {
    items: Items,
    settings: Settings,
    bound: TestLikelihood,
    checkpoint: u64,
}

/// Codes items into a file and says what it cost beside the bound and beside other formats.
pub(crate) fn compress(options: &Options) -> Result<()> {
    set_asked_threads(options.threads)?;
    let device = reproducible(options.device)?;
    match AnyOpened::of(&options.run, options.checkpoint)? {
        AnyOpened::Diffusion(opened) => {
            let model = OnHost(opened.model(device)?);
            code(options, &model, &options.of_diffusion(&opened, &model.0)?)
        }
        AnyOpened::Hierarchy(opened) => {
            let model = OnHost(opened.model(device)?);
            code(options, &model, &options.of_hierarchy(&opened, &model)?)
        }
    }
}

/// More draws than an evaluation of the whole run: a code sees one draw of each latent.
const DRAWS: usize = 64;

impl Options {
    fn of_diffusion(&self, opened: &Opened, model: &Model) -> Result<Job> {
        let trained = opened.config.model.objective.time.steps();
        let steps = self.steps.or(trained).unwrap_or(100);
        ensure!(steps > 0, "--steps 0: use at least 1");
        let selected = self.items.of(opened, model.spec().shape, model.spec().values)?;
        let config = &opened.config;
        let grid = self.grid.as_ref().map(|grid| grid.of(model, config, || selected.others()));
        let grid = grid.transpose()?.unwrap_or(GridSpec::UNIFORM_TIME);
        let levels = levels(&grid, steps, model)?;
        let chain = Chain { steps, levels, cells_per_std: self.cells };
        outputs::prepare(&[("--out", &self.out)], &self.items.paths(opened))?;
        let batch = config.evaluation.batch;
        let own = Evaluation::new(model, &selected.items, config.seed, batch);
        let bound = self.bounding(&selected.items, |done| {
            let time = TimeDiscretization::Discrete { steps };
            let draws = config.evaluation.draws.max(DRAWS);
            Ok(test_likelihood(&Evaluation { grid, ..own }.likelihood(time, draws, done)?))
        })?;
        Ok(self.job(opened, selected.items, Latents::Chain(chain), bound))
    }

    fn of_hierarchy(
        &self,
        opened: &Opened<HierarchySpec>,
        model: &OnHost<Hierarchy>,
    ) -> Result<Job> {
        for (flag, is_given) in [("--steps", self.steps.is_some()), ("--grid", self.grid.is_some())]
        {
            check_for_hierarchy(flag, is_given)?;
        }
        let spec = model.0.spec();
        let items = self.items.of(opened, spec.shape, spec.values)?.items;
        outputs::prepare(&[("--out", &self.out)], &self.items.paths(opened))?;
        let RunConfig { seed, evaluation, .. } = &opened.config;
        let judged = HierarchyEvaluation {
            model: &model.0,
            items: &items,
            seed: *seed,
            batch: evaluation.batch,
        };
        let bound = self.bounding(&items, |done| {
            let draws = evaluation.draws.max(DRAWS);
            Ok(family::hierarchy::test_likelihood(&judged.bound(draws, done)?))
        })?;
        let bits = bound.bits_per_dim * spec.shape.dims() as f64;
        let batch = self.batch as usize;
        let layers = tch::no_grad(|| Layers::of(&model, items.pixels(), batch, self.cells, bits))?;
        Ok(self.job(opened, items, Latents::Layers(layers), bound))
    }

    fn bounding<T>(
        &self,
        items: &Items,
        bound: impl FnOnce(&mut dyn FnMut(usize)) -> Result<T>,
    ) -> Result<T> {
        let progress = Progress::new("bounding", "items", items.len() as u64, Lines::Messages)?;
        bound(&mut |done| progress.set(done as u64))
    }

    fn job<M: ModelConfig>(
        &self,
        opened: &Opened<M>,
        items: Items,
        latents: Latents,
        bound: TestLikelihood,
    ) -> Job {
        let settings = Settings { batch: self.batch, latents };
        Job { items, settings, bound, checkpoint: opened.checkpoint.info().step }
    }
}

fn code(options: &Options, model: &dyn Coder, job: &Job) -> Result<()> {
    let Job { items, settings, bound, checkpoint } = job;
    let shape = model.shape();
    let progress = Progress::new("coding", "items", items.len() as u64, Lines::Messages)?;
    let codec = model.codec(settings)?;
    let code = tch::no_grad(|| codec.compress(items.pixels(), |done| progress.set(done as u64)))?;
    drop(progress);
    let archive = Archive {
        header: Header {
            model_sha256: model.sha256()?,
            origin: origin(*checkpoint),
            settings: settings.clone(),
            items: items.len(),
            shape: [shape.channels, shape.height, shape.width],
            levels: model.values(),
            pixels_sha256: sha256(items.pixels()),
            words: code.words.len(),
        },
        words: code.words.clone(),
    };
    let bytes = archive.to_bytes()?;
    files::write_atomic(&options.out, &bytes)?;
    terminal::print_lines(&sizes(&code, bytes.len(), items.pixels().len(), bound))?;
    terminal::print_lines(&crate::formats::table(items, shape)?)?;
    terminal::print(options.out.display())
}

/// The levels of a grid, for the reader to have the same.
fn levels(grid: &GridSpec, steps: u32, model: &Model) -> Result<LatentLevels> {
    if *grid == GridSpec::UNIFORM_TIME {
        return Ok(LatentLevels::UniformTime);
    }
    let schedule = &model.spec().diffusion.schedule;
    let kind = grid.kind.name();
    let grid = grid.time_grid(steps as usize, schedule, Scaling::VariancePreserving)?;
    ensure!(
        grid.levels().last().is_some_and(|level| level.sigma > 0.0),
        "--grid {kind} ends at clean data, where z_0 is the data themselves: leave out \"clean\", or take \
         a grid that ends where the schedule does"
    );
    Ok(LatentLevels::LogSnrs(grid.levels().iter().map(|level| level.log_snr).collect()))
}

/// What the code cost, beside the bound.
fn sizes(code: &Code, file: usize, pixels: usize, bound: &TestLikelihood) -> String {
    let per_dim = |bits: f64| bits / pixels as f64;
    let net = per_dim(code.net_bits);
    format!(
        "code   {net:.4} bits/dim without initial bits: {:+.2} % of the bound\nbound  {}\nfile   \
         {:.4} bits/dim, {file} bytes: {:.0} bits of code, {} initial bits, {} bits of header",
        100.0 * (net / bound.bits_per_dim - 1.0),
        bound,
        per_dim(8.0 * file as f64),
        code.net_bits,
        code.initial_bits,
        8 * file - 64 * code.words.len(),
    )
}

/// Where the network's answers are the same to the last bit in the process that reads a file.
pub(crate) fn reproducible(choice: DeviceChoice) -> Result<Device> {
    match choice {
        DeviceChoice::Auto | DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Cuda(index) => bail!(
            "--device cuda:{index}: writer and reader need the same bits from the network, and cuDNN \
             may choose another kernel in another process; use --device cpu"
        ),
    }
}

fn origin(checkpoint: u64) -> Origin {
    Origin {
        engine: format!(
            "vdm {}, libtorch {}, {}",
            env!("CARGO_PKG_VERSION"),
            vdm_torch::LIBTORCH_VERSION,
            std::env::consts::ARCH
        ),
        device: "cpu".into(),
        threads: tch::get_num_threads().max(1) as u32,
        checkpoint,
    }
}
