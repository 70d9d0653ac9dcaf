//! The oracle: data whose every diffusion quantity is known in closed form.

use std::convert::Infallible;
use std::f64::consts::TAU;

use crate::setting::{positive, require};
use crate::{
    Denoiser, Divergence, Error, NoiseLevel, Parameterization, Prediction, Products, Real, Vjp,
    quadrature,
};

/// Data from `Σ_k w_k N(m_k, s_k² I)`, with its exact marginals, score and denoiser.
///
/// Noised by `z = αx + σε` a mixture stays one, with means `αm_k` and variances `α²s_k² + σ²`. As
/// a [`Denoiser`] it returns the posterior mean `E[x|z]`, the optimum every network aims at.
///
/// ```
/// use vdm_core::{Denoiser, GaussianMixture, Scaling};
/// let data = GaussianMixture::new(vec![0.5, 0.5], vec![vec![-2.0], vec![2.0]], vec![0.1, 0.1])?;
/// let at = Scaling::VariancePreserving.level(2.0);
/// let x_hat = data.denoise(&vec![1.7_f64], &at).unwrap().value;
/// assert!((x_hat[0] - 2.0).abs() < 0.05); // z = 1.7 came from the right-hand component
/// # Ok::<(), vdm_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GaussianMixture {
    weights: Vec<f64>,
    means: Vec<Vec<f64>>,
    stds: Vec<f64>,
}

impl GaussianMixture {
    /// Weights (positive, normalized here), means (`K` vectors of one dimension `D ≥ 1`) and
    /// standard deviations (positive).
    ///
    /// # Errors
    /// [`Error::Setting`] naming what does not fit.
    pub fn new(weights: Vec<f64>, means: Vec<Vec<f64>>, stds: Vec<f64>) -> Result<Self, Error> {
        let n = weights.len();
        let value = format_args!("{n} weights, {} means, {} stds", means.len(), stds.len());
        let fits = n > 0 && n == means.len() && n == stds.len();
        require(fits, "mixture", value, "use as many of each, at least one")?;
        for mean in &means {
            let fits = !mean.is_empty() && mean.len() == means[0].len();
            let value = format_args!("one of {} components", mean.len());
            require(fits, "mixture.means", value, "use one dimension for all, at least 1")?;
        }
        weights.iter().try_for_each(|weight| positive("mixture.weights", *weight))?;
        stds.iter().try_for_each(|std| positive("mixture.stds", *std))?;
        let total: f64 = weights.iter().sum();
        let weights = weights.into_iter().map(|w| w / total).collect();
        Ok(Self { weights, means, stds })
    }

    /// Number of dimensions of the data.
    #[must_use]
    pub fn dims(&self) -> usize {
        self.means[0].len()
    }

    /// `(w_k, m_k, s_k)` of each component; weights sum to 1.
    pub fn components(&self) -> impl Iterator<Item = (f64, &[f64], f64)> {
        self.weights
            .iter()
            .zip(&self.means)
            .zip(&self.stds)
            .map(|((w, mean), std)| (*w, mean.as_slice(), *std))
    }

    /// `log w_k + log N(z; αm_k, (α²s_k² + σ²)I)` of each component.
    fn log_joint(&self, z: &[f64], at: &NoiseLevel) -> Vec<f64> {
        assert_eq!(z.len(), self.dims(), "a latent of the mixture's dimension");
        let dims = z.len() as f64;
        self.components()
            .map(|(w, mean, std)| {
                let var = (at.alpha * std).powi(2) + at.sigma.powi(2);
                let square: f64 = z.iter().zip(mean).map(|(z, m)| (z - at.alpha * m).powi(2)).sum();
                w.ln() - 0.5 * (square / var + dims * (TAU * var).ln())
            })
            .collect()
    }

    /// `log q(z)` of the noised data, in nats; at `α = 1, σ = 0` the log-likelihood of the data.
    ///
    /// # Panics
    /// If `z` has another dimension than the data.
    #[must_use]
    pub fn log_density(&self, z: &[f64], at: &NoiseLevel) -> f64 {
        log_sum(&self.log_joint(z, at))
    }

    /// Which component `z` came from: `p(k | z)`.
    fn responsibilities(&self, z: &[f64], at: &NoiseLevel) -> Vec<f64> {
        let mut terms = self.log_joint(z, at);
        let log_total = log_sum(&terms);
        for term in &mut terms {
            *term = (*term - log_total).exp();
        }
        terms
    }

    /// `E[x | z]`.
    ///
    /// # Panics
    /// If `z` has another dimension than the data.
    #[must_use]
    pub fn posterior_mean(&self, z: &[f64], at: &NoiseLevel) -> Vec<f64> {
        self.mean_given(z, at, &self.responsibilities(z, at))
    }

