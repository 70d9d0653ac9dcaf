//! Runs on real data: bit-exact resumption, accumulation, learning, and what stops a run.

mod common;
#[path = "common/moved.rs"]
mod moved;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use common::tiny;
use moved::move_weights;
use serde_json::{Value, json};
use tch::Device;
use vdm_core::Schedule;
use vdm_data::{Dataset, Source};
use vdm_sample::Seed;
use vdm_sample::noise::Purpose;
use vdm_torch::checkpoint::{Checkpoint, read_info};
use vdm_torch::diffusion::{
    DiffusionDraws, DiffusionState, DiffusionTrainer, DiffusionTraining, ObjectiveSpec,
};
use vdm_torch::nn::{MlpSpec, NetworkSpec};
use vdm_torch::train::{Observer, Outcome, StepReport, TrainingBatch, run};
use vdm_torch::{
    Diffusion, Error, EvaluationSpec, Head, Likelihood, Model, ModelSpec, PRESETS, RunConfig,
    TimeDiscretization, evaluate,
};

fn digits() -> Dataset {
    vdm_data::load(&Source::Digits {}).unwrap()
}

/// Remembers losses; asks to stop after a given step.
struct Listener<'a> {
    losses: Vec<f64>,
    stop: &'a AtomicBool,
    stop_after: u64,
}

impl Observer<DiffusionTraining> for Listener<'_> {
    type Error = Error;
    fn step(&mut self, _: &DiffusionTrainer, report: &StepReport) -> Result<(), Error> {
        self.losses.push(report.loss);
        self.stop.store(report.step >= self.stop_after, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }
    fn saved(&mut self, _: &DiffusionTrainer) -> Result<(), Error> {
        Ok(())
    }
    fn validation(&mut self, _: &DiffusionTrainer, result: &Likelihood) -> Result<(), Error> {
        assert!(result.bits_per_dim.is_finite());
        Ok(())
    }
    fn samples(&mut self, _: &DiffusionTrainer) -> Result<(), Error> {
        Ok(())
    }
}

/// Trains in `folder` from its last checkpoint until `stop_after`; returns losses and the end.
fn train(config: &RunConfig, folder: &Path, stop_after: u64) -> (Vec<f64>, Outcome) {
    let data = digits();
    let checkpoints = config.checkpoints(folder).unwrap();
    let mut trainer = match checkpoints.to_continue().unwrap() {
        None => config.trainer(&data, Device::Cpu).unwrap(),
        Some(chosen) => config.resumed(&data, Device::Cpu, &chosen.checkpoint).unwrap(),
    };
    let stop = AtomicBool::new(false);
    let mut listener = Listener { losses: Vec::new(), stop: &stop, stop_after };
    let outcome = run(&mut trainer, &data, &checkpoints, &stop, &mut listener).unwrap();
    (listener.losses, outcome)
}

fn files_of_last(folder: &Path) -> [Vec<u8>; 2] {
    ["model.safetensors", "training.safetensors"]
        .map(|name| fs::read(last(folder).join(name)).unwrap())
}

/// The folder with the highest number.
fn last(folder: &Path) -> PathBuf {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.display().to_string().contains("/step-")).max().unwrap()
}

/// 12 steps at once, or stopped after 5 and again after 9: the same bytes. Dropout is on, since
/// its masks come from libtorch's global generator; it is the only test that trains with it.
#[test]
fn an_interrupted_run_ends_in_the_same_bytes() {
    let config = tiny(|c| c["network"]["dropout"] = 0.2.into());
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (losses, outcome) = train(&config, whole.path(), 99);
    assert_eq!((losses.len(), outcome), (12, Outcome::Finished));
    let mut pieces = Vec::new();
    for stop_after in [5, 9, 99] {
        let (losses, outcome) = train(&config, parts.path(), stop_after);
        let expected = if stop_after == 99 { Outcome::Finished } else { Outcome::Stopped };
        assert_eq!(outcome, expected);
        pieces.extend(losses);
    }
    assert_eq!(losses, pieces);
    assert_eq!(files_of_last(whole.path()), files_of_last(parts.path()));
}

/// Fails in its first validations, as if the process had been killed in them.
struct Killed {
    validations: Vec<(u64, f64)>,
    left: usize,
}

impl Observer<DiffusionTraining> for Killed {
    type Error = Error;
    fn step(&mut self, _: &DiffusionTrainer, _: &StepReport) -> Result<(), Error> {
        Ok(())
    }
    fn saved(&mut self, _: &DiffusionTrainer) -> Result<(), Error> {
        Ok(())
    }
    fn validation(&mut self, trainer: &DiffusionTrainer, result: &Likelihood) -> Result<(), Error> {
        self.validations.push((trainer.steps_done(), result.bits_per_dim));
        if self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        Err(Error::NonFiniteSamples)
    }
    fn samples(&mut self, _: &DiffusionTrainer) -> Result<(), Error> {
        Ok(())
    }
}

