//! The aggregate posterior, and the likelihood itself where two latents are all there are.

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use serde::Serialize;
use tch::{Kind, Tensor};
use vdm_core::setting::require;
use vdm_sample::estimate::{Estimate, Moments, Summary};

use super::evaluate::{HierarchyEvaluation, estimate, finite, host};
use super::{Belief, Gaussian, Hierarchy};
use crate::Error;

/// `E KL(q(z|x)‖p(z)) = I(x; z) + KL(q(z)‖p(z))`, in nats per item, with `q(z)` the mean of the items' own posteriors.
///
/// The first term on the right is what the latents tell of the item, at most the logarithm of the number of items. The
/// second is the hole: mass that the prior puts where no item's posterior is, from which samples are drawn all the
/// same. Monograph §1.4 and §3.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AggregatePosterior {
    /// `E KL(q(z|x)‖p(z))`, estimated from the same draws as the others, so that they add up to the last bit but
    /// for rounding.
    pub rate: Summary,
    /// `I(x; z)`.
    pub information: Summary,
    /// `KL(q(z)‖p(z))`.
    pub hole: Summary,
}

/// The plane of the two latents of a model of one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LatentPlane {
    /// Latents of the items, one draw from each posterior.
    pub items: Vec<[f64; 2]>,
    /// Latents of samples: draws from the prior.
    pub drawn: Vec<[f64; 2]>,
    /// `log p(z) − log q(z)` of each of these in nats, with `q(z)` the mean of the items' posteriors.
    pub log_ratio: Vec<f64>,
}

/// Latents whose densities under all posteriors are held at once.
const ROWS: i64 = 256;

/// Where the quadrature of two latents ends, in standard deviations of the prior: the rest holds 2·10⁻⁹ of it.
const REACH: f64 = 6.0;

