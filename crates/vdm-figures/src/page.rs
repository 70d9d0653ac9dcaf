//! The page that shows every figure.

use crate::figures::ENTRIES;

const HEAD: &str = "\
# Figures

Written by `cargo xtask figures`, which draws the figures of the monograph from the code itself, with one seed, in a
few minutes: one of them needs a trained network. Sections are those of version 1 (arXiv 2401.06281v1), items
those of the [equation index](equation-index.md). What the text has as tables is in [tables](tables.md).
";

/// `docs/figures.md`.
#[must_use]
pub fn page() -> String {
    let entries = ENTRIES.iter().map(|entry| {
        format!(
            "\n## {}\n\n![{}](images/{})\n\n{}\n\nSection {}. Code: {}.\n",
            entry.heading, entry.heading, entry.file, entry.text, entry.section, entry.code
        )
    });
    HEAD.to_owned() + &entries.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_what_the_command_writes() {
        let found = include_str!("../../../docs/figures.md");
        assert!(page() == found, "docs/figures.md is not up to date: run `cargo xtask figures`");
    }
}
