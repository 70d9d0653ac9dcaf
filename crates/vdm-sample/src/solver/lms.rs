//! Linear multistep (Adams–Bashforth) methods on uneven grids.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use vdm_core::{Denoiser, Latent, NoiseLevel};

use super::{Coordinate, Ddim, History, Properties, Solver, Step};
use crate::{Run, RunError};

/// `y_s = y_t + ∫ P(τ) dτ` over the step, where the polynomial `P` passes through the last slopes.
///
/// One model call per step. The integrals are exact for the grid at hand, so steps may differ in
/// size. Orders grow from 1 in the first steps, and Euler's first step limits the global order to
/// 2; from high noise, where slopes hardly change, its error is so small that runs converge at the
/// number of slopes. k-diffusion's `lms` is this in EDM's coordinate; the flow's had the smaller
/// errors on the mixture of the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lms {
    /// How many slopes are used. By default 4.
    #[serde(default)]
    pub order: LmsOrder,
    /// Where the slope is taken for a polynomial in time.
    #[serde(default)]
    pub coordinate: Coordinate,
}

/// A number of slopes from 1 to 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct LmsOrder(u8);

/// An order out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the order of a linear multistep solver is 1, 2, 3 or 4, got {found}")]
pub struct LmsOrderError {
    /// What was given.
    pub found: u8,
}

impl LmsOrder {
    const MAX: usize = 4;

    /// From 1, which is [`Ddim`], to 4.
    ///
    /// # Errors
    /// [`LmsOrderError`] for any other number.
    pub fn new(order: u8) -> Result<Self, LmsOrderError> {
        match order {
            1..=4 => Ok(Self(order)),
            found => Err(LmsOrderError { found }),
        }
    }
}

impl Default for LmsOrder {
    fn default() -> Self {
        Self(4)
    }
}

impl TryFrom<u8> for LmsOrder {
    type Error = LmsOrderError;
    fn try_from(order: u8) -> Result<Self, LmsOrderError> {
        Self::new(order)
    }
}

impl From<LmsOrder> for u8 {
    fn from(order: LmsOrder) -> Self {
        order.0
    }
}

/// `∫₀¹ Π_{k≠j} (u − u_k)/(u_j − u_k) du` for each node `j` of time `u = (τ − τ_t)/(τ_s − τ_t)`:
/// what each slope weighs over a step, relative to its length. `nodes` starts with the step's own
/// `t`.
fn node_weights(
    coordinate: Coordinate,
    nodes: &[NoiseLevel],
    step: &Step<'_>,
) -> [f64; LmsOrder::MAX] {
    let whole = coordinate.time_between(&step.from, &step.to);
    let mut weights = [0.0; LmsOrder::MAX];
    for (j, (node, weight)) in nodes.iter().zip(&mut weights).enumerate() {
        // Coefficients of the polynomial in u, lowest power first.
        let mut basis = [0.0; LmsOrder::MAX];
        basis[0] = 1.0;
        for other in nodes.iter().enumerate().filter(|(k, _)| *k != j).map(|(_, other)| other) {
            let root = coordinate.time_between(&step.from, other) / whole;
            let scale = whole / coordinate.time_between(other, node);
            for power in (0..LmsOrder::MAX).rev() {
                let lower = if power == 0 { 0.0 } else { basis[power - 1] };
                basis[power] = scale * (lower - root * basis[power]);
            }
        }
        *weight = basis.iter().zip(1..).map(|(c, power)| c / f64::from(power)).sum();
    }
    weights
}

impl<Z: Latent> Solver<Z> for Lms {
    type Memory = History<Z>;

    fn properties(&self) -> Properties {
        let order = u32::from(self.order.0).min(2);
        Properties { order, calls_per_step: 1, stochastic: false }
    }

    fn step<D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step<'_>,
        memory: &mut Self::Memory,
    ) -> Result<Z, RunError<D::Error>> {
        if self.coordinate.is_singular_at(&step.from) {
            return Ddim::default().step(run, z, step, &mut ());
        }
        let slope = self.coordinate.slope(run, &z, &step.from)?;
        memory.push(run, slope, step.from, usize::from(self.order.0));
        let mut nodes = [step.from; LmsOrder::MAX];
        nodes.iter_mut().zip(memory.iter()).for_each(|(node, past)| *node = past.at);
        let weights = node_weights(self.coordinate, &nodes[..memory.len()], step);
        let (on_z, on_slope) = self.coordinate.advance(&step.from, &step.to);
        let mut terms = [(on_z, &z); LmsOrder::MAX + 1];
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

    #[test]
    fn orders_out_of_range_are_refused_by_name() {
        assert_eq!(LmsOrder::new(0), Err(LmsOrderError { found: 0 }));
        let error = serde_json::from_str::<Lms>(r#"{"order": 7}"#).unwrap_err().to_string();
        assert!(error.contains("1, 2, 3 or 4, got 7"), "{error}");
        assert_eq!(serde_json::from_str::<Lms>("{}").unwrap(), Lms::default());
    }
}
