//! Coordinates in which the probability-flow ODE has no linear part.

use std::f64::consts::FRAC_PI_2;

use serde::{Deserialize, Serialize};
use vdm_core::{Denoiser, Latent, LogSnr, NoiseLevel, Parameterization};

use crate::SolveError;
use crate::solver::{Run, Step};

/// A rescaled latent `y = z/k` and a time `τ` in which the probability-flow ODE is `dy = slope·dτ`, so
/// that a solver's polynomials approximate the model's prediction alone.
///
/// | | `k` | `τ` | slope | from pure noise (`α = 0`) |
/// |---|---|---|---|---|
/// | [`Edm`](Self::Edm) | `α` | `σ/α` | `ε̂` | infinite; the first step is [`Ddim`](crate::Ddim)'s |
/// | [`Flow`](Self::Flow) | `α + σ` | `σ/(α + σ)` | `ε̂ − x̂` | regular |
/// | [`TrigFlow`](Self::TrigFlow) | `√(σ² + d²α²)` | `atan(σ/(dα))` | `cos τ·ε̂ − sin τ·x̂/d` | regular |
///
/// In the first two `y` is the latent of the variance-exploding and of the straight-line scaling at the
/// same `λ`; in the third it is that of the variance-preserving one for `d = 1`, and has unit variance for
/// data of standard deviation `d`. None depends on the scaling at hand. Karras et al. 2022, eq. 1; Lipman
/// et al. 2023; Lu and Song 2024 (TrigFlow).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Coordinate {
    /// `y = z/α`, time `σ/α`, slope `ε̂`.
    #[default]
    Edm,
    /// `y = z/(α + σ)`, time `σ/(α + σ)`, slope `ε̂ − x̂`.
    Flow,
    /// The angle between image and noise: `y = cos τ·x/d + sin τ·ε`. Its slope is bounded, and both ends of
    /// the path are regular: pure noise is `τ = π/2`, clean data `τ = 0`.
    TrigFlow {
        /// `d > 0`, roughly the standard deviation of the data.
        #[serde(deserialize_with = "crate::solver::parameter::data_std")]
        data_std: f64,
    },
}

impl Coordinate {
    /// TrigFlow's angle for data of unit variance, `atan(σ/α)`.
    pub const UNIT_ANGLE: Self = Self::TrigFlow { data_std: 1.0 };

    /// `k`, what a latent is divided by.
    #[must_use]
    pub fn scale(self, at: &NoiseLevel) -> f64 {
        match self {
            Self::Edm => at.alpha,
            Self::Flow => at.alpha + at.sigma,
            Self::TrigFlow { data_std } => at.sigma.hypot(data_std * at.alpha),
        }
    }

    /// `τ`, which grows with the noise.
    #[must_use]
    pub fn time(self, at: LogSnr) -> f64 {
        let sigma = at.edm_sigma();
        match self {
            Self::Edm => sigma,
            Self::Flow => 1.0 / (1.0 + 1.0 / sigma),
            Self::TrigFlow { data_std } => sigma.atan2(data_std),
        }
    }

    /// The level at a time, the inverse of [`time`](Self::time).
    #[must_use]
    pub fn level(self, time: f64) -> LogSnr {
        let sigma = match self {
            Self::Edm => time,
            Self::Flow => time / (1.0 - time),
            // The tangent of the number nearest to π/2 is finite.
            Self::TrigFlow { .. } if time >= FRAC_PI_2 => f64::INFINITY,
            Self::TrigFlow { data_std } => data_std * time.tan(),
        };
        LogSnr::from_edm_sigma(sigma)
    }

    /// The prediction that is the slope at a level.
    #[must_use]
    pub fn slope(self, at: &NoiseLevel) -> Parameterization {
        match self {
            Self::Edm => Parameterization::Noise,
            Self::Flow => Parameterization::Flow,
            Self::TrigFlow { data_std } => {
                let (sin, cos) = self.time(LogSnr::new(at.log_snr)).sin_cos();
                Parameterization::Combination { image: -sin / data_std, noise: cos }
            }
        }
    }

