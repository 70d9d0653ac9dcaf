//! Enums of named choices that read `"name"` as well as `{"kind": "name", …}`.

use serde::de::{Deserializer, Error};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// Reads a bare name as the choice with all its defaults, and an object as it stands. `alias` gives
/// the kind and the fields that a name of others stands for.
pub(crate) fn name_or_object<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
    alias: impl Fn(&str) -> Option<Value>,
) -> Result<T, D::Error> {
    let mut object = match Value::deserialize(deserializer)? {
        Value::String(name) => Map::from_iter([("kind".to_owned(), Value::String(name))]),
        Value::Object(object) => object,
        other => {
            return Err(D::Error::custom(format!(
                "{other} is neither a name nor an object with a \"kind\""
            )));
        }
    };
    let kind = object.get("kind").and_then(Value::as_str);
    if let Some(Value::Object(meant)) = kind.and_then(alias) {
        object.remove("kind");
        for (field, value) in meant {
            object.entry(field).or_insert(value);
        }
    }
    T::deserialize(Value::Object(object)).map_err(D::Error::custom)
}
