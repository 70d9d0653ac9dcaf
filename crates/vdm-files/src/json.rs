//! JSON in which no key is there twice.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A JSON value, if no object in it has a key twice: a reader cannot know which of the two was meant.
///
/// ```
/// assert_eq!(vdm_files::distinct(br#"{"steps": [1, null]}"#)?, serde_json::json!({"steps": [1, null]}));
/// let error = vdm_files::distinct(br#"[{"seed": 1, "seed": 7}]"#).unwrap_err();
/// assert_eq!(error.to_string(), "\"seed\" is there twice at line 1 column 19");
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Errors
/// For what is no JSON, and for such a key.
pub fn distinct(bytes: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(bytes).map(|Distinct(value)| value)
}

struct Distinct(Value);

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Distinct(value)) = entries.next_element()? {
            list.push(value);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if fields.contains_key(&key) {
                return Err(A::Error::custom(format_args!("{key:?} is there twice")));
            }
            let Distinct(value) = entries.next_value()?;
            fields.insert(key, value);
        }
        Ok(fields.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All kinds of values are read as `serde_json` reads them.
    #[test]
    fn values_are_those_of_serde_json() {
        let text = r#"{"a": [0, -1, 18446744073709551615, 1e400, 0.1, true, null, "\u00e4\n", {}, []],
                       "b": {"a": -9223372036854775808, "c": {"b": 5e-324, "d": -0.0}}}"#;
        for text in [text.replace("1e400", "1e300").as_str(), text, "[1,", "{\"a\" 1}", "1 2", ""] {
            let (ours, theirs) = (distinct(text.as_bytes()), serde_json::from_str::<Value>(text));
            assert_eq!(ours.map_err(|e| e.to_string()), theirs.map_err(|e| e.to_string()));
        }
    }

    #[test]
    fn a_key_that_is_there_twice_is_named_at_any_depth() {
        for text in [r#"{"x": 1, "x": 1}"#, r#"{"a": [{"x": 1, "b": 2, "x": {}}]}"#] {
            let error = distinct(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("\"x\" is there twice"), "{error}");
        }
        // Other objects have the same keys.
        assert!(distinct(br#"{"x": {"x": [{"x": 1}, {"x": 2}]}}"#).is_ok());
    }
}
