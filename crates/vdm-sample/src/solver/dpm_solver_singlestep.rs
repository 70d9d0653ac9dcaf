//! Single-step exponential solvers: DPM-Solver-1, -2, -3 and DPM-Solver++(1S), (2S), (3S).

use serde::{Deserialize, Serialize};
use vdm_core::{Denoiser, Latent, NoiseLevel};

use super::SolverType;
use super::taylor::Taylor;
use super::{Ddim, DpmSolverOrder, Past, Properties, Run, Solver, Step};
use crate::SolveError;
use crate::exponential::PredictionForm;

/// DPM-Solver and DPM-Solver++ of order `p` with the grid's own points as stages.
///
/// The grid is walked in blocks of `p` steps. With `m_i` the prediction at point `i` of a block,
/// the latent at point `i + 1` is the update of order `i + 1` from the block's start through
/// `m_0 … m_i`. So every grid step costs one model call and ends on a latent of its level, and the
/// last one of the block has order `p`:
///
/// ```text
/// z_1 = a z_0 + w₀ m_0
/// z_2 = a z_0 + w₀ m_0 + (w₁/r₁)(m_1 − m_0)      as the end of order 2: ½w₀ for w₁
/// z_3 = a z_0 + w₀ m_0 + (w₁/r₂)(m_2 − m_0)
///
/// image:  a = σ/σ_0   w₀ = −α expm1(−h)   w₁ =  α (1 + expm1(−h)/h)
/// noise:  a = α/α_0   w₀ = −σ expm1(h)    w₁ =  σ (1 − expm1(h)/h)
/// ```
///
/// where `α`, `σ`, `h = (λ − λ_0)/2` and `r_i = (λ_i − λ_0)/(λ − λ_0)` are those of each update's
/// own end. ([`SolverType::Heun`] has other weights of the same order.) Blocks uniform in log-SNR
/// have the papers' stages, `r = ½` and `r = ⅓, ⅔`; on other grids order 3 needs log-SNR to be
/// smooth in the step's number.
///
/// Lu et al. 2022a, algorithms 1 and 2; Lu et al. 2022b, algorithm 1. Steps left over form a shorter
/// block of lower order. Steps from pure noise and to clean data stand alone and are of first order
/// ([`Ddim`]).
///
/// | these | are also |
/// |---|---|
/// | order 1 | [`Ddim`] with `η = 0` |
/// | order 2, image, midpoint | DPM-Solver++(2S) |
/// | order 3, noise, midpoint | DPM-Solver-3 |
/// | order 3, image, midpoint | DPM-Solver++(3S) |
/// | order 3, midpoint stage | the third order of diffusers' `DPMSolverSinglestepScheduler` |
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DpmSolverSinglestep {
    /// Number of steps in a block.
    pub order: DpmSolverOrder,
    /// What is interpolated between the stages.
    pub prediction: PredictionForm,
    /// The update that ends a block.
    pub solver_type: SolverType,
    /// The update of order 2 that leads to the last stage of order 3; the papers' is
    /// [`Heun`](SolverType::Heun) whatever the type.
    pub stage_solver_type: SolverType,
    /// Whether a last block of full length gives up its last step, which then is of first order: the
    /// papers' code does so for order 3. Steadier at few steps. It adds an error `O(h²)`, small
    /// where the grid ends nearly clean; on a grid that ends in noise order 3 falls to 2.
    pub lower_order_final: bool,
}

impl Default for DpmSolverSinglestep {
    /// DPM-Solver++(3S) as its authors run it.
    fn default() -> Self {
        Self {
            order: DpmSolverOrder::Three,
            prediction: PredictionForm::Data,
            solver_type: SolverType::Midpoint,
            stage_solver_type: SolverType::Heun,
            lower_order_final: true,
        }
    }
}

/// The first latent of a block, if one has begun, and the predictions made since, oldest first.
#[derive(Debug)]
pub struct Block<Z> {
    start: Option<Z>,
    stages: Vec<Past<Z>>,
}

impl<Z> Default for Block<Z> {
    fn default() -> Self {
        Self { start: None, stages: Vec::new() }
    }
}

impl<Z: Latent> Block<Z> {
    /// `on_start·z_0 + Σ weights[i]·m_i`, over the predictions there are.
    fn combine<D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        start: (f64, &Z),
        weights: [f64; 3],
    ) -> Z {
        let mut terms = [(0.0, start.1); 4];
        terms[0] = start;
        for ((term, weight), stage) in terms[1..].iter_mut().zip(weights).zip(&self.stages) {
            *term = (weight, &stage.value);
        }
        run.lincomb(&terms)
    }
}

impl DpmSolverSinglestep {
    /// Whether a step is the last of its block.
    fn ends_block(&self, step: &Step<'_>) -> bool {
        let levels = step.grid.levels();
        let order = usize::from(u8::from(self.order));
        let lone_first = usize::from(levels[0].alpha == 0.0);
        let full_blocks_fit = (step.grid.steps() - lone_first).is_multiple_of(order);
        let lone_last =
            levels[step.grid.steps()].sigma == 0.0 || (self.lower_order_final && full_blocks_fit);
        step.left() == 1
            || (step.left() == 2 && lone_last)
            || (step.index + 1 - lone_first).is_multiple_of(order)
    }

