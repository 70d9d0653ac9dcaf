//! Midpoint steps whose middle is the geometric mean of EDM's `σ`, that is, the middle in log-SNR.

use serde::{Deserialize, Serialize};
use vdm_core::{Denoiser, Latent, NoiseLevel};

use super::ancestral_step::AncestralStep;
use super::runge_kutta::calls_in_pairs;
use super::{Coordinate, Ddim, Properties, Run, Solver, Step};
use crate::{SolveError, TimeGrid};

/// `y_s = y_t + (σ_s/α_s − σ_t/α_t)·ε̂(y_m, m)` with `y = z/α` and `λ_m = (λ_t + λ_s)/2`.
///
/// k-diffusion's DPM2. It is [`Midpoint`](super::Midpoint) in EDM's coordinate but for the place of
/// the middle, which suits grids that are even in log-SNR; DPM-Solver-2 (Lu et al. 2022) shares the
/// middle but weighs the noise exponentially. One call and first order at `σ = 0` and at `α = 0`,
/// where there is no middle.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Dpm2;

impl<Z: Latent> Solver<Z> for Dpm2 {
    type Memory = ();

    fn properties(&self) -> Properties {
        Properties { order: 2, calls_per_step: 2, stochastic: false }
    }

    fn calls(&self, grid: &TimeGrid) -> usize {
        calls_in_pairs(grid, |step| step.is_singular())
    }

    fn step<D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step<'_>,
        (): &mut (),
    ) -> Result<Z, SolveError<D::Error>> {
        if step.is_singular() {
            return Ddim::default().step(run, z, step, &mut ());
        }
        let middle = step.grid.between(0.5 * (step.from.log_snr + step.to.log_snr));
        Coordinate::Edm.step_by_slope_at(run, z, step, &middle)
    }
}

/// [`Dpm2`] to less noise than the step's end has, and fresh noise for the rest.
///
/// The noise `σ_s` of the end is split as in [`Ddim`], `σ_s² = sigma_down² + sigma_up²` with `sigma_up =
/// ησ_Q`, and the ODE is followed to `(α_s, sigma_down)`. k-diffusion's DPM2 ancestral. Fresh noise takes
/// the distribution of that level exactly to the distribution of `s`, so expectations have the order of the ODE's
/// solver, at whatever `η`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dpm2Ancestral {
    /// Share of new noise, `≥ 0`; where `ησ_Q` would exceed `σ_s` it is `σ_s`. By default 1.
    #[serde(default = "one")]
    #[serde(deserialize_with = "super::parameter::eta")]
    pub eta: f64,
}

fn one() -> f64 {
    1.0
}

impl Default for Dpm2Ancestral {
    fn default() -> Self {
        Self { eta: one() }
    }
}

impl Dpm2Ancestral {
    /// The step to the noise that is kept, and the standard deviation of the rest.
    fn split<'a>(self, step: &Step<'a>) -> (Step<'a>, f64) {
        let AncestralStep { sigma_down, sigma_up, .. } =
            AncestralStep::between(self.eta, &step.from, &step.to);
        (Step { to: NoiseLevel::from_scales(step.to.alpha, sigma_down), ..*step }, sigma_up)
    }
}

impl<Z: Latent> Solver<Z> for Dpm2Ancestral {
    type Memory = ();

    fn properties(&self) -> Properties {
        Properties { order: 2, calls_per_step: 2, stochastic: self.eta > 0.0 }
    }

    fn calls(&self, grid: &TimeGrid) -> usize {
        calls_in_pairs(grid, |step| self.split(step).0.is_singular())
    }

    fn step<D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step<'_>,
        (): &mut (),
    ) -> Result<Z, SolveError<D::Error>> {
        let (down, sigma_up) = self.split(step);
        let sigma_down = Dpm2.step(run, z, &down, &mut ())?;
        let z_s = run.sample(&[(1.0, &sigma_down)], sigma_up, &step.from, &step.to)?;
        run.recycle(sigma_down);
        Ok(z_s)
    }
}
