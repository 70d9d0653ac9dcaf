//! Runs that are interrupted, removed, finished or without room: what is on disk is whole, and what is
//! said is true.

#![cfg(target_os = "linux")]

mod common;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::Duration;

use common::{refs, run, train, vdm};
use serde_json::{Value, json};

/// Long enough that a test does not see its end.
const ENDLESS: [&str; 2] = ["--set", "sampler.steps=50000"];

fn signal(child: &Child, name: &str) {
    // The shell's own `kill`: the program of that name is not on every machine.
    let kill = format!("kill -{name} {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

/// Waits until something is so, as long as the child lives.
fn wait_until(child: &mut Child, is_so: impl Fn() -> bool) {
    while !is_so() {
        thread::sleep(Duration::from_millis(5));
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
    }
}

/// The end of a child that has to end soon; a minute is for machines with much else to do.
fn end_of(mut child: Child) -> Output {
    for _ in 0..6000 {
        if child.try_wait().unwrap().is_some() {
            return child.wait_with_output().unwrap();
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    panic!("it does not end");
}

/// Whether a process has a handler for SIGINT, the second bit of a mask in hexadecimal.
fn listens(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & 2 != 0
}

fn start(arguments: &[&str]) -> Child {
    vdm(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn texts(output: &Output) -> [String; 2] {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Kind and step of each line of metrics.
fn metrics(run: &Path) -> Vec<(String, u64)> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.map(|r| (r["kind"].to_string(), r["step"].as_u64().unwrap())).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// In a validation, while samples are drawn, and in the test at the end: the process ends at once, and the
/// run goes on from its last step, as if nothing had been.
#[test]
fn a_signal_in_what_takes_long_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, stopped) = (folder.path().join("whole"), folder.path().join("stopped"));
    let steps = ["--steps", "3", "--set", "output.log_every=1"];
    assert!(run(&refs(&train(&whole, &steps))).status.success());

    let mut child = start(&refs(&train(&stopped, &[&steps[..], &ENDLESS].concat())));
    let checkpoint = stopped.join("checkpoints/step-00000003/checkpoint.json");
    wait_until(&mut child, || checkpoint.exists());
    signal(&child, "TERM");
    let output = end_of(child);
    let [out, err] = texts(&output);
    assert_eq!(output.status.code(), Some(143), "{out}{err}");
    assert_eq!(err.matches("stopping").count(), 1, "{err}");
    assert!(out.contains("stopped and saved at step 3") && out.contains("--resume"), "{out}");

    // Now in the middle of the samples of step 3.
    let resume = ["train", "--threads", "1", "--resume", stopped.to_str().unwrap()];
    let mut child = start(&resume);
    wait_until(&mut child, || json_of(&checkpoint)["validation"].is_f64());
    signal(&child, "INT");
    let output = end_of(child);
    let [out, err] = texts(&output);
    assert_eq!(output.status.code(), Some(130), "{out}{err}");
    assert!(out.contains("step 3 of 3"), "{out}");

    let config = stopped.join("config.json");
    let mut changed = json_of(&config);
    changed["sampler"] = json_of(&whole.join("config.json"))["sampler"].clone();
    fs::write(&config, changed.to_string()).unwrap();
    let [out, err] = texts(&run(&resume));
    assert!(out.contains("step 3 of 3") && out.contains("test "), "{out}{err}");
    assert_eq!(metrics(&whole), metrics(&stopped));
    for file in
        ["checkpoints/step-00000003/model.safetensors", "samples/step-00000003.png", "samples.npy"]
    {
        let [a, b] = [&whole, &stopped].map(|run| fs::read(run.join(file)).unwrap());
        assert!(a == b, "{file}");
    }
}

/// `timeout` sends two signals for one.
#[test]
fn two_signals_at_once_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut child = start(&refs(&train(&out, &["--steps", "100000"])));
    wait_until(&mut child, || out.join("metrics.jsonl").exists() && !metrics(&out).is_empty());
    signal(&child, "INT");
    signal(&child, "INT");
    let output = end_of(child);
    let [said, err] = texts(&output);
    assert_eq!(output.status.code(), Some(130), "{said}{err}");
    assert!(said.contains("stopped and saved at step"), "{said}");
    assert!(!names(&out.join("checkpoints")).is_empty());
}

#[test]
fn a_signal_ends_any_command_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    assert!(run(&refs(&train(&out, &["--steps", "1"]))).status.success());
    let (dir, results) = (out.to_str().unwrap(), folder.path().join("results"));
    let place = |name: &str| results.join(name).to_str().unwrap().to_owned();
    let (png, json, file) = (place("x.png"), place("x.json"), place("x.vdmz"));
    for arguments in [
        ["sample", "--steps", "50000", "--out", &png],
        ["eval", "--draws", "100000", "--out", &json],
        ["compress", "--steps", "20000", "--out", &file],
    ] {
        fs::create_dir(&results).unwrap();
        let mut child = start(&[&arguments[..1], &["--run", dir], &arguments[1..]].concat());
        let status = format!("/proc/{}/status", child.id());
        wait_until(&mut child, || listens(&fs::read_to_string(&status).unwrap()));
        // Into what takes long.
        thread::sleep(Duration::from_millis(500));
        signal(&child, "INT");
        let output = end_of(child);
        let [said, err] = texts(&output);
        assert_eq!(output.status.code(), Some(130), "{arguments:?}: {said}{err}");
        assert_eq!(err, "stopping\n", "{arguments:?}");
        assert!(said.is_empty() && names(&results).is_empty(), "{arguments:?}: {said}");
        fs::remove_dir(&results).unwrap();
    }
}

/// What is done to a run folder, after the words that an error names it with.
type Robbery = (&'static str, fn(&Path));

#[test]
fn a_run_that_was_removed_or_robbed_ends_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let robberies: [Robbery; 3] = [
        ("was removed or replaced", |run| fs::rename(run, run.with_extension("away")).unwrap()),
        ("config.json was removed", |run| fs::remove_file(run.join("config.json")).unwrap()),
        ("was removed or replaced", |run| {
            fs::rename(run, run.with_extension("old")).unwrap();
            fs::create_dir(run).unwrap();
            fs::write(run.join(".lock"), b"").unwrap();
        }),
    ];
    for (number, (named, rob)) in robberies.into_iter().enumerate() {
        let out = folder.path().join(format!("run-{number}"));
        let mut child = start(&refs(&train(&out, &["--steps", "100000"])));
        wait_until(&mut child, || out.join("metrics.jsonl").exists() && !metrics(&out).is_empty());
        rob(&out);
        let output = end_of(child);
        let [said, err] = texts(&output);
        assert_eq!(output.status.code(), Some(1), "{said}{err}");
        assert!(err.contains(named) && err.contains(out.to_str().unwrap()), "{err}");
        assert!(!out.join("report.html").exists());
    }
}

#[test]
fn a_finished_run_says_so_and_none_is_shortened() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    assert!(run(&refs(&train(&out, &["--steps", "4"]))).status.success());
    let files = ["config.json", "result.json", "metrics.jsonl", "report.html"];
    let contents = || files.map(|name| fs::read(out.join(name)).unwrap());
    let before = contents();
    let resume = |more: &[&str]| {
        let arguments = ["train", "--threads", "1", "--resume", out.to_str().unwrap()];
        run(&[&arguments[..], more].concat())
    };
    for more in [&[][..], &["--steps", "4"]] {
        let output = resume(more);
        let [said, err] = texts(&output);
        assert!(
            output.status.success() && said.contains("is finished: its 4 steps"),
            "{said}{err}"
        );
        assert!(said.contains("--steps 8"), "{said}");
        assert!(before == contents());
    }
    let output = resume(&["--steps", "3"]);
    let [said, err] = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(err.contains("a total of 3 steps is less than the 4"), "{err}");
    assert!(before == contents());
    // Interrupted after its last step, it is not.
    fs::remove_file(out.join("result.json")).unwrap();
    assert!(resume(&[]).status.success() && out.join("result.json").exists());
}

/// A run that lacks a part is neither finished, nor begun anew, nor free for another; and no result takes the place of
/// what it keeps.
#[test]
fn what_is_left_of_a_run_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    assert!(run(&refs(&train(&out, &["--steps", "4"]))).status.success());
    let dir = out.to_str().unwrap();
    let [config, metrics, checkpoints] =
        ["config.json", "metrics.jsonl", "checkpoints"].map(|name| out.join(name));
    let kept = || [&config, &metrics].map(|path| fs::read(path).unwrap());
    let before = kept();
    let refused = |arguments: &[&str], named: &str| {
        let output = run(arguments);
        let [said, err] = texts(&output);
        assert!(output.status.code() == Some(1), "{arguments:?}: {said}{err}");
        assert!(err.contains(named), "{arguments:?}: {err}");
    };
    let model = checkpoints.join("step-00000004/model.safetensors");
    let [config_file, metrics_file, model_file] =
        [&config, &metrics, &model].map(|path| path.to_str().unwrap());
    let keeps = "that the run there keeps for itself; name another";
    refused(&["eval", "--run", dir, "--out", config_file], keeps);
    let per_item = metrics_file.replace("metrics.jsonl", "./metrics.jsonl");
    refused(&["eval", "--run", dir, "--per-item", &per_item], keeps);
    refused(&["export", "--run", dir, "--out", model_file], keeps);
    assert!(kept() == before);

    let resume = ["train", "--threads", "1", "--resume", dir];
    let damaged =
        String::from_utf8(before[1].clone()).unwrap().replacen("\"step\":", "\"step\":1", 1);
    fs::write(&metrics, damaged).unwrap();
    refused(&resume, "metrics.jsonl");
    fs::write(&metrics, &before[1]).unwrap();

    // What a finished run can make again it does.
    let png = out.join("samples.png");
    let samples = fs::read(&png).unwrap();
    fs::write(&png, &samples[..samples.len() / 2]).unwrap();
    let [said, err] = texts(&run(&resume));
    assert!(!said.contains("is finished") && fs::read(&png).unwrap() == samples, "{said}{err}");

    let aside = folder.path().join("aside");
    fs::rename(&checkpoints, &aside).unwrap();
    refused(&resume, "metrics.jsonl knows of step 4, but");
    fs::write(&metrics, "").unwrap();
    refused(&resume, "step-00000004.png knows of step 4, but");
    fs::write(&metrics, &before[1]).unwrap();
    fs::remove_dir_all(&checkpoints).unwrap();
    fs::rename(&aside, &checkpoints).unwrap();
    assert!(kept() == before && model.exists());

    fs::rename(&config, &aside).unwrap();
    refused(&refs(&train(&out, &["--steps", "2"])), "holds a part of a run, metrics.jsonl, but no");
    fs::rename(&aside, &config).unwrap();
    assert!(kept() == before && model.exists());
    let [said, err] = texts(&run(&resume));
    assert!(said.contains("is finished: its 4 steps"), "{said}{err}");
}

/// Nor does one whose few test items fill no curve do its end again.
#[test]
fn a_finished_run_of_few_items_says_so_too() {
    let folder = tempfile::tempdir().unwrap();
    let (out, data) = (folder.path().join("run"), folder.path().join("few.npy"));
    let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (20, 8, 8), }";
    let header = format!("{header:<117}\n");
    let pixels = (0..20 * 64).map(|i| (i * 37 % 17) as u8);
    let bytes = b"\x93NUMPY\x01\x00\x76\x00".iter().copied().chain(header.bytes()).chain(pixels);
    fs::write(&data, bytes.collect::<Vec<u8>>()).unwrap();
    let more = ["--steps", "2", "--data", data.to_str().unwrap(), "--set", "evaluation.draws=1"];
    let output = run(&refs(&train(&out, &more)));
    assert!(output.status.success(), "{:?}", texts(&output));
    let report = fs::read(out.join("report.html")).unwrap();
    let [said, err] = texts(&run(&["train", "--threads", "1", "--resume", out.to_str().unwrap()]));
    assert!(said.contains("is finished: its 2 steps"), "{said}{err}");
    assert!(report == fs::read(out.join("report.html")).unwrap());
}