    fn mean_given(&self, z: &[f64], at: &NoiseLevel, responsibilities: &[f64]) -> Vec<f64> {
        let mut x_hat = vec![0.0; z.len()];
        for ((_, mean, std), responsibility) in self.components().zip(responsibilities) {
            let var = (at.alpha * std).powi(2) + at.sigma.powi(2);
            let gain = at.alpha * std * std / var;
            for ((x, z), m) in x_hat.iter_mut().zip(z).zip(mean) {
                *x += responsibility * (m + gain * (z - at.alpha * m));
            }
        }
        x_hat
    }

    /// `∇ log q(z)`, of the shape of `z`.
    ///
    /// # Panics
    /// If `z` has another dimension than the data.
    #[must_use]
    pub fn score(&self, z: &[f64], at: &NoiseLevel) -> Vec<f64> {
        let mut score = vec![0.0; z.len()];
        for ((_, mean, std), responsibility) in self.components().zip(self.responsibilities(z, at))
        {
            let pull = responsibility / ((at.alpha * std).powi(2) + at.sigma.powi(2));
            for ((s, z), m) in score.iter_mut().zip(z).zip(mean) {
                *s += pull * (at.alpha * m - z);
            }
        }
        score
    }

    /// `tr Cov[x | z]`, the squared error of the best denoiser at `z`.
    ///
    /// # Panics
    /// If `z` has another dimension than the data.
    #[must_use]
    pub fn posterior_variance(&self, z: &[f64], at: &NoiseLevel) -> f64 {
        let responsibilities = self.responsibilities(z, at);
        let x_hat = self.mean_given(z, at, &responsibilities);
        self.components()
            .zip(responsibilities)
            .map(|((_, mean, std), responsibility)| {
                let var = (at.alpha * std).powi(2) + at.sigma.powi(2);
                let gain = at.alpha * std * std / var;
                let within = z.len() as f64 * (std * at.sigma).powi(2) / var;
                let centers = mean.iter().zip(z).map(|(m, z)| m + gain * (z - at.alpha * m));
                let between: f64 = centers.zip(&x_hat).map(|(c, x)| (c - x).powi(2)).sum();
                responsibility * (within + between)
            })
            .sum()
    }

    /// `Cov[x | z]·v` for each direction `v`: products with the symmetric matrix whose trace is
    /// [`posterior_variance`](Self::posterior_variance).
    ///
    /// # Panics
    /// If `z` or a direction has another dimension than the data.
    #[must_use]
    pub fn posterior_covariance_products(
        &self,
        z: &[f64],
        at: &NoiseLevel,
        directions: &[Vec<f64>],
    ) -> Vec<Vec<f64>> {
        let responsibilities = self.responsibilities(z, at);
        let x_hat = self.mean_given(z, at, &responsibilities);
        let mut products = vec![vec![0.0; self.dims()]; directions.len()];
        for ((_, mean, std), responsibility) in self.components().zip(responsibilities) {
            let var = (at.alpha * std).powi(2) + at.sigma.powi(2);
            let gain = at.alpha * std * std / var;
            let within = (std * at.sigma).powi(2) / var;
            let centers = mean.iter().zip(z).map(|(m, z)| m + gain * (z - at.alpha * m));
            let away: Vec<f64> = centers.zip(&x_hat).map(|(c, x)| c - x).collect();
            for (product, v) in products.iter_mut().zip(directions) {
                assert_eq!(v.len(), self.dims(), "a direction of the mixture's dimension");
                let along: f64 = away.iter().zip(v).map(|(a, v)| a * v).sum();
                for ((p, a), v) in product.iter_mut().zip(&away).zip(v) {
                    *p += responsibility * (within * v + a * along);
                }
            }
        }
        products
    }

