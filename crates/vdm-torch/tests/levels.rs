//! Where training noises its items: discrete times, other ranges than the network's, and
//! configurations that do not fit.

mod common;

use std::sync::Arc;

use common::tiny;
use serde_json::json;
use tch::{Device, Kind};
use vdm_core::{Denoiser, Latent, LogSnr, NoiseSchedule, Scaling, Schedule, bound};
use vdm_data::Source;

use vdm_torch::{Batch, Model, RunConfig};

/// A batch of 8 over 8 steps meets each step once, at its noisier end, and its losses sum to the
/// bound of those steps with that noise.
#[test]
fn m41_discrete_training_draws_from_the_bound_of_its_steps() {
    let config = tiny(|c| c["objective"]["time"] = json!({"discrete": {"steps": 8}}));
    let data = vdm_data::load(&Source::Digits {}).unwrap();
    let mut trainer = config.trainer(&data, Device::Cpu).unwrap();
    let batch = trainer.batches(Arc::new(data.train.clone())).unwrap().next().unwrap().unwrap();
    let schedule = &config.model.diffusion.schedule;
    let size = [8, 1, 8, 8];
    let values = tch::Tensor::from_slice(&batch.pixels).view(size);
    let (x, eps) = (
        trainer.average().model().encode(&values),
        Batch::from_slice(&batch.draws.noise, size, Device::Cpu),
    );
    // The average starts as the model: what it says now is what the first step sees.
    let mut item = 0;
    let wanted = bound::discrete(schedule, 8, |log_snr: LogSnr| {
        let of = |b: &Batch| Batch(b.0.narrow(0, item, 1));
        let level = Scaling::VariancePreserving.level(log_snr.value());
        let z = Batch::lincomb(&[(level.alpha, &of(&x)), (level.sigma, &of(&eps))]);
        let found = trainer.average().model().denoise(&z, &level).unwrap().noise(&z, &level);
        let error = (found.0 - of(&eps).0).square().sum(Kind::Double).double_value(&[]);
        item += 1;
        error
    });
    let report = trainer.train_step(&batch).unwrap();
    for (i, draw) in trainer.model().last_losses().iter().enumerate() {
        assert_eq!(draw.log_snr, schedule.log_snr((i + 1) as f64 / 8.0));
    }
    // In f32, errors of the noise at the cleanest levels are differences of nearly equal numbers.
    assert!((report.loss / wanted - 1.0).abs() < 1e-3, "{}, not {wanted}", report.loss);
}

/// The network's own time goes by its clock, so another schedule under the same weights asks
/// the same questions at the same levels.
#[test]
fn m48_a_model_answers_alike_under_another_schedule() {
    let data = vdm_data::load(&Source::Digits {}).unwrap();
    let spec = tiny(|_| ()).model.spec(&data);
    let mut wider = spec.clone();
    wider.diffusion.schedule = Schedule::cosine(9.0, -6.0).unwrap();
    let models =
        [&spec, &wider].map(|spec| Model::new(spec, vdm_sample::Seed(1), Device::Cpu).unwrap());
    let z = Batch::from_slice(&[0.3; 64], [1, 1, 8, 8], Device::Cpu);
    let level = Scaling::VariancePreserving.level(1.5);
    let [a, b] = models.map(|model| model.denoise(&z, &level).unwrap().value.0);
    assert_eq!(
        Vec::<f32>::try_from(a.view([-1])).unwrap(),
        Vec::<f32>::try_from(b.view([-1])).unwrap()
    );
    wider.clock = None;
    assert_ne!(wider.clock_range(), spec.clock_range());
}

/// What a case does to a configuration.
type Change<'a> = &'a dyn Fn(&mut serde_json::Value);

#[test]
fn configurations_that_do_not_fit_are_named() {
    let learned = |ends: &str, interior: &str, learning_rate: f64| json!({"learned": {"ends": ends, "interior": interior, "learning_rate": learning_rate}});
    let monotone = json!({"kind": "monotone", "log_snr_max": 6.0, "log_snr_min": -4.0,
                          "increments": [0.0, 0.0]});
    let cosine = json!({"kind": "cosine", "log_snr_max": 6.0, "log_snr_min": -4.0});
    let linear = json!({"kind": "linear", "log_snr_max": 6.0, "log_snr_min": -4.0});
    let refusal = |change: &dyn Fn(&mut serde_json::Value)| {
        let config: RunConfig = tiny(|c| {
            c["diffusion"]["schedule"] = monotone.clone();
            c["objective"]["schedule"] = learned("learned", "learned", 0.01);
            change(c);
        });
        config.check().map_err(|error| error.to_string())
    };
    assert_eq!(refusal(&|_| ()), Ok(()));
    let diffusers = json!({
        "kind": "diffusers", "config": {"in_channels": 1, "out_channels": 1, "block_out_channels": [32, 32], "down_block_types": ["DownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "UpBlock2D"]},
        "timesteps": {"betas": {"linear": {"steps": 10, "beta_start": 1e-4, "beta_end": 0.2}}},
    });
    let cases: [(Change<'_>, &str); 11] = [
        (&|c| c["diffusion"]["schedule"] = cosine.clone(), "\"monotone\""),
        (&|c| c["diffusion"]["schedule"] = linear.clone(), "objective.schedule.learned.interior"),
        (&|c| c["objective"]["schedule"] = learned("pinned", "pinned", 0.01), "\"fixed\""),
        (&|c| c["objective"]["schedule"] = learned("learned", "pinned", 0.0), "learning_rate = 0"),
        (
            &|c| c["objective"]["time_sampler"] = json!({"adaptive": {"bins": 4, "decay": 0.9}}),
            "objective.time_sampler",
        ),
        (
            &|c| {
                c["objective"]["time_sampler"] =
                    json!({"adaptive": {"bins": 1_u64 << 40, "decay": 0.9}});
            },
            "objective.time_sampler.adaptive.bins = 1099511627776 is more than 1048576",
        ),
        (&|c| c["training"]["batch"] = (1_u64 << 40).into(), "training.batch = 1099511627776"),
        (&|c| c["objective"]["time"] = json!({"discrete": {"steps": 4}}), "objective.time"),
        (&|c| c["diffusion"]["weighting"] = json!({"kind": "simple"}), "diffusion.weighting"),
        (&|c| c["diffusion"]["weighting"] = json!({"kind": "sigmoid", "bias": 1.0}), "\"elbo\""),
        (
            &|c| {
                c["objective"]["schedule"] = "fixed".into();
                c["objective"]["time"] = json!({"discrete": {"steps": 0}});
            },
            "objective.time.discrete.steps",
        ),
    ];
    for (change, named) in cases {
        let error = refusal(change).unwrap_err();
        assert!(error.contains(named), "{error}");
    }
    // What only the network itself knows.
    let looked_up = tiny(|c| {
        c["network"] = diffusers;
        c["head"] = "noise".into();
        c["diffusion"]["schedule"] = monotone;
        c["objective"]["schedule"] = learned("pinned", "learned", 0.01);
    });
    let data = vdm_data::load(&Source::Digits {}).unwrap();
    let error = looked_up.trainer(&data, Device::Cpu).unwrap_err().to_string();
    assert!(error.contains("objective.schedule = learned") && error.contains("table"), "{error}");
}