    /// Whether the level has no finite `y`.
    pub(crate) fn is_singular_at(self, at: &NoiseLevel) -> bool {
        self.scale(at) == 0.0
    }

    /// `τ_to − τ_from`, written so that close levels do not cancel and infinite ones stay finite:
    /// for a cleaner `to`, `α_to σ_from expm1((λ_from − λ_to)/2)/(k_to k_from)`. Angles are finite and
    /// are subtracted.
    pub(crate) fn time_between(self, from: &NoiseLevel, to: &NoiseLevel) -> f64 {
        if from.log_snr > to.log_snr {
            return -self.time_between(to, from);
        }
        if let Self::TrigFlow { .. } = self {
            return self.time(LogSnr::new(to.log_snr)) - self.time(LogSnr::new(from.log_snr));
        }
        let kept = (0.5 * (from.log_snr - to.log_snr)).exp_m1();
        to.alpha * kept / self.scale(to) * (from.sigma / self.scale(from))
    }

    /// The coefficients of `z_to = on_z·z_from + on_slope·slope`.
    pub(crate) fn advance(self, from: &NoiseLevel, to: &NoiseLevel) -> (f64, f64) {
        let scale = self.scale(to);
        (scale / self.scale(from), scale * self.time_between(from, to))
    }

    /// The level at the mean of the two times.
    pub(crate) fn midpoint(self, step: &Step<'_>) -> NoiseLevel {
        let (t, s) = (&step.from, &step.to);
        let log_snr = match self {
            Self::TrigFlow { .. } => {
                let time = |at: &NoiseLevel| self.time(LogSnr::new(at.log_snr));
                self.level(0.5 * (time(t) + time(s))).value()
            }
            // α/k and σ/k are both linear in τ.
            Self::Edm | Self::Flow => {
                let mean = |part: fn(&NoiseLevel) -> f64| {
                    part(t) / self.scale(t) + part(s) / self.scale(s)
                };
                2.0 * (mean(|at| at.alpha) / mean(|at| at.sigma)).ln()
            }
        };
        step.grid.between(log_snr)
    }

    /// The slope by one model call.
    pub(crate) fn predict<Z: Latent, D: Denoiser<Z> + ?Sized>(
        self,
        run: &mut Run<'_, Z, D>,
        z: &Z,
        at: &NoiseLevel,
    ) -> Result<Z, SolveError<D::Error>> {
        run.predict_as(self.slope(at), z, at)
    }

    /// The whole step along the slope at the level `middle` inside it, which Euler's step reaches.
    pub(crate) fn step_by_slope_at<Z: Latent, D: Denoiser<Z> + ?Sized>(
        self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step<'_>,
        middle: &NoiseLevel,
    ) -> Result<Z, SolveError<D::Error>> {
        let start = self.predict(run, &z, &step.from)?;
        let (on_z, on_slope) = self.advance(&step.from, middle);
        let inside = run.lincomb(&[(on_z, &z), (on_slope, &start)]);
        let slope = self.predict(run, &inside, middle)?;
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
                let angle = Coordinate::TrigFlow { data_std: 0.7 };
                let y = |at: &NoiseLevel| z(at) / angle.scale(at);
                let tau = angle.time(LogSnr::new(t.log_snr));
                prop_assert!((y(&t) - (tau.cos() * x / 0.7 + tau.sin() * eps)).abs() < 1e-12);
                for (coordinate, slope) in [(Coordinate::Edm, eps), (Coordinate::Flow, eps - x)] {
                    let (on_z, on_slope) = coordinate.advance(&t, &s);
                    let reached = on_z * z(&t) + on_slope * slope;
                    prop_assert!((reached - z(&s)).abs() < 1e-12, "{coordinate:?} {scaling:?}");
                    let time = |at: &NoiseLevel| coordinate.time(LogSnr::new(at.log_snr));
                    prop_assert!((time(&t) * coordinate.scale(&t) - t.sigma).abs() < 1e-12 * t.sigma);
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