    /// `E‖x − x̂(z)‖²` over data and noise: the error that no denoiser can go below, from the total
    /// variance of the data at `λ = −∞` down to 0 at `+∞`. By quadrature, for up to 3 dimensions.
    ///
    /// What the components leave uncertain within each is known. What lies between them is gathered one
    /// component after the other, the widest first: a `k`-th one adds
    /// `w_k E[(1 − p(k | z)) ‖c_k(z) − x̂(z)‖²]` over its own `z`, with its center `c_k` and `p` and `x̂` of
    /// the first `k` and the first `k − 1`. So nothing under an integral is narrower than what it is
    /// integrated over.
    #[must_use]
    pub fn mmse(&self, at: &NoiseLevel) -> f64 {
        let mut widest_first: Vec<_> = self.components().collect();
        widest_first.sort_by(|a, b| b.2.total_cmp(&a.2));
        let mut wider = Self { weights: vec![], means: vec![], stds: vec![] };
        let (mut within, mut between) = (0.0, 0.0);
        for (weight, mean, std) in widest_first {
            let var = (at.alpha * std).powi(2) + at.sigma.powi(2);
            within += weight * self.dims() as f64 * (std * at.sigma).powi(2) / var;
            let own = Self { weights: vec![weight], means: vec![mean.into()], stds: vec![std] };
            if !wider.weights.is_empty() {
                let apart = |xi: &[f64]| {
                    let z = mean.iter().zip(xi).map(|(m, xi)| at.alpha * m + var.sqrt() * xi);
                    own.apart_from(&wider, &z.collect::<Vec<_>>(), at)
                };
                between += weight * quadrature::normal(self.dims(), apart);
            }
            wider.weights.extend(own.weights);
            wider.means.extend(own.means);
            wider.stds.extend(own.stds);
        }
        within + between
    }

    /// The squared distance of the posterior means of two mixtures with weights of one scale, times the
    /// probability that `z` came from the other.
    fn apart_from(&self, other: &Self, z: &[f64], at: &NoiseLevel) -> f64 {
        let odds = other.log_density(z, at) - self.log_density(z, at);
        let means = [self, other].map(|mixture| mixture.posterior_mean(z, at));
        let square: f64 = means[0].iter().zip(&means[1]).map(|(a, b)| (a - b).powi(2)).sum();
        odds.sigmoid() * square
    }

    /// `E_ε‖ε − ε̂(αx + σε)‖²` of this denoiser for one data point, the integrand of every bound at
    /// `0 < σ`. By quadrature, for up to 3 dimensions. Averaged over the data it is `SNR·mmse`.
    #[must_use]
    pub fn noise_error(&self, x: &[f64], at: &NoiseLevel) -> f64 {
        let snr_root = at.alpha / at.sigma;
        quadrature::normal(self.dims(), |eps| {
            let z: Vec<f64> = x.iter().zip(eps).map(|(x, e)| at.alpha * x + at.sigma * e).collect();
            let x_hat = self.posterior_mean(&z, at);
            x.iter().zip(&x_hat).map(|(x, x_hat)| (snr_root * (x - x_hat)).powi(2)).sum()
        })
    }
}

/// `ln Σ e^term`.
fn log_sum(terms: &[f64]) -> f64 {
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + terms.iter().map(|t| (t - largest).exp()).sum::<f64>().ln()
}

impl Denoiser<Vec<f64>> for GaussianMixture {
    type Error = Infallible;
    fn denoise(&self, z: &Vec<f64>, at: &NoiseLevel) -> Result<Prediction<Vec<f64>>, Infallible> {
        Ok(Prediction { value: self.posterior_mean(z, at), of: Parameterization::Image })
    }
}

impl Denoiser<Vec<f32>> for GaussianMixture {
    type Error = Infallible;
    fn denoise(&self, z: &Vec<f32>, at: &NoiseLevel) -> Result<Prediction<Vec<f32>>, Infallible> {
        let value = narrow(&self.posterior_mean(&wide(z), at));
        Ok(Prediction { value, of: Parameterization::Image })
    }
}

fn wide(z: &[f32]) -> Vec<f64> {
    z.iter().map(|z| f64::from(*z)).collect()
}

fn narrow(z: &[f64]) -> Vec<f32> {
    z.iter().map(|z| *z as f32).collect()
}

/// The Jacobian of the posterior mean is `(α/σ²) Cov[x | z]`, at `σ > 0`.
impl Divergence<Vec<f64>> for GaussianMixture {
    fn denoise_with_trace(
        &self,
        z: &Vec<f64>,
        at: &NoiseLevel,
    ) -> Result<(Prediction<Vec<f64>>, f64), Infallible> {
        let trace = at.alpha * self.posterior_variance(z, at) / at.sigma.powi(2);
        Ok((self.denoise(z, at)?, trace))
    }
}

impl Vjp<Vec<f64>> for GaussianMixture {
    fn denoise_with_vjp(
        &self,
        z: &Vec<f64>,
        at: &NoiseLevel,
        directions: &[Vec<f64>],
    ) -> Result<Products<Vec<f64>>, Infallible> {
        let scale = at.alpha / at.sigma.powi(2);
        let mut products = self.posterior_covariance_products(z, at, directions);
        products.iter_mut().flatten().for_each(|p| *p *= scale);
        Ok((self.denoise(z, at)?, products))
    }
}

