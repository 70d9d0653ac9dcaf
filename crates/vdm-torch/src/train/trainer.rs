//! The state of a run and one step of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use rand::RngExt;
use serde_json::json;
use tch::{Device, Kind, Tensor};
use vdm_core::importance::Draw;
use vdm_core::{NoiseSchedule, Parameterization, Schedule};
use vdm_data::{Dataset, Items, Prefetch};
use vdm_sample::Purpose;

use super::batch::TrainingBatch;
use super::levels::Levels;
use super::optimizer::Optimizer;
use super::schedule::Observed;
use super::window::Window;
use crate::checkpoint::{self, Checkpoint, CheckpointInfo, Checkpoints, Named};
use crate::config::RunConfig;
use crate::model::{Mode, Model};
use crate::objective::{self, Noising};
use crate::{Batch, Error, PerSample};

/// Batches prepared ahead of the step that takes them.
const PREFETCH: usize = 3;

/// A model in training.
#[derive(Debug)]
pub struct Trainer {
    config: RunConfig,
    model: Model,
    average: Model,
    optimizer: Optimizer,
    levels: Levels,
    data_sha256: String,
    step: u64,
    seconds: f64,
    window: Window,
}

/// What a step did.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// Its number, from 1.
    pub step: u64,
    /// Mean weighted diffusion loss of the batch, nats per item.
    pub loss: f64,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Learning rate used.
    pub learning_rate: f64,
    /// The loss of each item with the level it was noised at.
    pub draws: Vec<Draw>,
    /// Mean prior and reconstruction of the batch together, nats per item, where the ends of the
    /// schedule are learned.
    pub end_terms: Option<f64>,
}

/// What the backward pass of a batch leaves on the device.
#[derive(Debug)]
struct Pass {
    /// Weighted diffusion loss of each item, `[B]`.
    nats: Tensor,
    of: Parameterization,
    /// What each loss moves by with its level through the network's squared error, `[B]`.
    by_level: Option<Tensor>,
    /// Sums of [`objective::end_terms`], `[4]`.
    end_terms: Option<Tensor>,
}

/// The same on the host.
#[derive(Debug)]
struct HostPass {
    loss: f64,
    gradient_norm: f64,
    nats: Vec<f64>,
    by_level: Vec<f64>,
    end_terms: Vec<f64>,
}

impl Pass {
    /// That of a whole batch from those of its parts, at least one.
    fn joined(parts: &[Self]) -> Self {
        let joined = |part: fn(&Self) -> Option<&Tensor>| {
            let tensors: Option<Vec<&Tensor>> = parts.iter().map(part).collect();
            tensors.map(|tensors| Tensor::cat(&tensors, 0))
        };
        let sums = joined(|part| part.end_terms.as_ref());
        Self {
            nats: Tensor::cat(&parts.iter().map(|part| &part.nats).collect::<Vec<_>>(), 0),
            of: parts[0].of,
            by_level: joined(|part| part.by_level.as_ref()),
            end_terms: sums.map(|sums| {
                sums.view([-1, 4]).sum_dim_intlist([0_i64].as_slice(), false, Kind::Double)
            }),
        }
    }

    /// In one transfer: the host waits for the device once a step.
    fn to_host(&self, loss: &Tensor, gradient_norm: &Tensor) -> Result<HostPass, Error> {
        let scalars = Tensor::stack(&[loss, gradient_norm], 0);
        let parts: Vec<Tensor> = [Some(&scalars), Some(&self.nats)]
            .into_iter()
            .chain([self.by_level.as_ref(), self.end_terms.as_ref()])
            .flatten()
            .map(|part| part.to_kind(Kind::Double))
            .collect();
        let host = Vec::<f64>::try_from(Tensor::cat(&parts, 0).to_device(Device::Cpu))?;
        let mut rest = host.as_slice();
        let mut take = |count: i64| {
            let (taken, others) = rest.split_at(count as usize);
            rest = others;
            taken.to_vec()
        };
        let length = |part: &Option<Tensor>| part.as_ref().map_or(0, |part| part.size()[0]);
        let scalars = take(2);
        Ok(HostPass {
            loss: scalars[0],
            gradient_norm: scalars[1],
            nats: take(self.nats.size()[0]),
            by_level: take(length(&self.by_level)),
            end_terms: take(length(&self.end_terms)),
        })
    }
}

