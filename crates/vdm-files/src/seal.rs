//! A hash that a JSON document carries inside itself.
//!
//! The last field of a sealed document, `seal`, holds the first 64 bits of the SHA-256 of the rest: of
//! the document without that field, its keys in order and no space between its tokens. What a document
//! *says* is sealed, not how it is laid out. Of a log, a line is hashed after the seal of the line before
//! it, so that a line that is missing breaks the seal of the next.

use serde::Serialize;
use serde::ser::Error as _;
use serde_json::{Result, Value};
use sha2::{Digest, Sha256};

use crate::{distinct, hexadecimal};

const FIELD: &str = "seal";
/// 64 bits: of as many damaged documents as there are grains of sand one would pass.
const BYTES: usize = 8;

/// What a document's seal says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// The document says what it said when it was sealed.
    Whole,
    /// It says something else: damaged, or edited.
    Broken,
    /// It was never sealed.
    Absent,
}

/// An object as indented JSON in the order of its fields, sealed, with a line feed at its end. Floats
/// that are not finite become `null`, which JSON has a word for.
///
/// # Errors
/// For what JSON cannot express (a map with keys that are no strings), and what is no object.
pub fn seal<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    let (text, _) = with_seal(&serde_json::to_string_pretty(value)?, "", "\n  ", ": ")?;
    Ok(text + "\n")
}

/// An object as one line of a log, without a line feed, and its seal. `previous` is the seal of the line
/// before; empty for the first.
///
/// # Errors
/// As [`seal`].
pub fn seal_line<T: Serialize + ?Sized>(value: &T, previous: &str) -> Result<(String, String)> {
    with_seal(&serde_json::to_string(value)?, previous, "", ":")
}

/// A document without its seal, and what that says.
///
/// # Errors
/// For what is no JSON, or has a key twice.
pub fn unseal(bytes: &[u8]) -> Result<(Value, Seal)> {
    let (value, seal, _) = unseal_line(bytes, "")?;
    Ok((value, seal))
}

/// A line of a log without its seal, what that says, and the seal itself for the line to come.
///
/// # Errors
/// As [`unseal`].
pub fn unseal_line(bytes: &[u8], previous: &str) -> Result<(Value, Seal, String)> {
    let mut value = distinct(bytes)?;
    let found = value.as_object_mut().and_then(|fields| fields.remove(FIELD));
    let own = digest(value.clone(), previous)?;
    let seal = match found {
        None => Seal::Absent,
        Some(found) if found == own.as_str() => Seal::Whole,
        Some(_) => Seal::Broken,
    };
    Ok((value, seal, own))
}

fn with_seal(text: &str, previous: &str, before: &str, colon: &str) -> Result<(String, String)> {
    let own = digest(serde_json::from_str(text)?, previous)?;
    let fields = text.strip_suffix('}').map(str::trim_end);
    let fields = fields.ok_or_else(|| serde_json::Error::custom("only objects can be sealed"))?;
    let comma = if fields.ends_with('{') { "" } else { "," };
    let end = if before.is_empty() { "" } else { "\n" };
    Ok((format!("{fields}{comma}{before}\"{FIELD}\"{colon}\"{own}\"{end}}}"), own))
}

fn digest(mut value: Value, previous: &str) -> Result<String> {
    // Whatever serde_json's features make of the order of keys elsewhere in a program.
    value.sort_all_objects();
    let mut hash = Sha256::new();
    hash.update(previous);
    hash.update(serde_json::to_vec(&value)?);
    Ok(hexadecimal(&hash.finalize()[..BYTES]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Serialize)]
    struct Run {
        steps: u64,
        bits: f64,
        name: &'static str,
        nested: Value,
    }

    fn run() -> Run {
        Run { steps: 10, bits: 0.1, name: "ä \"}", nested: json!({"b": [1, null], "a": {}}) }
    }

    /// Files of today are read by the programs of tomorrow.
    #[test]
    fn seals_never_change() {
        let text = seal(&run()).unwrap();
        let wanted = "{\n  \"steps\": 10,\n  \"bits\": 0.1,\n  \"name\": \"ä \\\"}\",\n  \"nested\": {\n    \
                      \"a\": {},\n    \"b\": [\n      1,\n      null\n    ]\n  },\n  \
                      \"seal\": \"SEAL\"\n}\n";
        // SHA-256 of {"bits":0.1,"name":"ä \"}","nested":{"a":{},"b":[1,null]},"steps":10}.
        assert_eq!(text, wanted.replace("SEAL", "941177e9211a5303"));
        let (value, whole) = unseal(text.as_bytes()).unwrap();
        assert_eq!((value["steps"].as_u64(), whole), (Some(10), Seal::Whole));
        assert!(value.get("seal").is_none());
    }

    #[test]
    fn no_bit_can_flip_unseen() {
        let text = seal(&run()).unwrap();
        let content = unseal(text.as_bytes()).unwrap().0;
        for bit in 0..8 * text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            // What is no JSON any more is seen by anybody.
            let Ok((value, seal)) = unseal(&bytes) else { continue };
            assert!(seal != Seal::Whole || value == content, "bit {bit}");
        }
    }

    #[test]
    fn what_was_never_sealed_says_so() {
        for text in ["{}", "[1]", "{\"steps\": 1}"] {
            assert_eq!(unseal(text.as_bytes()).unwrap().1, Seal::Absent, "{text}");
        }
        assert_eq!(unseal(seal(&json!({})).unwrap().as_bytes()).unwrap().1, Seal::Whole);
        assert!(seal(&[1]).is_err());
        assert!(unseal(b"{").is_err());
    }

    /// A line that was taken out, doubled or moved breaks the chain.
    #[test]
    fn lines_are_sealed_in_their_order() {
        let mut previous = String::new();
        let mut lines = Vec::new();
        for step in 1..=3 {
            let (line, own) = seal_line(&json!({"step": step}), &previous).unwrap();
            assert!(line.starts_with(&format!("{{\"step\":{step},\"seal\":\"")), "{line}");
            lines.push(line);
            previous = own;
        }
        let whole = |order: &[usize]| {
            let mut previous = String::new();
            order.iter().all(|&index| {
                let (_, seal, own) = unseal_line(lines[index].as_bytes(), &previous).unwrap();
                previous = own;
                seal == Seal::Whole
            })
        };
        assert!(whole(&[0, 1, 2]));
        for order in [&[1][..], &[0, 2], &[0, 0], &[0, 2, 1]] {
            assert!(!whole(order), "{order:?}");
        }
    }
}
