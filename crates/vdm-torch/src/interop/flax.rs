//! Flax's own checkpoint format.
//!
//! One `MessagePack` map of maps. A leaf that is an array is an extension of type 1 whose content is
//! again `MessagePack`: `[shape, name of the type, bytes]`, row-major and little-endian. An array too
//! large for one leaf is a map `{"__msgpack_chunked_array__": true, "shape": {"0": …},
//! "chunks": {"0": …}}` with its flat parts in order.

use std::collections::HashMap;
use std::path::Path;

use rmpv::ValueRef;
use tch::{Kind, Tensor};

use super::file;
use super::tensors::{self, Tensors};
use crate::Error;

const ARRAY: i8 = 1;
const CHUNKED: &str = "__msgpack_chunked_array__";
/// Of a name joined with `/`. A small file cannot ask for many long ones.
const LONGEST_NAME: usize = 512;

/// The averaged parameters of a checkpoint (`ema_params`), or if it has none its `params`, or the
/// file itself if it is nothing but parameters; names joined with `/`.
pub(super) fn parameters(path: &Path, bytes: &[u8]) -> Result<Tensors, Error> {
    let mut found = Tensors::new(path);
    let mut rest = bytes;
    let root = rmpv::decode::read_value_ref(&mut rest).map_err(|e| e.to_string());
    let root = match (root, rest.len()) {
        (Ok(root @ ValueRef::Map(_)), 0) => root,
        (root, rest) => {
            let what = file::mistaken(bytes).unwrap_or_else(|| match root {
                Err(e) => format!("is not a Flax checkpoint: it is no MessagePack ({e})"),
                Ok(ValueRef::Map(_)) => {
                    format!(
                        "is not one Flax checkpoint: {rest} bytes follow it; bring another copy"
                    )
                }
                Ok(_) => "is not a Flax checkpoint: it holds no map of parameters".into(),
            });
            return Err(found.refuse(what));
        }
    };
    let mut place = &root;
    for key in ["ema_params", "params", "params"] {
        place = child(place, key).unwrap_or(place);
    }
    flatten(place, &mut String::new(), &mut found)?;
    if found.is_empty() {
        let problem = "is not a Flax checkpoint: it holds no arrays; bring another copy";
        return Err(found.refuse(problem.into()));
    }
    Ok(found)
}

fn child<'a, 'b>(map: &'b ValueRef<'a>, key: &str) -> Option<&'b ValueRef<'a>> {
    let ValueRef::Map(entries) = map else { return None };
    entries.iter().find(|(name, _)| text(name) == Some(key)).map(|(_, value)| value)
}

/// All arrays below `value`, which is called `name`.
fn flatten(value: &ValueRef<'_>, name: &mut String, found: &mut Tensors) -> Result<(), Error> {
    if let Some(tensor) = array(value).map_err(|p| found.refuse(format!("{} {p}", said(name))))? {
        return found.insert(name, &tensor);
    }
    let ValueRef::Map(entries) = value else {
        return Err(found.refuse(format!("{} is neither an array nor a map of them", said(name))));
    };
    let length = name.len();
    for (key, value) in entries {
        let key = text(key)
            .ok_or_else(|| found.refuse(format!("{} has a key that is no text", said(name))))?;
        if length + key.len() >= LONGEST_NAME {
            return Err(found.refuse(format!(
                "{} has a name below it that makes more than {LONGEST_NAME} bytes; rename it, or bring \
                 another file",
                said(name)
            )));
        }
        if length > 0 {
            name.push('/');
        }
        name.push_str(key);
        flatten(value, name, found)?;
        name.truncate(length);
    }
    Ok(())
}

/// What has a name, in a message; the root has none.
fn said(name: &str) -> &str {
    if name.is_empty() { "the tree of parameters" } else { name }
}

/// The array a leaf holds, if it is one.
fn array(value: &ValueRef<'_>) -> Result<Option<Tensor>, String> {
    if let ValueRef::Ext(ARRAY, content) = value {
        return decode(content).map(Some);
    }
    if child(value, CHUNKED).is_none() {
        return Ok(None);
    }
    let list = |key| -> Result<Vec<&ValueRef<'_>>, String> {
        let Some(ValueRef::Map(entries)) = child(value, key) else {
            return Err(format!("is chunked but has no {key}"));
        };
        let by_name: HashMap<_, _> =
            entries.iter().map(|(name, part)| (text(name), part)).collect();
        let numbered = (0..entries.len()).map(|i| by_name.get(&Some(&*i.to_string())).copied());
        let parts: Option<Vec<_>> = numbered.collect();
        parts.ok_or_else(|| format!("has {key} that are not numbered from 0"))
    };
    let shape = sides(list("shape")?)?;
    let chunks: Result<Vec<Tensor>, String> = list("chunks")?
        .into_iter()
        .map(|chunk| match chunk {
            ValueRef::Ext(ARRAY, content) => decode(content),
            _ => Err("has a chunk that is no array".to_owned()),
        })
        .collect();
    let chunks = chunks?;
    if chunks.is_empty() {
        return Err("is chunked but has no chunk".into());
    }
    let whole = Tensor::f_cat(&chunks, 0).and_then(|flat| flat.f_reshape(&shape));
    whole.map(Some).map_err(|_| format!("has chunks that do not fill {shape:?}"))
}

/// `[shape, type, bytes]`.
fn decode(content: &[u8]) -> Result<Tensor, String> {
    let value = rmpv::decode::read_value_ref(&mut &*content)
        .map_err(|e| format!("holds no MessagePack ({e})"))?;
    let ValueRef::Array(parts) = &value else {
        return Err("holds no shape, type and bytes".into());
    };
    let [ValueRef::Array(shape), kind, data] = parts.as_slice() else {
        return Err("holds no shape, type and bytes".into());
    };
    let shape = sides(shape)?;
    let data = bytes(data).ok_or("holds no bytes")?;
    let kind = match bytes(kind) {
        Some(b"float32") => Kind::Float,
        Some(b"float64") => Kind::Double,
        Some(b"float16") => Kind::Half,
        Some(b"bfloat16") => Kind::BFloat16,
        other => {
            let name = String::from_utf8_lossy(other.unwrap_or_default());
            return Err(tensors::not_floats(name));
        }
    };
    tensors::tensor(data, &shape, kind)
}

fn sides<'a, 'b: 'a>(list: impl IntoIterator<Item = &'a ValueRef<'b>>) -> Result<Vec<i64>, String> {
    let side = |side: &ValueRef<'_>| i64::try_from(side.as_u64()?).ok();
    let sides: Option<Vec<i64>> = list.into_iter().map(side).collect();
    sides.ok_or_else(|| "has a shape that is no list of whole numbers".to_owned())
}

fn text<'a>(value: &'a ValueRef<'_>) -> Option<&'a str> {
    bytes(value).and_then(|text| std::str::from_utf8(text).ok())
}

/// Text or binary data as bytes.
fn bytes<'a>(value: &'a ValueRef<'_>) -> Option<&'a [u8]> {
    match value {
        ValueRef::String(text) => Some(text.as_bytes()),
        ValueRef::Binary(data) => Some(data),
        _ => None,
    }
}
