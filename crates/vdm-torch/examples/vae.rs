//! The trainer knows no diffusion: a variational autoencoder of one latent layer (Kingma and Welling 2014) on
//! the swirl, with the batches, optimizer, average and checkpoints of any other training. Takes a number of steps.

use std::f64::consts::LN_2;
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use vdm_data::{Items, Shape};
use vdm_sample::Seed;
use vdm_sample::noise::{Purpose, fill_normal};
use vdm_torch::nn::layers::{Linear, Start};
use vdm_torch::nn::{Mode, Parameters};
use vdm_torch::train::{Loss, Plan, Trainable, Trainer};
use vdm_torch::{Batch, Error, PRESETS, RunConfig, RunIdentity};

const LATENTS: i64 = 2;
const VALUES: i64 = 256;

#[derive(Debug)]
struct Vae {
    parameters: Parameters,
    encoder: [Linear; 2],
    decoder: [Linear; 2],
    shape: Shape,
}

impl Vae {
    fn new(shape: Shape, seed: Seed) -> Self {
        let (parameters, dims) = (Parameters::new(seed, Device::Cpu), shape.dims() as i64);
        let layer =
            |name, from, to| Linear::new(&parameters.root().child(name), from, to, Start::FanIn);
        let encoder = [layer("encoder.0", dims, 64), layer("encoder.1", 64, 2 * LATENTS)];
        let decoder = [layer("decoder.0", LATENTS, 64), layer("decoder.1", 64, dims * VALUES)];
        Self { parameters, encoder, decoder, shape }
    }
    /// Log-probabilities of the values of each component, `[B, D, 256]`.
    fn decode(&self, z: &Tensor) -> Tensor {
        let out = through(&self.decoder, z).view([z.size()[0], -1, VALUES]);
        out.log_softmax(-1, Kind::Float)
    }
    /// `−log p(x|z)` and `KL(q(z|x) ‖ N(0, I))` in nats, `[B]` each, for one `z` from `q` by `eps`.
    fn terms(&self, values: &Tensor, eps: &Tensor) -> [Tensor; 2] {
        let x = values.flatten(1, -1).to_kind(Kind::Float) / 127.5 - 1.0;
        let code = through(&self.encoder, &x).chunk(2, 1);
        let (mean, log_std) = (&code[0], &code[1]);
        let index = values.flatten(1, -1).to_kind(Kind::Int64).unsqueeze(-1);
        let log_prob = self.decode(&(mean + log_std.exp() * eps)).gather(2, &index, false);
        let kl = ((log_std * 2.0).exp() + mean.square() - 1.0) * 0.5 - log_std;
        [Batch(-log_prob), Batch(kl)].map(|term| term.sum_per_item())
    }
}
fn through([first, second]: &[Linear; 2], x: &Tensor) -> Tensor {
    second.forward(&first.forward(x).silu())
}
fn latents(eps: &[f32]) -> Tensor {
    Tensor::from_slice(eps).view([-1, LATENTS])
}

impl Trainable for Vae {
    type Draws = Vec<f32>;
    type Bound = f64;

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }
    fn shape(&self) -> Shape {
        self.shape
    }
    fn spec(&self) -> Result<Value, Error> {
        Ok(json!({"kind": "vae", "latents": LATENTS}))
    }
    fn draws(&self, seed: Seed, batch: usize) -> Box<dyn FnMut(u64) -> Vec<f32> + Send> {
        Box::new(move |step| {
            let mut eps = vec![0.0; batch * LATENTS as usize];
            fill_normal(&mut eps, LATENTS as usize, seed, Purpose::TrainingNoise, step, 0);
            eps
        })
    }
    fn loss<'a>(
        &'a self,
        values: &'a Tensor,
        eps: &'a Vec<f32>,
        items: Range<usize>,
        _: Mode,
    ) -> Result<Loss<'a>, Error> {
        let eps = latents(&eps[items.start * LATENTS as usize..items.end * LATENTS as usize]);
        let [distortion, rate] = self.terms(values, &eps);
        let loss = Loss::of(&distortion + &rate);
        Ok(Loss { terms: vec![("distortion", distortion), ("rate", rate)], ..loss })
    }
    fn validate(&self, items: &Items) -> Result<f64, Error> {
        let values = Tensor::from_slice(items.pixels()).view([items.len() as i64, -1]);
        let eps = latents(&self.draws(Seed(2), items.len())(0));
        let nats: Tensor = tch::no_grad(|| self.terms(&values, &eps).iter().sum());
        Ok(nats.mean(Kind::Double).double_value(&[]) / self.shape.dims() as f64 / LN_2)
    }
    fn samples(&self, count: usize) -> Result<Vec<u8>, Error> {
        let z = latents(&self.draws(Seed(3), count)(0));
        let values = tch::no_grad(|| self.decode(&z)).argmax(-1, false).to_kind(Kind::Uint8);
        Ok(Vec::try_from(values.flatten(0, -1))?)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let steps = std::env::args().nth(1).map_or(Ok(60), |steps| steps.parse())?;
    let preset: RunConfig = serde_json::from_str(PRESETS[1].1)?;
    let data = vdm_data::load(&preset.data)?;
    let plan = Plan { identity: RunIdentity::new(&"a VAE", &[])?, ..preset.plan()? };
    let mut trainer = Trainer::new(plan, &data, || Ok(Vae::new(data.shape, Seed(1))))?;
    let mut batches = trainer.batches(Arc::new(data.train.clone()))?;
    while trainer.steps_done() < steps {
        let report = trainer.train_step(&batches.next().ok_or("no batch")??)?;
        println!("step {}: {:.3} nats, of them {:?}", report.step, report.loss, report.terms);
    }
    println!("validation: {:.3} bits/dim", trainer.average().validate(&data.validation)?);
    Ok(())
}
