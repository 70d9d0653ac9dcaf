//! `TensorBoard` event files, in their documented format.
//!
//! An event file is a sequence of `TFRecords` (`record.rs`), each a protobuf `Event` (`proto.rs`). Point
//! `tensorboard --logdir` at the run folder, or at the folder of all runs, to follow a training.
//!
//! A resumed run writes a further file. It opens with a session-start event, at which `TensorBoard`
//! discards what earlier files hold from that step on: the tail of an interrupted run that is about
//! to be written again.
//!
//! ```
//! use vdm_report::tensorboard::EventWriter;
//!
//! # let temporary = tempfile::tempdir()?;
//! # let run_folder = temporary.path();
//! let mut events = EventWriter::create(run_folder, 1)?;
//! events.scalar(1, "train/loss_bits_per_dim", 4.2)?;
//! events.scalar(2, "train/loss_bits_per_dim", 3.9)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod proto;
mod record;

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use crate::{Error, Preview};
use proto::{Event, Summary, Value, event::What, value::Content};

/// Appends events to a file of its own. Each event is one write, so there is nothing to flush.
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: File,
}

impl EventWriter {
    /// Creates the next event file in `folder`. `first_step` is the first step whose events it will
    /// hold: 0 or 1 for a new run, one more than the last step kept for a resumed one. `TensorBoard`
    /// drops all events of earlier files from that step on.
    ///
    /// # Errors
    /// [`Error::Io`] where the system refuses.
    pub fn create(folder: &Path, first_step: u64) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(Error::io("create the folder", folder))?;
        let (path, file) = create_next(folder)?;
        let mut writer = Self { path, file };
        writer.write(0, What::FileVersion("brain.Event:2".to_owned()))?;
        writer.write(first_step, What::SessionLog(proto::SessionLog { status: proto::START }))?;
        Ok(writer)
    }

    /// The file being written.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A point of the curve named `tag`; a slash in the tag groups curves ("train/loss"). Rounded to
    /// f32, which is what the format holds.
    ///
    /// # Errors
    /// [`Error::Io`] where the system refuses.
    pub fn scalar(&mut self, step: u64, tag: &str, value: f64) -> Result<(), Error> {
        self.summary(step, Value::new(tag, Content::SimpleValue(value as f32)))
    }

    /// A preview.
    ///
    /// # Errors
    /// [`Error::EncodePng`], or [`Error::Io`] where the system refuses.
    pub fn image(&mut self, step: u64, tag: &str, preview: &Preview) -> Result<(), Error> {
        let image = proto::Image::rgb(preview.width(), preview.height(), preview.png()?);
        self.summary(step, Value::new(tag, Content::Image(image)))
    }

    /// A text, which `TensorBoard` renders as Markdown.
    ///
    /// # Errors
    /// [`Error::Io`] where the system refuses.
    pub fn text(&mut self, step: u64, tag: &str, text: &str) -> Result<(), Error> {
        self.summary(step, Value::text(tag, text))
    }

    fn summary(&mut self, step: u64, value: Value) -> Result<(), Error> {
        self.write(step, What::Summary(Summary { value: vec![value] }))
    }

    fn write(&mut self, step: u64, what: What) -> Result<(), Error> {
        let wall_time = since_epoch().as_secs_f64();
        // The format counts steps in 63 bits.
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        let event = Event { wall_time, step, what: Some(what) };
        let framed = record::frame(&event.encode_to_vec());
        self.file.write_all(&framed).map_err(Error::io("append to", &self.path))
    }
}

/// `TensorBoard` reads the files of a folder in the order of their names, so these sort by time, then
/// by a counter, and after all that are there, though the clock may have been set back since.
/// `create_new` makes two writers in one second take different files.
fn create_next(folder: &Path) -> Result<(PathBuf, File), Error> {
    let list = fs::read_dir(folder).map_err(Error::io("list", folder))?;
    let there = list.flatten().filter_map(|entry| second_of(entry.file_name().to_str()?));
    let second = there.fold(since_epoch().as_secs(), u64::max);
    let mut counter = 0_u32;
    loop {
        let path = folder.join(format!("events.out.tfevents.{second:010}.vdm.{counter:04}"));
        match OpenOptions::new().append(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => counter += 1,
            Err(source) => return Err(Error::io("create", &path)(source)),
        }
    }
}

/// When the event file of this name was begun.
fn second_of(name: &str) -> Option<u64> {
    name.strip_prefix("events.out.tfevents.")?.split('.').next()?.parse().ok()
}

/// A clock set before 1970 reads as 1970: it only shifts a display.
fn since_epoch() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
