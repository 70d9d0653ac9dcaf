//! Files that load, and that the same data have the same splits and hash in every format.

use vdm_data::{Dataset, Items, Shape};

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
        assert_eq!((lengths(&data), data.levels), ([55, 5, 12], 256));
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
