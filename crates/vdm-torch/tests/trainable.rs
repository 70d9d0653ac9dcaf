//! The trainer on something that is no diffusion model: the mean of the digits, by gradient descent.

mod common;

use std::ops::Range;
use std::sync::Arc;

use common::tiny;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use vdm_data::{Dataset, Items, Shape, Source};
use vdm_sample::Seed;
use vdm_torch::checkpoint::{Checkpoint, Checkpoints, read_info};
use vdm_torch::nn::{Initial, Mode, Parameters};
use vdm_torch::train::{Loss, LossTerm, MOST_SKIPPED, Plan, StepTaken, Trainable, Trainer};
use vdm_torch::{Batch, Error, RunIdentity};

/// `½‖x − μ‖²` of noised items, and how many items it has seen beside.
#[derive(Debug)]
struct Mean {
    parameters: Parameters,
    mean: Tensor,
    shape: Shape,
    seen: usize,
    in_window: usize,
    name: &'static str,
}

impl Mean {
    fn new(shape: Shape, name: &'static str) -> Self {
        let parameters = Parameters::new(Seed(4), Device::Cpu);
        let size = [1, shape.channels, shape.height, shape.width].map(|side| side as i64);
        let mean = parameters.root().tensor("mean", &size, Initial::Zeros);
        Self { parameters, mean, shape, seen: 0, in_window: 0, name }
    }
}

impl Trainable for Mean {
    type Draws = Vec<f32>;
    type Bound = f64;

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }
    fn shape(&self) -> Shape {
        self.shape
    }
    fn spec(&self) -> Result<Value, Error> {
        Ok(json!({"mean of": self.name}))
    }
    fn draws(&self, seed: Seed, batch: usize) -> Box<dyn FnMut(u64) -> Vec<f32> + Send> {
        Box::new(move |step| {
            (0..batch as u64)
                .map(|item| {
                    seed.uniform(vdm_sample::noise::Purpose::TrainingTime, step, item) as f32
                })
                .collect()
        })
    }
    fn loss<'a>(
        &'a self,
        values: &'a Tensor,
        draws: &'a Vec<f32>,
        items: Range<usize>,
        _: Mode,
    ) -> Result<Loss<'a>, Error> {
        let shift = Tensor::from_slice(&draws[items]).view([-1, 1, 1, 1]);
        let off = values.to_kind(Kind::Float) + shift - &self.mean;
        let nats = Batch(off.square() * 0.5).sum_per_item();
        let ink = Batch(values.to_kind(Kind::Float)).sum_per_item();
        let observe = |scale: f64| vec![self.mean.grad().abs().sum(Kind::Float).view([1]) / scale];
        Ok(Loss { nats, terms: vec![("ink", ink)], observe: Some(Box::new(observe)) })
    }
    fn learn(&mut self, step: &StepTaken<'_, Vec<f32>>) -> Result<Vec<LossTerm>, Error> {
        assert!(step.observed[0].iter().all(|size| size.is_finite()));
        self.seen += step.nats.len();
        self.in_window += step.nats.len();
        Ok(vec![("seen", self.seen as f64)])
    }
    fn follow(&mut self, other: &Self) {
        self.seen = other.seen;
    }
    fn begin_window(&mut self) {
        self.in_window = 0;
    }
    fn state(&self) -> Result<Value, Error> {
        Ok(json!([self.seen, self.in_window]))
    }
    fn restore(&mut self, spec: &Value, state: &Value) -> Result<(), String> {
        if *spec != self.spec().map_err(|e| e.to_string())? {
            return Err("is of another mean".into());
        }
        (self.seen, self.in_window) =
            serde_json::from_value(state.clone()).map_err(|e| e.to_string())?;
        Ok(())
    }
    fn validate(&self, items: &Items) -> Result<f64, Error> {
        Ok(items.len() as f64)
    }
    fn samples(&self, count: usize) -> Result<Vec<u8>, Error> {
        Ok(vec![0; count * self.shape.dims()])
    }
}

fn plan(accumulate: usize) -> Plan {
    let config = tiny(|c| {
        c["training"]["accumulate"] = accumulate.into();
        c["output"]["log_every"] = 3.into();
    });
    let identity = RunIdentity::new(&json!({"run": "mean"}), &[]).unwrap();
    Plan { identity, ..config.plan().unwrap() }
}

fn digits() -> Dataset {
    vdm_data::load(&Source::Digits {}).unwrap()
}

fn trainer(accumulate: usize) -> Trainer<Mean> {
    let data = digits();
    Trainer::new(plan(accumulate), &data, || Ok(Mean::new(data.shape, "digits"))).unwrap()
}

fn train(trainer: &mut Trainer<Mean>, to: u64) -> Vec<f64> {
    let mut batches = trainer.batches(Arc::new(digits().train)).unwrap();
    let mut losses = Vec::new();
    while trainer.steps_done() < to {
        losses.push(trainer.train_step(&batches.next().unwrap().unwrap()).unwrap().loss);
    }
    losses
}

