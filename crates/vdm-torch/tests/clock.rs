//! Solvers have their order on networks that were trained, because the clock is band-limited; with the
//! published clock they have not.

mod common;

use std::sync::Arc;

use common::tiny;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use vdm_sample::{AdaptiveOde, NoNoise, Seed, SolverSpec, TimeGrid, solve};
use vdm_torch::nn::{BAND_LIMIT, PUBLISHED_BAND_LIMIT};

use vdm_torch::{Batch, Model, RunConfig};

/// Samples that are followed.
const STARTS: usize = 4;

/// The digits preset with a network of a few thousand weights.
fn unet(band_limit: f64) -> RunConfig {
    tiny(|c| c["network"]["band_limit"] = band_limit.into())
}

/// The swirl preset likewise.
fn mlp(band_limit: f64) -> RunConfig {
    let network = json!({"kind": "mlp", "width": 32, "depth": 1, "band_limit": band_limit});
    tiny(|c: &mut Value| {
        c["data"] = json!({"kind": "swirl", "items": 2000});
        c["network"] = network;
        c["head"] = "noise".into();
        c["training"]["batch"] = 128.into();
    })
}

/// After so many steps, in f64.
fn trained(config: &RunConfig, steps: usize) -> Model {
    let data = vdm_data::load(&config.data).unwrap();
    let mut trainer = config.trainer(&data, Device::Cpu).unwrap();
    let mut batches = trainer.batches(Arc::new(data.train.clone())).unwrap();
    for _ in 0..steps {
        trainer.train_step(&batches.next().unwrap().unwrap()).unwrap();
    }
    let average = trainer.average().model();
    let copy = Model::new(average.spec(), Seed(0), Device::Cpu).unwrap();
    let weights = average.parameters().named().into_iter().zip(copy.parameters().named());
    tch::no_grad(|| weights.for_each(|((_, from), (_, mut to))| to.copy_(&from)));
    copy.in_f64().unwrap()
}

fn starts(model: &Model) -> Batch {
    let shape = model.spec().shape;
    let noise: Vec<f32> = vdm_sample::prior(Seed(1), 0, STARTS * shape.dims());
    let size = [STARTS, shape.channels, shape.height, shape.width].map(|side| side as i64);
    Batch(Batch::from_slice(&noise, size, Device::Cpu).0.to_kind(Kind::Double))
}

/// Where a solver ends on so many steps, even in log-SNR.
fn end(model: &Model, solver: &SolverSpec, steps: usize) -> Tensor {
    let diffusion = &model.spec().diffusion;
    let grid = TimeGrid::uniform_log_snr(steps, &diffusion.schedule, diffusion.scaling).unwrap();
    let run = || solve(solver, model, starts(model), &grid, &mut NoNoise, |_, _, _| ());
    tch::no_grad(run).unwrap().latent.0
}

fn adaptive_end(model: &Model, tolerance: f64) -> Tensor {
    let solver = AdaptiveOde { absolute: tolerance, relative: tolerance, ..AdaptiveOde::default() };
    let diffusion = &model.spec().diffusion;
    let whole_way = TimeGrid::uniform_time(1, &diffusion.schedule, diffusion.scaling).unwrap();
    let end = solve(&solver, model, starts(model), &whole_way, &mut NoNoise, |_, _, _| ());
    end.unwrap().latent.0
}

/// What a clock does to solvers.
#[derive(Debug)]
struct Measured {
    /// Slope of the error of a second-order solver over two halvings of the steps, from 40 to 160.
    order: f64,
    /// Root mean square error of 160 steps.
    error: f64,
    /// Largest distance between the adaptive solver's end points at tolerances of 1e-6 and 1e-8.
    disagreement: f64,
}

fn found(model: &Model) -> Measured {
    let named = |json| serde_json::from_value::<SolverSpec>(json).unwrap();
    let fourth = named(json!({"kind": "exponential_adams", "order": 4}));
    let second = named(json!("dpm_solver_pp_2m"));
    let solution = end(model, &fourth, 2560);
    let error = |steps| {
        let off = end(model, &second, steps) - &solution;
        off.square().mean(Kind::Double).sqrt().double_value(&[])
    };
    let (coarse, fine) = (error(40), error(160));
    let apart = adaptive_end(model, 1e-6) - adaptive_end(model, 1e-8);
    Measured {
        order: (coarse / fine).log2() / 2.0,
        error: fine,
        disagreement: apart.abs().max().double_value(&[]),
    }
}

/// Measured: orders 2.0 and 0 to 0.2, errors of 3e-5 to 6e-5 and 4e-3 to 8e-3.
fn a_band_limit_gives_solvers_their_order(config: fn(f64) -> RunConfig, steps: usize) {
    let [limited, published] = [BAND_LIMIT, PUBLISHED_BAND_LIMIT]
        .map(|band_limit| found(&trained(&config(band_limit), steps)));
    assert!((1.8..2.4).contains(&limited.order), "{limited:?}");
    assert!(limited.error < 3e-4 && limited.disagreement < 3e-4, "{limited:?}");
    assert!(published.order < 1.0 && published.error > 20.0 * limited.error, "{published:?}");
    assert!(published.disagreement > 2.0 * limited.disagreement, "{published:?}, {limited:?}");
}

#[test]
fn solvers_have_their_order_on_a_trained_mlp() {
    a_band_limit_gives_solvers_their_order(mlp, 600);
}

#[test]
#[ignore = "trains and solves for half a minute: cargo xtask test --full"]
fn solvers_have_their_order_on_a_trained_unet() {
    a_band_limit_gives_solvers_their_order(unet, 300);
}
