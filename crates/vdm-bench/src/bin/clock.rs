//! What the band limit of a network's clock does: `docs/clock.md`.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use vdm_bench::clock::{markdown, rows};

fn main() -> Result<()> {
    let runs: Vec<_> = std::env::args_os().skip(1).collect();
    ensure!(!runs.is_empty(), "usage: clock RUN… (folders of finished runs of the digits preset)");
    tch::set_num_threads(1);
    let mut found = Vec::new();
    for run in &runs {
        let run = Path::new(run);
        let rows = rows(run).with_context(|| format!("run {}", run.display()))?;
        for row in &rows {
            let (bits, apart) = (row.test.bits_per_dim, row.disagreement);
            eprintln!(
                "{}: {bits:.5} bits/dim, {:.1e}, {apart:.1e}",
                run.display(),
                row.errors[0][4]
            );
        }
        found.extend(rows);
    }
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/clock.md");
    std::fs::write(&document, markdown(&found))
        .with_context(|| format!("cannot write {}", document.display()))?;
    println!("{}", document.display());
    Ok(())
}
