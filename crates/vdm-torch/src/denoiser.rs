//! A model in the trait layer: predictions under any scaling, many latents in one pass, and what
//! its Jacobian makes of a direction.
//!
//! Latents of equal log-SNR are proportional whatever their scaling (monograph §2.3.3), so those of
//! another scaling than the model's are rescaled for the network, `z' = (α'/α) z`. At a level of the
//! model's own scaling its prediction is handed on as its head's, and else as the image or noise it
//! implies, which no scaling changes.
//!
//! Jacobians are those of what is handed on, by the latent as it was given: reverse-mode automatic
//! differentiation runs through the rescaling too. One pass forward serves all directions, and each
//! of them is one pass back.

use tch::{Kind, Tensor};
use vdm_core::setting::require;
use vdm_core::{Denoiser, Divergence, NoiseLevel, Parameterization, Prediction, Products, Vjp};

use crate::model::Model;
use crate::nn::Mode;
use crate::{Batch, Error, PerSample};

/// The most components of an item whose trace is taken exactly: it costs a pass back for each.
pub const EXACT_TRACE_DIMS: usize = 256;

/// A latent is a batch of any number of items, all at one level.
///
/// Items do not see each other: what one is answered does not depend on those it shares a pass
/// with, up to the rounding of libtorch's kernels, which may differ with the size of a batch.
impl Denoiser<Batch> for Model {
    type Error = Error;

    fn denoise(&self, z: &Batch, at: &NoiseLevel) -> Result<Prediction<Batch>, Error> {
        let mut answers = self.denoise_each(&[(z, *at)])?;
        Ok(answers.remove(0))
    }

    /// One pass of the network for all latents, which may differ in their number of items.
    fn denoise_each(
        &self,
        items: &[(&Batch, NoiseLevel)],
    ) -> Result<Vec<Prediction<Batch>>, Error> {
        let latents: Vec<(&Tensor, NoiseLevel)> = items.iter().map(|(z, at)| (&z.0, *at)).collect();
        tch::no_grad(|| predict_each(self, &latents))
    }
}

/// `(∂o/∂z)ᵀv`, one pass back per direction.
impl Vjp<Batch> for Model {
    fn denoise_with_vjp(
        &self,
        z: &Batch,
        at: &NoiseLevel,
        directions: &[Batch],
    ) -> Result<Products<Batch>, Error> {
        let mut answers = self.denoise_with_vjp_each(&[(z, *at, directions)])?;
        Ok(answers.remove(0))
    }

    /// As many passes back as the latent with the most directions has.
    fn denoise_with_vjp_each(
        &self,
        items: &[(&Batch, NoiseLevel, &[Batch])],
    ) -> Result<Vec<Products<Batch>>, Error> {
        let graph = Graph::new(self, items.iter().map(|(z, at, _)| (*z, *at)))?;
        let mut products: Vec<Vec<Batch>> = items.iter().map(|_| Vec::new()).collect();
        let most = items.iter().map(|(_, _, directions)| directions.len()).max().unwrap_or(0);
        for k in 0..most {
            let has = |i: &usize| k < items[*i].2.len();
            let which: Vec<usize> = (0..items.len()).filter(has).collect();
            let asked: Vec<(usize, &Tensor)> =
                which.iter().map(|i| (*i, &items[*i].2[k].0)).collect();
            for (i, product) in which.iter().zip(graph.pull_back(&asked)?) {
                products[*i].push(Batch(product));
            }
        }
        Ok(graph.predictions().into_iter().zip(products).collect())
    }
}

/// The trace by one pass back per component of an item, for items of up to 256 components; that of a
/// latent of several items is the sum over them.
///
/// # Errors
/// [`Error::Setting`] for larger items.
impl Divergence<Batch> for Model {
    fn denoise_with_trace(
        &self,
        z: &Batch,
        at: &NoiseLevel,
    ) -> Result<(Prediction<Batch>, f64), Error> {
        let mut answers = self.denoise_with_trace_each(&[(z, *at)])?;
        Ok(answers.remove(0))
    }

    fn denoise_with_trace_each(
        &self,
        items: &[(&Batch, NoiseLevel)],
    ) -> Result<Vec<(Prediction<Batch>, f64)>, Error> {
        let dims = self.spec().shape.dims();
        let field = "components of an item for an exact trace";
        let remedy = "use at most 256, or estimate the trace from random directions (Hutchinson)";
        require(dims <= EXACT_TRACE_DIMS, field, dims, remedy)?;
        let graph = Graph::new(self, items.iter().copied())?;
        let mut traces = vec![0.0; items.len()];
        for component in 0..dims as i64 {
            let units: Vec<Tensor> = items.iter().map(|(z, _)| unit(&z.0, component)).collect();
            let asked: Vec<(usize, &Tensor)> = units.iter().enumerate().collect();
            for (trace, product) in traces.iter_mut().zip(graph.pull_back(&asked)?) {
                let diagonal = product.flatten(1, -1).select(1, component);
                *trace += diagonal.sum(Kind::Double).double_value(&[]);
            }
        }
        Ok(graph.predictions().into_iter().zip(traces).collect())
    }
}

