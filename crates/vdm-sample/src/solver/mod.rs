//! One step from a noisier level to a cleaner one; one solver a file, each like its paper's box.

mod ancestral;
mod ddim;
mod dpm_solver_pp_2m;

pub use ancestral::Ancestral;
pub use ddim::Ddim;
pub use dpm_solver_pp_2m::DpmSolverPp2M;

use vdm_core::{Denoiser, Latent, NoiseLevel};

use crate::Run;

/// What a solver says of itself; tests measure all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Properties {
    /// Global error falls like `steps^{−order}` (for stochastic solvers, of expectations).
    pub order: u32,
    /// Model calls per step.
    pub calls_per_step: usize,
    /// Whether it draws noise.
    pub stochastic: bool,
}

/// One step of a grid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Its number, from 0.
    pub index: usize,
    /// How many steps the grid has: some solvers end with lower order.
    pub steps: usize,
    /// The level `t` it starts at.
    pub from: NoiseLevel,
    /// The cleaner level `s` it ends at.
    pub to: NoiseLevel,
}

/// A way to take one step.
pub trait Solver<Z: Latent> {
    /// What is carried from step to step: `()` for single-step methods.
    type Memory: Default;

    /// Order, cost and kind.
    fn properties(&self) -> Properties;

    /// From `z` at the step's first level to its second.
    ///
    /// # Errors
    /// The model's own.
    fn step<D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step,
        memory: &mut Self::Memory,
    ) -> Result<Z, D::Error>;
}
