//! Hierarchical latent variable models: one bound for four models.
//!
//! A diffusion model is a hierarchy of latent variables, inferred top-down by a posterior that is
//! fixed. Here that is a program. A model is a pair of directed graphs of factors
//! `p(child | parents)`: one graph generates, the other infers. The pairs
//! differ; the evidence lower bound
//!
//! ```text
//! log p(x) ≥ E_q[ Σ log p(node | parents) − Σ log q(latent | parents) ]
//! ```
//!
//! does not, and neither does [`Hlvm::elbo`], which computes it for every pair:
//!
//! | model | generation | inference | graphs |
//! |---|---|---|---|
//! | variational autoencoder | `p(z) p(x\|z)` | `q(z\|x)` | [`layered`], one layer |
//! | bottom-up hierarchy | `p(z_T) … p(x\|z_1)` | `q(z_1\|x) … q(z_T\|z_{T−1})` | [`layered::bottom_up`] |
//! | top-down hierarchy | `p(z_T) … p(x\|z_1)` | `q(z_T\|x) … q(z_1\|z_2,x)` | [`layered::top_down`] |
//! | diffusion | `q(z_s\|z_t, x̂(z_t))` | the same, with `x` for `x̂` | [`diffusion::Chain`] |
//!
//! An expectation is an average over weighted standard-normal [`WeightedNormal`]s, which makes the bound
//! differentiable by the reparameterization of each node: random draws estimate it, and
//! [`sigma_points`] give it exactly where all means are linear and all variances fixed. For graphs
//! of [`Linear`] factors a [`Joint`] has the truth besides: `log p(x)`, and the posterior in any
//! order.
//!
//! This is the theory's own laboratory, for models of tens of nodes; it trades speed for
//! generality. Training and likelihoods of images use [`bound`](crate::bound).
//!
//! ```
//! use vdm_core::hlvm::diffusion::Chain;
//! use vdm_core::hlvm::{Conditional, Hlvm, Linear, Normal, layered, sigma_points};
//! use vdm_core::{NoiseLevel, Scaling};
//!
//! // Data of variance 1, explained by each model in turn. Only the graphs change.
//! fn bound<P: Conditional, Q: Conditional>(model: &Hlvm<P, Q>, x: f64) -> f64 {
//!     model.elbo(&[x], sigma_points(model.latents())).total()
//! }
//! let root = || vec![Linear::new(0.0, [], 1.0)];
//! let step = |weight: f64| vec![Linear::new(0.0, [weight], 1.0 - weight * weight)];
//! let x = 0.7;
//!
//! let vae = Hlvm::new(
//!     layered::generative(vec![step(0.8), root()]),
//!     layered::bottom_up(1, vec![step(0.8)]),
//! )?;
//! let bottom_up = Hlvm::new(
//!     layered::generative(vec![step(0.8), step(0.5), root()]),
//!     layered::bottom_up(1, vec![step(0.8), step(0.5)]),
//! )?;
//! let top_down = Hlvm::new(
//!     layered::generative(vec![step(0.8), step(0.5), root()]),
//!     // Not the posterior: its top layer ignores the data, and the bound pays for it.
//!     layered::top_down(1, vec![vec![Linear::new(0.0, [0.2, 0.8], 0.3)], step(0.0)]),
//! )?;
//! let diffusion = |steps: i32| {
//!     let log_snr = |i: i32| 6.0 - 12.0 * f64::from(i) / f64::from(steps);
//!     let levels: Vec<_> =
//!         (0..=steps).map(|i| Scaling::VariancePreserving.level(log_snr(i))).collect();
//!     let chain = Chain::new(&levels, 1)?;
//!     let (prior, likelihood) = (Normal::new(0.0, 1.0), chain.likelihood());
//!     let x_hat = |z: &[f64], at: &NoiseLevel| vec![at.alpha * z[0]]; // exact for this data
//!     let generative = chain.generative(&prior, &x_hat, &likelihood);
//!     Ok::<_, vdm_core::Error>(bound(&Hlvm::new(generative, chain.top_down())?, x))
//! };
//!
//! let truth = Normal::new(0.0, 1.0).log_density(&x);
//! assert!((truth + 1.164).abs() < 5e-4);
//! assert!((bound(&vae, x) - truth).abs() < 1e-12); // the posteriors of these two are exact
//! assert!((bound(&bottom_up, x) - truth).abs() < 1e-12);
//! assert!((bound(&top_down, x) + 1.226).abs() < 5e-4);
//! assert!((diffusion(10)? + 3.152).abs() < 5e-4);
//! assert!((diffusion(100)? + 1.306).abs() < 5e-4); // finer steps, a tighter bound
//! # Ok::<(), vdm_core::Error>(())
//! ```

mod conditional;
pub mod diffusion;
mod distribution;
mod dot;
mod elbo;
mod graph;
mod joint;
pub mod layered;
mod normal;
mod points;

pub use conditional::{Conditional, Linear};
pub use distribution::{Components, Distribution, Factorized};
pub use elbo::{Elbo, Hlvm, Integrals};
pub use graph::{Factor, Graph};
pub use joint::Joint;
pub use normal::Normal;
pub use points::{WeightedNormal, monte_carlo, sigma_points};
