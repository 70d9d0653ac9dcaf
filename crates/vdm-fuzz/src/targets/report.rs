//! What a run leaves for people, read again.

use std::path::Path;

use serde_json::Value;
use vdm_files::seal_line;
use vdm_report::metrics::MetricsLog;
use vdm_report::result::{LossByLogSnr, RunResult};
use vdm_report::tensorboard::EventWriter;
use vdm_report::{RunDir, report};

use super::{Kind, Scratch, Target, Verdict, document, sealed, texts, verdict};

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target { name: "metrics", kind: Kind::Bytes, corpus: metrics_corpus, check: metrics },
        Target {
            name: "metrics_line",
            kind: Kind::Json,
            corpus: || lines().map(|line| line.as_bytes().to_vec()).collect(),
            check: |scratch, input| {
                let one_line = input.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte });
                metrics(scratch, &one_line.chain([b'\n']).collect::<Vec<_>>())
            },
        },
        Target {
            name: "result",
            kind: Kind::Json,
            corpus: || texts(&[RESULT]),
            check: |_, input| document::<RunResult>(input, |_| ()),
        },
        Target {
            name: "loss_by_log_snr",
            kind: Kind::Json,
            corpus: || texts(&[CURVE]),
            check: |scratch, input| {
                let read = LossByLogSnr::read(&scratch.write("curve.json", &sealed(input)));
                if let Ok(curve) = &read {
                    assert!(curve.diffusion_bits_per_dim().is_finite());
                }
                verdict(&read)
            },
        },
        Target { name: "report", kind: Kind::Json, corpus: || texts(&[RUN]), check: page },
        Target {
            name: "tensorboard",
            kind: Kind::Bytes,
            corpus: || texts(&["train/loss", "samples \u{3bb} \u{0}", "**config**\n\n| a | b |"]),
            check: events,
        },
    ]
}

const RESULT: &str = r#"{"preset": "digits", "data": {"name": "digits", "sha256": "ab12", "items": 1797},
"steps": 8000, "skipped": 3, "seconds": 240.5, "images_per_second": 4000.0, "parameters": 400000, "device": "cpu, 2 threads",
"libtorch": "2.11.0", "seed": 1, "test": {"bits_per_dim": 1.73, "standard_error": 0.014,
"terms": [{"name": "prior", "bits_per_dim": 0.001}, {"name": "diffusion", "bits_per_dim": 1.729}], "items": 359, "estimator": "L_inf"}, "other": [1, {"a": null}]}"#;

const CURVE: &str = r#"{"log_snr": [-4.0, -1.5, 0.0, 2.0], "loss": [0.9, 0.6, null, 0.1],
"standard_error": [0.01, 0.02, 0.03, 0.04], "data_dims": 64}"#;

/// Parts of a run's folder, by what file each is.
const RUN: &str = r#"{"config": {"preset": "digits", "seed": 1, "training": {"steps": 10}},
"metrics": [{"kind": "validation", "step": 5, "bits_per_dim": 2.0, "standard_error": 0.1,
"prior": 0.1, "reconstruction": 0.2, "diffusion": 1.7}], "curve": {"log_snr": [-4.0, 0.0, 2.0],
"loss": [0.9, 0.6, 0.1], "standard_error": [0.01, 0.02, 0.03], "data_dims": 64},
"noise_levels": {"step": 5, "schedule_at_start": [[0.0, 5.0], [1.0, -5.0]], "schedule": [[0.0, 5.0], [1.0, -5.0]],
"density": [[-5.0, 0.1], [5.0, 0.1]]}}"#;

fn lines() -> impl Iterator<Item = &'static str> {
    [
        r#"{"kind": "train", "step": 1, "loss_bits_per_dim": 3.2, "terms": [{"name": "diffusion", "bits_per_dim": 3.1}],
            "learning_rate": 0.001, "gradient_norm": 2.5, "variance": {"loss_variance": null,
            "relative_variance": 1.5, "least_variance_share": 0.4}}"#,
        r#"{"kind": "train", "step": 2, "skipped": 1, "loss_bits_per_dim": null, "terms": [],
            "weighted_loss": 0.5, "learning_rate": 0.001, "gradient_norm": 2.4}"#,
        r#"{"kind": "validation", "step": 2, "bits_per_dim": 2.0, "standard_error": 0.1,
            "terms": [{"name": "reconstruction", "bits_per_dim": 0.3}, {"name": "diffusion", "bits_per_dim": 1.7}]}"#,
    ]
    .into_iter()
}

