//! Event files, read back by a parser that shares nothing with the writer: a bitwise CRC and the
//! protobuf wire format by hand.

use std::fs;
use std::path::{Path, PathBuf};

use vdm_report::preview::scatter;
use vdm_report::tensorboard::EventWriter;

/// CRC-32C bit by bit: reflected polynomial 0x82f63b78.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The payloads of a `TFRecord` file, checksums checked.
fn records(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let mut rest = bytes.as_slice();
    let mut take = |count: usize| {
        let (head, tail) = rest.split_at_checked(count)?;
        rest = tail;
        Some(head)
    };
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
    let mut payloads = vec![];
    while let Some(length) = take(8) {
        assert_eq!(number(take(4).unwrap()), masked(length));
        let payload = take(u64::from_le_bytes(length.try_into().unwrap()) as usize).unwrap();
        assert_eq!(number(take(4).unwrap()), masked(payload));
        payloads.push(payload.to_vec());
    }
    payloads
}

/// A field of a protobuf message: its bytes, or a number as 8 little-endian bytes.
fn fields(mut message: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut all = vec![];
    while !message.is_empty() {
        let key = varint(&mut message);
        let length = match key & 7 {
            0 => {
                all.push((key >> 3, varint(&mut message).to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            2 => varint(&mut message) as usize,
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (value, rest) = message.split_at(length);
        all.push((key >> 3, value.to_vec()));
        message = rest;
    }
    all
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (first, rest) = message.split_first().unwrap();
        *message = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            break;
        }
    }
    value
}

fn field(message: &[u8], number: u64) -> Option<Vec<u8>> {
    fields(message).into_iter().find(|field| field.0 == number).map(|field| field.1)
}

fn integer(message: &[u8], number: u64) -> u64 {
    // Zero is not written.
    field(message, number).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
}

/// The single value of a summary event, after a check of its step and tag.
fn value(event: &[u8], step: u64, tag: &str) -> Vec<u8> {
    assert_eq!(integer(event, 2), step);
    let value = field(&field(event, 5).unwrap(), 1).unwrap();
    assert_eq!(field(&value, 1).unwrap(), tag.as_bytes());
    value
}

fn event_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn the_checksum_here_is_the_documented_one() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn events_are_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let preview = scatter([[0.5, 0.5]], 0.0..=1.0, 300).unwrap();
    let mut writer = EventWriter::create(folder.path(), 0).unwrap();
    writer.scalar(3, "train/loss", 0.0).unwrap();
    writer.scalar(1 << 40, "train/loss", f64::NAN).unwrap();
    writer.image(500, "samples", &preview).unwrap();
    writer.text(0, "config", "**λ**").unwrap();

    let events = records(writer.path());
    assert_eq!(events.len(), 6);
    assert_eq!(field(&events[0], 3).unwrap(), b"brain.Event:2");
    let wall_time = f64::from_le_bytes(field(&events[0], 1).unwrap().try_into().unwrap());
    assert!(wall_time > 1.7e9, "seconds since 1970: {wall_time}");

    let number = |value: Vec<u8>| f32::from_le_bytes(field(&value, 2).unwrap().try_into().unwrap());
    assert_eq!(number(value(&events[2], 3, "train/loss")), 0.0);
    assert!(number(value(&events[3], 1 << 40, "train/loss")).is_nan());

    let image = field(&value(&events[4], 500, "samples"), 4).unwrap();
    assert_eq!([1, 2, 3].map(|number| integer(&image, number)), [300, 300, 3]);
    assert_eq!(field(&image, 4).unwrap(), preview.png().unwrap());

    let text = value(&events[5], 0, "config");
    let plugin = field(&field(&text, 9).unwrap(), 1).unwrap();
    assert_eq!(field(&plugin, 1).unwrap(), b"text");
    let tensor = field(&text, 8).unwrap();
    assert_eq!((integer(&tensor, 1), field(&tensor, 8).unwrap()), (7, "**λ**".as_bytes().to_vec()));
}

#[test]
fn a_resumed_run_opens_a_later_file_that_supersedes_from_its_first_step() {
    let folder = tempfile::tempdir().unwrap();
    for first_step in [1, 21] {
        EventWriter::create(folder.path(), first_step).unwrap();
    }
    let paths = event_files(folder.path());
    assert_eq!(paths.len(), 2);
    for (path, first_step) in paths.iter().zip([1, 21]) {
        let start = &records(path)[1];
        assert_eq!(integer(start, 2), first_step);
        // SessionLog.status = START
        assert_eq!(integer(&field(start, 7).unwrap(), 1), 1);
    }
}

#[test]
fn a_clock_set_back_does_not_change_the_order_of_files() {
    let folder = tempfile::tempdir().unwrap();
    let earlier = "events.out.tfevents.9999999998.vdm.0000";
    fs::write(folder.path().join(earlier), b"").unwrap();
    fs::write(folder.path().join("events.out.tfevents.later"), b"").unwrap();
    let writer = EventWriter::create(folder.path(), 1).unwrap();
    let name = writer.path().file_name().unwrap().to_str().unwrap();
    assert_eq!(name, "events.out.tfevents.9999999998.vdm.0001");
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    let message = EventWriter::create(&file, 0).unwrap_err().to_string();
    assert!(message.contains("cannot create the folder"), "{message}");
}
