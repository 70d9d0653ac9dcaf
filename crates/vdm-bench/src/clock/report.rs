//! The page.

use std::fmt::Write;

use super::{Row, SOLVERS, STARTS, STEPS, TOLERANCES};

/// `docs/clock.md`, of runs of the digits preset under several band limits.
#[must_use]
pub fn markdown(rows: &[Row]) -> String {
    let steps = rows.first().map_or(0, |row| row.steps);
    format!(
        "\
# A network's clock

Written by `cargo run --release -p vdm-bench --bin clock -- RUN…`, of runs of

```sh
cargo xtask train --preset digits --steps {steps} --seed SEED --set network.band_limit=LIMIT --threads 1
```

A network is told the noise level as sines and cosines of its time, which runs from 0 at the data end of
the levels to 1 at the noise end. Their frequencies fall geometrically from `network.band_limit` to 0.1
radians. The published embedding (DDPM, VDM) begins at 1000, for a thousand timesteps: a wave of period
1/159. What a network says then ripples with that period, a sampler of 20 to 160 steps aliases the ripples, and
no solver has its order; an adaptive one takes aliased differences for its error. Nothing that a
denoiser has to know changes that fast, so the presets end the band at 100 (`cifar10-paper`, which is
the paper's, and imported networks keep theirs).

## Likelihood at equal training

Test bits/dim (continuous-time bound, the standard error over items is the same for all: {error:.3}); *frozen* is
the same network with its waves above 100 held still after training.

{likelihoods}
## Error of samples

Root mean square distance of a component from the solution of the probability-flow ODE, {STARTS} starts
from noise, network and latents in f64, steps even in log-SNR; mean over the seeds. *Order* is that between the last two
columns. On another processor training rounds otherwise, so that ripples are others: rows of networks that have them, frozen or
not, differ there by factors, those of a band that ends at 100 hardly.

{errors}
## Agreement of adaptive solvers

The largest distance of a component between the end points that `adaptive_ode` reaches at tolerances of {loose:e}
and of {tight:e}, the largest of all seeds:

{agreement}",
        error = rows.first().map_or(0.0, |row| row.test.standard_error),
        likelihoods = likelihoods(rows),
        errors = errors(rows),
        loose = TOLERANCES[0],
        tight = TOLERANCES[1],
        agreement = agreement(rows),
    )
}

/// Rows of one limit, together.
fn groups(rows: &[Row]) -> Vec<(String, Vec<&Row>)> {
    let mut groups: Vec<(String, Vec<&Row>)> = Vec::new();
    for row in rows {
        let name = format!("{}{}", row.band_limit, if row.frozen { ", frozen" } else { "" });
        match groups.iter_mut().find(|(found, _)| *found == name) {
            Some((_, group)) => group.push(row),
            None => groups.push((name, vec![row])),
        }
    }
    groups
}

fn mean(numbers: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = numbers.len() as f64;
    numbers.sum::<f64>() / count
}

fn likelihoods(rows: &[Row]) -> String {
    let mut text = String::from("| band limit | bits/dim by seed | mean |\n|---|---|---:|\n");
    for (name, group) in groups(rows) {
        let seeds: Vec<String> =
            group.iter().map(|r| format!("{}: {:.4}", r.seed, r.test.bits_per_dim)).collect();
        let mean = mean(group.iter().map(|row| row.test.bits_per_dim));
        let _ = writeln!(text, "| {name} | {} | {mean:.4} |", seeds.join(", "));
    }
    text
}

fn errors(rows: &[Row]) -> String {
    let steps: Vec<String> = STEPS.iter().map(|n| format!("{n} steps")).collect();
    let mut text = format!(
        "| solver | band limit | {} | order |\n|---|---|{}\n",
        steps.join(" | "),
        "---:|".repeat(STEPS.len() + 1)
    );
    for (s, solver) in SOLVERS.iter().enumerate() {
        for (name, group) in groups(rows) {
            let of = |n: usize| mean(group.iter().map(|row| row.errors[s][n]));
            let errors: Vec<String> = (0..STEPS.len()).map(|n| format!("{:.1e}", of(n))).collect();
            // No −0.0 where there is no order.
            let order =
                (10.0 * (of(STEPS.len() - 2) / of(STEPS.len() - 1)).log2()).round() / 10.0 + 0.0;
            let _ = writeln!(text, "| `{solver}` | {name} | {} | {order:.1} |", errors.join(" | "));
        }
    }
    text
}

fn agreement(rows: &[Row]) -> String {
    let mut text = String::from("| band limit | distance |\n|---|---:|\n");
    for (name, group) in groups(rows) {
        let most = group.iter().map(|row| row.disagreement).fold(0.0, f64::max);
        let _ = writeln!(text, "| {name} | {most:.1e} |");
    }
    text
}
