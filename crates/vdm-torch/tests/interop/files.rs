//! Files that are damaged, or something else than weights.

use safetensors::tensor::{Dtype, TensorView, serialize};

use super::*;

/// Files of google-research/vdm with one tensor missing, left over, or of another shape.
#[test]
fn tensors_that_do_not_fit_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let original = fixtures().join("vdm_flax/fourier_l2_c32.safetensors");
    let changed = |change: fn(&mut Vec<(String, Tensor)>)| {
        let mut tensors = Tensor::read_safetensors(&original).unwrap();
        change(&mut tensors);
        Tensor::write_safetensors(&tensors, &path).unwrap();
        vdm(&path).unwrap_err().to_string()
    };
    let error = changed(|t| t.retain(|(n, _)| !n.ends_with("mid.attn_1/k/kernel")));
    assert!(error.ends_with(": has no tensor score_model/mid.attn_1/k/kernel"), "{error}");
    assert!(
        changed(|t| {
            let zeros = Tensor::zeros([31, 32], (Kind::Float, Device::Cpu));
            t.iter_mut().find(|(n, _)| n.ends_with("mid.attn_1/k/kernel")).unwrap().1 = zeros;
        })
        .contains("score_model/mid.attn_1/k/kernel has shape [31, 32] instead of [32, 32]")
    );
    assert!(
        changed(|t| {
            t.push(("param/extra".into(), Tensor::zeros([1], (Kind::Float, Device::Cpu))));
        })
        .contains("has a tensor extra that this architecture does not have")
    );
    assert!(changed(|t| t.retain(|(n, _)| !n.starts_with("param/"))).contains("param/"));
}

/// Checkpoints cut off anywhere, or with a byte changed, are refused or read, but never a panic.
#[test]
fn damaged_checkpoints_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ckpt-1.flax");
    let bytes = fs::read(fixtures().join("vdm_flax/plain_attn_l1_c32_5x7.flax")).unwrap();
    for length in [0, 1, 7, 100, 5_000, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        let error = vdm(&path).unwrap_err().to_string();
        assert!(error.contains("ckpt-1.flax: "), "{length}: {error}");
    }
    for place in (0..60).step_by(3) {
        let mut bytes = bytes.clone();
        bytes[place] ^= 0xa5;
        fs::write(&path, &bytes).unwrap();
        let _read_or_refused = vdm(&path);
    }
}

/// The network of a fixture with its weights changed.
fn network(change: impl Fn(&mut Vec<(String, Tensor)>)) -> Result<Imported, String> {
    let folder = copy("no_middle_relu", &ddpm());
    let path = folder.path().join("diffusion_pytorch_model.safetensors");
    let mut tensors = Tensor::read_safetensors(&path).unwrap();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    change(&mut tensors);
    Tensor::write_safetensors(&tensors, &path).unwrap();
    diffusers(folder.path(), &DiffusersOptions::default()).map_err(|e| e.to_string())
}

/// Floats of any width are read, and it is said; whole numbers and truth values are no weights.
#[test]
fn weights_are_floats() {
    let stored =
        |kind| network(|tensors| tensors.iter_mut().for_each(|(_, t)| *t = t.to_kind(kind)));
    assert_eq!(stored(Kind::Float).unwrap().converted, [""; 0]);
    for (kind, name) in
        [(Kind::Half, "half"), (Kind::BFloat16, "bfloat16"), (Kind::Double, "double")]
    {
        let imported = stored(kind).unwrap();
        assert_eq!(imported.converted, [name]);
        imported.model(Shape { channels: 1, height: 8, width: 8 }, 256, Device::Cpu).unwrap();
    }
    for kind in [Kind::Int8, Kind::Uint8, Kind::Bool, Kind::Int, Kind::Int64] {
        let error = stored(kind).unwrap_err();
        assert!(
            error.contains(" is stored as ") && error.contains("save the model in float32"),
            "{error}"
        );
    }
    let one = network(|tensors| tensors[7].1 = tensors[7].1.to_kind(Kind::Int8)).unwrap_err();
    assert!(
        one.contains(".weight is stored as I8") || one.contains(".bias is stored as I8"),
        "{one}"
    );

    let folder = copy("no_middle_relu", &ddpm());
    let eighth = TensorView::new(Dtype::F8_E4M3, vec![2], &[1, 2]).unwrap();
    let bytes = serialize([("conv_in.weight", eighth)], None).unwrap();
    fs::write(folder.path().join("diffusion_pytorch_model.safetensors"), bytes).unwrap();
    let error = diffusers(folder.path(), &DiffusersOptions::default()).unwrap_err().to_string();
    assert!(error.contains("conv_in.weight is stored as F8_E4M3"), "{error}");
}

