//! Sampling from the hierarchy itself.

use serde::{Deserialize, Serialize};
use vdm_core::{Denoiser, Latent, Parameterization, Posterior, Transition};

use super::{Properties, Run, Solver, Step};
use crate::SolveError;
use crate::solve::express;

/// `z_s ~ p(z_s|z_t)`, whose mean is that of `q(z_s|z_t, x = x̂(z_t))`: the generative model whose
/// bound is trained.
///
/// Ho et al. 2020; monograph §2.2.1 (its printed noise scale has an erratum, E2: the standard
/// deviation is `σ_s·√(−expm1(λ_t − λ_s))`). Converges to the reverse-time SDE at order 1.
#[doc(alias = "DDPMScheduler")]
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ancestral {
    /// The variance of a step.
    #[serde(default)]
    pub variance: PosteriorVariance,
}

/// The variance of `p(z_s|z_t)`. Each choice has the same limit of small steps.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PosteriorVariance {
    /// `σ_Q²`, exact for data at one point; the one the bound is written for.
    #[default]
    Small,
    /// `σ²_{t|s}`, exact for data of unit variance under a variance-preserving scaling (Ho et al.
    /// 2020's `fixed_large`; no noise in a step to clean data).
    Large,
    /// `small^{1−fraction}·large^{fraction}`, as learned variances are (Nichol and Dhariwal 2021).
    Interpolated {
        /// 0 for small, 1 for large.
        #[serde(deserialize_with = "super::parameter::fraction")]
        fraction: f64,
    },
}

impl PosteriorVariance {
    fn of(self, small: f64, large: f64) -> f64 {
        match self {
            Self::Small => small,
            // A step to clean data ends on the data: no noise, whatever the choice.
            _ if small == 0.0 => 0.0,
            Self::Large => large,
            Self::Interpolated { fraction } => small.powf(1.0 - fraction) * large.powf(fraction),
        }
    }
}

impl<Z: Latent> Solver<Z> for Ancestral {
    type Memory = ();

    fn properties(&self) -> Properties {
        Properties { order: 1, calls_per_step: 1, stochastic: true }
    }

    fn step<D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step<'_>,
        (): &mut (),
    ) -> Result<Z, SolveError<D::Error>> {
        let Step { from: t, to: s, .. } = step;
        let output = run.predict(&z, t)?;
        let x_hat = express(output.of, Parameterization::Image, t)?;
        let q = Posterior::between(s, t);
        let var = self.variance.of(q.var, Transition::between(s, t).var_ts);
        let mean = [(q.on_z + q.on_x * x_hat.on_z, &z), (q.on_x * x_hat.on_output, &output.value)];
        let z_s = run.sample(&mean, var.sqrt(), t, s)?;
        run.recycle(z);
        run.recycle(output.value);
        Ok(z_s)
    }
}
