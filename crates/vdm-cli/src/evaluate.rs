//! `vdm eval`.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde_json::{Value, json};
use vdm_core::NoiseSchedule;
use vdm_core::bound::bits_per_dim;
use vdm_sample::estimate::{
    BoundEstimate, Change, Dequantization, DiffusionTerm, Estimate, FlowBound, FlowEstimate,
    Rounds, Rung, Summary, Trace,
};
use vdm_sample::{Adaptive, GridKind, GridSpec, ProbeLaw};
use vdm_torch::{EXACT_TRACE_DIMS, Evaluation, Likelihood};

use crate::engine::Engine;
use crate::grid::Grid;
use crate::opened::{Opened, Which};
use crate::progress::{Lines, Progress};
use crate::specification::Specification;
use crate::split::Split;
use crate::{output, terminal};

/// `vdm eval`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Folder of the run
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// bound: the variational bound; iwae: the importance-weighted one; ode: the likelihood of the
    /// probability-flow ODE
    #[arg(long, value_enum, default_value = "bound")]
    estimator: Estimator,
    /// Which items [default: test; all, for an imported model that was not trained on any]
    #[arg(long, value_enum)]
    split: Option<Split>,
    /// Only this many items, from the first
    #[arg(long)]
    items: Option<usize>,
    /// T of the T-step bound; the continuous-time bound without it. Several, ascending, are compared
    /// with each other and with the continuous-time bound
    #[arg(long, value_name = "T[,T…]", value_delimiter = ',')]
    steps: Vec<u32>,
    /// Where the T steps lie, such as uniform-log-snr, karras, or elbo-optimal for the least bound by the
    /// errors on validation items [default: uniform-time]
    #[arg(long, value_name = "NAME|JSON", value_parser = Grid::parse, requires = "steps")]
    grid: Option<Grid>,
    /// Noised copies of each item in a round; all T steps where there are no more [default: as
    /// configured]
    #[arg(long)]
    draws: Option<usize>,
    /// Rounds of draws [default: 1; 8 for several T]
    #[arg(long)]
    rounds: Option<usize>,
    /// Go on until the error due to the draws is this small, in bits per dimension
    #[arg(long, value_name = "BITS")]
    standard_error: Option<f64>,
    /// Rounds after which to stop all the same [default: 1000]
    #[arg(long, requires = "standard_error")]
    max_rounds: Option<usize>,
    /// K: paths of iwae [default: 8] or draws of ode [default: 1] under one logarithm
    #[arg(long, value_name = "K")]
    importance_samples: Option<usize>,
    /// How an item becomes a latent of the ODE [default: posterior]
    #[arg(long, value_enum)]
    dequantization: Option<Law>,
    /// Random directions the trace of the ODE is estimated from; 0 for the exact trace [default: exact
    /// up to 256 components, else 1]
    #[arg(long)]
    probes: Option<usize>,
    /// Absolute and relative tolerance of the ODE [default: 1e-5]
    #[arg(long)]
    tolerance: Option<f64>,
    #[command(flatten)]
    specification: Specification,
    /// Run the network in 64-bit floats, several times slower: how much of a number is its rounding
    #[arg(long)]
    double: bool,
    /// Checkpoint of this step [default: the best on validation]
    #[arg(long, value_name = "STEP|latest|best")]
    checkpoint: Option<Which>,
    #[command(flatten)]
    engine: Engine,
    /// Also write the JSON document here
    #[arg(long, value_name = "FILE.json")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Estimator {
    Bound,
    Iwae,
    Ode,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Law {
    Uniform,
    TruncatedNormal,
    Posterior,
}

impl From<Law> for Dequantization {
    fn from(law: Law) -> Self {
        match law {
            Law::Uniform => Self::Uniform,
            Law::TruncatedNormal => Self::TruncatedNormal,
            Law::Posterior => Self::Posterior,
        }
    }
}

/// A grid as the document has it. One that was chosen has its levels where there is one number of steps, in
/// place of the hundreds of errors that it was chosen by.
fn grid(spec: &GridSpec, steps: &[u32]) -> Value {
    match (&spec.kind, steps) {
        (GridKind::ElboOptimal { losses }, [steps]) => {
            json!({"kind": "elbo_optimal", "log_snrs": losses.best(*steps as usize).ok()})
        }
        (GridKind::ElboOptimal { .. }, _) => json!({"kind": "elbo_optimal"}),
        _ => json!(spec),
    }
}

