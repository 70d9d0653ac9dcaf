//! Hierarchies by the same commands as diffusion models.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vdm")).args(arguments).output().expect("vdm starts")
}

/// What makes a configuration wrong, and the words that say so.
type Wrong = (fn(&mut Value), &'static str);

/// A configuration of a small model, from the preset of its family.
fn config(folder: &Path, preset: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
    let printed = run(&["presets", preset]);
    let mut document: Value = serde_json::from_slice(&printed.stdout).unwrap();
    document["hierarchy"]["width"] = 8.into();
    document["training"]["batch"] = 8.into();
    document["evaluation"] = json!({"draws": 2, "batch": 64});
    document["output"] = json!({
        "log_every": 5, "validate_every": 20, "validation_items": 16, "sample_every": 20, "samples": 4,
        "checkpoint_every": 10, "keep": 2
    });
    change(&mut document);
    let path = folder.join("tiny.json");
    fs::write(&path, document.to_string()).unwrap();
    path
}

fn succeeds(arguments: &[&str]) -> String {
    let ran = run(arguments);
    let message = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{arguments:?}: {message}");
    String::from_utf8(ran.stdout).unwrap()
}

fn refused(arguments: &[&str]) -> String {
    let ran = run(arguments);
    assert!(!ran.status.success(), "{arguments:?}");
    String::from_utf8(ran.stderr).unwrap()
}

fn last_weights(run: &Path) -> Vec<u8> {
    let folder = run.join("checkpoints/step-00000040");
    ["model.safetensors", "training.safetensors"]
        .iter()
        .flat_map(|name| fs::read(folder.join(name)).unwrap())
        .collect()
}

/// 40 steps at once, or 20 and then 20 more: the same bytes, dropout included.
#[test]
fn every_family_resumes_to_the_same_bytes() {
    for preset in ["digits-vae", "digits-hvae-bottom-up", "digits-ladder", "digits-hvae-top-down"] {
        let folder = tempfile::tempdir().unwrap();
        let file = config(folder.path(), preset, |_| ());
        let file = file.to_str().unwrap();
        let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(name));
        let [whole_dir, parts_dir] = [&whole, &parts].map(|path| path.to_str().unwrap());
        let train = |steps, out| {
            let arguments =
                ["train", "--config", file, "--threads", "1", "--steps", steps, "--out", out];
            succeeds(&arguments)
        };
        let text = train("40", whole_dir);
        assert!(text.contains("= distortion ") && text.contains("+ rate "), "{text}");
        train("20", parts_dir);
        succeeds(&["train", "--resume", parts_dir, "--steps", "40", "--threads", "1"]);
        assert!(last_weights(&whole) == last_weights(&parts), "{preset}");
        let told = succeeds(&["train", "--resume", whole_dir]);
        assert!(told.contains("is finished: its 40 steps are done"), "{told}");
        comes_back(&whole, folder.path());
        is_the_same_elsewhere(&whole, folder.path());
    }
}

/// Test items to bits and back, as the program checks by their hash, and what the file says of its latents.
fn comes_back(run: &Path, folder: &Path) {
    let [file, out] = ["x.vdmz", "x.npy"].map(|name| folder.join(name));
    let [run, file, out] = [run, &file, &out].map(|path| path.to_str().unwrap());
    let fixed = ["compress", "--run", run, "--items", "30", "--threads", "1"];
    let told = succeeds(&[&fixed[..], &["--batch", "7", "--out", file]].concat());
    assert!(told.contains("% of the bound") && told.contains("= distortion"), "{told}");
    let told = succeeds(&["decompress", "--run", run, file, "--out", out]);
    assert!(told.contains("30 items, bit for bit as they were written"), "{told}");
    let error = refused(&[&fixed[..], &["--steps", "7", "--out", file]].concat());
    assert!(error.contains("--steps means nothing for a hierarchy"), "{error}");
}

/// The weights as a file, and a run made of that file: the same bound to the last digit.
fn is_the_same_elsewhere(run: &Path, folder: &Path) {
    let [file, imported] = ["x.safetensors", "imported"].map(|name| folder.join(name));
    let [run, file, imported] = [run, &file, &imported].map(|path| path.to_str().unwrap());
    succeeds(&["export", "--run", run, "--out", file]);
    let import = ["import", "--from", "vdm", file, "--out", imported, "--data"];
    let error = refused(&[&import[..], &["swirl"]].concat());
    assert!(error.contains("--data swirl") && error.contains("trained on"), "{error}");
    succeeds(&[&import[..], &["digits"]].concat());
    let bound = |run| {
        let asked = ["eval", "--run", run, "--split", "test", "--items", "20", "--draws", "3"];
        let document = succeeds(&[&asked[..], &["--threads", "1", "--json"]].concat());
        serde_json::from_str::<Value>(&document).unwrap()["result"]["bits_per_dim"].clone()
    };
    assert_eq!(bound(run), bound(imported));
    succeeds(&["train", "--resume", imported, "--steps", "1", "--threads", "1"]);
}

