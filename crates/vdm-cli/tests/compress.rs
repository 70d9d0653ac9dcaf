//! `vdm compress` and `vdm decompress` as a user meets them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use sha2::{Digest, Sha256};
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

/// A file with another header and the checksum of that.
fn forged(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let length = u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&bytes[12..12 + length]).unwrap();
    assert!(header.contains(from), "{header}");
    let header = header.replace(from, to);
    let mut forged = bytes[..8].to_vec();
    forged.extend((header.len() as u32).to_le_bytes());
    forged.extend(header.as_bytes());
    forged.extend(&bytes[12 + length..bytes.len() - 32]);
    forged.extend(Sha256::digest(&forged));
    forged
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
    for named in ["without initial bits", "3-step bound (L_T)", "PNG", "WebP", "LZMA, all as one"] {
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
    // An empty folder is as good as none, and what a killed process left beside it is deleted.
    let empty = path("empty");
    fs::create_dir(&empty).unwrap();
    // No process has this number: those of Linux end at 2^22.
    fs::create_dir(path(".empty.4294967295.tmp")).unwrap();
    assert!(decompress(&file, &empty).status.success());
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 20);
    assert!(!Path::new(&path(".empty.4294967295.tmp")).exists());
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
    // Headers that ask for days of work, under a checksum that is right.
    for (from, to, named) in [
        ("\"steps\":3,", "\"steps\":1048576,", "settings.latents.chain.steps = 1048576: "),
        ("\"items\":20,", "\"items\":9000000000,", "items = 9000000000: "),
        (
            "\"threads\":1,",
            "\"threads\":4096,",
            "origin.threads = 4096: 4096 threads, more than the limit of ",
        ),
    ] {
        let forged = write("forged", &forged(&bytes, from, to));
        let out = path("never");
        let text = refused(&["decompress", "--run", &run, &forged, "--out", &out]);
        assert!(text.contains(named) && text.contains("--unlimited"), "{text}");
        assert!(!Path::new(&out).exists());
    }
    let on_a_gpu = ["compress", "--run", &run, "--device", "cuda", "--out", &again];
    assert!(refused(&on_a_gpu).contains("need the same bits"));
    // Refused before anything is read.
    for (out, named) in [(&pictures, "is not empty"), (&file, "is a file"), (&run, "is not empty")]
    {
        let text = refused(&["decompress", "--run", &run, "missing.vdmz", "--out", out]);
        assert!(text.contains(named) && text.contains("--out"), "{text}");
    }
    fs::create_dir(path("folder.npy")).unwrap();
    let text = refused(&["decompress", "--run", &run, &file, "--out", &path("folder.npy")]);
    assert!(text.contains("is a folder"), "{text}");
    let text = refused(&["compress", "--run", &run, "--steps", "0", "--out", &path("never")]);
    assert!(text.contains("--steps 0: use at least 1"), "{text}");
}
