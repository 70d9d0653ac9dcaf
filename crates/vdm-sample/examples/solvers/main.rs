//! Writes the table of solvers: what each declares, and what is observed of it.
//!
//! ```sh
//! cargo run --release -p vdm-sample --features reports --example solvers > docs/solvers.md
//! ```

#[path = "../../tests/it/convergence.rs"]
mod convergence;
mod measure;

use vdm_sample::{AdaptiveSpec, Entry, Solver, SolverSpec};

const HEAD: &str = "\
# Solvers

Written by `cargo run --release -p vdm-sample --features reports --example solvers > docs/solvers.md`; the tests of
`crates/vdm-sample/tests/it/orders` hold each family to its declared orders.

Names are those of configurations and of `vdm sample --solver NAME`; an object `{\"kind\": NAME, …}`
changes settings. Orders are slopes of log error over five halvings of the step, 36 to 1,152 steps
uniform in log-SNR from −6 to 6:

- **deterministic**: geometric mean of the errors of the probability-flow ODE's solution over 16 starts
  on a mixture of three Gaussians in two dimensions, against the adaptive solver at a tolerance of 1e-14;
- **in law**: error of mean and variance on Gaussian data, where a result is linear in every draw, so
  that both follow exactly from the response to each draw alone;
- **of the path**: root mean square distance over 32 Brownian paths on the mixture, against the same
  solver with 8 times the steps. Where a solver draws noise that belongs to no interval of time
  (churn, restart, Langevin steps), there is no such path.

Measured orders above the declared one are no error: UniPC's corrector adds one, and linear
multistep methods are limited by a first step that is small here. Churn at 36 steps is at its cap,
which slows its first halvings. Langevin steps have a bias that more steps do not lessen: order 0.

| name | declared | measured | of the path | calls a step | when |
|---|---:|---:|---:|---:|---|";

const ADAPTIVE: &str = "
## With steps of their own

These take a tolerance instead of a grid and a number of steps, as fields of the solver:
`{\"kind\": \"adaptive_ode\", \"relative\": 1e-3, \"absolute\": 1e-3}` or
`{\"kind\": \"dpm_adaptive\", \"rtol\": 0.01}`. All follow the probability-flow ODE.

| name | when |
|---|---|";

/// Solvers whose noise belongs to no interval of time.
fn draws_outside_of_time(solver: &SolverSpec) -> bool {
    matches!(
        solver,
        SolverSpec::Churn(_) | SolverSpec::Restart(_) | SolverSpec::PredictorCorrector(_)
    )
}

fn main() {
    println!("{HEAD}");
    for Entry { name, when, solver } in SolverSpec::entries() {
        let properties = Solver::<Vec<f64>>::properties(&solver);
        let (measured, path) = if !properties.stochastic {
            (measure::of_the_ode(&solver), None)
        } else if draws_outside_of_time(&solver) {
            (measure::of_the_law(&solver), None)
        } else {
            (measure::of_the_law(&solver), Some(measure::of_the_path(&solver)))
        };
        let kind = if properties.stochastic { "in law" } else { "" };
        let path = path.map_or_else(String::new, |order| format!("{order:.2}"));
        println!(
            "| `{name}` | {} {kind} | {measured:.2} | {path} | {} | {when} |",
            properties.order, properties.calls_per_step,
        );
    }
    println!("{ADAPTIVE}");
    for Entry { name, when, .. } in AdaptiveSpec::entries() {
        println!("| `{name}` | {when} |");
    }
}