/// What takes long comes after what must not be lost, and is done when the run goes on.
#[test]
fn a_run_is_saved_before_it_is_validated() {
    let (config, data) = (tiny(|_| ()), digits());
    let (whole, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train(&config, whole.path(), 99);
    let checkpoints = config.checkpoints(folder.path()).unwrap();
    let stop = AtomicBool::new(false);
    let mut killed = Killed { validations: Vec::new(), left: 2 };
    let mut trainer = config.trainer(&data, Device::Cpu).unwrap();
    for _ in 0..2 {
        run(&mut trainer, &data, &checkpoints, &stop, &mut killed).unwrap_err();
        let latest = checkpoints.to_continue().unwrap().unwrap().checkpoint;
        assert_eq!((latest.info().step, latest.info().validation), (5, None));
        trainer = config.resumed(&data, Device::Cpu, &latest).unwrap();
    }
    run(&mut trainer, &data, &checkpoints, &stop, &mut killed).unwrap();
    let steps: Vec<u64> = killed.validations.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, [5, 5, 5, 10, 12]);
    assert!(killed.validations[..3].iter().all(|found| *found == killed.validations[0]));
    assert_eq!(files_of_last(whole.path()), files_of_last(folder.path()));
    let results = |folder: &Path| -> Vec<Option<f64>> {
        let checkpoints = config.checkpoints(folder).unwrap();
        let steps = checkpoints.steps().unwrap();
        steps.into_iter().map(|step| checkpoints.describe(step).unwrap().validation).collect()
    };
    assert_eq!(results(whole.path()), results(folder.path()));
    // Nothing is left to do, and nothing is done again.
    run(&mut trainer, &data, &checkpoints, &stop, &mut killed).unwrap();
    assert_eq!(killed.validations.len(), 5);
}

/// What a checkpoint has learned about noise levels, to the last digit, without the seconds it took.
fn levels_of_last(folder: &Path) -> (Schedule, DiffusionState) {
    let info = read_info(&last(folder)).unwrap();
    let state = serde_json::from_value(info.state.clone()).unwrap();
    (info.model::<ModelSpec>().unwrap().diffusion.schedule, state)
}

/// 40 steps at once, or 20 and 20, while the noise levels are learned: the same bytes, the same
/// schedule and the same moments.
#[test]
fn what_is_learned_about_levels_survives_an_interruption() {
    let learned = |ends: &str, interior: &str| {
        let part = json!({"ends": ends, "interior": interior, "learning_rate": 0.01});
        json!({"schedule": {"learned": part}})
    };
    let monotone = json!({"kind": "monotone", "log_snr_max": 6.0, "log_snr_min": -4.0,
                          "increments": [0.0, 0.5, -0.5, 0.0]});
    let network = json!({"kind": "monotone_network", "log_snr_max": 6.0, "log_snr_min": -4.0,
                         "slope": 1.0, "hidden": [8.0, 8.0], "hidden_bias": [3.0, -3.0],
                         "output": [1.0, -1.0]});
    let linear = json!({"kind": "linear", "log_snr_max": 6.0, "log_snr_min": -4.0});
    let adaptive = json!({"time_sampler": {"adaptive": {"bins": 20, "decay": 0.9}}});
    for (schedule, objective) in [
        (&monotone, learned("learned", "learned")),
        (&network, learned("pinned", "learned")),
        (&linear, learned("learned", "pinned")),
        (&linear, adaptive),
    ] {
        let config = tiny(|c| {
            c["diffusion"]["schedule"] = schedule.clone();
            c["network"] = json!({"kind": "mlp", "width": 8, "depth": 1, "fourier": []});
            c["training"]["steps"] = 40.into();
            c["output"]["validate_every"] = 100.into();
            c["output"]["checkpoint_every"] = 100.into();
            c["objective"] = objective.clone();
        });
        let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (losses, _) = train(&config, whole.path(), 99);
        let (first, _) = train(&config, parts.path(), 20);
        let (second, outcome) = train(&config, parts.path(), 99);
        assert_eq!((first.len(), outcome), (20, Outcome::Finished));
        assert_eq!(losses, [first, second].concat());
        assert_eq!(files_of_last(whole.path()), files_of_last(parts.path()));
        let (schedule, levels) = levels_of_last(whole.path());
        assert_eq!(levels_of_last(parts.path()), (schedule.clone(), levels.clone()));
        assert_eq!(schedule != config.model.diffusion.schedule, levels.adaptive.is_none());
        assert!(levels.adaptive.is_some() != levels.schedule.is_some());

        let latest = Checkpoint::read_for_training(&last(whole.path())).unwrap();
        let mut fixed = config;
        fixed.model.objective = ObjectiveSpec::default();
        let error = fixed.resumed(&digits(), Device::Cpu, &latest).unwrap_err();
        assert!(error.to_string().contains("is of another run than config.json"), "{error}");
    }
}

