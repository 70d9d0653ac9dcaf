//! The mathematics of variational diffusion models on plain floats.
//!
//! A diffusion model is a hierarchy of latent variables with a fixed Gaussian posterior.
//! Data `x` sits at time `t = 0`, noise at `t = 1`, and every latent between them is
//!
//! ```text
//! z_t = α_t x + σ_t ε,   ε ~ N(0, I),   λ_t = log SNR(t) = ln(α_t² / σ_t²)
//! ```
//!
//! Everything else follows from four independent choices, each a type of this crate:
//!
//! | axis | type |
//! |---|---|
//! | how `λ` falls with `t` | [`NoiseSchedule`], [`Schedule`] |
//! | how `(α, σ)` follow from `λ` | [`Scaling`], [`NoiseLevel`] |
//! | what the network predicts | [`Parameterization`], [`Prediction`] |
//! | how noise levels are weighted | [`Weighting`] |
//!
//! and two roles that other crates fill: [`Latent`] (a vector space, one operation) and
//! [`Denoiser`] (the model). [`GaussianMixture`] fills the second in closed form, which makes every
//! formula downstream testable against the truth. That the whole is one hierarchical latent variable
//! model among others is the subject of [`hlvm`].
//!
//! No tensor engine, no randomness and no files live here.
//!
//! ```
//! use vdm_core::{Latent, NoiseSchedule, Parameterization, Prediction, Scaling, Schedule};
//!
//! let schedule = Schedule::linear(13.3, -5.0)?;
//! let level = Scaling::VariancePreserving.level(schedule.log_snr(0.5).value());
//! let (x, eps) = (vec![0.5_f32, -1.0], vec![0.1, 0.3]);
//! let z = Vec::lincomb(&[(level.alpha, &x), (level.sigma, &eps)]);
//!
//! // A network that predicts velocity, and is right, gives back the image.
//! let v = Vec::lincomb(&[(level.alpha, &eps), (-level.sigma, &x)]);
//! let x_hat = Prediction { value: v, of: Parameterization::Velocity }.image(&z, &level);
//! assert!((x_hat[0] - 0.5).abs() < 1e-6 && (x_hat[1] + 1.0).abs() < 1e-6);
//! # Ok::<(), vdm_core::Error>(())
//! ```

pub mod bound;
pub mod count;
pub mod custom;
mod denoiser;
mod divergence;
mod dual;
mod error;
pub mod hlvm;
pub mod importance;
mod latent;
mod level;
pub mod likelihood;
mod mixture;
mod parameterization;
pub mod quadrature;
mod real;
mod rescaled;
pub mod schedule;
pub mod setting;
pub mod times;
mod transition;
pub mod weighting;

pub use denoiser::{Counted, Denoiser, FromFn};
pub use divergence::{Divergence, Products, Vjp};
pub use dual::Dual;
pub use error::Error;
pub use latent::Latent;
pub use level::{LogSnr, NoiseLevel, Scaling};
pub use mixture::GaussianMixture;
pub use parameterization::{Affine, Parameterization, Preconditioning, Prediction};
pub use real::{Real, Scalar};
pub use rescaled::Rescaled;
pub use schedule::{NoiseSchedule, Schedule};
pub use transition::{Posterior, Transition};
pub use weighting::Weighting;

/// The example of the README, so that it cannot rot.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