#[test]
fn a_hierarchy_is_evaluated_sampled_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let file = config(folder.path(), "digits-hvae-top-down", |_| ());
    let out = folder.path().join("run");
    let dir = out.to_str().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    succeeds(&["train", "--config", file.to_str().unwrap(), "--steps", "20", "--out", dir]);
    for name in ["layers.json", "reconstructions.png", "samples.png", "samples.npy", "report.html"]
    {
        assert!(out.join(name).exists(), "{name}");
    }
    for name in ["denoising.png", "noise_levels.json", "loss_by_log_snr.json"] {
        assert!(!out.join(name).exists(), "{name}");
    }
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("Layers of latents") && page.contains("Reconstructions"));
    assert!(!page.contains("noise level") && !page.contains("(yet)"), "a part is missing");
    let items = at("items.csv");
    let document =
        succeeds(&["eval", "--run", dir, "--items", "9", "--json", "--per-item", &items]);
    let document: Value = serde_json::from_str(&document).unwrap();
    let result = &document["result"];
    let terms = ["distortion", "rate"].map(|term| result["terms"][term]["mean"].as_f64().unwrap());
    let total = result["bits_per_dim"]["mean"].as_f64().unwrap();
    assert!((terms[0] + terms[1] - total).abs() < 1e-9);
    let layers = result["layers"].as_array().unwrap();
    let rates: f64 = layers.iter().map(|layer| layer["rate"].as_f64().unwrap()).sum();
    assert!(layers.len() == 10 && (rates - terms[1]).abs() < 1e-9, "{layers:?}");
    assert_eq!(fs::read_to_string(&items).unwrap().lines().count(), 10);
    let table = succeeds(&["eval", "--run", dir, "--items", "1"]);
    assert!(table.contains("I(x; z) is at most log 1 = 0.00 nats here"), "{table}");
    let table = succeeds(&["eval", "--run", dir, "--items", "9"]);
    assert!(table.contains("layer 10") && table.contains("latents active"), "{table}");
    let iwae =
        ["eval", "--run", dir, "--items", "9", "--estimator", "iwae", "--importance-samples", "4"];
    assert!(succeeds(&iwae).contains("importance-weighted bound, K = 4"));
    let png = at("cold.png");
    succeeds(&["sample", "--run", dir, "--count", "3", "--temperature", "0.5", "--out", &png]);
    let walk = ["sample", "--run", dir, "--count", "3", "--latent-walk", "5", "--out", &png];
    succeeds(&walk);
    let array = fs::read(folder.path().join("cold.npy")).unwrap();
    assert!(String::from_utf8_lossy(&array).contains("(15,8,8"), "three ways of five");
    for (arguments, named) in [
        (vec!["eval", "--run", dir, "--steps", "3"], "--steps means nothing for a hierarchy"),
        (vec!["eval", "--run", dir, "--estimator", "ode"], "--estimator ode means nothing"),
        (vec!["sample", "--run", dir, "--solver", "ddim"], "--solver means nothing"),
        (vec!["sample", "--run", dir, "--temperature", "11"], "--temperature 11"),
        (vec!["sample", "--run", dir, "--latent-grid", "3"], "latents of the model = "),
        (vec!["eval", "--run", dir, "--draws", "0"], "draws = 0"),
        (vec!["eval", "--run", dir, "--estimator", "exact"], "one layer of two latents"),
    ] {
        let error = refused(&arguments);
        assert!(error.contains(named), "{arguments:?}: {error}");
    }
}

/// A model of two latents of points shows the plane of them.
#[test]
fn two_latents_are_shown_in_their_plane() {
    let folder = tempfile::tempdir().unwrap();
    let file = config(folder.path(), "clusters-vae", |_| ());
    let out = folder.path().join("run");
    let arguments = ["train", "--config", file.to_str().unwrap(), "--steps", "20", "--out"];
    succeeds(&[&arguments[..], &[out.to_str().unwrap()]].concat());
    let latents: Value =
        serde_json::from_slice(&fs::read(out.join("latents.json")).unwrap()).unwrap();
    let pairs = |field: &str| latents[field].as_array().unwrap().len();
    for field in ["items", "drawn", "log_ratio", "item_points", "drawn_points"] {
        assert_eq!(pairs(field), 400, "{field}");
    }
    let bits = |more: &[&str]| {
        let asked = ["eval", "--run", out.to_str().unwrap(), "--items", "20", "--json"];
        let document: Value =
            serde_json::from_str(&succeeds(&[&asked[..], more].concat())).unwrap();
        document["result"]["bits_per_dim"]["mean"].as_f64().unwrap()
    };
    let exact = bits(&["--estimator", "exact"]);
    let iwae = bits(&["--estimator", "iwae", "--importance-samples", "400"]);
    let bound = bits(&["--draws", "50"]);
    assert!(
        exact < bound && (iwae - exact).abs() < 0.1 * (bound - exact),
        "{exact} {iwae} {bound}"
    );
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("The plane of latents") && page.contains("of the prior is in the hole"));
}

/// What cannot be a hierarchy, or is two things at once, is refused by name before a folder is made.
#[test]
fn a_wrong_hierarchy_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let cases: [Wrong; 5] = [
        (|c| c["hierarchy"]["layers"] = json!([]), "hierarchy.layers"),
        (|c| c["hierarchy"]["layers"][0]["scale"] = 0.into(), "hierarchy.layers.scale"),
        (|c| c["hierarchy"]["dropout"] = 1.into(), "hierarchy.dropout"),
        (|c| c["hierarchy"]["inference"] = "sideways".into(), "unknown variant `sideways`"),
        (|c| c["head"] = "noise".into(), "field `head` is of another kind of model"),
    ];
    for (change, named) in cases {
        let file = config(folder.path(), "digits-ladder", change);
        let arguments =
            ["train", "--config", file.to_str().unwrap(), "--out", out.to_str().unwrap()];
        let error = refused(&arguments);
        assert!(error.contains(named), "{named}: {error}");
        assert!(!out.exists());
    }
}
