//! The worst error of each solver over all grids and schedules, beside what other libraries' defaults of
//! the same name make of the same levels.

use std::f64::consts::SQRT_2;

use serde::Deserialize;
use serde_json::json;
use vdm_sample::range::{MEAN, STD, STEPS};
use vdm_sample::spec::Entry;
use vdm_sample::{Seed, Solver, SolverSpec, prior};

use crate::matrix::{Case, Line, SCALING, STARTS, cases, on_a_gaussian};

/// Samples of a stochastic solver.
const DRAWS: usize = 2048;

/// What `benches/peers/solver_matrix.py` measured.
#[derive(Deserialize)]
struct Peers {
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    solver: String,
    peer: String,
    steps: usize,
    data: String,
    error: f64,
    /// Combinations that ended in no number.
    blew_up: usize,
}

/// Levels and data for other programs: noise scales `σ/α` of every grid.
pub(crate) fn problems() -> String {
    let line = Line::CLUSTERS;
    let case = |case: Case| {
        let sigmas = case.levels.levels().iter().map(|level| level.sigma / level.alpha);
        json!({
            "schedule": case.schedule,
            "grid": case.grid,
            "steps": case.steps,
            "starts": STARTS,
            "sigmas": sigmas.collect::<Vec<f64>>(),
        })
    };
    let cases: Vec<_> = STEPS.into_iter().flat_map(cases).map(case).collect();
    let data = [
        json!({"name": "Gaussian", "weights": [1], "means": [MEAN], "stds": [STD], "std": STD}),
        json!({"name": "mixture", "weights": line.weights, "means": line.means, "stds": line.stds, "std": line.std()}),
    ];
    json!({"data": data, "cases": cases}).to_string()
}

/// `error(solver, case, prepare(case))` of every solver, the worst for each number of steps, and where that
/// was for 10.
fn worst<P>(
    prepare: impl Fn(&Case) -> P,
    error: impl Fn(&SolverSpec, &Case, &P) -> f64,
) -> Vec<([f64; 4], String)> {
    let mut rows = vec![([0.0; 4], String::new()); SolverSpec::entries().len()];
    for (column, steps) in STEPS.into_iter().enumerate() {
        for case in cases(steps) {
            let prepared = prepare(&case);
            for (entry, (worst, place)) in SolverSpec::entries().iter().zip(&mut rows) {
                let error = error(&entry.solver, &case, &prepared);
                if error > worst[column] {
                    worst[column] = error;
                    if steps == 10 {
                        *place = format!("{}, {}", case.grid, case.schedule);
                    }
                }
            }
        }
    }
    rows
}

fn show(error: f64) -> String {
    if error < 0.1 { format!("{error:.3}") } else { format!("{error:.2}") }
}

fn table(data: &str, peers: &Peers, rows: &[([f64; 4], String)]) {
    let head = "| name | 5 | 10 | 20 | 50 | worst of 10 on | elsewhere | 5 | 10 | 20 | 50 |";
    println!("\n{head}\n|---|---:|---:|---:|---:|---|---|---:|---:|---:|---:|");
    for (Entry { name, .. }, (worst, place)) in SolverSpec::entries().iter().zip(rows) {
        let theirs = |steps: usize| {
            let mut rows = peers.rows.iter();
            rows.find(|row| row.solver == *name && row.data == data && row.steps == steps)
        };
        let peer = theirs(10).map_or_else(String::new, |row| row.peer.clone());
        let cell = |steps| match theirs(steps) {
            None => String::new(),
            Some(row) if row.blew_up > 0 => format!("{}, {} ×", show(row.error), row.blew_up),
            Some(row) => show(row.error),
        };
        let (ours, theirs) = (worst.map(show).join(" | "), STEPS.map(cell).join(" | "));
        println!("| `{name}` | {ours} | {place} | {peer} | {theirs} |");
    }
}

/// How far [`DRAWS`] exact draws are from the data: what is left of the error of a stochastic solver that
/// makes none.
fn floor(line: &Line) -> f64 {
    let clean = SCALING.level(f64::INFINITY);
    let below = |score: &f64| 0.5 * libm::erfc(-score / SQRT_2);
    let scores: Vec<f64> = prior(Seed(2401), 0, DRAWS);
    let mut draws: Vec<f64> =
        scores.iter().map(|score| line.quantile(below(score), &clean)).collect();
    draws.sort_by(f64::total_cmp);
    line.distance(&draws, &line.quantiles(DRAWS, &clean), true)
}

/// Both tables.
pub(crate) fn print() {
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/peers/solver_matrix.json");
    let peers: Peers = serde_json::from_slice(&std::fs::read(fixture).unwrap()).unwrap();
    let gaussian = worst(|_| (), |solver, case, ()| on_a_gaussian(solver, case));
    println!("\n### A Gaussian");
    table("Gaussian", &peers, &gaussian);
    let line = Line::CLUSTERS;
    let paths = |case: &Case| [STARTS, DRAWS].map(|count| line.paths(&case.levels, count));
    let mixture = worst(paths, |solver, case, [few, many]| {
        let stochastic = Solver::<Vec<f64>>::properties(solver).stochastic;
        line.error(solver, &case.levels, if stochastic { many } else { few })
    });
    println!("\n### A mixture\n");
    println!(
        "{DRAWS} exact draws are {:.3} from the data: a stochastic solver's error is uncertain by about as much.",
        floor(&line)
    );
    table("mixture", &peers, &mixture);
}
