//! Runs that were killed, damaged, edited or lengthened: the same bytes, or a word about it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A network so small that a step takes milliseconds; lines of metrics and checkpoints out of step.
const TINY: &str = "network={\"kind\":\"mlp\",\"width\":8,\"depth\":1,\"fourier\":[]} evaluation.draws=1 \
    sampler.steps=3 output.samples=4 output.log_every=5 output.validate_every=8 \
    output.checkpoint_every=3 output.sample_every=100 output.validation_items=16 training.batch=8";

fn vdm(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vdm"));
    command.args(arguments).stdin(Stdio::null()).output().expect("vdm starts")
}

/// What went well, and what it said on standard error.
fn notes(arguments: &[&str]) -> String {
    let output = vdm(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said.split_inclusive('\n').filter(|line| line.starts_with("note: ")).collect()
}

/// What did not go well, and why.
fn refusal(arguments: &[&str]) -> String {
    let output = vdm(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
    said
}

/// A new run in `folder`.
fn run(folder: &Path, name: &str, steps: u64) -> PathBuf {
    let out = folder.join(name);
    let steps = steps.to_string();
    let mut arguments = vec!["train", "--threads", "1", "--steps", &steps, "--out", text(&out)];
    arguments.extend(TINY.split(' ').filter(|set| !set.is_empty()).flat_map(|set| ["--set", set]));
    assert_eq!(notes(&arguments), "");
    out
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}

fn resume(run: &Path) -> Vec<&str> {
    vec!["train", "--threads", "1", "--resume", text(run)]
}

/// What is the same however often a run was interrupted.
fn reproducible(run: &Path, step: u64) -> Vec<Vec<u8>> {
    let checkpoint = format!("checkpoints/step-{step:08}");
    let files = ["model.safetensors", "training.safetensors"].map(|f| format!("{checkpoint}/{f}"));
    let files = files.iter().map(String::as_str).chain([
        "config.json",
        "metrics.jsonl",
        "noise_levels.json",
        "loss_by_log_snr.json",
        "samples.npy",
        "samples.png",
        "denoising.png",
    ]);
    files.map(|file| fs::read(run.join(file)).unwrap()).collect()
}

fn step(run: &Path, step: u64) -> PathBuf {
    run.join(format!("checkpoints/step-{step:08}"))
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let place = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &place);
        } else {
            fs::copy(&path, &place).unwrap();
        }
    }
}

