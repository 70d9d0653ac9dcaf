//! The messages of `TensorFlow`'s `event.proto`, `summary.proto` and `tensor.proto` that `TensorBoard`
//! needs, with the fields we write. Field numbers are the format; absent fields have defaults.

use prost::{Message, Oneof};

/// `SessionLog.SessionStatus.START`.
pub(super) const START: i32 = 1;
/// `DataType.DT_STRING`.
const DT_STRING: i32 = 7;
/// `Summary.Image.colorspace`: RGB.
const RGB: i32 = 3;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub(super) wall_time: f64,
    #[prost(int64, tag = "2")]
    pub(super) step: i64,
    #[prost(oneof = "event::What", tags = "3, 5, 7")]
    pub(super) what: Option<event::What>,
}

pub(super) mod event {
    use super::{Oneof, SessionLog, Summary};

    #[derive(Clone, PartialEq, Oneof)]
    pub(in super::super) enum What {
        #[prost(string, tag = "3")]
        FileVersion(String),
        #[prost(message, tag = "5")]
        Summary(Summary),
        #[prost(message, tag = "7")]
        SessionLog(SessionLog),
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SessionLog {
    #[prost(int32, tag = "1")]
    pub(super) status: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Summary {
    #[prost(message, repeated, tag = "1")]
    pub(super) value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(oneof = "value::Content", tags = "2, 4, 8")]
    content: Option<value::Content>,
    #[prost(message, optional, tag = "9")]
    metadata: Option<Metadata>,
}

pub(super) mod value {
    use super::{Image, Oneof, Tensor};

    #[derive(Clone, PartialEq, Oneof)]
    pub(in super::super) enum Content {
        #[prost(float, tag = "2")]
        SimpleValue(f32),
        #[prost(message, tag = "4")]
        Image(Image),
        #[prost(message, tag = "8")]
        Tensor(Tensor),
    }
}

impl Value {
    pub(super) fn new(tag: &str, content: value::Content) -> Self {
        Self { tag: tag.to_owned(), content: Some(content), metadata: None }
    }

    /// A scalar tensor of one string, marked for the text plugin.
    pub(super) fn text(tag: &str, text: &str) -> Self {
        let tensor = Tensor { dtype: DT_STRING, string_val: vec![text.as_bytes().to_vec()] };
        let plugin_data = Some(PluginData { plugin_name: "text".to_owned() });
        Self {
            tag: tag.to_owned(),
            content: Some(value::Content::Tensor(tensor)),
            metadata: Some(Metadata { plugin_data }),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Image {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    #[prost(int32, tag = "3")]
    colorspace: i32,
    #[prost(bytes = "vec", tag = "4")]
    encoded: Vec<u8>,
}

impl Image {
    pub(super) fn rgb(width: u32, height: u32, encoded: Vec<u8>) -> Self {
        // Previews have at most 2^26 pixels.
        Self { height: height as i32, width: width as i32, colorspace: RGB, encoded }
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Tensor {
    #[prost(int32, tag = "1")]
    dtype: i32,
    #[prost(bytes = "vec", repeated, tag = "8")]
    string_val: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Metadata {
    #[prost(message, optional, tag = "1")]
    plugin_data: Option<PluginData>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PluginData {
    #[prost(string, tag = "1")]
    plugin_name: String,
}