impl HierarchyEvaluation<'_> {
    /// The terms of the top layer, from `draws` of each item; [`None`] where the top layer is inferred from other
    /// latents, and has no density given the item.
    ///
    /// # Errors
    /// As [`bound`](Self::bound).
    pub fn aggregate(&self, draws: usize) -> Result<Option<AggregatePosterior>, Error> {
        self.check("draws", draws)?;
        tch::no_grad(|| {
            let Some([mean, log_std]) = self.top_posteriors()? else { return Ok(None) };
            let own = Gaussian::new(mean.shallow_clone(), log_std.shallow_clone());
            let prior = self.model.top_prior();
            let items = self.items.len();
            let mut terms = [(); 3].map(|()| vec![Moments::default(); items]);
            for draw in 0..draws as u64 {
                let eps = self.top_noise(draw)?.view(mean.size().as_slice());
                let z = &mean + log_std.exp() * eps;
                let given = log_density(&own, &z);
                let p = log_density(&prior, &z);
                let q = mixture(&z, &mean, &log_std);
                let columns = [&given - &p, &given - &q, q - p];
                for (term, column) in terms.iter_mut().zip(columns) {
                    for (moments, value) in term.iter_mut().zip(host(&column)?) {
                        moments.add(value);
                    }
                }
            }
            let [rate, information, hole] = terms.map(|term| Summary::of(&term));
            Ok(Some(AggregatePosterior { rate, information, hole }))
        })
    }

    /// Where items are in the plane of two latents, and where the first `samples` samples of the seed are; [`None`] of
    /// a model of more than one layer, or of other than two latents.
    ///
    /// # Errors
    /// As [`bound`](Self::bound).
    pub fn plane(&self, samples: usize) -> Result<Option<LatentPlane>, Error> {
        self.check("samples", samples)?;
        if !self.model.is_of_a_plane() {
            return Ok(None);
        }
        tch::no_grad(|| {
            let Some([mean, log_std]) = self.top_posteriors()? else { return Ok(None) };
            let items = &mean + log_std.exp() * self.top_noise(0)?.view(mean.size().as_slice());
            let prior = self.model.top_prior();
            let normals = self.model.normals(self.seed, 0, samples)?;
            let normals = Tensor::from_slice(&normals).to_device(self.model.device());
            let shape = [&[samples as i64], &mean.size()[1..]].concat();
            let drawn = &prior.mean + prior.log_std.exp() * normals.view(shape.as_slice());
            let log_ratio = log_density(&prior, &drawn) - mixture(&drawn, &mean, &log_std);
            Ok(Some(LatentPlane {
                items: points(&items)?,
                drawn: points(&drawn)?,
                log_ratio: host(&log_ratio)?,
            }))
        })
    }

    /// `−log p(x)` in nats, by quadrature on `side`² points, of a model of one layer of two latents; [`None`] of any
    /// other. It is exact where posteriors are wider than the distance of the points, 12 standard deviations of the prior
    /// over `side`.
    ///
    /// `progress(done)` is told how many items are done.
    ///
    /// # Errors
    /// [`Error::Setting`] for fewer than two points a side; otherwise as [`bound`](Self::bound).
    pub fn exact(
        &self,
        side: usize,
        mut progress: impl FnMut(usize),
    ) -> Result<Option<Estimate>, Error> {
        self.check("quadrature side", side)?;
        let model = self.model;
        require(side >= 2, "quadrature side", side, "use at least 2")?;
        if !model.is_of_a_plane() {
            return Ok(None);
        }
        let step = 2.0 * REACH / (side - 1) as f64;
        let axis: Vec<f64> = (0..side).map(|i| step * i as f64 - REACH).collect();
        let mut total = Vec::with_capacity(self.items.len());
        for (first, values) in self.batches() {
            let index = values.flatten(1, -1).to_kind(Kind::Int64);
            for nats in tch::no_grad(|| host(&-self.log_evidence(&axis, &index)))? {
                let mut item = Moments::default();
                item.add(finite(nats, total.len())?);
                total.push(item);
            }
            progress(first + values.size()[0] as usize);
        }
        Ok(Some(estimate(total, Vec::new(), 1)))
    }

    /// `log p(x)` of items, as indices `[N, D]` of their values, by the latents of the plane on `axis`².
    fn log_evidence(&self, axis: &[f64], index: &Tensor) -> Tensor {
        let model = self.model;
        let area = (axis[1] - axis[0]).powi(2);
        let column = |first: &f64| {
            let points: Vec<f32> =
                axis.iter().flat_map(|second| [*first as f32, *second as f32]).collect();
            let log_prior =
                |second: &f64| -0.5 * (first * first + second * second) - TAU.ln() + area.ln();
            let log_prior: Vec<f64> = axis.iter().map(log_prior).collect();
            let log_prior = Tensor::from_slice(&log_prior).to_device(model.device()).view([-1, 1]);
            let z = Tensor::from_slice(&points).view([-1, 2]).to_device(model.device());
            // [points, items], of sums over the item's components.
            let joint = model.log_likelihoods(&z, index).to_kind(Kind::Double) + log_prior;
            joint.logsumexp([0_i64].as_slice(), false)
        };
        let columns: Vec<Tensor> = axis.iter().map(column).collect();
        Tensor::stack(&columns, 0).logsumexp([0_i64].as_slice(), false)
    }

    /// Mean and log standard deviation of the top layer given each item; [`None`] where it is inferred from other latents.
    fn top_posteriors(&self) -> Result<Option<[Tensor; 2]>, Error> {
        let model = self.model;
        let top = model.latents().len();
        let mut parts: [Vec<Tensor>; 2] = [Vec::new(), Vec::new()];
        for (_, values) in self.batches() {
            let graphs = model.graphs(values.size()[0], false);
            let data = BTreeMap::from([(0, model.data(&values, false))]);
            let posterior = graphs.inference().factor(top).and_then(|top| top.at(&data));
            let Some(Belief::Gaussian(posterior)) = posterior else { return Ok(None) };
            parts[0].push(posterior.mean);
            parts[1].push(posterior.log_std);
        }
        let joined = |parts: &Vec<Tensor>| Tensor::f_cat(parts, 0);
        Ok(Some([joined(&parts[0])?, joined(&parts[1])?]))
    }

    /// Standard normals of the top layer of all items.
    fn top_noise(&self, draw: u64) -> Result<Tensor, Error> {
        let own = self.model.latents().last().map_or(0, |shape| shape.dims()) as i64;
        let eps = self.eps(0, self.items.len() as i64, draw);
        let all = eps.size()[1];
        Ok(eps.f_narrow(1, all - own, own)?)
    }
}

/// The logarithm of a density at latents `[N, …]`, `[N]`, in f64.
fn log_density(of: &Gaussian<'_>, z: &Tensor) -> Tensor {
    of.log_density(z).flatten(1, -1).sum_dim_intlist(1, false, Kind::Double)
}

