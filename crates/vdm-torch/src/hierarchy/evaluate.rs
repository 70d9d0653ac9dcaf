//! Likelihood of a hierarchy: the bound, the importance-weighted bound, and what each layer carries.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};
use vdm_core::count::{Cost, bounded, bounded_product};
use vdm_core::hlvm::Integrals;
use vdm_core::setting::at_least_one;
use vdm_data::Items;
use vdm_sample::Seed;
use vdm_sample::estimate::{Estimate, EstimateTerm, Moments, Summary};
use vdm_sample::noise::Purpose;

use super::{Belief, Hierarchy, bytes};
use crate::train::Bound;
use crate::{Batch, Error};

/// A hierarchy and the items it is judged on.
#[derive(Debug, Clone, Copy)]
pub struct HierarchyEvaluation<'a> {
    /// The model.
    pub model: &'a Hierarchy,
    /// The items.
    pub items: &'a Items,
    /// Of all draws.
    pub seed: Seed,
    /// Items per pass of the networks. Changes no number beyond rounding.
    pub batch: usize,
}

/// A bound on the negative log-likelihood.
#[derive(Debug, Clone, PartialEq)]
pub struct HierarchyBound {
    /// Nats of each item, a round for each draw of its latents; its terms are `distortion`, `−log p(x|z)`, and `rate`,
    /// the divergence of all latents from their prior.
    pub estimate: Estimate,
    /// The divergence of each layer, from the data up, in nats per item.
    pub layers: Vec<Summary>,
    /// Components of an item.
    pub dims: usize,
}

impl Bound for HierarchyBound {
    fn bits_per_dim(&self) -> f64 {
        self.estimate.total.bits_per_dim(self.dims).mean
    }
}

/// The variance over items, in units of the prior's variance, from which on a latent counts as active (Burda et al.
/// 2016).
pub const ACTIVE: f64 = 0.01;

