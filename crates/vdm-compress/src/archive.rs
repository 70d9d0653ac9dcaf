//! The file: a code with all that is needed to read it, and to refuse what cannot be read.
//!
//! ```text
//! 4 bytes     VDMZ
//! 4 bytes     version of this layout          all integers little-endian
//! 4 bytes     bytes of the header
//! header      JSON
//! words × 8   the code
//! 32 bytes    SHA-256 of all of the above
//! ```
//!
//! The checksum at the end tells damage apart from a model that answers differently: in an undamaged
//! file only the latter can make the pixels' own checksum fail.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Error, Settings};

const MAGIC: [u8; 4] = *b"VDMZ";
const VERSION: u32 = 3;
const PREFIX: usize = 12;
const CHECKSUM: usize = 32;

/// What a file says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// SHA-256 of the weights and the specification of the model, in hexadecimal.
    pub model_sha256: String,
    /// Where the model ran.
    pub origin: Origin,
    /// How items are coded.
    pub settings: Settings,
    /// Number of items.
    pub items: usize,
    /// Channels, height and width of an item.
    pub shape: [usize; 3],
    /// Number of values a pixel takes.
    pub levels: u16,
    /// SHA-256 of all pixels, in hexadecimal.
    pub pixels_sha256: String,
    /// Number of words of the code.
    pub words: usize,
}

/// What besides the weights decides the last digits of a network's outputs. The reader has to bring
/// the same about; nothing here is more than a note to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Program, tensor library and type of machine, in words.
    pub engine: String,
    /// `cpu` or `cuda`.
    pub device: String,
    /// Threads of one operation.
    pub threads: u32,
    /// Training step of the weights.
    pub checkpoint: u64,
}

/// A whole file in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Archive {
    /// What it says of itself.
    pub header: Header,
    /// The code.
    pub words: Vec<u64>,
}

/// SHA-256 in hexadecimal, as headers have it.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Archive {
    /// The bytes of the file.
    ///
    /// # Errors
    /// [`Error::Header`] if a header cannot be written as JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let header = serde_json::to_vec(&self.header).map_err(|e| Error::Header(e.to_string()))?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((header.len() as u32).to_le_bytes());
        bytes.extend(header);
        bytes.extend(self.words.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(Sha256::digest(&bytes));
        Ok(bytes)
    }

    /// From the bytes of a file. Allocates no more than a few times their length.
    ///
    /// # Errors
    /// [`Error::Magic`], [`Error::Version`], [`Error::Length`], [`Error::Damaged`] or
    /// [`Error::Header`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        if !bytes.starts_with(&MAGIC) {
            return Err(Error::Magic { found: bytes[..bytes.len().min(MAGIC.len())].to_vec() });
        }
        let too_short = |wanted: usize| Error::Length { found: bytes.len(), wanted: wanted as u64 };
        let number = |at: usize| -> Result<u32, Error> {
            let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
            four.map(u32::from_le_bytes).ok_or_else(|| too_short(PREFIX))
        };
        let version = number(4)?;
        if version != VERSION {
            return Err(Error::Version { found: version, known: VERSION });
        }
        let code_start = PREFIX + number(8)? as usize;
        let text = bytes.get(PREFIX..code_start).ok_or_else(|| too_short(code_start + CHECKSUM))?;
        let header: Result<Header, _> = serde_json::from_slice(text);
        if let Ok(header) = &header {
            let code = (header.words as u64).saturating_mul(8);
            let wanted = code.saturating_add((code_start + CHECKSUM) as u64);
            if bytes.len() as u64 != wanted {
                return Err(Error::Length { found: bytes.len(), wanted });
            }
        }
        let (content, checksum) =
            bytes.split_last_chunk::<CHECKSUM>().ok_or_else(|| too_short(code_start + CHECKSUM))?;
        if Sha256::digest(content)[..] != checksum[..] {
            return Err(Error::Damaged);
        }
        let header = header.map_err(|e| Error::Header(e.to_string()))?;
        let (words, _) = content[code_start..].as_chunks();
        let words = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        Ok(Self { header, words })
    }
}

