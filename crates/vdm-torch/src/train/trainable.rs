//! What can be trained.

use std::fmt::Debug;
use std::ops::Range;

use serde_json::Value;
use tch::{Device, Tensor};
use vdm_data::{Items, Shape};
use vdm_sample::Seed;

use crate::Error;
use crate::nn::{Mode, Parameters};

/// A model with weights and a loss: all that [`Trainer`](super::Trainer), checkpoints and the loop around
/// them know of what they train.
///
/// There are two of it in a training: one whose weights follow the gradient, and one whose weights are their
/// average, which is validated and sampled. `examples/vae.rs` trains a variational autoencoder;
/// [`DiffusionTraining`](crate::diffusion::DiffusionTraining) is the implementation that `vdm train` uses.
pub trait Trainable: Debug {
    /// What a step draws at random beside its items.
    type Draws: Debug + Send + 'static;

    /// What is measured on the validation split.
    type Bound: Bound;

    /// Its weights.
    fn parameters(&self) -> &Parameters;

    /// Where they are.
    fn device(&self) -> Device {
        self.parameters().device()
    }

    /// Of an item.
    fn shape(&self) -> Shape;

    /// What fixes it but its weights, for files; what it has learned beside weights is as it is by now.
    ///
    /// # Errors
    /// [`Error::Json`].
    fn spec(&self) -> Result<Value, Error>;

    /// What makes the draws of any step, from 1, for `batch` items, on a thread of its own: a function of
    /// (seed, step), so that a resumed training goes on as it would have.
    fn draws(&self, seed: Seed, batch: usize) -> Box<dyn FnMut(u64) -> Self::Draws + Send>;

    /// Whether its network draws random masks in training.
    fn has_dropout(&self) -> bool {
        false
    }

    /// The loss of some items of a step, whose data values are `values`, `[B, C, H, W]`; `items` says which
    /// of those that the draws are for.
    ///
    /// # Errors
    /// Ends the training.
    fn loss<'a>(
        &'a self,
        values: &'a Tensor,
        draws: &'a Self::Draws,
        items: Range<usize>,
        mode: Mode,
    ) -> Result<Loss<'a>, Error>;

    /// Learns, after the optimizer's step, what is no weight: a noise schedule, or where to draw from.
    /// Returns further terms to be shown, by name: means over the batch, in nats per item.
    ///
    /// # Errors
    /// Ends the training, whose step is then not counted.
    fn learn(&mut self, _step: &StepTaken<'_, Self::Draws>) -> Result<Vec<LossTerm>, Error> {
        Ok(Vec::new())
    }

    /// Takes over what another has learned beside weights.
    fn follow(&mut self, _other: &Self) {}

    /// A line of metrics has been written: what is summed up for the next begins at nothing.
    fn begin_window(&mut self) {}

    /// What a checkpoint has to keep beside weights and [`spec`](Self::spec), for training to go on as it
    /// did.
    ///
    /// # Errors
    /// [`Error::Json`].
    fn state(&self) -> Result<Value, Error> {
        Ok(Value::Null)
    }

    /// Continues from the specification and the state of a checkpoint, if both are of what this was
    /// configured as.
    ///
    /// # Errors
    /// In words, what is not; it follows the name of the checkpoint.
    fn restore(&mut self, spec: &Value, _state: &Value) -> Result<(), String> {
        let own = self.spec().map_err(|error| error.to_string())?;
        if own == *spec {
            return Ok(());
        }
        Err("is of another model than the configuration".to_owned())
    }

    /// A bound on the negative log-likelihood of items.
    ///
    /// # Errors
    /// Ends the training.
    fn validate(&self, items: &Items) -> Result<Self::Bound, Error>;

    /// Data values of `count` samples, `[N, C, H, W]`.
    ///
    /// # Errors
    /// Ends the training.
    fn samples(&self, count: usize) -> Result<Vec<u8>, Error>;

    /// What led to a loss that is not finite, for people.
    fn describe(&self, _draws: &Self::Draws) -> Value {
        Value::Null
    }
}

/// What the best checkpoint is chosen by.
pub trait Bound {
    /// In bits per dimension; less is better.
    fn bits_per_dim(&self) -> f64;
}

impl Bound for f64 {
    fn bits_per_dim(&self) -> f64 {
        *self
    }
}

/// A named part of a loss, in nats per item.
pub type LossTerm = (&'static str, f64);

/// The loss of some items.
pub struct Loss<'a> {
    /// Of each item, in nats, `[B]`, differentiable. What is minimized is its mean per component of an item.
    pub nats: Tensor,
    /// Parts of it to be shown by name, of each item, in nats, `[B]`.
    pub terms: Vec<(&'static str, Tensor)>,
    /// Called after the backward pass of `nats·scale` for what [`learn`](Trainable::learn) wants to see on
    /// the host: tensors of one dimension. It is given `scale`, by which gradients are too small.
    pub observe: Option<Observe<'a>>,
}

/// See [`Loss::observe`].
pub type Observe<'a> = Box<dyn FnOnce(f64) -> Vec<Tensor> + 'a>;

impl Debug for Loss<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loss").field("nats", &self.nats).finish_non_exhaustive()
    }
}

impl Loss<'_> {
    /// One without terms, of which nothing but the weights learns.
    #[must_use]
    pub fn of(nats: Tensor) -> Self {
        Self { nats, terms: Vec::new(), observe: None }
    }
}

/// A step whose loss was finite and whose weights are updated.
#[derive(Debug)]
pub struct StepTaken<'a, D> {
    /// Its number, from 1.
    pub step: u64,
    /// What it drew.
    pub draws: &'a D,
    /// The loss of each item, in nats.
    pub nats: &'a [f64],
    /// What was [observed](Loss::observe), the parts of a batch that was split one after the other.
    pub observed: &'a [Vec<f64>],
}
