//! Damaged files of every format: an error or a consistent data set, never a panic.

use std::panic::catch_unwind;

use image::{DynamicImage, ImageFormat};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::make::*;

/// Valid files, one set a format: the first file of each set is the one that gets damaged.
fn valid() -> Vec<Vec<(String, Vec<u8>)>> {
    let alone = |name: &str, bytes| vec![(name.to_owned(), bytes)];
    let owned = |(name, bytes): (&str, _)| (name.to_owned(), bytes);
    let array = npy_bytes("(12, 2, 3)", &pixels(12));
    let split = npz(&[
        ("x_train", &array),
        ("y_train", &npy_bytes("(12,)", &labels(12))),
        ("x_test", &array),
    ]);
    let mut idx_labels_first = idx_files().map(owned).to_vec();
    idx_labels_first.swap(0, 1);
    let image = DynamicImage::new_rgb8(5, 4);
    vec![
        alone("a-idx3-ubyte", idx(&[12, 2, 3], &pixels(12))),
        alone("a-idx3-ubyte.gz", gz(&idx(&[12, 2, 3], &pixels(12)))),
        idx_files().map(owned).to_vec(),
        idx_labels_first,
        cifar_files(3),
        cifar_100_files(&[12, 3]).to_vec(),
        emnist_files("emnist-letters").to_vec(),
        alone("a.npy", array),
        alone("a.npz", split),
        alone("folder/a.png", picture(&image, ImageFormat::Png)),
        alone("folder/a.jpg", picture(&image, ImageFormat::Jpeg)),
        alone("folder/b.jpg", include_bytes!("../pictures/progressive.jpg").into()),
        alone("folder/c.jpg", include_bytes!("../pictures/restarts.jpg").into()),
    ]
}

#[derive(Debug, Clone)]
enum Damage {
    Overwrite(Vec<(Index, u8)>),
    Truncate(Index),
    Insert(Index, Vec<u8>),
    /// Keeps the start, by which the format is recognized.
    Random(Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        vec((any::<Index>(), prop_oneof![any::<u8>(), select(vec![0, 0x7f, 0xff])]), 1..6)
            .prop_map(Damage::Overwrite),
        any::<Index>().prop_map(Damage::Truncate),
        (any::<Index>(), vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        vec(any::<u8>(), 0..200).prop_map(Damage::Random),
    ]
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        // Headers are where damage matters: every other place falls into the first 100 bytes.
        let place =
            |at: &Index, len: usize| at.index(if at.index(2) == 0 { len } else { len.min(100) });
        match self {
            Self::Overwrite(changes) => {
                let len = bytes.len();
                changes.iter().for_each(|(at, value)| bytes[place(at, len)] = *value);
            }
            Self::Truncate(at) => bytes.truncate(place(at, bytes.len())),
            Self::Insert(at, extra) => {
                let at = place(at, bytes.len());
                bytes.splice(at..at, extra.iter().copied());
            }
            Self::Random(random) => {
                bytes.truncate(8);
                bytes.extend(random);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..Default::default() })]

    #[test]
    fn damaged_files_never_panic(mut files in select(valid()), damage in damage()) {
        damage.apply(&mut files[0].1);
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in &files {
            write(dir.path(), name, bytes);
        }
        // A file that is alone is named itself, so that no other reader takes it for its own.
        let path = match &files[..] {
            [(name, _)] if !name.contains('/') => dir.path().join(name),
            _ => dir.path().into(),
        };
        let loaded = catch_unwind(|| load_path(&path));
        match loaded.expect("no panic") {
            Ok(data) => for items in [&data.train, &data.validation, &data.test] {
                prop_assert_eq!(items.pixels().len(), items.len() * data.shape.dims());
            },
            Err(error) => {
                let place = dir.path().to_str().unwrap();
                prop_assert!(error.to_string().contains(place), "no path in: {}", error);
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "file", bytes);
        let loaded = catch_unwind(|| load_path(&dir.path().join("file")));
        prop_assert!(loaded.expect("no panic").is_err());
    }
}
