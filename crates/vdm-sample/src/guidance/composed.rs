//! Several models as one.

use vdm_core::setting::{InvalidSetting, at_least_one, finite, positive};
use vdm_core::{Denoiser, GaussianMixture, Latent, NoiseLevel, Parameterization, Prediction};

/// `∇ log q = Σ wᵢ ∇ log qᵢ`: the score of `Π qᵢ^{wᵢ}` at each level, what all models agree on.
///
/// Liu et al. 2022; with weights `(scale, 1 − scale)` it is [`Guided`](super::Guided). A product of
/// noised densities is not the noised product, so that only the last levels aim at the product of
/// the data's; Du et al. 2023 correct for it with steps of Langevin dynamics at each level. Weights
/// that sum to 1 keep the prior at pure noise; with others there is none.
///
/// ```
/// use vdm_core::{Denoiser, GaussianMixture, Scaling};
/// use vdm_sample::guidance::Product;
/// let normal = |mean| GaussianMixture::new(vec![1.0], vec![vec![mean]], vec![0.5]);
/// // The geometric mean of normal distributions of one variance has the mean of their means.
/// let product = Product::new(vec![(0.5, normal(1.0)?), (0.5, normal(2.0)?)])?;
/// let at = Scaling::VariancePreserving.level(0.5);
/// let z = vec![0.4_f64];
/// let (got, wanted) = (product.denoise(&z, &at)?, normal(1.5)?.denoise(&z, &at)?);
/// assert!((got.value[0] - wanted.value[0]).abs() < 1e-14);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Product<D> {
    models: Vec<(f64, D)>,
    /// `1 − Σ wᵢ`, exactly 0 where that is rounding.
    rest: f64,
}

impl<D> Product<D> {
    /// From `(wᵢ, modelᵢ)`; models of different types as `&dyn Denoiser`.
    ///
    /// # Errors
    /// [`InvalidSetting`] without models, or with weights that are not finite.
    pub fn new(models: Vec<(f64, D)>) -> Result<Self, InvalidSetting> {
        let weights = weights(&models, finite)?;
        let rest = 1.0 - weights.iter().sum::<f64>();
        let rounding = f64::EPSILON * weights.iter().map(|w| w.abs()).sum::<f64>();
        Ok(Self { models, rest: if rest.abs() <= rounding { 0.0 } else { rest } })
    }
}

impl<Z: Latent, D: Denoiser<Z>> Denoiser<Z> for Product<D> {
    type Error = D::Error;

    fn denoise(&self, z: &Z, at: &NoiseLevel) -> Result<Prediction<Z>, D::Error> {
        let shares = self.models.iter().map(|(weight, model)| Ok((*weight, model.denoise(z, at)?)));
        // σ·score = (αx̂ − z)/σ, hence x̂ = Σ wᵢx̂ᵢ + (1 − Σ wᵢ)z/α.
        let on_z = if self.rest == 0.0 { 0.0 } else { self.rest / at.alpha };
        Ok(sum_of_images(&shares.collect::<Result<Vec<_>, _>>()?, on_z, z, at))
    }
}

/// A density beside its denoiser, for one sample per latent.
pub trait LogDensity<Z> {
    /// `log q(z)` of the noised data, in nats.
    fn log_density(&self, z: &Z, at: &NoiseLevel) -> f64;
}

impl LogDensity<Vec<f64>> for GaussianMixture {
    fn log_density(&self, z: &Vec<f64>, at: &NoiseLevel) -> f64 {
        Self::log_density(self, z, at)
    }
}

impl LogDensity<Vec<f32>> for GaussianMixture {
    fn log_density(&self, z: &Vec<f32>, at: &NoiseLevel) -> f64 {
        let wide: Vec<f64> = z.iter().map(|z| f64::from(*z)).collect();
        Self::log_density(self, &wide, at)
    }
}

/// `q = Σ wᵢ qᵢ`, what any of the models would draw, in the shares `wᵢ`: the noised mixture is the
/// mixture of the noised, so that this is exact.
///
/// `x̂ = Σ p(i|z) x̂ᵢ` with `p(i|z) ∝ wᵢ qᵢ(z)`, which takes models that know their densities, such as
/// energy-based ones (Du et al. 2023). One sample per latent.
#[derive(Debug, Clone)]
pub struct Mixture<D> {
    models: Vec<(f64, D)>,
}

impl<D> Mixture<D> {
    /// From `(wᵢ, modelᵢ)`; the weights need not sum to 1.
    ///
    /// # Errors
    /// [`InvalidSetting`] without models, or with weights that are not positive and finite.
    pub fn new(models: Vec<(f64, D)>) -> Result<Self, InvalidSetting> {
        weights(&models, positive)?;
        Ok(Self { models })
    }
}

impl<Z: Latent, D: Denoiser<Z> + LogDensity<Z>> Denoiser<Z> for Mixture<D> {
    type Error = D::Error;

