//! Likelihood, estimated from draws, with errors one can trust.
//!
//! | estimator | bounds | use it |
//! |---|---|---|
//! | [`Bound`] | `−log p(x)` of the `T`-step or the continuous-time model | by default: cheapest, with every term and the curves by level |
//! | [`ImportanceWeighted`] | the same for `T` steps, tighter | to see how much of `L_T` is the gap of the bound; costs `K·T` calls |
//! | [`FlowBound`] | `−log p(x)` of the probability-flow ODE's model | to compare with flows and with published ODE likelihoods |
//!
//! All work in rounds of draws that repeat until the error due to the draws is as small as asked
//! ([`Rounds`]), report that error and the one that differences between items add ([`Summary`]), and
//! give each item the same number in any batch, since its draws are a function of (seed, item, draw).
//! Numbers are nats per item; [`Summary::bits_per_dim`] converts them.
//!
//! They know no latent type. Data are [`ItemSource`], and [`DenoiserTerms`] joins them to a
//! [`Denoiser`](vdm_core::Denoiser); [`BoundTerms`] is the door for a tensor library that makes one
//! tensor of many draws. `docs/likelihood.md` says which numbers may be compared.

mod bound;
mod curve;
mod depth_sweep;
mod dequantization;
mod flow;
mod hierarchy;
mod importance_weighted;
mod items;
mod rounds;
mod statistics;
mod terms;

pub use bound::{Bound, BoundEstimate, DiffusionTerm};
pub use curve::CurvePoint;
pub use depth_sweep::{Change, DepthEstimate};
pub use dequantization::Dequantization;
pub use flow::{FlowBound, FlowEstimate, Trace};
pub use importance_weighted::ImportanceWeighted;
pub use items::{ContinuousItems, DiscreteItems, ItemSource, ItemsError};
pub use rounds::{Estimate, EstimateError, EstimateTerm, Rounds};
pub use statistics::{Moments, Summary};
pub use terms::{BoundTerms, DenoiserTerms, NoisedItem};
