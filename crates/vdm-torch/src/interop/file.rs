//! Reading what other programs wrote, and saying what a file is that was taken for something else.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::Error;

/// How to get weights out of Python's own format, which runs code when it is read.
const FROM_PICKLE: &str = "convert them with safetensors.torch.save_file(torch.load(FILE, \
                           weights_only=True), \"FILE.safetensors\")";

/// The bytes of a file, at most `limit` of them.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let refuse = |problem: String| Error::Interop { path: path.into(), problem };
    let file = fs::File::open(path).map_err(Error::io("read", path))?;
    let about = file.metadata().map_err(Error::io("read", path))?;
    if about.is_dir() {
        return Err(refuse(folder(path)));
    }
    if !about.is_file() {
        return Err(refuse("is no file on a disk; save it to one first".into()));
    }
    if about.len() > limit {
        let problem =
            format!("has {} bytes, more than the {limit} that are read of it", about.len());
        return Err(refuse(problem));
    }
    let mut bytes = Vec::with_capacity(about.len() as usize);
    file.take(limit).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    Ok(bytes)
}

/// What a file is by its first bytes, and what to do, if it is something that is often taken for weights
/// or settings: a clause without its subject.
pub(super) fn mistaken(bytes: &[u8]) -> Option<String> {
    let start = &bytes[..bytes.len().min(512)];
    let text = String::from_utf8_lossy(start).trim_start().to_ascii_lowercase();
    let begins = |starts: &[&str]| starts.iter().any(|start| text.starts_with(start));
    Some(match start {
        [] => "is empty; bring a complete copy".into(),
        _ if begins(&["version https://git-lfs", "version https://hawser"]) => {
            "is a pointer of Git LFS in place of the file; fetch the file with `git lfs pull`".into()
        }
        _ if begins(&["<!doctype", "<html", "<?xml"]) => {
            "is a web page; download the file itself, on Hugging Face from …/resolve/main/… and not from \
             …/blob/main/…"
                .into()
        }
        // Zip, as PyTorch writes it, and the protocols of bare pickles.
        [b'P', b'K', 3, 4, ..] | [0x80, 2..=5, ..] => {
            format!("holds pickled weights of PyTorch; {FROM_PICKLE}")
        }
        [0x89, b'H', b'D', b'F', ..] => {
            "is HDF5, as Keras writes it; save the weights as safetensors".into()
        }
        [b'G', b'G', b'U', b'F', ..] => {
            "is GGUF, whose weights are quantized; use the weights it was made from".into()
        }
        [0x1f, 0x8b, ..] => "is compressed with gzip; unpack it with `gunzip` first".into(),
        _ => return None,
    })
}

/// What a folder is in whose place a file is expected.
pub(super) fn folder(path: &Path) -> String {
    let holds = |names: &[&str]| names.iter().any(|name| path.join(name).exists());
    if holds(&["_CHECKPOINT_METADATA", "_METADATA", "manifest.ocdbt"]) {
        return "is a directory (Orbax), which only Orbax reads; convert it in Python first: restore it \
                with orbax.checkpoint.PyTreeCheckpointer().restore(DIR), then write FILE.flax with \
                open(FILE, \"wb\").write(flax.serialization.msgpack_serialize(params))"
            .into();
    }
    let found = checkpoints(path);
    let name = |path: &PathBuf| path.display().to_string();
    match found.as_slice() {
        [] => "is a folder; name the file of weights in it".into(),
        [one] => format!("is a folder with one checkpoint; name it: {}", name(one)),
        [.., last] => format!(
            "is a folder with {} checkpoints; name one, such as the last: {}",
            found.len(),
            name(last)
        ),
    }
}

/// What Flax may have saved in a folder, `checkpoint_N` or `ckpt-N.flax`, by ascending `N`.
fn checkpoints(folder: &Path) -> Vec<PathBuf> {
    let number = |path: &PathBuf| -> Option<u64> {
        let name = path.file_name()?.to_str()?;
        let name = name.strip_suffix(".flax").unwrap_or(name);
        ["checkpoint_", "ckpt-", "ckpt_"].iter().find_map(|s| name.strip_prefix(s))?.parse().ok()
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<(u64, PathBuf)> =
        entries.filter_map(|path| number(&path).map(|n| (n, path))).collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_for_weights_is_named() {
        let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n";
        let cases: [(&[u8], &str); 9] = [
            (b"", "is empty"),
            (lfs, "`git lfs pull`"),
            (b"\n<!DOCTYPE html><html>", "is a web page"),
            (b"<html lang=en>", "is a web page"),
            (b"PK\x03\x04\0\0", "weights_only=True"),
            (b"\x80\x02}q\0", "pickled weights"),
            (b"\x89HDF\r\n", "HDF5"),
            (b"GGUF\x03", "quantized"),
            (b"\x1f\x8b\x08", "gunzip"),
        ];
        for (bytes, named) in cases {
            let what = mistaken(bytes).unwrap();
            assert!(what.contains(named), "{what}");
        }
        // MessagePack's map of one entry, and safetensors.
        assert_eq!(mistaken(b"\x81\xa6params\x80"), None);
        assert_eq!(mistaken(b"\x02\0\0\0\0\0\0\0{}"), None);
    }
}
