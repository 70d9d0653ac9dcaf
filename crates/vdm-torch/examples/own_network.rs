//! A network, a weighting and a schedule that vdm-torch does not have, trained on the digits: a small
//! diffusion transformer (Peebles and Xie 2023).
//!
//! ```text
//! cargo run --release -p vdm-torch --example own_network [STEPS]
//! ```

use std::error::Error;
use std::sync::Arc;

use tch::{Device, Tensor};
use vdm_core::schedule::{Curve, LogSnrRange, Time};
use vdm_core::{Real, Scalar, Scaling, Schedule, Weighting};
use vdm_data::{Shape, Source};
use vdm_sample::Seed;
use vdm_torch::diffusion::{DiffusionPlan, DiffusionTraining, ObjectiveSpec};
use vdm_torch::nn::layers::{AdaptiveLayerNorm, LayerNorm, Linear, MultiHeadAttention, Start};
use vdm_torch::nn::layers::{BAND_LIMIT, TimeEmbedding};
use vdm_torch::nn::{Initial, Network, NetworkSpec, Requirements, Scope};
use vdm_torch::train::{Plan, Trainable, Trainer};
use vdm_torch::{Diffusion, Head, Model, ModelSpec, RunConfig, RunIdentity};

/// λ = 7 − 11·t^1.2, which lingers near the data.
#[derive(Debug)]
struct Lingering;

impl Curve for Lingering {
    fn ends(&self) -> LogSnrRange {
        LogSnrRange::new(7.0, -4.0).unwrap()
    }
    fn at<C: Scalar>(&self, at: &Time<C>) -> C {
        at.t.lift(7.0) - at.t.lift(11.0) * at.t.powf(1.2)
    }
    fn inverse<C: Scalar>(&self, log_snr: &C) -> Time<C> {
        Time::new(((log_snr.lift(7.0) - *log_snr) / log_snr.lift(11.0)).powf(1.0 / 1.2))
    }
}

/// Attention, then a perceptron, each normalized and gated by the noise level.
#[derive(Debug)]
struct Block {
    modulation: [AdaptiveLayerNorm; 2],
    attention: MultiHeadAttention,
    perceptron: [Linear; 2],
}

/// A transformer over squares of pixels.
#[derive(Debug)]
struct Dit {
    patch: i64,
    time: TimeEmbedding,
    condition: Linear,
    input: Linear,
    position: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
    output: Linear,
}

impl Dit {
    fn new(shape: Shape, requirements: Requirements, scope: &Scope<'_>) -> Self {
        let (patch, width, depth, heads) = (2, 64, 3, [4, 16]);
        let pixels = shape.channels as i64 * patch * patch;
        let tokens = (shape.height * shape.width) as i64 / (patch * patch);
        let block = |i: i64| {
            let place = scope.child(format!("blocks.{i}"));
            let norm = |name| AdaptiveLayerNorm::new(&place.child(name), width, width);
            let linear = |name, from, to| Linear::new(&place.child(name), from, to, Start::FanIn);
            let attention = place.child("attention");
            Block {
                modulation: [norm("modulation.0"), norm("modulation.1")],
                attention: MultiHeadAttention::new(&attention, width, heads, requirements),
                perceptron: [linear("mlp.0", width, 4 * width), linear("mlp.1", 4 * width, width)],
            }
        };
        let outputs = pixels * requirements.outputs_per_channel;
        Self {
            patch,
            time: TimeEmbedding::new(width, BAND_LIMIT, scope.device()),
            condition: Linear::new(&scope.child("condition"), width, width, Start::FanIn),
            input: Linear::new(&scope.child("input"), pixels, width, Start::FanIn),
            position: scope.tensor("position", &[tokens, width], Initial::Uniform { bound: 0.02 }),
            blocks: (0..depth).map(block).collect(),
            norm: LayerNorm::new(&scope.child("norm"), width, 1e-6),
            output: Linear::new(&scope.child("output"), width, outputs, Start::Zero),
        }
    }
}

impl Network for Dit {
    fn forward(&self, z: &Tensor, time: &Tensor, _train: bool) -> Tensor {
        let condition = self.condition.forward(&self.time.forward(time));
        // [B, C, H, W] to [B, N, pixels of a square].
        let squares = z.pixel_unshuffle(self.patch);
        let (_, _, rows, columns) = squares.size4().unwrap();
        let tokens = squares.flatten(2, 3).transpose(1, 2);
        let mut h = self.input.forward(&tokens) + &self.position;
        for Block { modulation: [first, second], attention, perceptron: [wide, narrow] } in
            &self.blocks
        {
            h = first.residual(&h, &condition, |x| attention.forward(x));
            h = second.residual(&h, &condition, |x| narrow.forward(&wide.forward(x).gelu("none")));
        }
        let out = self.output.forward(&self.norm.forward(&h)).transpose(1, 2);
        out.reshape([z.size()[0], -1, rows, columns]).pixel_shuffle(self.patch)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let steps = std::env::args().nth(1).map_or(Ok(20), |steps| steps.parse())?;
    let (seed, data) = (Seed(1), vdm_data::load(&Source::Digits {})?);
    let spec = ModelSpec {
        shape: data.shape,
        values: data.values,
        diffusion: Diffusion {
            schedule: Schedule::custom("lingering", Lingering),
            scaling: Scaling::VariancePreserving,
            weighting: Weighting::custom("gentle", |log_snr| -log_snr.softplus().sqrt()),
        },
        network: NetworkSpec::Custom { name: "dit".into(), settings: serde_json::Value::Null },
        head: Head::Velocity,
        clock: None,
    };
    // Length, batches, optimizer and output as the preset has them.
    let preset: RunConfig = serde_json::from_str(vdm_torch::PRESETS[0].1)?;
    let plan = Plan { identity: RunIdentity::new(&spec, &[])?, ..preset.plan()? };
    let of_diffusion = DiffusionPlan {
        objective: ObjectiveSpec::default(),
        optimizer: preset.training.optimizer.clone(),
        sampler: preset.model.sampler.clone(),
        batch: 64,
        seed,
    };
    let mut trainer = Trainer::new(plan, &data, || {
        let build =
            |shape, requirements, scope: &Scope<'_>| Ok(Dit::new(shape, requirements, scope));
        let model = Model::with_network(&spec, seed, Device::Cpu, build)?;
        DiffusionTraining::new(model, &of_diffusion)
    })?;
    let mut batches = trainer.batches(Arc::new(data.train.clone()))?;
    while trainer.steps_done() < steps {
        let report = trainer.train_step(&batches.next().ok_or("no batch")??)?;
        println!("step {}: {:.1} nats, weighted", report.step, report.loss);
    }
    let bound = trainer.average().validate(&data.validation)?;
    println!("validation: {:.3} bits/dim", bound.bits_per_dim);
    Ok(())
}