/// Whatever is trained goes on to the last bit, with all that it learned and summed up.
#[test]
fn an_interrupted_training_of_anything_goes_on_as_it_would_have() {
    let folder = tempfile::tempdir().unwrap();
    let mut whole = trainer(1);
    let losses = train(&mut whole, 8);
    let mut first = trainer(1);
    train(&mut first, 5);
    let checkpoints = Checkpoints::new(folder.path(), plan(1).identity, 2);
    let path = first.save(&checkpoints).unwrap();
    assert_eq!(read_info(&path).unwrap().state, json!([40, 16]));
    let checkpoint = Checkpoint::read_for_training(&path).unwrap();
    let resumed = |name| {
        let data = digits();
        Trainer::resume(plan(1), &data, &checkpoint, || Ok(Mean::new(data.shape, name)))
    };
    let mut second = resumed("digits").unwrap();
    assert_eq!(second.average().seen, 40);
    assert_eq!(train(&mut second, 8), losses[5..]);
    assert_eq!(second.average().mean, whole.average().mean);
    assert_eq!((second.window().loss, second.model().seen), (whole.window().loss, 64));
    assert_eq!(second.window().terms, whole.window().terms);
    let error = resumed("other").unwrap_err().to_string();
    assert!(error.contains("is of another mean"), "{error}");
}

/// Parts of a batch add up to it: loss, terms by name, gradient.
#[test]
fn the_parts_of_a_batch_add_up() {
    let reports = [1, 4].map(|accumulate| {
        let mut trainer = trainer(accumulate);
        let mut batches = trainer.batches(Arc::new(digits().train)).unwrap();
        trainer.train_step(&batches.next().unwrap().unwrap()).unwrap()
    });
    let [whole, parts] = &reports;
    assert_eq!((whole.nats.len(), &whole.nats), (8, &parts.nats));
    assert_eq!(whole.terms, parts.terms);
    let names: Vec<_> = whole.terms.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["ink", "seen"]);
    assert!((whole.gradient_norm / parts.gradient_norm - 1.0).abs() < 1e-6);
}

/// A training all of whose steps are skipped ends with the field that says so, and one that is not in between counts
/// anew.
#[test]
fn a_training_that_skips_all_its_steps_ends() {
    let mut plan = plan(1);
    plan.training.optimizer.skip_above = Some(1e3);
    let data = digits();
    let mut trainer = Trainer::new(plan, &data, || Ok(Mean::new(data.shape, "digits"))).unwrap();
    let mut batches = trainer.batches(Arc::new(data.train.clone())).unwrap();
    let good = batches.next().unwrap().unwrap();
    let mut lost = good.clone();
    lost.draws.fill(f32::INFINITY);
    for _ in 1..MOST_SKIPPED {
        assert!(trainer.train_step(&lost).unwrap().skipped);
    }
    assert!(!trainer.train_step(&good).unwrap().skipped);
    for _ in 1..MOST_SKIPPED {
        assert!(trainer.train_step(&lost).unwrap().skipped);
    }
    let error = trainer.train_step(&lost).unwrap_err();
    assert!(trainer.train_step(&lost).is_err(), "and does not go on");
    let step = 2 * MOST_SKIPPED;
    assert!(matches!(error, Error::OnlySkipped { step: s, .. } if s == step), "{error}");
    let said = format!("100 steps in a row were skipped, that of step {step} for a gradient");
    assert!(error.to_string().starts_with(&said), "{error}");
}

/// A batch whose gradient is too long changes no weight, average, count or mean: only the step's number, and how
/// many were skipped, which a checkpoint keeps.
#[test]
fn a_step_that_is_skipped_changes_nothing_and_is_counted() {
    let plan = || {
        let mut plan = plan(1);
        plan.training.optimizer.skip_above = Some(1e3);
        plan
    };
    let data = digits();
    let make = || Ok(Mean::new(data.shape, "digits"));
    let mut trainer = Trainer::new(plan(), &data, make).unwrap();
    let mut batches = trainer.batches(Arc::new(data.train.clone())).unwrap();
    let mut next = || batches.next().unwrap().unwrap();
    let first = trainer.train_step(&next()).unwrap();
    let weights =
        |trainer: &Trainer<Mean>| [trainer.model(), trainer.average()].map(|m| m.mean.copy());
    let before = weights(&trainer);

    let mut exploded = next();
    exploded.draws.fill(1e9);
    let skipped = trainer.train_step(&exploded).unwrap();
    assert!(skipped.skipped && !first.skipped);
    assert_eq!((skipped.step, trainer.steps_done(), trainer.steps_skipped()), (2, 2, 1));
    assert_eq!(weights(&trainer), before);
    assert_eq!((trainer.model().seen, trainer.average().seen), (8, 8));
    let window = trainer.window();
    assert_eq!((window.steps, window.skipped, window.mean(window.loss)), (2, 1, first.loss));

    let folder = tempfile::tempdir().unwrap();
    let path = trainer.save(&Checkpoints::new(folder.path(), plan().identity, 2)).unwrap();
    let checkpoint = Checkpoint::read_for_training(&path).unwrap();
    let mut resumed = Trainer::resume(plan(), &data, &checkpoint, make).unwrap();
    assert_eq!((resumed.steps_skipped(), resumed.window()), (1, trainer.window()));
    let third = next();
    assert_eq!(resumed.train_step(&third).unwrap(), trainer.train_step(&third).unwrap());
    assert_ne!(weights(&trainer), before);
    assert_eq!(weights(&resumed), weights(&trainer));
}
