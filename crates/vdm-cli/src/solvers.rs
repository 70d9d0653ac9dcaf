//! `vdm solvers`, and what the program answers to names and choices of solvers.

use anyhow::Result;
use serde::de::DeserializeOwned;
use serde_json::Value;
use vdm_sample::range::{BOUND, STEPS, worst_errors};
use vdm_sample::solver::Properties;
use vdm_sample::spec::{AdaptiveSpec, Entry, Field, NameOf};
use vdm_sample::{AnySolver, Solver, SolverSpec};

use crate::specification::named;
use crate::terminal::{self, print, print_lines};

/// Tells people what they may want to know beside a result.
pub(crate) fn note(line: impl std::fmt::Display) {
    terminal::note(format_args!("note: {line}"));
}

/// A choice as [`named`] reads it; a name of another library is answered with the name here.
pub(crate) fn known<T: DeserializeOwned>(of: NameOf, text: &str) -> Result<T, serde_json::Error> {
    let choice = named(text)?;
    let object: Option<Value> = serde_json::from_str(text).ok();
    let kind = object.as_ref().and_then(|object| object.get("kind")?.as_str());
    if let Some(known) = of.elsewhere_only(kind.unwrap_or(text)) {
        note(format_args!("{} ({}) is called {} here", known.name, known.library, known.here));
    }
    Ok(choice)
}

/// `--solver`.
pub(crate) fn solver(text: &str) -> Result<AnySolver, serde_json::Error> {
    known(NameOf::Solver, text)
}

/// `vdm solvers`: one line for each, or all about one.
pub(crate) fn show(name: Option<&str>) -> Result<()> {
    match name {
        None => list(),
        Some(name) => {
            let name = NameOf::Solver.named(name, &NameOf::Solver.here())?;
            let on_grid = SolverSpec::entries().into_iter().find(|entry| entry.name == name);
            let adaptive = AdaptiveSpec::entries().into_iter().find(|entry| entry.name == name);
            if let Some(entry) = on_grid {
                describe(entry.name, entry.when, &facts(&entry.solver), &entry.solver.fields())?;
                range(&entry.solver)?;
            } else if let Some(entry) = adaptive {
                let facts = "chooses its own steps: no grid and no number of steps";
                describe(entry.name, entry.when, facts, &entry.solver.fields())?;
            }
            Ok(())
        }
    }
}

fn facts(solver: &SolverSpec) -> String {
    let Properties { order, calls_per_step, stochastic } = Solver::<f64>::properties(solver);
    let kind = if stochastic { "stochastic" } else { "deterministic" };
    let calls = if calls_per_step == 1 { "model call" } else { "model calls" };
    format!("order {order}, {calls_per_step} {calls} a step, {kind}")
}

fn list() -> Result<()> {
    print(format_args!(
        "{:<26} {:>5} {:>10}  {:<13} {:>5}  {}",
        "name", "order", "calls/step", "kind", "steps", "when"
    ))?;
    for Entry { name, when, solver } in SolverSpec::entries() {
        let Properties { order, calls_per_step, stochastic } = Solver::<f64>::properties(&solver);
        let kind = if stochastic { "stochastic" } else { "deterministic" };
        let steps = least_steps(&solver)?;
        print(format_args!(
            "{name:<26} {order:>5} {calls_per_step:>10}  {kind:<13} {steps:>5}  {when}"
        ))?;
    }
    for Entry { name, when, .. } in AdaptiveSpec::entries() {
        print(format_args!(
            "{name:<26} {:>5} {:>10}  {:<13} {:>5}  {when}",
            "", "", "adaptive", ""
        ))?;
    }
    print_lines(&format!(
        "\nsteps: of {}, the fewest that are in range on every grid and schedule that docs/solvers.md \
         judges. `vdm solvers NAME` shows the range by grid, fields, defaults and names elsewhere.",
        STEPS.map(|steps| steps.to_string()).join(", ")
    ))
}

/// The fewest of the judged numbers of steps with no grid outside the range.
fn least_steps(solver: &SolverSpec) -> Result<String> {
    let mut least = None;
    for steps in STEPS.into_iter().rev() {
        if worst_errors(solver, steps)?.iter().any(|(_, error)| *error > BOUND) {
            break;
        }
        least = Some(steps);
    }
    Ok(least.map_or_else(|| format!(">{}", STEPS[STEPS.len() - 1]), |steps| steps.to_string()))
}

fn describe(name: &str, when: &str, facts: &str, fields: &[Field]) -> Result<()> {
    print(format_args!("{name}: {when}"))?;
    print(facts)?;
    let elsewhere: Vec<String> = NameOf::Solver
        .elsewhere()
        .filter(|known| known.here == name)
        .map(|known| format!("{} ({})", known.name, known.library))
        .collect();
    if !elsewhere.is_empty() {
        print(format_args!("elsewhere: {}", elsewhere.join(", ")))?;
    }
    if fields.is_empty() {
        return print_lines("\nno fields");
    }
    let shown: Vec<[String; 3]> = fields
        .iter()
        .map(|field| [field.name.clone(), field.default.to_string(), field.takes.clone()])
        .collect();
    let width = |column: usize| shown.iter().map(|row| row[column].len()).max().unwrap_or(0).max(7);
    let (first, second) = (width(0), width(1));
    print_lines(&format!("\n{:<first$}  {:<second$}  takes", "field", "default"))?;
    for [field, default, takes] in &shown {
        print(format_args!("{field:<first$}  {default:<second$}  {takes}"))?;
    }
    Ok(())
}

/// Errors by grid and number of steps.
fn range(solver: &SolverSpec) -> Result<()> {
    print_lines(
        "\nerror on Gaussian data, in % of its standard deviation; the worst under the schedules linear, \
         cosine, DDPM and shifted:\n",
    )?;
    let header = STEPS.map(|steps| format!("{steps:>8}")).join(" ");
    print(format_args!("{:<22}{header} steps", "grid"))?;
    let columns: Result<Vec<_>, _> =
        STEPS.into_iter().map(|steps| worst_errors(solver, steps)).collect();
    let columns = columns?;
    for (row, (grid, _)) in columns[0].iter().enumerate() {
        let cell = |column: &Vec<(&str, f64)>| {
            let (_, error) = column[row];
            let mark = if error <= BOUND { ' ' } else { '!' };
            format!("{:>7.1}{mark}", 100.0 * error)
        };
        let cells: Vec<String> = columns.iter().map(cell).collect();
        print(format_args!("{grid:<22}{}", cells.join(" ")))?;
    }
    print_lines(&format!("\n! outside its range: more than {:.0} %", 100.0 * BOUND))
}
