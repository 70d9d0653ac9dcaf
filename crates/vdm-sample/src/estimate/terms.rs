//! What the bound asks of a model and its data.

use std::fmt;
use std::ops::Range;

use vdm_core::{Denoiser, LogSnr, NoiseLevel, Parameterization, Prediction, Scaling, bound};

use super::ItemSource;
use crate::noise::{Purpose, fill_normal};
use crate::{InnerProduct, Seed};

/// One noised copy of an item: `z = αx + σε`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoisedItem {
    /// Which item.
    pub item: usize,
    /// Which of its draws: with the item it determines the noise, and no two of an item are alike.
    pub number: u64,
    /// The level it is noised to.
    pub log_snr: LogSnr,
}

/// A model and its data, as seen by the bound. Draws come as many at a time as one pass of a network
/// should take.
///
/// [`DenoiserTerms`] is one for any latent; a tensor library that can put all draws into one tensor has
/// its own.
pub trait BoundTerms {
    /// What can go wrong.
    type Error: std::error::Error + 'static;

    /// How many items there are.
    fn items(&self) -> usize;

    /// Components of one item.
    fn dims(&self) -> usize;

    /// `KL(q(z_1|x) ‖ p(z_1))` of consecutive items in nats, for the noisiest level.
    ///
    /// # Errors
    /// Whatever the process reports.
    fn prior(&self, items: Range<usize>, noisiest: LogSnr) -> Result<Vec<f64>, Self::Error>;

    /// `−log p(x|z_0)` of each draw in nats; all are at the cleanest level.
    ///
    /// # Errors
    /// Whatever the process reports.
    fn reconstruction(&self, draws: &[NoisedItem]) -> Result<Vec<f64>, Self::Error>;

    /// `‖ε − ε̂‖²` of each draw.
    ///
    /// # Errors
    /// Whatever the process reports.
    fn noise_errors(&self, draws: &[NoisedItem]) -> Result<Vec<f64>, Self::Error>;
}

/// Any model with any items, one latent each.
///
/// The prior is `N(0, (α_1² + σ_1²) I)`: the unit normal of a variance-preserving process, and the
/// same distribution in the units of any other scaling, so that the scaling changes no term.
#[derive(Clone, Copy)]
pub struct DenoiserTerms<'a, Z, D: ?Sized> {
    /// The model.
    pub model: &'a D,
    /// Its data.
    pub items: &'a dyn ItemSource<Z>,
    /// The scaling its latents are made in.
    pub scaling: Scaling,
    /// Of the run.
    pub seed: Seed,
}

impl<Z, D: ?Sized> fmt::Debug for DenoiserTerms<'_, Z, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scaling, seed, .. } = self;
        f.debug_struct("DenoiserTerms")
            .field("scaling", scaling)
            .field("seed", seed)
            .finish_non_exhaustive()
    }
}

impl<Z: InnerProduct, D: Denoiser<Z> + ?Sized> DenoiserTerms<'_, Z, D> {
    /// Unit normals of a draw.
    pub(super) fn noise(&self, item: usize, number: u64) -> Z {
        let dims = self.items.dims();
        let mut noise = vec![0.0_f64; dims];
        fill_normal(&mut noise, dims, self.seed, Purpose::EvaluationNoise, number, item as u64);
        self.items.latent(&noise)
    }

    pub(super) fn level(&self, log_snr: LogSnr) -> NoiseLevel {
        self.scaling.level(log_snr.value())
    }

    /// `ε − ε̂` of each `(x, ε)` at its level.
    ///
    /// The difference is taken between what the model predicts and what it should have, and then
    /// converted, so that nothing is divided by a small `α` or `σ` on the way.
    pub(super) fn residuals(&self, copies: &[(&Z, &Z, NoiseLevel)]) -> Result<Vec<Z>, D::Error> {
        let noised: Vec<Z> = copies
            .iter()
            .map(|(x, eps, at)| Z::lincomb(&[(at.alpha, *x), (at.sigma, *eps)]))
            .collect();
        let asked: Vec<(&Z, NoiseLevel)> =
            noised.iter().zip(copies).map(|(z, (_, _, at))| (z, *at)).collect();
        let predictions = self.model.denoise_each(&asked)?;
        assert_eq!(predictions.len(), copies.len(), "one prediction for each latent");
        let residual =
            |(Prediction { value, of }, (x, eps, at)): (Prediction<Z>, &(&Z, &Z, NoiseLevel))| {
                let (on_x, on_eps) = of.target(at);
                let to_noise = of.to(Parameterization::Noise, at).on_output;
                Z::lincomb(&[(to_noise * on_x, *x), (to_noise * on_eps, *eps), (-to_noise, &value)])
            };
        Ok(predictions.into_iter().zip(copies).map(residual).collect())
    }
}

impl<Z: InnerProduct, D: Denoiser<Z> + ?Sized> BoundTerms for DenoiserTerms<'_, Z, D> {
    type Error = D::Error;

    fn items(&self) -> usize {
        self.items.len()
    }

    fn dims(&self) -> usize {
        self.items.dims()
    }

    fn prior(&self, items: Range<usize>, noisiest: LogSnr) -> Result<Vec<f64>, D::Error> {
        // A constant for each component, and a multiple of its square.
        let constant = bound::prior_kl(noisiest, 0.0);
        let slope = bound::prior_kl(noisiest, 1.0) - constant;
        let item = |item| {
            let x = self.items.encode(item);
            constant * x.len() as f64 + slope * x.dot(&x)
        };
        Ok(items.map(item).collect())
    }

    fn reconstruction(&self, draws: &[NoisedItem]) -> Result<Vec<f64>, D::Error> {
        let Some(first) = draws.first() else { return Ok(Vec::new()) };
        let at = self.level(first.log_snr);
        let latents: Vec<Z> = draws
            .iter()
            .map(|NoisedItem { item, number, .. }| {
                let (x, eps) = (self.items.encode(*item), self.noise(*item, *number));
                Z::lincomb(&[(at.alpha, &x), (at.sigma, &eps)])
            })
            .collect();
        let asked: Vec<(usize, &Z)> = draws.iter().map(|draw| draw.item).zip(&latents).collect();
        Ok(self.items.log_likelihoods(&asked, &at).into_iter().map(|log_p| -log_p).collect())
    }

    fn noise_errors(&self, draws: &[NoisedItem]) -> Result<Vec<f64>, D::Error> {
        let pairs: Vec<(Z, Z)> = draws
            .iter()
            .map(|draw| (self.items.encode(draw.item), self.noise(draw.item, draw.number)))
            .collect();
        let copies: Vec<(&Z, &Z, NoiseLevel)> = pairs
            .iter()
            .zip(draws)
            .map(|((x, eps), draw)| (x, eps, self.level(draw.log_snr)))
            .collect();
        Ok(self.residuals(&copies)?.iter().map(|residual| residual.dot(residual)).collect())
    }
}
