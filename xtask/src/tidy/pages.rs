//! Invariants of the documentation.

use crate::tidy::ids;
use crate::tidy::tree::{Fault, LOCAL_CONFIG, Tree};

const ARCHITECTURE: &str = "ARCHITECTURE.md";

/// How a path into the repository begins when a page mentions it.
const OUR_FOLDERS: [&str; 6] = ["crates/", "docs/", "benches/", "xtask/", ".ci/", ".cargo/"];

/// Relative links, and paths in backticks, that lead nowhere.
pub(crate) fn dead_paths(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (page, text) in tree.pages() {
        let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (number, line) in prose(text) {
            let links = link_targets(line).filter_map(|target| resolved(folder, target));
            let paths = repository_paths(line).map(str::to_owned);
            for path in links.chain(paths).filter(|path| !tree.exists(path)) {
                faults.push(format!("{page}:{number}: {path} does not exist"));
            }
        }
    }
    faults
}

/// The numbered lines outside fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        (!fenced).then_some((index + 1, line))
    })
}

/// What stands in `](…)`.
fn link_targets(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("](").filter_map(|(at, _)| line[at + 2..].split([')', ' ']).next())
}

/// A relative link's path from the root; `None` for other sites and for anchors of the same page.
fn resolved(folder: &str, target: &str) -> Option<String> {
    let path = target.split('#').next().filter(|path| !path.is_empty())?;
    if path.contains(':') {
        return None;
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// What stands in backticks and looks like one of our files, without a line number or an anchor.
fn repository_paths(line: &str) -> impl Iterator<Item = &str> {
    line.split('`')
        .skip(1)
        .step_by(2)
        .filter(|quoted| OUR_FOLDERS.iter().any(|folder| quoted.starts_with(folder)))
        .map(|quoted| quoted.split(['#', ':']).next().unwrap_or(quoted))
        .filter(|path| !path.contains(|c: char| c.is_whitespace() || "*{}<>…$".contains(c)))
        .filter(|path| *path != LOCAL_CONFIG)
}

/// Each invariant of the page names its check, and each check is an invariant of the page.
pub(crate) fn unlisted_invariants(tree: &Tree) -> Vec<Fault> {
    let Some(text) = tree.text(ARCHITECTURE) else {
        return vec![format!("{ARCHITECTURE} does not exist")];
    };
    let entries = invariants(text);
    let mut faults = Vec::new();
    for (id, entry) in &entries {
        if !entry.contains('`') {
            faults.push(format!("{ARCHITECTURE}: {id} names no check (in backticks)"));
        }
        if entry.contains("tidy") && !ids().any(|ours| ours == id) {
            faults.push(format!("{ARCHITECTURE}: {id} names tidy, which has no such check"));
        }
    }
    for id in ids() {
        let listed = entries.iter().any(|(name, entry)| name == id && entry.contains("tidy"));
        if !listed {
            faults.push(format!("{ARCHITECTURE}: no entry {id} that names `tidy` as its check"));
        }
    }
    faults
}

/// Entries that begin with a number like I3, as list items, table rows or headings; an entry ends
/// where the next begins or at an empty line.
fn invariants(text: &str) -> Vec<(String, String)> {
    let mut entries: Vec<(String, String)> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        if let Some(id) = invariant_id(line) {
            entries.push((id.to_owned(), line.to_owned()));
            open = true;
        } else if line.trim().is_empty() {
            open = false;
        } else if let Some((_, entry)) = entries.last_mut().filter(|_| open) {
            *entry += line;
        }
    }
    entries
}

fn invariant_id(line: &str) -> Option<&str> {
    let start = line.trim_start_matches(|c: char| c.is_whitespace() || "-*#|".contains(c));
    let digits = start.strip_prefix('I')?.chars().take_while(char::is_ascii_digit).count();
    let id = &start[..=digits];
    let ends = !start[id.len()..].starts_with(|c: char| c.is_alphanumeric());
    (digits > 0 && ends).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i5_finds_dead_links_and_paths() {
        let page = "[a](b.md#x) [c](../README.md) [d](https://e.f/g) [h](#i)\n\
            `crates/k/src/l.rs` and `crates/*/src` and `docs/m.md:3`\n\
            ```\n[n](o.md)\n```\n[p](q.md)\n";
        let tree = Tree::from([("docs/a.md", page), ("docs/b.md", ""), ("README.md", "")]);
        assert_eq!(
            dead_paths(&tree),
            [
                "docs/a.md:2: crates/k/src/l.rs does not exist",
                "docs/a.md:2: docs/m.md does not exist",
                "docs/a.md:6: docs/q.md does not exist",
            ]
        );
    }

    #[test]
    fn i7_accepts_a_complete_page() {
        let mut page: String = ids().map(|id| format!("| **{id}** | words | `tidy` |\n")).collect();
        page += "| I99 | words | `crates/vdm-core/tests/laws.rs` |\n";
        let tree = Tree::from([(ARCHITECTURE, page.as_str())]);
        assert_eq!(unlisted_invariants(&tree), [""; 0]);
    }

    #[test]
    fn i7_finds_missing_unchecked_and_unknown_invariants() {
        let page: String = ids().skip(1).map(|id| format!("- {id}: words, `tidy`\n")).collect();
        let page = page + "- I50: no check\n- I51: `cargo xtask tidy`\nIt is no entry\n";
        let faults = unlisted_invariants(&Tree::from([(ARCHITECTURE, page.as_str())]));
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(faults[0].contains("I50 names no check"));
        assert!(faults[1].contains("I51 names tidy"));
        assert!(faults[2].contains("no entry I1 "));
    }

    #[test]
    fn an_entry_may_go_on_over_lines() {
        let entries = invariants("I1: first\n  second\n\nother\n### I2\nIf\n");
        assert_eq!(entries[0].1, "I1: first  second");
        assert_eq!(entries[1], ("I2".to_owned(), "### I2If".to_owned()));
        assert_eq!(entries.len(), 2);
    }
}
