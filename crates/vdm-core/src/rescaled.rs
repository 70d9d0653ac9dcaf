//! The same model under another diffusion specification.

use crate::{
    Denoiser, Divergence, Latent, NoiseLevel, Parameterization, Prediction, Products, Scaling, Vjp,
};

/// A model trained under one scaling, answering for latents of any other.
///
/// At equal log-SNR two specifications differ by a factor, `z^A = (α^A/α^B) z^B`, so
/// `x̂^B(z^B) = x̂^A((α^A/α^B) z^B)` and both define the same distribution of data: nothing has to be
/// trained again (monograph §2.3.3). Schedules need no wrapper, since a denoiser sees levels only.
///
/// ```
/// use vdm_core::{Denoiser, GaussianMixture, NoiseLevel, Rescaled, Scaling};
/// let data = GaussianMixture::new(vec![1.0], vec![vec![0.5]], vec![2.0])?;
/// let trained = Rescaled::new(&data, Scaling::VariancePreserving);
/// // Any (α, σ) will do; here those of a variance-exploding process with σ = 3.
/// let at = NoiseLevel::from_scales(1.0, 3.0);
/// let (here, there) = (data.denoise(&vec![4.0_f64], &at), trained.denoise(&vec![4.0], &at));
/// assert!((here.unwrap().value[0] - there.unwrap().value[0]).abs() < 1e-14);
/// # Ok::<(), vdm_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Rescaled<D> {
    inner: D,
    scaling: Scaling,
}

impl<D> Rescaled<D> {
    /// Wraps a model that was trained under `scaling`.
    #[must_use]
    pub fn new(inner: D, scaling: Scaling) -> Self {
        Self { inner, scaling }
    }
}

impl<D> Rescaled<D> {
    /// The level as the model knows it, and what a latent is there over what it is here.
    fn trained(&self, at: &NoiseLevel) -> (NoiseLevel, f64) {
        let trained = self.scaling.level(at.log_snr);
        (trained, at.ratio_to(&trained))
    }

    /// Several latents as the model knows them, with their ratios.
    fn all_trained<Z: Latent>(&self, items: &[(&Z, NoiseLevel)]) -> Vec<(Z, NoiseLevel, f64)> {
        let there = |(z, at): &(&Z, NoiseLevel)| {
            let (trained, ratio) = self.trained(at);
            (Z::lincomb(&[(ratio, *z)]), trained, ratio)
        };
        items.iter().map(there).collect()
    }
}

fn borrowed<Z>(there: &[(Z, NoiseLevel, f64)]) -> Vec<(&Z, NoiseLevel)> {
    there.iter().map(|(z, at, _)| (z, *at)).collect()
}

/// A prediction made for the latent times `ratio`, as it would read for the latent itself.
fn rescaled<Z: Latent>(Prediction { value, of }: Prediction<Z>, ratio: f64) -> Prediction<Z> {
    let value = match of.degree() {
        0 => value,
        degree => Z::lincomb(&[(ratio.powi(-degree), &value)]),
    };
    Prediction { value, of }
}

/// What a Jacobian made for the latent times `ratio` gains as one by the latent itself.
fn jacobian_factor(of: Parameterization, ratio: f64) -> f64 {
    ratio.powi(1 - of.degree())
}

impl<Z: Latent, D: Denoiser<Z>> Denoiser<Z> for Rescaled<D> {
    type Error = D::Error;
    fn denoise(&self, z: &Z, at: &NoiseLevel) -> Result<Prediction<Z>, D::Error> {
        let (trained, ratio) = self.trained(at);
        Ok(rescaled(self.inner.denoise(&Z::lincomb(&[(ratio, z)]), &trained)?, ratio))
    }
    fn denoise_each(&self, items: &[(&Z, NoiseLevel)]) -> Result<Vec<Prediction<Z>>, D::Error> {
        let there = self.all_trained(items);
        let found = self.inner.denoise_each(&borrowed(&there))?;
        Ok(found
            .into_iter()
            .zip(&there)
            .map(|(found, (.., ratio))| rescaled(found, *ratio))
            .collect())
    }
}

impl<Z: Latent, D: Divergence<Z>> Divergence<Z> for Rescaled<D> {
    fn denoise_with_trace(
        &self,
        z: &Z,
        at: &NoiseLevel,
    ) -> Result<(Prediction<Z>, f64), Self::Error> {
        let (trained, ratio) = self.trained(at);
        let (found, trace) = self.inner.denoise_with_trace(&Z::lincomb(&[(ratio, z)]), &trained)?;
        let trace = trace * jacobian_factor(found.of, ratio);
        Ok((rescaled(found, ratio), trace))
    }
    fn denoise_with_trace_each(
        &self,
        items: &[(&Z, NoiseLevel)],
    ) -> Result<Vec<(Prediction<Z>, f64)>, Self::Error> {
        let there = self.all_trained(items);
        let found = self.inner.denoise_with_trace_each(&borrowed(&there))?;
        let here =
            |((found, trace), (.., ratio)): ((Prediction<Z>, f64), &(Z, NoiseLevel, f64))| {
                let trace = trace * jacobian_factor(found.of, *ratio);
                (rescaled(found, *ratio), trace)
            };
        Ok(found.into_iter().zip(&there).map(here).collect())
    }
}

