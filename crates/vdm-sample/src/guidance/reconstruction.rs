//! Samples that explain an observation: guidance by the gradient of its likelihood.
//!
//! Of the image `x` a linear, noisy view is known, `y = Ax + n` with `n ~ N(0, s² I)`: pixels, a blur,
//! a lower resolution. The score of `p(z|y)` is that of `p(z)` and `∇ log p(y|z)`, so by Tweedie's
//! formula
//!
//! ```text
//! E[x|z,y] = x̂ + (σ²/α) ∇_z log p(y|z)
//! ```
//!
//! which would be exact, were `p(y|z) = ∫ p(y|x) p(x|z) dx` known. Taking `p(x|z)` for `N(x̂, r² I)`
//! makes it normal and its gradient
//!
//! ```text
//! ∇_z log p(y|z) = (∂x̂/∂z)ᵀ Aᵀ (r² AAᵀ + s² I)⁻¹ (y − Ax̂)
//! ```
//!
//! | | `r²` | source |
//! |---|---|---|
//! | [`pigdm`](Reconstruction::pigdm) | `c²/(1 + c² SNR)` | ΠGDM, Song et al. 2023 |
//! | [`dps`](Reconstruction::dps) | 0 | DPS, Chung et al. 2023 |
//!
//! **Which `r²` is exact.** For data from `N(m, c² I)` the posterior `p(x|z)` is normal with
//! precision `1/c² + α²/σ²`, that is with `r² = c²/(1 + c² SNR)`; and `σ²/α·∂x̂/∂z` is its covariance
//! `r² I`. So ΠGDM is exact for isotropic normal data of standard deviation `c`, at every level and
//! under every scaling; Song et al. write this `r²` for `c = 1`. For other data both are
//! approximations.

use vdm_core::setting::{InvalidSetting, non_negative, positive};
use vdm_core::{Denoiser, LogSnr, NoiseLevel, Parameterization, Prediction, Vjp};

use crate::InnerProduct;

/// Conjugate gradients end at this share of the first residual.
const RESIDUAL: f64 = 1e-10;
/// Or after so many steps, as many as `AAᵀ` has distinct eigenvalues being enough.
const MOST_STEPS: usize = 50;

/// A linear map from images to observations, with its adjoint.
///
/// A mask is the product with itself: observations are images that are 0 where nothing is seen.
pub trait LinearOperator<Z> {
    /// What is observed.
    type Observation: InnerProduct;

    /// `Ax`.
    fn apply(&self, x: &Z) -> Self::Observation;

    /// `Aᵀy`, of the shape of an image.
    fn adjoint(&self, y: &Self::Observation) -> Z;
}

/// `(A, Aᵀ)` as two closures.
impl<Z, Y: InnerProduct, A: Fn(&Z) -> Y, T: Fn(&Y) -> Z> LinearOperator<Z> for (A, T) {
    type Observation = Y;

    fn apply(&self, x: &Z) -> Y {
        self.0(x)
    }

    fn adjoint(&self, y: &Y) -> Z {
        self.1(y)
    }
}

/// A model that is guided to what explains an observation.
///
/// Every prediction costs two calls of the model, one of them with a product of its Jacobian. The
/// observation is of the whole latent: one sample, or a batch of samples with `A` block by block. At
/// pure noise (`α = 0`) and at clean data (`σ = 0`) it is the model alone.
///
/// ```
/// use vdm_core::{Denoiser, GaussianMixture, Scaling};
/// use vdm_sample::guidance::Reconstruction;
/// let data = GaussianMixture::new(vec![1.0], vec![vec![0.0, 0.0]], vec![1.0])?;
/// // The sum of both components is seen, without noise.
/// let sum = (|x: &Vec<f64>| vec![x[0] + x[1]], |y: &Vec<f64>| vec![y[0], y[0]]);
/// let model = Reconstruction::pigdm(data, sum, vec![3.0], 0.0, 1.0)?;
/// let at = Scaling::VariancePreserving.level(0.0);
/// let x_hat = model.denoise(&vec![0.2, 0.4], &at)?.value;
/// assert!((x_hat[0] + x_hat[1] - 3.0).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Reconstruction<D, A, Y> {
    model: D,
    operator: A,
    observed: Y,
    noise_var: f64,
    /// Of the data that `r²` is exact for; 0 for DPS.
    data_var: f64,
    scale: f64,
}

