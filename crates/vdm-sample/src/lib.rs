//! Drawing from diffusion models: grids, noise sources and solvers on any latent type.
//!
//! Four orthogonal objects make a sampler, and changing one never touches another:
//!
//! | role | type | room | examples |
//! |---|---|---|---|
//! | the model | [`Denoiser`](vdm_core::Denoiser) | vdm-core, [`guidance`] | a network, a closed form |
//! | the levels visited | [`TimeGrid`] | [`grid`] | uniform in time, Karras', the best for the bound |
//! | how one gets from level to level | [`Solver`] | [`solver`], [`ode`] | [`Ancestral`], [`Ddim`], [`AdaptiveOde`] |
//! | the random path | [`NoiseSource`] | [`noise`] | [`Iid`], [Brownian](noise::BrownianPath) |
//!
//! [`solve`] is the one loop that joins them, and a [`Solution`] is what comes of it. A [`SamplerSpec`]
//! names a choice in a configuration ([`spec`]), and its [`Method::sample`] runs it.
//!
//! What else is made of these: exact log-[`likelihood`]s by the probability-flow ODE, [`inversion`] of data
//! to noise, [estimates](estimate) of bounds over a data set with their errors, and a judgement of solvers on
//! data whose answer is known ([`range`]).
//!
//! # Which solver?
//!
//! | solver | equation | order | when |
//! |---|---|---|---|
//! | [`Ancestral`] | top-down hierarchy | 1 | the model the bound is about; best with ≥ 100 steps |
//! | [`Ddim`] | probability-flow ODE | 1 | deterministic, the simplest that works |
//! | [`AngularAdams`](solver::AngularAdams) | probability-flow ODE | 3 | 5 to 50 model calls on [`TimeGrid::angle`] |
//! | [`UniPc`], [`DpmSolverMultistep`] | probability-flow ODE | 3, 2 | 5 to 50 model calls on any grid |
//! | [`StochasticHeun`](solver::StochasticHeun), [`SaSolver`](solver::SaSolver) | reverse SDE | 2 | stochastic, 20 to 100 model calls |
//! | [`Churn`](solver::Churn), [`Restart`](solver::Restart) | both in turn | 2 | where the model's errors add up |
//! | [`AdaptiveOde`] | probability-flow ODE | 3 to 8 | to a tolerance, a step size per sample |
//!
//! `docs/solvers.md` has all of them, each with its measured order and its worst error in few steps;
//! [`range`] judges a solver on the grid at hand.
//!
//! ```
//! use vdm_core::{GaussianMixture, Scaling, Schedule};
//! use vdm_sample::{Ddim, NoNoise, Seed, TimeGrid, prior, solve};
//!
//! let data = GaussianMixture::new(vec![0.5, 0.5], vec![vec![-2.0], vec![2.0]], vec![0.1, 0.1])?;
//! let schedule = Schedule::cosine(10.0, -10.0)?;
//! let grid = TimeGrid::uniform_time(50, &schedule, Scaling::VariancePreserving)?;
//! let seed = Seed(7);
//! let z1: Vec<f64> = prior(seed, 0, 1);
//! let x = solve(&Ddim::default(), &data, z1, &grid, &mut NoNoise, |_, _, _| ())?.latent;
//! assert!((x[0].abs() - 2.0).abs() < 0.5); // one of the two clusters
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Randomness is a function of (seed, purpose, step, sample) and never a global state, so sample
//! `i` does not change with the size of the batch it is drawn in. Models are combined, guided and
//! held to observations by the wrappers of [`guidance`]. A tensor library joins by one function,
//! [`vdm_core::Latent::lincomb`]: `examples/plain_vec.rs` and `examples-candle` show it. `examples/epsilon_closure.rs` samples from a network
//! that predicts noise at integer timesteps. The feature `rayon` adds
//! `solve_many`, which runs many chains in parallel.

mod coordinate;
mod error;
pub mod estimate;
pub mod exponential;
pub mod grid;
pub mod guidance;
mod inner;
pub mod inversion;
pub mod likelihood;
pub mod noise;
pub mod ode;
pub mod range;
mod solve;
#[cfg(feature = "rayon")]
mod solve_many;
pub mod solver;
pub mod spec;

pub use error::SolveError;
pub use grid::{GridSpec, TimeGrid};
pub use inner::InnerProduct;
pub use noise::{Iid, NoNoise, NoiseSource, prior};
pub use ode::AdaptiveOde;
pub use solve::{Solution, solve};
#[cfg(feature = "rayon")]
pub use solve_many::solve_many;
pub use solver::{Ancestral, Ddim, DpmSolverMultistep, Solver, UniPc};
pub use spec::{AnySolver, Method, SamplerSpec, SolverSpec};
pub use vdm_random::Seed;

/// The example of the README, so that it cannot rot.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The program of a network that predicts noise, run as it stands.
#[cfg(doctest)]
#[doc = concat!("```\n", include_str!("../examples/epsilon_closure.rs"), "\n```")]
struct EpsilonClosure;
