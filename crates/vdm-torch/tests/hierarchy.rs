//! Hierarchies with a learned posterior.

mod common;

use std::rc::Rc;
use std::sync::Arc;

use common::tiny;

use tch::nn::{self, OptimizerConfig};
use tch::{Device, Kind, Tensor};
use vdm_core::Scaling;
use vdm_core::hlvm::{
    Components, Conditional, Distribution, Factorized, Hlvm, Integrals, Linear, Normal, layered,
};
use vdm_data::{Items, Shape, Source};
use vdm_sample::Seed;
use vdm_sample::estimate::Moments;
use vdm_sample::noise::{Purpose, fill_normal};
use vdm_torch::RunIdentity;
use vdm_torch::hierarchy::{
    Belief, Gaussian, Hierarchy, HierarchyDraws, HierarchyEvaluation, HierarchyModelSpec,
    HierarchySpec, HierarchyTraining, Inference, LayerSpec, LikelihoodSpec, Node,
};
use vdm_torch::nn::{Mode, Precision};
use vdm_torch::train::{Plan, Trainable, Trainer};

const KINDS: [Inference; 3] = [Inference::BottomUp, Inference::Ladder, Inference::TopDown];

fn layer(scale: usize, channels: i64) -> LayerSpec {
    LayerSpec { scale, channels, repeat: 1 }
}

fn spec(inference: Inference, layers: Vec<LayerSpec>) -> HierarchySpec {
    HierarchySpec {
        inference,
        layers,
        width: 8,
        blocks: 1,
        fourier: vec![],
        dropout: 0.0,
        scaled_residuals: false,
        likelihood: LikelihoodSpec::Categorical {},
        kl_warmup: 0,
        free_nats: 0.0,
        free_nats_steps: 0,
    }
}

/// Three layers over images of 6×5 pixels, whose weights have left their starting point.
fn model(inference: Inference) -> Hierarchy {
    let layers = vec![layer(4, 3), layer(2, 2), layer(1, 1)];
    let shape = Shape { channels: 2, height: 6, width: 5 };
    let spec = HierarchyModelSpec { shape, values: 5, hierarchy: spec(inference, layers) };
    let model = Hierarchy::new(&spec, Seed(3), Device::Cpu).unwrap();
    moved(&model);
    model
}

fn moved(model: &Hierarchy) {
    tch::set_num_threads(1);
    for (i, weight) in model.parameters().tensors().into_iter().enumerate() {
        let mut values = vec![0.0_f32; weight.numel()];
        let dims = values.len();
        fill_normal(&mut values, dims, Seed(5), Purpose::Initialization, i as u64, 0);
        let values = Tensor::from_slice(&values).view(weight.size().as_slice()) * 0.15;
        tch::no_grad(|| weight.shallow_clone().copy_(&values));
    }
}

fn values(items: i64) -> Tensor {
    let count = items * 60;
    let wave = (Tensor::arange(count, (Kind::Float, Device::Cpu)) * 0.7).sin();
    ((wave + 1.0) * 2.4).floor().to_kind(Kind::Uint8).view([items, 2, 6, 5])
}

/// Standard normals of each node in the order of inference.
fn noise(model: &Hierarchy, items: i64, seed: u64) -> Vec<Tensor> {
    let mut shapes = model.latents();
    if model.spec().hierarchy.inference != Inference::BottomUp {
        shapes.reverse();
    }
    let draw = |(i, shape): (usize, &Shape)| {
        let mut eps = vec![0.0_f32; items as usize * shape.dims()];
        fill_normal(&mut eps, shape.dims(), Seed(seed), Purpose::EvaluationNoise, i as u64, 0);
        let [c, h, w] = [shape.channels, shape.height, shape.width].map(|side| side as i64);
        Tensor::from_slice(&eps).view([items, c, h, w])
    };
    shapes.iter().enumerate().map(draw).collect()
}

fn sums(terms: &[(usize, Tensor)]) -> f64 {
    terms.iter().map(|(_, term)| term.sum(Kind::Double).double_value(&[])).sum()
}