/// Everything that prints: a line that is lost is an error, unless its reader has gone.
#[test]
fn a_full_disk_under_the_standard_output_is_an_error() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    for arguments in
        [&["presets"][..], &["presets", "digits"], &["solvers"], &["--help"], &["--version"]]
    {
        let output = vdm(arguments).stdout(full()).output().unwrap();
        let [_, err] = texts(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(err.contains("cannot write to the standard output: No space left"), "{err}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = vdm(arguments).stdout(writer).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}");
    }
}

/// The shell's limit on the size of a file, in blocks of 512 or 1024 bytes.
#[test]
fn a_file_that_may_not_grow_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let words = refs(&train(&out, &["--steps", "1"])).join("' '");
    let limited = format!("ulimit -f 4; exec '{}' '{words}'", env!("CARGO_BIN_EXE_vdm"));
    let output = Command::new("sh").args(["-c", &limited]).output().unwrap();
    let [said, err] = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{said}{err}");
    assert!(err.contains("File too large") && !err.contains("panicked"), "{err}");
}

#[test]
fn what_killed_processes_left_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    assert!(run(&refs(&train(&out, &["--steps", "2"]))).status.success());
    // No process has this number.
    let left = |folder: &Path, name: &str| {
        let path = folder.join(format!(".{name}.4294967295.tmp"));
        fs::write(&path, b"half").unwrap();
        path
    };
    let beside = folder.path().join("results");
    fs::create_dir(&beside).unwrap();
    let abandoned = [
        left(&out, "config.json"),
        left(&out.join("samples"), "step-00000002.png"),
        left(&beside, "x.png"),
        left(&beside, "x.safetensors"),
    ];
    let png = beside.join("x.png");
    let arguments = ["--count", "1", "--steps", "2", "--out", png.to_str().unwrap()];
    let dir = out.to_str().unwrap();
    assert!(run(&[&["sample", "--run", dir], &arguments[..]].concat()).status.success());
    assert!(run(&["train", "--threads", "1", "--resume", dir, "--steps", "3"]).status.success());
    assert!(abandoned.iter().all(|path| !path.exists()), "{:?}", names(&out));
    assert_eq!(names(&beside), ["x.npy", "x.png"]);
}