/// While it lives, cuDNN measures which of its kernels is fastest for each new shape. Worth it for the
/// passes of training, whose shapes stay; not where batches vary, nor where bits must be those of
/// another process.
#[derive(Debug)]
struct FastestKernels;

impl FastestKernels {
    fn searched() -> Self {
        tch::Cuda::cudnn_set_benchmark(true);
        Self
    }
}

impl Drop for FastestKernels {
    fn drop(&mut self) {
        tch::Cuda::cudnn_set_benchmark(false);
    }
}

impl Trainer {
    /// A new run.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration is not legal for these data.
    pub fn new(config: &RunConfig, data: &Dataset, device: Device) -> Result<Self, Error> {
        config.check()?;
        config.check_batches(data.shape.dims())?;
        let spec = config.model(data);
        let model = Model::new(&spec, config.seed, device)?;
        // The same seed: the average starts as a copy of the model.
        let average = Model::new(&spec, config.seed, device)?;
        let optimizer = Optimizer::new(model.parameters().tensors(), device);
        let levels = Levels::new(config)?;
        let range = levels.proposal().as_ref().unwrap_or(&spec.diffusion.schedule).range();
        Ok(Self {
            config: config.clone(),
            model,
            average,
            optimizer,
            levels,
            data_sha256: data.sha256.clone(),
            step: 0,
            seconds: 0.0,
            window: Window::new(range, 0.0),
        })
    }

    /// Continues from a checkpoint of the same run, read for training.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it is of another run, model or data.
    pub fn resume(
        config: &RunConfig,
        data: &Dataset,
        device: Device,
        checkpoint: &Checkpoint,
    ) -> Result<Self, Error> {
        checkpoint.check_config(config)?;
        let mut trainer = Self::new(config, data, device)?;
        trainer.restore_levels(checkpoint)?;
        checkpoint.check_data(data)?;
        checkpoint.load_training(&trainer.training_tensors())?;
        checkpoint.load_average(&trainer.average.parameters().named())?;
        let info = checkpoint.info();
        trainer.step = info.step;
        trainer.seconds = info.seconds;
        trainer.window = info.window.clone().unwrap_or_else(|| trainer.new_window());
        Ok(trainer)
    }

    /// Takes over a checkpoint's schedule, and what was learned about it, if its model is ours but for
    /// that.
    fn restore_levels(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let info = checkpoint.info();
        let refuse = |problem: &str| {
            let problem = format!("{problem}; resume with the run's own config.json");
            Err(Error::Checkpoint { path: checkpoint.path().into(), problem })
        };
        let (own, learned) = (self.model.spec(), &info.model.diffusion.schedule);
        let mut found = info.model.clone();
        found.conditioning = Some(found.conditioning_range());
        if self.levels.are_learned() {
            found.diffusion.schedule = own.diffusion.schedule.clone();
        }
        if found != *own {
            return refuse("is of another model, process or data shape than the configuration");
        }
        if !self.levels.restore(info.levels.clone(), &own.diffusion.schedule, learned) {
            return refuse("was trained with another training.times or training.schedule");
        }
        self.set_schedule(learned);
        Ok(())
    }

    fn set_schedule(&mut self, schedule: &Schedule) {
        for model in [&mut self.model, &mut self.average] {
            model.set_schedule(schedule.clone());
        }
    }

    /// Takes over the weights of another model, trained elsewhere, in place of random ones.
    ///
    /// # Errors
    /// [`Error::Config`] if they have other names or shapes.
    pub fn start_from(&mut self, model: &Model) -> Result<(), Error> {
        for own in [&self.model, &self.average] {
            let weights = model.parameters().named();
            checkpoint::copy_into(weights, &own.parameters().named()).map_err(|value| {
                let remedy = "start from a model of the same configuration";
                Error::Config { field: "network", value, remedy }
            })?;
        }
        Ok(())
    }