impl<Z: Latent, D: Vjp<Z>> Vjp<Z> for Rescaled<D> {
    fn denoise_with_vjp(
        &self,
        z: &Z,
        at: &NoiseLevel,
        directions: &[Z],
    ) -> Result<Products<Z>, Self::Error> {
        let (trained, ratio) = self.trained(at);
        let z = Z::lincomb(&[(ratio, z)]);
        let found = self.inner.denoise_with_vjp(&z, &trained, directions)?;
        Ok(rescaled_products(found, ratio))
    }
    fn denoise_with_vjp_each(
        &self,
        items: &[(&Z, NoiseLevel, &[Z])],
    ) -> Result<Vec<Products<Z>>, Self::Error> {
        let latents: Vec<(&Z, NoiseLevel)> = items.iter().map(|(z, at, _)| (*z, *at)).collect();
        let there = self.all_trained(&latents);
        let asked: Vec<(&Z, NoiseLevel, &[Z])> =
            there.iter().zip(items).map(|((z, at, _), (.., v))| (z, *at, *v)).collect();
        let found = self.inner.denoise_with_vjp_each(&asked)?;
        let ratios = there.iter().map(|(.., ratio)| *ratio);
        Ok(found
            .into_iter()
            .zip(ratios)
            .map(|(found, ratio)| rescaled_products(found, ratio))
            .collect())
    }
}

fn rescaled_products<Z: Latent>((found, products): Products<Z>, ratio: f64) -> Products<Z> {
    let factor = jacobian_factor(found.of, ratio);
    let products = products.iter().map(|product| Z::lincomb(&[(factor, product)])).collect();
    (rescaled(found, ratio), products)
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
            let model = Rescaled::new(&network, vp);
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

    /// The trace and the products of a model of any prediction, against differences of that prediction
    /// by the latent itself. 1e-6: central differences with a step of 1e-5.
    #[test]
    fn jacobians_are_by_the_latent_at_hand() {
        struct Derived(GaussianMixture);
        impl Denoiser<Vec<f64>> for Derived {
            type Error = Infallible;
            fn denoise(
                &self,
                z: &Vec<f64>,
                at: &NoiseLevel,
            ) -> Result<Prediction<Vec<f64>>, Infallible> {
                let of = Parameterization::Score;
                Ok(Prediction { value: self.0.denoise(z, at)?.to(of, z, at), of })
            }
        }
        impl Derived {
            /// `∂score/∂z = (∂x̂/∂z·α − 1)/σ²` in one dimension.
            fn slope(&self, z: &Vec<f64>, at: &NoiseLevel) -> f64 {
                let (_, by_z) = self.0.denoise_with_trace(z, at).unwrap();
                (at.alpha * by_z - 1.0) / at.sigma.powi(2)
            }
        }
        impl Divergence<Vec<f64>> for Derived {
            fn denoise_with_trace(
                &self,
                z: &Vec<f64>,
                at: &NoiseLevel,
            ) -> Result<(Prediction<Vec<f64>>, f64), Infallible> {
                Ok((self.denoise(z, at)?, self.slope(z, at)))
            }
        }
        impl Vjp<Vec<f64>> for Derived {
            fn denoise_with_vjp(
                &self,
                z: &Vec<f64>,
                at: &NoiseLevel,
                directions: &[Vec<f64>],
            ) -> Result<Products<Vec<f64>>, Infallible> {
                let products = directions.iter().map(|v| vec![self.slope(z, at) * v[0]]).collect();
                Ok((self.denoise(z, at)?, products))
            }
        }
        let means = vec![vec![-1.0], vec![1.5]];
        let data = GaussianMixture::new(vec![0.3, 0.7], means, vec![0.2, 0.4]).unwrap();
        let model = Rescaled::new(Derived(data), Scaling::VariancePreserving);
        let levels = [0.4, -2.0].map(|log_snr| Scaling::VarianceExploding.level(log_snr));
        let latents = [vec![0.7], vec![-2.0]];
        let items = [(&latents[0], levels[0]), (&latents[1], levels[1])];
        let traced = model.denoise_with_trace_each(&items).unwrap();
        let v = [vec![2.0]];
        let asked = items.map(|(z, at)| (z, at, &v[..]));
        let multiplied = model.denoise_with_vjp_each(&asked).unwrap();
        let plain = model.denoise_each(&items).unwrap();
        for (i, (z, at)) in items.into_iter().enumerate() {
            let score = |z: f64| model.denoise(&vec![z], &at).unwrap().value[0];
            let slope = (score(z[0] + 1e-5) - score(z[0] - 1e-5)) / 2e-5;
            let (found, trace) = model.denoise_with_trace(z, &at).unwrap();
            let close = |got: f64, wanted: f64| (got / wanted - 1.0).abs() < 1e-6;
            assert!(close(trace, slope), "{trace}, not {slope}");
            assert!(close(multiplied[i].1[0][0], 2.0 * slope), "{:?}, not {slope}", multiplied[i]);
            assert_eq!(model.denoise_with_vjp(z, &at, &v).unwrap(), multiplied[i]);
            assert_eq!((&found, trace), (&traced[i].0, traced[i].1));
            assert_eq!((&found, &found), (&plain[i], &multiplied[i].0));
        }
    }

    #[test]
    fn the_ends_stay_finite() {
        let data = GaussianMixture::new(vec![1.0], vec![vec![0.5]], vec![2.0]).unwrap();
        let model = Rescaled::new(&data, Scaling::VariancePreserving);
        let noise = Scaling::StraightLine.level(f64::NEG_INFINITY);
        assert_eq!(model.denoise(&vec![0.7], &noise).unwrap().value, [0.5]);
        let clean = Scaling::VarianceExploding.level(f64::INFINITY);
        assert_eq!(model.denoise(&vec![0.7], &clean).unwrap().value, [0.7]);
    }
}
