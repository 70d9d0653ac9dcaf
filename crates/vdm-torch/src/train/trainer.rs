//! The state of a run and one step of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rand::RngExt;
use serde_json::json;
use tch::{Device, Kind, Tensor};
use vdm_data::{Dataset, Items, Prefetch};
use vdm_sample::Purpose;

use super::batch::TrainingBatch;
use super::optimizer::Optimizer;
use crate::checkpoint::{self, CheckpointInfo, Checkpoints, Named};
use crate::config::RunConfig;
use crate::model::{Mode, Model};
use crate::objective::{self, Noising};
use crate::{Batch, Error};

/// Batches prepared ahead of the step that takes them.
const PREFETCH: usize = 3;

/// A model in training.
#[derive(Debug)]
pub struct Trainer {
    config: RunConfig,
    model: Model,
    average: Model,
    optimizer: Optimizer,
    data_sha256: String,
    step: u64,
    seconds: f64,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Its number, from 1.
    pub step: u64,
    /// Mean weighted diffusion loss of the batch, nats per item.
    pub loss: f64,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Learning rate used.
    pub learning_rate: f64,
}

impl Trainer {
    /// A new run.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration is not legal for these data.
    pub fn new(config: &RunConfig, data: &Dataset, device: Device) -> Result<Self, Error> {
        config.check()?;
        let spec = config.model(data);
        let model = Model::new(&spec, config.seed, device)?;
        // The same seed: the average starts as a copy of the model.
        let average = Model::new(&spec, config.seed, device)?;
        let optimizer = Optimizer::new(model.parameters().tensors(), device);
        let data_sha256 = data.sha256.clone();
        let config = config.clone();
        Ok(Self { config, model, average, optimizer, data_sha256, step: 0, seconds: 0.0 })
    }

    /// Continues from a checkpoint of the same model.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it is damaged or of another model.
    pub fn resume(
        config: &RunConfig,
        data: &Dataset,
        device: Device,
        path: &Path,
    ) -> Result<Self, Error> {
        let mut trainer = Self::new(config, data, device)?;
        let info = checkpoint::read_info(path)?;
        if info.model != *trainer.model.spec() {
            return Err(Error::Checkpoint {
                path: path.into(),
                problem: "is of another model, process or data shape than the configuration; \
                          resume with the run's own config.json"
                    .into(),
            });
        }
        info.check_data(path, data)?;
        checkpoint::load_into(&checkpoint::training_file(path), &trainer.training_tensors())?;
        checkpoint::load_into(
            &checkpoint::model_file(path),
            &trainer.average.parameters().named(),
        )?;
        trainer.step = info.step;
        trainer.seconds = info.seconds;
        Ok(trainer)
    }

    /// Writes a checkpoint of the present step.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Torch`].
    pub fn save(
        &self,
        checkpoints: &Checkpoints,
        validation: Option<f64>,
    ) -> Result<PathBuf, Error> {
        let spec = self.model.spec().clone();
        let info = CheckpointInfo::new(
            self.step,
            self.seconds,
            spec,
            self.data_sha256.clone(),
            validation,
        );
        let model = self.average.parameters().named();
        let path = checkpoints.save(&info, &model, &self.training_tensors())?;
        tracing::info!(step = self.step, path = %path.display(), "checkpoint written");
        Ok(path)
    }