/// Pairs of numbers.
fn points(pairs: &Tensor) -> Result<Vec<[f64; 2]>, Error> {
    Ok(host(pairs)?.chunks(2).map(|pair| [pair[0], pair[1]]).collect())
}

/// `log (1/N) Σ_j q(z_i|x_j)` of each `i`, `[M]`, in f64, from latents `[M, …]` and posteriors `[N, …]`.
fn mixture(z: &Tensor, mean: &Tensor, log_std: &Tensor) -> Tensor {
    let flat = |t: &Tensor| t.flatten(1, -1).to_kind(Kind::Double);
    let (z, mean, log_std) = (flat(z), flat(mean), flat(log_std));
    let (latents, items) = (z.size()[0], mean.size()[0]);
    // The square of a score multiplied out: sums over components become products of matrices. What cancels between them
    // is some 10⁷ nats where a scale is the smallest that networks give, and leaves 10⁻⁸ of one in f64.
    let precision = (&log_std * -2.0).exp();
    let weighted = &mean * &precision;
    let normalizer = &mean * &weighted + &log_std * 2.0 + TAU.ln();
    let own = normalizer.sum_dim_intlist(1, false, Kind::Double) * -0.5 - (items as f64).ln();
    let rows = |first: i64| {
        let z = z.narrow(0, first, ROWS.min(latents - first));
        let log_q = z.matmul(&weighted.tr()) - z.square().matmul(&precision.tr()) * 0.5 + &own;
        log_q.logsumexp([1_i64].as_slice(), false)
    };
    let rows: Vec<Tensor> = (0..latents).step_by(ROWS as usize).map(rows).collect();
    Tensor::cat(&rows, 0)
}

impl Hierarchy {
    /// Whether a plane holds all of its latents.
    fn is_of_a_plane(&self) -> bool {
        self.latents().len() == 1 && self.latent_dims() == 2
    }

    /// What the top layer is drawn from where nothing is known: it has no layer above.
    fn top_prior(&self) -> Gaussian<'static> {
        let graphs = self.graphs(1, false);
        let top = graphs.generative().factor(self.latents().len());
        match top.and_then(|top| top.at(&BTreeMap::new())) {
            Some(Belief::Gaussian(prior)) => Gaussian::new(prior.mean, prior.log_std),
            _ => panic!("latents have Gaussian priors"),
        }
    }

    /// `log p(x|z)` of every item for every one of some latents of a model of one layer: `[points, items]`, from
    /// latents `[points, c]` and data values `[items, D]` as indices.
    fn log_likelihoods(&self, z: &Tensor, index: &Tensor) -> Tensor {
        let points = z.size()[0];
        let data = self.graphs(points, false).generate::<Belief<'_>>(&self.noise(z, true));
        let log_probabilities = data[0].1.log_probabilities();
        let [channels, values] = [1, 2].map(|dim| log_probabilities.size()[dim]);
        // [points, D, K]
        let table = log_probabilities
            .view([points, channels, values, -1])
            .permute([0, 1, 3, 2])
            .reshape([points, -1, values]);
        let components =
            (0..index.size()[1]).map(|d| table.select(1, d).index_select(1, &index.select(1, d)));
        components.sum()
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    /// Against the densities one by one, with scales down to the smallest that networks give.
    #[test]
    fn a_mixture_is_the_mean_of_its_densities() {
        tch::manual_seed(3);
        let normal = || Tensor::randn([300, 2, 3, 1], (Kind::Double, Device::Cpu));
        let mean = normal() * 2.0;
        let log_std = normal().clamp(-1.0, 1.0) * 3.0 - 3.0;
        let z = &mean + log_std.exp() * normal();
        let direct: Vec<Tensor> = (0..300)
            .map(|i| {
                let each = Gaussian::new(mean.shallow_clone(), log_std.shallow_clone());
                log_density(&each, &z.narrow(0, i, 1)).logsumexp([0_i64].as_slice(), true)
            })
            .collect();
        let direct = Tensor::cat(&direct, 0) - 300.0_f64.ln();
        let off = (mixture(&z, &mean, &log_std) - direct).abs().max().double_value(&[]);
        // 10⁷ nats cancel at 10⁻¹⁶ each.
        assert!(off < 1e-7, "{off}");
    }
}
