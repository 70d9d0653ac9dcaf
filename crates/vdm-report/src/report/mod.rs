//! `report.html`: a run on one page, for people.
//!
//! The page is a single file without scripts or links: style sheet, plots (SVG) and previews are
//! inside it, so it can be mailed, archived, or opened years later. It is made from whatever the run
//! folder holds; a part that is missing or damaged is replaced by a sentence that says so.
//!
//! Inside, `run` gathers the parts, `curves` turns records into plots ([`figure`](crate::figure)), and
//! `page` sets the text around.

mod curves;
mod format;
mod page;
mod run;

use std::path::PathBuf;

use crate::{Error, RunDir, files};

/// Writes `report.html` into the run folder from what lies there, atomically; returns its path.
///
/// # Errors
/// [`Error::Io`] when the folder is missing or the page cannot be written. Parts that are missing or
/// damaged are no error: the page says what is wrong with them.
pub fn write(run: &RunDir) -> Result<PathBuf, Error> {
    let path = run.report();
    std::fs::read_dir(run.root()).map_err(Error::io("open the run folder", run.root()))?;
    let page = page::render(&run::Run::load(run));
    files::write_atomic(&path, page.into_string().as_bytes())?;
    Ok(path)
}
