//! The equation index: from an item of the monograph to the code and the test that hold it.

use std::collections::BTreeSet;

use crate::tidy::tree::{Fault, Tree};

const PAGES: [&str; 2] = ["docs/equation-index.md", "docs/errata.md"];

/// What opens a definition that a page may name.
const KEYWORDS: [&str; 7] = ["fn", "struct", "enum", "trait", "mod", "const", "type"];

/// Items and tests that the pages name but the sources lack, tests of items that no page names, and items that
/// have two rows.
pub(crate) fn broken_index(tree: &Tree) -> Vec<Fault> {
    let code: Vec<String> =
        tree.code().filter(|(path, _)| path.starts_with("crates/")).map(|(_, code)| code).collect();
    let defined: BTreeSet<&str> = code.iter().flat_map(|code| definitions(code)).collect();
    let mut faults = Vec::new();
    let mut named = BTreeSet::new();
    for page in PAGES {
        let Some(text) = tree.text(page) else {
            faults.push(format!("{page} does not exist"));
            continue;
        };
        faults.extend(second_rows(page, text));
        for (number, name) in names(text) {
            if !defined.contains(name) {
                faults.push(format!("{page}:{number}: nothing is called {name}"));
            }
            named.insert(name);
        }
    }
    let tests = defined.iter().filter(|name| is_of_an_item(name) && !named.contains(**name));
    faults.extend(tests.map(|test| format!("{}: test {test} is not listed", PAGES[0])));
    faults
}

/// Rows of items, `M40` or `E3`, that had one already.
fn second_rows(page: &str, text: &str) -> Vec<Fault> {
    let mut seen = BTreeSet::new();
    let cells = text
        .lines()
        .enumerate()
        .filter_map(|(index, line)| Some((index, line.strip_prefix("| ")?.split(" |").next()?)));
    cells
        .flat_map(|(index, cell)| cell.split(", ").map(move |item| (index, item)))
        .filter(|(_, item)| is_of_an_item(&format!("{}_", item.to_lowercase())))
        .filter(|(_, item)| !seen.insert(*item))
        .map(|(index, item)| format!("{page}:{}: {item} has a row already", index + 1))
        .collect()
}

/// What stands in backticks in the rows of tables, less the path before it and what follows it.
fn names(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let rows = text.lines().enumerate().filter(|(_, line)| line.starts_with('|'));
    rows.flat_map(|(index, line)| {
        let quoted = line.split('`').skip(1).step_by(2);
        quoted.filter_map(move |path| {
            let name = path.rsplit("::").next()?;
            let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
            is_name.then_some((index + 1, name))
        })
    })
}

/// Every name that the code defines: items by their keyword, variants by their place in a line.
fn definitions(code: &str) -> impl Iterator<Item = &str> {
    code.lines().flat_map(|line| {
        let words: Vec<&str> = line
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .filter(|w| !w.is_empty())
            .collect();
        let item = words.windows(2).find(|pair| KEYWORDS.contains(&pair[0])).map(|pair| pair[1]);
        let start = line.trim();
        let variant = words.first().copied().filter(|name| {
            let rest = &start[name.len().min(start.len())..];
            start.starts_with(*name)
                && name.starts_with(|c: char| c.is_ascii_uppercase())
                && (rest.is_empty() || rest.starts_with([',', '(']) || rest.starts_with(" {"))
        });
        item.into_iter().chain(variant)
    })
}

/// Whether a function is named after an item, like `m18_…` or `e7_…`.
fn is_of_an_item(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(['m', 'e']) else { return false };
    let digits = rest.chars().take_while(char::is_ascii_digit).count();
    digits > 0 && rest[digits..].starts_with('_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(index: &str, code: &str) -> Tree {
        Tree::from([(PAGES[0], index), (PAGES[1], ""), ("crates/a/src/lib.rs", code)])
    }

    #[test]
    fn i10_accepts_what_is_there() {
        let index = "| M1 | `a::Model::fit`, `Kind::Linear` | `m1_a_test` |\nprose `of_no_row`\n";
        let code =
            "pub struct Model;\nenum Kind {\n    Linear,\n}\nfn fit() {}\nfn m1_a_test() {}\n";
        assert_eq!(broken_index(&tree(index, code)), [""; 0]);
    }

    #[test]
    fn i10_finds_what_is_gone_and_what_is_not_listed() {
        let faults =
            broken_index(&tree("| M1 | `gone` | `m1_gone` |\n", "fn m2_new() {}\n// fn gone()\n"));
        let wanted =
            ["nothing is called gone", "nothing is called m1_gone", "m2_new is not listed"];
        assert_eq!(faults.len(), 3, "{faults:?}");
        for (fault, wanted) in faults.iter().zip(wanted) {
            assert!(fault.contains(wanted), "{fault}");
        }
        let twice = tree("| M1 | a |\n| M2, M1 | b |\nM1\n| Max | c |\n| Max | d |\n", "");
        assert_eq!(broken_index(&twice), ["docs/equation-index.md:2: M1 has a row already"]);
        let missing = broken_index(&Tree::from([("crates/a/src/lib.rs", "")]));
        assert_eq!(missing.len(), 2, "{missing:?}");
    }
}
