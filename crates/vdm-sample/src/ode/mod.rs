//! The probability-flow ODE with steps as long as its tolerance allows.
//!
//! Every level of a diffusion is joined to every other by an ODE that keeps the marginals (Song et
//! al. 2021), `dz/dλ = (dα/dλ)x̂ + (dσ/dλ)ε̂`. It is solved here for the latent over its radius,
//! `y = z/√(α² + σ²)`, along the angle `θ = atan(σ/α)`:
//!
//! ```text
//! y = cos θ·x + sin θ·ε,   dy/dθ = cos θ·ε̂ − sin θ·x̂ = v̂/√(α² + σ²)
//! ```
//!
//! The path is the same under every scaling, `y` is about as large as the data everywhere, and the
//! right side is bounded on the finite interval from clean data (`θ = 0`) to pure noise (`π/2`).
//!
//! Steps in `λ` instead were measured at equal tolerances to take twice the calls, with like errors,
//! on data of standard deviation 0.3; on data of 0.003 about as many, with smaller errors. They cannot
//! reach either end.
//!
//! Use it where the answer must be right to a tolerance: likelihoods, inversion, references. For a
//! picture in 10 to 50 calls a fixed grid with a multistep solver is better.
//!
//! Samples are solved together, each at a level and with a step of its own, and what one of them
//! becomes does not depend on the others. A stage of all samples on their way is one call of
//! [`Denoiser::denoise_each`].

mod control;
mod field;
mod journey;
mod state;
mod tableau;
mod track;

use std::error::Error;

use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;
use vdm_core::count::{Cost, TooMany, bounded};
use vdm_core::{Denoiser, LogSnr, NoiseLevel, Parameterization, Scaling};

pub(crate) use field::{Field, radius, rate};
use field::{Flow, angle};
use journey::Journey;
use state::Tolerance;
pub(crate) use state::{State, rms};
pub use tableau::Pair;
use track::Track;

use crate::InnerProduct;

/// Solves the probability-flow ODE to a tolerance, towards data or towards noise.
///
/// A step is taken if the estimate of its error, as root mean square over components, is at most
/// `absolute + relative·size`, with `size` the root mean square of `y`. What the errors of all steps
/// add up to is of that order, but not bounded by it. Towards noise an error grows by what the path
/// spreads, up to 1 over the data's own standard deviation at their finest: ask for a tolerance well
/// below that where noise is to be recovered.
///
/// ```
/// use vdm_core::{GaussianMixture, LogSnr, Scaling};
/// use vdm_sample::{Adaptive, Pair};
///
/// let data = GaussianMixture::new(vec![1.0], vec![vec![0.5]], vec![1.0])?;
/// let (noise, clean) = (LogSnr::new(-10.0), LogSnr::new(10.0));
/// let solver = Adaptive { absolute: 1e-9, relative: 1e-9, ..Adaptive::default() };
/// let vp = Scaling::VariancePreserving;
/// let ends = solver.solve(&data, vec![vec![-1.0_f64], vec![1.3]], noise, clean, vp)?;
/// // Unit variance at every level: the ODE only moves the mean, by 0.5 in all.
/// let moved = 0.5 * (vp.level(10.0_f64).alpha - vp.level(-10.0_f64).alpha);
/// assert!((ends[1].z[0] - 1.3 - moved).abs() < 1e-8);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Adaptive {
    /// The pair that takes the steps.
    pub method: Pair,
    /// Tolerated error of a step per component of the latent, `> 0`, in units of the data.
    pub absolute: f64,
    /// What is tolerated besides, as a share of the latent's size, `≥ 0`.
    pub relative: f64,
    /// Most steps of one sample, refused ones included, 1 to 10^6.
    pub max_steps: usize,
}

impl Default for Adaptive {
    /// Order 5(4) with the tolerances of 1e-5 that Song et al. 2021 report likelihoods at.
    fn default() -> Self {
        Self { method: Pair::default(), absolute: 1e-5, relative: 1e-5, max_steps: 10_000 }
    }
}

/// The end of one sample's path, and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution<Z> {
    /// The latent, in the scaling that was asked for.
    pub z: Z,
    /// Steps taken.
    pub accepted: usize,
    /// Steps tried and refused.
    pub rejected: usize,
    /// Model calls, two of them to find the first step.
    pub calls: usize,
}

/// A solution and the integrals that travelled with it.
#[derive(Debug)]
pub(crate) struct Arrival<Z> {
    pub(crate) end: Solution<Z>,
    pub(crate) integrals: Vec<f64>,
}

