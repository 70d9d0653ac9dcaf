//! Writes the figures and tables into `docs`: `cargo xtask figures`.

use std::path::Path;

use anyhow::{Context, Result};
use vdm_figures::{figures, page, tables};
use vdm_report::files;

fn main() -> Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    for entry in figures::ENTRIES {
        let path = docs.join("images").join(entry.file);
        let drawn = (entry.draw)().and_then(|picture| picture.save(&path));
        drawn.with_context(|| format!("cannot make the figure {}", entry.file))?;
        println!("docs/images/{}", entry.file);
    }
    for (name, text) in [("figures.md", page()), ("tables.md", tables::page()?)] {
        files::write_atomic(&docs.join(name), text.as_bytes())?;
        println!("docs/{name}");
    }
    Ok(())
}
