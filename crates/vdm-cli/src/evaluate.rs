//! `vdm eval`.

mod options;
mod per_item;
mod table;
mod task;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use vdm_data::Dataset;
use vdm_report::files;
use vdm_sample::GridSpec;
use vdm_sample::grid::GridKind;
use vdm_torch::{Evaluation, Likelihood};

pub(crate) use self::options::Options;
use self::table::Table;
use self::task::Task;
use crate::opened::Opened;
use crate::progress::{Lines, Progress};
use crate::split::Split;
use crate::{other_data, output, terminal};

/// The likelihood of data under a checkpoint of a run: a table, or the document alone.
pub(crate) fn evaluate(options: &Options) -> Result<()> {
    options.check()?;
    let run = output::existing_run(&options.run)?;
    let opened = Opened::of(&run, options.checkpoint)?;
    let config = &opened.config;
    let info = opened.checkpoint.info();
    let model = opened.model(options.engine.start()?)?;
    let model = if options.double { model.in_f64()? } else { model };
    let (data, split) = match &options.data {
        None => (opened.data()?, Split::chosen(options.split, config, info)),
        Some(data) => (other_data::load(data, model.spec())?, options.split.unwrap_or(Split::All)),
    };
    let is_of_run = data.sha256 == info.data_sha256;
    let all = split.of(&data);
    let count = options.items.unwrap_or(all.len()).min(all.len());
    let items = all.select(&(0..count).collect::<Vec<_>>());
    let mut evaluation = Evaluation::new(&model, &items, config.seed, config.evaluation.batch);
    (evaluation.schedule, evaluation.scaling) =
        options.specification.over(&model.spec().diffusion)?;
    if let Some(grid) = &options.grid {
        // Other data than the run's are none of those that a grid is chosen by.
        let others =
            || if is_of_run { split.others(&data) } else { Split::Test.others(&opened.data()?) };
        evaluation.grid = grid.of(&model, config, others)?;
    }
    let per_item = options.per_item.as_ref();
    for path in options.out.as_deref().into_iter().chain(per_item.map(|file| file.path())) {
        files::prepare(path)?;
    }
    let progress = Progress::new("evaluating", "items", count as u64, Lines::Messages)?;
    let dims = data.shape.dims();
    let draws = options.draws.unwrap_or(config.evaluation.draws);
    let found = Task { options, evaluation: &evaluation, draws, dims, progress }.run()?;
    let document = json!({
        "data": {
            "name": data.name, "sha256": data.sha256, "is_of_run": is_of_run, "split": split.name(),
            "items": count,
        },
        "values": data.values,
        "checkpoint_step": info.step,
        "seed": config.seed,
        "schedule": evaluation.schedule,
        "grid": options.grid.as_ref().map(|_| grid(&evaluation.grid, &options.steps)),
        "scaling": evaluation.scaling,
        "network": if options.double { "f64" } else { "f32" },
        "result": &found.document,
    });
    if let Some(path) = &options.out {
        files::write_json(path, &document)?;
    }
    if let Some(file) = per_item {
        file.write(&found.measured, dims)?;
    }
    if options.json {
        let text = serde_json::to_string_pretty(&document).context("numbers are JSON")?;
        return terminal::print_lines(&text);
    }
    let mut table = Table::of(&found, dims);
    if let Some(calls) = found.calls {
        table.line("model calls", format!("{calls:.0} per draw"));
    }
    table.line("items", format!("{count} of {}", all.len()));
    table.line("split", split.name());
    table
        .line("data", terminal::Inert(named(&data, options.data.is_some(), is_of_run)).to_string());
    table.line("SHA-256", &data.sha256);
    table.line("checkpoint", format!("step {}", info.step));
    terminal::print_lines(&table.text())
}

/// Data, and whose they are where that is not known.
fn named(data: &Dataset, is_asked: bool, is_of_run: bool) -> String {
    let whose = match (is_asked, is_of_run) {
        (false, _) => "",
        (true, false) => ", not the run's",
        (true, true) => ", the run's own: some of them it was trained on",
    };
    format!("{}{whose}", data.name)
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
