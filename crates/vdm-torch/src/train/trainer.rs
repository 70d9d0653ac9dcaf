//! The state of a training and one step of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use rand::RngExt;
use serde::Deserialize;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use vdm_core::count::{Cost, bounded_product};
use vdm_core::setting::InvalidSetting;
use vdm_data::{Dataset, Items, Prefetch};
use vdm_sample::noise::Purpose;

use super::batch::TrainingBatch;
use super::optimizer::{Optimizer, Update};
use super::spec::Plan;
use super::trainable::{Loss, LossTerm, StepTaken, Trainable};
use super::window::Window;
use crate::Error;
use crate::checkpoint::{self, Checkpoint, CheckpointInfo, Checkpoints};
use crate::nn::{Mode, Parameters};
use crate::weights::{self, Named};

/// Batches prepared ahead of the step that takes them.
const PREFETCH: usize = 3;

/// So many steps that are [skipped](super::OptimizerSpec::skip_above) in a row end a training: it has come to nothing.
pub const MOST_SKIPPED: u64 = 100;

/// A model in training.
#[derive(Debug)]
pub struct Trainer<T> {
    plan: Plan,
    model: T,
    average: T,
    optimizer: Optimizer,
    data_sha256: String,
    step: u64,
    skipped: u64,
    /// How many of the last steps were skipped, since one was not. In no checkpoint: a training that goes on counts
    /// anew, and what it computes does not depend on it.
    skipped_in_a_row: u64,
    seconds: f64,
    window: Window,
}

/// What a step did.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// Its number, from 1.
    pub step: u64,
    /// Mean loss of the batch, nats per item.
    pub loss: f64,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Whether that was too long, and the step changed nothing:
    /// [`OptimizerSpec::skip_above`](super::OptimizerSpec::skip_above).
    pub skipped: bool,
    /// Learning rate used.
    pub learning_rate: f64,
    /// The loss of each item, nats.
    pub nats: Vec<f64>,
    /// Parts of the loss, or what belongs beside it, by name: means of the batch, nats per item.
    pub terms: Vec<LossTerm>,
}

/// What the backward pass of a batch leaves on the device.
#[derive(Debug)]
struct Pass {
    /// Of each item, `[B]`.
    nats: Tensor,
    terms: Vec<(&'static str, Tensor)>,
    observed: Vec<Tensor>,
}

/// The same on the host.
#[derive(Debug)]
struct HostPass {
    loss: f64,
    gradient_norm: f64,
    skipped: bool,
    nats: Vec<f64>,
    terms: Vec<LossTerm>,
    observed: Vec<Vec<f64>>,
}

impl Pass {
    /// That of a whole batch from those of its parts, at least one.
    fn joined(parts: &[Self]) -> Self {
        let joined = |part: &dyn Fn(&Self) -> &Tensor| {
            Tensor::cat(&parts.iter().map(part).collect::<Vec<_>>(), 0)
        };
        let terms = parts[0].terms.iter().enumerate();
        Self {
            nats: joined(&|part| &part.nats),
            terms: terms.map(|(i, (name, _))| (*name, joined(&|part| &part.terms[i].1))).collect(),
            observed: (0..parts[0].observed.len())
                .map(|i| joined(&|part| &part.observed[i]))
                .collect(),
        }
    }

