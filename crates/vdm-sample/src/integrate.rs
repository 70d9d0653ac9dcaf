//! The loop that joins model, grid, solver and noise.

use vdm_core::{Denoiser, Latent, LogSnr, NoiseLevel, Prediction};

use crate::{NoiseSource, Solver, Step, TimeGrid};

/// What a solver works with during one run: the model, the noise, and buffers that are used again,
/// so that the loop stops allocating after its first steps.
pub struct Run<'a, Z, D: ?Sized> {
    model: &'a D,
    noise: &'a mut dyn NoiseSource<Z>,
    free: Vec<Z>,
}

impl<Z, D: ?Sized> std::fmt::Debug for Run<'_, Z, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("free_buffers", &self.free.len()).finish_non_exhaustive()
    }
}

impl<'a, Z: Latent, D: Denoiser<Z> + ?Sized> Run<'a, Z, D> {
    /// For one model and one source of noise.
    pub fn new(model: &'a D, noise: &'a mut dyn NoiseSource<Z>) -> Self {
        Self { model, noise, free: Vec::new() }
    }

    /// One model call.
    ///
    /// # Errors
    /// The model's own.
    pub fn predict(&mut self, z: &Z, at: &NoiseLevel) -> Result<Prediction<Z>, D::Error> {
        match self.free.pop() {
            Some(mut value) => {
                let of = self.model.denoise_into(z, at, &mut value)?;
                Ok(Prediction { value, of })
            }
            None => self.model.denoise(z, at),
        }
    }

    /// `Σ cᵢ zᵢ`.
    pub fn lincomb(&mut self, terms: &[(f64, &Z)]) -> Z {
        match self.free.pop() {
            Some(mut out) => {
                out.lincomb_into(terms);
                out
            }
            None => Z::lincomb(terms),
        }
    }

    /// Unit noise of the shape of `like`, for the step between two levels.
    pub fn unit_normal(&mut self, like: &Z, from: &NoiseLevel, to: &NoiseLevel) -> Z {
        let mut out = self.free.pop().unwrap_or_else(|| Z::lincomb(&[(0.0, like)]));
        self.noise.fill(&mut out, LogSnr::new(from.log_snr), LogSnr::new(to.log_snr));
        out
    }

    /// Hands back a buffer that is no longer needed.
    pub fn recycle(&mut self, buffer: Z) {
        self.free.push(buffer);
    }
}

/// Takes `z1`, a latent at the grid's first level, to its last, one solver step per grid step.
///
/// `on_step(i, z, level)` sees the latent after step `i` (from 0) and the level it is at.
///
/// # Errors
/// The first error of the model ends the run.
pub fn integrate<Z: Latent, D: Denoiser<Z> + ?Sized, S: Solver<Z>>(
    solver: &S,
    model: &D,
    z1: Z,
    grid: &TimeGrid,
    noise: &mut dyn NoiseSource<Z>,
    mut on_step: impl FnMut(usize, &Z, &NoiseLevel),
) -> Result<Z, D::Error> {
    let mut run = Run::new(model, noise);
    let mut memory = S::Memory::default();
    let mut z = z1;
    for (index, pair) in grid.levels().windows(2).enumerate() {
        let step = Step { index, steps: grid.steps(), from: pair[0], to: pair[1] };
        z = solver.step(&mut run, z, &step, &mut memory)?;
        on_step(index, &z, &step.to);
    }
    Ok(z)
}