/// Nothing that a terminal obeys comes out, whoever wrote it.
#[test]
fn a_terminal_obeys_nothing_that_a_file_says() {
    let folder = tempfile::tempdir().unwrap();
    let hostile = "x\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}\n\rerror: y\u{7f}";
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let out = place(&format!("run {hostile}"));
    let trained = run(&refs(&train(Path::new(&out), &["--steps", "1"])));
    let [said, err] = texts(&trained);
    assert!(trained.status.success(), "{said}{err}");
    let config = place("config.json");
    fs::write(&config, json!({hostile: 1}).to_string()).unwrap();
    let field = format!("{hostile}=1");
    let file = place(&format!("{hostile}.vdmz"));
    let made = run(&["compress", "--run", &out, "--steps", "2", "--items", "2", "--out", &file]);
    let forged = place("forged.vdmz");
    let mut archive = vdm_compress::Archive::from_bytes(&fs::read(&file).unwrap()).unwrap();
    archive.header.origin.device = hostile.into();
    fs::write(&forged, archive.to_bytes().unwrap()).unwrap();
    let cases: Vec<Vec<&str>> = vec![
        vec!["train", "--preset", hostile],
        vec!["train", "--config", &config],
        vec!["train", "--data", hostile],
        vec!["train", "--set", &field],
        vec!["train", "--device", hostile],
        vec!["train", "--resume", hostile],
        vec!["train", "--out", &out],
        vec!["sample", "--run", &out, "--solver", hostile],
        vec!["sample", "--run", &out, "--out", hostile],
        vec!["eval", "--run", &out, "--schedule", hostile],
        vec!["decompress", "--run", &out, &file, "--out", hostile, "--checkpoint", "9"],
        vec!["decompress", "--run", &out, &forged, "--out", "z"],
        vec!["report", "--run", &out],
        vec!["import", "--from", "diffusers", hostile, "--data", "digits", "--out", "y"],
        vec![hostile],
        vec!["presets", hostile],
    ];
    let mut outputs: Vec<(Vec<&str>, Output)> =
        vec![(vec!["train"], trained), (vec!["compress"], made)];
    for arguments in cases {
        let output = vdm(&arguments).env("RUST_LOG", "debug").current_dir(folder.path()).output();
        outputs.push((arguments, output.unwrap()));
    }
    for (arguments, output) in outputs {
        for text in texts(&output) {
            let obeyed = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
            assert!(!text.contains(obeyed), "{arguments:?}: {text:?}");
            assert!(!text.contains("\nerror: y"), "{arguments:?}: a line of its own: {text:?}");
        }
    }
}

