//! Data sets: what `vdm-data` reads.

use vdm_data::{Source, load};

use super::{Kind, Scratch, Target, Verdict, verdict};
use crate::corpus;

pub(super) fn targets() -> Vec<Target> {
    let bytes = |name, corpus, check| Target { name, kind: Kind::Bytes, corpus, check };
    vec![
        bytes("idx", corpus::idx, |scratch, input| file(scratch, "idx/a-idx3-ubyte", input)),
        bytes("idx_gz", corpus::idx_gz, |scratch, input| {
            file(scratch, "idx_gz/a-idx3-ubyte.gz", input)
        }),
        bytes("npy", corpus::npy, |scratch, input| file(scratch, "npy/a.npy", input)),
        bytes("npz", corpus::npz, |scratch, input| file(scratch, "npz/a.npz", input)),
        bytes("cifar", corpus::cifar, |scratch, input| {
            for batch in 2..=5 {
                let name = format!("cifar/data_batch_{batch}.bin");
                scratch.write_once(&name, || corpus::cifar().remove(0));
            }
            scratch.write_once("cifar/test_batch.bin", || corpus::cifar().remove(0));
            scratch.write("cifar/data_batch_1.bin", input);
            folder(scratch, "cifar", None)
        }),
        bytes("png", corpus::png, |scratch, input| picture(scratch, "png", input)),
        bytes("jpeg", corpus::jpeg, |scratch, input| picture(scratch, "jpg", input)),
    ]
}

/// Beside as many good ones as a set needs.
fn picture(scratch: &Scratch, extension: &str, input: &[u8]) -> Verdict {
    for i in 1..10 {
        scratch.write_once(&format!("{extension}/{i}.png"), || corpus::png().remove(1));
    }
    scratch.write(&format!("{extension}/0.{extension}"), input);
    folder(scratch, extension, Some(8))
}

fn file(scratch: &Scratch, name: &str, input: &[u8]) -> Verdict {
    let path = scratch.write(name, input);
    loaded(&Source::Path { path, size: None, values: None })
}

fn folder(scratch: &Scratch, name: &str, size: Option<usize>) -> Verdict {
    loaded(&Source::Path { path: scratch.path(name), size, values: None })
}

/// A set that was loaded is consistent; an error names the file.
fn loaded(source: &Source) -> Verdict {
    let found = load(source);
    match &found {
        Ok(data) => {
            for items in [&data.train, &data.validation, &data.test] {
                assert_eq!(items.pixels().len(), items.len() * data.shape.dims());
                assert!(items.labels().is_none_or(|labels| labels.len() == items.len()));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    verdict(&found)
}
