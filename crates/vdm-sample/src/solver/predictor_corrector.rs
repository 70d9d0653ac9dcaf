//! Langevin steps at a fixed level, between the steps of any solver.

use serde::{Deserialize, Serialize};
use vdm_core::{Denoiser, Latent, NoiseLevel, Parameterization};

use super::{Properties, Run, Solver, Step};
use crate::{SolveError, TimeGrid};

/// After each step of the predictor, `corrections` Langevin steps towards the distribution of the new level.
///
/// Langevin dynamics `dz = ∇log q(z) dτ + √2 dW` leaves `q` as it is. Song et al. 2021 (algorithms
/// 4 and 5) take steps of `τ = 2(snr·‖noise‖/‖score‖)²`. Here the norms are replaced by what they
/// are for images, whose noise is nearly all visible, `‖score‖ ≈ ‖noise‖/σ`, so `τ = 2(snr·σ)²`. No
/// model output can then make a step unstable, since `q` is nowhere narrower than `σ`, and a sample
/// does not depend on what shares its batch. The price: data that fill their space are explored
/// more slowly at low noise than with norms. The pull towards `x̂` is integrated exactly over the
/// step,
///
/// ```text
/// z ← z − σ(1 − e^{−τ/σ²})·ε̂ + σ√(1 − e^{−2τ/σ²})·noise
/// ```
///
/// which agrees with Euler's step to first order in `τ`, and where `x̂` does not move keeps the
/// noise at `σ`; Euler's leaves it too large by the factor `1 + snr²/2`. No correction at `σ = 0`.
///
/// For models whose errors add up along the predictor's path. Its bias, of relative size `snr²`, does
/// not fall with more steps but with `snr`: the declared order is 0. Its noise begins and ends at one level, which only independent sources
/// ([`Iid`](crate::Iid)) serve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictorCorrector<S> {
    /// What goes from level to level.
    pub predictor: S,
    /// Langevin steps after each of its steps. By default 1.
    #[serde(default = "one_correction", deserialize_with = "super::parameter::corrections")]
    pub corrections: usize,
    /// Size of a Langevin step, `≥ 0`; by default 0.16, that of Song et al. 2021.
    #[serde(default = "usual_snr")]
    #[serde(deserialize_with = "super::parameter::snr")]
    pub snr: f64,
}

fn one_correction() -> usize {
    1
}

fn usual_snr() -> f64 {
    0.16
}

impl<S: Default> Default for PredictorCorrector<S> {
    fn default() -> Self {
        Self::new(S::default())
    }
}

impl<S> PredictorCorrector<S> {
    /// With one correction of the usual size.
    #[must_use]
    pub fn new(predictor: S) -> Self {
        Self { predictor, corrections: one_correction(), snr: usual_snr() }
    }

    fn correct<Z: Latent, D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        at: &NoiseLevel,
    ) -> Result<Z, SolveError<D::Error>> {
        let time = 2.0 * self.snr * self.snr;
        let pull = at.sigma * (-time).exp_m1();
        let std = at.sigma * (-(-2.0 * time).exp_m1()).sqrt();
        let eps_hat = run.predict_as(Parameterization::Noise, &z, at)?;
        let corrected = run.sample(&[(1.0, &z), (pull, &eps_hat)], std, at, at)?;
        run.recycle(z);
        run.recycle(eps_hat);
        Ok(corrected)
    }
}

impl<Z: Latent, S: Solver<Z>> Solver<Z> for PredictorCorrector<S> {
    type Memory = S::Memory;

    fn properties(&self) -> Properties {
        let predictor = self.predictor.properties();
        let corrects = self.corrections > 0 && self.snr > 0.0;
        Properties {
            // A Langevin step has a bias of its own, which more steps do not lessen.
            order: if corrects { 0 } else { predictor.order },
            calls_per_step: predictor.calls_per_step.saturating_add(self.corrections),
            stochastic: predictor.stochastic || corrects,
        }
    }

    fn calls(&self, grid: &TimeGrid) -> usize {
        let corrected = grid.levels()[1..].iter().filter(|at| at.sigma > 0.0).count();
        self.predictor.calls(grid).saturating_add(corrected.saturating_mul(self.corrections))
    }

    fn step<D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step<'_>,
        memory: &mut Self::Memory,
    ) -> Result<Z, SolveError<D::Error>> {
        let mut z = self.predictor.step(run, z, step, memory)?;
        if step.to.sigma > 0.0 {
            for _ in 0..self.corrections {
                z = self.correct(run, z, &step.to)?;
            }
        }
        Ok(z)
    }
}
