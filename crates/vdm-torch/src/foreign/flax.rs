//! Flax's own checkpoint format.
//!
//! One `MessagePack` map of maps. A leaf that is an array is an extension of type 1 whose content is
//! again `MessagePack`: `[shape, name of the type, bytes]`, row-major and little-endian. An array too
//! large for one leaf is a map `{"__msgpack_chunked_array__": true, "shape": {"0": …},
//! "chunks": {"0": …}}` with its flat parts in order.

use std::collections::BTreeMap;
use std::path::Path;

use rmpv::ValueRef;
use tch::{Kind, Tensor};

use super::tensors::Tensors;
use crate::Error;

const ARRAY: i8 = 1;
const CHUNKED: &str = "__msgpack_chunked_array__";

/// The averaged parameters of a checkpoint (`ema_params`), or if it has none its `params`, or the
/// file itself if it is nothing but parameters; names joined with `/`.
pub(super) fn parameters(path: &Path) -> Result<Tensors, Error> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let refuse = |problem: String| Error::Foreign { path: path.into(), problem };
    let root = rmpv::decode::read_value_ref(&mut bytes.as_slice())
        .map_err(|e| refuse(format!("is not a Flax checkpoint: it is no MessagePack ({e})")))?;
    let mut place = &root;
    for key in ["ema_params", "params", "params"] {
        place = child(place, key).unwrap_or(place);
    }
    let mut found = BTreeMap::new();
    flatten(place, "", &mut found).map_err(refuse)?;
    Ok(Tensors::new(path, found))
}

fn child<'a, 'b>(map: &'b ValueRef<'a>, key: &str) -> Option<&'b ValueRef<'a>> {
    let ValueRef::Map(entries) = map else { return None };
    entries.iter().find(|(name, _)| text(name) == Some(key)).map(|(_, value)| value)
}

/// All arrays below `value`.
fn flatten(
    value: &ValueRef<'_>,
    name: &str,
    found: &mut BTreeMap<String, Tensor>,
) -> Result<(), String> {
    if let Some(tensor) = array(value).map_err(|problem| format!("{name} {problem}"))? {
        found.insert(name.to_owned(), tensor);
        return Ok(());
    }
    let ValueRef::Map(entries) = value else {
        return Err(format!("{name} is neither an array nor a map of them"));
    };
    for (key, value) in entries {
        let key = text(key).ok_or_else(|| format!("{name} has a key that is no text"))?;
        let name = if name.is_empty() { key.to_owned() } else { format!("{name}/{key}") };
        flatten(value, &name, found)?;
    }
    Ok(())
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
        let map = child(value, key).ok_or_else(|| format!("is chunked but has no {key}"))?;
        Ok((0_usize..).map_while(|i| child(map, &i.to_string())).collect())
    };
    let shape = sides(list("shape")?)?;
    let chunks: Result<Vec<Tensor>, String> = list("chunks")?
        .into_iter()
        .map(|chunk| array(chunk)?.ok_or_else(|| "has a chunk that is no array".to_owned()))
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
            return Err(format!("is of type {name:?} instead of a float"));
        }
    };
    let mut items = shape.iter().map(|side| usize::try_from(*side).ok());
    let items = items.try_fold(1_usize, |product, side| product.checked_mul(side?));
    if items.and_then(|items| items.checked_mul(kind.elt_size_in_bytes())) != Some(data.len()) {
        return Err(format!("has {} bytes, which do not fill {shape:?}", data.len()));
    }
    Tensor::f_from_data_size(data, &shape, kind).map_err(|e| e.to_string())
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