fn metrics_corpus() -> Vec<Vec<u8>> {
    let log: String = lines().map(|line| line.replace('\n', " ") + "\n").collect();
    vec![log.clone().into_bytes(), log.trim_end().as_bytes().to_vec()]
}

/// A log that can be read is the same when it is written again, and damage to a line takes nothing from those
/// before it. Lines are sealed here, so that mutants get past the seals.
fn metrics(scratch: &Scratch, input: &[u8]) -> Verdict {
    let (mut log, mut seal) = (Vec::new(), String::new());
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        let sealed = serde_json::from_slice::<Value>(line)
            .ok()
            .and_then(|value| seal_line(&value, &seal).ok());
        match sealed {
            Some((text, own)) => {
                log.extend_from_slice(text.as_bytes());
                log.push(b'\n');
                seal = own;
            }
            None => log.extend_from_slice(line),
        }
    }
    let path = scratch.write("metrics.jsonl", &log);
    let intact = MetricsLog::intact(&path).expect("a file that is there");
    let read = MetricsLog::read(&path);
    assert_eq!(read.is_ok(), intact.fault.is_none(), "reading and what is intact agree");
    if let Ok(records) = &read {
        MetricsLog::create(&path, records).expect("records can be written");
        let again = MetricsLog::read(&path).expect("a log that was written");
        assert_eq!(again.len(), records.len());
    }
    verdict(&read)
}

/// Every part of a report is optional, and none may break the page.
fn page(scratch: &Scratch, input: &[u8]) -> Verdict {
    let Ok(parts) = serde_json::from_slice::<Value>(input) else {
        return Verdict::Refused;
    };
    let run = RunDir::new(scratch.path("run"));
    let records = parts["metrics"].as_array().cloned().unwrap_or_default();
    let (mut log, mut last) = (String::new(), String::new());
    for record in &records {
        let Ok((line, own)) = seal_line(record, &last) else { return Verdict::Refused };
        log = log + &line + "\n";
        last = own;
    }
    let place = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        format!("run/{name}")
    };
    for (path, text) in [
        (run.config(), parts["config"].to_string()),
        (run.loss_by_log_snr(), parts["curve"].to_string()),
        (run.noise_levels(), parts["noise_levels"].to_string()),
    ] {
        scratch.write(&place(&path), &sealed(text.as_bytes()));
    }
    scratch.write(&place(&run.metrics()), log.as_bytes());
    verdict(&report::write(&run))
}

/// A tag and a text of any content, a step and a number, written as events and read back by a reader that
/// shares nothing with the writer.
fn events(scratch: &Scratch, input: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(input);
    let number = |at: usize| {
        let byte = |i: usize| input.get(at + i).copied().unwrap_or(0);
        u64::from_le_bytes(std::array::from_fn(byte))
    };
    let (step, value) = (number(0) >> 1, f64::from_bits(number(3)));
    let folder = scratch.path("events");
    let mut writer = EventWriter::create(&folder, 0).expect("a folder can be made");
    writer.scalar(step, &text, value).expect("a scalar can be written");
    writer.text(step, &text, &text).expect("a text can be written");
    let bytes = std::fs::read(writer.path()).expect("what was written is there");
    let records = records(&bytes);
    std::fs::remove_file(writer.path()).expect("a file can be removed");
    assert_eq!(records.len(), 4, "two records of the start, a scalar and a text");
    let tag = text.as_bytes();
    for record in &records[2..] {
        assert!(record.windows(tag.len().max(1)).any(|part| part == tag) || tag.is_empty());
    }
    Verdict::Accepted
}

/// The payloads of a `TFRecord` file, checksums checked.
fn records(mut rest: &[u8]) -> Vec<&[u8]> {
    let mut payloads = vec![];
    while !rest.is_empty() {
        let length = take(&mut rest, 8);
        assert_eq!(take(&mut rest, 4), masked(length).to_le_bytes());
        let count = u64::from_le_bytes(length.try_into().expect("8 bytes"));
        let payload = take(&mut rest, usize::try_from(count).expect("a length in memory"));
        assert_eq!(take(&mut rest, 4), masked(payload).to_le_bytes());
        payloads.push(payload);
    }
    payloads
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (head, tail) = rest.split_at(count);
    *rest = tail;
    head
}

/// CRC-32C bit by bit, reflected polynomial 0x82f63b78, masked as `TFRecord` has it.
fn masked(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    let crc = !bytes.iter().fold(u32::MAX, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step));
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}