/// A run lengthened after it ended equals one that was long from the start.
#[test]
fn a_lengthened_run_ends_in_the_same_bytes() {
    let with_steps = |steps: u64| tiny(|c| c["training"]["steps"] = steps.into());
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train(&with_steps(12), whole.path(), 99);
    train(&with_steps(6), parts.path(), 99);
    train(&with_steps(12), parts.path(), 99);
    assert_eq!(files_of_last(whole.path()), files_of_last(parts.path()));
}

/// Four parts of 2 give the gradients of one batch of 8; their sums differ in order only.
#[test]
fn accumulated_gradients_equal_those_of_the_whole_batch() {
    let data = digits();
    let step = |accumulate: u64| {
        let config = tiny(|c| c["training"]["accumulate"] = accumulate.into());
        let mut trainer = config.trainer(&data, Device::Cpu).unwrap();
        let mut batches = trainer.batches(Arc::new(data.train.clone())).unwrap();
        trainer.train_step(&batches.next().unwrap().unwrap()).unwrap()
    };
    let (whole, parts) = (step(1), step(4));
    assert!((whole.loss / parts.loss - 1.0).abs() < 1e-5);
    assert!((whole.gradient_norm / parts.gradient_norm - 1.0).abs() < 1e-4);
}

/// Every head makes `L_∞` of images it was not trained on fall, judged before and after with the same
/// noise at the same levels, so that nothing but the weights differs. Velocity and score learn least, to
/// 0.86: as untrained networks they guess well already.
#[test]
fn every_head_learns() {
    let data = digits();
    let items = data.test.select(&(0..64).collect::<Vec<_>>());
    let edm = json!({"edm": {"data_std": 0.5}});
    let named = ["noise", "image", "velocity", "flow", "score", "energy", "categorical"];
    for head in named.map(Value::from).into_iter().chain([edm]) {
        let config = tiny(|c| {
            c["head"] = head.clone();
            c["training"]["batch"] = 32.into();
            c["training"]["optimizer"]["warmup"] = 10.into();
            c["network"] = json!({"kind": "mlp", "width": 64, "depth": 1, "fourier": []});
            // Levels at which an image is more than its pixels.
            c["diffusion"]["schedule"]["log_snr_max"] = 4.0.into();
        });
        let mut trainer = config.trainer(&data, Device::Cpu).unwrap();
        let diffusion = |model: &Model| {
            let spec = EvaluationSpec { draws: 8, batch: 512 };
            evaluate(model, &items, TimeDiscretization::Continuous, spec, Seed(5), |_| ())
                .unwrap()
                .diffusion
        };
        let before = diffusion(trainer.average().model());
        let mut batches = trainer.batches(Arc::new(data.train.clone())).unwrap();
        for _ in 0..100 {
            trainer.train_step(&batches.next().unwrap().unwrap()).unwrap();
        }
        let after = diffusion(trainer.average().model());
        assert!(after < 0.88 * before, "{head}: {before} to {after}");
    }
}

#[test]
fn a_loss_that_is_not_finite_stops_with_what_led_to_it() {
    let data = digits();
    let mut trainer = tiny(|_| ()).trainer(&data, Device::Cpu).unwrap();
    let mut batches = trainer.batches(Arc::new(data.train.clone())).unwrap();
    let good = batches.next().unwrap().unwrap();
    let bad = TrainingBatch {
        draws: DiffusionDraws {
            noise: vec![f32::NAN; good.draws.noise.len()],
            ..good.draws.clone()
        },
        ..good.clone()
    };
    let error = trainer.train_step(&bad).unwrap_err();
    assert!(error.to_string().len() < 250, "what is long goes into a file: {error}");
    let Error::NonFinite { step: 1, dump } = &error else { panic!("{error}") };
    assert_eq!(dump["times"].as_array().unwrap().len(), 8);
    assert!(dump["loss_nats"][0].as_str().unwrap().contains("NaN"));
    assert!(error.to_string().contains("training.optimizer.learning_rate"));
    // The weights are still those of the step before: the same step goes well.
    assert!(trainer.train_step(&good).unwrap().loss.is_finite());
}