impl<D, A, Y> Reconstruction<D, A, Y> {
    /// ΠGDM, with the standard deviation `noise_std ≥ 0` of the observation's noise and `data_std > 0`
    /// of the data; for images in `[−1, 1]` about 0.5.
    ///
    /// # Errors
    /// [`InvalidSetting`] for other standard deviations.
    pub fn pigdm(
        model: D,
        operator: A,
        observed: Y,
        noise_std: f64,
        data_std: f64,
    ) -> Result<Self, InvalidSetting> {
        non_negative("guidance.noise_std", noise_std)?;
        positive("guidance.data_std", data_std)?;
        Ok(Self {
            model,
            operator,
            observed,
            noise_var: noise_std * noise_std,
            data_var: data_std * data_std,
            scale: 1.0,
        })
    }

    /// DPS, with the standard deviation `noise_std > 0` of the observation's noise.
    ///
    /// It takes `x̂` for certain, so it pulls too hard wherever the noise of the observation is less
    /// than what is left to know of `x`. The paper therefore replaces `1/s²` by a step size that is
    /// tuned for each task: see [`scaled`](Self::scaled).
    ///
    /// # Errors
    /// [`InvalidSetting`] for other standard deviations.
    pub fn dps(model: D, operator: A, observed: Y, noise_std: f64) -> Result<Self, InvalidSetting> {
        positive("guidance.noise_std", noise_std)?;
        let noise_var = noise_std * noise_std;
        Ok(Self { model, operator, observed, noise_var, data_var: 0.0, scale: 1.0 })
    }

    /// With `scale ≥ 0` times the gradient: 1 is Bayes' rule, 0 the model alone.
    ///
    /// # Errors
    /// [`InvalidSetting`] for other scales.
    pub fn scaled(self, scale: f64) -> Result<Self, InvalidSetting> {
        non_negative("guidance.scale", scale)?;
        Ok(Self { scale, ..self })
    }
}

impl<D, A, Y: InnerProduct> Reconstruction<D, A, Y> {
    /// `Aᵀ (r² AAᵀ + s² I)⁻¹ (y − Ax̂)`.
    fn pull<Z>(&self, x_hat: &Z, at: &NoiseLevel) -> Z
    where
        A: LinearOperator<Z, Observation = Y>,
    {
        let r2 = self.data_var / (1.0 + self.data_var * LogSnr::new(at.log_snr).snr());
        let seen = self.operator.apply(x_hat);
        let missing = Y::lincomb(&[(1.0, &self.observed), (-1.0, &seen)]);
        let times = |w: &Y| {
            let mapped = self.operator.apply(&self.operator.adjoint(w));
            Y::lincomb(&[(r2, &mapped), (self.noise_var, w)])
        };
        self.operator.adjoint(&solve(times, missing))
    }
}

/// Conjugate gradients: `w` with `Mw = b` for a symmetric positive semidefinite `M`.
fn solve<Y: InnerProduct>(times: impl Fn(&Y) -> Y, b: Y) -> Y {
    let mut w = Y::lincomb(&[(0.0, &b)]);
    let mut direction = Y::lincomb(&[(1.0, &b)]);
    let mut residual = b;
    let mut size = residual.dot(&residual);
    let enough = RESIDUAL * RESIDUAL * size;
    for _ in 0..MOST_STEPS {
        let mapped = times(&direction);
        let curvature = direction.dot(&mapped);
        // A direction that M maps to 0 is one in which nothing is observed.
        if size <= enough || curvature <= 0.0 {
            break;
        }
        let step = size / curvature;
        w = Y::lincomb(&[(1.0, &w), (step, &direction)]);
        residual = Y::lincomb(&[(1.0, &residual), (-step, &mapped)]);
        let before = std::mem::replace(&mut size, residual.dot(&residual));
        direction = Y::lincomb(&[(1.0, &residual), (size / before, &direction)]);
    }
    w
}

