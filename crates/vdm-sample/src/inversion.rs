//! From data to the noise that a deterministic sampler would make them of, and back.
//!
//! Editing, interpolation and watermarks work on the latent `z_1` whose sample is a given image.
//! The probability-flow ODE is one to one, so it exists: [`AdaptiveOde::solve_each`] towards noise finds it
//! to a tolerance, and [`DdimInversion`] on the grid that samples will be drawn on.

use std::error::Error;

use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;
use vdm_core::{Denoiser, Latent, LogSnr, NoiseLevel, Parameterization, Scaling};

use crate::ode::rms;
use crate::solve::express;
use crate::solver::Step;
use crate::{AdaptiveOde, Ddim, InnerProduct, NoNoise, SolveError, TimeGrid, solve};

/// The steps of [`Ddim`] backwards, from a grid's last level to its first.
///
/// A step from `t` to the cleaner `s` with the image predicted at `t` is undone exactly by
///
/// ```text
/// z_t = (σ_t/σ_s) (z_s − α_s x̂) + α_t x̂,   x̂ = x̂(z_t, t)
/// ```
///
/// which is implicit in `z_t`. Without refinements `x̂(z_s, s)` stands in for it (Song et al. 2021,
/// §4.3): first order in the step, one call. Every refinement
/// predicts again from the `z_t` found so far, one call each; they converge to the exact inverse of
/// the sampler where steps are short enough for the iteration to contract (Pan et al. 2023).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DdimInversion {
    /// Fixed-point iterations per step.
    #[serde(default)]
    pub refinements: u32,
}

/// An image, encoded and decoded again.
#[derive(Debug, Clone, PartialEq)]
pub struct RoundTrip<Z> {
    /// The latent at the noisy end.
    pub encoded: Z,
    /// What is sampled from it.
    pub decoded: Z,
    /// Root mean square over components of what was lost.
    pub rms_error: f64,
}

/// Why an image cannot be encoded.
#[derive(Debug, ThisError)]
pub enum InversionError<E: Error + 'static> {
    /// The model failed, on the way there or back.
    #[error(transparent)]
    Solve(#[from] SolveError<E>),
    /// The grid ends without noise.
    #[error(
        "a grid that ends at clean data (sigma = 0) cannot be inverted, since there is no noise to \
         predict there: end it at a finite log-SNR"
    )]
    Clean,
    /// A step that is too long to be undone.
    #[error(
        "the step between log-SNR {to} and {from} is too long to be undone: {refinements} refinements end \
         at latents of root mean square {rms:.3e}, where {expected:.2} is usual; use a grid of more steps, or \
         fewer refinements"
    )]
    Diverged {
        /// `λ` at the noisy end of the step.
        to: f64,
        /// `λ` at its clean end.
        from: f64,
        /// How often it was refined.
        refinements: u32,
        /// Root mean square of the components of the latent.
        rms: f64,
        /// That of the image, noised.
        expected: f64,
    },
}

/// How many times as large as a noised image an encoded one may be. An image that is far from all data
/// is encoded as a latent far from all noise, but not that far.
const MOST_GROWTH: f64 = 1e3;

/// Refinements after which a step that contracts moves less than at first.
const ENOUGH: u32 = 5;

/// What a refinement may move a latent by, in parts of its size, though the last one moved it less: some
/// thousand roundings of an f32.
const SETTLED: f64 = 1e-4;

impl DdimInversion {
    /// Takes `z`, a latent at the grid's last level, to its first.
    ///
    /// # Errors
    /// Any [`InversionError`]; [`Diverged`](InversionError::Diverged) where many refinements of a step move
    /// away from each other, or where the result is of a size that no data have.
    pub fn encode<Z: InnerProduct, D: Denoiser<Z> + ?Sized>(
        &self,
        model: &D,
        z: Z,
        grid: &TimeGrid,
    ) -> Result<Z, InversionError<D::Error>> {
        let last = grid.levels()[grid.steps()];
        if last.sigma == 0.0 {
            return Err(InversionError::Clean);
        }
        let size = rms(&z) / last.alpha;
        let back = |z, index| self.step(model, &z, &Step::of(grid, index), size);
        (0..grid.steps()).rev().try_fold(z, back)
    }

