//! Linear multistep (Adams–Bashforth) methods on uneven grids.

use serde::{Deserialize, Serialize};
use vdm_core::{Denoiser, Latent, NoiseLevel};

use super::{Coordinate, Ddim, History, Order, Properties, Run, Solver, Step};
use crate::SolveError;
use crate::exponential::weights;

/// One step may use so many slopes.
const MAX_SLOPES: usize = 4;

/// `y_s = y_t + ∫ P(τ) dτ` over the step, where the polynomial `P` passes through the last slopes.
///
/// One model call per step. The integrals are exact for the grid at hand, so steps may differ in
/// size. Orders grow from 1 in the first steps, and Euler's first step limits the global order to
/// 2; from high noise, where slopes hardly change, its error is so small that runs converge at the
/// number of slopes. k-diffusion's `lms` is this in EDM's coordinate; the flow's had the smaller
/// errors on the mixture of the tests.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lms {
    /// How many slopes are used. By default 4.
    pub order: Order,
    /// Where the slope is taken for a polynomial in time.
    pub coordinate: Coordinate,
}

impl Default for Lms {
    fn default() -> Self {
        Self { order: Order::Four, coordinate: Coordinate::default() }
    }
}

/// What each slope weighs over a step, relative to its length: the integral of its Lagrange
/// polynomial in time. `nodes` starts with the step's own `t`.
fn node_weights(
    coordinate: Coordinate,
    nodes: &[NoiseLevel],
    step: &Step<'_>,
) -> [f64; MAX_SLOPES] {
    let whole = coordinate.time_between(&step.from, &step.to);
    let mut times = [0.0; MAX_SLOPES];
    for (time, node) in times.iter_mut().zip(nodes) {
        *time = coordinate.time_between(&step.from, node) / whole;
    }
    weights(&[1.0, 1.0 / 2.0, 1.0 / 3.0, 1.0 / 4.0], &times[..nodes.len()])
}

impl<Z: Latent> Solver<Z> for Lms {
    type Memory = History<Z>;

    fn properties(&self) -> Properties {
        let order = u32::from(self.order).min(2);
        Properties { order, calls_per_step: 1, stochastic: false }
    }

    fn step<D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step<'_>,
        memory: &mut Self::Memory,
    ) -> Result<Z, SolveError<D::Error>> {
        if self.coordinate.is_singular_at(&step.from) {
            return Ddim::default().step(run, z, step, &mut ());
        }
        let slope = self.coordinate.predict(run, &z, &step.from)?;
        memory.push(run, slope, step.from, self.order.get());
        let mut nodes = [step.from; MAX_SLOPES];
        nodes.iter_mut().zip(memory.iter()).for_each(|(node, past)| *node = past.at);
        let weights = node_weights(self.coordinate, &nodes[..memory.len()], step);
        let (on_z, on_slope) = self.coordinate.advance(&step.from, &step.to);
        let mut terms = [(on_z, &z); MAX_SLOPES + 1];
        for ((term, weight), past) in terms[1..].iter_mut().zip(weights).zip(memory.iter()) {
            *term = (on_slope * weight, &past.value);
        }
        let z_s = run.lincomb(&terms[..=memory.len()]);
        run.recycle(z);
        Ok(z_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TimeGrid;
    use proptest::prelude::*;
    use vdm_core::Scaling;

    /// Adams and Bashforth's numbers, for even steps of the flow's time.
    #[test]
    fn even_steps_have_the_weights_of_adams_and_bashforth() {
        let times = [0.5, 0.4, 0.3, 0.2, 0.1];
        let levels = times.map(|t| NoiseLevel::from_scales(1.0 - t, t));
        let grid = TimeGrid::from_levels(levels.to_vec(), Scaling::StraightLine).unwrap();
        let mut nodes = levels[..4].to_vec();
        nodes.reverse();
        let textbook: [&[f64]; 4] = [
            &[1.0],
            &[3.0 / 2.0, -1.0 / 2.0],
            &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
            &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
        ];
        for wanted in textbook {
            let got = node_weights(Coordinate::Flow, &nodes[..wanted.len()], &Step::of(&grid, 3));
            for (got, wanted) in got.iter().zip(wanted) {
                assert!((got - wanted).abs() < 1e-13, "{got} for {wanted}");
            }
        }
    }

    proptest! {
        /// Polynomials of degree below the order are integrated exactly over any grid, to 1e-12 of
        /// the terms that add up to the integral.
        #[test]
        fn polynomials_are_integrated_exactly(
            gaps in prop::collection::vec(0.2..3.0_f64, 5), start in -4.0..1.0_f64,
        ) {
            let log_snrs = (0..gaps.len()).map(|i| start + gaps[..=i].iter().sum::<f64>());
            let grid = TimeGrid::from_log_snrs(log_snrs, Scaling::VariancePreserving).unwrap();
            let step = Step::of(&grid, 3);
            let nodes: Vec<NoiseLevel> = grid.levels()[..4].iter().rev().copied().collect();
            for coordinate in [Coordinate::Edm, Coordinate::Flow] {
                let whole = coordinate.time_between(&step.from, &step.to);
                let weights = node_weights(coordinate, &nodes, &step);
                for degree in 0..4 {
                    let power = |node| {
                        (coordinate.time_between(&step.from, node) / whole).powi(degree)
                    };
                    let terms: [f64; 4] = std::array::from_fn(|j| weights[j] * power(&nodes[j]));
                    let scale: f64 = terms.iter().chain(&weights).map(|term| term.abs()).sum();
                    let sum: f64 = terms.iter().sum();
                    let exact = 1.0 / f64::from(degree + 1);
                    prop_assert!((sum - exact).abs() < 1e-12 * scale, "{degree}: {sum}");
                }
            }
        }
    }
}
