//! The networks: shapes, starting points, and what they refuse.

#[path = "common/moved.rs"]
mod moved;

use moved::move_weights;
use serde_json::json;
use tch::{Device, Kind, Tensor};
use vdm_core::{Denoiser, Parameterization, Scaling, Schedule};
use vdm_data::Shape;
use vdm_sample::grid::GridKind;
use vdm_sample::spec::Entry;
use vdm_sample::{
    Ddim, DpmSolverMultistep, Method, NoNoise, SamplerSpec, Seed, SolverSpec, TimeGrid, solve,
};
use vdm_torch::nn::{
    Attention, BAND_LIMIT, MlpSpec, NetworkSpec, PUBLISHED_BAND_LIMIT, Parameters, Requirements,
    TrunkSpec, UNetSpec,
};
use vdm_torch::{Batch, Diffusion, Head, Model, ModelSpec};

fn unet(patch: i64) -> UNetSpec {
    UNetSpec {
        width: 8,
        depth: 2,
        groups: 4,
        fourier: vec![0, 1],
        band_limit: BAND_LIMIT,
        attention: Attention::Middle,
        dropout: 0.0,
        patch,
        output_kernel: 3,
        trunk: None,
    }
}

fn with_trunk() -> UNetSpec {
    UNetSpec { trunk: Some(TrunkSpec { factor: 2, width: 12, depth: 2 }), ..unet(1) }
}

fn spec(network: NetworkSpec, shape: Shape, head: Head) -> ModelSpec {
    ModelSpec {
        shape,
        values: 16,
        diffusion: Diffusion::variational(Schedule::linear(8.0, -5.0).unwrap()),
        network,
        head,
        clock: None,
    }
}

const ONE_OUTPUT: Requirements =
    Requirements { outputs_per_channel: 1, twice_differentiable: false };

const COLOR: Shape = Shape { channels: 3, height: 4, width: 6 };