impl<Z, D, A> Denoiser<Z> for Reconstruction<D, A, A::Observation>
where
    Z: InnerProduct,
    D: Vjp<Z>,
    A: LinearOperator<Z>,
{
    type Error = D::Error;

    fn denoise(&self, z: &Z, at: &NoiseLevel) -> Result<Prediction<Z>, D::Error> {
        let output = self.model.denoise(z, at)?;
        if at.alpha == 0.0 || at.sigma == 0.0 || self.scale == 0.0 {
            return Ok(output);
        }
        let map = output.of.to(Parameterization::Image, at);
        let x_hat = Z::lincomb(&[(map.on_z, z), (map.on_output, &output.value)]);
        let pull = self.pull(&x_hat, at);
        let directions = std::slice::from_ref(&pull);
        let (_, products) = self.model.denoise_with_vjp(z, at, directions)?;
        // ∂x̂/∂z = on_z·I + on_output·∂o/∂z.
        let strength = self.scale * at.sigma * at.sigma / at.alpha;
        let mut terms = vec![(1.0, &x_hat), (strength * map.on_z, &pull)];
        terms.extend(products.iter().map(|product| (strength * map.on_output, product)));
        Ok(Prediction { value: Z::lincomb(&terms), of: Parameterization::Image })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::antithetic_prior;
    use crate::{Ddim, NoNoise, Seed, TimeGrid, prior, solve};
    use std::convert::Infallible;
    use vdm_core::{GaussianMixture, Products, Scaling, Schedule};

    const SCALINGS: [Scaling; 3] =
        [Scaling::VariancePreserving, Scaling::VarianceExploding, Scaling::StraightLine];
    const MEAN: [f64; 3] = [0.3, -0.7, 1.1];
    const STD: f64 = 0.6;

    fn normal() -> GaussianMixture {
        GaussianMixture::new(vec![1.0], vec![MEAN.into()], vec![STD]).unwrap()
    }

    /// Two rows that are neither orthogonal nor of unit length.
    const ROWS: [[f64; 3]; 2] = [[1.0, 2.0, 0.0], [0.5, -1.0, 3.0]];
    const SEEN: [f64; 2] = [1.4, 2.5];

    fn rows() -> impl LinearOperator<Vec<f64>, Observation = Vec<f64>> {
        let apply = |x: &Vec<f64>| {
            ROWS.iter().map(|row| row.iter().zip(x).map(|(a, x)| a * x).sum()).collect::<Vec<f64>>()
        };
        let adjoint = |y: &Vec<f64>| {
            (0..3)
                .map(|j| ROWS.iter().zip(y).map(|(row, y)| row[j] * y).sum())
                .collect::<Vec<f64>>()
        };
        (apply, adjoint)
    }

    /// A model that predicts the noise, and whose products are those of that prediction.
    struct OfNoise(GaussianMixture);

    impl Denoiser<Vec<f64>> for OfNoise {
        type Error = Infallible;
        fn denoise(
            &self,
            z: &Vec<f64>,
            at: &NoiseLevel,
        ) -> Result<Prediction<Vec<f64>>, Infallible> {
            let value = self.0.denoise(z, at)?.noise(z, at);
            Ok(Prediction { value, of: Parameterization::Noise })
        }
    }

    impl Vjp<Vec<f64>> for OfNoise {
        fn denoise_with_vjp(
            &self,
            z: &Vec<f64>,
            at: &NoiseLevel,
            directions: &[Vec<f64>],
        ) -> Result<Products<Vec<f64>>, Infallible> {
            let (_, mut products) = self.0.denoise_with_vjp(z, at, directions)?;
            for (product, v) in products.iter_mut().zip(directions) {
                for (p, v) in product.iter_mut().zip(v) {
                    *p = (v - at.alpha * *p) / at.sigma;
                }
            }
            Ok((self.denoise(z, at)?, products))
        }
    }

    /// The posterior mean of normal data solves
    /// `(1/c² + α²/σ²)x + AᵀAx/s² = m/c² + αz/σ² + Aᵀy/s²`, which shares no formula with the
    /// guidance. Rounding: terms up to 1e5 in f64.
    #[test]
    fn pigdm_is_exact_for_normal_data() {
        let z = vec![0.4, 0.1, -0.9];
        let noise_std = 0.2;
        for scaling in SCALINGS {
            for log_snr in [-6.0, -1.0, 0.5, 5.0] {
                let at = scaling.level(log_snr);
                let seen = || SEEN.to_vec();
                let image =
                    Reconstruction::pigdm(normal(), rows(), seen(), noise_std, STD).unwrap();
                let noise =
                    Reconstruction::pigdm(OfNoise(normal()), rows(), seen(), noise_std, STD);
                let found = [
                    image.denoise(&z, &at).unwrap().value,
                    noise.unwrap().denoise(&z, &at).unwrap().value,
                ];
                let ratio = at.alpha / at.sigma;
                for x in found {
                    let missing: Vec<f64> =
                        SEEN.iter().zip(rows().apply(&x)).map(|(y, ax)| y - ax).collect();
                    let pull = rows().adjoint(&missing);
                    for j in 0..3 {
                        let own = (MEAN[j] - x[j]) / STD.powi(2);
                        let latent = ratio * (z[j] / at.sigma - ratio * x[j]);
                        let seen = pull[j] / noise_std.powi(2);
                        let scale = own.abs() + latent.abs() + seen.abs();
                        let sum = own + latent + seen;
                        assert!(sum.abs() < 1e-9 * (1.0 + scale), "{scaling:?} {log_snr}: {sum}");
                    }
                }
            }
        }
    }

    /// Where what is left to know of `x` is little beside the observation's noise, DPS is ΠGDM; where
    /// it is not, it pulls harder by `1 + r²/s²`.
    #[test]
    fn dps_is_pigdm_without_the_spread_of_the_image() {
        let mask = || {
            let keep = |x: &Vec<f64>| vec![x[0], 0.0, 0.0];
            (keep, keep)
        };
        let (z, seen, noise_std) = (vec![0.4, 0.1, -0.9], vec![1.5, 0.0, 0.0], 0.1);
        for log_snr in [-3.0, 0.0, 3.0, 14.0] {
            let at = Scaling::VariancePreserving.level(log_snr);
            let free = normal().denoise(&z, &at).unwrap().value;
            let dps = Reconstruction::dps(normal(), mask(), seen.clone(), noise_std).unwrap();
            let pigdm =
                Reconstruction::pigdm(normal(), mask(), seen.clone(), noise_std, STD).unwrap();
            let moved = |x: Vec<f64>| x[0] - free[0];
            let harder = moved(dps.denoise(&z, &at).unwrap().value)
                / moved(pigdm.denoise(&z, &at).unwrap().value);
            let r2 = STD.powi(2) / (1.0 + STD.powi(2) * log_snr.exp());
            let wanted = 1.0 + r2 / noise_std.powi(2);
            assert!((harder / wanted - 1.0).abs() < 1e-9, "{log_snr}: {harder}, not {wanted}");
            let half = dps.scaled(0.5).unwrap().denoise(&z, &at).unwrap().value;
            assert!(
                (moved(half) / (0.5 * r2 / noise_std.powi(2) * (seen[0] - free[0])) - 1.0).abs()
                    < 1e-9
            );
        }
    }

    /// The flow of normal data is affine, so that the mean of a mirrored pair is the posterior mean,
    /// up to the steps (first order, 400 of them) and what the prior at log-SNR −12 leaves.
    #[test]
    fn samples_of_normal_data_have_the_posterior_mean() {
        let schedule = Schedule::linear(12.0, -12.0).unwrap();
        let vp = Scaling::VariancePreserving;
        let grid = TimeGrid::uniform_time(400, &schedule, vp).unwrap();
        let model = Reconstruction::pigdm(normal(), rows(), SEEN.to_vec(), 0.3, STD).unwrap();
        let ends = [0, 1].map(|sample| {
            let z1: Vec<f64> = antithetic_prior(Seed(4), sample, 3);
            solve(&Ddim::default(), &model, z1, &grid, &mut NoNoise, |_, _, _| ()).unwrap().latent
        });
        let mean: Vec<f64> = ends[0].iter().zip(&ends[1]).map(|(a, b)| 0.5 * (a + b)).collect();
        let missing: Vec<f64> =
            SEEN.iter().zip(rows().apply(&mean)).map(|(y, ax)| y - ax).collect();
        let pull = rows().adjoint(&missing);
        for j in 0..3 {
            // The precision along the rows is up to 150 times that of the data.
            let sum = (MEAN[j] - mean[j]) / STD.powi(2) + pull[j] / 0.09;
            assert!(sum.abs() < 0.3, "{j}: {sum}");
        }
    }

    /// Two clusters on the diagonal: seeing one coordinate tells which, and so the other. By chance 100
    /// of 200 would be right, by the exact conditional distribution all; ΠGDM, an approximation for data that
    /// are not normal, gets 189 here.
    #[test]
    fn an_observation_carries_over_to_what_depends_on_it() {
        let means = vec![vec![-1.0, -1.0], vec![1.0, 1.0]];
        let data = GaussianMixture::new(vec![0.5, 0.5], means, vec![0.2, 0.2]).unwrap();
        let schedule = Schedule::linear(8.0, -8.0).unwrap();
        let grid = TimeGrid::uniform_time(100, &schedule, Scaling::VariancePreserving).unwrap();
        let keep = |x: &Vec<f64>| vec![x[0], 0.0];
        let observed = vec![1.1, 0.0];
        let model = Reconstruction::pigdm(data, (keep, keep), observed, 0.05, 1.0).unwrap();
        let right = (0..200).filter(|i| {
            let z1: Vec<f64> = prior(Seed(6), *i, 2);
            let x = solve(&Ddim::default(), &model, z1, &grid, &mut NoNoise, |_, _, _| ())
                .unwrap()
                .latent;
            (x[1] - 1.0).abs() < 1.0 && (x[0] - 1.1).abs() < 0.3
        });
        let right = right.count();
        assert!(right >= 180, "{right} of 200");
    }

    #[test]
    fn ends_are_the_models_own_and_bad_numbers_are_refused() {
        let seen = || SEEN.to_vec();
        let model = Reconstruction::pigdm(normal(), rows(), seen(), 0.1, STD).unwrap();
        let z = vec![0.4, 0.1, -0.9];
        let noise = Scaling::VariancePreserving.level(f64::NEG_INFINITY);
        assert_eq!(model.denoise(&z, &noise), normal().denoise(&z, &noise));
        let error = Reconstruction::pigdm((), (), (), -1.0, 1.0).unwrap_err();
        assert_eq!(error.to_string(), "guidance.noise_std = -1: use a finite number of at least 0");
        assert!(Reconstruction::pigdm((), (), (), 0.0, 0.0).is_err());
        assert!(Reconstruction::dps((), (), (), 0.0).is_err());
        assert!(Reconstruction::dps((), (), (), 1.0).unwrap().scaled(f64::NAN).is_err());
    }
}