/// What a message names, and what is done to the folder of a checkpoint.
type Damage = (&'static str, fn(&Path));

/// A run that loses its newest checkpoint goes on from the one before and ends in the same bytes.
#[test]
fn a_run_with_a_damaged_checkpoint_ends_in_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let whole = run(folder.path(), "whole", 20);
    let expected = reproducible(&whole, 20);
    // Kept are 18 and 20 and the best, 8, 16 or 20.
    let before = step(&whole, 18);
    assert!(before.is_dir());
    let damages: [Damage; 4] = [
        ("model.safetensors", |last| {
            let file = last.join("model.safetensors");
            let bytes = fs::read(&file).unwrap();
            fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("checkpoint.json", |last| {
            for file in ["model.safetensors", "training.safetensors", "checkpoint.json"] {
                fs::write(last.join(file), b"").unwrap();
            }
        }),
        ("checkpoint.json", |last| {
            edit(&last.join("checkpoint.json"), "\"step\": 20", "\"step\": 2 ");
        }),
        ("not of the step in its name", |last| {
            fs::remove_dir_all(last).unwrap();
            copy(&last.with_file_name("step-00000018"), last);
        }),
    ];
    for (index, (named, damage)) in damages.into_iter().enumerate() {
        let damaged = folder.path().join(format!("damaged-{index}"));
        copy(&whole, &damaged);
        damage(&step(&damaged, 20));
        let said = notes(&resume(&damaged));
        assert!(said.contains("note: passed over") && said.contains(named), "{said}");
        assert!(said.contains("set-aside-step-00000020"), "{said}");
        assert!(damaged.join("checkpoints/set-aside-step-00000020").is_dir());
        assert_eq!(reproducible(&damaged, 20), expected, "{named}");
        assert_eq!(notes(&resume(&damaged)), "", "it is said once");
    }
    // The best is as damaged as the newest: the next best is used, and that said.
    let best = folder.path().join("best");
    copy(&whole, &best);
    let result: serde_json::Value =
        serde_json::from_slice(&fs::read(best.join("result.json")).unwrap()).unwrap();
    fs::write(
        step(&best, result["checkpoint_step"].as_u64().unwrap()).join("model.safetensors"),
        b"",
    )
    .unwrap();
    let out = folder.path().join("out");
    for command in [
        &["sample", "--count", "1", "--out", text(&out.with_extension("png"))][..],
        &["eval", "--items", "2"],
        &["compress", "--items", "2", "--steps", "2", "--out", text(&out.with_extension("vdmz"))],
        &["export", "--out", text(&out.with_extension("safetensors"))],
    ] {
        let said = notes(&[command, &["--run", text(&best)]].concat());
        assert!(
            said.contains("model.safetensors is damaged") || said.contains("SHA-256"),
            "{said}"
        );
        assert!(said.contains("is used instead"), "{said}");
    }
    // Nothing to go on from is an error, and nothing is deleted.
    for entry in fs::read_dir(best.join("checkpoints")).unwrap() {
        fs::write(entry.unwrap().path().join("training.safetensors"), b"").unwrap();
    }
    let list = || fs::read_dir(best.join("checkpoints")).unwrap().count();
    let count = list();
    let said = refusal(&resume(&best));
    assert!(
        said.contains("no checkpoint can be used") && said.contains("restore a copy"),
        "{said}"
    );
    assert_eq!(list(), count);
}

/// Interrupted anywhere, torn anywhere, lengthened: `metrics.jsonl` has the bytes of a run left alone.
#[test]
fn metrics_are_those_of_an_uninterrupted_run() {
    let folder = tempfile::tempdir().unwrap();
    let whole = run(folder.path(), "whole", 20);
    let expected = reproducible(&whole, 20);
    let metrics = fs::read(whole.join("metrics.jsonl")).unwrap();
    // Ended at 7 and 11, where neither lines of metrics nor a validation were due.
    let lengthened = run(folder.path(), "lengthened", 7);
    for steps in ["11", "20"] {
        assert_eq!(notes(&[&resume(&lengthened)[..], &["--steps", steps]].concat()), "");
    }
    assert_eq!(reproducible(&lengthened, 20), expected);

    // Killed while a line was written, after the checkpoint of step 18.
    let torn = folder.path().join("torn");
    copy(&whole, &torn);
    fs::remove_dir_all(step(&torn, 20)).unwrap();
    let lines: Vec<&[u8]> = metrics.split_inclusive(|&byte| byte == b'\n').collect();
    let (kept, last) = (lines[..lines.len() - 2].concat(), lines[lines.len() - 2]);
    for cut in [1, last.len() / 2, last.len() - 1, last.len()] {
        fs::write(torn.join("metrics.jsonl"), [&kept, &last[..cut]].concat()).unwrap();
        assert_eq!(notes(&resume(&torn)), "", "cut after {cut} bytes");
        assert_eq!(fs::read(torn.join("metrics.jsonl")).unwrap(), metrics);
        fs::remove_dir_all(step(&torn, 20)).unwrap();
    }
    // Damage of what comes after the checkpoint does not matter; of what comes before it does.
    let text = String::from_utf8(metrics.clone()).unwrap();
    fs::write(torn.join("metrics.jsonl"), text.replace("\"step\":20", "\"step\":21")).unwrap();
    assert_eq!(notes(&resume(&torn)), "");
    assert_eq!(fs::read(torn.join("metrics.jsonl")).unwrap(), metrics);
    fs::remove_dir_all(step(&torn, 20)).unwrap();
    for (damaged, named) in [
        (text.replace("\"step\":10", "\"step\":11"), "line 3, is not as it was written"),
        (lines.iter().map(|l| String::from_utf8_lossy(l)).take(3).collect(), "lines are missing"),
        (String::new(), "lines are missing"),
    ] {
        fs::write(torn.join("metrics.jsonl"), damaged).unwrap();
        let said = refusal(&resume(&torn));
        assert!(said.contains("metrics.jsonl") && said.contains(named), "{said}");
        assert!(said.contains("delete it to begin it anew"), "{said}");
    }
    fs::remove_file(torn.join("metrics.jsonl")).unwrap();
    let said = notes(&resume(&torn));
    assert!(said.contains("metrics.jsonl is gone: it begins again after step 18"), "{said}");
}

/// What may be edited takes effect and is said once; what makes another run is refused.
#[test]
fn an_edited_configuration_is_never_used_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let out = run(folder.path(), "run", 6);
    let config = out.join("config.json");
    let whole = fs::read_to_string(&config).unwrap();
    let png = folder.path().join("a.png");
    let sample = ["sample", "--run", text(&out), "--count", "1", "--out", text(&png)];
    let eval = ["eval", "--run", text(&out), "--items", "1"];
    assert!(!notes(&sample).contains("config.json"));

    edit(&config, "\"steps\": 3", "\"steps\": 2");
    let said = notes(&sample);
    assert!(
        said.contains("note: config.json was edited, or damaged: sampler.steps is 2, and was 3"),
        "{said}"
    );
    edit(&config, "\"beta1\": 0.9", "\"beta1\": 0.8");
    assert!(!notes(&eval).contains("beta1"), "of no use to eval");
    let said = notes(&[&resume(&out)[..], &["--steps", "7"]].concat());
    assert!(said.contains("training.optimizer.beta1 is 0.8, and was 0.9"), "{said}");
    assert!(!notes(&sample).contains("config.json"), "the run goes by it now");

    fs::write(&config, whole.replace("\"seed\": 1", "\"seed\": 8")).unwrap();
    let export = ["export", "--run", text(&out), "--out", text(&png)];
    for command in [&sample[..], &eval, &export, &resume(&out)] {
        let said = refusal(command);
        assert!(said.contains("seed is 8, and was 1; set that back"), "{said}");
    }
    fs::write(&config, &whole[..whole.len() / 2]).unwrap();
    for command in [&sample[..], &eval, &resume(&out)] {
        let said = refusal(command);
        assert!(said.contains("config.json") && said.contains("field `config`"), "{said}");
    }
    // For a new run an edited copy is as good as any configuration.
    let edited = folder.path().join("edited.json");
    fs::write(&edited, whole.replace("\"seed\": 1", "\"seed\": 8")).unwrap();
    let new = folder.path().join("new");
    let arguments = ["train", "--threads", "1", "--config", text(&edited), "--steps", "1"];
    assert_eq!(notes(&[&arguments[..], &["--out", text(&new)]].concat()), "");
    assert!(fs::read_to_string(new.join("config.json")).unwrap().contains("\"seed\": 8"));
}
