//! A model and its data as the estimators of [`vdm_sample::estimate`] ask for them.

use std::ops::Range;

use tch::{Kind, Tensor};
use vdm_core::{Latent, LogSnr, NoiseLevel, Parameterization, Scaling};
use vdm_data::Items;
use vdm_sample::Seed;
use vdm_sample::estimate::{self, BoundTerms, NoisedItem};
use vdm_sample::noise::{Purpose, fill_normal};

use crate::model::Model;
use crate::nn::Mode;
use crate::objective;
use crate::{Batch, Error, PerSample};

/// All draws of a call in one tensor, and one pass of the network for them. Latents and the sum of what the
/// network misses are f64; the network computes in its own floats.
pub(super) struct Tensors<'a> {
    pub(super) model: &'a Model,
    pub(super) items: &'a Items,
    pub(super) scaling: Scaling,
    pub(super) seed: Seed,
}

impl Tensors<'_> {
    /// Data values `[B, C, H, W]` on the device.
    fn values(&self, indices: &[usize]) -> Tensor {
        let size = size(self.model, indices.len());
        Tensor::from_slice(&self.items.gather(indices)).view(size).to_device(self.model.device())
    }

    /// `KL(q(z_1|x) ‖ p(z_1))` in nats.
    pub(super) fn prior(&self, items: Range<usize>, noisiest: LogSnr) -> Vec<f64> {
        let values = self.values(&items.collect::<Vec<_>>());
        host(&tch::no_grad(|| objective::prior_kl(&self.model.encode(&values), noisiest)))
    }

    /// `−log p(x|z_0)` in nats of draws at one level.
    pub(super) fn reconstruction(&self, draws: &[NoisedItem]) -> Vec<f64> {
        let Some(NoisedItem { log_snr, .. }) = draws.first() else { return Vec::new() };
        let (values, eps) = self.drawn(draws);
        host(&tch::no_grad(|| objective::reconstruction(self.model, &values, &eps, *log_snr)))
    }

    fn drawn(&self, draws: &[NoisedItem]) -> (Tensor, Batch) {
        let indices: Vec<usize> = draws.iter().map(|draw| draw.item).collect();
        let dims = BoundTerms::dims(self);
        let mut noise = vec![0.0_f32; draws.len() * dims];
        for (eps, NoisedItem { item, number, .. }) in noise.chunks_exact_mut(dims).zip(draws) {
            fill_normal(eps, dims, self.seed, Purpose::EvaluationNoise, *number, *item as u64);
        }
        let eps = Batch::from_slice(&noise, size(self.model, draws.len()), self.model.device());
        (self.values(&indices), eps)
    }

    /// Latents made in the scaling of the estimate, in the units of the model's own (monograph §2.3.3).
    fn latents(&self, x: &Batch, eps: &Batch, own: &[NoiseLevel]) -> Batch {
        let level = |at: &NoiseLevel| self.scaling.level(at.log_snr);
        let made: Vec<NoiseLevel> = own.iter().map(level).collect();
        let at = PerSample::levels(&made, x);
        let z = Batch::lincomb(&[(at.alpha, x), (at.sigma, eps)]);
        if self.scaling == self.model.spec().diffusion.scaling {
            return z;
        }
        let ratios: Vec<f64> = own.iter().zip(&made).map(|(own, at)| at.ratio_to(own)).collect();
        Batch(&z.0 * PerSample::like(&ratios, &z).0)
    }
}

impl BoundTerms for Tensors<'_> {
    type Error = Error;

    fn items(&self) -> usize {
        self.items.len()
    }

    fn dims(&self) -> usize {
        self.model.spec().shape.dims()
    }

    fn prior(&self, items: Range<usize>, noisiest: LogSnr) -> Result<Vec<f64>, Error> {
        Ok(Self::prior(self, items, noisiest))
    }

    fn reconstruction(&self, draws: &[NoisedItem]) -> Result<Vec<f64>, Error> {
        Ok(Self::reconstruction(self, draws))
    }

    fn noise_errors(&self, draws: &[NoisedItem]) -> Result<Vec<f64>, Error> {
        let (values, eps) = self.drawn(draws);
        let eps = in_f64(&eps);
        let scaling = self.model.spec().diffusion.scaling;
        let own: Vec<NoiseLevel> =
            draws.iter().map(|draw| scaling.level(draw.log_snr.value())).collect();
        tch::no_grad(|| {
            let x = in_f64(&self.model.encode(&values));
            let at = PerSample::levels(&own, &x);
            let z = self.latents(&x, &eps, &own);
            let prediction = self.model.predict(&z, &at, Mode::EVALUATION)?;
            let target = objective::target(prediction.of, &x, &eps, &at);
            let squares = Batch((prediction.value.0 - target).square()).sum_per_item();
            let to_noise =
                |at: &NoiseLevel| prediction.of.error_factor(Parameterization::Noise, at);
            Ok(host(&squares).into_iter().zip(&own).map(|(s, at)| s * to_noise(at)).collect())
        })
    }
}

/// Items one latent each, for what follows every item on its own: paths and flows.
pub(super) struct OneByOne<'a> {
    pub(super) model: &'a Model,
    pub(super) items: &'a Items,
}

impl estimate::ItemSource<Batch> for OneByOne<'_> {
    fn len(&self) -> usize {
        self.items.len()
    }

    fn dims(&self) -> usize {
        self.model.spec().shape.dims()
    }

    fn encode(&self, item: usize) -> Batch {
        let values = Tensor::from_slice(self.items.item(item)).view(size(self.model, 1));
        self.model.encode(&values.to_device(self.model.device()))
    }

    fn latent(&self, components: &[f64]) -> Batch {
        let components: Vec<f32> = components.iter().map(|c| *c as f32).collect();
        Batch::from_slice(&components, size(self.model, 1), self.model.device())
    }

    fn log_likelihoods(&self, asked: &[(usize, &Batch)], at: &NoiseLevel) -> Vec<f64> {
        let indices: Vec<usize> = asked.iter().map(|(item, _)| *item).collect();
        let values = Tensor::from_slice(&self.items.gather(&indices))
            .view(size(self.model, indices.len()))
            .to_device(self.model.device());
        let latents: Vec<&Tensor> = asked.iter().map(|(_, z)| &z.0).collect();
        let nats = tch::no_grad(|| {
            let z = Tensor::cat(&latents, 0);
            let eps = Batch((z - self.model.encode(&values).0 * at.alpha) / at.sigma);
            objective::reconstruction(self.model, &values, &eps, LogSnr::new(at.log_snr))
        });
        host(&nats).into_iter().map(|nats| -nats).collect()
    }

    fn cell_width(&self) -> Option<f64> {
        Some(2.0 / f64::from(self.model.spec().values))
    }
}

fn in_f64(batch: &Batch) -> Batch {
    Batch(batch.0.to_kind(Kind::Double))
}

fn size(model: &Model, items: usize) -> [i64; 4] {
    let shape = model.spec().shape;
    [items, shape.channels, shape.height, shape.width].map(|s| s as i64)
}

fn host(tensor: &Tensor) -> Vec<f64> {
    let tensor = tensor.to_kind(Kind::Double).to_device(tch::Device::Cpu);
    Vec::try_from(tensor.view([-1])).expect("one row of f64 in host memory")
}
