//! Writes the table of solvers: what each declares, and what is observed of it.
//!
//! ```sh
//! cargo run --release -p vdm-sample --features reports --example solvers > docs/solvers.md
//! ```
//!
//! With `--problems` it writes the levels that `benches/peers/solver_matrix.py` asks other libraries about.

#[path = "../../tests/it/convergence.rs"]
mod convergence;
#[path = "../../tests/it/matrix.rs"]
mod matrix;
mod matrix_table;
mod measure;

use vdm_sample::spec::{AdaptiveSpec, Entry};
use vdm_sample::{Solver, SolverSpec};

const HEAD: &str = "\
# Solvers

Written by `cargo run --release -p vdm-sample --features reports --example solvers > docs/solvers.md`; the tests of
`crates/vdm-sample/tests/it/orders` hold each family to its declared orders.

Names are those of configurations and of `vdm sample --solver NAME`; an object `{\"kind\": NAME, …}`
changes settings. Orders are slopes of log error over five halvings of the step:

- **measured**, of a deterministic solver: geometric mean of the errors of the probability-flow ODE's solution
  over 16 starts on a mixture of three Gaussians in two dimensions, against the adaptive solver at a
  tolerance of 1e-14; 216 to 6,912 steps of changing size over all levels that matter, log-SNR from −18 to
  18. This is the order of the method, as the tests hold it;
- **measured**, of a stochastic solver its weak order: error of mean and variance on Gaussian data, where a result
  is linear in every draw, so that both follow exactly from the response to each draw alone; 36 to 1,152
  even steps of log-SNR from −6 to 6;
- **−6 to 6**: as measured, but on those even steps from −6 to 6 and on narrower clusters. Here the prediction
  still moves at both ends, so the first step of a multistep method and a last one of lower order, which the
  published forms of some solvers take, count in full: the order to expect of a run that stops while noise is
  left. End at a high log-SNR (a grid `\"clean\": true` ends without noise) or choose a solver that keeps its order;
- **strong**, the strong order: root mean square distance over 32 Brownian paths on the mixture, against the same
  solver with 8 times the steps. Where a solver draws noise that belongs to no interval of time
  (churn, restart, Langevin steps), there is no such path.

The declared order of `uni_pc` counts its corrector, which adds one. A measured order above the declared one (`lms`)
is no error: linear multistep methods are limited by a first step that is small here. Churn at 36 steps is at its cap,
which slows its first halvings. Langevin steps have a bias that more steps do not lessen: order 0.

These are orders on models that are smooth in the level. A trained network is, if its clock is: [clock.md](clock.md).

| name | declared | measured | −6 to 6 | strong | calls a step | when |
|---|---:|---:|---:|---:|---:|---|";

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

const MATRIX: &str = "
## Few steps

The worst error over all grids (`uniform_time`, `quadratic_time`, `beta`, `uniform_log_snr`, `polyexponential` of
power 2, `karras`, `angle`, `uniform_time` to clean data, and the three spacings of a table's timesteps) and
schedules (log-SNR on a line from 13.3 to −5; the cosine from 10 to −10; DDPM's table; flow matching's line shifted
by a factor of 3, from 12 to −12), in standard deviations of the data, with 5, 10, 20 and 50 steps. Runs start from
the exact distribution of their first level, so the error is the solver's.

- **A Gaussian**, N(0.4, 0.3²): the Wasserstein-2 distance in distribution, exact for our solvers; theirs from 2,048
  draws (a standard error of 0.03) or, for deterministic ones, over 32 quantiles.
- **A mixture** of three clusters of standard deviations 0.1, 0.2 and 0.05 at −0.8, 0.3 and 0.9: for deterministic
  solvers the root mean square distance from where the probability-flow ODE ends, over 32 quantiles; for stochastic
  ones the Wasserstein-1 distance of samples from the data.

*Elsewhere* is what diffusers or k-diffusion calls it, with its defaults, on the very same levels and the same exact
denoiser (`benches/peers/solver_matrix.py`); where they have no step to σ = 0 those grids are left out, and × counts
runs that ended in no number. `vdm solvers NAME` shows the errors of one solver grid by grid, and `vdm sample` warns
of a grid on which the error on the Gaussian is above a quarter of its standard deviation.

Solvers of several steps keep to the order that a step can bear (`final_order`: `bounded`): on none of these grids
is one far worse than the first-order solver (`ddim`, or `ancestral` for stochastic ones). Those that look at the far
end of a step, or into an angle (`heun`, `dpm_2`, `dpm_2_ancestral`, `angular_adams`, and `churn`, `restart` and
`predictor_corrector` around `heun`), need 20 steps where the first of them are long.";

fn main() {
    if std::env::args().nth(1).as_deref() == Some("--problems") {
        println!("{}", matrix_table::problems());
        return;
    }
    println!("{HEAD}");
    for Entry { name, when, solver } in SolverSpec::entries() {
        let properties = Solver::<Vec<f64>>::properties(&solver);
        let (measured, between, path) = if !properties.stochastic {
            (measure::of_the_ode(&solver), Some(measure::of_the_ode_between(&solver)), None)
        } else if draws_outside_of_time(&solver) {
            (measure::weak_order(&solver), None, None)
        } else {
            (measure::weak_order(&solver), None, Some(measure::strong_order(&solver)))
        };
        let kind = if properties.stochastic { " weak" } else { "" };
        let [between, path] =
            [between, path].map(|order| order.map_or_else(String::new, |o| format!("{o:.2}")));
        println!(
            "| `{name}` | {}{kind} | {measured:.2} | {between} | {path} | {} | {when} |",
            properties.order, properties.calls_per_step,
        );
    }
    println!("{MATRIX}");
    matrix_table::print();
    println!("{ADAPTIVE}");
    for Entry { name, when, .. } in AdaptiveSpec::entries() {
        println!("| `{name}` | {when} |");
    }
}
