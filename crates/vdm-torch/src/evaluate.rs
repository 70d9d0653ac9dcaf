//! Test likelihood: the bound on every item of a split, with its standard error and its terms.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use vdm_core::{LogSnr, NoiseSchedule, bound};
use vdm_data::Items;
use vdm_sample::{Purpose, Seed, fill_normal};

use crate::model::{Mode, Model};
use crate::objective::{self, Depth, Noising};
use crate::{Batch, Error};

/// How a likelihood is estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSpec {
    /// Noised copies of each item, at times that divide `[0, 1]` evenly; at least 1.
    pub draws: usize,
    /// Items per pass of the network. Does not change the result.
    pub batch: usize,
}

/// A bound on the negative log-likelihood, all terms in bits per dimension.
#[derive(Debug, Clone, PartialEq)]
pub struct Likelihood {
    /// The bound: the sum of the three terms, averaged over items.
    pub bits_per_dim: f64,
    /// Standard error of that mean: items differ, and each is estimated from a few draws.
    pub standard_error: f64,
    /// `KL(q(z_1|x) ‖ p(z_1))`.
    pub prior: f64,
    /// `−log p(x|z_0)`.
    pub reconstruction: f64,
    /// `L_∞` or `L_T`.
    pub diffusion: f64,
    /// How many items it is the mean over.
    pub items: usize,
    /// In words, for people: which bound, how many draws.
    pub estimator: String,
    /// Noise error by level.
    pub curve: LossCurve,
}

/// The two terms of the bound that depend on the data and the schedule's ends alone, in bits per
/// dimension.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EndTerms {
    /// `KL(q(z_1|x) ‖ p(z_1))`.
    pub prior: f64,
    /// `−log p(x|z_0)`.
    pub reconstruction: f64,
}

/// The end terms on the first 1,000 of `items`: what to add to a training loss, whose diffusion
/// term is all that learns, to read it as a bound.
#[must_use]
pub fn end_terms(model: &Model, items: &Items, seed: Seed) -> EndTerms {
    let (mut prior, mut reconstruction) = (Moments::default(), Moments::default());
    let dims = model.spec().shape.dims();
    let indices: Vec<usize> = (0..items.len().min(1000)).collect();
    for indices in indices.chunks(64) {
        let batch = ItemBatch::new(model, items, indices);
        for [p, r] in batch.end_terms(model, seed) {
            prior.add(bound::bits_per_dim(p, dims));
            reconstruction.add(bound::bits_per_dim(r, dims));
        }
    }
    EndTerms { prior: prior.mean(), reconstruction: reconstruction.mean() }
}

/// `E‖ε − ε̂‖²/D` in equal bins of log-SNR, over all draws of all items.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LossCurve {
    /// Bin centers, from noise to data; bins with fewer than two draws are left out.
    pub log_snr: Vec<f64>,
    /// Mean in each bin.
    pub loss: Vec<f64>,
    /// Standard error of that mean as if draws were independent; those of one item are not quite.
    pub standard_error: Vec<f64>,
}

/// Count, sum and sum of squares: enough for a mean and its standard error.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        self.sum += value;
        self.squares += value * value;
    }

    fn mean(&self) -> f64 {
        self.sum / self.count
    }

    /// Infinite for fewer than two values.
    fn standard_error(&self) -> f64 {
        if self.count < 2.0 {
            return f64::INFINITY;
        }
        let variance = (self.squares / self.count - self.mean().powi(2)).max(0.0);
        (variance / (self.count - 1.0)).sqrt()
    }
}

const BINS: usize = 24;

/// Estimates the bound on all of `items`.
///
/// Draws are a function of (seed, item, draw), so an item's number depends neither on the batch
/// size nor on the other items; sums are kept in f64. `progress(done)` is told how many items are
/// done.
///
/// # Errors
/// [`Error::Config`] for no draws, no steps or an empty batch; [`Error::NonFiniteLikelihood`].
pub fn evaluate(
    model: &Model,
    items: &Items,
    depth: Depth,
    spec: EvaluationSpec,
    seed: Seed,
    mut progress: impl FnMut(usize),
) -> Result<Likelihood, Error> {
    check(depth, spec)?;
    let dims = model.spec().shape.dims();
    let mut totals = [Moments::default(); 4];
    let mut bins = vec![Moments::default(); BINS];
    let per_pass = (spec.batch / spec.draws).max(1);
    let mut first = 0;
    while first < items.len() {
        let indices: Vec<usize> = (first..items.len().min(first + per_pass)).collect();
        for nats in pass(model, items, &indices, depth, spec, seed, &mut bins)? {
            let bits = nats.map(|n| bound::bits_per_dim(n, dims));
            totals[0].add(bits.iter().sum());
            for (total, term) in totals[1..].iter_mut().zip(bits) {
                total.add(term);
            }
        }
        first += indices.len();
        progress(first);
    }
    let bound = match depth {
        Depth::Continuous => "continuous-time bound (L_inf)".to_owned(),
        Depth::Discrete { steps } => format!("{steps}-step bound (L_T)"),
    };
    if !totals[0].sum.is_finite() {
        return Err(Error::NonFiniteLikelihood { bits_per_dim: totals[0].mean() });
    }
    Ok(Likelihood {
        bits_per_dim: totals[0].mean(),
        standard_error: totals[0].standard_error(),
        prior: totals[1].mean(),
        reconstruction: totals[2].mean(),
        diffusion: totals[3].mean(),
        items: items.len(),
        estimator: format!("{bound}, {} stratified draws per item", spec.draws),
        curve: LossCurve::new(model, &bins),
    })
}

