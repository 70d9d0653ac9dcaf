//! Models made of models: each wrapper is itself a [`Denoiser`](vdm_core::Denoiser), so that every
//! solver, grid and noise source works with it.
//!
//! | wrapper | changes the answer by | source |
//! |---|---|---|
//! | [`Guided`] | extrapolation away from a second model | Ho and Salimans 2022; Karras et al. 2024 |
//! | [`Projected`] with [`Clip`] | the range of the data | Ho et al. 2020 |
//! | [`Projected`] with [`DynamicThreshold`] | a quantile of the image's own range | Saharia et al. 2022 |
//! | [`Projected`] with [`Known`] | what has been observed | Song et al. 2021; Lugmayr et al. 2022 |
//! | [`Reconstruction`] | the gradient of an observation's likelihood | Song et al. 2023; Chung et al. 2023 |
//! | [`Product`] | a weighted sum of scores | Liu et al. 2022; Du et al. 2023 |
//! | [`Mixture`] | a weighted sum of densities | Du et al. 2023 |
//!
//! All are written on predictions whatever they predict: models of different parameterizations can
//! be combined.

mod composed;
mod guided;
mod projected;
mod reconstruction;

pub use composed::{LogDensity, Mixture, Product};
pub use guided::Guided;
pub use projected::{Clip, Components, DynamicThreshold, Known, Projected, Projection};
pub use reconstruction::{LinearOperator, Reconstruction};

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use vdm_core::{Denoiser, GaussianMixture, NoiseLevel, Parameterization, Prediction, Scaling};

    /// All parameterizations at an ordinary level.
    pub(super) const PARAMETERIZATIONS: [Parameterization; 6] = [
        Parameterization::Image,
        Parameterization::Noise,
        Parameterization::Score,
        Parameterization::Velocity,
        Parameterization::Flow,
        Parameterization::Edm { data_std: 0.5 },
    ];

    /// Data from `N(mean, 0.5²)`.
    pub(super) fn normal(mean: f64) -> GaussianMixture {
        GaussianMixture::new(vec![1.0], vec![vec![mean]], vec![0.5]).unwrap()
    }

    /// A model that predicts something else than it is written to.
    pub(super) struct Predicting<D>(pub(super) D, pub(super) Parameterization);

    impl<D: Denoiser<Vec<f64>, Error = Infallible>> Denoiser<Vec<f64>> for Predicting<D> {
        type Error = Infallible;
        fn denoise(
            &self,
            z: &Vec<f64>,
            at: &NoiseLevel,
        ) -> Result<Prediction<Vec<f64>>, Infallible> {
            let value = self.0.denoise(z, at)?.to(self.1, z, at);
            Ok(Prediction { value, of: self.1 })
        }
    }

    /// `a` and `b` predict the same image to 1e-12, whatever they are asked through.
    pub(super) fn assert_same(
        a: &impl Denoiser<Vec<f64>, Error = Infallible>,
        b: &impl Denoiser<Vec<f64>, Error = Infallible>,
        dims: usize,
    ) {
        for scaling in [Scaling::VariancePreserving, Scaling::StraightLine] {
            for log_snr in [-7.0, -1.0, 0.3, 4.0] {
                let at = scaling.level(log_snr);
                for start in [-1.3, 0.2, 2.0] {
                    let z: Vec<f64> = (0..dims).map(|i| start + 0.3 * i as f64).collect();
                    let wanted = b.denoise(&z, &at).unwrap().image(&z, &at);
                    let one = a.denoise(&z, &at).unwrap();
                    let [each] = a.denoise_each(&[(&z, at)]).unwrap().try_into().unwrap();
                    let mut value = vec![f64::NAN; dims];
                    let of = a.denoise_into(&z, &at, &mut value).unwrap();
                    for got in [one, each, Prediction { value, of }] {
                        for (got, wanted) in got.image(&z, &at).iter().zip(&wanted) {
                            assert!((got - wanted).abs() < 1e-12 * (1.0 + wanted.abs()), "{at:?}");
                        }
                    }
                }
            }
        }
    }
}
