//! `vdm eval`.

mod options;
mod per_item;
mod table;
mod task;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use vdm_report::files;
use vdm_sample::GridSpec;
use vdm_sample::grid::GridKind;
use vdm_torch::{Evaluation, Likelihood};

pub(crate) use self::options::Options;
use self::table::Table;
use self::task::Task;
use crate::items::Selected;
use crate::opened::Opened;
use crate::progress::{Lines, Progress};
use crate::terminal;

/// The likelihood of data under a checkpoint of a run: a table, or the document alone.
pub(crate) fn evaluate(options: &Options) -> Result<()> {
    options.check()?;
    let opened = Opened::of(&options.run, options.checkpoint)?;
    let config = &opened.config;
    let info = opened.checkpoint.info();
    let model = opened.model(options.engine.start()?)?;
    let model = if options.double { model.in_f64()? } else { model };
    let selected = options.items.of(&opened, model.spec())?;
    let Selected { data, split, items, .. } = &selected;
    let mut evaluation = Evaluation::new(&model, items, config.seed, config.evaluation.batch);
    (evaluation.schedule, evaluation.scaling) =
        options.specification.over(&model.spec().diffusion)?;
    if let Some(grid) = &options.grid {
        evaluation.grid = grid.of(&model, config, || selected.others())?;
    }
    let per_item = options.per_item.as_ref();
    for path in options.out.as_deref().into_iter().chain(per_item.map(|file| file.path())) {
        files::prepare(path)?;
    }
    let progress = Progress::new("evaluating", "items", items.len() as u64, Lines::Messages)?;
    let dims = data.shape.dims();
    let draws = options.draws.unwrap_or(config.evaluation.draws);
    let outcome = Task { options, evaluation: &evaluation, draws, dims, progress }.run()?;
    let document = json!({
        "data": {
            "name": data.name, "sha256": data.sha256, "is_of_run": selected.is_of_run(),
            "split": split.name(), "items": items.len(),
        },
        "values": data.values,
        "checkpoint_step": info.step,
        "seed": config.seed,
        "schedule": evaluation.schedule,
        "grid": options.grid.as_ref().map(|_| grid(&evaluation.grid, &options.steps)),
        "scaling": evaluation.scaling,
        "network": if options.double { "f64" } else { "f32" },
        "result": &outcome.document,
    });
    if let Some(path) = &options.out {
        files::write_json(path, &document)?;
    }
    if let Some(file) = per_item {
        file.write(&outcome.measured, dims)?;
    }
    if options.json {
        let text = serde_json::to_string_pretty(&document).context("numbers are JSON")?;
        return terminal::print_lines(&text);
    }
    let mut table = Table::of(&outcome, dims);
    if let Some(calls) = outcome.calls {
        table.line("model calls", format!("{calls:.0} per draw"));
    }
    table.line("items", format!("{} of {}", items.len(), split.of(data).len()));
    table.line("split", split.name());
    table.line("data", terminal::Inert(selected.name()).to_string());
    table.line("SHA-256", &data.sha256);
    table.line("checkpoint", format!("step {}", info.step));
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
