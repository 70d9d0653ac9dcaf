//! The comparison as a table.

use std::fmt::Write as _;

use super::{CALLS, Peers, Row};

/// The row of the smallest error among those that `of` takes.
fn best(rows: &[Row], of: impl Fn(&Row) -> bool) -> Option<&Row> {
    rows.iter()
        .filter(|row| row.error.is_some() && of(row))
        .min_by(|a, b| a.error.unwrap_or(f64::NAN).total_cmp(&b.error.unwrap_or(f64::NAN)))
}

/// Ranges and mixtures in the order of their first rows.
pub(super) fn problems(rows: &[Row]) -> Vec<(&str, &str)> {
    let mut problems = Vec::new();
    for row in rows {
        let problem = (row.range.as_str(), row.mixture.as_str());
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    problems
}

fn number(row: Option<&Row>) -> String {
    row.and_then(|row| row.error).map_or_else(|| "–".into(), |error| format!("{error:.1e}"))
}

/// What the document opens with.
fn head(peers: &Peers) -> String {
    let versions: Vec<String> =
        peers.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    format!(
        "# Error for a number of model calls\n\n\
         Written by `cargo xtask bench --peers`. The deterministic samplers of {} (but for those \
         that benches/peers/README.md leaves out) and ours start at the same 64 points and ask the same exact denoiser of a mixture of Gaussians, in f64; the \
         error is the root mean square distance, over points and components, from the solution of \
         the probability-flow ODE at σ = 0. Each sampler gets every one of its grids and as many \
         steps as the calls allow; the tables show the best. Two ranges of noise: `edm`, σ from 80 \
         to 0.002, and `ddpm`, the linear β of 1,000 steps (σ from 157 to 0.01). The settings of \
         the angle grid (0.9 and 1.15) were chosen by hand on the two `edm` problems, hence on both \
         mixtures, which flatters ours.\n\n\
         ![Smallest error by model calls](images/work-precision.svg)\n",
        versions.join(", ")
    )
}

/// The winners of each column and their ratio, then every sampler of ours and of the others on its
/// best grid.
#[must_use]
pub fn markdown(ours: &[Row], peers: &Peers) -> String {
    let mut text = head(peers);
    for (range, mixture) in problems(ours) {
        let here = |row: &Row| row.range == range && row.mixture == mixture;
        let _ = write!(text, "\n## {mixture}, range {range}\n\n");
        text.push_str("| calls | ours | sampler | grid | best of the others | sampler | grid | theirs / ours |\n");
        text.push_str("|---:|---:|---|---|---:|---|---|---:|\n");
        for calls in CALLS {
            let us = best(ours, |row| here(row) && row.calls == calls);
            let them = best(&peers.ode, |row| here(row) && row.calls == calls);
            let (Some(us), Some(them)) = (us, them) else { continue };
            let ratio = them.error.unwrap_or(f64::NAN) / us.error.unwrap_or(f64::NAN);
            let _ = writeln!(
                text,
                "| {calls} | {} | `{}` | `{}` | {} | {} `{}` | {} | {ratio:.2} |",
                number(Some(us)),
                us.sampler,
                us.grid,
                number(Some(them)),
                them.library,
                them.sampler,
                them.grid,
            );
        }
        for (title, rows) in [("Ours", ours), ("The others", peers.ode.as_slice())] {
            let _ = write!(text, "\n{title}, each on its best grid:\n\n| sampler |");
            CALLS.iter().for_each(|calls| {
                let _ = write!(text, " {calls} |");
            });
            text.push_str("\n|---|");
            text.push_str(&"---:|".repeat(CALLS.len()));
            text.push('\n');
            for (library, sampler) in samplers(rows) {
                let _ = write!(text, "| {library} `{sampler}` |");
                for calls in CALLS {
                    let row = best(rows, |row| {
                        here(row)
                            && row.calls == calls
                            && (row.library.as_str(), row.sampler.as_str()) == (library, sampler)
                    });
                    let _ = write!(text, " {} |", number(row));
                }
                text.push('\n');
            }
        }
    }
    text
}

fn samplers(rows: &[Row]) -> Vec<(&str, &str)> {
    let mut samplers = Vec::new();
    for row in rows {
        let sampler = (row.library.as_str(), row.sampler.as_str());
        if !samplers.contains(&sampler) {
            samplers.push(sampler);
        }
    }
    samplers
}