    fn training_tensors(&self) -> Named {
        let weights = self.model.parameters().named();
        let moments = |prefix: &str, list: &[Tensor]| -> Named {
            weights
                .iter()
                .zip(list)
                .map(|((name, _), t)| (format!("{prefix}.{name}"), t.shallow_clone()))
                .collect()
        };
        let mut all: Named =
            weights.iter().map(|(n, t)| (format!("weights.{n}"), t.shallow_clone())).collect();
        all.extend(moments("exp_avg", &self.optimizer.exp_avgs));
        all.extend(moments("exp_avg_sq", &self.optimizer.exp_avg_sqs));
        all
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// The averaged model: the one to evaluate and sample.
    #[must_use]
    pub fn average(&self) -> &Model {
        &self.average
    }

    /// Steps done.
    #[must_use]
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// Seconds spent in steps, over all resumptions.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// The batches from the next step on, prepared on a thread of their own.
    ///
    /// # Errors
    /// [`Error::Prefetch`] if no thread can be started.
    pub fn batches(&self, items: Arc<Items>) -> Result<Prefetch<TrainingBatch>, Error> {
        let dims = self.model.spec().shape.dims();
        let make = TrainingBatch::maker(items, self.config.seed, self.config.training.batch, dims);
        Ok(Prefetch::spawn(self.step + 1, PREFETCH, make)?)
    }

    /// One optimizer step.
    ///
    /// # Errors
    /// [`Error::NonFinite`] with what led to it, the weights left as they were;
    /// [`Error::Torch`] or [`Error::Shim`].
    pub fn train_step(&mut self, batch: &TrainingBatch) -> Result<StepReport, Error> {
        let start = Instant::now();
        let training = &self.config.training;
        let step = self.step + 1;
        if self.config.network.has_dropout() {
            // libtorch's dropout draws from its global generator alone. Seeding that from
            // (seed, step) keeps a resumed run identical.
            let mut rng = self.config.seed.stream(Purpose::Dropout, step, 0);
            tch::manual_seed(rng.random());
        }
        let noising = Noising::weighted(&batch.times, &self.config.diffusion);
        self.optimizer.clear_gradients();
        let losses = self.backward(batch, &noising)?;
        let learning_rate = training.optimizer.learning_rate_at(step, training.steps);
        let loss = losses.mean(Kind::Float);
        let norm = self.optimizer.step(&training.optimizer, step, learning_rate, &loss)?;
        // Both in one transfer: the host waits for the device once a step.
        let [loss, gradient_norm] = [0, 1].map({
            let both = Tensor::stack(&[loss, norm], 0).to_device(Device::Cpu);
            move |i| both.double_value(&[i])
        });
        if !loss.is_finite() || !gradient_norm.is_finite() {
            let losses = Vec::<f32>::try_from(losses.to_device(Device::Cpu))?;
            return Err(self.non_finite(step, batch, &losses, gradient_norm));
        }
        let remains = training.averaging.rate_at(step);
        let (average, model) =
            (self.average.parameters().tensors(), self.model.parameters().tensors());
        vdm_torch_sys::foreach_lerp(&average, &model, 1.0 - remains)?;
        self.step = step;
        self.seconds += start.elapsed().as_secs_f64();
        Ok(StepReport { step, loss, gradient_norm, learning_rate })
    }

    /// Accumulates gradients of the mean loss per dimension; returns nats of every item, `[B]`.
    fn backward(&self, batch: &TrainingBatch, noising: &Noising) -> Result<Tensor, Error> {
        let shape = self.model.spec().shape;
        let device = self.model.device();
        let items = batch.times.len();
        let size = [items, shape.channels, shape.height, shape.width].map(|s| s as i64);
        let pixels = Tensor::from_slice(&batch.pixels).view(size).to_device(device);
        let eps = Batch::from_slice(&batch.noise, size, device);
        let part = items / self.config.training.accumulate;
        let scale = 1.0 / (items * shape.dims()) as f64;
        let mode = Mode { train: true, precision: self.config.training.precision };
        let mut losses = Vec::new();
        for first in (0..items).step_by(part) {
            let slice = |t: &Tensor| t.narrow(0, first as i64, part as i64);
            let x = self.model.encode(&slice(&pixels));
            let eps = Batch(slice(&eps.0));
            let noising = noising.part(first..first + part);
            let nats = objective::diffusion_loss(&self.model, &x, &eps, &noising, mode)?.nats();
            (nats.sum(Kind::Float) * scale).backward();
            losses.push(nats.detach());
        }
        Ok(Tensor::cat(&losses, 0))
    }

    fn non_finite(
        &self,
        step: u64,
        batch: &TrainingBatch,
        losses: &[f32],
        gradient_norm: f64,
    ) -> Error {
        use vdm_core::NoiseSchedule;
        let schedule = &self.config.diffusion.schedule;
        let log_snr: Vec<f64> = batch.times.iter().map(|t| schedule.log_snr(*t).value()).collect();
        // Text, since JSON has no word for a number that is not finite.
        let words = |v: &[f32]| v.iter().map(ToString::to_string).collect::<Vec<_>>();
        let dump = json!({
            "step": step,
            "times": batch.times,
            "log_snr": log_snr,
            "loss_nats": words(losses),
            "gradient_norm": gradient_norm.to_string(),
        });
        Error::NonFinite { step, dump: Box::new(dump) }
    }
}