    /// In one transfer: the host waits for the device once a step.
    fn to_host(&self, loss: &Tensor, update: &Update) -> Result<HostPass, Error> {
        let scalars = Tensor::stack(&[loss, &update.norm, &update.skipped], 0);
        let terms = self.terms.iter().map(|(_, term)| term);
        let parts: Vec<&Tensor> =
            [&scalars, &self.nats].into_iter().chain(terms).chain(&self.observed).collect();
        let doubles: Vec<Tensor> = parts.iter().map(|part| part.to_kind(Kind::Double)).collect();
        let host = Vec::<f64>::try_from(Tensor::cat(&doubles, 0).to_device(Device::Cpu))?;
        let mut rest = host.as_slice();
        let mut lists = parts.iter().map(|part| {
            let (taken, others) = rest.split_at(part.size()[0] as usize);
            rest = others;
            taken.to_vec()
        });
        let mut next = || lists.next().unwrap_or_default();
        let (scalars, nats) = (next(), next());
        let mean = |list: Vec<f64>| list.iter().sum::<f64>() / list.len() as f64;
        Ok(HostPass {
            loss: scalars[0],
            gradient_norm: scalars[1],
            skipped: scalars[2] > 0.0,
            nats,
            terms: self.terms.iter().map(|(name, _)| (*name, mean(next()))).collect(),
            observed: self.observed.iter().map(|_| next()).collect(),
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

impl<T: Trainable> Trainer<T> {
    /// A new training. `make` makes the model, twice: the same weights each time, since their average starts
    /// as a copy of them.
    ///
    /// # Errors
    /// [`Error::Setting`] or [`Error::Count`] if the plan is not legal for these data, or what `make` fails
    /// with.
    pub fn new(
        plan: Plan,
        data: &Dataset,
        make: impl Fn() -> Result<T, Error>,
    ) -> Result<Self, Error> {
        plan.check()?;
        let dims = data.shape.dims();
        for (field, batch) in [
            ("training.batch times components", plan.training.batch),
            ("output.samples times components", plan.output.samples),
        ] {
            bounded_product(field, &[batch, dims], Cost::Numbers)?;
        }
        let (model, average) = (make()?, make()?);
        let optimizer = Optimizer::new(model.parameters().tensors(), model.device());
        Ok(Self {
            plan,
            model,
            average,
            optimizer,
            data_sha256: data.sha256.clone(),
            step: 0,
            skipped: 0,
            skipped_in_a_row: 0,
            seconds: 0.0,
            window: Window::new(0.0),
        })
    }

    /// Continues from a checkpoint of the same run, read for training.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it is of another run, model or data.
    pub fn resume(
        plan: Plan,
        data: &Dataset,
        checkpoint: &Checkpoint,
        make: impl Fn() -> Result<T, Error>,
    ) -> Result<Self, Error> {
        checkpoint.check_run(&plan.identity)?;
        let mut trainer = Self::new(plan, data, make)?;
        let info = checkpoint.info();
        trainer.model.restore(&info.model, &info.state).map_err(|problem| {
            let problem = format!("{problem}; resume with the run's own config.json");
            Error::Checkpoint { path: checkpoint.path().into(), problem }
        })?;
        trainer.average.follow(&trainer.model);
        checkpoint.check_data(data)?;
        checkpoint.load_training(&trainer.training_tensors())?;
        checkpoint.load_average(&trainer.average.parameters().named())?;
        trainer.step = info.step;
        trainer.skipped = info.skipped;
        trainer.seconds = info.seconds;
        trainer.window = Option::<Window>::deserialize(&info.window)
            .map_err(|source| Error::Json { what: "the sums in a checkpoint", source })?
            .unwrap_or_else(|| Window::new(trainer.seconds));
        Ok(trainer)
    }

    /// Takes over other weights, trained elsewhere, in place of random ones.
    ///
    /// # Errors
    /// [`Error::Setting`] if they have other names or shapes.
    pub fn start_from(&mut self, weights: &Parameters) -> Result<(), Error> {
        for own in [&self.model, &self.average] {
            weights::copy_into(weights.named(), &own.parameters().named()).map_err(|value| {
                let remedy = "start from a model of the same configuration";
                InvalidSetting::new("network", value, remedy)
            })?;
        }
        Ok(())
    }

    /// Writes a checkpoint of the present step, not validated yet.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Json`] or [`Error::Torch`].
    pub fn save(&self, checkpoints: &Checkpoints) -> Result<PathBuf, Error> {
        let window = (!self.line_is_due()).then_some(&self.window);
        let window = serde_json::to_value(window)
            .map_err(|source| Error::Json { what: "the sums of a checkpoint", source })?;
        let info = CheckpointInfo {
            format: checkpoint::FORMAT,
            step: self.step,
            skipped: self.skipped,
            seconds: self.seconds,
            config: self.plan.identity.config().clone(),
            model: self.model.spec()?,
            data_sha256: self.data_sha256.clone(),
            validation: None,
            state: self.model.state()?,
            window,
            files: BTreeMap::new(),
        };
        let average = self.average.parameters().named();
        let path = checkpoints.save(info, &average, &self.training_tensors())?;
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

    /// How it is trained.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The model in training.
    #[must_use]
    pub fn model(&self) -> &T {
        &self.model
    }

    /// The averaged model: the one to evaluate and sample.
    #[must_use]
    pub fn average(&self) -> &T {
        &self.average
    }

    /// Steps done.
    #[must_use]
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// How many of them were skipped: [`OptimizerSpec::skip_above`](super::OptimizerSpec::skip_above).
    #[must_use]
    pub fn steps_skipped(&self) -> u64 {
        self.skipped
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
        self.step.is_multiple_of(self.plan.output.log_every)
    }

    /// The batches from the next step on, prepared on a thread of their own.
    ///
    /// # Errors
    /// [`Error::Prefetch`] if no thread can be started.
    pub fn batches(&self, items: Arc<Items>) -> Result<Prefetch<TrainingBatch<T::Draws>>, Error> {
        let (seed, batch) = (self.plan.seed, self.plan.training.batch);
        let make = TrainingBatch::maker(items, seed, batch, self.model.draws(seed, batch));
        Ok(Prefetch::spawn(self.step + 1, PREFETCH, make)?)
    }

    /// One optimizer step. One that is skipped is a step too: the next has its own items and noise.
    ///
    /// # Errors
    /// [`Error::NonFinite`] with what led to it, or [`Error::OnlySkipped`] after [`MOST_SKIPPED`] in a row, the
    /// weights left as they were; [`Error::Torch`] or [`Error::Shim`].
    pub fn train_step(&mut self, batch: &TrainingBatch<T::Draws>) -> Result<StepReport, Error> {
        let start = Instant::now();
        if self.line_is_due() {
            self.window = Window::new(self.seconds);
            self.model.begin_window();
        }
        let training = &self.plan.training;
        let step = self.step + 1;
        if self.model.has_dropout() {
            // libtorch's dropout draws from its global generator alone. Seeding that from
            // (seed, step) keeps a resumed run identical.
            let mut rng = self.plan.seed.stream(Purpose::Dropout, step, 0);
            tch::manual_seed(rng.random());
        }
        self.optimizer.clear_gradients()?;
        let pass = self.backward(batch)?;
        let learning_rate = training.optimizer.learning_rate_at(step, training.steps);
        let loss = pass.nats.mean(Kind::Float);
        let update = self.optimizer.step(&training.optimizer, step, learning_rate, &loss)?;
        let host = pass.to_host(&loss, &update)?;
        let is_finite = host.loss.is_finite() && host.gradient_norm.is_finite();
        if !is_finite && !host.skipped {
            return Err(self.non_finite(step, &batch.draws, &host));
        }
        let HostPass { loss, gradient_norm, skipped, nats, mut terms, observed } = host;
        if skipped {
            self.skipped = self.skipped.saturating_add(1);
            self.skipped_in_a_row += 1;
            if self.skipped_in_a_row >= MOST_SKIPPED {
                let steps = self.skipped_in_a_row;
                return Err(Error::OnlySkipped { steps, step, norm: gradient_norm });
            }
        } else {
            self.skipped_in_a_row = 0;
            let remains = training.ema.rate_at(step);
            let (average, model) =
                (self.average.parameters().tensors(), self.model.parameters().tensors());
            vdm_torch_sys::foreach_lerp(&average, &model, 1.0 - remains)?;
            let taken = StepTaken { step, draws: &batch.draws, nats: &nats, observed: &observed };
            terms.extend(self.model.learn(&taken)?);
            self.average.follow(&self.model);
        }
        self.step = step;
        self.seconds += start.elapsed().as_secs_f64();
        let report = StepReport { step, loss, gradient_norm, skipped, learning_rate, nats, terms };
        self.window.add(&report);
        Ok(report)
    }

    /// The gradient of a batch's mean loss per dimension by all weights, as one vector; changes nothing.
    ///
    /// # Errors
    /// [`Error::Torch`] or [`Error::Shim`].
    pub fn gradient(&self, batch: &TrainingBatch<T::Draws>) -> Result<Tensor, Error> {
        self.optimizer.clear_gradients()?;
        self.backward(batch)?;
        let flat = |weight: &Tensor| weight.grad().flatten(0, -1);
        let parts: Vec<Tensor> = self.model.parameters().tensors().iter().map(flat).collect();
        let gradient = Tensor::f_cat(&parts, 0)?;
        self.optimizer.clear_gradients()?;
        Ok(gradient)
    }

    /// Accumulates gradients of the mean loss per dimension.
    fn backward(&self, batch: &TrainingBatch<T::Draws>) -> Result<Pass, Error> {
        let _searching = FastestKernels::searched();
        let shape = self.model.shape();
        let items = batch.pixels.len() / shape.dims();
        let size = [items, shape.channels, shape.height, shape.width].map(|s| s as i64);
        let pixels = Tensor::from_slice(&batch.pixels).view(size).to_device(self.model.device());
        let part = items / self.plan.training.accumulate;
        let scale = 1.0 / (items * shape.dims()) as f64;
        let mode = Mode { train: true, precision: self.plan.training.precision };
        let pass = |first: usize| {
            let pixels = pixels.narrow(0, first as i64, part as i64);
            let loss = self.model.loss(&pixels, &batch.draws, first..first + part, mode)?;
            let Loss { nats, terms, observe } = loss;
            (nats.sum(Kind::Float) * scale).backward();
            Ok(Pass {
                nats: nats.detach(),
                terms: terms.into_iter().map(|(name, term)| (name, term.detach())).collect(),
                observed: observe.map(|observe| observe(scale)).unwrap_or_default(),
            })
        };
        let passes: Vec<Pass> = (0..items).step_by(part).map(pass).collect::<Result<_, Error>>()?;
        let weights = self.model.parameters();
        let is_left_out = |weight: &Tensor| !weight.grad().defined();
        if let Some(left_out) = weights.tensors().iter().position(is_left_out) {
            let (name, _) = weights.named().swap_remove(left_out);
            return Err(Error::UnusedWeight { name });
        }
        Ok(Pass::joined(&passes))
    }

    fn non_finite(&self, step: u64, draws: &T::Draws, host: &HostPass) -> Error {
        // Text, since JSON has no word for a number that is not finite.
        let words = |v: &[f64]| v.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut dump = json!({
            "step": step,
            "loss_nats": words(&host.nats),
            "gradient_norm": host.gradient_norm.to_string(),
        });
        if let (Value::Object(dump), Value::Object(drawn)) = (&mut dump, self.model.describe(draws))
        {
            dump.extend(drawn);
        }
        Error::NonFinite { step, dump: Box::new(dump) }
    }
}