fn check(depth: Depth, spec: EvaluationSpec) -> Result<(), Error> {
    let refuse = |field, remedy| Err(Error::Config { field, value: "0".into(), remedy });
    if spec.draws == 0 {
        return refuse("evaluation.draws", "use at least 1 draw per item");
    }
    if spec.batch == 0 {
        return refuse("evaluation.batch", "use at least 1 item per pass");
    }
    if depth == (Depth::Discrete { steps: 0 }) {
        return refuse("steps of the discrete bound", "use at least 1");
    }
    Ok(())
}

/// Some items on the device, with what identifies them to the random numbers.
struct ItemBatch<'a> {
    indices: &'a [usize],
    values: Tensor,
}

impl<'a> ItemBatch<'a> {
    fn new(model: &Model, items: &Items, indices: &'a [usize]) -> Self {
        let size = size(model, indices.len());
        let values =
            Tensor::from_slice(&items.gather(indices)).view(size).to_device(model.device());
        Self { indices, values }
    }

    /// Noise of each (item, draw), draw 0 being that of `z_0`.
    fn noise(&self, model: &Model, seed: Seed, draws: std::ops::Range<u64>) -> Batch {
        let dims = model.spec().shape.dims();
        let copies = self.indices.len() * draws.clone().count();
        let mut noise = vec![0.0_f32; copies * dims];
        let keys = self.indices.iter().flat_map(|i| draws.clone().map(move |d| (*i as u64, d)));
        for (eps, (item, draw)) in noise.chunks_exact_mut(dims).zip(keys) {
            fill_normal(eps, dims, seed, Purpose::EvaluationNoise, draw, item);
        }
        Batch::from_slice(&noise, size(model, copies), model.device())
    }

    /// Prior and reconstruction of each item, in nats.
    fn end_terms(&self, model: &Model, seed: Seed) -> Vec<[f64; 2]> {
        let schedule = &model.spec().diffusion.schedule;
        let eps_0 = self.noise(model, seed, 0..1);
        let (prior, reconstruction) = tch::no_grad(|| {
            let x = model.encode(&self.values);
            let clean = schedule.log_snr(0.0);
            (
                objective::prior_kl(&x, schedule.log_snr(1.0)),
                objective::reconstruction(model, &self.values, &eps_0, clean),
            )
        });
        host(&prior).into_iter().zip(host(&reconstruction)).map(|(p, r)| [p, r]).collect()
    }
}

fn size(model: &Model, items: usize) -> [i64; 4] {
    let shape = model.spec().shape;
    [items, shape.channels, shape.height, shape.width].map(|s| s as i64)
}

/// Prior, reconstruction and diffusion of some items in nats; adds their errors to the bins.
fn pass(
    model: &Model,
    items: &Items,
    indices: &[usize],
    depth: Depth,
    spec: EvaluationSpec,
    seed: Seed,
    bins: &mut [Moments],
) -> Result<Vec<[f64; 3]>, Error> {
    let schedule = &model.spec().diffusion.schedule;
    let batch = ItemBatch::new(model, items, indices);
    let draws = spec.draws;
    let strata = indices.iter().flat_map(|i| (0..draws).map(|d| stratum(seed, *i, d, draws)));
    let noising = Noising::bound(&strata.collect::<Vec<_>>(), schedule, depth);
    let eps = batch.noise(model, seed, 1..draws as u64 + 1);
    let loss = tch::no_grad(|| {
        let x = model.encode(&batch.values).0;
        let copies = Batch(x.repeat_interleave_self_int(draws as i64, 0, None));
        objective::diffusion_loss(model, &copies, &eps, &noising, Mode::EVALUATION)
    })?;
    let (range, dims) = (schedule.range(), model.spec().shape.dims() as f64);
    let squares = host(&loss.squares);
    let scaled = |factors: &[f64]| -> Vec<f64> {
        squares.iter().zip(factors).map(|(square, factor)| square * factor).collect()
    };
    for (t, error) in noising.times.iter().zip(scaled(&loss.to_noise)) {
        let fraction = range.fraction(schedule.log_snr(*t).value()).clamp(0.0, 1.0);
        let bin = ((fraction * bins.len() as f64) as usize).min(bins.len() - 1);
        bins[bin].add(error / dims);
    }
    let mean = |draws: &[f64]| draws.iter().sum::<f64>() / draws.len() as f64;
    let ends = batch.end_terms(model, seed);
    let diffusion = scaled(&loss.to_nats);
    Ok(ends
        .iter()
        .zip(diffusion.chunks_exact(draws))
        .map(|([prior, reconstruction], draws)| [*prior, *reconstruction, mean(draws)])
        .collect())
}

/// A uniform number in the `draw`-th of `draws` equal parts of `[0, 1)`.
fn stratum(seed: Seed, item: usize, draw: usize, draws: usize) -> f64 {
    let within = seed.uniform(Purpose::EvaluationTime, draw as u64, item as u64);
    ((draw as f64 + within) / draws as f64).min(1.0 - f64::EPSILON)
}

fn host(tensor: &Tensor) -> Vec<f64> {
    let tensor = tensor.to_kind(Kind::Double).to_device(tch::Device::Cpu);
    Vec::try_from(tensor.view([-1])).unwrap_or_default()
}

impl LossCurve {
    fn new(model: &Model, bins: &[Moments]) -> Self {
        let range = model.spec().diffusion.schedule.range();
        let width = (range.max() - range.min()) / bins.len() as f64;
        let mut curve = Self::default();
        for (i, bin) in bins.iter().enumerate().filter(|(_, bin)| bin.count > 1.0) {
            curve.log_snr.push(LogSnr::new(range.min() + (i as f64 + 0.5) * width).value());
            curve.loss.push(bin.mean());
            curve.standard_error.push(bin.standard_error());
        }
        curve
    }
}
