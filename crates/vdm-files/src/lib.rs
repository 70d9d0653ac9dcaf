//! Files that are whole or not there, and that notice when they were damaged.
//!
//! Disks lose bits, copies stop half-way, power goes. A program that reads back what it wrote has to
//! tell three things apart: what it wrote, what somebody changed, and nothing. Two means do it:
//!
//! - [`write_atomic`] replaces a file in one step, so nobody ever sees half of one;
//! - hashes vouch for content: [`sha256`] of a whole file, kept in another one, and the [`seal`] that a
//!   JSON document carries inside itself.
//!
//! Both are against accidents. Whoever can write a file can also write its seal.
//!
//! ```
//! use vdm_files::{Seal, seal, unseal};
//!
//! #[derive(serde::Serialize)]
//! struct Result { bits_per_dim: f64 }
//!
//! let text = seal(&Result { bits_per_dim: 1.73 })?;
//! assert_eq!(text, "{\n  \"bits_per_dim\": 1.73,\n  \"seal\": \"f8974c406b393b7e\"\n}\n");
//! assert_eq!(unseal(text.as_bytes())?.1, Seal::Whole);
//! // One digit is enough, spaces are not.
//! assert_eq!(unseal(text.replace("1.73", "1.93").as_bytes())?.1, Seal::Broken);
//! assert_eq!(unseal(text.replace('\n', " ").as_bytes())?.1, Seal::Whole);
//! # Ok::<(), serde_json::Error>(())
//! ```

mod atomic;
mod json;
mod seal;
mod temporary;

use std::fs::File;
use std::io;
use std::path::Path;

pub use atomic::{probe, write_atomic};
pub use json::distinct;
pub use seal::{Seal, seal, seal_line, unseal, unseal_line};
use sha2::{Digest, Sha256};
pub use temporary::{hold, remove_abandoned, temporary_beside};

/// SHA-256 in hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// The same of a file, which need not fit into memory.
///
/// # Errors
/// The system's own, where it refuses to read.
pub fn sha256_of_file(path: &Path) -> io::Result<String> {
    let mut hash = Hasher(Sha256::new());
    io::copy(&mut File::open(path)?, &mut hash)?;
    Ok(hexadecimal(&hash.0.finalize()))
}

/// A hash as something to write to.
struct Hasher(Sha256);

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The example of the README, so that it cannot rot.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of FIPS 180-2, and the same from a file.
    #[test]
    fn hashes_are_those_of_the_standard() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), abc);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, b"abc").unwrap();
        assert_eq!(sha256_of_file(&path).unwrap(), abc);
        assert!(sha256_of_file(folder.path()).is_err());
    }
}
