//! What is said of data and the schedule that they are trained under.

use std::fs;
use std::process::{Command, Output, Stdio};

/// One step of a small network on gray images of 8×8 pixels and 256 values.
fn train(folder: &std::path::Path, out: &str, more: &[&str]) -> Output {
    let array = folder.join("fine.npy");
    let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (40, 8, 8), }";
    let header = format!("{header:<117}\n");
    let pixels = (0..40 * 64_u32).map(|i| (i * 37 % 256) as u8);
    let start = b"\x93NUMPY\x01\x00\x76\x00".iter().copied();
    fs::write(&array, start.chain(header.bytes()).chain(pixels).collect::<Vec<u8>>()).unwrap();
    let fixed = "train --threads 1 --steps 1 --set network.width=8 --set network.depth=1 \
                 --set network.groups=2 --set evaluation.draws=1 --set sampler.steps=2 \
                 --set output.samples=1";
    let mut vdm = Command::new(env!("CARGO_BIN_EXE_vdm"));
    vdm.args(fixed.split_whitespace()).arg("--data").arg(array).arg("--out").arg(folder.join(out));
    vdm.args(more).stdin(Stdio::null()).output().expect("vdm starts")
}

fn texts(output: &Output) -> [String; 2] {
    assert!(output.status.success(), "{output:?}");
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// The option that a warning names works as it stands.
#[test]
fn a_schedule_that_ends_early_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let [_, warned] = texts(&train(folder.path(), "digits", &["--preset", "digits"]));
    assert!(warned.contains("warning: the schedule ends at log-SNR 8.5"), "{warned}");
    assert!(warned.contains("will cost 2."), "{warned}");
    let (_, remedy) = warned.split_once("--set ").unwrap();
    let remedy = remedy.split_whitespace().next().unwrap();
    let mended = ["--preset", "digits", "--set", remedy];
    let [_, quiet] = texts(&train(folder.path(), "mended", &mended));
    assert!(!quiet.contains("warning"), "{quiet}");
}

#[test]
fn data_without_a_preset_are_told_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let [said, quiet] = texts(&train(folder.path(), "own", &[]));
    assert!(said.contains("preset digits up to log-SNR 13.3"), "{said}");
    assert!(said.contains("1×8×8 and 256 values; --preset NAME takes another"), "{said}");
    assert!(!quiet.contains("warning"), "{quiet}");
}