/// An item's number depends on neither the batch size nor its neighbors, up to the rounding of
/// kernels that differ with the size.
#[test]
fn a_likelihood_does_not_depend_on_the_batch_size() {
    let (config, data) = (tiny(|_| ()), digits());
    let trainer = config.trainer(&data, Device::Cpu).unwrap();
    move_weights(trainer.average().model(), 0.2);
    let items = data.test.select(&(0..24).collect::<Vec<_>>());
    let with = |batch, depth| {
        let spec = EvaluationSpec { draws: 4, batch };
        evaluate(trainer.average().model(), &items, depth, spec, config.seed, |_| ()).unwrap()
    };
    for depth in [TimeDiscretization::Continuous, TimeDiscretization::Discrete { steps: 100 }] {
        let (small, large) = (with(1, depth), with(1000, depth));
        assert!((small.bits_per_dim / large.bits_per_dim - 1.0).abs() < 1e-5);
        assert_eq!(small.items, 24);
        let sum = small.prior + small.reconstruction + small.diffusion;
        assert!((sum - small.bits_per_dim).abs() < 1e-12);
    }
}

/// A likelihood against the truth: for pixels that are independent and uniform over 17 levels, an
/// untrained categorical head is the exact denoiser, so the continuous bound is tight but for its end
/// terms: log2 17 bits per dimension, plus a prior below 1e-6 and minus nothing, since at λ = 13
/// the reconstruction is certain. The bound of 1000 steps lies above it, by less than 2 %.
#[test]
fn the_bound_of_an_exact_model_is_the_entropy() {
    let shape = vdm_data::Shape { channels: 1, height: 4, width: 4 };
    let spec = ModelSpec {
        shape,
        values: 17,
        diffusion: Diffusion::variational(Schedule::linear(13.0, -13.0).unwrap()),
        network: NetworkSpec::Mlp(MlpSpec::new(8, 1)),
        head: Head::Categorical,
        clock: None,
    };
    let model = Model::new(&spec, Seed(0), Device::Cpu).unwrap();
    let pixels: Vec<u8> =
        (0..400 * 16_u64).map(|i| (17.0 * Seed(7).uniform(Purpose::Prior, 0, i)) as u8).collect();
    let items = vdm_data::Items::new("uniform".as_ref(), 16, pixels, None).unwrap();
    let spec = EvaluationSpec { draws: 64, batch: 4096 };
    let bound = |depth| evaluate(&model, &items, depth, spec, Seed(3), |_| ()).unwrap();
    let entropy = 17.0_f64.log2();
    let continuous = bound(TimeDiscretization::Continuous);
    let error = (continuous.bits_per_dim - entropy).abs();
    assert!(error < 4.0 * continuous.standard_error, "{continuous:?}");
    assert!(continuous.standard_error < 0.04 && continuous.reconstruction < 1e-6);
    let discrete = bound(TimeDiscretization::Discrete { steps: 1000 });
    let gap = discrete.bits_per_dim / entropy - 1.0;
    let noise = 4.0 * discrete.standard_error / entropy;
    assert!((-noise..0.02 + noise).contains(&gap), "{gap} ± {noise}");
}

/// The distribution of the swirl is known, so training can be judged absolutely: its bound lies above the
/// entropy of 5.4916 bits/dim, and within 4 % of it after 1,500 steps.
#[test]
#[ignore = "trains for a minute or two: cargo xtask test --full"]
fn the_swirl_is_learned_to_within_4_percent() {
    let (_, text) = PRESETS.iter().find(|(name, _)| *name == "swirl").unwrap();
    let config: RunConfig = serde_json::from_str(text).unwrap();
    let data = vdm_data::load(&config.data).unwrap();
    let mut trainer = config.trainer(&data, Device::Cpu).unwrap();
    let mut batches = trainer.batches(Arc::new(data.train.clone())).unwrap();
    for _ in 0..1500 {
        trainer.train_step(&batches.next().unwrap().unwrap()).unwrap();
    }
    let items = data.test.select(&(0..4000).collect::<Vec<_>>());
    let spec = EvaluationSpec { draws: 32, batch: 8192 };
    let result = evaluate(
        trainer.average().model(),
        &items,
        TimeDiscretization::Continuous,
        spec,
        Seed(1),
        |_| (),
    )
    .unwrap();
    let entropy = vdm_data::swirl_entropy_bits_per_dim();
    assert!(result.bits_per_dim > entropy - 3.0 * result.standard_error, "{result:?}");
    assert!(result.bits_per_dim < 1.04 * entropy, "{result:?}");
}

/// Training in bf16 follows training in f32: its products are rounded to 8 bits, its sums are not.
#[test]
fn bf16_follows_f32() {
    let data = digits();
    let loss = |precision: &str| {
        let config = tiny(|c| c["training"]["precision"] = precision.into());
        let mut trainer = config.trainer(&data, Device::Cpu).unwrap();
        let mut batches = trainer.batches(Arc::new(data.train.clone())).unwrap();
        let step = |_| trainer.train_step(&batches.next().unwrap().unwrap()).unwrap().loss;
        (0..12).map(step).sum::<f64>()
    };
    let (full, half) = (loss("f32"), loss("bf16"));
    assert!((half / full - 1.0).abs() < 0.02, "{full} and {half}");
    assert_ne!(full, half, "something was rounded");
}