#[test]
fn weights_are_finite() {
    for value in [f64::NAN, f64::INFINITY, 1e300] {
        let error = network(|tensors| {
            let (name, tensor) = &mut tensors[3];
            *tensor = tensor.to_kind(Kind::Double).fill(value);
            assert!(!name.is_empty());
        });
        assert!(
            error.unwrap_err().contains("holds values that are not finite in float32"),
            "{value}"
        );
    }
}

/// Weights in several files with an index are those of one file.
#[test]
fn weights_in_several_files_are_put_together() {
    let folder = copy("no_middle_relu", &ddpm());
    let read = || diffusers(folder.path(), &DiffusersOptions::default());
    let shape = Shape { channels: 1, height: 8, width: 8 };
    let whole = read().unwrap().model(shape, 256, Device::Cpu).unwrap();
    let at = |name: &str| folder.path().join(name);
    let file = at("diffusion_pytorch_model.safetensors");
    let tensors = Tensor::read_safetensors(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let (first, second) = tensors.split_at(tensors.len() / 2);
    let mut map = serde_json::Map::new();
    for (name, part) in [("a.safetensors", first), ("b.safetensors", second)] {
        Tensor::write_safetensors(part, at(name)).unwrap();
        map.extend(part.iter().map(|(tensor, _)| (tensor.clone(), json!(name))));
    }
    let index = at("diffusion_pytorch_model.safetensors.index.json");
    let write = |map: &serde_json::Map<String, Value>| {
        fs::write(&index, json!({"metadata": {}, "weight_map": map}).to_string()).unwrap();
    };
    write(&map);
    let parts = read().unwrap().model(shape, 256, Device::Cpu).unwrap();
    assert_eq!(weights(&parts), weights(&whole));

    for (file, named) in [
        (json!("../b.safetensors"), "it is no name of a file in the folder"),
        (json!("/etc/passwd"), "it is no name of a file in the folder"),
        (json!(7), "= 7: it is no name"),
        (json!("a.safetensors"), "extra that its files do not have"),
        (json!("c.safetensors"), "cannot read"),
    ] {
        map.insert("extra".into(), file);
        write(&map);
        let error = read().unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

/// What lies in place of weights is said, with what to do.
#[test]
fn other_things_in_place_of_weights_are_named() {
    let folder = copy("no_middle_relu", &ddpm());
    let path = folder.path().join("diffusion_pytorch_model.safetensors");
    let lfs: &[u8] = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
    let cases: [(&[u8], &str); 5] = [
        (lfs, "`git lfs pull`"),
        (b"<!doctype html>\n<html>", "is a web page"),
        (b"PK\x03\x04archive/data.pkl", "holds pickled weights"),
        (b"\x80\x02}q\0.", "holds pickled weights"),
        (b"", "is empty"),
    ];
    for (bytes, named) in cases {
        for path in [&path, &folder.path().join("ckpt.flax"), &folder.path().join("config.json")] {
            fs::write(path, bytes).unwrap();
        }
        let flax = vdm(&folder.path().join("ckpt.flax")).unwrap_err().to_string();
        let config =
            diffusers(folder.path(), &DiffusersOptions::default()).unwrap_err().to_string();
        fs::copy(
            fixtures().join("diffusers_unet/no_middle_relu/config.json"),
            folder.path().join("config.json"),
        )
        .unwrap();
        let weights =
            diffusers(folder.path(), &DiffusersOptions::default()).unwrap_err().to_string();
        for error in [flax, config, weights] {
            assert!(error.contains(named), "{error}");
        }
    }
    fs::rename(&path, folder.path().join("diffusion_pytorch_model.bin")).unwrap();
    let error = diffusers(folder.path(), &DiffusersOptions::default()).unwrap_err().to_string();
    assert!(
        error.contains("there is diffusion_pytorch_model.bin; let diffusers write it"),
        "{error}"
    );
}

#[test]
fn folders_in_place_of_a_checkpoint_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = || vdm(folder.path()).unwrap_err().to_string();
    assert!(error().contains("is a folder; name the file of weights in it"));
    fs::write(folder.path().join("checkpoint_1000"), "x").unwrap();
    assert!(error().contains("is a folder with one checkpoint; name it: "), "{}", error());
    assert!(error().ends_with("checkpoint_1000"), "{}", error());
    fs::write(folder.path().join("checkpoint_9"), "x").unwrap();
    assert!(
        error().contains("2 checkpoints") && error().ends_with("checkpoint_1000"),
        "{}",
        error()
    );
    fs::write(folder.path().join("_METADATA"), "{}").unwrap();
    assert!(error().contains("is a directory (Orbax)"), "{}", error());
    for name in ["checkpoint_9", "nothing"] {
        assert!(vdm(&folder.path().join(name)).is_err());
    }
    let empty = folder.path().join("checkpoint_9");
    fs::write(&empty, b"\x80").unwrap();
    let error = vdm(&empty).unwrap_err().to_string();
    assert!(error.ends_with("it holds no arrays; bring another copy"), "{error}");
    let error = diffusers(&empty, &DiffusersOptions::default()).unwrap_err().to_string();
    assert!(error.contains("is a file; name the folder that holds config.json"), "{error}");
}

/// What is written in few bytes is read, or refused, in little time and memory.
#[test]
fn small_files_of_messagepack_cannot_ask_for_much() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ckpt-1.flax");
    let error = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        vdm(&path).unwrap_err().to_string()
    };
    // Maps in maps without end, a map that promises 2^32 entries, and one of long names in each other.
    assert!(error(&b"\x81\xa1a".repeat(100_000)).contains("is no MessagePack"));
    assert!(error(b"\xdf\xff\xff\xff\xff\xa1a").contains("is no MessagePack"));
    let long = [b"\x81\xda\x01\x00".as_slice(), &[b'a'; 256]].concat().repeat(400);
    assert!(error(&[&long[..], b"\xc0"].concat()).contains("more than 512 bytes"));
    let one = error(&[b"\x81\xda\x02\x58".as_slice(), &[b'a'; 600], b"\xc0"].concat());
    assert!(one.contains("the tree of parameters has a name below it"), "{one}");
    let key = error(b"\x81\x07\xc0");
    assert!(key.contains("the tree of parameters has a key that is no text"), "{key}");
    // A chunked array of 100,000 chunks that are none.
    let mut chunked =
        b"\x81\xa1a\x83\xb9__msgpack_chunked_array__\xc3\xa5shape\x80\xa6chunks\xdf".to_vec();
    chunked.extend(100_000_u32.to_be_bytes());
    (0..100_000)
        .for_each(|i| chunked.extend([&[0xa6], format!("{i:06}").as_bytes(), &[0xc0]].concat()));
    assert!(error(&chunked).contains("not numbered from 0"), "{}", error(&chunked));
    // Two checkpoints in one file.
    assert!(error(b"\x81\xa1a\x80\x80").contains("1 bytes follow it"));
    assert!(error(b"\x07").contains("holds no map"));
}
