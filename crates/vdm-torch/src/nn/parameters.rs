//! Named weights, initialized from a seed.

use std::cell::RefCell;

use rand::RngExt;
use tch::{Device, Kind, Tensor};
use vdm_sample::{Purpose, Seed};

use crate::Error;

/// How a weight starts.
#[derive(Debug, Clone, Copy)]
pub enum Initial {
    /// All 0: a branch that starts as the identity.
    Zeros,
    /// All 1.
    Ones,
    /// Uniform in `±bound`.
    Uniform {
        /// Usually `1/√fan_in`.
        bound: f64,
    },
}

/// The weights of a model in the order of their creation, each with a dotted name.
#[derive(Debug)]
pub struct Parameters {
    named: RefCell<Vec<(String, Tensor)>>,
    seed: Seed,
    device: Device,
}

/// A place in the tree of names, where a layer creates its weights.
#[derive(Debug)]
pub struct Scope<'a> {
    parameters: &'a Parameters,
    prefix: String,
}

impl Parameters {
    /// None yet. Weight number `i` is drawn on the host from (seed, `i`), so a model is the same
    /// on every device.
    #[must_use]
    pub fn new(seed: Seed, device: Device) -> Self {
        Self { named: RefCell::new(Vec::new()), seed, device }
    }

    /// The top of the tree.
    #[must_use]
    pub fn root(&self) -> Scope<'_> {
        Scope { parameters: self, prefix: String::new() }
    }

    /// All weights; the tensors share memory with the model's.
    #[must_use]
    pub fn tensors(&self) -> Vec<Tensor> {
        self.named.borrow().iter().map(|(_, tensor)| tensor.shallow_clone()).collect()
    }

    /// Names and weights, in the same order.
    #[must_use]
    pub fn named(&self) -> Vec<(String, Tensor)> {
        self.named.borrow().iter().map(|(name, t)| (name.clone(), t.shallow_clone())).collect()
    }

    /// Turns all weights into f64, in place: every layer that holds them computes in f64 from then on, of
    /// inputs in f64. For evaluation; gradients that are there stay f32 and no longer fit.
    ///
    /// # Errors
    /// [`Error::Torch`] where the device has no f64, or no memory for it.
    pub fn to_f64(&self) -> Result<(), Error> {
        for (_, tensor) in self.named.borrow().iter() {
            // A handle on the very weight that the layers hold, not a copy of it.
            let wide = tensor.detach().f_to_kind(Kind::Double)?;
            tensor.shallow_clone().f_set_data(&wide)?;
        }
        Ok(())
    }

    /// How many numbers there are in all.
    #[must_use]
    pub fn count(&self) -> usize {
        self.named.borrow().iter().map(|(_, tensor)| tensor.numel()).sum()
    }
}

impl Scope<'_> {
    /// The place `name` below this one.
    #[must_use]
    pub fn child(&self, name: impl std::fmt::Display) -> Self {
        let prefix = format!("{}{name}.", self.prefix);
        Scope { parameters: self.parameters, prefix }
    }

    /// Where weights are created.
    #[must_use]
    pub fn device(&self) -> Device {
        self.parameters.device
    }

    /// Creates a weight that learns.
    pub fn tensor(&self, name: &str, shape: &[i64], initial: Initial) -> Tensor {
        let Parameters { named, seed, device } = self.parameters;
        let options = (Kind::Float, *device);
        let tensor = match initial {
            Initial::Zeros => Tensor::zeros(shape, options),
            Initial::Ones => Tensor::ones(shape, options),
            Initial::Uniform { bound } => {
                let index = named.borrow().len() as u64;
                let mut rng = seed.stream(Purpose::Initialization, 0, index);
                let count: i64 = shape.iter().product();
                let draw = |_| (bound * (2.0 * rng.random::<f64>() - 1.0)) as f32;
                let values: Vec<f32> = (0..count).map(draw).collect();
                Tensor::from_slice(&values).view(shape).to_device(*device)
            }
        };
        let tensor = tensor.set_requires_grad(true);
        named.borrow_mut().push((format!("{}{name}", self.prefix), tensor.shallow_clone()));
        tensor
    }
}
