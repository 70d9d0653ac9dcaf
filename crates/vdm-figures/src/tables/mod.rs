//! The tables of the text, printed by the code that computes what is in them.
//!
//! Formulas of vdm-core are generic over [`Real`](vdm_core::Real). Here they run on symbols, and what comes out
//! is the formula itself: nothing in these tables is typed a second time.

mod distributions;
mod predictions;
mod show;
mod symbol;

use anyhow::Result;
use vdm_core::NoiseLevel;

use symbol::Formula;

const HEAD: &str = "\
# Tables

Written by `cargo xtask figures`: vdm-core's own formulas, run on symbols instead of numbers, and what came out. λ is
the log-SNR ln(α²/σ²), expm1(x) is eˣ − 1, and nothing is assumed of α and σ. Sections are those of version 1
(arXiv 2401.06281v1), \"v2\" marks what the 2025 book adds.
";

/// `docs/tables.md`.
///
/// # Errors
/// If vdm-core refuses the chain of latents that the first table is made of.
pub fn page() -> Result<String> {
    Ok([HEAD, &distributions::section()?, &predictions::section()].concat())
}

/// A noise level of three symbols; letters of a lower rank come first in a product.
fn level(rank: u8, [log_snr, alpha, sigma]: [&'static str; 3]) -> NoiseLevel<Formula> {
    NoiseLevel {
        log_snr: Formula::symbol(rank + 2, log_snr),
        alpha: Formula::symbol(rank, alpha),
        sigma: Formula::symbol(rank + 1, sigma),
    }
}

/// Cells of a row of Markdown.
fn row(cells: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let cells = cells.into_iter().map(|cell| format!(" {} |", cell.as_ref().replace('|', "\\|")));
    format!("|{}\n", cells.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_what_the_command_writes() {
        let found = include_str!("../../../../docs/tables.md");
        assert!(
            page().unwrap() == found,
            "docs/tables.md is not up to date: run `cargo xtask figures`"
        );
    }
}