    /// Writes a checkpoint of the present step, not validated yet.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Torch`].
    pub fn save(&self, checkpoints: &Checkpoints) -> Result<PathBuf, Error> {
        let info = CheckpointInfo {
            format: checkpoint::FORMAT,
            step: self.step,
            seconds: self.seconds,
            config: self.config.clone(),
            model: self.model.spec().clone(),
            data_sha256: self.data_sha256.clone(),
            validation: None,
            levels: self.levels.state(),
            window: (!self.line_is_due()).then(|| self.window.clone()),
            files: BTreeMap::new(),
        };
        let model = self.average.parameters().named();
        let path = checkpoints.save(info, &model, &self.training_tensors())?;
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

    /// The model in training.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The averaged model: the one to evaluate and sample.
    #[must_use]
    pub fn average(&self) -> &Model {
        &self.average
    }

    /// What draws the noise levels of the next step: the process's own schedule, as far as it is
    /// learned, or a proposal.
    #[must_use]
    pub fn proposal(&self) -> Schedule {
        let own = || self.model.spec().diffusion.schedule.clone();
        self.levels.proposal().unwrap_or_else(own)
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

    /// Sums over the steps since the last line of metrics was due, this step included.
    #[must_use]
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Whether a line of metrics is due after this step, however long the run will be.
    fn line_is_due(&self) -> bool {
        self.step.is_multiple_of(self.config.output.log_every)
    }

    fn new_window(&self) -> Window {
        Window::new(self.proposal().range(), self.seconds)
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
        if self.line_is_due() {
            self.window = self.new_window();
        }
        let training = &self.config.training;
        let step = self.step + 1;
        if self.config.network.has_dropout() {
            // libtorch's dropout draws from its global generator alone. Seeding that from
            // (seed, step) keeps a resumed run identical.
            let mut rng = self.config.seed.stream(Purpose::Dropout, step, 0);
            tch::manual_seed(rng.random());
        }
        let noising = self.levels.noising(&batch.times, &self.model.spec().diffusion)?;
        self.optimizer.clear_gradients()?;
        let pass = self.backward(batch, &noising)?;
        let learning_rate = training.optimizer.learning_rate_at(step, training.steps);
        let loss = pass.nats.mean(Kind::Float);
        let norm = self.optimizer.step(&training.optimizer, step, learning_rate, &loss)?;
        let host = pass.to_host(&loss, &norm)?;
        let HostPass { loss, gradient_norm, .. } = host;
        if !loss.is_finite() || !gradient_norm.is_finite() {
            return Err(self.non_finite(step, &noising, &host));
        }
        let remains = training.averaging.rate_at(step);
        let (average, model) =
            (self.average.parameters().tensors(), self.model.parameters().tensors());
        vdm_torch_sys::foreach_lerp(&average, &model, 1.0 - remains)?;
        let draws = noising.draws(&host.nats);
        let end_terms = self.update_levels(step, &noising, pass.of, &host, &draws)?;
        self.step = step;
        self.seconds += start.elapsed().as_secs_f64();
        let report = StepReport { step, loss, gradient_norm, learning_rate, draws, end_terms };
        self.window.add(&report);
        Ok(report)
    }

    /// The gradient of a batch's mean loss per dimension by all weights, as one vector; changes nothing.
    ///
    /// # Errors
    /// [`Error::Torch`] or [`Error::Shim`].
    pub fn gradient(&self, batch: &TrainingBatch) -> Result<Tensor, Error> {
        let noising = self.levels.noising(&batch.times, &self.model.spec().diffusion)?;
        self.optimizer.clear_gradients()?;
        self.backward(batch, &noising)?;
        let flat = |weight: &Tensor| weight.grad().flatten(0, -1);
        let parts: Vec<Tensor> = self.model.parameters().tensors().iter().map(flat).collect();
        let gradient = Tensor::f_cat(&parts, 0)?;
        self.optimizer.clear_gradients()?;
        Ok(gradient)
    }

    /// Lets the proposal see the step's losses and the schedule learn from them; returns the mean of
    /// the end terms if they were measured.
    fn update_levels(
        &mut self,
        step: u64,
        noising: &Noising,
        of: Parameterization,
        host: &HostPass,
        draws: &[Draw],
    ) -> Result<Option<f64>, Error> {
        self.levels.observe(draws);
        if !self.levels.are_learned() {
            return Ok(None);
        }
        let diffusion = &self.model.spec().diffusion;
        let items = host.nats.len() as f64;
        let ends = <[f64; 4]>::try_from(host.end_terms.as_slice()).ok();
        let ends = ends.map(|sums| sums.map(|sum| sum / items));
        let observed = Observed {
            losses: &host.nats,
            partials: &noising.partials(diffusion, of, &host.nats, &host.by_level),
            end_slopes: ends.map_or([0.0; 2], |[_, _, by_max, by_min]| [by_max, by_min]),
        };
        if let Some(schedule) = self.levels.learn(step, &diffusion.schedule, &observed)? {
            self.set_schedule(&schedule);
        }
        Ok(ends.map(|[reconstruction, prior, ..]| reconstruction + prior))
    }

    /// Accumulates gradients of the mean loss per dimension.
    fn backward(&self, batch: &TrainingBatch, noising: &Noising) -> Result<Pass, Error> {
        let _searching = FastestKernels::searched();
        let shape = self.model.spec().shape;
        let device = self.model.device();
        let items = batch.times.len();
        let size = [items, shape.channels, shape.height, shape.width].map(|s| s as i64);
        let pixels = Tensor::from_slice(&batch.pixels).view(size).to_device(device);
        let eps = Batch::from_slice(&batch.noise, size, device);
        let part = items / self.config.training.accumulate;
        let slice = |t: &Tensor, first: usize| t.narrow(0, first as i64, part as i64);
        let passes: Vec<Pass> = (0..items)
            .step_by(part)
            .map(|first| {
                let noising = noising.part(first..first + part);
                let eps = Batch(slice(&eps.0, first));
                self.backward_part(&slice(&pixels, first), &eps, &noising, items)
            })
            .collect::<Result<_, _>>()?;
        Ok(Pass::joined(&passes))
    }

    /// The same for some of `items` items.
    fn backward_part(
        &self,
        pixels: &Tensor,
        eps: &Batch,
        noising: &Noising,
        items: usize,
    ) -> Result<Pass, Error> {
        let spec = self.model.spec();
        let scale = 1.0 / (items * spec.shape.dims()) as f64;
        let mode = Mode { train: true, precision: self.config.training.precision };
        let x = self.model.encode(pixels);
        let scaling = spec.diffusion.scaling;
        let leaf = self.levels.are_learned().then(|| {
            let log_snr = PerSample::new(&noising.log_snrs, self.model.device());
            PerSample(log_snr.0.set_requires_grad(true))
        });
        let at = match &leaf {
            None => noising.levels(scaling, self.model.device()),
            Some(log_snr) => scaling.level(log_snr.clone()),
        };
        let loss = objective::diffusion_loss(&self.model, &x, eps, noising, &at, mode)?;
        let nats = loss.nats();
        (nats.sum(Kind::Float) * scale).backward();
        let ends = self.levels.ends_are_learned();
        Ok(Pass {
            nats: nats.detach(),
            of: loss.of,
            by_level: leaf.map(|log_snr| log_snr.0.grad().view([-1]) / scale),
            end_terms: ends.then(|| objective::end_terms(&self.model, pixels, eps)),
        })
    }

    fn non_finite(&self, step: u64, noising: &Noising, host: &HostPass) -> Error {
        // Text, since JSON has no word for a number that is not finite.
        let words = |v: &[f64]| v.iter().map(ToString::to_string).collect::<Vec<_>>();
        let dump = json!({
            "step": step,
            "times": noising.times,
            "log_snr": noising.log_snrs,
            "loss_nats": words(&host.nats),
            "gradient_norm": host.gradient_norm.to_string(),
        });
        Error::NonFinite { step, dump: Box::new(dump) }
    }
}