/// What an estimator found: in words, and for the document.
struct Found {
    text: String,
    document: Value,
}

/// The likelihood of a split under a checkpoint of a run, printed as text and JSON.
pub(crate) fn evaluate(options: &Options) -> Result<()> {
    options.check()?;
    let run = output::existing_run(&options.run)?;
    let opened = Opened::of(&run, options.checkpoint)?;
    let config = &opened.config;
    let data = opened.data()?;
    let model = opened.checkpoint.model(options.engine.start()?)?;
    let model = if options.double { model.in_f64()? } else { model };
    let split = Split::chosen(options.split, config, opened.checkpoint.info());
    let all = split.of(&data);
    let count = options.items.unwrap_or(all.len()).min(all.len());
    ensure!(count > 0, "--items 0: use at least 1");
    let items = all.select(&(0..count).collect::<Vec<_>>());
    let mut evaluation = Evaluation::new(&model, &items, config.seed, config.evaluation.batch);
    (evaluation.schedule, evaluation.scaling) =
        options.specification.over(&model.spec().diffusion)?;
    if let Some(grid) = &options.grid {
        evaluation.grid = grid.of(&model, config, || split.others(&data))?;
    }
    if let Some(path) = &options.out {
        vdm_report::files::prepare(path)?;
    }
    let progress = Progress::new("evaluating", "items", count as u64, Lines::Messages)?;
    let task = Task {
        options,
        evaluation: &evaluation,
        draws: options.draws.unwrap_or(config.evaluation.draws),
        dims: data.shape.dims(),
        progress,
    };
    let found = task.run()?;
    terminal::say_lines(&found.text)?;
    terminal::say(format_args!(
        "  data {} ({}), SHA-256 {}",
        data.name,
        split.name(),
        data.sha256
    ))?;
    let document = json!({
        "data": {"name": data.name, "sha256": data.sha256, "split": split.name(), "items": count},
        "levels": data.levels,
        "checkpoint_step": opened.checkpoint.info().step,
        "seed": config.seed,
        "schedule": evaluation.schedule,
        "grid": options.grid.as_ref().map(|_| grid(&evaluation.grid, &options.steps)),
        "scaling": evaluation.scaling,
        "network": if options.double { "f64" } else { "f32" },
        "result": found.document,
    });
    terminal::say_lines(&serde_json::to_string_pretty(&document).context("numbers are JSON")?)?;
    if let Some(path) = &options.out {
        vdm_report::files::write_json(path, &document)?;
    }
    Ok(())
}

impl Options {
    /// That no flag was given that the estimator has no use for.
    fn check(&self) -> Result<()> {
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
        ensure!(
            self.estimator != Iwae || self.steps.len() == 1,
            "--estimator iwae needs one number of steps: add --steps T, such as --steps 100"
        );
        ensure!(!self.steps.contains(&0), "--steps 0: use at least 1");
        let ascending = self.steps.windows(2).all(|pair| pair[0] < pair[1]);
        ensure!(ascending, "--steps {:?}: list them ascending, each once", self.steps);
        if let Some(error) = self.standard_error {
            ensure!(error > 0.0, "--standard-error {error}: use a number above 0, such as 0.001");
        }
        ensure!(self.rounds != Some(0), "--rounds 0: use at least 1");
        Ok(())
    }
}

/// An evaluation under way.
struct Task<'a> {
    options: &'a Options,
    evaluation: &'a Evaluation<'a>,
    draws: usize,
    dims: usize,
    progress: Progress,
}

