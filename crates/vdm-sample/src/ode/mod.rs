//! Solvers of the probability-flow ODE with steps as long as a tolerance allows.
//!
//! Every level of a diffusion is joined to every other by an ODE that keeps the marginals (Song et
//! al. 2021), `dz/dλ = (dα/dλ)x̂ + (dσ/dλ)ε̂`. [`AdaptiveOde`] solves it for the latent over its radius,
//! `y = z/√(α² + σ²)`, along the angle `θ = atan(σ/α)` of
//! [TrigFlow](crate::solver::Coordinate::TrigFlow):
//!
//! ```text
//! y = cos θ·x + sin θ·ε,   dy/dθ = cos θ·ε̂ − sin θ·x̂ = v̂/√(α² + σ²)
//! ```
//!
//! The path is the same under every scaling, `y` is about as large as the data everywhere, and the
//! right side is bounded on the finite interval from clean data (`θ = 0`) to pure noise (`π/2`).
//!
//! [`AdaptiveDpm`] takes its steps in `λ`. Runge–Kutta steps there were measured at equal tolerances to take twice the calls, with like errors, on
//! data of standard deviation 0.3; on data of 0.003 about as many, with smaller errors. They cannot
//! reach either end.
//!
//! Use it where the answer must be right to a tolerance: likelihoods, inversion, references. For a
//! picture in 10 to 50 calls a fixed grid with a multistep solver is better.
//!
//! Samples are solved together, each at a level and with a step of its own, and what one of them
//! becomes does not depend on the others. A stage of all samples on their way is one call of
//! [`Denoiser::denoise_each`](vdm_core::Denoiser::denoise_each).
//!
//! How long steps are is the business of a [`StepController`], by default the [`PidController`], which
//! either solver can be given with other weights, or another in its place.

mod adaptive;
mod batch;
mod controller;
mod dpm;
mod embedded;
mod field;
mod sample;
mod state;
mod tableau;

pub use adaptive::AdaptiveOde;
pub(crate) use adaptive::{Augmented, Path};
pub use controller::{Decision, Limiter, PidController, PidMemory, StepController};
pub use dpm::{AdaptiveDpm, AdaptiveOrder};
pub(crate) use field::{Field, rate};
pub use sample::Pace;
pub(crate) use state::{State, rms};
pub use tableau::Pair;
