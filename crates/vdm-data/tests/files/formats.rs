//! Files that load, and that the same data have the same splits and hash in every format.

use vdm_data::{DataError, Dataset, Items, Shape};

use crate::make::*;

/// The sorted first pixels of the items, which tell the items of [`pixels`] apart.
fn firsts(splits: &[&Items]) -> Vec<u8> {
    let each = splits.iter().flat_map(|items| (0..items.len()).map(|i| items.item(i)[0]));
    let mut firsts: Vec<u8> = each.collect();
    firsts.sort_unstable();
    firsts
}

fn lengths(data: &Dataset) -> [usize; 3] {
    [&data.train, &data.validation, &data.test].map(Items::len)
}

fn from_file(name: &str, bytes: impl AsRef<[u8]>) -> Dataset {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), name, bytes);
    load_path(&dir.path().join(name)).unwrap()
}

#[test]
fn an_idx_folder_loads_under_all_its_names_with_its_own_test_split() {
    let mut hashes = Vec::new();
    for (gzipped, dotted) in [(false, false), (true, false), (false, true), (true, true)] {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in idx_files() {
            let name = if dotted { name.replace("-idx", ".idx") } else { name.into() };
            match gzipped {
                true => write(dir.path(), &format!("{name}.gz"), gz(&bytes)),
                false => write(dir.path(), &name, bytes),
            }
        }
        let data = load_path(dir.path()).unwrap();
        assert_eq!(data.shape, Shape { channels: 1, height: 2, width: 3 });
        assert_eq!((lengths(&data), data.values), ([55, 5, 12], 256));
        assert_eq!(data.test.pixels(), pixels(12));
        assert_eq!(data.test.labels().unwrap()[..3], [0, 1, 2]);
        let mut all = pixels(60).into_iter().step_by(6).collect::<Vec<_>>();
        all.sort_unstable();
        assert_eq!(firsts(&[&data.train, &data.validation]), all);
        hashes.push(data.sha256);
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}

#[test]
fn the_validation_split_of_sixty_thousand_is_five_thousand() {
    let dir = tempfile::tempdir().unwrap();
    for (name, items) in [("train", 60_000), ("t10k", 10)] {
        let body = vec![1; items as usize];
        write(dir.path(), &format!("{name}-images-idx3-ubyte"), idx(&[items, 1, 1], &body));
        write(dir.path(), &format!("{name}-labels-idx1-ubyte"), idx(&[items], &body));
    }
    assert_eq!(lengths(&load_path(dir.path()).unwrap()), [55_000, 5_000, 10]);
}

#[test]
fn one_array_has_the_same_hash_as_idx_npy_and_npz() {
    let shape = "(40, 2, 3)";
    let numpy = npy_bytes(shape, &pixels(40));
    let data = from_file("images.npy", &numpy);
    assert_eq!(lengths(&data), [28, 4, 8]);
    assert_eq!((data.name.as_str(), data.train.labels()), ("images.npy", None));
    let mut all: Vec<u8> = pixels(40).into_iter().step_by(6).collect();
    all.sort_unstable();
    assert_eq!(firsts(&[&data.train, &data.validation, &data.test]), all);
    for same in [
        from_file("images-idx3-ubyte", idx(&[40, 2, 3], &pixels(40))),
        from_file("images-idx3-ubyte.gz", gz(&idx(&[40, 2, 3], &pixels(40)))),
        from_file("images.npy.gz", gz(&numpy)),
        from_file("x.npz", npz(&[("x", &numpy)])),
        from_file("any-name.npz", npz(&[("pictures", &numpy)])),
        from_file("last-axis.npy", npy_bytes("(40, 2, 3, 1)", &pixels(40))),
    ] {
        assert_eq!(same.sha256, data.sha256, "{}", same.name);
    }
}

#[test]
fn channels_of_an_array_come_first_in_memory() {
    // Item i, row 0, columns 0 and 1, with channels (i, 100, 200) and (i + 1, 101, 201).
    let body: Vec<u8> = (0..10).flat_map(|i| [i, 100, 200, i + 1, 101, 201]).collect();
    let data = from_file("color.npy", npy_bytes("(10, 1, 2, 3)", &body));
    assert_eq!(data.shape, Shape { channels: 3, height: 1, width: 2 });
    let item = data.train.item(0);
    assert_eq!(item, [item[0], item[0] + 1, 100, 101, 200, 201]);
}

#[test]
fn an_npz_with_splits_and_labels_keeps_them() {
    let images = |items: usize| npy_bytes(&format!("({items}, 2, 3)"), &pixels(items));
    let wide: Vec<u8> =
        labels(24).iter().flat_map(|&label| i64::from(label).to_le_bytes()).collect();
    let train_labels = npy("<i8", "False", "(24,)", &wide);
    let column = npy_bytes("(12, 1)", &labels(12));
    let (train, test, validation) = (images(24), images(12), images(7));
    let two = [
        ("x_train", &*train),
        ("y_train", &*train_labels),
        ("x_test", &*test),
        ("y_test", &*column),
    ];
    let data = from_file("two.npz", npz(&two));
    assert_eq!(lengths(&data), [22, 2, 12]);
    assert_eq!(data.test.labels().unwrap(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
    for (i, &label) in data.train.labels().unwrap().iter().enumerate() {
        let item = (0..24).find(|item| data.train.item(i)[0] == 10 * item).unwrap();
        assert_eq!(u32::from(item) % 10, label);
    }

    let names = [("train_images", &*train), ("val_images", &*validation), ("test_images", &*test)];
    assert_eq!(lengths(&from_file("three.npz", npz(&names))), [24, 7, 12]);
}

#[test]
fn cifar_batches_load_from_their_folder_and_from_the_one_above() {
    for prefix in ["", "cifar-10-batches-bin/"] {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in cifar_files(4) {
            write(dir.path(), &format!("{prefix}{name}"), bytes);
        }
        let data = load_path(dir.path()).unwrap();
        assert_eq!(data.shape, Shape { channels: 3, height: 32, width: 32 });
        assert_eq!(lengths(&data), [19, 1, 4]);
        assert_eq!(data.test.labels().unwrap(), [0, 1, 2, 3]);
        let item = data.test.item(3);
        assert_eq!([item[0], item[1023], item[1024], item[3071]], [6, 6, 16, 26]);
        assert_eq!(
            firsts(&[&data.train, &data.validation]),
            [[1; 4], [2; 4], [3; 4], [4; 4], [5; 4]].concat()
        );
    }
}

#[test]
fn cifar_100_loads_with_its_fine_labels() {
    for (prefix, gzipped) in [("", false), ("", true), ("cifar-100-binary/", false)] {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in cifar_100_files(&[24, 3]) {
            match gzipped {
                true => write(dir.path(), &format!("{prefix}{name}.gz"), gz(&bytes)),
                false => write(dir.path(), &format!("{prefix}{name}"), bytes),
            }
        }
        write(dir.path(), &format!("{prefix}fine_label_names.txt"), "apple");
        let data = load_path(dir.path()).unwrap();
        assert_eq!(lengths(&data), [22, 2, 3]);
        assert_eq!(data.test.labels().unwrap(), [90, 91, 92]);
        assert_eq!(data.test.item(2), [2; 3072]);
    }
}

#[test]
fn emnist_loads_upright_with_labels_and_test_split() {
    let dir = tempfile::tempdir().unwrap();
    let mnist = tempfile::tempdir().unwrap();
    for (name, bytes) in idx_files() {
        write(mnist.path(), name, bytes);
    }
    for (name, bytes) in emnist_files("emnist-digits") {
        write(dir.path(), &format!("{name}.gz"), gz(&bytes));
    }
    let data = load_path(dir.path()).unwrap();
    assert_eq!(data.sha256, load_path(mnist.path()).unwrap().sha256);
    assert!(data.notes[0].contains("turned upright"), "{:?}", data.notes);

    // Six sets in one folder, as the archive has them: which one has to be said.
    for (name, bytes) in emnist_files("emnist-letters") {
        write(dir.path(), &name, bytes);
    }
    let error = load_path(dir.path()).unwrap_err();
    assert!(matches!(error, DataError::Several { .. }), "{error}");
    let letters = dir.path().join("emnist-letters");
    assert!(error.to_string().contains(letters.to_str().unwrap()), "{error}");
    assert_eq!(load_path(&letters).unwrap().sha256, data.sha256);

    // One file alone has no labels, which is said.
    let alone = load_path(&dir.path().join("emnist-letters-test-images-idx3-ubyte")).unwrap();
    assert_eq!((alone.shape, lengths(&alone)), (data.shape, [9, 1, 2]));
    assert!(alone.notes.iter().any(|note| note.contains("labels")), "{:?}", alone.notes);
}

#[test]
fn qmnist_loads_with_the_first_column_of_its_labels() {
    let dir = tempfile::tempdir().unwrap();
    for (split, items) in [("train", 24usize), ("test", 3)] {
        let columns: Vec<u8> =
            (0..items).flat_map(|item| [item as i32, 7, 8]).flat_map(i32::to_be_bytes).collect();
        let header = [&[0, 0, 0x0c, 2], &(items as u32).to_be_bytes()[..], &3u32.to_be_bytes()];
        let file = [&header.concat()[..], &columns].concat();
        write(dir.path(), &format!("qmnist-{split}-labels-idx2-int.gz"), gz(&file));
        let images = idx(&[items as u32, 2, 3], &pixels(items));
        write(dir.path(), &format!("qmnist-{split}-images-idx3-ubyte.gz"), gz(&images));
    }
    let data = load_path(dir.path()).unwrap();
    assert_eq!(lengths(&data), [22, 2, 3]);
    assert_eq!(data.test.labels().unwrap(), [0, 1, 2]);
}

#[test]
fn a_data_set_is_found_below_the_folder_that_was_downloaded() {
    let dir = tempfile::tempdir().unwrap();
    let mut hash = None;
    for (place, gzipped) in [("MNIST/raw", false), ("FashionMNIST/raw", true)] {
        for (name, bytes) in idx_files() {
            write(dir.path(), &format!("{place}/{name}"), &bytes);
            if gzipped {
                write(dir.path(), &format!("{place}/{name}.gz"), gz(&bytes));
            }
        }
        write(dir.path(), "LICENSE", "Free.");
        match hash.take() {
            None => hash = Some(load_path(dir.path()).unwrap().sha256),
            Some(_) => {
                let error = load_path(dir.path()).unwrap_err();
                assert!(error.to_string().contains("FashionMNIST/raw"), "{error}");
                assert!(matches!(error, DataError::Several { .. }), "{error}");
            }
        }
    }
    write(dir.path(), "FashionMNIST/a.png", b"");
    let error = load_path(&dir.path().join("FashionMNIST")).unwrap_err();
    assert!(matches!(error, DataError::Mixed { .. }), "{error}");
}

#[test]
fn headers_that_numpy_reads_are_read() {
    let expected = from_file("a.npy", npy_bytes("(20, 2, 3)", &pixels(20))).sha256;
    for descr in ["u1", "<u1", ">u1", "=u1", "B", "|B", "uint8", "ubyte"] {
        let data = from_file("a.npy", npy(descr, "False", "(20, 2, 3)", &pixels(20)));
        assert_eq!(data.sha256, expected, "{descr}");
    }
    for header in [
        "{'descr': u'|u1', 'fortran_order': False, 'shape': (20L, 2L, 3L), }",
        "{u'shape': (20L,2,3), u'descr': '|u1', u'fortran_order': False}",
    ] {
        assert_eq!(from_file("a.npy", npy_of(header, &pixels(20))).sha256, expected, "{header}");
    }
    // The first size runs fastest.
    let (items, values) = (20, pixels(20));
    let fortran: Vec<u8> = [0, 3, 1, 4, 2, 5]
        .into_iter()
        .flat_map(|place| values.iter().skip(place).step_by(6).copied().take(items))
        .collect();
    let data = from_file("a.npy", npy("|u1", "True", "(20, 2, 3)", &fortran));
    assert_eq!(data.sha256, expected);
}

#[test]
fn labels_of_any_integers_are_the_same() {
    let images = npy_bytes("(20, 2, 3)", &pixels(20));
    let hash = |descr: &str, wide: fn(u8) -> Vec<u8>| {
        let body: Vec<u8> = labels(20).into_iter().flat_map(wide).collect();
        let array = npy(descr, "False", "(20,)", &body);
        from_file("a.npz", npz(&[("x", &images), ("y", &array)])).sha256
    };
    let expected = hash("|u1", |label| vec![label]);
    assert_eq!(hash(">i8", |label| i64::from(label).to_be_bytes().into()), expected);
    assert_eq!(hash("<i4", |label| i32::from(label).to_le_bytes().into()), expected);
    assert_eq!(hash(">u2", |label| u16::from(label).to_be_bytes().into()), expected);
    assert_eq!(hash("int64", |label| i64::from(label).to_le_bytes().into()), expected);
}

#[test]
fn arrays_that_are_left_out_are_named() {
    let images = npy_bytes("(20, 2, 3)", &pixels(20));
    let data = from_file(
        "a.npz",
        npz(&[("x", &images), ("targets", &images), ("y", &npy_bytes("(20,)", &labels(20)))]),
    );
    assert_eq!(data.notes, ["arrays of other names were left out: targets"]);
    assert!(data.train.labels().is_some());
    let whole = from_file("a.npz", npz(&[("x", &images)]));
    assert!(whole.notes.is_empty());
}