    /// The weights of the block's predictions in the update from its start to `s`.
    fn weights<Z>(
        &self,
        update: &Taylor,
        stages: &[Past<Z>],
        s: &NoiseLevel,
        ends_block: bool,
    ) -> [f64; 3] {
        let passed = |to: &NoiseLevel| to.log_snr - stages[0].at.log_snr;
        let r = |i: usize| passed(&stages[i].at) / passed(s);
        match stages.len() {
            1 => [update.first(), 0.0, 0.0],
            2 => {
                let solver_type =
                    if ends_block { self.solver_type } else { self.stage_solver_type };
                let [on_start, on_stage] = update.second(solver_type, r(1));
                [on_start, on_stage, 0.0]
            }
            _ => update.third(self.solver_type, r(1), r(2)),
        }
    }
}

impl<Z: Latent> Solver<Z> for DpmSolverSinglestep {
    type Memory = Block<Z>;

    fn properties(&self) -> Properties {
        let order = u32::from(u8::from(self.order));
        Properties { order, calls_per_step: 1, stochastic: false }
    }

    fn step<D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step<'_>,
        block: &mut Block<Z>,
    ) -> Result<Z, SolveError<D::Error>> {
        let Step { from: t, to: s, .. } = step;
        let ends_block = self.ends_block(step);
        if ends_block && block.start.is_none() {
            return Ddim::default().step(run, z, step, &mut ());
        }
        let m = run.predict_as(self.prediction.parameterization(), &z, t)?;
        let start = if let Some(start) = block.start.take() {
            run.recycle(z);
            start
        } else {
            z
        };
        block.stages.push(Past { value: m, at: *t });
        let update = Taylor::between(self.prediction, &block.stages[0].at, s);
        let weights = self.weights(&update, &block.stages, s, ends_block);
        let z_s = block.combine(run, (update.on_z, &start), weights);
        if ends_block {
            run.recycle(start);
            block.stages.drain(..).for_each(|stage| run.recycle(stage.value));
        } else {
            block.start = Some(start);
        }
        Ok(z_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TimeGrid;
    use vdm_core::Scaling;

    /// Lengths of the blocks, on a grid of those ends.
    fn blocks(
        order: DpmSolverOrder,
        lower_order_final: bool,
        steps: u32,
        ends: [f64; 2],
    ) -> Vec<usize> {
        let solver =
            DpmSolverSinglestep { order, lower_order_final, ..DpmSolverSinglestep::default() };
        let inner = (1..steps).map(f64::from);
        let log_snrs = [ends[0]].into_iter().chain(inner).chain([ends[1]]);
        let grid = TimeGrid::from_log_snrs(log_snrs, Scaling::VariancePreserving).unwrap();
        let last = |i: &usize| solver.ends_block(&Step::of(&grid, *i));
        let ends: Vec<usize> = (0..grid.steps()).filter(last).map(|i| i + 1).collect();
        [0].iter().chain(&ends).zip(&ends).map(|(from, to)| to - from).collect()
    }

    /// The patterns of the papers' code and, for those that end in two ones, of diffusers.
    #[test]
    fn blocks_are_those_of_the_papers() {
        let finite = [0.0, 100.0];
        let lower = |order, steps| blocks(order, true, steps, finite);
        assert_eq!(lower(DpmSolverOrder::Three, 15), [3, 3, 3, 3, 2, 1]);
        assert_eq!(lower(DpmSolverOrder::Three, 16), [3, 3, 3, 3, 3, 1]);
        assert_eq!(lower(DpmSolverOrder::Three, 17), [3, 3, 3, 3, 3, 2]);
        assert_eq!(lower(DpmSolverOrder::Two, 10), [2, 2, 2, 2, 1, 1]);
        assert_eq!(lower(DpmSolverOrder::Two, 9), [2, 2, 2, 2, 1]);
        assert_eq!(lower(DpmSolverOrder::One, 3), [1, 1, 1]);
        assert_eq!(blocks(DpmSolverOrder::Three, false, 6, finite), [3, 3]);
        assert_eq!(blocks(DpmSolverOrder::Two, false, 7, finite), [2, 2, 2, 1]);
        for order in [DpmSolverOrder::One, DpmSolverOrder::Two, DpmSolverOrder::Three] {
            assert_eq!(lower(order, 1), [1]);
        }
    }

    #[test]
    fn steps_at_singular_ends_stand_alone() {
        let clean = [0.0, f64::INFINITY];
        assert_eq!(blocks(DpmSolverOrder::Three, false, 6, clean), [3, 2, 1]);
        assert_eq!(blocks(DpmSolverOrder::Three, true, 20, clean), [3, 3, 3, 3, 3, 3, 1, 1]);
        let both = [f64::NEG_INFINITY, f64::INFINITY];
        assert_eq!(blocks(DpmSolverOrder::Three, false, 7, both), [1, 3, 2, 1]);
        assert_eq!(blocks(DpmSolverOrder::Two, true, 2, both), [1, 1]);
    }
}