fn latents(seed: u64, shape: Shape) -> Batch {
    let z: Vec<f32> = vdm_sample::prior(Seed(seed), 0, 2 * shape.dims());
    let size = [2, shape.channels, shape.height, shape.width].map(|s| s as i64);
    Batch::from_slice(&z, size, Device::Cpu)
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

/// A solver that adds noise back has no use for a path that is followed once.
#[test]
fn noise_that_does_not_serve_a_solver_is_refused() {
    let network = NetworkSpec::Unet(unet(1));
    let model = Model::new(&spec(network, COLOR, Head::Noise), Seed(4), Device::Cpu).unwrap();
    for solver in ["churn", "restart"] {
        let sampler = json!({
            "solver": solver, "grid": "uniform_time", "steps": 8, "noise": "brownian"
        });
        let sampler = serde_json::from_value(sampler).unwrap();
        let error = vdm_torch::sample(&model, &sampler, Seed(9), 0, 1, 1, 0).unwrap_err();
        assert!(error.to_string().contains("use independent noise"), "{solver}: {error}");
    }
}

/// The last layer starts at zero: an untrained network answers with the best guess that does not
/// look at other pixels.
#[test]
fn an_untrained_network_gives_the_best_guess_of_its_head() {
    let points = Shape { channels: 1, height: 1, width: 2 };
    let networks = [
        (NetworkSpec::Unet(unet(1)), COLOR),
        (NetworkSpec::Unet(unet(2)), COLOR),
        (NetworkSpec::Unet(with_trunk()), COLOR),
        (
            NetworkSpec::Mlp(MlpSpec {
                width: 8,
                depth: 2,
                fourier: vec![0],
                band_limit: BAND_LIMIT,
            }),
            points,
        ),
    ];
    for (network, shape) in networks {
        let z = latents(1, shape);
        let at = Scaling::VariancePreserving.level(-1.0);
        let predict = |head| {
            let model = Model::new(&spec(network.clone(), shape, head), Seed(3), Device::Cpu);
            model.unwrap().denoise(&z, &at).unwrap()
        };
        let noise = predict(Head::Noise);
        assert_eq!(noise.of, Parameterization::Noise);
        assert_eq!(largest_difference(&noise.value.0, &z.0), 0.0);
        for head in [Head::Velocity, Head::Flow, Head::Edm { data_std: 0.5 }] {
            let prediction = predict(head);
            assert_eq!(prediction.of, head.parameterization());
            assert_eq!(largest_difference(&prediction.value.0, &z.0.zeros_like()), 0.0, "{head:?}");
        }
        // The standard normal's, up to the rounding of a multiplication and a division by σ.
        let (score, energy) = (predict(Head::Score), predict(Head::Energy));
        assert_eq!(
            [score.of, energy.of],
            [Parameterization::Score, Parameterization::EnergyGradient]
        );
        assert!(largest_difference(&score.value.0, &-&z.0) < 1e-6);
        assert!(largest_difference(&energy.value.0, &z.0) < 1e-6);

        // Levels: the posterior mean of each pixel under equally likely levels.
        let levels = predict(Head::Categorical);
        let first = z.0.double_value(&[0, 0, 0, 0]);
        let terms: Vec<(f64, f64)> = (0..16)
            .map(|k| 2.0 * (f64::from(k) + 0.5) / 16.0 - 1.0)
            .map(|f| (f, (-0.5 * ((first - at.alpha * f) / at.sigma).powi(2)).exp()))
            .collect();
        let total: f64 = terms.iter().map(|(_, w)| w).sum();
        let mean: f64 = terms.iter().map(|(f, w)| f * w).sum::<f64>() / total;
        assert!((levels.value.0.double_value(&[0, 0, 0, 0]) - mean).abs() < 1e-5);
    }
}

/// After its weights leave zero a network looks at other pixels and at the noise level, and every
/// weight gets a gradient.
#[test]
fn every_weight_matters() {
    for network in [
        NetworkSpec::Unet(unet(1)),
        NetworkSpec::Unet(with_trunk()),
        NetworkSpec::Mlp(MlpSpec::new(8, 2)),
    ] {
        let parameters = Parameters::new(Seed(5), Device::Cpu);
        let net = network.build(COLOR, ONE_OUTPUT, &parameters.root()).unwrap();
        tch::no_grad(|| {
            for (i, (_, weight)) in parameters.named().into_iter().enumerate() {
                let wave = Tensor::arange(weight.numel() as i64, (Kind::Float, Device::Cpu));
                let wave = (wave + i as f64).sin() * 0.3;
                let _ = weight.shallow_clone().g_add_(&wave.view(weight.size().as_slice()));
            }
        });
        let z = latents(2, COLOR).0;
        let time = Tensor::from_slice(&[0.2_f32, 0.9]);
        let out = net.forward(&z, &time, false);
        assert_eq!(out.size(), z.size());
        (out.square() + &out).sum(Kind::Float).backward();
        for (name, weight) in parameters.named() {
            assert!(weight.grad().abs().max().double_value(&[]) > 0.0, "{name} has no gradient");
        }
        let swapped = net.forward(&z, &time.flip([0]), false);
        assert!(largest_difference(&out, &swapped) > 1e-4, "the noise level matters");
    }
}

#[test]
fn the_paper_has_the_papers_size() {
    let paper = UNetSpec {
        width: 128,
        depth: 32,
        groups: 32,
        fourier: vec![6, 7],
        band_limit: PUBLISHED_BAND_LIMIT,
        attention: Attention::Middle,
        dropout: 0.1,
        patch: 1,
        output_kernel: 3,
        trunk: None,
    };
    let shape = Shape { channels: 3, height: 32, width: 32 };
    let parameters = Parameters::new(Seed(0), Device::Cpu);
    let _net = NetworkSpec::Unet(paper).build(shape, ONE_OUTPUT, &parameters.root()).unwrap();
    // A block: norms 4w or 6w, convolutions 9·w·(w or 2w) + 9w² + 2w, condition 4w², and for two
    // inputs a shortcut 2w² + w.
    let w = 128;
    let block = |inputs: usize| {
        let shortcut = if inputs == w { 0 } else { inputs * w + w };
        2 * inputs + 2 * w + 9 * inputs * w + 9 * w * w + 2 * w + 4 * w * w + shortcut
    };
    let attention = 2 * w + 3 * w * w + 3 * w + w * w + w;
    let embedding = w * 4 * w + 4 * w + 16 * w * w + 4 * w;
    let ends = 9 * 15 * w + w + 2 * w + 9 * w * 3 + 3;
    let total = 34 * block(w) + 33 * block(2 * w) + attention + embedding + ends;
    assert_eq!(parameters.count(), total);
}

#[test]
fn sizes_that_do_not_fit_are_refused_by_field() {
    let refusal = |change: fn(&mut UNetSpec)| {
        let mut spec = unet(1);
        change(&mut spec);
        let parameters = Parameters::new(Seed(0), Device::Cpu);
        NetworkSpec::Unet(spec)
            .build(COLOR, ONE_OUTPUT, &parameters.root())
            .unwrap_err()
            .to_string()
    };
    assert!(refusal(|s| s.width = 7).starts_with("network.width = 7"));
    assert!(refusal(|s| s.groups = 3).starts_with("network.groups = 3"));
    assert!(refusal(|s| s.dropout = 1.0).starts_with("network.dropout = 1"));
    assert!(refusal(|s| s.patch = 4).starts_with("network.patch = 4"));
    assert!(refusal(|s| s.output_kernel = 2).starts_with("network.output_kernel = 2"));
    assert!(refusal(|s| s.patch = 0).starts_with("network.patch = 0"));
    assert!(refusal(|s| s.band_limit = f64::NAN).starts_with("network.band_limit = NaN"));
    assert!(refusal(|s| s.band_limit = 0.0).starts_with("network.band_limit = 0"));
    let by_factor = refusal(|s| s.trunk = Some(TrunkSpec { factor: 1, width: 8, depth: 1 }));
    assert!(by_factor.starts_with("network.trunk.factor = 1"), "{by_factor}");
    let by_width = refusal(|s| s.trunk = Some(TrunkSpec { factor: 2, width: 6, depth: 1 }));
    assert!(by_width.starts_with("network.trunk.width = 6"), "{by_width}");
}

fn largest(tensor: &Tensor) -> f64 {
    largest_difference(tensor, &tensor.zeros_like())
}

/// Monograph §2.3.3: whatever the head, the image read off a latent is the same when latent and
/// level are those of another scaling at equal log-SNR.
#[test]
fn a_model_answers_under_every_scaling() {
    for head in [
        Head::Noise,
        Head::PlainNoise,
        Head::Image,
        Head::Velocity,
        Head::Flow,
        Head::Score,
        Head::Energy,
        Head::Edm { data_std: 0.5 },
        Head::Categorical,
    ] {
        let network = NetworkSpec::Unet(unet(1));
        let model = Model::new(&spec(network, COLOR, head), Seed(4), Device::Cpu).unwrap();
        move_weights(&model, 0.05);
        let z = latents(3, COLOR);
        let own = Scaling::VariancePreserving.level(0.7);
        let wanted = model.denoise(&z, &own).unwrap().image(&z, &own);
        for scaling in [Scaling::VarianceExploding, Scaling::StraightLine] {
            let at = scaling.level(0.7);
            let z = Batch(&z.0 * (at.alpha / own.alpha));
            let got = model.denoise(&z, &at).unwrap().image(&z, &at);
            // Roundings in f32 of images that, under weights like these, are not all of size 1.
            let off = largest_difference(&got.0, &wanted.0) / (1.0 + largest(&wanted.0));
            assert!(off < 1e-5, "{head:?} {scaling:?}: {off}");
        }
    }
}

/// A model is a denoiser like any other: each solver runs on tensors, and sample `i` does not
/// depend on its batch beyond rounding.
#[test]
fn solvers_run_on_tensors() {
    let network = NetworkSpec::Unet(unet(1));
    let model = Model::new(&spec(network, COLOR, Head::Categorical), Seed(4), Device::Cpu).unwrap();
    move_weights(&model, 0.05);
    let on_grid = SolverSpec::entries().into_iter().map(|Entry { solver, .. }| {
        SamplerSpec::from(Method::OnGrid { solver, grid: GridKind::UniformTime.into(), steps: 8 })
    });
    let other = [
        json!({"solver": "ancestral", "grid": "uniform_time", "steps": 8, "noise": "brownian"}),
        json!({"solver": "ddim", "grid": "uniform_time", "steps": 8, "guidance": "clip"}),
    ];
    let other = other.map(|json| serde_json::from_value::<SamplerSpec>(json).unwrap());
    for sampler in on_grid.chain(other) {
        let draw = |first, count, batch| {
            vdm_torch::sample(&model, &sampler, Seed(9), first, count, batch, 3).unwrap()
        };
        let all = draw(0, 5, 5);
        assert_eq!(all.pixels.len(), 5 * COLOR.dims());
        assert_eq!(all.snapshots.iter().map(Vec::len).collect::<Vec<_>>(), [360; 3]);
        assert_eq!(draw(3, 1, 1).pixels, all.pixels[3 * COLOR.dims()..4 * COLOR.dims()]);
        assert_eq!(draw(0, 5, 2).pixels, all.pixels);
    }
    // On one grid, the two deterministic solvers part ways only by their order.
    let schedule = &model.spec().diffusion.schedule;
    let grid = TimeGrid::uniform_log_snr(200, schedule, Scaling::VariancePreserving).unwrap();
    let end = |solver: &SolverSpec| {
        solve(solver, &model, latents(6, COLOR), &grid, &mut NoNoise, |_, _, _| ())
            .unwrap()
            .latent
            .0
    };
    let first = end(&SolverSpec::Ddim(Ddim::default()));
    let second = end(&SolverSpec::DpmSolverMultistep(DpmSolverMultistep::PP_2M));
    assert!(largest_difference(&first, &second) < 0.1);
}
