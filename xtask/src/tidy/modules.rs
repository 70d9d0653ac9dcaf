//! The arrows between the modules of a crate.

use std::collections::{BTreeMap, BTreeSet};

use crate::tidy::tree::{Fault, Tree};

/// Crates whose modules depend on each other one way.
const ONE_WAY: [&str; 1] = ["vdm-torch"];

/// The modules at the top of a crate, each with those it names.
type Graph = BTreeMap<String, BTreeSet<String>>;

pub(crate) fn circles(tree: &Tree) -> Vec<Fault> {
    let of_crate = |name: &&str| {
        let graph = graph(tree, name);
        circle(&graph).map(|path| format!("crates/{name}: {}", path.join(" → ")))
    };
    ONE_WAY.iter().filter_map(of_crate).collect()
}

fn graph(tree: &Tree, name: &str) -> Graph {
    let src = format!("crates/{name}/src/");
    let files: Vec<(String, String)> = tree
        .product_code()
        .filter_map(|(path, code)| Some((module(path.strip_prefix(&src)?)?, code)))
        .collect();
    let modules: BTreeSet<&str> = files.iter().map(|(module, _)| module.as_str()).collect();
    let root = tree.code().find(|(path, _)| *path == format!("{src}lib.rs"));
    let exported = root.map(|(_, code)| exports(&code)).unwrap_or_default();
    let mut graph = Graph::new();
    for (module, code) in &files {
        let named = named_from_root(code).into_iter().filter_map(|name| {
            let home = exported.get(&name).map_or(name.as_str(), String::as_str);
            modules.get(home).map(|home| (*home).to_owned())
        });
        graph.entry(module.clone()).or_default().extend(named.filter(|home| home != module));
    }
    graph
}

/// The module at the top that a file below `src` belongs to; none for the root itself.
fn module(path: &str) -> Option<String> {
    let first = path.split('/').next()?.trim_end_matches(".rs");
    (!["lib", "main"].contains(&first)).then(|| first.to_owned())
}

/// What the root exports from which module.
fn exports(root: &str) -> BTreeMap<String, String> {
    let mut exports = BTreeMap::new();
    for statement in root.split("pub use ").skip(1) {
        let statement = statement.split(';').next().unwrap_or_default();
        if let Some((module, names)) = statement.split_once("::") {
            let named = listed(names).into_iter().map(|name| (name, module.trim().to_owned()));
            exports.extend(named);
        }
    }
    exports
}

/// The first names of all paths that begin at the crate's root.
fn named_from_root(code: &str) -> Vec<String> {
    code.split("crate::").skip(1).flat_map(listed).collect()
}

/// The first name of a path, or of each in a list in braces.
fn listed(path: &str) -> Vec<String> {
    let Some(list) = path.trim_start().strip_prefix('{') else { return vec![first_word(path)] };
    let (mut depth, mut at_start, mut names) = (0_usize, true, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_start = true,
            c if at_start && !c.is_whitespace() => {
                names.push(first_word(&list[at..]));
                at_start = false;
            }
            _ => {}
        }
    }
    names
}

fn first_word(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// A way from a module back to itself, if there is one.
fn circle(graph: &Graph) -> Option<Vec<&str>> {
    fn visit<'a>(
        graph: &'a Graph,
        module: &'a str,
        path: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<&'a str>> {
        if let Some(first) = path.iter().position(|on_path| *on_path == module) {
            return Some([&path[first..], &[module]].concat());
        }
        if done.contains(module) {
            return None;
        }
        path.push(module);
        let below = graph.get(module).into_iter().flatten();
        for next in below {
            if let Some(found) = visit(graph, next, path, done) {
                return Some(found);
            }
        }
        path.pop();
        done.insert(module);
        None
    }
    let mut done = BTreeSet::new();
    graph.keys().find_map(|module| visit(graph, module, &mut Vec::new(), &mut done))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "mod a;\nmod b;\npub mod c;\npub use a::A;\npub use b::{B, other::C};\n";

    fn faults(a: &str, b: &str) -> Vec<Fault> {
        circles(&Tree::from([
            ("crates/vdm-torch/src/lib.rs", ROOT),
            ("crates/vdm-torch/src/a.rs", a),
            ("crates/vdm-torch/src/b/mod.rs", b),
            ("crates/vdm-torch/src/c.rs", "use crate::{A, B};\n"),
        ]))
    }

    #[test]
    fn a_circle_is_shown_also_through_what_the_root_exports() {
        assert!(faults("", "use crate::a::X;\n").is_empty());
        let circle = ["crates/vdm-torch: a → b → a"];
        assert_eq!(faults("use crate::b::Y;\n", "use crate::A;\n"), circle);
        assert_eq!(faults("use crate::{z, b::{self, Y}};\n", "fn f() -> crate::a::X {}\n"), circle);
        let tests = "use crate::A;\n";
        let only_in_tests = "#[cfg(test)]\nmod tests {\n    use crate::B;\n}\n";
        assert!(faults(only_in_tests, tests).is_empty());
    }
}
