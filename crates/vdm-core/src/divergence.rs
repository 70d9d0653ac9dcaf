//! Denoisers that know how their prediction moves with the latent.
//!
//! The change of volume along a probability-flow path is the trace of a Jacobian, so a model that
//! can say something of `∂o/∂z`, with `o` its own prediction, has a likelihood. Closed forms give
//! the trace itself; networks give products with a direction, one pass of automatic
//! differentiation each, from which the trace is estimated.

use crate::{Denoiser, NoiseLevel, Prediction};

/// A prediction and what its Jacobian made of some directions.
pub type Products<Z> = (Prediction<Z>, Vec<Z>);

/// The trace of the Jacobian, exactly.
pub trait Divergence<Z>: Denoiser<Z> {
    /// The prediction `o`, and `tr ∂o/∂z` of that same prediction (not of the image, where the
    /// model predicts something else).
    ///
    /// # Errors
    /// Whatever the model reports.
    fn denoise_with_trace(
        &self,
        z: &Z,
        at: &NoiseLevel,
    ) -> Result<(Prediction<Z>, f64), Self::Error>;

    /// Several latents, each at a level of its own, as in [`Denoiser::denoise_each`].
    ///
    /// # Errors
    /// Whatever the model reports.
    fn denoise_with_trace_each(
        &self,
        items: &[(&Z, NoiseLevel)],
    ) -> Result<Vec<(Prediction<Z>, f64)>, Self::Error> {
        items.iter().map(|(z, at)| self.denoise_with_trace(z, at)).collect()
    }
}

/// Products of the transposed Jacobian with given directions, which reverse-mode differentiation gives.
pub trait Vjp<Z>: Denoiser<Z> {
    /// The prediction `o`, and `(∂o/∂z)ᵀv` for every direction `v`. A trace is estimated from
    /// `vᵀJᵀv = vᵀJv`; guidance by an observation needs the transposed product itself, and a network's
    /// Jacobian is not symmetric.
    ///
    /// # Errors
    /// Whatever the model reports.
    fn denoise_with_vjp(
        &self,
        z: &Z,
        at: &NoiseLevel,
        directions: &[Z],
    ) -> Result<Products<Z>, Self::Error>;

    /// Several latents, each at a level and with directions of its own.
    ///
    /// # Errors
    /// Whatever the model reports.
    fn denoise_with_vjp_each(
        &self,
        items: &[(&Z, NoiseLevel, &[Z])],
    ) -> Result<Vec<Products<Z>>, Self::Error> {
        items.iter().map(|(z, at, v)| self.denoise_with_vjp(z, at, v)).collect()
    }
}

impl<Z, D: Divergence<Z> + ?Sized> Divergence<Z> for &D {
    fn denoise_with_trace(
        &self,
        z: &Z,
        at: &NoiseLevel,
    ) -> Result<(Prediction<Z>, f64), Self::Error> {
        (**self).denoise_with_trace(z, at)
    }
    fn denoise_with_trace_each(
        &self,
        items: &[(&Z, NoiseLevel)],
    ) -> Result<Vec<(Prediction<Z>, f64)>, Self::Error> {
        (**self).denoise_with_trace_each(items)
    }
}

impl<Z, D: Vjp<Z> + ?Sized> Vjp<Z> for &D {
    fn denoise_with_vjp(
        &self,
        z: &Z,
        at: &NoiseLevel,
        directions: &[Z],
    ) -> Result<Products<Z>, Self::Error> {
        (**self).denoise_with_vjp(z, at, directions)
    }
    fn denoise_with_vjp_each(
        &self,
        items: &[(&Z, NoiseLevel, &[Z])],
    ) -> Result<Vec<Products<Z>>, Self::Error> {
        (**self).denoise_with_vjp_each(items)
    }
}
