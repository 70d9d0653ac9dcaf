//! `vdm compress`, and what `vdm decompress` shares with it.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use tch::{Device, Tensor};
use vdm_compress::{Archive, Code, Codec, Header, LatentLevels, Origin, Settings, sha256};
use vdm_core::{Denoiser, NoiseLevel, Prediction, Scaling};
use vdm_report::files;
use vdm_report::result::TestLikelihood;
use vdm_sample::GridSpec;
use vdm_torch::{Batch, DeviceChoice, Evaluation, Model, TimeDiscretization};

use crate::engine::set_asked_threads;
use crate::family::test_likelihood;
use crate::grid::Grid;
use crate::items::ItemOptions;
use crate::opened::{AnyOpened, Which};
use crate::progress::{Lines, Progress};
use crate::terminal;

/// `vdm compress`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Folder of the run whose model codes
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    #[command(flatten)]
    items: ItemOptions,
    /// T: model calls per batch each way, and the bound that the size meets
    #[arg(long, value_name = "T", default_value_t = 100)]
    steps: u32,
    /// Where the T steps lie, such as elbo-optimal for the least bound by the errors on validation items
    /// [default: uniform-time]
    #[arg(long, value_name = "NAME|JSON", value_parser = Grid::parse)]
    grid: Option<Grid>,
    /// Items per model call
    #[arg(long, default_value_t = 64)]
    batch: u32,
    /// Cells of a latent's grid per standard deviation of its narrowest Gaussian
    #[arg(long, value_name = "N", default_value_t = Settings::CELLS)]
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

/// Codes items into a file and says what it cost beside the bound and beside other formats.
pub(crate) fn compress(options: &Options) -> Result<()> {
    ensure!(options.steps > 0, "--steps 0: use at least 1");
    set_asked_threads(options.threads)?;
    let opened = AnyOpened::of(&options.run, options.checkpoint)?.diffusion("compress")?;
    let config = &opened.config;
    let device = reproducible(options.device)?;
    let model = opened.model(device)?;
    let selected = options.items.of(&opened, model.spec().shape, model.spec().values)?;
    let items = &selected.items;
    let grid = options.grid.as_ref().map(|grid| grid.of(&model, config, || selected.others()));
    let grid = grid.transpose()?.unwrap_or(GridSpec::UNIFORM_TIME);
    let settings = Settings {
        steps: options.steps,
        levels: levels(&grid, options.steps, &model)?,
        batch: options.batch,
        cells_per_std: options.cells,
    };
    let host = OnHost(&model);
    files::prepare(&options.out)?;
    let count = items.len() as u64;
    let codec = host.codec(&settings)?;
    // More draws than an evaluation of the whole run: the sum over T steps is what a code sees.
    let draws = config.evaluation.draws.max(64);
    let own = Evaluation::new(&model, items, config.seed, config.evaluation.batch);
    let evaluation = Evaluation { grid, ..own };
    let progress = Progress::new("bounding", "items", count, Lines::Messages)?;
    let depth = TimeDiscretization::Discrete { steps: options.steps };
    let bound = evaluation.likelihood(depth, draws, |n| progress.set(n as u64))?;
    drop(progress);
    let progress = Progress::new("coding", "items", count, Lines::Messages)?;
    let code = codec.compress(items.pixels(), |n| progress.set(n as u64))?;
    drop(progress);
    let shape = model.spec().shape;
    let archive = Archive {
        header: Header {
            model_sha256: model.sha256()?,
            origin: origin(opened.checkpoint.info().step),
            settings,
            items: items.len(),
            shape: [shape.channels, shape.height, shape.width],
            levels: model.spec().values,
            pixels_sha256: sha256(items.pixels()),
            words: code.words.len(),
        },
        words: code.words.clone(),
    };
    let bytes = archive.to_bytes()?;
    files::write_atomic(&options.out, &bytes)?;
    let bound = test_likelihood(&bound);
    terminal::print_lines(&sizes(&code, bytes.len(), items.pixels().len(), &bound))?;
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

/// A model whose latents lie in host memory, `B·D` numbers of `B` items.
#[derive(Debug)]
pub(crate) struct OnHost<'a>(pub(crate) &'a Model);

impl OnHost<'_> {
    /// The codec of the model's own data and schedule.
    pub(crate) fn codec(&self, settings: &Settings) -> Result<Codec<'_, Self>> {
        let spec = self.0.spec();
        let schedule = &spec.diffusion.schedule;
        Ok(Codec::new(self, self.0.code(), spec.shape.dims(), schedule, settings)?)
    }
}

impl Denoiser<Vec<f32>> for OnHost<'_> {
    type Error = vdm_torch::Error;

    fn denoise(
        &self,
        z: &Vec<f32>,
        at: &NoiseLevel,
    ) -> Result<Prediction<Vec<f32>>, vdm_torch::Error> {
        let shape = self.0.spec().shape;
        let size = [z.len() / shape.dims(), shape.channels, shape.height, shape.width];
        let z = Batch::from_slice(z, size.map(|side| side as i64), self.0.device());
        let Prediction { value, of } = self.0.denoise(&z, at)?;
        Ok(Prediction { value: host(&value.0)?, of })
    }
}

fn host(tensor: &Tensor) -> Result<Vec<f32>, tch::TchError> {
    Vec::try_from(tensor.to_device(Device::Cpu).flatten(0, -1))
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