/// Both graphs of every kind are walked: each term is finite, a layer has as many divergences as latents, and the
/// importance weights are those of the same draws: the mean over draws of the pointwise terms is the analytic one.
#[test]
fn both_forms_of_the_bound_agree_on_average() {
    for kind in KINDS {
        let model = model(kind);
        let data = tch::no_grad(|| model.data(&values(2), false));
        let graphs = model.graphs(2, false);
        let mut differences = vec![];
        for draw in 0..400 {
            let noise = noise(&model, 2, draw);
            let of = |integrals| {
                tch::no_grad(|| {
                    graphs.terms::<Belief<'_>>(std::slice::from_ref(&data), &noise, integrals)
                })
            };
            let (analytic, pointwise) = (of(Integrals::Analytic), of(Integrals::None));
            if draw == 0 {
                let mut sizes: Vec<_> =
                    analytic.iter().map(|(node, term)| (*node, term.size())).collect();
                sizes.sort();
                let wanted = [
                    (0, vec![2, 2, 6, 5]),
                    (1, vec![2, 1, 6, 5]),
                    (2, vec![2, 2, 3, 3]),
                    (3, vec![2, 3, 2, 2]),
                ];
                assert_eq!(sizes, wanted, "{kind:?}");
            }
            differences.push(sums(&analytic) - sums(&pointwise));
        }
        let n = differences.len() as f64;
        let mean = differences.iter().sum::<f64>() / n;
        let var = differences.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let error = (var / n).sqrt();
        println!("{kind:?}: {mean:.4} ± {error:.4}");
        assert!(error > 1e-6 && mean.abs() < 4.0 * error, "{kind:?}: {mean} ± {error}");
    }
}

