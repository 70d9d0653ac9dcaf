//! The sources of a checkout in memory, so that each check is a function of text.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::rust_text::{code_only, without_tests};

/// Not ours, or not source.
const SKIPPED: [&str; 5] = [".git", "target", "third_party", "runs", "shared"];
const TEXT: [&str; 6] = ["rs", "md", "toml", "cpp", "py", "sh"];
/// Written by the set-up, not part of the repository.
pub(crate) const LOCAL_CONFIG: &str = ".cargo/local.toml";

/// Path relative to the root, with `/`, to content; empty for what is no text.
#[derive(Debug, Default)]
pub(crate) struct Tree(BTreeMap<String, String>);

/// Something wrong at a place, for a line `PATH:LINE: what`.
pub(crate) type Fault = String;

impl Tree {
    /// Reads a checkout.
    ///
    /// # Errors
    ///
    /// If a folder or a source cannot be read.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        tree.read_below(root, "")?;
        Ok(tree)
    }

    fn read_below(&mut self, dir: &Path, prefix: &str) -> Result<()> {
        for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            if kind.is_dir() {
                if !SKIPPED.contains(&name.as_str()) {
                    self.read_below(&entry.path(), &format!("{path}/"))?;
                }
            } else if is_text(&name) && kind.is_file() && path != LOCAL_CONFIG {
                let text = fs::read_to_string(entry.path())
                    .with_context(|| format!("cannot read {}", entry.path().display()))?;
                self.0.insert(path, text);
            } else {
                self.0.insert(path, String::new());
            }
        }
        Ok(())
    }

    /// The text of one file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    /// Whether a file or folder is there.
    pub(crate) fn exists(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        self.0.contains_key(path) || {
            let folder = format!("{path}/");
            self.0.range(folder.clone()..).next().is_some_and(|(name, _)| name.starts_with(&folder))
        }
    }

    /// All texts.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Rust files without comments and literals.
    pub(crate) fn code(&self) -> impl Iterator<Item = (&str, String)> {
        self.rust().map(|(path, text)| (path, code_only(text)))
    }

    /// Rust files as they are.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.with_ending(".rs")
    }

    /// What the crates and this program consist of: Rust files below a `src`, without their tests.
    pub(crate) fn product_code(&self) -> impl Iterator<Item = (&str, String)> {
        self.code()
            .filter(|(path, _)| path.contains("/src/"))
            .map(|(path, code)| (path, without_tests(&code)))
    }

    /// The pages of the book and the root's.
    pub(crate) fn pages(&self) -> impl Iterator<Item = (&str, &str)> {
        self.with_ending(".md")
    }

    fn with_ending(&self, ending: &'static str) -> impl Iterator<Item = (&str, &str)> {
        self.texts().filter(move |(path, _)| path.ends_with(ending))
    }
}

fn is_text(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, extension)| TEXT.contains(&extension))
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Tree {
    fn from(files: [(&str, &str); N]) -> Self {
        Self(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkout_is_read_without_what_is_not_source() {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in
            [("crates/a/src/lib.rs", "fn a() {}"), ("target/x.rs", "no"), ("image.png", "binary")]
        {
            let file = dir.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let tree = Tree::read(dir.path()).unwrap();
        assert_eq!(tree.text("crates/a/src/lib.rs"), Some("fn a() {}"));
        assert!(tree.exists("image.png") && tree.text("image.png") == Some(""));
        assert!(!tree.exists("target"));
    }

    #[test]
    fn folders_exist_by_what_is_in_them() {
        let tree = Tree::from([("docs/a.md", ""), ("docs-more/b.md", "")]);
        assert!(tree.exists("docs") && tree.exists("docs/") && tree.exists("docs/a.md"));
        assert!(!tree.exists("doc") && !tree.exists("docs/b.md"));
    }
}
