//! More noise before every step, so that errors of earlier steps are forgotten.

use serde::{Deserialize, Serialize};
use vdm_core::{Denoiser, Latent, NoiseLevel, Transition};

use super::parameter::EdmSigmaRange;
use super::{Properties, Run, Solver, Step};
use crate::{SolveError, TimeGrid};

/// The stochastic sampler of EDM around any single-step solver: where EDM's `σ` lies in
/// a range, raise it to
///
/// ```text
/// σ̂ = σ(1 + γ),   γ = min(amount/steps, √2 − 1)
/// ```
///
/// by the forward process, and step from there.
///
/// Karras et al. 2022, algorithm 2. Raising takes the distribution of `σ` exactly to the distribution of `σ̂`, so
/// with `noise_scale = 1` expectations have the inner solver's order. Start from `amount = 0` and
/// raise it while samples improve: it corrects the model's errors at the price of an inner step
/// that is longer by the factor `1 + γ`. Its noise runs from a level to a noisier one, which
/// independent sources ([`Iid`](crate::Iid)) serve and a [`BrownianPath`](crate::noise::BrownianPath)
/// refuses.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Churn<S> {
    /// What steps from the raised level.
    pub solver: S,
    /// `S_churn ≥ 0`: noise added over the whole run, as a number of relative raises.
    #[serde(deserialize_with = "super::parameter::amount")]
    pub amount: f64,
    /// `[S_tmin, S_tmax]`: where noise is added. By default everywhere.
    #[serde(default = "everywhere")]
    pub sigma: EdmSigmaRange,
    /// `S_noise`: scale of the added noise, slightly above 1 where a model removes too much noise.
    /// By default 1.
    #[serde(default = "one")]
    #[serde(deserialize_with = "super::parameter::noise_scale")]
    pub noise_scale: f64,
}

/// Pure noise itself cannot be raised.
fn everywhere() -> EdmSigmaRange {
    EdmSigmaRange::ALL
}

fn one() -> f64 {
    1.0
}

impl<S: Default> Default for Churn<S> {
    /// EDM's settings for its largest models, but for a noise scale of 1, which is exact.
    fn default() -> Self {
        Self {
            solver: S::default(),
            amount: 40.0,
            sigma: EdmSigmaRange { min: 0.05, max: 50.0 },
            noise_scale: one(),
        }
    }
}

impl<S> Churn<S> {
    /// `amount` of churn at all levels.
    #[must_use]
    pub fn new(solver: S, amount: f64) -> Self {
        Self { solver, amount, sigma: everywhere(), noise_scale: one() }
    }

    /// Where the step is to start from, if not at its own level.
    fn raised(&self, step: &Step<'_>) -> Option<NoiseLevel> {
        let gamma = (self.amount / step.grid.steps() as f64).min(2.0_f64.sqrt() - 1.0);
        let raises = gamma > 0.0 && self.sigma.contains(&step.from);
        raises.then(|| step.grid.between(step.from.log_snr - 2.0 * gamma.ln_1p()))
    }
}

impl<Z: Latent, S: Solver<Z>> Solver<Z> for Churn<S> {
    type Memory = S::Memory;

    fn properties(&self) -> Properties {
        let inner = self.solver.properties();
        Properties { stochastic: inner.stochastic || self.amount > 0.0, ..inner }
    }

    fn calls(&self, grid: &TimeGrid) -> usize {
        self.solver.calls(grid)
    }

    fn step<D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step<'_>,
        memory: &mut Self::Memory,
    ) -> Result<Z, SolveError<D::Error>> {
        let Some(raised) = self.raised(step) else {
            return self.solver.step(run, z, step, memory);
        };
        let forward = Transition::between(&step.from, &raised);
        let std = self.noise_scale * forward.var_ts.sqrt();
        let noisier = run.sample(&[(forward.alpha_ts, &z)], std, &step.from, &raised)?;
        run.recycle(z);
        self.solver.step(run, noisier, &Step { from: raised, ..*step }, memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ddim;
    use vdm_core::Scaling;

    /// Amounts and ranges of algorithm 2, by hand.
    #[test]
    fn levels_rise_by_the_share_of_the_amount_inside_the_range_only() {
        let sigmas = [80.0_f64, 10.0, 1.0, 0.1];
        let log_snrs = sigmas.map(|sigma| -2.0 * sigma.ln());
        let grid = TimeGrid::from_log_snrs(log_snrs, Scaling::VarianceExploding).unwrap();
        let raised = |amount: f64| {
            let churn = Churn {
                sigma: EdmSigmaRange { min: 5.0, max: 20.0 },
                ..Churn::new(Ddim::default(), amount)
            };
            [0, 1, 2].map(|i| churn.raised(&Step::of(&grid, i)).map(|at| at.sigma))
        };
        let [outside, inside, below] = raised(0.6);
        assert_eq!((outside, below), (None, None));
        assert!((inside.unwrap() - 12.0).abs() < 1e-12, "{inside:?}");
        assert!((raised(100.0)[1].unwrap() - 10.0 * 2.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(raised(0.0), [None; 3]);
    }

    #[test]
    fn the_range_is_everything_unless_it_is_given() {
        let churn: Churn<Ddim> = serde_json::from_str(r#"{"solver": {}, "amount": 4}"#).unwrap();
        assert_eq!(churn, Churn::new(Ddim::default(), 4.0));
        let again: Churn<Ddim> =
            serde_json::from_str(&serde_json::to_string(&churn).unwrap()).unwrap();
        assert_eq!(again, churn);
    }
}
