//! The loop that joins model, grid, solver and noise, and what comes of it.

use std::error::Error;
use std::ops::AddAssign;

use vdm_core::{Affine, Denoiser, Latent, LogSnr, NoiseLevel, Parameterization, Prediction};

use crate::solver::{Solver, Step};
use crate::{NoiseSource, SolveError, TimeGrid};

/// How what is wanted follows from the latent and a prediction.
///
/// # Errors
/// [`SolveError::Undetermined`] if it does not.
pub(crate) fn express<E: Error + 'static>(
    of: Parameterization,
    wanted: Parameterization,
    at: &NoiseLevel,
) -> Result<Affine, SolveError<E>> {
    let map = of.to(wanted, at);
    if map.on_z.is_finite() && map.on_output.is_finite() {
        return Ok(map);
    }
    Err(SolveError::Undetermined { of, wanted, log_snr: at.log_snr })
}

/// Where a run ended, and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution<Z> {
    /// The latent, in the scaling of the grid.
    pub latent: Z,
    /// The level that it is at.
    pub level: NoiseLevel,
    /// What it took.
    pub statistics: Statistics,
}

/// What a run took. Where a latent holds several samples with steps of their own, these are sums over
/// the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Steps taken.
    pub accepted: usize,
    /// Steps tried and refused; none by a solver on a grid.
    pub rejected: usize,
    /// Model calls, those of refused steps and of the search for a first step included.
    pub calls: usize,
}

impl AddAssign for Statistics {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.rejected += other.rejected;
        self.calls += other.calls;
    }
}

/// What a solver works with during one run: the model, the noise, and buffers that are used again,
/// so that the loop stops allocating after its first steps.
pub struct Run<'a, Z, D: ?Sized> {
    model: &'a D,
    noise: &'a mut dyn NoiseSource<Z>,
    free: Vec<Z>,
    statistics: Statistics,
}

impl<Z, D: ?Sized> std::fmt::Debug for Run<'_, Z, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("free_buffers", &self.free.len()).finish_non_exhaustive()
    }
}

impl<'a, Z: Latent, D: Denoiser<Z> + ?Sized> Run<'a, Z, D> {
    /// For one model and one source of noise.
    pub fn new(model: &'a D, noise: &'a mut dyn NoiseSource<Z>) -> Self {
        Self { model, noise, free: Vec::new(), statistics: Statistics::default() }
    }

    /// The model, for solvers that ask it for more than a prediction at a time; they [`count`](Self::count)
    /// their calls.
    #[must_use]
    pub fn model(&self) -> &'a D {
        self.model
    }

    /// Adds to what the run reports: the calls of a solver that asks the [`model`](Self::model) itself,
    /// and the steps of one that chooses them.
    pub fn count(&mut self, statistics: Statistics) {
        self.statistics += statistics;
    }

    /// One model call.
    ///
    /// # Errors
    /// The model's own.
    pub fn predict(
        &mut self,
        z: &Z,
        at: &NoiseLevel,
    ) -> Result<Prediction<Z>, SolveError<D::Error>> {
        self.statistics.calls += 1;
        match self.free.pop() {
            Some(mut value) => {
                let of = self.model.denoise_into(z, at, &mut value).map_err(SolveError::Model)?;
                Ok(Prediction { value, of })
            }
            None => self.model.denoise(z, at).map_err(SolveError::Model),
        }
    }

    /// One model call, its answer converted; no pass over memory if it is what the model predicts.
    ///
    /// # Errors
    /// The model's own, or [`SolveError::Undetermined`].
    pub fn predict_as(
        &mut self,
        what: Parameterization,
        z: &Z,
        at: &NoiseLevel,
    ) -> Result<Z, SolveError<D::Error>> {
        let Prediction { value, of } = self.predict(z, at)?;
        if of == what {
            return Ok(value);
        }
        let map = express(of, what, at)?;
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
    ) -> Result<Z, SolveError<D::Error>> {
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
    ) -> Result<Z, SolveError<D::Error>> {
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

/// Takes `start`, a latent at the grid's first level, to its last.
///
/// The one way to run a solver, be it one that takes a step between neighbouring levels or one that takes
/// as many as its tolerance asks for ([`ode`](crate::ode)): on any latent, with any model and any noise.
/// `on_step(i, z, level)` sees the latent after step `i` of the grid (from 0) and the level it is at.
/// [`Method::sample`](crate::Method::sample) makes the grid and chooses the solver from a configuration.
///
/// # Errors
/// The first [`SolveError`] ends the run.
#[doc(alias = "sample")]
#[doc(alias = "integrate")]
pub fn solve<Z: Latent, D: Denoiser<Z> + ?Sized, S: Solver<Z> + ?Sized>(
    solver: &S,
    model: &D,
    start: Z,
    grid: &TimeGrid,
    noise: &mut dyn NoiseSource<Z>,
    mut on_step: impl FnMut(usize, &Z, &NoiseLevel),
) -> Result<Solution<Z>, SolveError<D::Error>> {
    let mut run = Run::new(model, noise);
    let mut memory = S::Memory::default();
    let mut latent = start;
    for index in 0..grid.steps() {
        let step = Step::of(grid, index);
        latent = solver.step(&mut run, latent, &step, &mut memory)?;
        on_step(index, &latent, &step.to);
    }
    let mut statistics = run.statistics;
    if statistics.accepted == 0 {
        // A solver that chooses its steps takes one at least, and counts them itself.
        statistics.accepted = grid.steps();
    }
    Ok(Solution { latent, level: grid.levels()[grid.steps()], statistics })
}
