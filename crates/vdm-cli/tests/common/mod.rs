//! The program, and a run that takes milliseconds a step.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A network so small that a step takes milliseconds.
const TINY: [&str; 14] = [
    "--set",
    "network.width=8",
    "--set",
    "network.depth=1",
    "--set",
    "network.groups=2",
    "--set",
    "evaluation.draws=1",
    "--set",
    "sampler.steps=3",
    "--set",
    "output.samples=4",
    "--set",
    "output.log_every=5",
];

pub(crate) fn vdm(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vdm"));
    command.args(arguments).stdin(Stdio::null());
    command
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    vdm(arguments).output().expect("vdm starts")
}

pub(crate) fn train(out: &Path, more: &[&str]) -> Vec<String> {
    let out = out.to_str().expect("a UTF-8 path");
    let fixed = ["train", "--out", out, "--threads", "1"];
    fixed.iter().chain(&TINY).chain(more).map(ToString::to_string).collect()
}

pub(crate) fn refs(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}
