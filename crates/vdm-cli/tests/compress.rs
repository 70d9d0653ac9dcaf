//! `vdm compress` and `vdm decompress` as a user meets them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use vdm_data::{Source, load};

fn vdm(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vdm")).args(arguments).output().expect("vdm starts")
}

/// A run with a tiny network; what it prints is of no interest.
fn train(out: &str, seed: &str) {
    let fields = ["network.width=8", "network.depth=1", "network.groups=2", "evaluation.draws=1"];
    let more = ["sampler.steps=2", "output.samples=4"];
    let set = fields.iter().chain(&more).flat_map(|field| ["--set", field]);
    let fixed = ["train", "--threads", "1", "--steps", "2", "--seed", seed, "--out", out];
    let output = vdm(&fixed.into_iter().chain(set).collect::<Vec<_>>());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The message of a command that has to fail without panicking.
fn refused(arguments: &[&str]) -> String {
    let output = vdm(arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
    assert!(!text.contains("panicked"), "{arguments:?}: {text}");
    text
}

#[test]
fn images_come_back_bit_for_bit_and_bad_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (run, other, file) = (path("run"), path("other"), path("digits.vdmz"));
    train(&run, "1");
    let fixed = ["compress", "--run", &run, "--threads", "1", "--steps", "3", "--items", "20"];
    let output = vdm(&[&fixed[..], &["--batch", "4", "--out", &file]].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for named in ["without initial bits", "3-step bound (L_T)", "PNG", "WebP", "zstd, all as one"] {
        assert!(text.contains(named), "no {named} in {text}");
    }

    let pixels = load(&Source::Digits {}).unwrap().test.pixels()[..20 * 64].to_vec();
    let decompress =
        |file: &str, out: &str| vdm(&["decompress", "--run", &run, file, "--out", out]);
    let array = path("digits.npy");
    assert!(decompress(&file, &array).status.success());
    assert!(fs::read(&array).unwrap().ends_with(&pixels));
    let pictures = path("pictures");
    assert!(decompress(&file, &pictures).status.success());
    assert_eq!(fs::read_dir(&pictures).unwrap().count(), 20);
    let again = path("again.vdmz");
    let fixed = ["compress", "--run", &run, "--data", &array, "--steps", "2", "--out", &again];
    let output = vdm(&[&fixed[..], &["--grid", "elbo-optimal"]].concat());
    assert!(output.status.success(), "an array that was written can be read");
    // The reader finds the levels in the file, and items in the order of the array's splits.
    let array = path("again.npy");
    assert!(decompress(&again, &array).status.success());
    let sorted = |pixels: &[u8]| {
        let mut items: Vec<Vec<u8>> = pixels.chunks(64).map(<[u8]>::to_vec).collect();
        items.sort();
        items
    };
    let bytes = fs::read(&array).unwrap();
    assert_eq!(sorted(&bytes[bytes.len() - pixels.len()..]), sorted(&pixels));
    let clean = refused(&[&fixed[..], &["--grid", r#"{"kind":"karras","clean":true}"#]].concat());
    assert!(clean.contains("take a grid that ends where the schedule does"), "{clean}");

    let bytes = fs::read(&file).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        fs::write(path(name), bytes).unwrap();
        path(name)
    };
    let mut damaged = bytes.clone();
    damaged[bytes.len() - 40] ^= 1;
    train(&other, "2");
    let cases = [
        (&run, write("cut", &bytes[..bytes.len() - 9]), "bring a complete copy"),
        (&run, write("damaged", &damaged), "its checksum is wrong"),
        (&run, write("png", b"\x89PNG\r\n"), "it is no compressed file"),
        (&run, path("missing"), "cannot read"),
        (&other, file.clone(), "it was written with the model of SHA-256"),
    ];
    for (run, file, named) in cases {
        let out = path("never");
        let text = refused(&["decompress", "--run", run, &file, "--out", &out]);
        assert!(text.contains(named) && text.contains(&file), "{text}");
        assert!(!Path::new(&out).exists());
    }
    let on_a_gpu = ["compress", "--run", &run, "--device", "cuda", "--out", &again];
    assert!(refused(&on_a_gpu).contains("need the same bits"));
    let text = refused(&["decompress", "--run", &run, &file, "--out", &pictures]);
    assert!(text.contains("is not empty"), "{text}");
    let text = refused(&["compress", "--run", &run, "--steps", "0", "--out", &path("never")]);
    assert!(text.contains("--steps 0: use at least 1"), "{text}");
}
