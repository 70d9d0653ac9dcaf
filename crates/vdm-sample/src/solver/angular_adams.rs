//! Multistep in the angle between image and noise.

use serde::{Deserialize, Serialize};
use vdm_core::{Denoiser, Latent, NoiseLevel};

use super::{Coordinate, History, Order, Properties, Run, Solver, Step};
use crate::SolveError;
use crate::exponential::weights;

/// One prediction more than the highest order.
const MAX_NODES: usize = 5;

/// Adams–Bashforth–Moulton for the probability-flow ODE in the angle `φ = atan(σ/(dα))`, the time of
/// [TrigFlow](Coordinate::TrigFlow) (Lu and Song 2024).
///
/// ```text
/// dy/dφ = v̂ = cos φ·ε̂ − sin φ·x̂/d,   y = z/√(σ² + d²α²)
/// ```
///
/// Under a variance-preserving scaling and `d = 1`, `v̂` is the velocity of Salimans and Ho 2022. It is
/// bounded, and both ends of the path are regular: pure noise is `φ = π/2`, clean data
/// `φ = 0`, so neither the first nor the last step falls back to lower order. A step extrapolates
/// `v̂` through the last `order` predictions; once the model has been called at its end, that
/// prediction joins them, the step is taken again with one node more, and the call serves the next
/// step too (the PEC mode of Adams methods): one call a step. What `on_step` sees is the predicted
/// end.
///
/// For 5 to 50 model calls, with [`TimeGrid::angle`](crate::TimeGrid::angle); order 2 below about
/// 12 calls, 4 above.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AngularAdams {
    /// How many predictions the predictor combines.
    pub order: Order,
    /// `d > 0`, roughly the standard deviation of the data.
    #[serde(deserialize_with = "super::parameter::data_std")]
    pub data_std: f64,
}

impl Default for AngularAdams {
    fn default() -> Self {
        Self { order: Order::Two, data_std: 1.0 }
    }
}

/// The last predictions, and the start of the step that can still be corrected.
#[derive(Debug)]
pub struct AngularAdamsMemory<Z> {
    past: History<Z>,
    open: Option<(Z, NoiseLevel)>,
}

impl<Z> Default for AngularAdamsMemory<Z> {
    fn default() -> Self {
        Self { past: History::default(), open: None }
    }
}

impl AngularAdams {
    fn coordinate(&self) -> Coordinate {
        Coordinate::TrigFlow { data_std: self.data_std }
    }

    /// From `z` at `t` to `s` along the polynomial through the newest `nodes` predictions.
    fn advance<Z: Latent, D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: &Z,
        (t, s): (&NoiseLevel, &NoiseLevel),
        past: &History<Z>,
        nodes: usize,
    ) -> Z {
        let angle = self.coordinate();
        let turn = angle.time_between(t, s);
        let mut positions = [0.0; MAX_NODES];
        for (position, known) in positions.iter_mut().zip(past.iter()) {
            *position = angle.time_between(t, &known.at) / turn;
        }
        let moments = [1.0, 1.0 / 2.0, 1.0 / 3.0, 1.0 / 4.0, 1.0 / 5.0];
        let (on_z, on_slope) = angle.advance(t, s);
        let mut terms = [(on_z, z); MAX_NODES + 1];
        let weighted = past.iter().zip(weights(&moments, &positions[..nodes]));
        for (term, (known, weight)) in terms[1..].iter_mut().zip(weighted) {
            *term = (on_slope * weight, &known.value);
        }
        run.lincomb(&terms[..=nodes])
    }
}

impl<Z: Latent> Solver<Z> for AngularAdams {
    type Memory = AngularAdamsMemory<Z>;

    /// The corrector's order, as far as the first step, of order 2 once corrected, allows.
    fn properties(&self) -> Properties {
        let order = (u32::from(self.order) + 1).min(3);
        Properties { order, calls_per_step: 1, stochastic: false }
    }

    fn step<D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step<'_>,
        memory: &mut Self::Memory,
    ) -> Result<Z, SolveError<D::Error>> {
        let Step { from: t, to: s, .. } = step;
        let velocity = self.coordinate().predict(run, &z, t)?;
        memory.past.push(run, velocity, *t, self.order.get() + 1);
        let known = memory.past.len();
        let corrected = match memory.open.take() {
            None => z,
            Some((start, at)) => {
                let corrected = self.advance(run, &start, (&at, t), &memory.past, known);
                run.recycle(start);
                run.recycle(z);
                corrected
            }
        };
        let nodes = known.min(self.order.get());
        let z_s = self.advance(run, &corrected, (t, s), &memory.past, nodes);
        memory.open = Some((corrected, *t));
        Ok(z_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NoNoise, TimeGrid, solve};
    use vdm_core::{GaussianMixture, Parameterization, Scaling, Schedule};

    /// Data of one Gaussian whose standard deviation is `d` around 0 do not move at all in these
    /// coordinates: any number of steps is exact, from pure noise to clean data. 1e-12: roundings of
    /// angles near π/2.
    #[test]
    fn gaussian_data_of_its_own_scale_is_solved_exactly() {
        for scaling in [Scaling::VariancePreserving, Scaling::StraightLine] {
            let model = GaussianMixture::new(vec![1.0], vec![vec![0.0]], vec![0.4]).unwrap();
            let schedule: Schedule = serde_json::from_str(r#"{"kind": "straight_line"}"#).unwrap();
            for steps in [1, 2, 7] {
                let grid = TimeGrid::angle(steps, 0.4, 1.0, &schedule, scaling).unwrap();
                let solver = AngularAdams { order: Order::Three, data_std: 0.4 };
                let z1 = vec![1.5_f64];
                let x =
                    solve(&solver, &model, z1, &grid, &mut NoNoise, |_, _, _| ()).unwrap().latent;
                assert!((x[0] - 0.4 * 1.5).abs() < 1e-12, "{scaling:?} {steps}: {x:?}");
            }
        }
    }

    #[test]
    fn the_velocity_of_unit_data_is_the_usual_one() {
        let at = Scaling::VariancePreserving.level(1.3);
        let ours = AngularAdams::default().coordinate().slope(&at).target(&at);
        let usual = Parameterization::Velocity.target(&at);
        assert!((ours.0 - usual.0).abs() < 1e-15 && (ours.1 - usual.1).abs() < 1e-15);
    }
}