    fn step<Z: InnerProduct, D: Denoiser<Z> + ?Sized>(
        &self,
        model: &D,
        z_s: &Z,
        step: &Step<'_>,
        size: f64,
    ) -> Result<Z, InversionError<D::Error>> {
        let Step { from: t, to: s, .. } = step;
        let on_z = t.sigma / s.sigma;
        // α_t − α_s σ_t/σ_s = (σ_t/σ_s) α_s (e^{−h} − 1).
        let on_x = on_z * s.alpha * (-step.half_gap()).exp_m1();
        let undo = |x_hat: &Z| Z::lincomb(&[(on_z, z_s), (on_x, x_hat)]);
        let mut z_t = undo(&image(model, z_s, s)?);
        let expected = (t.alpha * size).hypot(t.sigma);
        let mut moves = (f64::INFINITY, 0.0);
        for refinement in 0..self.refinements {
            let refined = undo(&image(model, &z_t, t)?);
            let moved = rms(&Z::lincomb(&[(1.0, &refined), (-1.0, &z_t)]));
            moves = (if refinement == 0 { moved } else { moves.0 }, moved);
            z_t = refined;
        }
        let (first, last) = moves;
        let rms = rms(&z_t);
        let settles = self.refinements < ENOUGH || last <= first.max(SETTLED * expected);
        if settles && rms <= MOST_GROWTH * expected {
            return Ok(z_t);
        }
        let (to, from, refinements) = (t.log_snr, s.log_snr, self.refinements);
        Err(InversionError::Diverged { to, from, refinements, rms, expected })
    }

    /// Encodes `z` and samples from the result with [`Ddim`] on the same grid.
    ///
    /// # Errors
    /// Any [`InversionError`].
    pub fn round_trip<Z: InnerProduct, D: Denoiser<Z> + ?Sized>(
        &self,
        model: &D,
        z: Z,
        grid: &TimeGrid,
    ) -> Result<RoundTrip<Z>, InversionError<D::Error>> {
        let given = Z::lincomb(&[(1.0, &z)]);
        let encoded = self.encode(model, z, grid)?;
        let start = Z::lincomb(&[(1.0, &encoded)]);
        let ddim = Ddim { eta: 0.0 };
        let decoded = solve(&ddim, model, start, grid, &mut NoNoise, |_, _, _| ())?;
        Ok(RoundTrip::of(&given, encoded, decoded.latent))
    }
}

impl AdaptiveOde {
    /// Takes every sample from the level `data` to `noise` and back.
    ///
    /// # Errors
    /// Any [`SolveError`].
    ///
    /// # Panics
    /// If the model gives more or fewer answers than it was asked.
    pub fn round_trip<Z: InnerProduct, D: Denoiser<Z> + ?Sized>(
        &self,
        model: &D,
        samples: Vec<Z>,
        data: LogSnr,
        noise: LogSnr,
        scaling: Scaling,
    ) -> Result<Vec<RoundTrip<Z>>, SolveError<D::Error>> {
        let copy = |z: &Z| Z::lincomb(&[(1.0, z)]);
        let given: Vec<Z> = samples.iter().map(copy).collect();
        let encoded = self.solve_each(model, samples, data, noise, scaling)?;
        let starts = encoded.iter().map(|end| copy(&end.latent)).collect();
        let decoded = self.solve_each(model, starts, noise, data, scaling)?;
        let pairs = encoded.into_iter().zip(decoded);
        Ok(given
            .iter()
            .zip(pairs)
            .map(|(z, (there, back))| RoundTrip::of(z, there.latent, back.latent))
            .collect())
    }
}

impl<Z: InnerProduct> RoundTrip<Z> {
    fn of(given: &Z, encoded: Z, decoded: Z) -> Self {
        let rms_error = rms(&Z::lincomb(&[(1.0, &decoded), (-1.0, given)]));
        Self { encoded, decoded, rms_error }
    }
}

/// `x̂`, if the prediction determines it.
fn image<Z: Latent, D: Denoiser<Z> + ?Sized>(
    model: &D,
    z: &Z,
    at: &NoiseLevel,
) -> Result<Z, InversionError<D::Error>> {
    let output = model.denoise(z, at).map_err(SolveError::Model)?;
    let map = express(output.of, Parameterization::Image, at)?;
    Ok(Z::lincomb(&[(map.on_z, z), (map.on_output, &output.value)]))
}
