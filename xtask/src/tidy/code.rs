//! Invariants of the Rust sources.

use crate::libtorch;
use crate::rust_text::lines_with;
use crate::tidy::tree::{Fault, Tree};

const SHIM: &str = "crates/vdm-torch-sys/";

const LIBRARIES: [&str; 8] = [
    "vdm-core",
    "vdm-files",
    "vdm-random",
    "vdm-sample",
    "vdm-data",
    "vdm-report",
    "vdm-torch",
    "vdm-torch-sys",
];

const TENSOR_ENGINES: [&str; 6] =
    ["tch", "torch-sys", "candle-core", "burn", "ort", "vdm-torch-sys"];

/// libtorch's dropout draws from its global generator alone, which is seeded here for each step.
const SEEDS_LIBTORCH: &str = "crates/vdm-torch/src/train/trainer.rs";

const MOST_LINES: usize = 500;

/// Lines of `cargo tree --prefix none` that name a tensor engine.
pub(crate) fn engines(package: &str, cargo_tree: &str) -> Vec<Fault> {
    cargo_tree
        .lines()
        .filter(|line| line.split(' ').next().is_some_and(|name| TENSOR_ENGINES.contains(&name)))
        .map(|line| format!("{package} depends on {line}"))
        .collect()
}

pub(crate) fn unsafe_outside_shim(tree: &Tree) -> Vec<Fault> {
    tree.code()
        .filter(|(path, _)| !path.starts_with(SHIM))
        .flat_map(|(path, code)| words(path, &code, &["unsafe"]))
        .collect()
}

/// The program has one function for each of its outputs, which none of these words are in.
pub(crate) fn printing(tree: &Tree) -> Vec<Fault> {
    let words = ["println!", "eprintln!", "print!", "eprint!", "dbg!"];
    [in_libraries(tree, &words), in_crates(tree, &["vdm-cli"], &words)].concat()
}

pub(crate) fn global_randomness(tree: &Tree) -> Vec<Fault> {
    let mut faults = in_libraries(tree, &["rand::rng(", "thread_rng", "rand::random"]);
    let seeds = in_libraries(tree, &["manual_seed("]);
    let (allowed, others): (Vec<_>, Vec<_>) =
        seeds.into_iter().partition(|fault| fault.starts_with(SEEDS_LIBTORCH));
    faults.extend(others);
    faults.extend(allowed.into_iter().skip(1));
    faults
}

pub(crate) fn long_files(tree: &Tree) -> Vec<Fault> {
    tree.product_code()
        .map(|(path, code)| (path, code.lines().filter(|line| !line.trim().is_empty()).count()))
        .filter(|(_, lines)| *lines > MOST_LINES)
        .map(|(path, lines)| format!("{path}: {lines} lines of code, at most {MOST_LINES}"))
        .collect()
}

pub(crate) fn unfinished_or_local(tree: &Tree) -> Vec<Fault> {
    let unfinished =
        tree.code().flat_map(|(path, code)| words(path, &code, &["todo!", "unimplemented!"]));
    let local = tree.texts().flat_map(|(path, text)| machine_paths(path, text));
    let merges = tree.texts().flat_map(|(path, text)| open_merges(path, text));
    unfinished.chain(local).chain(merges).collect()
}

/// What a merge leaves where two versions of a line are still to be made one.
fn open_merges(path: &str, text: &str) -> Vec<Fault> {
    numbered(text)
        .filter(|(_, line)| ["<<<<<<< ", ">>>>>>> "].iter().any(|mark| line.starts_with(mark)))
        .map(|(number, line)| format!("{path}:{number}: two versions are not one yet: {line}"))
        .collect()
}

fn machine_paths(path: &str, text: &str) -> Vec<Fault> {
    // Put together here so that this very file does not hold them.
    let roots = ["home", "tmp", "root", "Users", "work"].map(|name| format!("/{name}/"));
    let local = |line: &str| {
        roots.iter().any(|root| {
            line.match_indices(root.as_str()).any(|(at, _)| {
                // Neither a relative path nor a site's address goes on here.
                let before = line[..at].chars().next_back();
                before.is_none_or(|c| !c.is_alphanumeric() && !"./-_~}*".contains(c))
            })
        })
    };
    numbered(text)
        .filter(|(_, line)| local(line))
        .map(|(number, line)| format!("{path}:{number}: path of one machine: {}", line.trim()))
        .collect()
}

/// Every constant `LIBTORCH_VERSION` equals what the set-up installs, and `Cargo.toml` says beside
/// the pinned tch that it binds the same.
pub(crate) fn libtorch_version(tree: &Tree) -> Vec<Fault> {
    let literal = format!("\"{}\"", libtorch::VERSION);
    let mut faults: Vec<Fault> = tree
        .rust()
        .filter(|(path, _)| path.starts_with("crates/"))
        .flat_map(|(path, text)| numbered(text).map(move |(number, line)| (path, number, line)))
        .filter(|(_, _, line)| line.contains("const LIBTORCH_VERSION") && !line.contains(&literal))
        .map(|(path, number, _)| format!("{path}:{number}: the set-up installs {literal}"))
        .collect();
    let manifest = tree.text("Cargo.toml").unwrap_or_default();
    let Some(tch) = pinned_tch(manifest) else {
        faults.push("Cargo.toml: no line `tch = { version = \"=X.Y.Z\", … }`".to_owned());
        return faults;
    };
    let table = format!("tch {tch} is the binding of libtorch {}", libtorch::VERSION);
    if !manifest.contains(&table) {
        faults.push(format!("Cargo.toml: no comment `{table}`: do the two versions fit?"));
    }
    faults
}

