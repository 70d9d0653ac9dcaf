//! JSON as Python writes it.
//!
//! Its `json` module writes floats that are not finite as the bare words `NaN`, `Infinity` and
//! `-Infinity`, which are no JSON: diffusers does for the settings of several schedulers. They are read
//! as strings here, so that a field which needs a number refuses them by name. All else is strict: a key
//! that is there twice is refused, for a reader cannot know which of the two was meant.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::file;
use crate::Error;

/// No file of settings comes near it, and a table of 100,000 betas stays below.
const MAX_BYTES: u64 = 1 << 23;

const WORDS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];

/// The object that a file holds.
pub(super) fn object(path: &Path) -> Result<Map<String, Value>, Error> {
    let bytes = file::read(path, MAX_BYTES)?;
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let fault = match vdm_files::distinct(&quote_words(text)) {
        Ok(Value::Object(fields)) => return Ok(fields),
        Ok(_) => "it is another value".to_owned(),
        Err(error) => error.to_string(),
    };
    let problem = match file::mistaken(&bytes) {
        Some(what) => format!("is no JSON: it {what}"),
        None => format!("is not a JSON object ({fault})"),
    };
    Err(Error::Interop { path: path.into(), problem })
}

/// Fields as a type; an error names the field that does not fit.
pub(super) fn parse<T: DeserializeOwned>(
    fields: Map<String, Value>,
    path: &Path,
) -> Result<T, Error> {
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(|e| {
        let problem = format!("{}: {}; this value cannot be read", e.path(), e.inner());
        Error::Interop { path: path.into(), problem }
    })
}

/// Puts Python's words for floats that are not finite in quotes, wherever they stand outside a string.
fn quote_words(text: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(text.len());
    let mut rest = text;
    let mut in_string = false;
    while let [byte, after @ ..] = rest {
        let word = WORDS.iter().find(|word| !in_string && rest.starts_with(word));
        let taken = match (word, byte, after) {
            (Some(word), ..) => {
                quoted.extend([b"\"", *word, b"\""].concat());
                rest = &rest[word.len()..];
                continue;
            }
            (None, b'\\', [_, ..]) if in_string => 2,
            (None, b'"', _) => {
                in_string = !in_string;
                1
            }
            _ => 1,
        };
        quoted.extend(&rest[..taken]);
        rest = &rest[taken..];
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Result<Value, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        object(&path).map(Value::Object).map_err(|e| e.to_string())
    }

    #[test]
    fn words_of_python_are_read_outside_strings_only() {
        let text = "\u{feff}{\"a\": -Infinity, \"b\": [NaN,Infinity], \"c\": \"NaN \\\" NaN\"}";
        let wanted = json!({"a": "-Infinity", "b": ["NaN", "Infinity"], "c": "NaN \" NaN"});
        assert_eq!(read(text).unwrap(), wanted);
        for text in
            ["{\"a\": +Infinity}", "{\"a\": nan}", "{\"a\": NaNa}", "{\"a\": \"NaN}", "[NaN]"]
        {
            assert!(read(text).unwrap_err().contains("is not a JSON object"), "{text}");
        }
    }

    #[test]
    fn keys_that_are_there_twice_are_named() {
        let error = read(r#"{"beta_end": 0.02, "beta_end": 0.012}"#).unwrap_err();
        assert!(error.contains("\"beta_end\" is there twice"), "{error}");
    }

    #[test]
    fn nesting_without_end_is_an_error() {
        assert!(read(&"{\"a\":".repeat(100_000)).unwrap_err().contains("recursion limit"));
    }
}
