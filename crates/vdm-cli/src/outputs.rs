//! Where results go: that files can be written there once the work is done, and that none takes the place of another,
//! of what the command reads, or of what a run has to keep.

use std::fs;
use std::path::{Component, Path, PathBuf, absolute};

use anyhow::{Context, Result, bail, ensure};
use vdm_report::{RunDir, files};

/// Finds out before the work whether its results can be written: `outs` are flags and the files that they name, `read`
/// the files and folders that the command reads.
///
/// # Errors
/// The first file that cannot be written, has two flags, would replace what is read or lie among it, or is one that a
/// run keeps.
pub(crate) fn prepare(outs: &[(&str, &Path)], read: &[PathBuf]) -> Result<()> {
    let mut places: Vec<(&str, PathBuf)> = Vec::new();
    for (flag, out) in outs {
        let place = check(flag, out, read)?;
        if let Some((other, _)) = places.iter().find(|(_, earlier)| *earlier == place) {
            bail!("{other} and {flag} both name {}: give each a file of its own", out.display());
        }
        places.push((flag, place));
    }
    Ok(outs.iter().try_for_each(|(_, out)| files::prepare(out))?)
}

/// That a file or folder takes the place of nothing that is read, does not lie among data, and is nothing that a run
/// keeps; and its place, with links followed.
pub(crate) fn check(flag: &str, out: &Path, read: &[PathBuf]) -> Result<PathBuf> {
    let place = place_of(out)?;
    let is_run = |run: &RunDir| run.config().is_file() && run.checkpoints().is_dir();
    let run = place.ancestors().skip(1).map(RunDir::new).find(is_run);
    // What is not there yet replaces nothing, but among data it would be taken for some of them. A run may lie there.
    for path in read {
        let Ok(path) = fs::canonicalize(path) else { continue };
        let has_own_folder = run.as_ref().is_some_and(|run| run.root().starts_with(&path));
        let is_among_data = path.is_dir() && place.starts_with(&path) && !has_own_folder;
        ensure!(
            !is_among_data,
            "{flag} {} lies in {}, whose files are read as data; name a place elsewhere",
            out.display(),
            path.display()
        );
        ensure!(
            place != path,
            "{flag} {} would replace what is read from {}; name another file",
            out.display(),
            path.display()
        );
    }
    ensure!(
        !run.is_some_and(|run| run.keeps(&place)),
        "{flag} {} is a file that the run there keeps for itself; name another",
        out.display()
    );
    Ok(place)
}

/// Where a file is or would be, its links followed.
fn place_of(out: &Path) -> Result<PathBuf> {
    let path =
        absolute(out).with_context(|| format!("cannot find the place of {}", out.display()))?;
    let mut place = PathBuf::new();
    let mut is_there = true;
    for part in path.components() {
        match part {
            // Of a place whose links are followed.
            Component::ParentDir if is_there => {
                place.pop();
            }
            Component::ParentDir => bail!(
                "{} goes back from a folder that is not there; name the place without `..`",
                out.display()
            ),
            part => {
                place.push(part);
                match fs::canonicalize(&place) {
                    Ok(found) if is_there => place = found,
                    _ => is_there = false,
                }
            }
        }
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_read_and_what_a_run_keeps_are_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("run/checkpoints/step-00000002")).unwrap();
        fs::create_dir(at("images")).unwrap();
        for name in ["run/config.json", "data.npy", "images/a.png", "free.json"] {
            fs::write(at(name), "").unwrap();
        }
        symlink(at("data.npy"), at("link.npy")).unwrap();
        symlink(at("run"), at("elsewhere")).unwrap();
        let read = [at("data.npy"), at("images"), at("gone")];
        let fault = |out: &Path| prepare(&[("--out", out)], &read).map_err(|e| e.to_string());
        for name in ["data.npy", "link.npy"] {
            let text = fault(&at(name)).unwrap_err();
            assert!(text.contains("would replace what is read from"), "{name}: {text}");
        }
        for name in ["images/a.png", "images/new.npy", "images/new/b.json", "images"] {
            let text = fault(&at(name)).unwrap_err();
            assert!(text.contains("whose files are read as data"), "{name}: {text}");
        }
        let kept = ["config.json", "metrics.jsonl", "checkpoints/x", ".lock", "samples/a.png"];
        for (run, name) in ["run", "elsewhere"].iter().flat_map(|run| kept.map(|name| (run, name)))
        {
            let text = fault(&at(run).join(name)).unwrap_err();
            assert!(text.contains("that the run there keeps for itself"), "{name}: {text}");
        }
        // A run among the data.
        fs::create_dir_all(at("images/run/checkpoints")).unwrap();
        fs::write(at("images/run/config.json"), "").unwrap();
        fs::write(at("images/run/samples.png"), "").unwrap();
        assert_eq!(fault(&at("images/run/samples.png")), Ok(()));
        let free = ["free.json", "new.npy", "run/samples.png", "run/samples.npy"];
        for name in free.into_iter().chain(["run/eval.json", "new/folder/a.json"]) {
            assert_eq!(fault(&at(name)), Ok(()), "{name}");
        }
        // Through what is not there, and through links.
        let text = fault(&at("gone/../run/config.json")).unwrap_err();
        assert!(text.contains("goes back from a folder that is not there"), "{text}");
        assert!(!at("gone").exists());
        symlink(at("images"), at("pictures")).unwrap();
        for name in ["pictures/new/b.json", "run/../images/new.npy", "pictures/../images/c.png"] {
            let text = fault(&at(name)).unwrap_err();
            assert!(text.contains("whose files are read as data"), "{name}: {text}");
        }
        // A configuration is no run, and a run above data is not among them.
        fs::write(at("config.json"), "").unwrap();
        assert!(fault(&at("images/new.npy")).unwrap_err().contains("read as data"));
        assert_eq!(fault(&at("samples/a.png")), Ok(()));
        let twice = [("--out", &*at("a.csv")), ("--per-item", &*at("./run/../a.csv"))];
        let text = prepare(&twice, &[]).unwrap_err().to_string();
        assert!(text.starts_with("--out and --per-item both name"), "{text}");
    }
}
