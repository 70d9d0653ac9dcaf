//! Drawing from diffusion models: grids, noise sources and solvers on any latent type.
//!
//! Four orthogonal objects make a sampler, and changing one never touches another:
//!
//! | role | type | examples |
//! |---|---|---|
//! | the model | [`vdm_core::Denoiser`] | a network, a closed form |
//! | the levels visited | [`TimeGrid`] | uniform in time, Karras', the best for the bound |
//! | one step between levels | [`Solver`] | [`Ancestral`], [`Ddim`], [`UniPc`] |
//! | the random path | [`NoiseSource`] | [`Iid`], [`Antithetic`], [`BrownianPath`] |
//!
//! [`solve`] is the one loop that joins them. [`SamplerSpec`] names a choice in a
//! configuration file.
//!
//! [`Adaptive`] needs no grid: it follows the probability-flow ODE to a tolerance, towards data or
//! towards noise. On it rest exact log-likelihoods ([`FlowLikelihood`]) and inversion
//! ([`Adaptive::round_trip`], beside [`DdimInversion`] on a grid).
//!
//! # Which solver?
//!
//! | solver | equation | order | when |
//! |---|---|---|---|
//! | [`Ancestral`] | top-down hierarchy | 1 | the model the bound is about; best with ≥ 100 steps |
//! | [`Ddim`] | probability-flow ODE | 1 | deterministic, the simplest that works |
//! | [`AngularAdams`] | probability-flow ODE | 3 | 5 to 50 model calls on [`TimeGrid::angle`] |
//! | [`UniPc`], [`DpmSolverMultistep`] | probability-flow ODE | 3, 2 | 5 to 50 model calls on any grid |
//! | [`StochasticHeun`], [`SaSolver`] | reverse SDE | 2 | stochastic, 20 to 100 model calls |
//! | [`Churn`], [`Restart`] | both in turn | 2 | where the model's errors add up |
//! | [`Adaptive`] | probability-flow ODE | 3 to 8 | to a tolerance, a step size per sample |
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
//! [`vdm_core::Latent::lincomb`]: `examples/plain_vec.rs` and `examples-candle` show it. The feature `rayon` adds
//! `integrate_many`, which runs many chains in parallel.

mod coordinate;
mod error;
pub mod estimate;
pub mod exponential;
mod grid;
pub mod guidance;
mod inner;
mod inversion;
mod likelihood;
mod noise;
pub mod ode;
pub mod range;
mod solve;
#[cfg(feature = "rayon")]
mod solve_many;
mod solver;

mod spec;

pub use error::SolveError;
pub use grid::{GridError, GridKind, GridSpec, LossTable, TimeGrid};
pub use inner::InnerProduct;
pub use inversion::{DdimInversion, InversionError, RoundTrip};
pub use likelihood::{FlowLikelihood, LogLikelihood, ProbeLaw, ProbeSource, Probes};
pub use noise::{
    Antithetic, BrownianPath, Iid, NoNoise, NoiseError, NoiseSource, Recorded, antithetic_prior,
    prior,
};
pub use ode::{AdaptiveDpm, AdaptiveOde, Pair};
pub use solve::{Run, Solution, Statistics, solve};
#[cfg(feature = "rayon")]
pub use solve_many::solve_many;
pub use solver::{
    Ancestral, AngularAdams, AngularAdamsMemory, Churn, Coordinate, Ddim, Dpm2, Dpm2Ancestral,
    DpmSolverMultistep, DpmSolverOrder, DpmSolverPp2SAncestral, DpmSolverPpSde,
    DpmSolverSinglestep, EdmSigmaRange, EulerMaruyama, ExponentialAdams, FinalOrder, Heun, History,
    Lms, Midpoint, Order, OrderError, ParameterError, Past, PosteriorVariance, PredictorCorrector,
    PredictorCorrectorMemory, Properties, Restart, SaSolver, Solver, SolverType, StageShare, Step,
    StochasticHeun, UniPc, UniPcVariant,
};
pub use spec::{
    AdaptiveMemory, AdaptiveSpec, AnyMemory, AnySolver, Correction, Elsewhere, Entry, Field,
    GuidanceSpec, Method, NameError, NameOf, NoisePath, NoiseSpec, SamplerFields, SamplerSpec,
    SingleStepMemory, SingleStepSpec, SolverMemory, SolverSpec, SpecError,
};
pub use vdm_random::{Purpose, Seed, fill_normal};

/// The example of the README, so that it cannot rot.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
