//! Enums of named choices that read `"name"` as well as `{"kind": "name", …}`.

use serde::de::{Deserializer, Error};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::NameOf;

/// Reads a bare name as all that it stands for, and an object as what differs from that; `meant`
/// knows what a name stands for. With `names`, what they are of and all there are, those of other
/// libraries are understood too.
pub(crate) fn name_or_object<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
    names: Option<(NameOf, &[&'static str])>,
    meant: impl Fn(&str) -> Option<Value>,
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
    if let (Some((of, known)), Some(Value::String(name))) = (names, object.get_mut("kind")) {
        *name = of.named(name, known).map_err(D::Error::custom)?.to_owned();
    }
    let name = object.get("kind").and_then(Value::as_str);
    if let Some(Value::Object(meant)) = name.and_then(meant) {
        object.remove("kind");
        for (field, value) in meant {
            object.entry(field).or_insert(value);
        }
    }
    T::deserialize(Value::Object(object)).map_err(D::Error::custom)
}