impl Header {
    /// That the words were made with this model: its hash, and the shape and levels of its data.
    ///
    /// # Errors
    /// [`Error::Model`] naming both, [`Error::Header`] if shape or levels are not the model's.
    pub fn check_model(&self, sha256: &str, shape: [usize; 3], levels: u16) -> Result<(), Error> {
        if self.model_sha256 != sha256 {
            return Err(Error::Model {
                found: self.model_sha256.clone(),
                checkpoint: self.origin.checkpoint,
                wanted: sha256.to_owned(),
            });
        }
        if (self.shape, self.levels) != (shape, levels) {
            return Err(Error::Header(format!(
                "items of {:?} and {} levels, while its model's are of {shape:?} and {levels}",
                self.shape, self.levels
            )));
        }
        Ok(())
    }

    /// That the pixels read are those that were written.
    ///
    /// # Errors
    /// [`Error::Diverged`].
    pub fn check_pixels(&self, pixels: &[u8]) -> Result<(), Error> {
        let found = sha256(pixels);
        if found == self.pixels_sha256 {
            return Ok(());
        }
        Err(Error::Diverged { found, wanted: self.pixels_sha256.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Chain, LatentLevels, Latents};
    use proptest::prelude::*;

    fn archive() -> Archive {
        let levels = LatentLevels::LogSnrs(vec![-4.0, 1.25, 2.5, 8.5]);
        let chain = Chain { steps: 3, levels, cells_per_std: 8 };
        let settings = Settings { batch: 2, latents: Latents::Chain(chain) };
        let origin = Origin {
            engine: "an engine".into(),
            device: "cpu".into(),
            threads: 2,
            checkpoint: 500,
        };
        let header = Header {
            model_sha256: sha256(b"weights"),
            origin,
            settings,
            items: 5,
            shape: [1, 2, 3],
            levels: 17,
            pixels_sha256: sha256(b"pixels"),
            words: 3,
        };
        Archive { header, words: vec![1, u64::MAX, 7] }
    }

    #[test]
    fn what_is_written_is_read() {
        let archive = archive();
        assert_eq!(Archive::from_bytes(&archive.to_bytes().unwrap()).unwrap(), archive);
    }

    /// A file cut anywhere or with any byte changed is refused, and says which of the two it is.
    #[test]
    fn damage_is_named() {
        let bytes = archive().to_bytes().unwrap();
        for length in 0..bytes.len() {
            let error = Archive::from_bytes(&bytes[..length]).unwrap_err();
            let named = matches!(error, Error::Length { .. });
            assert!(
                named || length < 4 && matches!(error, Error::Magic { .. }),
                "{length} {error}"
            );
        }
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 4;
            assert!(Archive::from_bytes(&bytes).is_err(), "byte {at}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(matches!(Archive::from_bytes(&longer), Err(Error::Length { .. })));
        let mut newer = bytes;
        newer[4] = 4;
        let message = Archive::from_bytes(&newer).unwrap_err().to_string();
        assert!(message.contains("version 4, this program reads 3"), "{message}");
    }

    proptest! {
        /// Promises far beyond the file are refused before anything is allocated for them.
        #[test]
        fn forged_bytes_do_no_harm(tail in prop::collection::vec(any::<u8>(), 0..200)) {
            let forged = [&MAGIC[..], &VERSION.to_le_bytes(), &tail].concat();
            prop_assert!(Archive::from_bytes(&forged).is_err());
        }
    }

    #[test]
    fn another_model_and_other_pixels_are_named() {
        let Archive { header, .. } = archive();
        header.check_model(&sha256(b"weights"), [1, 2, 3], 17).unwrap();
        let message = header.check_model(&sha256(b"other"), [1, 2, 3], 17).unwrap_err().to_string();
        assert!(message.contains(&sha256(b"other")) && message.contains("step 500"), "{message}");
        assert!(header.check_model(&sha256(b"weights"), [1, 3, 2], 17).is_err());
        header.check_pixels(b"pixels").unwrap();
        let message = header.check_pixels(b"pixel").unwrap_err().to_string();
        assert!(message.contains("number of threads"), "{message}");
    }
}
