//! The loop that joins model, grid, solver and noise.

use std::error::Error;

use thiserror::Error as ThisError;
use vdm_core::{Affine, Denoiser, Latent, LogSnr, NoiseLevel, Parameterization, Prediction};

use crate::{NoiseError, NoiseSource, Solver, Step, TimeGrid};

/// What ends a run early.
#[derive(Debug, ThisError)]
pub enum RunError<E: Error + 'static> {
    /// The model reports a fault.
    #[error(transparent)]
    Model(E),
    /// The noise source has nothing to give.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// A prediction that does not say what a step needs: of noise, say, where a latent is noise alone.
    #[error(
        "at log-SNR {log_snr} a prediction of {of:?} does not determine {wanted:?}: let the grid begin and \
         end at finite levels (truncate the schedule), or use a model that predicts {wanted:?}"
    )]
    Undetermined {
        /// What the model predicts.
        of: Parameterization,
        /// What the step needs.
        wanted: Parameterization,
        /// `λ` of the level.
        log_snr: f64,
    },
}

/// How what is wanted follows from the latent and a prediction.
///
/// # Errors
/// [`RunError::Undetermined`] if it does not.
pub(crate) fn map<E: Error + 'static>(
    of: Parameterization,
    wanted: Parameterization,
    at: &NoiseLevel,
) -> Result<Affine, RunError<E>> {
    let map = of.to(wanted, at);
    if map.on_z.is_finite() && map.on_output.is_finite() {
        return Ok(map);
    }
    Err(RunError::Undetermined { of, wanted, log_snr: at.log_snr })
}

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
    pub fn predict(&mut self, z: &Z, at: &NoiseLevel) -> Result<Prediction<Z>, RunError<D::Error>> {
        match self.free.pop() {
            Some(mut value) => {
                let of = self.model.denoise_into(z, at, &mut value).map_err(RunError::Model)?;
                Ok(Prediction { value, of })
            }
            None => self.model.denoise(z, at).map_err(RunError::Model),
        }
    }

    /// One model call, its answer converted; no pass over memory if it is what the model predicts.
    ///
    /// # Errors
    /// The model's own, or [`RunError::Undetermined`].
    pub fn predict_as(
        &mut self,
        what: Parameterization,
        z: &Z,
        at: &NoiseLevel,
    ) -> Result<Z, RunError<D::Error>> {
        let Prediction { value, of } = self.predict(z, at)?;
        if of == what {
            return Ok(value);
        }
        let map = map(of, what, at)?;
        let converted = self.lincomb(&[(map.on_z, z), (map.on_output, &value)]);
        self.recycle(value);
        Ok(converted)
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
    ///
    /// # Errors
    /// The noise source's own.
    pub fn unit_normal(
        &mut self,
        like: &Z,
        from: &NoiseLevel,
        to: &NoiseLevel,
    ) -> Result<Z, RunError<D::Error>> {
        let mut out = self.free.pop().unwrap_or_else(|| Z::lincomb(&[(0.0, like)]));
        self.noise.fill(&mut out, LogSnr::new(from.log_snr), LogSnr::new(to.log_snr))?;
        Ok(out)
    }

    /// A draw from `N(Σ cᵢ zᵢ, std²·I)` for the step between two levels, over at most seven terms;
    /// where `std` is 0 no noise is drawn.
    ///
    /// # Errors
    /// The noise source's own.
    ///
    /// # Panics
    /// If there are no terms or more than seven.
    pub fn sample(
        &mut self,
        mean: &[(f64, &Z)],
        std: f64,
        from: &NoiseLevel,
        to: &NoiseLevel,
    ) -> Result<Z, RunError<D::Error>> {
        if std == 0.0 {
            return Ok(self.lincomb(mean));
        }
        let eps = self.unit_normal(mean[0].1, from, to)?;
        // On the stack: this runs at every step.
        let mut terms = [(std, &eps); 8];
        terms[..mean.len()].copy_from_slice(mean);
        let z = self.lincomb(&terms[..=mean.len()]);
        self.recycle(eps);
        Ok(z)
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
/// The first [`RunError`] ends the run.
pub fn integrate<Z: Latent, D: Denoiser<Z> + ?Sized, S: Solver<Z>>(
    solver: &S,
    model: &D,
    z1: Z,
    grid: &TimeGrid,
    noise: &mut dyn NoiseSource<Z>,
    mut on_step: impl FnMut(usize, &Z, &NoiseLevel),
) -> Result<Z, RunError<D::Error>> {
    let mut run = Run::new(model, noise);
    let mut memory = S::Memory::default();
    let mut z = z1;
    for index in 0..grid.steps() {
        let step = Step::of(grid, index);
        z = solver.step(&mut run, z, &step, &mut memory)?;
        on_step(index, &z, &step.to);
    }
    Ok(z)
}
