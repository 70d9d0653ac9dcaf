//! Coordinates in which the probability-flow ODE has no linear part.

use serde::{Deserialize, Serialize};
use vdm_core::{Denoiser, Latent, NoiseLevel, Parameterization};

use super::Step;
use crate::{Run, RunError};

/// A rescaled latent `y = z/k` and a time `τ = σ/k` in which the probability-flow ODE is
/// `dy = slope·dτ`, so that a solver's polynomials approximate the model's prediction alone.
///
/// | | `k` | slope | from pure noise (`α = 0`) |
/// |---|---|---|---|
/// | [`Edm`](Self::Edm) | `α` | `ε̂` | infinite; the first step is [`Ddim`](super::Ddim)'s |
/// | [`Flow`](Self::Flow) | `α + σ` | `ε̂ − x̂` | regular |
///
/// `y` is the latent of the variance-exploding and of the straight-line scaling at the same `λ`, so
/// either works under every scaling. Karras et al. 2022, eq. 1; Lipman et al. 2023.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coordinate {
    /// `y = z/α`, time `σ/α`, slope `ε̂`.
    #[default]
    Edm,
    /// `y = z/(α + σ)`, time `σ/(α + σ)`, slope `ε̂ − x̂`.
    Flow,
}

impl Coordinate {
    fn scale(self, at: &NoiseLevel) -> f64 {
        match self {
            Self::Edm => at.alpha,
            Self::Flow => at.alpha + at.sigma,
        }
    }

    /// Whether the level has no finite `y`.
    pub(super) fn is_singular_at(self, at: &NoiseLevel) -> bool {
        self.scale(at) == 0.0
    }

    /// `τ_to − τ_from`, written so that close levels do not cancel and infinite ones stay finite:
    /// for a cleaner `to`, `α_to σ_from expm1((λ_from − λ_to)/2) / (k_to k_from)`.
    pub(super) fn time_between(self, from: &NoiseLevel, to: &NoiseLevel) -> f64 {
        if from.log_snr > to.log_snr {
            return -self.time_between(to, from);
        }
        let kept = (0.5 * (from.log_snr - to.log_snr)).exp_m1();
        to.alpha * kept / self.scale(to) * (from.sigma / self.scale(from))
    }

    /// The coefficients of `z_to = on_z·z_from + on_slope·slope`.
    pub(super) fn advance(self, from: &NoiseLevel, to: &NoiseLevel) -> (f64, f64) {
        let scale = self.scale(to);
        (scale / self.scale(from), scale * self.time_between(from, to))
    }

    /// The level at the mean of the two times.
    pub(super) fn midpoint(self, step: &Step<'_>) -> NoiseLevel {
        let (t, s) = (&step.from, &step.to);
        // α/k and σ/k are both linear in τ.
        let mean = |part: fn(&NoiseLevel) -> f64| part(t) / self.scale(t) + part(s) / self.scale(s);
        step.grid.between(2.0 * (mean(|at| at.alpha) / mean(|at| at.sigma)).ln())
    }

    /// One model call.
    pub(super) fn slope<Z: Latent, D: Denoiser<Z> + ?Sized>(
        self,
        run: &mut Run<'_, Z, D>,
        z: &Z,
        at: &NoiseLevel,
    ) -> Result<Z, RunError<D::Error>> {
        let what = match self {
            Self::Edm => Parameterization::Noise,
            Self::Flow => Parameterization::Flow,
        };
        run.predict_as(what, z, at)
    }

    /// The whole step along the slope at the level `middle` inside it, which Euler's step reaches.
    pub(super) fn step_by_slope_at<Z: Latent, D: Denoiser<Z> + ?Sized>(
        self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step<'_>,
        middle: &NoiseLevel,
    ) -> Result<Z, RunError<D::Error>> {
        let start = self.slope(run, &z, &step.from)?;
        let (on_z, on_slope) = self.advance(&step.from, middle);
        let inside = run.lincomb(&[(on_z, &z), (on_slope, &start)]);
        let slope = self.slope(run, &inside, middle)?;
        let (on_z, on_slope) = self.advance(&step.from, &step.to);
        let z_s = run.lincomb(&[(on_z, &z), (on_slope, &slope)]);
        for buffer in [z, start, inside, slope] {
            run.recycle(buffer);
        }
        Ok(z_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TimeGrid;
    use proptest::prelude::*;
    use vdm_core::Scaling;

    const SCALINGS: [Scaling; 4] = [
        Scaling::VariancePreserving,
        Scaling::VarianceExploding,
        Scaling::StraightLine,
        Scaling::SubVariancePreserving,
    ];

    proptest! {
        /// Where the slope does not change (a fixed image and noise), one step is exact, and times
        /// are those of the definition. A few roundings of f64 of numbers up to 150.
        #[test]
        fn a_step_along_a_fixed_image_and_noise_is_exact(
            from in -10.0..3.0_f64, gap in 0.01..8.0_f64, x in -1.0..1.0_f64, eps in -1.0..1.0_f64,
        ) {
            for scaling in SCALINGS {
                let [t, s] = [from, from + gap].map(|l| scaling.level(l));
                let z = |at: &NoiseLevel| at.alpha * x + at.sigma * eps;
                for (coordinate, slope) in [(Coordinate::Edm, eps), (Coordinate::Flow, eps - x)] {
                    let (on_z, on_slope) = coordinate.advance(&t, &s);
                    let reached = on_z * z(&t) + on_slope * slope;
                    prop_assert!((reached - z(&s)).abs() < 1e-12, "{coordinate:?} {scaling:?}");
                    let time = |at: &NoiseLevel| at.sigma / coordinate.scale(at);
                    let gap = coordinate.time_between(&t, &s);
                    prop_assert!((gap - (time(&s) - time(&t))).abs() < 1e-12 * time(&t));
                    let grid = TimeGrid::from_levels(vec![t, s], scaling).unwrap();
                    let middle = time(&coordinate.midpoint(&Step::of(&grid, 0)));
                    prop_assert!((middle - 0.5 * (time(&s) + time(&t))).abs() < 1e-13 * time(&t));
                }
            }
        }
    }

    #[test]
    fn both_infinite_ends_are_regular_for_the_flow_and_the_clean_one_for_edm() {
        let [noise, t, clean] =
            [f64::NEG_INFINITY, 1.0, f64::INFINITY].map(|l| Scaling::VariancePreserving.level(l));
        assert_eq!(Coordinate::Flow.advance(&noise, &clean), (1.0, -1.0));
        assert!(Coordinate::Edm.is_singular_at(&noise) && !Coordinate::Flow.is_singular_at(&noise));
        let (on_z, on_slope) = Coordinate::Edm.advance(&t, &clean);
        assert_eq!((on_z, on_slope), (1.0 / t.alpha, -t.sigma / t.alpha));
    }
}
