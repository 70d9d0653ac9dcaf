//! Takes files out of wheels, which are zip archives: those that are wanted, and nowhere but below one folder.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path};

use anyhow::{Context, Result, ensure};
use zip::ZipArchive;

/// Unpacks from every wheel in a folder the members whose names are `wanted`, and removes the wheel.
///
/// # Errors
///
/// If a wheel is damaged, a member's name leads out of `destination`, it is a link or there already, or all of
/// them have more than `most_bytes`; or if the disk cannot be written.
pub(crate) fn unpack(
    wheels: &Path,
    destination: &Path,
    wanted: impl Fn(&str) -> bool,
    mut most_bytes: u64,
) -> Result<()> {
    let mut paths: Vec<_> =
        fs::read_dir(wheels)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    paths.sort();
    for wheel in paths {
        unpack_one(&wheel, destination, &wanted, &mut most_bytes)
            .with_context(|| format!("cannot unpack {}", wheel.display()))?;
        // Half of the disk is enough that way.
        fs::remove_file(wheel)?;
    }
    Ok(())
}

fn unpack_one(
    wheel: &Path,
    destination: &Path,
    wanted: &impl Fn(&str) -> bool,
    bytes_left: &mut u64,
) -> Result<()> {
    let mut archive = ZipArchive::new(File::open(wheel)?)?;
    for index in 0..archive.len() {
        let mut member = archive.by_index(index)?;
        let name = member.name()?.into_owned();
        if member.is_dir() || !wanted(&name) {
            continue;
        }
        let plain = !name.contains('\\')
            && Path::new(&name).components().all(|part| matches!(part, Component::Normal(_)));
        ensure!(plain, "{name:?} is no plain path below the folder");
        ensure!(!member.is_symlink(), "{name:?} is a link");
        let target = destination.join(&name);
        fs::create_dir_all(target.parent().unwrap_or(destination))?;
        let mut file =
            File::create_new(&target).with_context(|| format!("cannot write {name:?}"))?;
        // What the archive says of a member's size need not be so.
        let copied = io::copy(&mut member.by_ref().take(*bytes_left + 1), &mut file)
            .with_context(|| format!("cannot unpack {name:?}"))?;
        *bytes_left = bytes_left
            .checked_sub(copied)
            .with_context(|| format!("{name:?} is larger than all that is wanted"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    /// Unpacks a wheel with these members into an empty folder; what then lies there and beside it.
    fn unpacked(members: &[(&str, &str)], most: u64) -> (Result<()>, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let [wheels, content] = ["wheels", "content"].map(|name| dir.path().join(name));
        for folder in [&wheels, &content] {
            fs::create_dir(folder).unwrap();
        }
        let mut zip = ZipWriter::new(File::create(wheels.join("a.whl")).unwrap());
        for (name, text) in members {
            let options = SimpleFileOptions::default();
            match name.strip_prefix("link:") {
                Some(name) => zip.add_symlink(name, *text, options).unwrap(),
                None => {
                    zip.start_file(*name, options).unwrap();
                    zip.write_all(text.as_bytes()).unwrap();
                }
            }
        }
        zip.finish().unwrap();
        (unpack(&wheels, &content, |name| !name.ends_with(".py"), most), dir)
    }

    #[test]
    fn what_is_wanted_is_unpacked_and_the_wheel_removed() {
        let (outcome, dir) = unpacked(&[("torch/lib/a.so", "abc"), ("torch/b.py", "no")], 3);
        outcome.unwrap();
        let content = dir.path().join("content");
        assert_eq!(fs::read_to_string(content.join("torch/lib/a.so")).unwrap(), "abc");
        assert!(!content.join("torch/b.py").exists() && !dir.path().join("wheels/a.whl").exists());
    }

    #[test]
    fn nothing_is_written_outside_the_folder() {
        let hostile = [
            ("../evil", "no plain path"),
            ("torch/../../evil", "no plain path"),
            ("/evil", "no plain path"),
            ("torch\\..\\..\\evil", "no plain path"),
            ("./torch/evil", "no plain path"),
            ("link:torch", "is a link"),
        ];
        for (name, said) in hostile {
            let (outcome, dir) = unpacked(&[(name, ".."), ("torch/evil", "x")], 100);
            let error = format!("{:#}", outcome.unwrap_err());
            assert!(error.contains(said), "{name}: {error}");
            assert!(!dir.path().join("evil").exists());
        }
    }

    #[test]
    fn a_bomb_is_stopped_at_the_expected_size_and_a_name_is_used_once() {
        let zeros = "\0".repeat(1 << 20);
        let (outcome, dir) = unpacked(&[("torch/zeros", &zeros)], 1000);
        let error = format!("{:#}", outcome.unwrap_err());
        assert!(error.contains("larger than all"), "{error}");
        assert_eq!(fs::metadata(dir.path().join("content/torch/zeros")).unwrap().len(), 1001);
        let (outcome, _dir) = unpacked(&[("a", "1"), ("A/../a", "2")], 1000);
        assert!(outcome.is_err());
    }
}
