//! The data of most tests, and the noise errors of its exact denoiser.

use vdm_core::quadrature::tabulated;
use vdm_core::{GaussianMixture, LogSnr, Scaling};

use crate::random::Random;

pub(crate) const VP: Scaling = Scaling::VariancePreserving;

pub(crate) fn data() -> GaussianMixture {
    GaussianMixture::new(vec![0.3, 0.7], vec![vec![-1.2], vec![0.6]], vec![0.3, 0.5]).unwrap()
}

/// `E‖ε − ε̂‖²` over data and noise for the exact denoiser, as a function of `λ`.
pub(crate) fn noise_error(min: f64, max: f64) -> impl Fn(f64) -> f64 {
    let data = data();
    tabulated(min, max, &|log_snr| log_snr.exp() * data.mmse(&VP.level(log_snr)))
}

impl Random {
    /// `‖ε − ε̂‖²` of one item and one draw of the noise.
    pub(crate) fn noise_error(&mut self, data: &GaussianMixture, log_snr: LogSnr) -> f64 {
        let mut u = self.uniform();
        let (_, mean, std) = data
            .components()
            .find(|(weight, ..)| {
                u -= weight;
                u < 0.0
            })
            .expect("weights sum to 1");
        let (x, eps) = (mean[0] + std * self.normal(), self.normal());
        let at = VP.level(log_snr.value());
        let x_hat = data.posterior_mean(&[at.alpha * x + at.sigma * eps], &at)[0];
        (at.alpha / at.sigma * (x - x_hat)).powi(2)
    }
}