impl HierarchyEvaluation<'_> {
    /// The evidence lower bound as a number of nats to be small, from `draws` of the latents of each item.
    ///
    /// Draws are a function of (seed, item, draw). `progress(done)` is told how many items are done.
    ///
    /// # Errors
    /// [`Error::Setting`] for no draws, no items or an empty batch; [`Error::Torch`] if the device has no memory for a
    /// batch; [`Error::NonFiniteLikelihood`].
    pub fn bound(
        &self,
        draws: usize,
        progress: impl FnMut(usize),
    ) -> Result<HierarchyBound, Error> {
        self.check("draws", draws)?;
        let none = vec![Moments::default(); self.items.len()];
        let mut nodes = vec![none.clone(); self.model.latents().len() + 1];
        let (mut total, mut rate) = (none.clone(), none);
        self.each_batch(Integrals::Analytic, draws, progress, |first, draws| {
            for terms in draws {
                for item in 0..terms[0].len() {
                    let carried: f64 = terms[1..].iter().map(|layer| layer[item]).sum();
                    let item_terms = terms.iter().map(|node| node[item]);
                    nodes
                        .iter_mut()
                        .zip(item_terms)
                        .for_each(|(n, nats)| n[first + item].add(nats));
                    rate[first + item].add(carried);
                    total[first + item].add(finite(terms[0][item] + carried, first + item)?);
                }
            }
            Ok(())
        })?;
        let distortion = nodes.remove(0);
        Ok(HierarchyBound {
            estimate: estimate(total, vec![("distortion", distortion), ("rate", rate)], draws),
            layers: nodes.iter().map(|layer| Summary::of(layer)).collect(),
            dims: self.model.spec().shape.dims(),
        })
    }

    /// The importance-weighted bound of `samples` draws under one logarithm (Burda et al. 2016), in nats:
    /// `−log (1/K) Σ_k p(x, z_k)/q(z_k|x)`, at most the bound on average and `−log p(x)` itself for many.
    ///
    /// # Errors
    /// As [`bound`](Self::bound).
    pub fn importance_weighted(
        &self,
        samples: usize,
        progress: impl FnMut(usize),
    ) -> Result<Estimate, Error> {
        self.check("importance_samples", samples)?;
        let mut total = vec![Moments::default(); self.items.len()];
        self.each_batch(Integrals::None, samples, progress, |first, draws| {
            for item in 0..draws[0][0].len() {
                let weight =
                    |draw: &Vec<Vec<f64>>| -draw.iter().map(|node| node[item]).sum::<f64>();
                let log_weights: Vec<f64> = draws.iter().map(weight).collect();
                let most = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = log_weights.iter().map(|log_weight| (log_weight - most).exp()).sum();
                let nats = -(most + (sum / samples as f64).ln());
                total[first + item].add(finite(nats, first + item)?);
            }
            Ok(())
        })?;
        Ok(estimate(total, Vec::new(), 1))
    }

    pub(super) fn check(&self, field: &'static str, draws: usize) -> Result<(), Error> {
        for (field, count) in [(field, draws), ("items", self.items.len()), ("batch", self.batch)] {
            at_least_one(field, count)?;
        }
        bounded(field, draws, Cost::Items)?;
        let dims = self.model.spec().shape.dims().max(self.model.latent_dims());
        bounded_product("batch times components", &[self.batch, dims], Cost::Numbers)?;
        Ok(())
    }

    /// How many latents of each layer are active, from the data up: those whose posterior mean, as seen from its
    /// prior, varies over items by more than [`ACTIVE`]. Of a latent that is not, the posterior is the prior
    /// whatever the item: it has collapsed (monograph §1.4).
    ///
    /// # Errors
    /// As [`bound`](Self::bound), but for values that are not finite.
    pub fn active(&self) -> Result<Vec<usize>, Error> {
        let latents = self.model.latents();
        let mut moments: Vec<Vec<Moments>> =
            latents.iter().map(|shape| vec![Moments::default(); shape.dims()]).collect();
        self.check("draws", 1)?;
        for (first, values) in self.batches() {
            let eps = self.eps(first, values.size()[0], 0);
            let means = tch::no_grad(|| self.model.seen_from_the_prior(&values, &eps));
            for (layer, means) in moments.iter_mut().zip(means) {
                for item in host(&means)?.chunks(layer.len()) {
                    layer.iter_mut().zip(item).for_each(|(moments, mean)| moments.add(*mean));
                }
            }
        }
        let is_active = |moments: &&Moments| moments.variance().is_some_and(|var| var > ACTIVE);
        Ok(moments.iter().map(|layer| layer.iter().filter(is_active).count()).collect())
    }

    /// The first items and the most likely values given latents of each, `[2·N, C, H, W]`: an item, what is made of
    /// it, the next item.
    ///
    /// # Errors
    /// [`Error::Torch`] if the device has no memory for them.
    pub fn reconstructions(&self, items: usize) -> Result<Vec<u8>, Error> {
        let model = self.model;
        let dims = model.spec().shape.dims();
        let items = items.min(self.items.len());
        let pixels = &self.items.pixels()[..items * dims];
        let made = tch::no_grad(|| {
            let graphs = model.graphs(items as i64, false);
            let data = [model.data(&model.values(pixels), false)];
            let noise = model.inference_noise(&self.eps(0, items as i64, 0));
            let values = graphs.infer(&data, &noise, |_, _: &Belief<'_>, _, _| ());
            bytes(&graphs.observe(&values)[0].1)
        })?;
        let pairs = pixels.chunks(dims).zip(made.chunks(dims));
        Ok(pairs.flat_map(|(item, made)| [item, made].concat()).collect())
    }

    /// Gives `take` the terms of the bound for a batch of items, in nats to be small, by draw, node and item, with
    /// the number of the batch's first item.
    fn each_batch(
        &self,
        integrals: Integrals,
        draws: usize,
        mut progress: impl FnMut(usize),
        mut take: impl FnMut(usize, Vec<Vec<Vec<f64>>>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for (first, values) in self.batches() {
            let items = values.size()[0];
            let terms = tch::no_grad(|| {
                let data = self.model.data(&values, false);
                let graphs = self.model.graphs(items, false);
                let one = |draw| {
                    let eps = self.eps(first, items, draw);
                    let noise = self.model.inference_noise(&eps);
                    let mut terms =
                        graphs.terms::<Belief<'_>>(std::slice::from_ref(&data), &noise, integrals);
                    terms.sort_by_key(|(node, _)| *node);
                    terms.iter().map(|(_, term)| on_host(term)).collect()
                };
                (0..draws as u64).map(one).collect::<Result<Vec<Vec<Vec<f64>>>, Error>>()
            })?;
            take(first, terms)?;
            progress(first + items as usize);
        }
        Ok(())
    }

    /// The data values of as many items as a batch has, each with the number of its first item.
    pub(super) fn batches(&self) -> impl Iterator<Item = (usize, Tensor)> {
        let components = self.batch * self.model.spec().shape.dims();
        let batches = self.items.pixels().chunks(components).enumerate();
        batches.map(|(number, pixels)| (number * self.batch, self.model.values(pixels)))
    }

    /// Standard normals of the latents of items from number `first`, `[items, D]`.
    pub(super) fn eps(&self, first: usize, items: i64, draw: u64) -> Tensor {
        self.model.eps(self.seed, Purpose::EvaluationNoise, draw, first as u64, items)
    }
}

/// Minus the sum of a term over each item's components.
fn on_host(term: &Tensor) -> Result<Vec<f64>, Error> {
    host(&-Batch(term.to_kind(Kind::Double)).sum_per_item())
}

/// The numbers of a tensor.
pub(super) fn host(numbers: &Tensor) -> Result<Vec<f64>, Error> {
    Ok(Vec::try_from(numbers.to_kind(Kind::Double).to_device(Device::Cpu).flatten(0, -1))?)
}

pub(super) fn estimate(
    items: Vec<Moments>,
    terms: Vec<(&'static str, Vec<Moments>)>,
    rounds: usize,
) -> Estimate {
    let term = |(name, items): (&'static str, Vec<Moments>)| EstimateTerm {
        name,
        mean: Summary::of(&items),
        items,
    };
    let terms = terms.into_iter().map(term).collect();
    Estimate { total: Summary::of(&items), items, terms, rounds, reached: None }
}

pub(super) fn finite(nats: f64, item: usize) -> Result<f64, Error> {
    if nats.is_finite() {
        return Ok(nats);
    }
    Err(Error::NonFiniteLikelihood { term: "bound", item, value: nats })
}

impl Hierarchy {
    /// `(μ_q − μ_p)/σ_p` of every layer from the data up, at one draw of the latents.
    fn seen_from_the_prior(&self, values: &Tensor, eps: &Tensor) -> Vec<Tensor> {
        let graphs = self.graphs(eps.size()[0], false);
        let data = [self.data(values, false)];
        let mut means = BTreeMap::new();
        let values =
            graphs.infer(&data, &self.inference_noise(eps), |node, q: &Belief<'_>, _, _| {
                means.insert(node, q.mode());
            });
        let seen = |(node, mean): (&usize, &Tensor)| {
            let prior = graphs.generative().factor(*node).and_then(|factor| factor.at(&values));
            match prior {
                Some(Belief::Gaussian(prior)) => (mean - prior.mean) * (-prior.log_std).exp(),
                _ => panic!("latents have Gaussian priors"),
            }
        };
        means.iter().map(seen).collect()
    }
}