/// Of the shape of `z`: 1 in that component of every item, 0 elsewhere.
fn unit(z: &Tensor, component: i64) -> Tensor {
    let unit = z.zeros_like().contiguous();
    let _ = unit.flatten(1, -1).select(1, component).fill_(1.0);
    unit
}

/// Predictions for latents of any scaling, each at a level of its own, in one pass of the network.
fn predict_each(
    model: &Model,
    items: &[(&Tensor, NoiseLevel)],
) -> Result<Vec<Prediction<Batch>>, Error> {
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let scaling = model.spec().diffusion.scaling;
    let rescaled = items.iter().map(|(z, at)| {
        let own = scaling.level(at.log_snr);
        let z = if own == *at { z.shallow_clone() } else { *z * at.ratio_to(&own) };
        (Batch(z), own)
    });
    let rescaled: Vec<(Batch, NoiseLevel)> = rescaled.collect();
    let predictions = join(model, &rescaled)?;
    let answers = predictions.into_iter().zip(&rescaled).zip(items);
    Ok(answers
        .map(|((prediction, (z, own)), (_, at))| express_as(model, prediction, z, own, at))
        .collect())
}

/// The network's own predictions for latents of its own scaling.
fn join(model: &Model, latents: &[(Batch, NoiseLevel)]) -> Result<Vec<Prediction<Batch>>, Error> {
    let counts: Vec<i64> = latents.iter().map(|(z, _)| z.0.size()[0]).collect();
    if let [(z, own)] = latents {
        // As it is: nothing is copied, and the answer has memory of its own to be used again.
        let level = PerSample::level(own, z);
        return Ok(vec![model.predict(z, &level, Mode::EVALUATION)?]);
    }
    let tensors: Vec<&Tensor> = latents.iter().map(|(z, _)| &z.0).collect();
    let levels: Vec<NoiseLevel> = latents
        .iter()
        .zip(&counts)
        .flat_map(|((_, own), count)| std::iter::repeat_n(*own, *count as usize))
        .collect();
    let joined = Batch(Tensor::f_cat(&tensors, 0)?);
    let levels = PerSample::levels(&levels, &joined);
    let Prediction { value, of } = model.predict(&joined, &levels, Mode::EVALUATION)?;
    let parts = value.0.split_with_sizes(&counts, 0);
    Ok(parts.into_iter().map(|part| Prediction { value: Batch(part), of }).collect())
}

/// What the network says at `own` of the latent `z`, as a prediction that holds `at` a level of any
/// scaling.
fn express_as(
    model: &Model,
    measured: Prediction<Batch>,
    z: &Batch,
    own: &NoiseLevel,
    at: &NoiseLevel,
) -> Prediction<Batch> {
    let holds = matches!(measured.of, Parameterization::Image | Parameterization::Noise);
    let of = if own == at {
        model.spec().head.parameterization()
    } else if holds {
        measured.of
    } else {
        Parameterization::Image
    };
    if of == measured.of {
        return measured;
    }
    Prediction { value: measured.to(of, z, own), of }
}

/// One pass forward that remembers how it was made.
struct Graph {
    inputs: Vec<Tensor>,
    outputs: Vec<Prediction<Batch>>,
}

impl Graph {
    /// Records, also where the caller has turned gradients off.
    fn new<'a>(
        model: &Model,
        items: impl Iterator<Item = (&'a Batch, NoiseLevel)>,
    ) -> Result<Self, Error> {
        tch::with_grad(|| {
            let (inputs, levels): (Vec<Tensor>, Vec<NoiseLevel>) =
                items.map(|(z, at)| (z.0.detach().set_requires_grad(true), at)).unzip();
            let latents: Vec<(&Tensor, NoiseLevel)> = inputs.iter().zip(levels).collect();
            let outputs = predict_each(model, &latents)?;
            Ok(Self { inputs, outputs })
        })
    }

    /// `(∂o/∂z)ᵀv` for one direction `v` of each of some latents, which go by their number.
    fn pull_back(&self, directions: &[(usize, &Tensor)]) -> Result<Vec<Tensor>, Error> {
        let inputs: Vec<&Tensor> = directions.iter().map(|(i, _)| &self.inputs[*i]).collect();
        // The last operation is recorded as the others were.
        let along: Vec<Tensor> = tch::with_grad(|| {
            let along = |(i, v): &(usize, &Tensor)| (&self.outputs[*i].value.0 * *v).sum(v.kind());
            directions.iter().map(along).collect()
        });
        Ok(Tensor::f_run_backward(&along, &inputs, true, false)?)
    }

    fn predictions(self) -> Vec<Prediction<Batch>> {
        let detach = |Prediction { value, of }: Prediction<Batch>| Prediction {
            value: Batch(value.0.detach()),
            of,
        };
        self.outputs.into_iter().map(detach).collect()
    }
}