#[test]
fn small_mistakes_are_named_once_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    assert!(run(&refs(&train(&out, &["--steps", "1"]))).status.success());
    let (dir, empty) = (out.to_str().unwrap(), folder.path().to_str().unwrap());
    let cases: [(&[&str], &str); 6] = [
        (&["sample", "--run", dir, "--count", "0"], "--count 0: use at least 1"),
        (&["sample", "--run", dir, "--out", "x.jpg"], "--out x.jpg: name the PNG"),
        (&["sample", "--run", dir, "--out", "x"], "--out x: name the PNG"),
        (&["eval", "--run", dir, "--checkpoint", "last"], "use best or latest"),
        (&["train", "--config", empty], "Is a directory (os error 21)"),
        (&["export", "--run", dir, "--out", empty], "is there already and is no file"),
    ];
    for (arguments, named) in cases {
        let output = vdm(arguments).current_dir(folder.path()).output().unwrap();
        let [_, err] = texts(&output);
        assert!(
            !output.status.success() && err.matches(named).count() == 1,
            "{arguments:?}: {err}"
        );
    }
    for which in ["best", "latest", "1"] {
        let output = run(&["eval", "--run", dir, "--items", "1", "--checkpoint", which]);
        let [said, err] = texts(&output);
        assert!(output.status.success() && !said.contains("± inf"), "{said}{err}");
    }
    let file = folder.path().join("one.vdmz");
    let out = file.to_str().unwrap();
    let output = run(&["compress", "--run", dir, "--items", "1", "--steps", "2", "--out", out]);
    let [said, err] = texts(&output);
    assert!(output.status.success() && !said.contains("± inf"), "{said}{err}");
}

/// The exit status of a shell that runs the program with so few descriptors.
fn with_descriptors(count: u32, arguments: &[&str]) -> (ExitStatus, String) {
    let words = arguments.join("' '");
    let limited = format!("ulimit -n {count}; exec '{}' '{words}'", env!("CARGO_BIN_EXE_vdm"));
    let output = Command::new("sh").args(["-c", &limited]).output().unwrap();
    (output.status, texts(&output)[1].clone())
}

/// From too few to start to enough: the run is there, or what was missing is said.
#[test]
fn few_descriptors_are_enough_or_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut enough = false;
    for count in [6, 8, 10, 12, 64] {
        let out = folder.path().join(format!("run-{count}"));
        let (status, err) = with_descriptors(count, &refs(&train(&out, &["--steps", "2"])));
        enough = status.success();
        assert!(enough || status.code() == Some(1) && err.contains("open files"), "{count}: {err}");
        assert!(!err.contains("panicked"), "{count}: {err}");
        assert_eq!(enough, out.join("report.html").exists(), "{count}: {err}");
    }
    assert!(enough);
}
