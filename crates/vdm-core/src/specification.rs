//! The same model under another diffusion specification.

use crate::{Denoiser, Latent, NoiseLevel, Parameterization, Prediction, Scaling};

/// A model trained under one scaling, answering for latents of any other.
///
/// At equal log-SNR two specifications differ by a factor, `z^A = (α^A/α^B) z^B`, so
/// `x̂^B(z^B) = x̂^A((α^A/α^B) z^B)` and both define the same distribution of data: nothing has to be
/// trained again (monograph §2.3.3). Schedules need no wrapper, since a denoiser sees levels only.
///
/// ```
/// use vdm_core::{Denoiser, GaussianMixture, NoiseLevel, Respecified, Scaling};
/// let data = GaussianMixture::new(vec![1.0], vec![vec![0.5]], vec![2.0])?;
/// let trained = Respecified::new(&data, Scaling::VariancePreserving);
/// // Any (α, σ) will do; here those of a variance-exploding process with σ = 3.
/// let at = NoiseLevel::from_scales(1.0, 3.0);
/// let (here, there) = (data.denoise(&vec![4.0_f64], &at), trained.denoise(&vec![4.0], &at));
/// assert!((here.unwrap().value[0] - there.unwrap().value[0]).abs() < 1e-14);
/// # Ok::<(), vdm_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Respecified<D> {
    inner: D,
    scaling: Scaling,
}

impl<D> Respecified<D> {
    /// Wraps a model that was trained under `scaling`.
    #[must_use]
    pub fn new(inner: D, scaling: Scaling) -> Self {
        Self { inner, scaling }
    }
}

impl<Z: Latent, D: Denoiser<Z>> Denoiser<Z> for Respecified<D> {
    type Error = D::Error;
    fn denoise(&self, z: &Z, at: &NoiseLevel) -> Result<Prediction<Z>, D::Error> {
        let trained = self.scaling.level(at.log_snr);
        // The two ratios are equal; at the ends only one of them is not 0/0.
        let ratio =
            if at.log_snr < 0.0 { trained.sigma / at.sigma } else { trained.alpha / at.alpha };
        let Prediction { value, of } = self.inner.denoise(&Z::lincomb(&[(ratio, z)]), &trained)?;
        Ok(Prediction { value: rescaled(value, of, ratio), of })
    }
}

/// An output made for the latent times `ratio`, as it would read for the latent itself.
fn rescaled<Z: Latent>(value: Z, of: Parameterization, ratio: f64) -> Z {
    match of.degree() {
        0 => value,
        degree => Z::lincomb(&[(ratio.powi(-degree), &value)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FromFn, GaussianMixture};
    use std::convert::Infallible;

    const EVERY: [Parameterization; 8] = [
        Parameterization::Image,
        Parameterization::Noise,
        Parameterization::Score,
        Parameterization::EnergyGradient,
        Parameterization::Velocity,
        Parameterization::Flow,
        Parameterization::Edm { data_std: 0.5 },
        Parameterization::Combination { image: -0.3, noise: 1.2 },
    ];

    /// M48, whatever the model predicts: a model that knows only its own scaling gives the exact
    /// image at levels of four others. 1e-12: a few roundings, magnified by 1/α at λ = −3.
    #[test]
    fn m48_one_model_answers_under_every_specification() {
        let data =
            GaussianMixture::new(vec![0.3, 0.7], vec![vec![-1.0], vec![1.5]], vec![0.2, 0.4])
                .unwrap();
        let vp = Scaling::VariancePreserving;
        for of in EVERY {
            let network = FromFn(|z: &Vec<f64>, at: &NoiseLevel| {
                assert!((at.alpha - vp.level(at.log_snr).alpha).abs() < 1e-15, "trained under VP");
                let exact = data.denoise(z, at)?;
                Ok::<_, Infallible>(Prediction { value: exact.to(of, z, at), of })
            });
            let model = Respecified::new(&network, vp);
            for log_snr in [-3.0, 0.4, 5.0] {
                let levels = [
                    Scaling::VarianceExploding.level(log_snr),
                    Scaling::StraightLine.level(log_snr),
                    Scaling::SubVariancePreserving.level(log_snr),
                    NoiseLevel::from_scales(0.1 * f64::exp(0.5 * log_snr), 0.1),
                ];
                for at in levels {
                    let z = vec![at.alpha * 0.8 - at.sigma * 0.6];
                    let x_hat = model.denoise(&z, &at).unwrap().image(&z, &at);
                    let exact = data.posterior_mean(&z, &at);
                    assert!((x_hat[0] - exact[0]).abs() < 1e-12, "{of:?} at λ = {log_snr}");
                }
            }
        }
    }

    #[test]
    fn the_ends_stay_finite() {
        let data = GaussianMixture::new(vec![1.0], vec![vec![0.5]], vec![2.0]).unwrap();
        let model = Respecified::new(&data, Scaling::VariancePreserving);
        let noise = Scaling::StraightLine.level(f64::NEG_INFINITY);
        assert_eq!(model.denoise(&vec![0.7], &noise).unwrap().value, [0.5]);
        let clean = Scaling::VarianceExploding.level(f64::INFINITY);
        assert_eq!(model.denoise(&vec![0.7], &clean).unwrap().value, [0.7]);
    }
}
