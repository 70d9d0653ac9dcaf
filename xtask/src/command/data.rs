//! `cargo xtask data`: brings published data sets into the cache, verified.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use flate2::read::MultiGzDecoder;
use lexopt::Arg::{Long, Value};
use lexopt::{Parser, ValueExt};

use crate::cache::Cache;
use crate::{hash, terminal};

pub(crate) const HELP: &str = "\
Brings a data set into the cache and verifies it.

Usage: cargo xtask data fashion-mnist [--out DIR]

  --out DIR    instead of data/fashion-mnist in the cache, where `--preset fashion-mnist` looks

The cache is $VDM_CACHE, else $XDG_CACHE_HOME/vdm, else ~/.cache/vdm. On Debian and Ubuntu the files
come from the package dataset-fashion-mnist, unpacked without installing it; elsewhere this says
which files to get, and checks them once they are there.";

/// A file of Fashion-MNIST by the SHA-256 of its content when not compressed: compressed copies of
/// the same images differ.
struct Part {
    name: &'static str,
    sha256: &'static str,
}

const FASHION_MNIST: [Part; 4] = [
    Part {
        name: "train-images-idx3-ubyte",
        sha256: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    },
    Part {
        name: "train-labels-idx1-ubyte",
        sha256: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    },
    Part {
        name: "t10k-images-idx3-ubyte",
        sha256: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    },
    Part {
        name: "t10k-labels-idx1-ubyte",
        sha256: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
];

/// More than the content of any of them has.
const MOST_BYTES: u64 = 50_000_000;

const PACKAGE: &str = "dataset-fashion-mnist";
const PACKAGE_FOLDER: &str = "usr/share/datasets/fashion-mnist";
const PROJECT: &str = "https://github.com/zalandoresearch/fashion-mnist";

/// Runs the command.
///
/// # Errors
///
/// On wrong options, and where the files can be neither found nor brought.
pub(crate) fn run(args: Vec<OsString>) -> Result<ExitCode> {
    let out = options(args)?;
    let cache = Cache::of_user()?;
    let place = match out {
        // Cargo starts us in the user's folder, which the path is relative to.
        Some(dir) => std::path::absolute(dir)?,
        None => cache.dir.join("data/fashion-mnist"),
    };
    let _lock = cache.lock()?;
    if let Err(fault) = verify(&place) {
        if place.exists() {
            terminal::note(format_args!("{fault:#}"));
        }
        bring(&place)?;
        verify(&place)?;
    }
    terminal::print(format_args!("Fashion-MNIST, verified: {}", place.display()))?;
    terminal::print(format_args!(
        "train on it: cargo xtask train --preset fashion-mnist --data {}",
        place.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn options(args: Vec<OsString>) -> Result<Option<PathBuf>, lexopt::Error> {
    let mut name = None;
    let mut out = None;
    let mut parser = Parser::from_args(args);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("out") => out = Some(PathBuf::from(parser.value()?)),
            Value(value) if name.is_none() => name = Some(value.string()?),
            other => return Err(other.unexpected()),
        }
    }
    match name.as_deref() {
        Some("fashion-mnist") => Ok(out),
        Some(other) => Err(format!("no data set named {other}: only fashion-mnist").into()),
        None => Err("which data set? (fashion-mnist)".into()),
    }
}

/// Fetches and unpacks the Debian package beside `place`, then moves the files in one by one.
fn bring(place: &Path) -> Result<()> {
    if !runs("apt-get") || !runs("dpkg-deb") {
        bail!(by_hand("this system has no apt-get and dpkg-deb", place));
    }
    let parent = place.parent().context("the output folder cannot be the root folder")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let partial = Cache { dir: parent.to_path_buf() }.fresh_partial("fashion-mnist")?;
    let outcome = unpack_package(&partial, place).and_then(|()| move_files(&partial, place));
    fs::remove_dir_all(&partial)?;
    outcome
}

fn runs(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn unpack_package(partial: &Path, place: &Path) -> Result<()> {
    terminal::note(format_args!("fetching the Debian package {PACKAGE} (31 MB)"));
    let download = Command::new("apt-get")
        .args(["download", PACKAGE])
        .current_dir(partial)
        .output()
        .context("cannot run apt-get")?;
    if !download.status.success() {
        let said = String::from_utf8_lossy(&download.stderr).trim().replace('\n', "\n  ");
        let why = format!(
            "apt-get could not fetch {PACKAGE}:\n  {said}\n\
             Is the network within reach and the package list fresh (sudo apt-get update)?"
        );
        bail!(by_hand(&why, place));
    }
    let package = fs::read_dir(partial)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get left no .deb file")?;
    let status = Command::new("dpkg-deb").arg("-x").arg(&package).arg(partial).status()?;
    ensure!(status.success(), "dpkg-deb could not unpack {}", package.display());
    Ok(())
}

fn move_files(partial: &Path, place: &Path) -> Result<()> {
    let unpacked = partial.join(PACKAGE_FOLDER);
    verify(&unpacked).context("the Debian package does not hold the expected files")?;
    fs::create_dir_all(place)?;
    for part in &FASHION_MNIST {
        let file = find(&unpacked, part.name)?;
        let name = file.file_name().context("a file has a name")?;
        fs::rename(&file, place.join(name))
            .with_context(|| format!("cannot write to {}", place.display()))?;
    }
    Ok(())
}

fn by_hand(why: &str, place: &Path) -> String {
    let files: String = FASHION_MNIST
        .iter()
        .map(|part| format!("  {}.gz, unpacked SHA-256 {}\n", part.name, part.sha256))
        .collect();
    format!(
        "{why}\nGet these four files from {PROJECT}\n{files}put them into {} and run this again.",
        place.display()
    )
}

/// Checks the content of all four files, compressed or not.
fn verify(dir: &Path) -> Result<()> {
    for part in &FASHION_MNIST {
        let path = find(dir, part.name)?;
        let found = sha256(&path).with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(
            found == part.sha256,
            "{} is not the file of Fashion-MNIST: its content has SHA-256 {found}, not {}",
            path.display(),
            part.sha256
        );
    }
    Ok(())
}

fn find(dir: &Path, name: &str) -> Result<PathBuf> {
    [dir.join(name), dir.join(format!("{name}.gz"))]
        .into_iter()
        .find(|path| path.is_file())
        .with_context(|| format!("{} has neither {name} nor {name}.gz", dir.display()))
}

/// Of the content: a `.gz` is read through.
fn sha256(path: &Path) -> io::Result<String> {
    let file = BufReader::new(File::open(path)?);
    if path.extension().is_some_and(|extension| extension == "gz") {
        // What is larger is another file, however small it is when compressed.
        hash::sha256(MultiGzDecoder::new(file).take(MOST_BYTES))
    } else {
        hash::sha256(file)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// SHA-256 of `abc`, as published with the standard.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_compressed_file_hashes_like_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let (plain, packed) = (dir.path().join("abc"), dir.path().join("abc.gz"));
        fs::write(&plain, "abc").unwrap();
        let mut encoder = GzEncoder::new(File::create(&packed).unwrap(), Compression::fast());
        encoder.write_all(b"abc").unwrap();
        encoder.finish().unwrap();
        assert_eq!(sha256(&plain).unwrap(), ABC);
        assert_eq!(sha256(&packed).unwrap(), ABC);
    }

    #[test]
    fn wrong_content_and_missing_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let message = verify(dir.path()).unwrap_err().to_string();
        assert!(message.contains("neither train-images-idx3-ubyte nor"), "{message}");
        fs::write(dir.path().join(FASHION_MNIST[0].name), "abc").unwrap();
        let message = verify(dir.path()).unwrap_err().to_string();
        assert!(message.contains(ABC) && message.contains(FASHION_MNIST[0].sha256), "{message}");
    }

    #[test]
    fn the_manual_way_lists_all_files_and_the_place() {
        let message = by_hand("no apt-get", Path::new("/place"));
        assert!(FASHION_MNIST.iter().all(|part| message.contains(part.sha256)), "{message}");
        assert!(message.contains(PROJECT) && message.contains("/place"), "{message}");
    }

    #[test]
    fn options_are_the_name_and_the_folder() {
        let parsed = |args: &[&str]| {
            options(args.iter().map(OsString::from).collect()).map_err(|error| error.to_string())
        };
        assert_eq!(parsed(&["fashion-mnist"]), Ok(None));
        assert_eq!(parsed(&["fashion-mnist", "--out", "d"]), Ok(Some(PathBuf::from("d"))));
        assert!(parsed(&[]).unwrap_err().contains("which data set"));
        assert!(parsed(&["mnist"]).unwrap_err().contains("mnist"));
        assert!(parsed(&["fashion-mnist", "more"]).unwrap_err().contains("more"));
    }
}
