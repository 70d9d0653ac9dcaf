//! What a file of a folder is, by its name and its first bytes.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::jpeg;

/// What is done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Read.
    Picture,
    /// Left out, and said: text that goes with the pictures, or a hidden file.
    Companion,
    /// Left out: what operating systems put into folders.
    System,
    /// Refused: a data set without it would silently be another one.
    Other {
        /// What it is.
        found: &'static str,
        /// What to do with it.
        remedy: &'static str,
    },
}

const READ: &[&str] = &["png", "jpg", "jpeg", "jpe", "jfif", "jif", "jfi"];

/// Pictures by name, some of which are text.
const OTHER_PICTURES: &[&str] = &[
    "ai", "apng", "arw", "avif", "bmp", "cr2", "cr3", "dib", "dcm", "dds", "dng", "eps", "exr",
    "ff", "fit", "fits", "gif", "hdr", "heic", "heif", "icns", "ico", "j2c", "j2k", "jls", "jng",
    "jp2", "jpc", "jpf", "jpm", "jps", "jpx", "jxl", "jxr", "mng", "mpo", "nef", "nii", "nrrd",
    "orf", "pam", "pbm", "pcx", "pfm", "pgm", "pict", "pnm", "ppm", "ps", "psd", "qoi", "raf",
    "ras", "raw", "rgb", "rw2", "sgi", "svg", "svgz", "tga", "tif", "tiff", "wbmp", "webp", "xbm",
    "xcf", "xpm",
];

const COMPANIONS: &[&str] = &[
    "cfg", "csv", "htm", "html", "ini", "json", "jsonl", "log", "md", "pdf", "py", "rst", "tsv",
    "txt", "xml", "yaml", "yml",
];

const SYSTEM: &[&str] = &[".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini"];

/// The first bytes of a PNG file.
pub(super) const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Bytes by which a file is known.
const START: u64 = 512;

/// What a regular file is.
pub(super) fn of(path: &Path) -> io::Result<Kind> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if SYSTEM.contains(&&*name) || name.starts_with("._") {
        return Ok(Kind::System);
    }
    if name.starts_with('.') {
        return Ok(Kind::Companion);
    }
    let extension = Path::new(&name).extension().and_then(OsStr::to_str).unwrap_or_default();
    if READ.contains(&extension) {
        return Ok(Kind::Picture);
    }
    let mut start = Vec::new();
    File::open(path)?.take(START).read_to_end(&mut start)?;
    Ok(if start.starts_with(PNG) || start.starts_with(jpeg::MAGIC) {
        Kind::Picture
    } else if OTHER_PICTURES.contains(&extension) || is_text_picture(&start) {
        Kind::Other { found: "a picture of another kind", remedy: "convert it to PNG" }
    } else if leads_somewhere(path, &start) {
        Kind::Other { found: "a link that was unpacked as text", remedy: "make it a link again" }
    } else if COMPANIONS.contains(&extension) || is_text(&start) {
        Kind::Companion
    } else {
        other(&start)
    })
}

/// Data by their first bytes.
fn other(start: &[u8]) -> Kind {
    let (found, remedy) = match start {
        [b'P', b'K', ..] => ("a zip archive or .npz file", "unpack it or give it by itself"),
        [0x1f, 0x8b, ..] | [b'B', b'Z', b'h', ..] | [0xfd, b'7', b'z', b'X', b'Z', ..] => {
            ("a compressed file", "unpack it or give it by itself")
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => ("a .npy array", "give it by itself"),
        [0, 0, 8..=14, 1..=4, ..] => ("an IDX file", "give it by itself"),
        [0x80, 2..=5, ..] => {
            let remedy = "fetch the binary version if it is CIFAR (cifar-10-binary.tar.gz), else write \
                          its arrays with numpy.save";
            ("a Python pickle", remedy)
        }
        _ if start.get(257..262) == Some(b"ustar") => ("a tar archive", "unpack it"),
        _ => ("a file of no known kind", "convert it if it holds pictures"),
    };
    Kind::Other { found, remedy }
}

/// Whether a file holds nothing but the path of another one: what becomes of a link where there are none.
fn leads_somewhere(path: &Path, start: &[u8]) -> bool {
    let one_line = (1..START as usize).contains(&start.len()) && !start.contains(&b'\n');
    let target = std::str::from_utf8(start).ok().filter(|_| one_line);
    target.is_some_and(|target| path.with_file_name(target).exists())
}

fn is_text_picture(start: &[u8]) -> bool {
    matches!(start, [b'P', b'1'..=b'7', b' ' | b'\n' | b'\r' | b'\t' | b'#', ..])
        || [&b"%!PS"[..], b"/* XPM", b"<svg"].iter().any(|magic| start.starts_with(magic))
}

/// Whether bytes may be the start of a text, in UTF-8 or behind a mark of UTF-16.
fn is_text(start: &[u8]) -> bool {
    if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
        return true;
    }
    let valid = match std::str::from_utf8(start) {
        Ok(text) => text,
        // Cut in the middle of a character.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !valid.contains(|c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\x0c' | '\x1a'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_content_where_their_names_say_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let kind = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            of(&path).unwrap()
        };
        assert_eq!(kind("a.JPE", b""), Kind::Picture);
        assert_eq!(kind("n01440764_18", b"\xff\xd8\xff\xe0"), Kind::Picture);
        assert_eq!(kind("a.bmp", PNG), Kind::Picture);
        for (name, content) in
            [("LICENSE", "Free."), ("a.csv", "x"), (".gitkeep", ""), ("é", "Füße")]
        {
            assert_eq!(kind(name, content.as_bytes()), Kind::Companion, "{name}");
        }
        let half = &"é".repeat(256).into_bytes()[1..];
        assert_eq!(kind("cut", &"aé".repeat(300).into_bytes()), Kind::Companion);
        for (name, content, expected) in [
            ("a.tga", &b"\0\0\x02"[..], "a picture of another kind"),
            ("ascii", b"P2\n1 1\n255\n7\n", "a picture of another kind"),
            ("a.zip", b"PK\x03\x04", "a zip archive or .npz file"),
            ("a.npy", b"\x93NUMPY\x01\0", "a .npy array"),
            ("train", b"\x80\x02}q", "a Python pickle"),
            ("a.dat", b"\x01\x02\x03\x04", "a file of no known kind"),
            ("latin1", half, "a file of no known kind"),
        ] {
            let Kind::Other { found, .. } = kind(name, content) else { panic!("{name}") };
            assert_eq!(found, expected, "{name}");
        }
        let link = kind("link", b"../");
        assert!(matches!(link, Kind::Other { found, .. } if found.contains("link")), "{link:?}");
        assert_eq!(kind("Thumbs.db", b"\xd0\xcf"), Kind::System);
        assert_eq!(kind("._a.jpg", b"\0\x05"), Kind::System);
    }
}
