//! A network as a denoiser like any other: many latents in one pass, Jacobians, and what rests on
//! them.

#[path = "common/moved.rs"]
mod moved;

use moved::move_weights;
use serde_json::json;
use tch::{Device, Kind, Tensor};
use vdm_core::{Denoiser, Divergence, LogSnr, NoiseLevel, Prediction, Scaling, Schedule, Vjp};
use vdm_data::Shape;
use vdm_sample::likelihood::{FlowLikelihood, ProbeDistribution, ProbeSource, Probes};
use vdm_sample::{AdaptiveOde, InnerProduct, SamplerSpec, Seed};
use vdm_torch::nn::{MlpSpec, NetworkSpec};
use vdm_torch::{Batch, Diffusion, Error, Head, Model, ModelSpec};

const HEADS: [Head; 4] = [Head::Noise, Head::Image, Head::Velocity, Head::Categorical];
const SCALINGS: [Scaling; 3] =
    [Scaling::VariancePreserving, Scaling::VarianceExploding, Scaling::StraightLine];
const POINTS: Shape = Shape { channels: 1, height: 1, width: 2 };

/// A small network whose weights have left their starting point.
fn model(head: Head, shape: Shape) -> Model {
    let spec = ModelSpec {
        shape,
        values: 16,
        diffusion: Diffusion::variational(Schedule::linear(6.0, -6.0).unwrap()),
        network: NetworkSpec::Mlp(MlpSpec::new(8, 1)),
        head,
        clock: None,
    };
    let model = Model::new(&spec, Seed(5), Device::Cpu).unwrap();
    move_weights(&model, 0.2);
    model
}

/// So many points, standard normal.
fn points(seed: u64, items: usize) -> Batch {
    let z: Vec<f32> = vdm_sample::prior(Seed(seed), 0, 2 * items);
    Batch::from_slice(&z, [items as i64, 1, 1, 2], Device::Cpu)
}

fn largest_difference(a: &Batch, b: &Batch) -> f64 {
    assert_eq!(a.0.size(), b.0.size());
    (&a.0 - &b.0).abs().max().double_value(&[])
}

/// A network in f64 answers as in f32 but for rounding, whatever its head, and latents of either kind in
/// theirs.
#[test]
fn models_run_in_f64() {
    let at = Scaling::VariancePreserving.level(0.5);
    for head in HEADS.into_iter().chain([Head::Energy, Head::Edm { data_std: 0.5 }]) {
        let z = points(1, 8);
        let single = model(head, POINTS).denoise(&z, &at).unwrap().value;
        let double = model(head, POINTS).in_f64().unwrap();
        let wide = double.denoise(&Batch(z.0.to_kind(Kind::Double)), &at).unwrap().value;
        let narrow = double.denoise(&z, &at).unwrap().value;
        assert_eq!([&narrow, &wide].map(|answer| answer.0.kind()), [Kind::Float, Kind::Double]);
        for [a, b] in [[&single, &narrow], [&narrow, &wide]] {
            let off = largest_difference(a, b);
            assert!(off > 0.0 && off < 1e-5, "{head:?}: {off}");
        }
    }
}

/// Kernels for other batch sizes add up in other orders: a few roundings of f32.
#[test]
fn latents_that_share_a_pass_are_answered_as_if_alone() {
    for head in HEADS {
        let model = model(head, POINTS);
        let latents = [(1, -3.0, 0), (3, 0.5, 1), (1, 2.0, 2), (2, 0.5, 0)]
            .map(|(items, log_snr, s)| (points(items as u64, items), SCALINGS[s].level(log_snr)));
        let asked: Vec<_> = latents.iter().map(|(z, at)| (z, *at)).collect();
        let together = model.denoise_each(&asked).unwrap();
        for (one, (z, at)) in together.iter().zip(&latents) {
            let alone = model.denoise(z, at).unwrap();
            assert_eq!(one.of, alone.of, "{head:?} {at:?}");
            assert!(largest_difference(&one.value, &alone.value) < 1e-5, "{head:?} {at:?}");
        }
        assert!(model.denoise_each(&[]).unwrap().is_empty());
    }
}

/// Central differences at a step of 0.01: their truncation and the rounding of f32 over the step
/// are each about 1e-4 of derivatives of order 1.
fn directional(model: &Model, z: &Batch, at: &NoiseLevel, v: &Batch) -> Batch {
    let step = 0.01 * at.sigma.max(at.alpha);
    let moved = |h: f64| model.denoise(&Batch(&z.0 + &v.0 * h), at).unwrap().value.0;
    Batch((moved(step) - moved(-step)) / (2.0 * step))
}

