//! What a method integrates along a path, for several samples in one pass of the model.

use std::error::Error;

use vdm_core::{Affine, Denoiser, Latent, NoiseLevel, Parameterization, Prediction};

use super::state::State;
use crate::SolveError;
use crate::coordinate::Coordinate;
use crate::solve::express;

/// The rate of a latent over its radius by TrigFlow's angle, `v̂/√(α² + σ²)`, and the map from the
/// model's output to `v̂ = αε̂ − σx̂` that it was made with.
///
/// # Errors
/// [`SolveError::Undetermined`] where the prediction does not say.
pub(crate) fn rate<Z: Latent, E: Error + 'static>(
    z: &Z,
    output: &Prediction<Z>,
    at: &NoiseLevel,
) -> Result<(Z, Affine), SolveError<E>> {
    let to_velocity = express(output.of, Parameterization::Velocity, at)?;
    let Affine { on_z, on_output } = to_velocity;
    let radius = Coordinate::UNIT_ANGLE.scale(at);
    let rate = Z::lincomb(&[(on_z / radius, z), (on_output / radius, &output.value)]);
    Ok((rate, to_velocity))
}

/// The model's part of a step.
pub(crate) trait Field<Z> {
    /// The model's.
    type Error: Error + 'static;

    /// What is integrated, at latents of the scaling of their levels, each of the sample of that number.
    fn rates(
        &self,
        samples: &[usize],
        items: &[(&Z, NoiseLevel)],
    ) -> Result<Vec<State<Z>>, SolveError<Self::Error>>;
}

/// The rates of as many latents as were asked for: with fewer a sample would go on by half a step.
///
/// # Errors
/// The field's own.
///
/// # Panics
/// If the model gives more or fewer answers.
pub(super) fn rates_of<Z, F: Field<Z>>(
    field: &F,
    samples: &[usize],
    items: &[(&Z, NoiseLevel)],
) -> Result<Vec<State<Z>>, SolveError<F::Error>> {
    let rates = field.rates(samples, items)?;
    assert_eq!(rates.len(), items.len(), "answers of the model to as many latents");
    Ok(rates)
}

/// The rate of latents alone.
#[derive(Debug)]
pub(crate) struct Flow<'a, D: ?Sized>(pub(crate) &'a D);

impl<Z: Latent, D: Denoiser<Z> + ?Sized> Field<Z> for Flow<'_, D> {
    type Error = D::Error;

    fn rates(
        &self,
        _: &[usize],
        items: &[(&Z, NoiseLevel)],
    ) -> Result<Vec<State<Z>>, SolveError<D::Error>> {
        let predictions = self.0.denoise_each(items).map_err(SolveError::Model)?;
        let rates = items.iter().zip(predictions).map(|((z, at), output)| {
            let (latent, _) = rate(*z, &output, at)?;
            Ok(State::of(latent))
        });
        rates.collect()
    }
}

/// A prediction as it is, for methods that know how it is integrated.
#[derive(Debug)]
pub(super) struct Predicted<'a, D: ?Sized> {
    pub(super) model: &'a D,
    pub(super) wanted: Parameterization,
}

impl<Z: Latent, D: Denoiser<Z> + ?Sized> Field<Z> for Predicted<'_, D> {
    type Error = D::Error;

    fn rates(
        &self,
        _: &[usize],
        items: &[(&Z, NoiseLevel)],
    ) -> Result<Vec<State<Z>>, SolveError<D::Error>> {
        let predictions = self.model.denoise_each(items).map_err(SolveError::Model)?;
        let rates = items.iter().zip(predictions).map(|((z, at), Prediction { value, of })| {
            if of == self.wanted {
                return Ok(State::of(value));
            }
            let map = express(of, self.wanted, at)?;
            Ok(State::of(Z::lincomb(&[(map.on_z, *z), (map.on_output, &value)])))
        });
        rates.collect()
    }
}