    fn denoise(&self, z: &Z, at: &NoiseLevel) -> Result<Prediction<Z>, D::Error> {
        let logs: Vec<f64> =
            self.models.iter().map(|(w, model)| w.ln() + model.log_density(z, at)).collect();
        let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = logs.iter().map(|log| (log - largest).exp()).sum();
        let shares =
            self.models.iter().zip(&logs).map(|((_, model), log)| {
                Ok(((log - largest).exp() / total, model.denoise(z, at)?))
            });
        Ok(sum_of_images(&shares.collect::<Result<Vec<_>, _>>()?, 0.0, z, at))
    }
}

/// `Σ cᵢ x̂ᵢ + on_z·z`.
fn sum_of_images<Z: Latent>(
    shares: &[(f64, Prediction<Z>)],
    on_z: f64,
    z: &Z,
    at: &NoiseLevel,
) -> Prediction<Z> {
    let mut terms = vec![(on_z, z)];
    for (share, prediction) in shares {
        let map = prediction.of.to(Parameterization::Image, at);
        terms[0].0 += share * map.on_z;
        terms.push((share * map.on_output, &prediction.value));
    }
    Prediction { value: Z::lincomb(&terms), of: Parameterization::Image }
}

/// The weights, checked.
fn weights<D>(
    models: &[(f64, D)],
    check: impl Fn(&'static str, f64) -> Result<(), InvalidSetting>,
) -> Result<Vec<f64>, InvalidSetting> {
    at_least_one("guidance.models", models.len())?;
    let weights = models.iter().map(|(weight, _)| *weight);
    weights.map(|weight| check("guidance.weights", weight).map(|()| weight)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guidance::Guided;
    use crate::guidance::tests::{PARAMETERIZATIONS, Predicting, assert_same, normal};
    use vdm_core::Scaling;

    #[test]
    fn weights_that_sum_to_one_average_the_means_of_normals() {
        for of in PARAMETERIZATIONS {
            let models = [(0.7, 1.0), (0.5, -0.4), (-0.2, 3.0)]
                .map(|(weight, mean)| (weight, Predicting(normal(mean), of)));
            assert_same(&Product::new(models.into()).unwrap(), &normal(-0.1), 1);
        }
        let guided = Guided::new(normal(1.0), normal(0.5), 2.5).unwrap();
        let product = Product::new(vec![(2.5, normal(1.0)), (-1.5, normal(0.5))]).unwrap();
        assert_same(&product, &guided, 1);
    }

    #[test]
    fn scores_add_up_for_any_weights() {
        let at = Scaling::VariancePreserving.level(-0.8);
        let z = vec![0.6];
        let product = Product::new(vec![(1.0, normal(1.0)), (0.9, normal(-2.0))]).unwrap();
        let got = product.denoise(&z, &at).unwrap().to(Parameterization::Score, &z, &at)[0];
        let wanted = normal(1.0).score(&z, &at)[0] + 0.9 * normal(-2.0).score(&z, &at)[0];
        assert!((got - wanted).abs() < 1e-13, "{got}, not {wanted}");
    }

    /// 0.1 + 0.2 + 0.7 is not 1 in binary; at pure noise the difference would be divided by 0.
    #[test]
    fn weights_that_nearly_sum_to_one_are_finite_at_pure_noise() {
        let models = [0.1, 0.2, 0.7].map(|weight| (weight, normal(1.0)));
        let at = Scaling::VariancePreserving.level(f64::NEG_INFINITY);
        let x_hat = Product::new(models.into()).unwrap().denoise(&vec![0.3_f64], &at).unwrap();
        assert!((x_hat.value[0] - 1.0).abs() < 1e-15, "{x_hat:?}");
    }

    #[test]
    fn a_mixture_of_mixtures_is_the_mixture_of_all_components() {
        let part = |weights: &[f64], means: &[f64], stds: &[f64]| {
            let means = means.iter().map(|m| vec![*m, 0.5 * m]).collect();
            GaussianMixture::new(weights.to_vec(), means, stds.to_vec()).unwrap()
        };
        let mixed = Mixture::new(vec![
            (3.0, part(&[0.25, 0.75], &[-1.0, 0.5], &[0.2, 0.3])),
            (1.0, part(&[1.0], &[2.0], &[0.1])),
        ]);
        let whole = part(&[0.1875, 0.5625, 0.25], &[-1.0, 0.5, 2.0], &[0.2, 0.3, 0.1]);
        assert_same(&mixed.unwrap(), &whole, 2);
    }

    #[test]
    fn what_is_no_composition_is_refused() {
        assert!(Product::<GaussianMixture>::new(vec![]).is_err());
        assert!(Product::new(vec![(f64::NAN, normal(0.0))]).is_err());
        let error = Mixture::new(vec![(-1.0, normal(0.0))]).unwrap_err();
        assert_eq!(error.to_string(), "guidance.weights = -1: use a finite number above 0");
    }
}