/// Inference and generation share their path: with the data's features at zero the posterior is the prior to the
/// last bit, its divergence exactly 0, and what is inferred is what the prior generates from the same noise.
#[test]
fn m7_without_features_inference_is_the_prior_pass() {
    let model = model(Inference::TopDown);
    let values = values(2);
    let Node::Data { features, .. } = model.data(&values, false) else { panic!("data") };
    let zeros: Vec<Tensor> = features.iter().map(Tensor::zeros_like).collect();
    let data = Node::Data { values: values.shallow_clone(), features: zeros.into() };
    let (graphs, noise) = (model.graphs(2, false), noise(&model, 2, 1));
    let terms =
        graphs.terms::<Belief<'_>>(std::slice::from_ref(&data), &noise, Integrals::Analytic);
    for (node, term) in terms.iter().filter(|(node, _)| *node > 0) {
        assert_eq!(term.abs().max().double_value(&[]), 0.0, "layer {node}");
    }
    let inferred = graphs.infer(&[data], &noise, |_, _: &Belief<'_>, _, _| ());
    let generated = graphs.generate::<Belief<'_>>(&noise);
    let inferred = graphs.observe::<Belief<'_>>(&inferred);
    let logits = |beliefs: &[(usize, Belief<'_>)]| beliefs[0].1.log_probabilities();
    assert!(logits(&inferred).equal(&logits(&generated)));
    // With the features that the encoder gives, it is another.
    let data = model.data(&values, false);
    let terms = graphs.terms::<Belief<'_>>(&[data], &noise, Integrals::Analytic);
    assert!(terms.iter().any(|(node, term)| *node > 0 && sums(&[(0, -term)]) > 1e-3));
}

/// A mixture of logistics in place of a probability for each value: the walk takes from it what a coder takes, and
/// points of the plane have it too.
#[test]
fn values_may_be_numbers_to_the_decoder() {
    for shape in
        [Shape { channels: 2, height: 6, width: 5 }, Shape { channels: 1, height: 1, width: 2 }]
    {
        let hierarchy = HierarchySpec {
            likelihood: LikelihoodSpec::Logistics { components: 3 },
            ..spec(Inference::TopDown, vec![layer(2, 2), layer(1, 1)])
        };
        let spec = HierarchyModelSpec { shape, values: 5, hierarchy };
        let model = Hierarchy::new(&spec, Seed(3), Device::Cpu).unwrap();
        moved(&model);
        let [channels, height, width] =
            [shape.channels, shape.height, shape.width].map(|n| n as i64);
        let values = Tensor::arange(3 * channels * height * width, (Kind::Int64, Device::Cpu));
        let values = values.remainder(5).view([3, channels, height, width]).to_kind(Kind::Uint8);
        let data = model.data(&values, false);
        let (graphs, noise) = (model.graphs(3, false), noise(&model, 3, 1));
        let inferred = graphs.infer(&[data], &noise, |_, _: &Belief<'_>, _, _| ());
        let beliefs = graphs.observe::<Belief<'_>>(&inferred);
        let belief = &beliefs[0].1;
        let nats = belief.log_density(&inferred[&0]);
        assert_eq!(nats.size(), values.size());
        let table = belief.log_probabilities();
        let same = table.gather(2, &values.to_kind(Kind::Int64).unsqueeze(2), false).squeeze_dim(2);
        assert!(nats.allclose(&same, 1e-6, 1e-6, false));
        let Components::Categorical(coded) = belief.components().unwrap() else { panic!("values") };
        assert_eq!(coded.len() as i64, 5 * nats.numel() as i64);
        assert!(coded.chunks(5).all(|p| (p.iter().sum::<f32>() - 1.0).abs() < 1e-5));
        let samples = model.samples(Seed(1), 0, 4, 4, 1.0).unwrap();
        assert!(samples.len() == 4 * shape.dims() && samples.iter().all(|value| *value < 5));
    }
}

/// What an item's number is does not depend on the batch it is in, and rounds are its draws.
#[test]
fn a_bound_is_a_function_of_seed_item_and_draw() {
    for kind in KINDS {
        let model = model(kind);
        let pixels = Vec::<u8>::try_from(values(5).flatten(0, -1)).unwrap();
        let items = Items::new("waves".as_ref(), 60, pixels, None).unwrap();
        let judged =
            |batch| HierarchyEvaluation { model: &model, items: &items, seed: Seed(1), batch };
        let (one, all) = (judged(1).bound(3, |_| ()).unwrap(), judged(5).bound(3, |_| ()).unwrap());
        for (a, b) in one.estimate.items.iter().zip(&all.estimate.items) {
            assert!((a.mean() - b.mean()).abs() < 1e-3 * a.mean().abs(), "{a:?} {b:?}");
        }
        assert_eq!((all.estimate.rounds, all.layers.len()), (3, 3));
        let layers: f64 = all.layers.iter().map(|layer| layer.mean).sum();
        let distortion = all.estimate.term("distortion").unwrap().mean.mean;
        assert!((all.estimate.total.mean - distortion - layers).abs() < 1e-9);
        // More importance samples, a tighter bound: by more than rounding, on the same draws' mean.
        let iwae = |samples| judged(5).importance_weighted(samples, |_| ()).unwrap().total.mean;
        let (few, many) = (iwae(1), iwae(64));
        assert!(many < few, "{kind:?}: {many} {few}");
        assert!(judged(5).bound(0, |_| ()).unwrap_err().to_string().contains("draws = 0"));
    }
}

/// The product of two Gaussians as the laboratory has it, and their divergences, entropies and densities.
#[test]
fn tensors_have_the_laboratorys_formulas() {
    let model = model(Inference::Ladder);
    let data = model.data(&values(1), false);
    let graphs = model.graphs(1, false);
    let noise = noise(&model, 1, 2);
    let mut checked = 0;
    graphs.infer(std::slice::from_ref(&data), &noise, |node, q: &Belief<'_>, z, values| {
        let prior: Belief<'_> = graphs.generative().factor(node).unwrap().at(values).unwrap();
        let (Belief::Gaussian(q_), Belief::Gaussian(p_)) = (q, &prior) else { panic!("latents") };
        let scalar = |t: &Tensor| t.flatten(0, -1).double_value(&[0]);
        let normal = |mean: &Tensor, log_std: &Tensor| {
            Normal::new(scalar(mean), (2.0 * scalar(log_std)).exp())
        };
        let (own, p) = (normal(&q_.mean, &q_.log_std), normal(&p_.mean, &p_.log_std));
        for (found, wanted) in [
            (q.kl(&prior), own.kl(&p)),
            (q.entropy(), own.entropy()),
            (q.log_density(z), own.log_density(&scalar(z.value()))),
        ] {
            assert!((scalar(&found) - wanted).abs() < 1e-5, "{} {wanted}", scalar(&found));
        }
        checked += 1;
    });
    assert_eq!(checked, 3);
}

/// A conditional `N(b + w·parent, s²)` of tensors that learn.
struct Learned {
    weight: Tensor,
    bias: Tensor,
    log_std: Tensor,
}

impl Learned {
    fn new(path: &nn::Path) -> Self {
        Self {
            weight: path.var("weight", &[1], nn::Init::Const(0.5)),
            bias: path.zeros("bias", &[1]),
            log_std: path.zeros("log_std", &[1]),
        }
    }

    fn given(&self, parent: &Tensor) -> Gaussian<'static> {
        let mean = parent * &self.weight + &self.bias;
        let log_std = &self.log_std + mean.zeros_like();
        Gaussian::new(mean, log_std)
    }
}

type Boxed<'a> = Box<dyn Conditional<Belief<'a>> + 'a>;

/// `N(b + w·parent, s²)`, with the product of two where there are two parents.
fn linear<'a>(by_parent: &'a [Learned]) -> Boxed<'a> {
    Box::new(move |parents: &[Node]| {
        let given = |(learned, parent): (&'a Learned, &Node)| learned.given(parent.value());
        let each = by_parent.iter().zip(parents).map(given);
        Belief::Gaussian(each.reduce(|product, one| product.product(&one)).unwrap())
    })
}

/// The prior of a layer times what the data say of it: the posterior of a ladder.
fn evidence<'a>(prior: &'a [Learned], of_data: &'a Learned) -> Boxed<'a> {
    Box::new(move |parents: &[Node]| {
        let (data, above) = parents.split_last().unwrap();
        let evidence = of_data.given(data.value());
        let prior = match (prior, above) {
            ([prior], [above]) => prior.given(above.value()),
            _ => Gaussian::new(evidence.mean.zeros_like(), evidence.mean.zeros_like()),
        };
        Belief::Gaussian(prior.product(&evidence))
    })
}

fn standard<'a>(items: i64) -> Boxed<'a> {
    let zeros = move || Tensor::zeros([items, 1], (Kind::Float, Device::Cpu));
    Box::new(move |_: &[Node]| Belief::Gaussian(Gaussian::new(zeros(), zeros())))
}

/// On Gaussian data linear models of every direction of inference learn, by the walk's own gradient, the exact
/// likelihood: that of the laboratory's joint of the best Gaussian. Within 0.01 nats, of which the last draws'
/// error is 0.002.
#[test]
fn linear_models_reach_the_exact_likelihood() {
    tch::set_num_threads(1);
    let items = 512_i64;
    let mut eps = vec![0.0_f32; 512];
    fill_normal(&mut eps, 1, Seed(2), Purpose::Prior, 0, 0);
    let x: Vec<f32> = eps.iter().map(|e| 0.4 + 1.5 * e).collect();
    let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / 512.0;
    let var = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / 512.0;
    let graph = layered::generative(vec![vec![Linear::new(mean, [], var)]]);
    let joint = graph.joint().unwrap();
    let exact = x.iter().map(|x| joint.log_density(&[(0, f64::from(*x))])).sum::<f64>() / 512.0;
    let data = Node::Data {
        values: Tensor::from_slice(&x).view([items, 1]),
        features: Rc::from(Vec::new()),
    };
    for kind in KINDS {
        let store = nn::VarStore::new(Device::Cpu);
        let learned = |name: &str| Learned::new(&(store.root() / name));
        let (decoder, link) = ([learned("x|1")], [learned("1|2")]);
        // Parents of a top-down layer: the layer above, then the data; of the top layer: the data.
        let (top_down, top) = ([learned("q1|2"), learned("q1|x")], [learned("q2|x")]);
        let (lower, upper) = ([learned("q1|x bottom-up")], [learned("q2|1")]);
        let generative = || {
            layered::generative(vec![
                vec![linear(&decoder)],
                vec![linear(&link)],
                vec![standard(items)],
            ])
        };
        let model = match kind {
            Inference::BottomUp => Hlvm::new(
                generative(),
                layered::bottom_up(1, vec![vec![linear(&lower)], vec![linear(&upper)]]),
            ),
            Inference::Ladder => Hlvm::new(
                generative(),
                layered::top_down(
                    1,
                    vec![vec![evidence(&link, &top_down[1])], vec![evidence(&[], &top[0])]],
                ),
            ),
            Inference::TopDown => Hlvm::new(
                generative(),
                layered::top_down(1, vec![vec![linear(&top_down)], vec![linear(&top)]]),
            ),
        };
        let model = model.unwrap();
        let mut adam = nn::Adam::default().build(&store, 2e-2).unwrap();
        let bound = |step: u64| {
            let mut eps = vec![0.0_f32; 2 * items as usize];
            fill_normal(&mut eps, 2, Seed(9), Purpose::TrainingNoise, step, 0);
            let noise = Tensor::from_slice(&eps).view([items, 2]).chunk(2, 1);
            let terms =
                model.terms::<Belief<'_>>(std::slice::from_ref(&data), &noise, Integrals::Analytic);
            terms.into_iter().map(|(_, term)| term.mean(Kind::Double)).sum::<Tensor>()
        };
        for step in 0..1500 {
            if step == 1000 {
                adam.set_lr(2e-3);
            }
            adam.backward_step(&-bound(step));
        }
        let last: f64 = tch::no_grad(|| {
            (5000..5200).map(|step| bound(step).double_value(&[])).sum::<f64>() / 200.0
        });
        println!("{kind:?}: {last:.4}, exact {exact:.4}");
        assert!(last < exact + 0.01 && exact - last < 0.01, "{kind:?}: {last} {exact}");
    }
}

/// A model of one layer of two latents over points of two components.
fn plane() -> (Hierarchy, Items) {
    let shape = Shape { channels: 1, height: 1, width: 2 };
    let hierarchy = HierarchySpec { width: 16, ..spec(Inference::BottomUp, vec![layer(1, 2)]) };
    let model = HierarchyModelSpec { shape, values: 6, hierarchy };
    let model = Hierarchy::new(&model, Seed(4), Device::Cpu).unwrap();
    moved(&model);
    let pixels = (0..80_u16).map(|i| (i * 7 % 6) as u8).collect();
    (model, Items::new("points".as_ref(), 2, pixels, None).unwrap())
}

/// ELBO ≤ IWAE ≤ log p(x) by quadrature, on average over items, and many importance samples reach it: within four
/// standard errors of their draws, which are far below the gap of the bound.
#[test]
fn bounds_lie_below_the_likelihood_by_quadrature() {
    let (model, items) = plane();
    let judged = HierarchyEvaluation { model: &model, items: &items, seed: Seed(1), batch: 16 };
    let quadrature = |side: usize| -> Vec<f64> {
        let estimate = judged.exact(side, |_| ()).unwrap().unwrap();
        estimate.items.iter().map(Moments::mean).collect()
    };
    let exact = quadrature(200);
    // The rule itself: half the points change nothing.
    let coarse = quadrature(100);
    for (fine, coarse) in exact.iter().zip(&coarse) {
        assert!((fine - coarse).abs() < 1e-5, "{fine} {coarse}");
    }
    assert!(judged.exact(1, |_| ()).unwrap_err().to_string().contains("quadrature side = 1"));
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let exact = mean(&exact);
    let bound = judged.bound(64, |_| ()).unwrap().estimate.total;
    let seeds: Vec<f64> = (0..8)
        .map(|seed| {
            let judged = HierarchyEvaluation { seed: Seed(100 + seed), ..judged };
            judged.importance_weighted(512, |_| ()).unwrap().total.mean
        })
        .collect();
    let iwae = mean(&seeds);
    let var = seeds.iter().map(|s| (s - iwae).powi(2)).sum::<f64>() / 7.0;
    let error = (var / 8.0).sqrt();
    println!("bound {:.4}, iwae {iwae:.5} ± {error:.5}, exact {exact:.5}", bound.mean);
    assert!(bound.mean > exact + 4.0 * bound.draw_error.unwrap());
    assert!((iwae - exact).abs() < 4.0 * error + 1e-3 && error < 0.1 * (bound.mean - exact));
}

/// Rate = information + hole; information is at most the logarithm of the number of items; and where the posterior is
/// the prior whatever the item, all three vanish.
#[test]
fn m10_the_rate_is_information_and_a_hole() {
    let (model, items) = plane();
    let judged = HierarchyEvaluation { model: &model, items: &items, seed: Seed(1), batch: 16 };
    let found = judged.aggregate(200).unwrap().unwrap();
    println!("{found:?}");
    let sum = found.information.mean + found.hole.mean;
    assert!((found.rate.mean - sum).abs() < 1e-6, "{} {sum}", found.rate.mean);
    let bound = judged.bound(200, |_| ()).unwrap();
    let (rate, error) =
        (bound.estimate.term("rate").unwrap().mean.mean, found.rate.draw_error.unwrap());
    assert!((found.rate.mean - rate).abs() < 4.0 * error, "{} {rate} {error}", found.rate.mean);
    assert!((0.0..=40.0_f64.ln()).contains(&found.information.mean) && found.hole.mean > 0.0);
    // By the same posteriors, over the prior: KL(p‖q), which is not KL(q‖p), but as little below 0.
    let plane = judged.plane(2000).unwrap().unwrap();
    let mean = plane.log_ratio.iter().sum::<f64>() / 2000.0;
    assert!(mean > 0.0 && plane.items.len() == 40 && plane.drawn.len() == 2000, "{mean}");
    let mut normals = vec![0.0_f64; 4000];
    fill_normal(&mut normals, 2, Seed(1), Purpose::Prior, 0, 0);
    let off = plane.drawn.iter().flatten().zip(&normals).map(|(z, eps)| (z - eps).abs());
    assert!(off.fold(0.0, f64::max) < 1e-6, "latents of the prior are the normals of samples");
    // A bottom-up hierarchy has no density of its top layer given the item.
    let above = Hierarchy::new(
        &HierarchyModelSpec {
            hierarchy: spec(Inference::BottomUp, vec![layer(1, 2), layer(1, 2)]),
            ..model.spec().clone()
        },
        Seed(1),
        Device::Cpu,
    );
    let judged = HierarchyEvaluation { model: &above.unwrap(), ..judged };
    assert!(judged.aggregate(1).unwrap().is_none() && judged.exact(10, |_| ()).unwrap().is_none());
    assert_eq!(judged.plane(1).unwrap(), None);
    // Before any training a top-down posterior is its prior.
    let untrained = Hierarchy::new(
        &HierarchyModelSpec {
            hierarchy: spec(Inference::TopDown, vec![layer(1, 2)]),
            ..model.spec().clone()
        },
        Seed(1),
        Device::Cpu,
    );
    let judged = HierarchyEvaluation { model: &untrained.unwrap(), ..judged };
    let found = judged.aggregate(3).unwrap().unwrap();
    for term in [found.rate, found.information, found.hole] {
        assert!(term.mean.abs() < 1e-6, "{found:?}");
    }
    assert_eq!(judged.active().unwrap(), [0]);
    let ratios = judged.plane(100).unwrap().unwrap().log_ratio;
    assert!(ratios.iter().all(|ratio| ratio.abs() < 1e-6), "{ratios:?}");
}

/// A layer whose posterior is its prior tells nothing, and is named: rate 0 and no active latent, beside layers that
/// tell something.
#[test]
fn m9_a_layer_that_the_decoder_ignores_is_dead() {
    let model = model(Inference::TopDown);
    for (name, weight) in model.parameters().named() {
        if name.ends_with("difference.weight") {
            let factor = if name.starts_with("layers.2.") { 0.0 } else { 30.0 };
            let _ = tch::no_grad(|| weight.shallow_clone().g_mul_scalar_(factor));
        }
    }
    let pixels = Vec::<u8>::try_from(values(40).flatten(0, -1)).unwrap();
    let items = Items::new("waves".as_ref(), 60, pixels, None).unwrap();
    let judged = HierarchyEvaluation { model: &model, items: &items, seed: Seed(1), batch: 8 };
    let rates: Vec<f64> = judged.bound(2, |_| ()).unwrap().layers.iter().map(|l| l.mean).collect();
    let active = judged.active().unwrap();
    println!("{rates:?} {active:?}");
    assert!(rates[1] == 0.0 && active[1] == 0, "{rates:?} {active:?}");
    assert!(rates[0] > 0.01 && rates[2] > 0.01 && active[0] > 0 && active[2] > 0, "{rates:?}");
}

/// The loss of four items at a step, and its parts, in nats.
fn loss(training: &HierarchyTraining, step: u64, mode: Mode) -> (f64, Vec<f64>) {
    let dims = training.model().latent_dims();
    let mut noise = vec![0.0; 4 * dims];
    fill_normal(&mut noise, dims, Seed(2), Purpose::TrainingNoise, 1, 0);
    let draws = HierarchyDraws { step, noise };
    let values = values(4);
    let loss = training.loss(&values, &draws, 0..4, mode).unwrap();
    assert_eq!(loss.nats.kind(), Kind::Float);
    loss.nats.mean(Kind::Float).backward();
    let mean = |nats: &Tensor| nats.mean(Kind::Double).double_value(&[]);
    (mean(&loss.nats), loss.terms.iter().map(|(_, nats)| mean(nats)).collect())
}

fn trained(change: impl FnOnce(&mut HierarchySpec), inference: Inference) -> HierarchyTraining {
    let mut spec = model(inference).spec().clone();
    change(&mut spec.hierarchy);
    let model = Hierarchy::new(&spec, Seed(3), Device::Cpu).unwrap();
    moved(&model);
    HierarchyTraining::new(model, 4, Seed(1))
}

/// Free nats are in the place of a divergence below them, and fall along a line to nothing.
#[test]
fn free_nats_fall_to_nothing() {
    let spec = |s: &mut HierarchySpec| (s.free_nats, s.free_nats_steps) = (1e4, 10);
    let falls = trained(spec, Inference::TopDown);
    for (step, free) in [(1, 9e3), (5, 5e3), (9, 1e3)] {
        let (nats, parts) = loss(&falls, step, Mode::EVALUATION);
        let wanted = parts[0] + 3.0 * free;
        assert!((nats / wanted - 1.0).abs() < 1e-6, "step {step}: {nats}, not {wanted}");
    }
    for step in [10, 11, u64::MAX] {
        let (nats, parts) = loss(&falls, step, Mode::EVALUATION);
        let bound: f64 = parts.iter().sum();
        assert!((nats / bound - 1.0).abs() < 1e-6, "step {step}: {nats}, not {bound}");
    }
    let stays = trained(|s| s.free_nats = 1e4, Inference::TopDown);
    let (nats, parts) = loss(&stays, u64::MAX, Mode::EVALUATION);
    assert!((nats / (parts[0] + 3e4) - 1.0).abs() < 1e-6, "{nats}");
}

/// bf16 rounds products to 2^-9 of their size, a few dozen after each other: the loss of each kind moves, here by up to
/// 2e-4 of itself and for other processors' order of sums by no more than ten times that, and every weight that has a
/// gradient in f32 has one.
#[test]
fn hierarchies_train_in_bf16() {
    let half = Mode { precision: Precision::Bf16, ..Mode::EVALUATION };
    for kind in KINDS {
        let of = |mode| {
            let training = trained(|_| (), kind);
            let nats = loss(&training, 1, mode).0;
            let lengths: Vec<f64> = training
                .model()
                .parameters()
                .tensors()
                .iter()
                .map(|weight| {
                    let slope = weight.grad();
                    if slope.defined() { slope.norm().double_value(&[]) } else { 0.0 }
                })
                .collect();
            (nats, lengths)
        };
        let ((full, exact), (rounded, lengths)) = (of(Mode::EVALUATION), of(half));
        let off = (rounded / full - 1.0).abs();
        println!("{kind:?}: {off:.1e}");
        assert!(off > 0.0 && off < 2e-3, "{kind:?}: {rounded} for {full}");
        for (exact, length) in exact.iter().zip(&lengths) {
            assert!((length / exact - 1.0).abs() < 0.1 || *exact == 0.0, "{length} for {exact}");
        }
    }
}

/// What an autoencoder leaves of its prior without data, while its divergence has not reached its full weight, is far
/// from nothing, and for diffusion's `z_1` on the same data it is: there the posterior is fixed, and ends in noise (M66).
#[test]
fn m8_a_trained_autoencoder_has_a_hole_that_diffusion_has_not() {
    let data = vdm_data::load(&Source::Clusters { items: Some(1200) }).unwrap();
    let hierarchy = HierarchySpec {
        width: 32,
        kl_warmup: 3000,
        ..spec(Inference::BottomUp, vec![layer(1, 2)])
    };
    let spec = HierarchyModelSpec { shape: data.shape, values: data.values, hierarchy };
    let plan = Plan {
        identity: RunIdentity::new(&"clusters", &[]).unwrap(),
        ..tiny(|c| c["training"]["batch"] = 64.into()).plan().unwrap()
    };
    let make =
        || Ok(HierarchyTraining::new(Hierarchy::new(&spec, Seed(1), Device::Cpu)?, 256, Seed(1)));
    let mut trainer = Trainer::new(plan, &data, make).unwrap();
    let mut batches = trainer.batches(Arc::new(data.train.clone())).unwrap();
    for _ in 0..1000 {
        trainer.train_step(&batches.next().unwrap().unwrap()).unwrap();
    }
    let model = trainer.model().model();
    let judged = HierarchyEvaluation { model, items: &data.train, seed: Seed(1), batch: 256 };
    let hole = judged.aggregate(4).unwrap().unwrap().hole;
    println!("autoencoder: {:.3} ± {:.3}", hole.mean, hole.standard_error.unwrap());
    assert!(hole.mean - 4.0 * hole.standard_error.unwrap() > 0.1, "{hole:?}");
    // z_1 = αx + σε at log-SNR −13.3, in f64.
    let level = Scaling::VariancePreserving.level(-13.3);
    let x: Vec<[f64; 2]> =
        data.train.pixels().chunks(2).map(|p| [0, 1].map(|i| encoded(p[i]))).collect();
    let mut kl = Moments::default();
    for (i, own) in x.iter().enumerate() {
        let mut eps = [0.0_f64; 2];
        fill_normal(&mut eps, 2, Seed(4), Purpose::EvaluationNoise, 0, i as u64);
        let z = [0, 1].map(|d| level.alpha * own[d] + level.sigma * eps[d]);
        let log_normal = |mean: [f64; 2], std: f64| -> f64 {
            let square: f64 = (0..2).map(|d| ((z[d] - mean[d]) / std).powi(2)).sum();
            -0.5 * square - 2.0 * std.ln()
        };
        let weights = x.iter().map(|x| log_normal(x.map(|x| level.alpha * x), level.sigma).exp());
        let q = (weights.sum::<f64>() / x.len() as f64).ln();
        kl.add(q - log_normal([0.0; 2], 1.0));
    }
    println!("diffusion: {:.6} ± {:.6}", kl.mean(), kl.standard_error().unwrap());
    assert!(kl.mean().abs() + 4.0 * kl.standard_error().unwrap() < 0.01, "{kl:?}");
}

/// A data value in `[−1, 1]`.
fn encoded(value: u8) -> f64 {
    (f64::from(value) + 0.5) / 128.0 - 1.0
}
