//! What the fastest wave of a network's clock costs a solver, on trained networks: errors of second-order
//! solvers against the solution of the probability-flow ODE, and whether adaptive ones agree with
//! themselves.

mod report;

use std::path::Path;

use anyhow::{Context, Result, bail};
use tch::{Device, Kind, Tensor};
use vdm_core::Scaling;
use vdm_sample::{AdaptiveOde, NoNoise, Seed, SolverSpec, TimeGrid, prior, solve};
use vdm_torch::nn::{BAND_LIMIT, NetworkSpec};
use vdm_torch::{Batch, Likelihood, Model, RunConfig, StoredModel, TimeDiscretization, evaluate};

pub use report::markdown;

/// Steps whose errors are shown, on a grid even in log-SNR.
pub const STEPS: [usize; 5] = [10, 20, 40, 80, 160];

/// Second-order solvers, by their names in a configuration.
pub const SOLVERS: [&str; 2] = ["dpm_solver_pp_2m", "heun"];

/// Tolerances, absolute and relative, whose end points are compared.
pub const TOLERANCES: [f64; 2] = [1e-6, 1e-8];

/// Samples that are followed from noise to data.
pub const STARTS: usize = 4;

/// What the solution is taken from: 16 steps for each turn of the fastest published wave.
const REFERENCE: (&str, usize) = (r#"{"kind": "exponential_adams", "order": 4}"#, 2560);

/// One trained network, as it is or with its fast waves stopped.
#[derive(Debug, Clone)]
pub struct Row {
    /// The limit that the network was trained with.
    pub band_limit: f64,
    /// Whether waves above [`BAND_LIMIT`] stand still.
    pub frozen: bool,
    /// Seed of its training.
    pub seed: u64,
    /// Its optimizer steps.
    pub steps: u64,
    /// The bound on the test split.
    pub test: Likelihood,
    /// Root mean square distance of a component from the solution, by solver and number of steps.
    pub errors: [[f64; STEPS.len()]; SOLVERS.len()],
    /// The largest distance of a component between the end points of both tolerances.
    pub disagreement: f64,
}

/// The rows of a finished run: its best checkpoint, and the same with the waves above [`BAND_LIMIT`]
/// frozen, if there are any.
///
/// # Errors
/// A folder that holds no such run of a U-Net or MLP; whatever a solver fails with.
pub fn rows(run: &Path) -> Result<Vec<Row>> {
    let path = run.join("config.json");
    let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let of_a_run = || format!("{} is not a run's configuration", path.display());
    let (document, _) = vdm_files::unseal(&text).with_context(of_a_run)?;
    let config: RunConfig = serde_json::from_value(document).with_context(of_a_run)?;
    let data = vdm_data::load(&config.data)?;
    let best = config.checkpoints(run.join("checkpoints"))?.best()?.checkpoint;
    let row = |frozen: bool| -> Result<Row> {
        let model = Model::of_checkpoint(&best, Device::Cpu)?;
        if frozen {
            freeze(&model)?;
        }
        let spec = config.evaluation;
        let test = evaluate(
            &model,
            &data.test,
            TimeDiscretization::Continuous,
            spec,
            config.seed,
            |_| (),
        )?;
        let model = model.in_f64()?;
        Ok(Row {
            band_limit: band_limit(&model)?,
            frozen,
            seed: config.seed.0,
            steps: config.training.steps,
            test,
            errors: errors(&model)?,
            disagreement: disagreement(&model)?,
        })
    };
    let whole = row(false)?;
    let fast = whole.band_limit > BAND_LIMIT;
    Ok(std::iter::once(whole).chain(if fast { Some(row(true)?) } else { None }).collect())
}

fn band_limit(model: &Model) -> Result<f64> {
    match &model.spec().network {
        NetworkSpec::Unet(spec) => Ok(spec.band_limit),
        NetworkSpec::Mlp(spec) => Ok(spec.band_limit),
        NetworkSpec::Diffusers(_) => bail!("networks of diffusers have a clock of their own"),
        NetworkSpec::Custom { name, .. } => bail!("{name} is a network of another program"),
    }
}

/// Holds the waves above [`BAND_LIMIT`] where they are at the data end, sines at 0 and cosines at 1, by moving
/// what they say there into the bias that follows.
fn freeze(model: &Model) -> Result<()> {
    let parameters = model.parameters().named();
    let find = |name: &str| parameters.iter().find(|(n, _)| n == name).map(|(_, t)| t);
    let layer =
        |name: &str| Some([find(&format!("{name}.weight"))?, find(&format!("{name}.bias"))?]);
    let [weight, bias] =
        layer("embedding.0").or_else(|| layer("embedding")).context("no layer after the clock")?;
    let half = weight.size()[1] / 2;
    let limit = band_limit(model)?;
    let rate = (limit / 0.1).ln() / (half - 1) as f64;
    let fast = (0..half).filter(|i| limit * (-rate * *i as f64).exp() > BAND_LIMIT).count() as i64;
    tch::no_grad(|| {
        let _ = bias.shallow_clone().g_add_(&weight.narrow(1, half, fast).sum_dim_intlist(
            1,
            false,
            None::<Kind>,
        ));
        for start in [0, half] {
            let _ = weight.narrow(1, start, fast).zero_();
        }
    });
    Ok(())
}

/// Noise at the schedule's noise end, in f64.
fn starts(model: &Model) -> Batch {
    let shape = model.spec().shape;
    let noise: Vec<f32> = prior(Seed(1), 0, STARTS * shape.dims());
    let size = [STARTS, shape.channels, shape.height, shape.width].map(|side| side as i64);
    Batch(Batch::from_slice(&noise, size, model.device()).0.to_kind(Kind::Double))
}

/// The latents at the data end.
fn end(model: &Model, solver: &str, steps: usize) -> Result<Tensor> {
    let solver: SolverSpec = serde_json::from_str(solver)?;
    let diffusion = &model.spec().diffusion;
    let grid = TimeGrid::uniform_log_snr(steps, &diffusion.schedule, diffusion.scaling)?;
    let end =
        tch::no_grad(|| solve(&solver, model, starts(model), &grid, &mut NoNoise, |_, _, _| ()))?;
    Ok(end.latent.0)
}

fn errors(model: &Model) -> Result<[[f64; STEPS.len()]; SOLVERS.len()]> {
    let (solver, steps) = REFERENCE;
    let solution = end(model, solver, steps)?;
    let mut errors = [[0.0; STEPS.len()]; SOLVERS.len()];
    for (errors, solver) in errors.iter_mut().zip(SOLVERS) {
        for (error, steps) in errors.iter_mut().zip(STEPS) {
            let off = end(model, &format!("{solver:?}"), steps)? - &solution;
            *error = off.square().mean(Kind::Double).sqrt().double_value(&[]);
        }
    }
    Ok(errors)
}

/// See [`Row::disagreement`].
fn disagreement(model: &Model) -> Result<f64> {
    let schedule = &model.spec().diffusion.schedule;
    let ends = TOLERANCES.map(|tolerance| -> Result<Tensor> {
        let solver =
            AdaptiveOde { absolute: tolerance, relative: tolerance, ..AdaptiveOde::default() };
        let vp = Scaling::VariancePreserving;
        let whole_way = TimeGrid::uniform_time(1, schedule, vp)?;
        let end = solve(&solver, model, starts(model), &whole_way, &mut NoNoise, |_, _, _| ())?;
        Ok(end.latent.0)
    });
    let [loose, tight] = ends;
    Ok((loose? - tight?).abs().max().double_value(&[]))
}