/// With `u` and `v` at random, `uᵀ(∂o/∂z)ᵀv` is the derivative along `u`, times `v`; for whatever
/// the network predicts, also at levels of other scalings, and where gradients are turned off.
#[test]
fn products_are_those_of_the_jacobian_of_what_is_handed_on() {
    for head in HEADS {
        let model = model(head, POINTS);
        let latents: Vec<(Batch, NoiseLevel)> =
            SCALINGS.iter().zip([1, 2, 1]).map(|(s, n)| (points(7, n), s.level(-0.4))).collect();
        let directions: Vec<Vec<Batch>> = latents
            .iter()
            .zip([2_u64, 1, 0])
            .map(|((z, _), n)| (0..n).map(|k| points(20 + k, z.0.size()[0] as usize)).collect())
            .collect();
        let asked: Vec<_> =
            latents.iter().zip(&directions).map(|((z, at), v)| (z, *at, v.as_slice())).collect();
        let answers = tch::no_grad(|| model.denoise_with_vjp_each(&asked)).unwrap();
        for ((prediction, products), (z, at, v)) in answers.iter().zip(&asked) {
            let alone = model.denoise(z, at).unwrap();
            assert_eq!(prediction.of, alone.of);
            assert!(largest_difference(&prediction.value, &alone.value) < 1e-5);
            assert!(!prediction.value.0.requires_grad());
            assert_eq!(products.len(), v.len());
            for (product, v) in products.iter().zip(*v) {
                let u = points(40, z.0.size()[0] as usize);
                let (got, wanted) = (u.dot(product), v.dot(&directional(&model, z, at, &u)));
                let scale = 1.0 + wanted.abs();
                assert!((got - wanted).abs() < 3e-3 * scale, "{head:?} {at:?}: {got}, {wanted}");
            }
        }
        assert!(model.parameters().tensors().iter().all(|w| !w.grad().defined()));
    }
}

#[test]
fn the_trace_is_that_of_all_products_with_units() {
    for head in HEADS {
        let model = model(head, POINTS);
        let at = Scaling::StraightLine.level(0.3);
        let z = points(3, 2);
        let (_, trace) = model.denoise_with_trace(&z, &at).unwrap();
        let unit = |i: usize| {
            let mut values = [0.0_f32; 4];
            values[i] = 1.0;
            Batch::from_slice(&values, [2, 1, 1, 2], Device::Cpu)
        };
        let units = [0, 1, 2, 3].map(unit);
        let (_, products) = model.denoise_with_vjp(&z, &at, &units).unwrap();
        let wanted: f64 = products.iter().zip(&units).map(|(p, u)| p.dot(u)).sum();
        assert!((trace - wanted).abs() < 1e-5 * (1.0 + wanted.abs()), "{trace}, not {wanted}");
    }
}

#[test]
fn an_exact_trace_of_large_items_is_refused_for_an_estimate() {
    let model = model(Head::Noise, Shape { channels: 1, height: 16, width: 17 });
    let z = Batch(Tensor::zeros([1, 1, 16, 17], (Kind::Float, Device::Cpu)));
    let error = model.denoise_with_trace(&z, &Scaling::StraightLine.level(0.0)).unwrap_err();
    assert!(error.to_string().contains("= 272: use at most 256, or estimate"), "{error}");
}

/// The model with its derivatives from differences.
struct Differences(Model);

impl Denoiser<Batch> for Differences {
    type Error = Error;
    fn denoise(&self, z: &Batch, at: &NoiseLevel) -> Result<Prediction<Batch>, Error> {
        self.0.denoise(z, at)
    }
}

impl Divergence<Batch> for Differences {
    fn denoise_with_trace(
        &self,
        z: &Batch,
        at: &NoiseLevel,
    ) -> Result<(Prediction<Batch>, f64), Error> {
        let units = [[1.0, 0.0], [0.0, 1.0]]
            .map(|unit| Batch::from_slice(&unit, [1, 1, 1, 2], Device::Cpu));
        let trace = units.iter().map(|v| v.dot(&directional(&self.0, z, at, v))).sum();
        Ok((self.0.denoise(z, at)?, trace))
    }
}

fn likelihood(scaling: Scaling) -> FlowLikelihood {
    let solver = AdaptiveOde { absolute: 1e-5, relative: 1e-5, ..AdaptiveOde::default() };
    let (data, noise) = (LogSnr::new(5.0), LogSnr::new(-5.0));
    FlowLikelihood { solver, data, noise, scaling, prior_std: None }
}

/// Tolerances: steps of 1e-5 add up to about 1e-4 nats, and differences in f32 are good for 1e-3; Hutchinson's estimate is within 4 of its own standard errors, a false alarm of 6e-5 per
/// sample for a fresh seed.
#[test]
fn likelihoods_by_trace_by_probes_and_by_differences_agree() {
    let model = model(Head::Velocity, POINTS);
    let samples = || (0..3).map(|i| points(50 + i, 1)).collect::<Vec<_>>();
    let settings = likelihood(Scaling::VariancePreserving);
    let exact = settings.exact(&model, samples()).unwrap();
    let distribution = ProbeDistribution::Gaussian;
    let probes = Probes { seed: Seed(2), first_sample: 0, count: 50, distribution };
    let estimates = settings.hutchinson(&model, samples(), &probes).unwrap();
    let differences = settings.exact(&Differences(model), samples()).unwrap();
    for ((exact, estimate), differences) in exact.iter().zip(&estimates).zip(&differences) {
        let wanted = exact.nats();
        let error = estimate.standard_error.unwrap();
        assert!(error > 0.0 && error < 0.5, "{error}");
        assert!((estimate.nats() - wanted).abs() < 4.0 * error + 1e-4, "{estimate:?} {exact:?}");
        assert!((differences.nats() - wanted).abs() < 5e-3, "{differences:?} {exact:?}");
        assert!(exact.log_det.abs() > 0.05, "the flow changes volumes: {exact:?}");
    }
}

