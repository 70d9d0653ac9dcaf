//! What travels along a path, and how large an error in it is.

use vdm_core::Latent;

use crate::InnerProduct;

/// A latent over its radius with the integrals that travel with it; or the rates of both.
#[derive(Debug)]
pub(crate) struct State<Z> {
    pub(crate) latent: Z,
    /// Log-determinants in nats, one per probe; empty where none is asked for.
    pub(crate) integrals: Vec<f64>,
}

impl<Z> State<Z> {
    /// A latent that nothing travels with.
    pub(super) fn of(latent: Z) -> Self {
        Self { latent, integrals: Vec::new() }
    }
}

impl<Z: Latent> Latent for State<Z> {
    fn lincomb(terms: &[(f64, &Self)]) -> Self {
        let latents: Vec<_> = terms.iter().map(|(c, state)| (*c, &state.latent)).collect();
        let integrals: Vec<_> = terms.iter().map(|(c, state)| (*c, &state.integrals)).collect();
        Self { latent: Z::lincomb(&latents), integrals: Vec::lincomb(&integrals) }
    }
}

impl<Z: InnerProduct> State<Z> {
    /// The root mean square of the latent's components or, if that is larger, the mean integral per
    /// component: a component of the latent that is off by `δ` changes its log-density by about as
    /// much as a log-determinant that is off by `δ` nats.
    pub(super) fn size(&self) -> f64 {
        let latent = rms(&self.latent);
        let total: f64 = self.integrals.iter().sum();
        let integral = total.abs() / (self.integrals.len() * self.latent.len()).max(1) as f64;
        // `max` would hide a NaN.
        if latent.is_nan() || latent >= integral { latent } else { integral }
    }
}

/// Root mean square of the components; 0 of none.
pub(crate) fn rms<Z: InnerProduct>(z: &Z) -> f64 {
    (z.dot(z) / z.len().max(1) as f64).sqrt()
}
