//! What every objective reaches in equal time: `docs/objectives.md`.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use vdm_bench::objectives::{compare, heads, markdown, schedules};

fn main() -> Result<()> {
    let usage = || anyhow!("usage: objectives [SECONDS PER TRAINING, 60 unless given]");
    let seconds = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => 60.0,
        [seconds] => seconds.parse().ok().filter(|s| *s > 0.0).ok_or_else(usage)?,
        _ => return Err(usage()),
    };
    let of_heads = compare(&heads(), seconds)?;
    let of_schedules = compare(&schedules()?, seconds)?;
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/objectives.md");
    std::fs::write(&document, markdown(&of_heads, &of_schedules, seconds))
        .with_context(|| format!("cannot write {}", document.display()))?;
    println!("{}", document.display());
    Ok(())
}
