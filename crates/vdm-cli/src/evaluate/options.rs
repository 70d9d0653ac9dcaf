//! The options of `vdm eval`.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::ValueEnum;
use vdm_sample::estimate::Dequantization;
use vdm_torch::ModelConfig;

use super::per_item::PerItem;
use crate::engine::Engine;
use crate::grid::Grid;
use crate::items::ItemOptions;
use crate::opened::{Opened, Which, check_for_hierarchy};
use crate::outputs;
use crate::specification::{Specification, named};

/// `vdm eval`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Folder of the run
    #[arg(long, value_name = "DIR")]
    pub(super) run: PathBuf,
    /// bound: the variational bound; iwae: the importance-weighted one; ode: the likelihood of the
    /// probability-flow ODE; exact: the likelihood by quadrature, of a hierarchy of two latents
    #[arg(long, value_enum, default_value = "bound")]
    pub(super) estimator: Estimator,
    #[command(flatten)]
    pub(super) items: ItemOptions,
    /// T of the T-step bound; the continuous-time bound without it. Several, ascending, are compared
    /// with each other and with the continuous-time bound
    #[arg(long, value_name = "T[,T…]", value_delimiter = ',')]
    pub(super) steps: Vec<u32>,
    /// Where the T steps lie, such as uniform-log-snr, karras, or elbo-optimal for the least bound by the
    /// errors on validation items [default: uniform-time]
    #[arg(long, value_name = "NAME|JSON", value_parser = Grid::parse, requires = "steps")]
    pub(super) grid: Option<Grid>,
    /// Noised copies of each item in a round; all T steps where there are no more [default: as
    /// configured]
    #[arg(long)]
    pub(super) draws: Option<usize>,
    /// Rounds of draws [default: 1; 8 for several T]
    #[arg(long)]
    pub(super) rounds: Option<usize>,
    /// Go on until the error due to the draws is this small, in bits per dimension
    #[arg(long, value_name = "BITS")]
    pub(super) standard_error: Option<f64>,
    /// Rounds after which to stop all the same [default: 1000]
    #[arg(long, requires = "standard_error")]
    pub(super) max_rounds: Option<usize>,
    /// K: paths of iwae [default: 8] or draws of ode [default: 1] under one logarithm
    #[arg(long, value_name = "K")]
    pub(super) importance_samples: Option<usize>,
    /// How an item becomes a latent of the ODE [default: posterior]
    #[arg(long, value_name = "uniform|truncated-normal|posterior", value_parser = named::<Dequantization>)]
    pub(super) dequantization: Option<Dequantization>,
    /// Random directions the trace of the ODE is estimated from; 0 for the exact trace [default: exact
    /// up to 256 components, else 1]
    #[arg(long)]
    pub(super) probes: Option<usize>,
    /// Absolute and relative tolerance of the ODE [default: 1e-5]
    #[arg(long)]
    pub(super) tolerance: Option<f64>,
    #[command(flatten)]
    pub(super) specification: Specification,
    /// Run the network in 64-bit floats, several times slower: how much of a number is its rounding
    #[arg(long)]
    pub(super) double: bool,
    /// Checkpoint of this step [default: the best on validation]
    #[arg(long, value_name = "STEP|latest|best")]
    pub(super) checkpoint: Option<Which>,
    #[command(flatten)]
    pub(super) engine: Engine,
    /// Print the JSON document alone
    #[arg(long)]
    pub(super) json: bool,
    /// Also write the JSON document here
    #[arg(long, value_name = "FILE.json")]
    pub(super) out: Option<PathBuf>,
    /// Also write a line of numbers for each item here, or for each item and T where there are several T
    #[arg(long, value_name = "FILE.csv|FILE.jsonl", value_parser = PerItem::parse)]
    pub(super) per_item: Option<PerItem>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Estimator {
    Bound,
    Iwae,
    Ode,
    Exact,
}

impl Options {
    /// That the files asked for can be written, before all the work.
    pub(super) fn prepare<M: ModelConfig>(&self, opened: &Opened<M>) -> Result<()> {
        let out = self.out.as_deref().map(|path| ("--out", path));
        let per_item = self.per_item.as_ref().map(|file| ("--per-item", file.path()));
        let outs: Vec<_> = out.into_iter().chain(per_item).collect();
        outputs::prepare(&outs, &self.items.paths(opened))
    }

    /// That no flag was given that means nothing for a hierarchy.
    pub(super) fn check_for_hierarchy(&self) -> Result<()> {
        let given = [
            ("--estimator ode", self.estimator == Estimator::Ode),
            ("--steps", !self.steps.is_empty()),
            ("--standard-error", self.standard_error.is_some()),
            ("--rounds", self.rounds.is_some()),
            ("--scaling or --schedule", self.specification.is_given()),
            ("--double", self.double),
        ];
        given.into_iter().try_for_each(|(flag, is_given)| check_for_hierarchy(flag, is_given))
    }

    /// That no flag was given that the estimator has no use for.
    pub(super) fn check(&self) -> Result<()> {
        use Estimator::{Bound, Iwae, Ode};
        let uses: [(&str, bool, &[Estimator]); 6] = [
            ("--steps", !self.steps.is_empty(), &[Bound, Iwae]),
            ("--draws", self.draws.is_some(), &[Bound]),
            ("--importance-samples", self.importance_samples.is_some(), &[Iwae, Ode]),
            ("--dequantization", self.dequantization.is_some(), &[Ode]),
            ("--probes", self.probes.is_some(), &[Ode]),
            ("--tolerance", self.tolerance.is_some(), &[Ode]),
        ];
        for (flag, given, of) in uses {
            let names: Vec<String> = of.iter().map(|e| format!("{e:?}").to_lowercase()).collect();
            ensure!(
                !given || of.contains(&self.estimator),
                "{flag} has no meaning for --estimator {}: leave it out, or use --estimator {}",
                format!("{:?}", self.estimator).to_lowercase(),
                names.join(" or ")
            );
        }
        ensure!(!self.steps.contains(&0), "--steps 0: use at least 1");
        let ascending = self.steps.windows(2).all(|pair| pair[0] < pair[1]);
        ensure!(ascending, "--steps {:?}: list them ascending, each once", self.steps);
        if let Some(error) = self.standard_error {
            ensure!(error > 0.0, "--standard-error {error}: use a number above 0, such as 0.001");
        }
        ensure!(self.rounds != Some(0), "--rounds 0: use at least 1");
        if let Some(tolerance) = self.tolerance {
            ensure!(
                tolerance.is_finite() && tolerance > 0.0,
                "--tolerance {tolerance}: use a finite number above 0, such as 1e-5"
            );
        }
        Ok(())
    }
}
