//! What `vdm train` says about the data it is given.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn train(data: &Path, out: &Path) -> Output {
    let fixed = ["train", "--threads", "1", "--steps", "1", "--batch", "4", "--data"];
    let settings = [
        "network.width=8",
        "network.depth=1",
        "network.groups=2",
        "evaluation.draws=1",
        "sampler.steps=2",
        "output.samples=2",
    ];
    let mut command = Command::new(env!("CARGO_BIN_EXE_vdm"));
    command.args(fixed).arg(data).arg("--out").arg(out).stdin(Stdio::null());
    command.args(settings.iter().flat_map(|setting| ["--set", setting]));
    command.output().expect("vdm starts")
}

/// An IDX file of unsigned bytes.
fn idx(sizes: &[u32]) -> Vec<u8> {
    let count = sizes.iter().product::<u32>();
    let mut file = vec![0, 0, 8, sizes.len() as u8];
    file.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    file.extend((0..count).map(|i| (i % 10) as u8));
    file
}

/// 24 training and 3 test images of 8×8 with labels, named as EMNIST is.
fn write_emnist(folder: &Path) {
    for (split, items) in [("train", 24), ("test", 3)] {
        let name = |what| folder.join(format!("emnist-mnist-{split}-{what}-ubyte"));
        fs::write(name("images-idx3"), idx(&[items, 8, 8])).unwrap();
        fs::write(name("labels-idx1"), idx(&[items])).unwrap();
    }
}

#[test]
fn labels_that_are_not_used_and_images_that_were_turned_are_said() {
    let folder = tempfile::tempdir().unwrap();
    write_emnist(folder.path());
    let elsewhere = tempfile::tempdir().unwrap();
    let output = train(folder.path(), &elsewhere.path().join("run"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("22 training, 2 validation and 3 test items"), "{text}");
    assert!(text.contains("whose labels are not used"), "{text}");
    assert!(text.contains("note: EMNIST stores its images transposed"), "{text}");
}

#[test]
fn arrays_of_four_channels_are_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (20, 8, 8, 4), }";
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.bytes());
    file.extend([0; 20 * 8 * 8 * 4]);
    let (data, out) = (folder.path().join("rgba.npy"), folder.path().join("run"));
    fs::write(&data, file).unwrap();
    let output = train(&data, &out);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("rgba.npy") && text.contains("array[..., :3]"), "{text}");
    assert!(!out.exists(), "a run was made");
}

/// Its files would be read as data when it goes on.
#[test]
fn a_run_among_its_data_is_refused_before_it_is_made() {
    let folder = tempfile::tempdir().unwrap();
    write_emnist(folder.path());
    for out in ["run", "a/b/run"] {
        let out = folder.path().join(out);
        let output = train(folder.path(), &out);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("whose files are read as data; name a place elsewhere"), "{text}");
        assert!(!out.exists() && !folder.path().join("a").exists(), "a run was made");
    }
}
