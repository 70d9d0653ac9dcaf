//! `vdm import` and `vdm export` as a user meets them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../vdm-torch/tests/fixtures").join(name)
}

/// Runs `vdm`; what it printed, and whether it went well.
fn vdm(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_vdm"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("vdm starts");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Images of noise, `[40, side, side, channels]`.
fn data(folder: &Path, side: usize, channels: usize) -> PathBuf {
    let path = folder.join(format!("data-{side}-{channels}.npy"));
    let count = 40 * side * side * channels;
    let pixels: Vec<u8> = (0..count).map(|i| (i * i % 251) as u8).collect();
    vdm_report::npy::write(&path, &pixels, &[40, side, side, channels]).unwrap();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}

/// Import, likelihood, samples, export, and import of the export: the same weights.
#[test]
fn an_imported_model_is_a_run_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let ddpm = folder.path().join("scheduler_config.json");
    fs::write(&ddpm, r#"{"beta_schedule": "linear", "num_train_timesteps": 1000}"#).unwrap();
    let cases: [(&str, &str, usize, usize, &[&str]); 2] = [
        ("vdm-flax", "vdm_flax/plain_attn_l1_c32_5x7.flax", 4, 3, &["--label", "5"]),
        ("diffusers", "diffusers_unet/ddpm_old_names", 8, 1, &["--scheduler", text(&ddpm)]),
    ];
    for (i, (from, path, side, channels, more)) in cases.into_iter().enumerate() {
        let data = data(folder.path(), side, channels);
        let place = |name: &str| folder.path().join(format!("{name}-{i}"));
        let run = place("run");
        let path = fixture(path);
        let import =
            ["import", "--from", from, text(&path), "--data", text(&data), "--out", text(&run)];
        let (ok, said) = vdm(&[&import, more].concat());
        assert!(ok && said.contains("vdm eval --run"), "{said}");
        // All that there is of data it was not trained on, unless a part is asked for.
        for (split, items) in
            [(None, 40), (Some("test"), 8), (Some("train"), 28), (Some("all"), 40)]
        {
            let asked = split.map_or(vec![], |split| vec!["--split", split]);
            let fixed = ["eval", "--run", text(&run), "--draws", "1"];
            let (ok, said) = vdm(&[&fixed[..], &asked].concat());
            let words: Vec<&str> = said.split_whitespace().collect();
            let words = words.join(" ");
            let name = format!("items {items} of {items} split {}", split.unwrap_or("all"));
            assert!(ok && words.contains(&name), "{said}");
        }
        let grid = ["eval", "--run", text(&run), "--steps", "4", "--grid", "elbo-optimal"];
        let (ok, said) = vdm(&grid);
        assert!(!ok && said.contains("add --split test"), "{said}");
        let png = place("samples").with_extension("png");
        let steps = ["--count", "2", "--steps", "3", "--out", text(&png)];
        let (ok, said) = vdm(&[["sample", "--run", text(&run)].as_slice(), &steps].concat());
        assert!(ok && png.exists(), "{said}");

        let file = place("model").with_extension("safetensors");
        let (ok, said) = vdm(&["export", "--run", text(&run), "--out", text(&file)]);
        assert!(ok, "{said}");
        let again = place("again");
        let (ok, said) = vdm(&[
            "import",
            "--from",
            "vdm",
            text(&file),
            "--data",
            text(&data),
            "--out",
            text(&again),
        ]);
        assert!(ok, "{said}");
        let weights =
            |run: &Path| fs::read(run.join("checkpoints/step-00000000/model.safetensors")).unwrap();
        assert_eq!(weights(&run), weights(&again));
    }
}

#[test]
fn what_cannot_be_imported_is_named_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let (gray, color) = (data(folder.path(), 8, 1), data(folder.path(), 8, 3));
    let flax = fixture("vdm_flax/fourier_l2_c32.safetensors");
    let net = fixture("diffusers_unet/ddpm_old_names");
    let cases: [(&[&str], &str); 6] = [
        (&["vdm-flax", text(&flax), "--data", text(&gray)], "input.weight"),
        (
            &["vdm-flax", text(&flax), "--data", text(&color), "--scheduler", "x"],
            "--scheduler means",
        ),
        (&["vdm-flax", text(&net), "--data", text(&color)], "ddpm_old_names"),
        (&["diffusers", text(&net), "--data", text(&gray)], "--scheduler FILE"),
        (&["vdm", text(&flax), "--data", text(&color)], "`vdm export`"),
        (&["keras", text(&flax), "--data", text(&color)], "invalid value 'keras'"),
    ];
    for (arguments, named) in cases {
        let whole = [&["import", "--out", text(&out), "--from"], arguments].concat();
        let (ok, said) = vdm(&whole);
        assert!(!ok && said.contains(named) && !said.contains("panicked"), "{arguments:?}: {said}");
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(left.len(), 2, "{arguments:?}: {left:?}");
    }
}

/// The run appears whole or not at all, with the permissions that the user's other files get, and never over
/// something else.
#[test]
fn an_import_writes_a_new_folder_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path(), 4, 3);
    let flax = fixture("vdm_flax/plain_attn_l1_c32_5x7.flax");
    let import = |out: &Path| {
        vdm(&[
            "import",
            "--from",
            "vdm-flax",
            text(&flax),
            "--data",
            text(&data),
            "--out",
            text(out),
        ])
    };
    let (full, file) = (folder.path().join("full"), folder.path().join("file"));
    fs::create_dir(&full).unwrap();
    fs::write(full.join("mine.txt"), "mine").unwrap();
    fs::write(&file, "mine").unwrap();
    for (out, named) in [(&full, "is not empty"), (&file, "is a file")] {
        let (ok, said) = import(out);
        assert!(!ok && said.contains(named) && said.contains("--out"), "{said}");
    }
    assert_eq!(fs::read_dir(&full).unwrap().count(), 1);

    let run = folder.path().join("deeper/run");
    let (ok, said) = import(&run);
    assert!(ok, "{said}");
    assert_eq!(fs::read_dir(folder.path().join("deeper")).unwrap().count(), 1);
    let usual = fs::metadata(&file).unwrap().permissions().mode();
    let checkpoint = run.join("checkpoints/step-00000000");
    for path in [
        run.join("config.json"),
        checkpoint.join("checkpoint.json"),
        checkpoint.join("model.safetensors"),
        checkpoint.join("training.safetensors"),
    ] {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode(), usual, "{}", path.display());
    }
}
