//! One sample on its way.

use vdm_core::{Latent, NoiseLevel, Scaling};

use super::control::Controller;
use super::field::{level, radius};
use super::state::{State, Tolerance, rms};
use super::tableau::Tableau;
use crate::InnerProduct;

/// A sample, where it is, and the step it tries next.
#[derive(Debug)]
pub(super) struct Track<Z> {
    pub(super) angle: f64,
    end: f64,
    /// Signed like `end − angle`.
    pub(super) step: f64,
    pub(super) state: State<Z>,
    /// `k_0, k_1, …` of the stages evaluated so far; the first outlives a step that is refused.
    pub(super) slopes: Vec<State<Z>>,
    control: Controller,
    pub(super) accepted: usize,
    pub(super) rejected: usize,
    pub(super) calls: usize,
}

impl<Z: InnerProduct> Track<Z> {
    pub(super) fn new(state: State<Z>, angle: f64, end: f64) -> Self {
        Self {
            angle,
            end,
            step: 0.0,
            state,
            slopes: Vec::new(),
            control: Controller::new(),
            accepted: 0,
            rejected: 0,
            calls: 0,
        }
    }

    pub(super) fn has_arrived(&self) -> bool {
        self.angle == self.end
    }

    /// Sets the length of the next step, towards the end and not beyond it.
    pub(super) fn set_step(&mut self, length: f64) {
        let left = self.end - self.angle;
        // A hundredth more than was meant, rather than one more step of less than that.
        self.step = if 1.01 * length >= left.abs() { left } else { length.copysign(left) };
    }

    /// The latent at a stage, in the scaling of its level.
    pub(super) fn stage(&self, node: f64, row: &[f64], scaling: Scaling) -> (Z, NoiseLevel) {
        let at = level(scaling, self.angle + node * self.step);
        let scale = radius(&at);
        let moves = row.iter().zip(&self.slopes).map(|(a, k)| (scale * self.step * a, &k.latent));
        let terms: Vec<_> = [(scale, &self.state.latent)].into_iter().chain(moves).collect();
        (Z::lincomb(&terms), at)
    }

    /// `h Σ cᵢ kᵢ`, after `before` if there is one.
    fn moved(&self, before: Option<&State<Z>>, h: f64, c: impl Iterator<Item = f64>) -> State<Z> {
        let moves = c.zip(&self.slopes).map(|(c, k)| (h * c, k));
        let terms: Vec<_> = before.map(|y| (1.0, y)).into_iter().chain(moves).collect();
        State::lincomb(&terms)
    }

    /// Whether all slopes so far are numbers.
    pub(super) fn is_finite(&self) -> bool {
        self.slopes.iter().all(|slope| slope.size().is_finite())
    }

    /// A first step from the first slope: one that changes the state by 1 % of its size (Hairer,
    /// Nørsett and Wanner 1993, §II.4).
    pub(super) fn try_step(&mut self, tolerance: Tolerance) {
        let beside = rms(&self.state.latent);
        let at = tolerance.ratio(&self.state, beside);
        let slope = tolerance.ratio(&self.slopes[0], beside);
        self.set_step(if at < 1e-5 || slope < 1e-5 { 1e-6 } else { 0.01 * at / slope });
    }

    /// A better one from the slope at the end of that too: one whose first neglected term is 1 % of
    /// the tolerance, as far as the second derivative tells.
    pub(super) fn choose_step(&mut self, tolerance: Tolerance, order: u32) {
        let (tried, beside) = (self.step.abs(), rms(&self.state.latent));
        let second = self.moved(None, 1.0 / tried, [-1.0, 1.0].into_iter());
        let steepest =
            tolerance.ratio(&second, beside).max(tolerance.ratio(&self.slopes[0], beside));
        let chosen = if steepest <= 1e-15 {
            (1e-3 * tried).max(1e-6)
        } else {
            (0.01 / steepest).powf(1.0 / f64::from(order + 1))
        };
        self.slopes.truncate(1);
        self.set_step(chosen.min(100.0 * tried));
    }

    /// Once all stages are known: takes the step if its error is tolerated, or shortens it. `None`
    /// if the error is not a number.
    pub(super) fn judge(&mut self, tableau: &Tableau, tolerance: Tolerance) -> Option<()> {
        let k = f64::from(tableau.order);
        let next = self.moved(Some(&self.state), self.step, tableau.weights.iter().copied());
        let error = self.moved(None, self.step, tableau.differences());
        let beside = rms(&self.state.latent).max(rms(&next.latent));
        let ratio = tolerance.ratio(&error, beside);
        if !ratio.is_finite() {
            return None;
        }
        let length = self.step.abs();
        if ratio > 1.0 {
            self.rejected += 1;
            self.slopes.truncate(1);
            let shorter = length * self.control.reject(ratio, k);
            self.set_step(shorter);
            return Some(());
        }
        let longer = length * self.control.accept(ratio, k);
        self.advance(next, tableau.first_same_as_last);
        self.set_step(longer);
        Some(())
    }

    /// To the end of the step.
    fn advance(&mut self, next: State<Z>, first_same_as_last: bool) {
        let arrives = self.step == self.end - self.angle;
        self.angle = if arrives { self.end } else { self.angle + self.step };
        self.state = next;
        self.accepted += 1;
        let known = usize::from(first_same_as_last);
        self.slopes.drain(..self.slopes.len() - known);
    }
}
