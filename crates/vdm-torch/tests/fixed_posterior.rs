//! Diffusion as the end of the line of hierarchies: one whose posterior is fixed.

use std::collections::BTreeMap;
use std::rc::Rc;

use tch::{Device, Kind, Tensor};
use vdm_core::hlvm::{Conditional, Hlvm, Integrals, layered};
use vdm_core::{Denoiser, LogSnr, NoiseLevel, NoiseSchedule, Posterior, Scaling, Schedule, bound};
use vdm_data::{Items, Shape};
use vdm_sample::Seed;
use vdm_sample::estimate::{DiffusionTerm, Moments, Rounds};
use vdm_sample::noise::{Purpose, fill_normal};
use vdm_torch::hierarchy::{Belief, Gaussian, Node};
use vdm_torch::nn::{MlpSpec, NetworkSpec};
use vdm_torch::{Batch, Diffusion, Evaluation, Head, Model, ModelSpec};

type Boxed<'a> = Box<dyn Conditional<Belief<'a>> + 'a>;

/// The diffusion model of a network as a top-down hierarchy of `steps` layers and one: its posterior is fixed, and one
/// network serves all layers.
fn fixed_posterior(model: &Model, steps: usize, batch: i64) -> Hlvm<Boxed<'_>, Boxed<'_>> {
    let spec = model.spec();
    let level = move |i: usize| {
        let log_snr = spec.diffusion.schedule.log_snr(i as f64 / steps as f64);
        Scaling::VariancePreserving.level(log_snr.value())
    };
    let Shape { channels, height, width } = spec.shape;
    let size = [batch, channels as i64, height as i64, width as i64];
    let zeros = move || Tensor::zeros(size, (Kind::Float, Device::Cpu));
    let gaussian = |mean: Tensor, std: f64| {
        let log_std = mean.full_like(std.ln());
        Belief::Gaussian(Gaussian::new(mean, log_std))
    };
    let image = |node: &Node| model.encode(node.value()).0;
    let likelihood: Boxed<'_> = Box::new(move |parents: &[Node]| {
        let NoiseLevel { alpha, sigma, .. } = level(0);
        let values = i64::from(model.spec().values);
        let centers = (Tensor::arange(values, (Kind::Float, Device::Cpu)) + 0.5)
            * (2.0 / values as f64)
            - 1.0;
        let off = parents[0].value().unsqueeze(2) - centers.view([1, 1, -1, 1, 1]) * alpha;
        let logits = off.square() * (-0.5 / (sigma * sigma));
        Belief::Categorical { log_probabilities: logits.log_softmax(2, Kind::Float) }
    });
    let prior = |t: usize| -> Boxed<'_> {
        if t == steps {
            return Box::new(move |_: &[Node]| gaussian(zeros(), 1.0));
        }
        let (s, t) = (level(t), level(t + 1));
        let q = Posterior::between(&s, &t);
        Box::new(move |parents: &[Node]| {
            let z = Batch(parents[0].value().shallow_clone());
            let x = tch::no_grad(|| model.denoise(&z, &t).unwrap().image(&z, &t));
            gaussian(z.0 * q.on_z + x.0 * q.on_x, q.var.sqrt())
        })
    };
    let posterior = |t: usize| -> Boxed<'_> {
        if t == steps {
            let NoiseLevel { alpha, sigma, .. } = level(steps);
            return Box::new(move |parents: &[Node]| gaussian(image(&parents[0]) * alpha, sigma));
        }
        let q = Posterior::between(&level(t), &level(t + 1));
        Box::new(move |parents: &[Node]| {
            let mean = parents[0].value() * q.on_z + image(&parents[1]) * q.on_x;
            gaussian(mean, q.var.sqrt())
        })
    };
    let generative = (0..=steps).map(|t| vec![prior(t)]);
    let generative =
        layered::generative([vec![likelihood]].into_iter().chain(generative).collect());
    let inference = layered::top_down(1, (0..=steps).map(|t| vec![posterior(t)]).collect());
    Hlvm::new(generative, inference).unwrap()
}

fn waves() -> (Model, Vec<u8>, Node) {
    let shape = Shape { channels: 1, height: 2, width: 2 };
    let spec = ModelSpec {
        shape,
        values: 5,
        diffusion: Diffusion::variational(Schedule::linear(6.0, -4.0).unwrap()),
        network: NetworkSpec::Mlp(MlpSpec::new(8, 1)),
        head: Head::Noise,
        clock: None,
    };
    let model = Model::new(&spec, Seed(3), Device::Cpu).unwrap();
    let pixels: Vec<u8> = (0..64_u16).map(|i| (i * 3 % 5) as u8).collect();
    let data = Node::Data {
        values: Tensor::from_slice(&pixels).view([16, 1, 2, 2]),
        features: Rc::from(Vec::new()),
    };
    (model, pixels, data)
}

