//! Training of a hierarchy: minus the bound, with what keeps deep ones alive.

use std::ops::Range;

use serde_json::Value;
use tch::{Kind, Tensor};
use vdm_core::hlvm::Integrals;
use vdm_data::{Items, Shape};
use vdm_sample::Seed;
use vdm_sample::noise::{Purpose, fill_normal};

use super::evaluate::{HierarchyBound, HierarchyEvaluation};
use super::{Belief, Hierarchy};
use crate::nn::{Mode, Parameters};
use crate::train::{Loss, Trainable};
use crate::{Batch, Error};

/// A hierarchy in training.
#[derive(Debug)]
pub struct HierarchyTraining {
    model: Hierarchy,
    seed: Seed,
    batch: usize,
}

/// What a step draws beside its items.
#[derive(Debug, Clone, PartialEq)]
pub struct HierarchyDraws {
    /// The step, from 1.
    pub step: u64,
    /// Standard normals of each item's latents, from the data up.
    pub noise: Vec<f32>,
}

impl HierarchyTraining {
    /// Of a model; `batch` and `seed` are of validation and samples.
    #[must_use]
    pub fn new(model: Hierarchy, batch: usize, seed: Seed) -> Self {
        Self { model, seed, batch }
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Hierarchy {
        &self.model
    }

    /// The weight of the divergences at a step, from 0 to 1.
    fn kl_weight(&self, step: u64) -> f64 {
        progress(step, self.model.spec().hierarchy.kl_warmup).unwrap_or(1.0)
    }

    /// What is free in each layer at a step.
    fn free_nats(&self, step: u64) -> f64 {
        let hierarchy = &self.model.spec().hierarchy;
        hierarchy.free_nats * (1.0 - progress(step, hierarchy.free_nats_steps).unwrap_or(0.0))
    }
}

impl Trainable for HierarchyTraining {
    type Draws = HierarchyDraws;
    type Bound = HierarchyBound;

    fn parameters(&self) -> &Parameters {
        self.model.parameters()
    }

    fn shape(&self) -> Shape {
        self.model.spec().shape
    }

    fn spec(&self) -> Result<Value, Error> {
        serde_json::to_value(self.model.spec())
            .map_err(|source| Error::Json { what: "a hierarchy", source })
    }

    fn draws(&self, seed: Seed, batch: usize) -> Box<dyn FnMut(u64) -> HierarchyDraws + Send> {
        let dims = self.model.latent_dims();
        Box::new(move |step| {
            let mut noise = vec![0.0; batch * dims];
            fill_normal(&mut noise, dims, seed, Purpose::TrainingNoise, step, 0);
            HierarchyDraws { step, noise }
        })
    }

    fn has_dropout(&self) -> bool {
        self.model.spec().hierarchy.dropout > 0.0
    }

    fn loss<'a>(
        &'a self,
        values: &'a Tensor,
        draws: &'a HierarchyDraws,
        items: Range<usize>,
        mode: Mode,
    ) -> Result<Loss<'a>, Error> {
        let model = &self.model;
        let dims = model.latent_dims();
        let noise = Tensor::from_slice(&draws.noise[items.start * dims..items.end * dims]);
        let eps = noise.view([-1, dims as i64]).to_device(model.device());
        let noise = model.inference_noise(&eps);
        // Distributions are f32 whatever their parameters are computed in.
        let terms = mode.precision.run(model.device(), || {
            let data = model.data(values, mode.train);
            let graphs = model.graphs(values.size()[0], mode.train);
            graphs.terms::<Belief<'_>>(&[data], &noise, Integrals::Analytic)
        })?;
        let free = self.free_nats(draws.step);
        let (mut distortion, mut rate, mut pressed) = (None, None, None);
        let add = |sum: &mut Option<Tensor>, term: Tensor| {
            *sum = Some(sum.as_ref().map_or_else(|| term.shallow_clone(), |sum| sum + &term));
        };
        for (node, term) in terms {
            let term = -Batch(term).sum_per_item();
            if node == 0 {
                add(&mut distortion, term);
            } else {
                add(&mut pressed, free_bits(&term, free));
                add(&mut rate, term);
            }
        }
        let (Some(distortion), Some(rate), Some(pressed)) = (distortion, rate, pressed) else {
            panic!("a hierarchy has data and latents")
        };
        let loss = Loss::of(&distortion + pressed * self.kl_weight(draws.step));
        Ok(Loss { terms: vec![("distortion", distortion), ("rate", rate)], ..loss })
    }

    fn validate(&self, items: &Items) -> Result<HierarchyBound, Error> {
        let Self { model, seed, batch } = self;
        HierarchyEvaluation { model, items, seed: *seed, batch: *batch }.bound(1, |_| ())
    }

    fn samples(&self, count: usize) -> Result<Vec<u8>, Error> {
        self.model.samples(self.seed, 0, count, self.batch, 1.0)
    }
}

/// The share of so many steps that is over, at most 1; nothing where there are none.
fn progress(step: u64, steps: u64) -> Option<f64> {
    (steps > 0).then(|| (step as f64 / steps as f64).min(1.0))
}

/// A divergence whose mean over items is not pressed below `free` nats: it has no slope there.
fn free_bits(kl: &Tensor, free: f64) -> Tensor {
    if free > 0.0 {
        let is_pressed = kl.mean(Kind::Float).detach().greater(free).to_kind(Kind::Float);
        return kl * &is_pressed + (1.0 - is_pressed) * free;
    }
    kl.shallow_clone()
}
