//! Named weights, initialized from a seed or taken from those of a file.

use std::cell::RefCell;
use std::collections::HashMap;

use rand::RngExt;
use tch::{Device, Kind, Tensor};
use vdm_sample::Seed;
use vdm_sample::noise::Purpose;

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
    origin: Origin,
    device: Device,
}

/// Where weights come from.
#[derive(Debug)]
enum Origin {
    Drawn(Seed),
    Given(RefCell<Given>),
}

/// Weights for a network to take as it is built.
#[derive(Debug)]
struct Given {
    left: HashMap<String, Tensor>,
    /// The first that is missing or does not fit.
    problem: Option<String>,
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
        Self { named: RefCell::default(), origin: Origin::Drawn(seed), device }
    }

    /// None yet. Each weight is a copy of the one given under its name. A network that asks for others
    /// costs no memory, however large it would be: [`finish`](Self::finish) tells.
    #[must_use]
    pub fn given(weights: Vec<(String, Tensor)>, device: Device) -> Self {
        let given = Given { left: weights.into_iter().collect(), problem: None };
        Self { named: RefCell::default(), origin: Origin::Given(given.into()), device }
    }

    /// That the weights given were those that the network has, once it is built.
    ///
    /// # Errors
    /// [`Error::Weights`] naming the first that is missing, mis-shaped, of another type or left over.
    pub fn finish(&self) -> Result<(), Error> {
        let Origin::Given(given) = &self.origin else { return Ok(()) };
        let Given { left, problem } = &*given.borrow();
        let extra = left
            .keys()
            .min()
            .map(|name| format!("has a tensor {name} that the configured model does not have"));
        problem.clone().or(extra).map_or(Ok(()), |problem| Err(Error::Weights(problem)))
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

    /// Where they are.
    #[must_use]
    pub fn device(&self) -> Device {
        self.device
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
        let Parameters { named, origin, device } = self.parameters;
        let name = format!("{}{name}", self.prefix);
        let tensor = match origin {
            Origin::Drawn(seed) => {
                drawn(*seed, named.borrow().len() as u64, shape, initial, *device)
            }
            Origin::Given(given) => given.borrow_mut().take(&name, shape, *device),
        };
        let tensor = tensor.set_requires_grad(true);
        named.borrow_mut().push((name, tensor.shallow_clone()));
        tensor
    }
}

/// Weight number `index` of a seed.
fn drawn(seed: Seed, index: u64, shape: &[i64], initial: Initial, device: Device) -> Tensor {
    let options = (Kind::Float, device);
    match initial {
        Initial::Zeros => Tensor::zeros(shape, options),
        Initial::Ones => Tensor::ones(shape, options),
        Initial::Uniform { bound } => {
            let mut rng = seed.stream(Purpose::Initialization, 0, index);
            let count: i64 = shape.iter().product();
            let draw = |_| (bound * (2.0 * rng.random::<f64>() - 1.0)) as f32;
            let values: Vec<f32> = (0..count).map(draw).collect();
            Tensor::from_slice(&values).view(shape).to_device(device)
        }
    }
}

impl Given {
    fn take(&mut self, name: &str, shape: &[i64], device: Device) -> Tensor {
        let found = self.left.remove(name);
        match fitting(name, found, shape) {
            Ok(weight) => {
                let mut own = Tensor::empty(shape, (Kind::Float, device));
                own.copy_(&weight);
                own
            }
            Err(problem) => {
                self.problem.get_or_insert(problem);
                // One number in memory, of any shape.
                Tensor::zeros([1], (Kind::Float, device)).expand(shape, false)
            }
        }
    }
}

/// The tensor, if it is one of f32 of this shape; else what is wrong.
pub(crate) fn fitting(name: &str, found: Option<Tensor>, shape: &[i64]) -> Result<Tensor, String> {
    let found = found.ok_or_else(|| {
        format!("has no tensor {name}: it is of another model than the configuration")
    })?;
    if found.size() == shape && found.kind() == Kind::Float {
        return Ok(found);
    }
    Err(format!(
        "{name} is {:?} of shape {:?}, the configured model has f32 of shape {shape:?}",
        found.kind(),
        found.size(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A network of 2^50 numbers that is not the one given takes no memory to refuse.
    #[test]
    fn weights_that_do_not_fit_cost_nothing() {
        let one = |name: &str| (name.to_owned(), Tensor::ones([2], (Kind::Float, Device::Cpu)));
        let built = |weights: Vec<(String, Tensor)>, shape: &[i64]| {
            let parameters = Parameters::given(weights, Device::Cpu);
            let weight = parameters.root().child("conv").tensor("weight", shape, Initial::Ones);
            assert_eq!((weight.size().as_slice(), weight.requires_grad()), (shape, true));
            parameters.finish().map_err(|e| e.to_string())
        };
        built(vec![one("conv.weight")], &[2]).unwrap();
        let huge = [1 << 25, 1 << 25];
        assert!(built(vec![one("conv.weight")], &huge).unwrap_err().contains("of shape [2]"));
        assert!(built(vec![], &huge).unwrap_err().contains("has no tensor conv.weight"));
        let error = built(vec![one("conv.weight"), one("more")], &[2]).unwrap_err();
        assert!(error.contains("has a tensor more"), "{error}");
    }
}
