//! `vdm eval`.

mod hierarchy;
mod options;
mod per_item;
mod table;
mod task;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use vdm_report::files;
use vdm_sample::estimate::Estimate;
use vdm_sample::grid::GridKind;
use vdm_sample::{GridSpec, Seed};
use vdm_torch::{Evaluation, ModelConfig};

pub(crate) use self::options::Options;
use self::table::Table;
use self::task::{Outcome, Task};
use crate::items::Selected;
use crate::opened::{AnyOpened, Opened};
use crate::progress::{Lines, Progress};
use crate::terminal;

/// The likelihood of data under a checkpoint of a run: a table, or the document alone.
pub(crate) fn evaluate(options: &Options) -> Result<()> {
    options.check()?;
    match AnyOpened::of(&options.run, options.checkpoint)? {
        AnyOpened::Diffusion(opened) => diffusion(options, &opened),
        AnyOpened::Hierarchy(opened) => hierarchy::evaluate(options, &opened),
    }
}

fn diffusion(options: &Options, opened: &Opened) -> Result<()> {
    let config = &opened.config;
    let model = opened.model(options.engine.start()?)?;
    let model = if options.double { model.in_f64()? } else { model };
    let selected = options.items.of(opened, model.spec().shape, model.spec().values)?;
    let Selected { data, items, .. } = &selected;
    let mut evaluation = Evaluation::new(&model, items, config.seed, config.evaluation.batch);
    (evaluation.schedule, evaluation.scaling) =
        options.specification.over(&model.spec().diffusion)?;
    if let Some(grid) = &options.grid {
        evaluation.grid = grid.of(&model, config, || selected.others())?;
    }
    options.prepare(opened)?;
    let progress = Progress::new("evaluating", "items", items.len() as u64, Lines::Messages)?;
    let dims = data.shape.dims();
    let draws = options.draws.unwrap_or(config.evaluation.draws);
    let outcome = Task { options, evaluation: &evaluation, draws, dims, progress }.run()?;
    let mut document = head(&selected, config.seed);
    document["schedule"] = json!(evaluation.schedule);
    document["grid"] = json!(options.grid.as_ref().map(|_| grid(&evaluation.grid, &options.steps)));
    document["scaling"] = json!(evaluation.scaling);
    document["network"] = json!(if options.double { "f64" } else { "f32" });
    document["result"] = outcome.document.clone();
    tell(options, &selected, &outcome, &document)
}

/// What a document says of the items and the checkpoint.
fn head<M: ModelConfig>(selected: &Selected<'_, M>, seed: Seed) -> Value {
    let Selected { data, split, items, .. } = selected;
    json!({
        "data": {
            "name": data.name, "sha256": data.sha256, "is_of_run": selected.is_of_run(),
            "split": split.name(), "items": items.len(),
        },
        "values": data.values,
        "checkpoint_step": selected.checkpoint().step,
        "seed": seed,
    })
}

/// An estimate as the document has it.
fn document(name: &str, estimate: &Estimate, dims: usize) -> Value {
    let terms: serde_json::Map<String, Value> = estimate
        .terms
        .iter()
        .map(|term| (term.name.to_owned(), json!(term.mean.bits_per_dim(dims))))
        .collect();
    let mut document = json!({
        "estimator": name,
        "bits_per_dim": estimate.total.bits_per_dim(dims),
        "terms": terms,
        "rounds": estimate.rounds,
    });
    if let Some(reached) = estimate.reached {
        document["standard_error_reached"] = json!(reached);
    }
    document
}

/// Writes the files that were asked for, and prints the document or a table of it.
fn tell<M: ModelConfig>(
    options: &Options,
    selected: &Selected<'_, M>,
    outcome: &Outcome,
    document: &Value,
) -> Result<()> {
    let Selected { data, split, items, .. } = selected;
    let dims = data.shape.dims();
    if let Some(path) = &options.out {
        files::write_json(path, document)?;
    }
    if let Some(file) = &options.per_item {
        file.write(&outcome.measured, dims)?;
    }
    if options.json {
        let text = serde_json::to_string_pretty(document).context("numbers are JSON")?;
        return terminal::print_lines(&text);
    }
    let mut table = Table::of(outcome, dims);
    if let Some(calls) = outcome.calls {
        table.line("model calls", format!("{calls:.0} per draw"));
    }
    table.line("items", format!("{} of {}", items.len(), split.of(data).len()));
    table.line("split", split.name());
    table.line("data", terminal::Inert(selected.name()).to_string());
    table.line("SHA-256", &data.sha256);
    table.line("checkpoint", format!("step {}", selected.checkpoint().step));
    terminal::print_lines(&table.text())
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