/// A latent of another scaling is `c` times as long, and its density smaller by `c` per component.
#[test]
fn likelihoods_are_those_of_every_scaling() {
    let model = model(Head::Velocity, POINTS);
    let own = Scaling::VariancePreserving.level(5.0);
    let wanted =
        likelihood(Scaling::VariancePreserving).exact(&model, vec![points(60, 1)]).unwrap();
    for scaling in [Scaling::VarianceExploding, Scaling::StraightLine] {
        let c = scaling.level(5.0).alpha / own.alpha;
        let z = Batch(points(60, 1).0 * c);
        let got = likelihood(scaling).exact(&model, vec![z]).unwrap();
        let difference = got[0].nats() + 2.0 * c.ln() - wanted[0].nats();
        assert!(difference.abs() < 2e-3, "{scaling:?}: {difference}");
    }
}

/// The set that shares a pass shrinks as samples arrive. Ends agree to what the errors of all steps
/// add up to, because rounding may move a step.
#[test]
fn samples_of_one_adaptive_run_take_steps_of_their_own() {
    let model = model(Head::Velocity, POINTS);
    let solver = AdaptiveOde { absolute: 1e-5, relative: 1e-5, ..AdaptiveOde::default() };
    let solve = |samples: Vec<Batch>| {
        let (from, to) = (LogSnr::new(-5.0), LogSnr::new(5.0));
        solver.solve_each(&model, samples, from, to, Scaling::VariancePreserving).unwrap()
    };
    let start = |scale: f64| Batch(points(70, 1).0 * scale);
    let scales = [0.1, 1.0, 8.0];
    let together = solve(scales.map(start).into());
    for (end, scale) in together.iter().zip(scales) {
        let alone = solve(vec![start(scale)]).remove(0);
        let size = 1.0 + alone.latent.0.abs().max().double_value(&[]);
        assert!(largest_difference(&end.latent, &alone.latent) < 1e-3 * size, "{scale}");
    }
    let calls: Vec<usize> = together.iter().map(|end| end.statistics.calls).collect();
    assert!(calls.windows(2).any(|pair| pair[0] != pair[1]), "all took {calls:?}");
}

/// Sample 3 of a seed is the same alone and beside others, but for a level of its data where the
/// tolerance leaves it between two.
#[test]
fn samplers_that_choose_their_steps_draw_samples() {
    let model = model(Head::Velocity, POINTS);
    for json in [
        json!({"solver": "adaptive_ode", "guidance": "dynamic_threshold"}),
        json!({"solver": "bogacki_shampine_32", "guidance": "clip", "noise": "antithetic"}),
        json!({"solver": "dpm_adaptive", "noise": "antithetic"}),
    ] {
        let sampler: SamplerSpec = serde_json::from_value(json.clone()).unwrap();
        let draw = |first, count, keep| {
            vdm_torch::sample(&model, &sampler, Seed(9), first, count, 4, keep).unwrap()
        };
        let all = draw(0, 5, 3);
        assert_eq!(all.pixels.len(), 10);
        assert_eq!(all.snapshots.iter().map(Vec::len).collect::<Vec<_>>(), [10; 3]);
        let alone = draw(3, 1, 0).pixels;
        for (alone, beside) in alone.iter().zip(&all.pixels[6..8]) {
            assert!(alone.abs_diff(*beside) <= 1, "{json}: {alone}, not {beside}");
        }
    }
}

#[test]
fn inner_products_are_taken_in_f64() {
    // In f32 the second component would be lost beside the first.
    let z = Batch::from_slice(&[1e4, 1e-1], [1, 1, 1, 2], Device::Cpu);
    let tenth = f64::from(0.1_f32);
    assert_eq!(z.dot(&z), 1e8 + tenth * tenth);
    assert_eq!(InnerProduct::len(&z), 2);
}

#[test]
fn directions_of_a_sample_do_not_depend_on_how_samples_are_put_together() {
    for distribution in [ProbeDistribution::Rademacher, ProbeDistribution::Gaussian] {
        let probes = Probes { seed: Seed(8), first_sample: 4, count: 2, distribution };
        let pair = probes.draw(&points(1, 2), 1);
        assert_eq!(pair.len(), 2);
        for item in 0..2 {
            let alone = probes.draw(&points(1, 1), 2 + item);
            for (pair, alone) in pair.iter().zip(&alone) {
                assert_eq!(pair.0.narrow(0, item as i64, 1), alone.0);
            }
        }
    }
}