/// Why an ODE has no solution here.
#[derive(Debug, ThisError)]
pub enum OdeError<E: Error + 'static> {
    /// The model reports a fault.
    #[error(transparent)]
    Model(E),
    /// A setting out of bounds.
    #[error("an adaptive solver needs {wanted}, got {field} = {value}")]
    Setting {
        /// The name of the number.
        field: &'static str,
        /// The number as given.
        value: f64,
        /// The condition that failed.
        wanted: &'static str,
    },
    /// A count beyond what it may cost.
    #[error(transparent)]
    Count(#[from] TooMany),
    /// A level at which no latent exists.
    #[error(
        "an end of the path, at log-SNR {log_snr}, has scales alpha = {alpha} and sigma = {sigma}: \
         end at a finite level (truncate the schedule) or use another scaling"
    )]
    NoLatent {
        /// `λ` of the end.
        log_snr: f64,
        /// Its `α`.
        alpha: f64,
        /// Its `σ`.
        sigma: f64,
    },
    /// A prediction that does not say where the path goes.
    #[error(
        "at log-SNR {log_snr} a prediction of {of:?} does not determine the velocity: end at a \
         finite level (truncate the schedule), or use a model that predicts the velocity"
    )]
    Undetermined {
        /// What the model predicts.
        of: Parameterization,
        /// `λ` of the level.
        log_snr: f64,
    },
    /// Infinite or undefined numbers on the path.
    #[error(
        "sample {sample} is no longer finite near log-SNR {log_snr}: look for a fault in the model \
         or in what it was given"
    )]
    NotFinite {
        /// Number of the sample, from 0.
        sample: usize,
        /// `λ` before the step.
        log_snr: f64,
    },
    /// The tolerance cannot be met with steps that numbers can tell apart.
    #[error(
        "sample {sample} is at log-SNR {log_snr} and would need steps below the resolution of the \
         level: loosen the tolerances, the model is not smooth (or not precise) enough for them"
    )]
    StepTooSmall {
        /// Number of the sample, from 0.
        sample: usize,
        /// `λ` where it stands.
        log_snr: f64,
    },
    /// Too many steps.
    #[error(
        "sample {sample} is at log-SNR {log_snr} after {steps} steps: loosen the tolerances, choose \
         a method of higher order, or raise max_steps"
    )]
    TooManySteps {
        /// Number of the sample, from 0.
        sample: usize,
        /// `λ` where it stands.
        log_snr: f64,
        /// Steps tried.
        steps: usize,
    },
}

impl<E: Error + 'static> OdeError<E> {
    /// The same of a sample that the caller knows by another number.
    #[must_use]
    pub fn renumbered(mut self, number: impl FnOnce(usize) -> usize) -> Self {
        if let Self::NotFinite { sample, .. }
        | Self::StepTooSmall { sample, .. }
        | Self::TooManySteps { sample, .. } = &mut self
        {
            *sample = number(*sample);
        }
        self
    }
}

impl Adaptive {
    /// Takes every sample, a latent at `from`, along the ODE to `to`: towards data where `λ` rises,
    /// towards noise where it falls.
    ///
    /// Infinite ends are legal where the scaling has a level and the prediction a velocity there: pure
    /// noise for a model of the image, clean data for a model of the noise, both for a velocity.
    ///
    /// # Errors
    /// Any [`OdeError`]; the first sample that fails ends the run.
    ///
    /// # Panics
    /// If the model's [`Denoiser::denoise_each`] gives more or fewer answers than it was asked.
    pub fn solve<Z: InnerProduct, D: Denoiser<Z> + ?Sized>(
        &self,
        model: &D,
        samples: Vec<Z>,
        from: LogSnr,
        to: LogSnr,
        scaling: Scaling,
    ) -> Result<Vec<Solution<Z>>, OdeError<D::Error>> {
        let ends = self.travel(&Flow(model), samples, 0, from, to, scaling)?;
        Ok(ends.into_iter().map(|arrival| arrival.end).collect())
    }

    /// The same with integrals that start at 0 and travel with the latents.
    pub(crate) fn travel<Z: InnerProduct, F: Field<Z>>(
        &self,
        field: &F,
        samples: Vec<Z>,
        integrals: usize,
        from: LogSnr,
        to: LogSnr,
        scaling: Scaling,
    ) -> Result<Vec<Arrival<Z>>, OdeError<F::Error>> {
        let (first, last) = (existing(from, scaling)?, existing(to, scaling)?);
        let start = |z: Z| {
            let latent = Z::lincomb(&[(1.0 / radius(&first), &z)]);
            let state = State { latent, integrals: vec![0.0; integrals] };
            Track::new(state, angle(from.value()), angle(to.value()))
        };
        let tracks = samples.into_iter().map(start).collect();
        let tolerance = self.tolerance()?;
        let arrive = |Track { state, accepted, rejected, calls, .. }: Track<Z>| {
            let z = Z::lincomb(&[(radius(&last), &state.latent)]);
            let end = Solution { z, accepted, rejected, calls };
            Arrival { end, integrals: state.integrals }
        };
        let journey = Journey { settings: *self, tolerance, field, scaling, tracks };
        Ok(journey.run()?.into_iter().map(arrive).collect())
    }

    /// That its numbers make sense.
    pub(crate) fn check<E: Error + 'static>(&self) -> Result<(), OdeError<E>> {
        self.tolerance().map(|_| ())
    }

    fn tolerance<E: Error + 'static>(&self) -> Result<Tolerance, OdeError<E>> {
        let Self { absolute, relative, max_steps, .. } = *self;
        let refuse = |field, value, wanted| Err(OdeError::Setting { field, value, wanted });
        if !(absolute.is_finite() && absolute > 0.0) {
            return refuse("absolute", absolute, "a finite absolute tolerance above 0");
        }
        if !(relative.is_finite() && relative >= 0.0) {
            return refuse("relative", relative, "a finite relative tolerance of at least 0");
        }
        if max_steps == 0 {
            return refuse("max_steps", 0.0, "at least one step");
        }
        bounded("max_steps", max_steps, Cost::Calls)?;
        Ok(Tolerance { absolute, relative })
    }
}

/// The level, if there is a latent at it.
fn existing<E: Error + 'static>(at: LogSnr, scaling: Scaling) -> Result<NoiseLevel, OdeError<E>> {
    let level = scaling.level(at.value());
    let NoiseLevel { log_snr, alpha, sigma } = level;
    if alpha.is_finite() && sigma.is_finite() {
        Ok(level)
    } else {
        Err(OdeError::NoLatent { log_snr, alpha, sigma })
    }
}
