//! Energy models: a scalar whose gradient is the prediction.
//!
//! ```text
//! E(z, λ) = ½‖z‖² + φ(z, λ)/σ     φ = Σᵢ zᵢ oᵢ(z, λ)     ε̂ = σ∇E = σz + ∇φ
//! ```
//!
//! with `o` any network from items to items. A true score is a gradient, `−∇E` of
//! `E = −log q(z) + const`, so the Jacobian of `ε̂` is symmetric and its line integrals do not depend on
//! the path. A network that outputs the score itself has no reason to obey either; this one does by
//! construction, and gives differences of `log q(z)` between items of one noise level besides, where
//! a score alone would have to be integrated. It pays with a second backward pass.
//!
//! Why this form:
//!
//! - the gradient is `∇φ = o + Jᵀz`, with `J` the Jacobian of `o`: the network's output enters the
//!   prediction directly, with a term that makes it a gradient. A scalar read off the last layer by a
//!   sum would have to bring forth `σz` and everything else by its derivative alone;
//! - at its start `o = 0` at every `z`, so `J = 0`, `ε̂ = σz`, and `E` is that of the standard normal;
//! - divided by `σ` in `E` and by nothing in `ε̂`: the energy of data in a narrow place is as steep as
//!   `1/σ²` while all that the network has to be is of order 1.
//!
//! Fourier features of high frequency do not suit it: `Jᵀz` multiplies them by `2π·2ⁿ`.
//!
//! Monograph §2.2.1 and its 2025 chapter on the six parameterizations. Energies on top of score
//! networks: Salimans and Ho 2021, Du et al. 2023.

use tch::{Device, Kind, Tensor};
use vdm_core::NoiseLevel;
use vdm_core::setting::require;

use crate::head::Head;
use crate::model::Model;
use crate::nn::Mode;
use crate::{Batch, Error, PerSample};

impl Model {
    /// `E(z, λ)` of each item, `[B]`, in nats: `−log q(z)` up to a number that depends on the level
    /// alone, if the model is exact. Its gradient by `z` is what the model predicts. At levels of the
    /// model's own scaling; with gradients unless the caller turned them off.
    ///
    /// # Errors
    /// [`Error::Setting`] for a head without an energy; [`Error::Shim`] if the precision cannot be had.
    pub fn energy(
        &self,
        z: &Batch,
        at: &NoiseLevel<PerSample>,
        mode: Mode,
    ) -> Result<Tensor, Error> {
        let head = self.spec().head;
        let remedy = "use a model with head \"energy\", which alone has one";
        require(head == Head::Energy, "head", format_args!("{head:?}"), remedy)?;
        let normal = Batch(z.0.square() * 0.5).sum_per_item();
        Ok(normal + self.potential(&z.0, at, mode)? / at.sigma.0.view([-1]))
    }

    /// `φ` of each item, `[B]`.
    fn potential(
        &self,
        z: &Tensor,
        at: &NoiseLevel<PerSample>,
        mode: Mode,
    ) -> Result<Tensor, Error> {
        Ok(Batch(z * self.output(z, at, mode)?).sum_per_item())
    }

    /// `∇φ`, of the shape of `z`; differentiable itself if gradients are on, else without a graph.
    pub(crate) fn potential_gradient(
        &self,
        z: &Tensor,
        at: &NoiseLevel<PerSample>,
        mode: Mode,
    ) -> Result<Tensor, Error> {
        let differentiable = gradients_are_on();
        // A latent that the caller differentiates by stays in the caller's graph.
        let z = if differentiable && z.requires_grad() {
            z.shallow_clone()
        } else {
            z.detach().set_requires_grad(true)
        };
        tch::with_grad(|| {
            // No item's φ depends on another item, so the gradient of the sum is that of each.
            let sum = self.potential(&z, at, mode)?.sum(z.kind());
            let gradients = Tensor::f_run_backward(&[sum], &[z], differentiable, differentiable)?;
            Ok(gradients.into_iter().next().unwrap_or_default())
        })
    }
}

/// Whether operations are being recorded, which tch can switch but not tell.
fn gradients_are_on() -> bool {
    let probe = Tensor::zeros([0], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    probe.neg().requires_grad()
}
