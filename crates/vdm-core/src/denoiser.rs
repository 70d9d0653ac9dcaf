//! The model's role.

use std::cell::Cell;
use std::error::Error;
use std::fmt;

use crate::{Divergence, NoiseLevel, Parameterization, Prediction, Products, Vjp};

/// Anything that looks at a noisy latent and says what it predicts of image and noise.
///
/// A network, a wrapped foreign model, a closed form. Implement [`denoise`](Self::denoise);
/// override [`denoise_into`](Self::denoise_into) if the result can be written into given memory.
pub trait Denoiser<Z> {
    /// What can go wrong; [`std::convert::Infallible`] for closed forms.
    type Error: Error + 'static;

    /// The prediction at `z` (any shape; the prediction has the same) and noise level `at`.
    ///
    /// # Errors
    /// Whatever the model reports.
    fn denoise(&self, z: &Z, at: &NoiseLevel) -> Result<Prediction<Z>, Self::Error>;

    /// The same written over `out`, which has the shape of `z`; says what was predicted.
    ///
    /// # Errors
    /// Whatever the model reports.
    fn denoise_into(
        &self,
        z: &Z,
        at: &NoiseLevel,
        out: &mut Z,
    ) -> Result<Parameterization, Self::Error> {
        let prediction = self.denoise(z, at)?;
        *out = prediction.value;
        Ok(prediction.of)
    }

    /// Several latents, each at a level of its own; override it where they can share one pass
    /// through a network. Adaptive solvers, whose samples are at different levels, call this.
    ///
    /// # Errors
    /// Whatever the model reports.
    fn denoise_each(&self, items: &[(&Z, NoiseLevel)]) -> Result<Vec<Prediction<Z>>, Self::Error> {
        items.iter().map(|(z, at)| self.denoise(z, at)).collect()
    }
}

impl<Z, D: Denoiser<Z> + ?Sized> Denoiser<Z> for &D {
    type Error = D::Error;
    fn denoise(&self, z: &Z, at: &NoiseLevel) -> Result<Prediction<Z>, Self::Error> {
        (**self).denoise(z, at)
    }
    fn denoise_into(
        &self,
        z: &Z,
        at: &NoiseLevel,
        out: &mut Z,
    ) -> Result<Parameterization, Self::Error> {
        (**self).denoise_into(z, at, out)
    }
    fn denoise_each(&self, items: &[(&Z, NoiseLevel)]) -> Result<Vec<Prediction<Z>>, Self::Error> {
        (**self).denoise_each(items)
    }
}

/// A denoiser from a closure. A wrapper type, because a blanket impl on `Fn` would clash with the
/// one on references.
///
/// ```
/// use std::convert::Infallible;
/// use vdm_core::{Denoiser, FromFn, Parameterization, Prediction, Scaling};
///
/// // The exact denoiser of data that is always 1.
/// let model = FromFn(|_: &f64, _: &vdm_core::NoiseLevel| {
///     Ok::<_, Infallible>(Prediction { value: 1.0, of: Parameterization::Image })
/// });
/// let at = Scaling::VariancePreserving.level(0.0);
/// assert_eq!(model.denoise(&0.3, &at)?.value, 1.0);
/// # Ok::<(), Infallible>(())
/// ```
pub struct FromFn<F>(
    /// `(z, level) → prediction`.
    pub F,
);

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromFn(..)")
    }
}

impl<Z, E, F> Denoiser<Z> for FromFn<F>
where
    E: Error + 'static,
    F: Fn(&Z, &NoiseLevel) -> Result<Prediction<Z>, E>,
{
    type Error = E;
    fn denoise(&self, z: &Z, at: &NoiseLevel) -> Result<Prediction<Z>, E> {
        (self.0)(z, at)
    }
}

/// Counts model calls, the currency in which solvers are compared; a latent of
/// [`Denoiser::denoise_each`] counts as one, with its trace or products or without.
#[derive(Debug)]
pub struct Counted<D> {
    inner: D,
    calls: Cell<usize>,
}

impl<D> Counted<D> {
    /// Starts at zero calls.
    #[must_use]
    pub fn new(inner: D) -> Self {
        Self { inner, calls: Cell::new(0) }
    }

    /// Model calls so far.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.get()
    }

    fn count(&self, latents: usize) -> &D {
        self.calls.set(self.calls.get() + latents);
        &self.inner
    }
}

impl<Z, D: Denoiser<Z>> Denoiser<Z> for Counted<D> {
    type Error = D::Error;
    fn denoise(&self, z: &Z, at: &NoiseLevel) -> Result<Prediction<Z>, Self::Error> {
        self.count(1).denoise(z, at)
    }
    fn denoise_into(
        &self,
        z: &Z,
        at: &NoiseLevel,
        out: &mut Z,
    ) -> Result<Parameterization, Self::Error> {
        self.count(1).denoise_into(z, at, out)
    }
    fn denoise_each(&self, items: &[(&Z, NoiseLevel)]) -> Result<Vec<Prediction<Z>>, Self::Error> {
        self.count(items.len()).denoise_each(items)
    }
}

impl<Z, D: Divergence<Z>> Divergence<Z> for Counted<D> {
    fn denoise_with_trace(
        &self,
        z: &Z,
        at: &NoiseLevel,
    ) -> Result<(Prediction<Z>, f64), Self::Error> {
        self.count(1).denoise_with_trace(z, at)
    }
    fn denoise_with_trace_each(
        &self,
        items: &[(&Z, NoiseLevel)],
    ) -> Result<Vec<(Prediction<Z>, f64)>, Self::Error> {
        self.count(items.len()).denoise_with_trace_each(items)
    }
}

impl<Z, D: Vjp<Z>> Vjp<Z> for Counted<D> {
    fn denoise_with_vjp(
        &self,
        z: &Z,
        at: &NoiseLevel,
        directions: &[Z],
    ) -> Result<Products<Z>, Self::Error> {
        self.count(1).denoise_with_vjp(z, at, directions)
    }
    fn denoise_with_vjp_each(
        &self,
        items: &[(&Z, NoiseLevel, &[Z])],
    ) -> Result<Vec<Products<Z>>, Self::Error> {
        self.count(items.len()).denoise_with_vjp_each(items)
    }
}