/// As in f64, each number rounded once.
impl Divergence<Vec<f32>> for GaussianMixture {
    fn denoise_with_trace(
        &self,
        z: &Vec<f32>,
        at: &NoiseLevel,
    ) -> Result<(Prediction<Vec<f32>>, f64), Infallible> {
        let (Prediction { value, of }, trace) = self.denoise_with_trace(&wide(z), at)?;
        Ok((Prediction { value: narrow(&value), of }, trace))
    }
}

/// As in f64, each number rounded once.
impl Vjp<Vec<f32>> for GaussianMixture {
    fn denoise_with_vjp(
        &self,
        z: &Vec<f32>,
        at: &NoiseLevel,
        directions: &[Vec<f32>],
    ) -> Result<Products<Vec<f32>>, Infallible> {
        let directions: Vec<Vec<f64>> = directions.iter().map(|v| wide(v)).collect();
        let (Prediction { value, of }, products) =
            self.denoise_with_vjp(&wide(z), at, &directions)?;
        let products = products.iter().map(|product| narrow(product)).collect();
        Ok((Prediction { value: narrow(&value), of }, products))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_together_is_refused_by_name() {
        let cases = [
            (vec![1.0], vec![], vec![1.0], "mixture = 1 weights, 0 means"),
            (vec![1.0, 1.0], vec![vec![0.0], vec![0.0, 1.0]], vec![1.0, 1.0], "one dimension"),
            (vec![-1.0], vec![vec![0.0]], vec![1.0], "mixture.weights = -1"),
            (vec![1.0], vec![vec![0.0]], vec![0.0], "mixture.stds = 0"),
        ];
        for (weights, means, stds, named) in cases {
            let error = GaussianMixture::new(weights, means, stds).unwrap_err();
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    /// Both faces of the Jacobian against central differences of the posterior mean, at a step whose
    /// truncation and rounding are each about 1e-9 of entries up to 30.
    #[test]
    fn the_jacobian_is_the_derivative_of_the_posterior_mean() {
        let data = GaussianMixture::new(
            vec![0.3, 0.5, 0.2],
            vec![vec![-1.0, 0.5], vec![0.8, 0.8], vec![0.2, -1.1]],
            vec![0.3, 0.2, 0.25],
        )
        .unwrap();
        for (alpha, sigma) in [(0.2, 1.0), (0.8, 0.6), (1.0, 0.2), (3.0, 0.4)] {
            let at = NoiseLevel::from_scales(alpha, sigma);
            let z = vec![0.3 * alpha, -0.2 * alpha];
            let step = 1e-5 * sigma;
            let column = |j: usize| {
                let moved = |h: f64| {
                    let mut z = z.clone();
                    z[j] += h;
                    data.posterior_mean(&z, &at)
                };
                let (up, down) = (moved(step), moved(-step));
                [0, 1].map(|i| (up[i] - down[i]) / (2.0 * step))
            };
            let (_, trace) = data.denoise_with_trace(&z, &at).unwrap();
            assert!((trace - column(0)[0] - column(1)[1]).abs() < 1e-7, "{alpha} {sigma}");
            let units = [vec![1.0, 0.0], vec![0.0, 1.0]];
            let (_, products) = data.denoise_with_vjp(&z, &at, &units).unwrap();
            for (j, product) in products.iter().enumerate() {
                for (got, wanted) in product.iter().zip(column(j)) {
                    assert!((got - wanted).abs() < 1e-7, "{alpha} {sigma}: {got} and {wanted}");
                }
            }
        }
    }

    /// The same numbers, rounded once: half a unit in the last place of f32.
    #[test]
    fn single_precision_is_double_precision_rounded() {
        let means = vec![vec![-1.0, 0.5], vec![0.75, 0.25]];
        let data = GaussianMixture::new(vec![0.3, 0.7], means, vec![0.5, 0.25]).unwrap();
        let at = NoiseLevel::from_scales(0.8, 0.6);
        let (z, v) = (vec![0.25, -0.5], vec![1.0, -2.0]);
        let (single, direction) = (narrow(&z), narrow(&v));
        let (x, trace) = data.denoise_with_trace(&z, &at).unwrap();
        let (y, trace_of_single) = data.denoise_with_trace(&single, &at).unwrap();
        assert_eq!((narrow(&x.value), trace), (y.value, trace_of_single));
        let (_, products) = data.denoise_with_vjp(&z, &at, &[v]).unwrap();
        let (y, of_single) = data.denoise_with_vjp(&single, &at, &[direction]).unwrap();
        assert_eq!((narrow(&products[0]), narrow(&x.value)), (of_single[0].clone(), y.value));
    }
}