impl Task<'_> {
    fn run(self) -> Result<Found> {
        match (self.options.estimator, self.options.steps.as_slice()) {
            (Estimator::Bound, [] | [_]) => self.bound(),
            (Estimator::Bound, _) => self.ladder(),
            (Estimator::Iwae, steps) => self.importance_weighted(steps),
            (Estimator::Ode, _) => self.flow(),
        }
    }

    fn rounds(&self, default: usize) -> Rounds {
        let Options { rounds, standard_error, max_rounds, .. } = *self.options;
        let least = rounds.unwrap_or(default);
        match standard_error {
            None => Rounds::exactly(least),
            Some(bits) => {
                let nats = bits / bits_per_dim(1.0, self.dims);
                let most = max_rounds.unwrap_or(1000).max(least);
                Rounds { least, ..Rounds::until(nats, most) }
            }
        }
    }

    fn progress(&self, round: u64, done: usize) {
        self.progress.set(done as u64);
        if round > 0 {
            self.progress.mention(format!("round {}", round + 1));
        }
    }

    fn diffusion(&self, steps: Option<u32>) -> DiffusionTerm {
        let draws = self.draws;
        match steps {
            None => DiffusionTerm::Continuous { draws },
            Some(steps) if draws >= steps as usize => DiffusionTerm::Dense { steps },
            Some(steps) => DiffusionTerm::Sparse { steps, draws },
        }
    }

    fn bound(&self) -> Result<Found> {
        let diffusion = self.diffusion(self.options.steps.first().copied());
        let BoundEstimate { estimate, curve } =
            self.evaluation
                .bound(diffusion, self.rounds(1), |round, done| self.progress(round, done))?;
        let name = self.evaluation.named(diffusion);
        let mut document = self.document(&name, &estimate);
        document["curve"] = json!(curve);
        Ok(Found { text: self.text(&name, &estimate), document })
    }

    fn ladder(&self) -> Result<Found> {
        let steps = self.options.steps.iter().copied().map(Some).chain([None]);
        let rungs: Vec<DiffusionTerm> = steps.map(|steps| self.diffusion(steps)).collect();
        let progress = |_, round, done| self.progress(round, done);
        let ladder = self.evaluation.ladder(&rungs, self.rounds(8), progress)?;
        let mut text = Vec::new();
        let mut rungs = Vec::new();
        for Rung { diffusion, estimate, change } in &ladder {
            let name = self.evaluation.named(*diffusion);
            text.push(self.text(&name, estimate));
            let mut rung = self.document(&name, estimate);
            if let Some(change) = change {
                text.push(format!("  {}", self.changed(change)));
                rung["change"] = json!({
                    "difference": change.difference.bits_per_dim(self.dims),
                    "items_worse": change.worse,
                    "items_certainly_worse": change.certainly_worse,
                });
            }
            rungs.push(rung);
        }
        Ok(Found { text: text.join("\n"), document: json!({ "ladder": rungs }) })
    }

    fn changed(&self, change: &Change) -> String {
        let difference = change.difference.bits_per_dim(self.dims);
        let certainly = change.certainly_worse.map_or_else(String::new, |n| {
            format!(", for {n} by more than 3 standard errors of the draws")
        });
        format!(
            "{:+.4}{} from the one above; worse for {} of {} items{certainly}",
            difference.mean,
            plus_minus(difference.draw_error),
            change.worse,
            change.items
        )
    }

    fn importance_weighted(&self, steps: &[u32]) -> Result<Found> {
        let samples = self.options.importance_samples.unwrap_or(8);
        let steps = steps.first().copied().context("checked: one number of steps")?;
        let estimate = self.evaluation.importance_weighted(
            steps,
            samples,
            self.rounds(1),
            |round, done| {
                self.progress(round, done);
            },
        )?;
        let name = format!(
            "importance-weighted {steps}-step bound{}, K = {samples}",
            self.evaluation.on_grid()
        );
        let mut document = self.document(&name, &estimate);
        document["importance_samples"] = json!(samples);
        Ok(Found { text: self.text(&name, &estimate), document })
    }

    fn flow(&self) -> Result<Found> {
        let Options { probes, tolerance, importance_samples, dequantization, .. } = self.options;
        let mut solver = Adaptive::default();
        if let Some(tolerance) = *tolerance {
            (solver.absolute, solver.relative) = (tolerance, tolerance);
        }
        let samples = importance_samples.unwrap_or(1);
        ensure!(
            samples == 1 || self.dims <= EXACT_TRACE_DIMS,
            "--importance-samples {samples}: the ODE needs the exact trace for more than 1, which is taken of \
             items of up to {EXACT_TRACE_DIMS} components, and these have {}; leave it out",
            self.dims
        );
        let trace = match probes.unwrap_or(usize::from(self.dims > EXACT_TRACE_DIMS)) {
            0 => Trace::Exact,
            probes => Trace::Hutchinson { probes, law: ProbeLaw::default() },
        };
        let dequantization = dequantization.unwrap_or(Law::Posterior).into();
        let plan = FlowBound {
            solver,
            range: self.evaluation.schedule.range(),
            dequantization,
            trace,
            samples,
            rounds: self.rounds(1),
            batch: self.evaluation.batch,
        };
        let FlowEstimate { estimate, calls } =
            self.evaluation.flow(plan, |round, done| self.progress(round, done))?;
        let name = format!(
            "probability-flow ODE, {} dequantization, K = {samples}, {}, tolerance {:e}",
            serde_json::to_value(dequantization)?.as_str().unwrap_or_default().replace('_', "-"),
            match trace {
                Trace::Exact => "exact trace".to_owned(),
                Trace::Hutchinson { probes, .. } => format!("{probes} probes"),
            },
            solver.relative
        );
        let mut document = self.document(&name, &estimate);
        document["plan"] = json!({
            "solver": solver, "dequantization": dequantization, "trace": trace,
            "importance_samples": samples,
        });
        document["model_calls"] = json!(calls.mean());
        let text =
            format!("{}\n  {:.0} model calls per draw", self.text(&name, &estimate), calls.mean());
        Ok(Found { text, document })
    }

    fn text(&self, name: &str, estimate: &Estimate) -> String {
        let bits = |summary: Summary| summary.bits_per_dim(self.dims);
        let total = bits(estimate.total);
        let terms: Vec<String> = estimate
            .terms
            .iter()
            .map(|term| format!("{} {:.4}", term.name, bits(term.mean).mean))
            .collect();
        let draws = match total.draw_error {
            Some(error) => format!(" (of the draws alone: {error:.4})"),
            None => String::new(),
        };
        let missed = match estimate.reached {
            Some(false) => ": --standard-error is not reached, allow more with --max-rounds",
            _ => "",
        };
        format!(
            "{:.4}{} bits/dim on {} items{draws}\n  {}\n  {name}, rounds: {}{missed}",
            total.mean,
            plus_minus(total.standard_error),
            estimate.items.len(),
            terms.join(", "),
            estimate.rounds
        )
    }

    fn document(&self, name: &str, estimate: &Estimate) -> Value {
        let terms: serde_json::Map<String, Value> = estimate
            .terms
            .iter()
            .map(|term| (term.name.to_owned(), json!(term.mean.bits_per_dim(self.dims))))
            .collect();
        let mut document = json!({
            "estimator": name,
            "bits_per_dim": estimate.total.bits_per_dim(self.dims),
            "terms": terms,
            "rounds": estimate.rounds,
        });
        if let Some(reached) = estimate.reached {
            document["standard_error_reached"] = json!(reached);
        }
        document
    }
}

fn plus_minus(error: Option<f64>) -> String {
    error.map_or_else(String::new, |error| format!(" ± {error:.4}"))
}

/// A likelihood in words.
pub(crate) fn describe(result: &Likelihood) -> String {
    let Likelihood { bits_per_dim, standard_error, prior, reconstruction, diffusion, .. } = result;
    // One item tells no error.
    let error = standard_error.is_finite().then_some(*standard_error);
    format!(
        "{bits_per_dim:.4}{} bits/dim on {} items\n  = prior {prior:.4} + \
         reconstruction {reconstruction:.4} + diffusion {diffusion:.4}\n  {}",
        plus_minus(error),
        result.items,
        result.estimator
    )
}

/// A likelihood as `result.json` has it.
pub(crate) fn likelihood(result: &Likelihood) -> vdm_report::result::TestLikelihood {
    vdm_report::result::TestLikelihood {
        bits_per_dim: result.bits_per_dim,
        standard_error: result.standard_error,
        prior: result.prior,
        reconstruction: result.reconstruction,
        diffusion: result.diffusion,
        items: result.items as u64,
        estimator: result.estimator.clone(),
    }
}
