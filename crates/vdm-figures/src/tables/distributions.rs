//! The distributions of the diffusion model.

use anyhow::{Context, Result};
use vdm_core::hlvm::diffusion::Chain;
use vdm_core::hlvm::{Conditional, Graph, Normal};

use super::symbol::Formula;
use super::{level, row};

const HEAD: &str = "
## Distributions

What is Gaussian in the model, with s < t, from the factors of `hlvm::diffusion::Chain` (section 2.1 and 2.2, M20). x̂ is
what a denoiser says of z_t.

";

/// The three latents of the chain, cleanest first; the last stands for any level and for the top.
const LEVELS: [[&str; 3]; 3] =
    [["λ_0", "α_0", "σ_0"], ["λ_s", "α_s", "σ_s"], ["λ_t", "α_t", "σ_t"]];
/// The nodes of the chain by their numbers.
const NAMES: [&str; 4] = ["x", "z_0", "z_s", "z_t"];
const S: usize = 2;
const T: usize = 3;

/// A row of the table.
fn distribution(
    name: &str,
    graph: &Graph<impl Conditional<Normal<Formula>>>,
    node: usize,
) -> Result<String> {
    let factor = graph.factor(node).with_context(|| format!("no factor for {name}"))?;
    let parents: Vec<Formula> = factor.parents.iter().map(|n| Formula::last(NAMES[*n])).collect();
    let Normal { mean, var } = factor.given.given(&parents);
    Ok(row([name.to_owned(), mean.sum(), var.to_string()]))
}

/// The table as Markdown.
pub(super) fn section() -> Result<String> {
    let levels: Vec<_> =
        (0..).step_by(3).zip(LEVELS).map(|(rank, names)| level(rank, names)).collect();
    let chain = Chain::new(&levels, 1)?;
    // Of the one-step chain from data to the level in question.
    let direct = Chain::new(&levels[2..], 1)?.bottom_up();
    let (forward, posterior) = (chain.bottom_up(), chain.top_down());
    let prior = Normal::new(Formula::number(0.0), Formula::number(1.0));
    let likelihood = chain.likelihood();
    let x_hat = |_: &[Formula], _: &_| vec![Formula::last("x̂")];
    let generative = chain.generative(&prior, &x_hat, &likelihood);
    let rows = [
        distribution("q(z_t given x)", &direct, 1)?,
        distribution("q(z_t given z_s)", &forward, T)?,
        distribution("q(z_s given z_t, x)", &posterior, S)?,
        distribution("p(z_1)", &generative, T)?,
        distribution("p(z_s given z_t)", &generative, S)?,
        distribution("p(x given z_0), for real x", &generative, 0)?,
    ];
    let head = row(["distribution", "mean", "variance"]) + &row(["---"; 3]);
    Ok([HEAD, &head, &rows.concat()].concat())
}