fn pinned_tch(manifest: &str) -> Option<&str> {
    let line = manifest.lines().find(|line| line.trim_start().starts_with("tch = "))?;
    let (_, version) = line.split_once("\"=")?;
    version.split('"').next()
}

fn in_libraries(tree: &Tree, forbidden: &[&str]) -> Vec<Fault> {
    in_crates(tree, &LIBRARIES, forbidden)
}

fn in_crates(tree: &Tree, names: &[&str], forbidden: &[&str]) -> Vec<Fault> {
    let is_one =
        |path: &str| names.iter().any(|name| path.starts_with(&format!("crates/{name}/src/")));
    tree.product_code()
        .filter(|(path, _)| is_one(path))
        .flat_map(|(path, code)| words(path, &code, forbidden))
        .collect()
}

fn words(path: &str, code: &str, forbidden: &[&str]) -> Vec<Fault> {
    forbidden
        .iter()
        .flat_map(|word| lines_with(code, word).map(move |line| format!("{path}:{line}: `{word}`")))
        .collect()
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i1_finds_an_engine_by_its_whole_name() {
        let text = "vdm-core v0.1.0 (path)\nserde v1.0.2\ntch v0.24.0\nmatch-torch v1.0.0\n";
        assert_eq!(engines("vdm-core", text), ["vdm-core depends on tch v0.24.0"]);
    }

    #[test]
    fn i2_finds_code_but_neither_comments_nor_the_shim() {
        let tree = Tree::from([
            ("crates/vdm-core/src/a.rs", "// unsafe\n#![forbid(unsafe_code)]\nunsafe {}\n"),
            ("crates/vdm-torch-sys/src/lib.rs", "unsafe {}"),
        ]);
        assert_eq!(unsafe_outside_shim(&tree), ["crates/vdm-core/src/a.rs:3: `unsafe`"]);
    }

    #[test]
    fn i3_finds_printing_outside_tests() {
        let tree = Tree::from([
            ("crates/vdm-core/src/a.rs", "fn a() {\nprintln!(\"x\");\n}\n"),
            ("crates/vdm-core/src/b.rs", "#[cfg(test)]\nmod tests { fn b() { println!() } }"),
            ("crates/vdm-cli/src/main.rs", "eprintln!()"),
            ("crates/vdm-bench/src/main.rs", "println!()"),
        ]);
        let found =
            ["crates/vdm-core/src/a.rs:2: `println!`", "crates/vdm-cli/src/main.rs:1: `eprintln!`"];
        assert_eq!(printing(&tree), found);
    }

    #[test]
    fn i4_finds_global_randomness() {
        let tree = Tree::from([("crates/vdm-torch/src/a.rs", "let x = rand::random::<f32>();")]);
        assert_eq!(global_randomness(&tree), ["crates/vdm-torch/src/a.rs:1: `rand::random`"]);
        let seeded = "tch::manual_seed(1);\ntch::manual_seed(2);\n";
        let tree = Tree::from([(SEEDS_LIBTORCH, seeded), ("crates/vdm-torch/src/a.rs", seeded)]);
        let faults = global_randomness(&tree);
        assert_eq!(faults.len(), 3, "one is allowed, in one place: {faults:?}");
    }

    #[test]
    fn i6_counts_code_without_comments_and_tests() {
        let long = "let x = 1;\n".repeat(MOST_LINES + 1);
        let fine = format!("{}#[cfg(test)]\nmod t {{\n{long}}}\n", "// c\n".repeat(MOST_LINES + 1));
        let tree =
            Tree::from([("crates/a/src/long.rs", long.as_str()), ("xtask/src/fine.rs", &fine)]);
        assert_eq!(long_files(&tree), ["crates/a/src/long.rs: 501 lines of code, at most 500"]);
    }

    #[test]
    fn i8_finds_what_is_unfinished_and_paths_of_one_machine() {
        let local = format!("see /{}/me/x and https://a.b/home/c\n", "home");
        let merge = "<<<<<<< HEAD\none\n=======\nother\n>>>>>>> 0123456 (a change)\n";
        let texts = [("docs/a.md", local.as_str()), ("docs/b.md", merge)];
        let code = ("crates/a/src/b.rs", "todo!()");
        let faults = unfinished_or_local(&Tree::from([texts[0], texts[1], code]));
        assert_eq!(faults.len(), 4, "{faults:?}");
        let tree = Tree::from([("docs/a.md", "https://a.b/home/c docs/work/x ~/tmp/y")]);
        assert_eq!(unfinished_or_local(&tree), [""; 0]);
    }

    #[test]
    fn i9_wants_equal_constants_and_a_fitting_comment() {
        let version = libtorch::VERSION;
        let constant = |libtorch: &str| format!("const LIBTORCH_VERSION: &str = \"{libtorch}\";");
        let manifest = |libtorch: &str| {
            let pin = "tch = { version = \"=9.9.9\" }";
            format!("# tch 9.9.9 is the binding of libtorch {libtorch}\n{pin}\n")
        };
        let faults = |constant: &str, manifest: &str| {
            libtorch_version(&Tree::from([("crates/a.rs", constant), ("Cargo.toml", manifest)]))
        };
        assert_eq!(faults(&constant(version), &manifest(version)), [""; 0]);
        let found = faults(&constant("1.0.0"), &manifest("1.0.0"));
        assert!(found[0].starts_with("crates/a.rs:1: the set-up installs"), "{found:?}");
        assert!(found[1].contains("do the two versions fit"), "{found:?}");
        assert!(faults("", "")[0].contains("no line `tch"));
    }
}