/// Standard normals of a draw for the latents of 16 items.
fn noise(steps: usize, draw: u64) -> Vec<Tensor> {
    let mut eps = vec![0.0_f32; 16 * 4 * (steps + 1)];
    fill_normal(&mut eps, 4, Seed(8), Purpose::EvaluationNoise, draw, 0);
    Tensor::from_slice(&eps).view([-1, 16, 1, 2, 2]).unbind(0)
}

fn nats(term: &Tensor) -> f64 {
    term.sum(Kind::Double).double_value(&[])
}

/// At the walk's own latents the divergence of every layer is the diffusion loss of its step, and with the prior term and
/// the likelihood of the data the bound is that of diffusion: to 1e-4 of each, the rounding of f32 in a difference of two
/// means divided by a small variance.
#[test]
fn m11_each_layers_divergence_is_the_loss_of_its_step() {
    let (model, pixels, data) = waves();
    let schedule = &model.spec().diffusion.schedule;
    let x = model.encode(&Tensor::from_slice(&pixels).view([16, 1, 2, 2])).0;
    for steps in [4, 16, 64, 256] {
        let graphs = fixed_posterior(&model, steps, 16);
        let data = std::slice::from_ref(&data);
        let terms = graphs.terms::<Belief<'_>>(data, &noise(steps, 0), Integrals::Analytic);
        let walked: BTreeMap<usize, f64> =
            terms.iter().map(|(node, term)| (*node, -nats(term))).collect();
        let values = graphs.infer(data, &noise(steps, 0), |_, _: &Belief<'_>, _, _| ());
        let level = |i: usize| {
            let log_snr = schedule.log_snr(i as f64 / steps as f64);
            Scaling::VariancePreserving.level(log_snr.value())
        };
        let loss = |i: usize| {
            let (s, t) = (level(i), level(i + 1));
            let z = values[&(i + 2)].value();
            let eps = (z - &x * t.alpha) / t.sigma;
            let z = Batch(z.shallow_clone());
            let predicted = tch::no_grad(|| model.denoise(&z, &t).unwrap().noise(&z, &t)).0;
            let factor = bound::discrete_factor(LogSnr::new(s.log_snr), LogSnr::new(t.log_snr));
            factor * nats(&(eps - predicted).square())
        };
        let likelihood = model.code();
        let clean = values[&1].value().flatten(0, -1) / level(0).alpha;
        let clean = Vec::<f64>::try_from(clean.to_kind(Kind::Double)).unwrap();
        let reconstruction = |(pixel, z): (&u8, &f64)| {
            let mut of_values = likelihood.log_probs(*z, schedule.log_snr(0.0));
            -of_values.nth(usize::from(*pixel)).unwrap()
        };
        let prior = |pixel: &u8| {
            bound::prior_kl(schedule.log_snr(1.0), likelihood.encode(u16::from(*pixel)))
        };
        let losses: Vec<f64> = (0..steps).map(loss).collect();
        for (i, loss) in losses.iter().enumerate() {
            let divergence = walked[&(i + 1)];
            assert!((divergence / loss - 1.0).abs() < 1e-4, "{i} of {steps}: {divergence}, {loss}");
        }
        let walked: f64 = walked.values().sum();
        let diffusion = losses.iter().sum::<f64>()
            + pixels.iter().zip(&clean).map(reconstruction).sum::<f64>()
            + pixels.iter().map(prior).sum::<f64>();
        println!("T = {steps}: {:.6} and {:.6} nats", walked / 16.0, diffusion / 16.0);
        assert!((walked / diffusion - 1.0).abs() < 1e-4, "T = {steps}: {walked} and {diffusion}");
    }
}

/// The walk that trains hierarchies gives, on a network's diffusion model of so many layers, what the estimator of `L_T`
/// gives: one bound (M11 on networks). Both are means over draws of the same items.
#[test]
fn m11_the_walk_of_a_networks_chain_is_its_bound() {
    let (model, pixels, data) = waves();
    let items = Items::new("waves".as_ref(), 4, pixels, None).unwrap();
    for steps in [4, 16] {
        let graphs = fixed_posterior(&model, steps, 16);
        let mut walked = Moments::default();
        for draw in 0..600 {
            let terms = graphs.terms::<Belief<'_>>(
                std::slice::from_ref(&data),
                &noise(steps, draw),
                Integrals::Analytic,
            );
            walked.add(-terms.iter().map(|(_, term)| nats(term)).sum::<f64>() / 16.0);
        }
        let evaluation = Evaluation::new(&model, &items, Seed(2), 16);
        let diffusion = DiffusionTerm::AllSteps { steps: steps as u32 };
        let bound = evaluation.bound(diffusion, Rounds::exactly(600), |_, _| ()).unwrap();
        let total = bound.estimate.total;
        let error = walked.standard_error().unwrap().hypot(total.draw_error.unwrap());
        let off = walked.mean() - total.mean;
        println!("T = {steps}: {:.4} and {:.4}, {off:.4} ± {error:.4}", walked.mean(), total.mean);
        assert!(off.abs() < 4.0 * error && error < 0.01 * total.mean, "{off} ± {error}");
    }
}
