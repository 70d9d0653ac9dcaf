//! The diffusion model as a hierarchy whose posterior is fixed.
//!
//! ```text
//! generative   p(z_T) ∏ q(z_s | z_t, x = x̂(z_t)) p(x | z_0)
//! bottom-up    q(z_0 | x) ∏ q(z_t | z_s)
//! top-down     q(z_T | x) ∏ q(z_s | z_t, x)
//! ```
//!
//! Monograph §2.1 and §2.2.

use std::slice;

use super::{Conditional, Factor, Graph, Linear, Normal};
use crate::{Error, NoiseLevel, Posterior, Real, Transition};

/// Data of `dims` nodes and a latent of the same size at each of several noise levels.
///
/// Layer 0 is the data `x`, layer `i` the latent `z` at the `i`-th level. Nothing in the posterior
/// is learned, so it is known in two factorizations of one distribution: [`bottom_up`](Self::bottom_up) adds
/// noise step by step, [`top_down`](Self::top_down) removes it knowing `x`. `C` may be
/// [`Dual`](crate::Dual), for the derivative of the bound by a noise level.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain<C = f64> {
    /// By layer; the data is the latent without noise, at `λ = ∞`.
    levels: Vec<NoiseLevel<C>>,
    dims: usize,
}

/// A conditional of a generative diffusion graph: prior, denoising step or likelihood.
pub type BoxedConditional<'a, C> = Box<dyn Conditional<Normal<C>> + 'a>;

impl<C: Real> Chain<C> {
    /// From the levels of the latents, cleanest first. `λ` must fall strictly, or else variances
    /// are negative and the bound is not a number; at the first level `σ > 0`, since the likelihood
    /// divides by it.
    ///
    /// # Errors
    /// [`Error::Graph`] if there is no level or no dimension.
    pub fn new(latents: &[NoiseLevel<C>], dims: usize) -> Result<Self, Error> {
        let (Some(first), 1..) = (latents.first(), dims) else {
            let wanted = "at least one noise level and one dimension";
            return Err(Error::Graph { wanted, found: format!("{} and {dims}", latents.len()) });
        };
        let constant = |c| first.log_snr.lift(c);
        let data = NoiseLevel {
            log_snr: constant(f64::INFINITY),
            alpha: constant(1.0),
            sigma: constant(0.0),
        };
        Ok(Self { levels: [slice::from_ref(&data), latents].concat(), dims })
    }

    /// The top layer, which is also the number of layers of latents.
    #[must_use]
    pub fn top(&self) -> usize {
        self.levels.len() - 1
    }

    /// The number of the node in dimension `d` of layer `i`.
    #[must_use]
    pub fn node(&self, i: usize, d: usize) -> usize {
        i * self.dims + d
    }

    /// The likelihood `p(x | z) ∝ q(z | x)` at the cleanest level, `N(z/α, σ²/α²)` in each
    /// dimension, for real-valued data. Monograph §2.2.
    #[must_use]
    pub fn likelihood(&self) -> Linear<C> {
        let NoiseLevel { alpha, sigma, .. } = &self.levels[1];
        let std = sigma.clone() / alpha.clone();
        Linear::new(alpha.lift(0.0), [alpha.lift(1.0) / alpha.clone()], std.clone() * std)
    }

    /// The generative graph: `prior` for each node of the top layer, `likelihood` for each of the
    /// data given its own node of layer 1, and between them the posterior with the denoised image
    /// in place of the image, `p(z_s | z_t) = q(z_s | z_t, x = x̂(z_t))`. Monograph §2.2.
    ///
    /// `x_hat` maps a latent, all nodes of a layer, and its level to an image of as many numbers; it
    /// is called once for each node of the layer below.
    #[must_use]
    pub fn generative<'a, D>(
        &'a self,
        prior: &'a Normal<C>,
        x_hat: &'a D,
        likelihood: &'a dyn Conditional<Normal<C>>,
    ) -> Graph<BoxedConditional<'a, C>>
    where
        D: Fn(&[C], &NoiseLevel<C>) -> Vec<C>,
    {
        self.graph((0..=self.top()).rev(), move |i, d| {
            if i == self.top() {
                let given: BoxedConditional<'a, C> = Box::new(|_: &[C]| prior.clone());
                (vec![], given)
            } else if i == 0 {
                (vec![self.node(1, d)], Box::new(|z: &[C]| likelihood.given(z)))
            } else {
                let q = Posterior::between(&self.levels[i], &self.levels[i + 1]);
                let step = move |z: &[C]| {
                    let x = x_hat(z, &self.levels[i + 1])[d].clone();
                    Normal::new(q.on_z.clone() * z[d].clone() + q.on_x.clone() * x, q.var.clone())
                };
                ((0..self.dims).map(|d| self.node(i + 1, d)).collect(), Box::new(step))
            }
        })
    }

    /// The posterior as the forward process, `q(z_0 | x) ∏ q(z_t | z_s)`. Monograph §2.1.1.
    #[must_use]
    pub fn bottom_up(&self) -> Graph<Linear<C>> {
        self.graph(1..=self.top(), |i, d| (vec![self.node(i - 1, d)], self.transition(i - 1, i)))
    }

    /// The same posterior from noise to data, `q(z_T | x) ∏ q(z_s | z_t, x)`. Monograph §2.1.2.
    #[must_use]
    pub fn top_down(&self) -> Graph<Linear<C>> {
        self.graph((1..=self.top()).rev(), |i, d| {
            let x = self.node(0, d);
            if i == self.top() {
                return (vec![x], self.transition(0, i));
            }
            let Posterior { on_z, on_x, var } =
                Posterior::between(&self.levels[i], &self.levels[i + 1]);
            let bias = var.lift(0.0);
            (vec![self.node(i + 1, d), x], Linear::new(bias, [on_z, on_x], var))
        })
    }

    /// `q` of a node of layer `t` given the same one of the cleaner layer `s`.
    fn transition(&self, s: usize, t: usize) -> Linear<C> {
        let Transition { alpha_ts, var_ts } = Transition::between(&self.levels[s], &self.levels[t]);
        Linear::new(var_ts.lift(0.0), [alpha_ts], var_ts)
    }

    /// One factor, given by its parents and conditional, for each dimension of each layer in turn.
    fn graph<F>(
        &self,
        layers: impl Iterator<Item = usize>,
        factor: impl Fn(usize, usize) -> (Vec<usize>, F),
    ) -> Graph<F> {
        let nodes = layers.flat_map(|i| (0..self.dims).map(move |d| (i, d)));
        let factors = nodes.map(|(i, d)| {
            let (parents, given) = factor(i, d);
            Factor::new(self.node(i, d), parents, given)
        });
        Graph { factors: factors.collect() }
    }
}
