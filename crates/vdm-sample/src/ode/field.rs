//! The right side of the probability-flow ODE, in a coordinate in which both ends are benign.

use std::error::Error;
use std::f64::consts::FRAC_PI_2;

use vdm_core::{Affine, Denoiser, Latent, NoiseLevel, Parameterization, Prediction, Scaling};

use super::OdeError;
use super::state::State;

/// `θ = atan(σ/α)`: 0 at clean data, `π/2` at pure noise.
pub(super) fn angle(log_snr: f64) -> f64 {
    (-0.5 * log_snr).exp().atan()
}

/// The level at an angle.
pub(super) fn level(scaling: Scaling, angle: f64) -> NoiseLevel {
    // The tangent of the number nearest to π/2 is finite.
    let log_snr = if angle >= FRAC_PI_2 { f64::NEG_INFINITY } else { -2.0 * angle.tan().ln() };
    scaling.level(log_snr)
}

/// `√(α² + σ²)`, the length of a latent beside its variance-preserving counterpart.
pub(crate) fn radius(at: &NoiseLevel) -> f64 {
    at.alpha.hypot(at.sigma)
}

/// The rate of a latent over its radius, `v̂/√(α² + σ²)`, and the map from the model's output to
/// `v̂ = αε̂ − σx̂` that it was made with.
///
/// # Errors
/// [`OdeError::Undetermined`] where the prediction does not say.
pub(crate) fn rate<Z: Latent, E: Error + 'static>(
    z: &Z,
    output: &Prediction<Z>,
    at: &NoiseLevel,
) -> Result<(Z, Affine), OdeError<E>> {
    let to_velocity = output.of.to(Parameterization::Velocity, at);
    let Affine { on_z, on_output } = to_velocity;
    if !(on_z.is_finite() && on_output.is_finite()) {
        return Err(OdeError::Undetermined { of: output.of, log_snr: at.log_snr });
    }
    let radius = radius(at);
    let rate = Z::lincomb(&[(on_z / radius, z), (on_output / radius, &output.value)]);
    Ok((rate, to_velocity))
}

/// The right side for several samples in one pass of the model.
pub(crate) trait Field<Z> {
    /// The model's.
    type Error: Error + 'static;

    /// `d/dθ` at latents of the scaling of their levels, each of the sample of that number.
    fn slopes(
        &self,
        samples: &[usize],
        items: &[(&Z, NoiseLevel)],
    ) -> Result<Vec<State<Z>>, OdeError<Self::Error>>;
}

/// Latents alone.
#[derive(Debug)]
pub(crate) struct Flow<'a, D: ?Sized>(pub(crate) &'a D);

impl<Z: Latent, D: Denoiser<Z> + ?Sized> Field<Z> for Flow<'_, D> {
    type Error = D::Error;

    fn slopes(
        &self,
        _: &[usize],
        items: &[(&Z, NoiseLevel)],
    ) -> Result<Vec<State<Z>>, OdeError<D::Error>> {
        let predictions = self.0.denoise_each(items).map_err(OdeError::Model)?;
        let rates = items.iter().zip(predictions).map(|((z, at), output)| {
            let (latent, _) = rate(*z, &output, at)?;
            Ok(State { latent, integrals: Vec::new() })
        });
        rates.collect()
    }
}
