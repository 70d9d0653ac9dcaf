//! Files of every format, written by the tests' own hand or by other writers than the readers
//! under test.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use image::{DynamicImage, ImageFormat};
use vdm_data::{DataError, Dataset, Source, load};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

pub(crate) fn load_path(path: &Path) -> Result<Dataset, DataError> {
    load(&Source::Path { path: path.into(), size: None, values: None })
}

pub(crate) fn write(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

pub(crate) fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An IDX file of unsigned bytes.
pub(crate) fn idx(sizes: &[u32], body: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, sizes.len() as u8];
    file.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    file.extend(body);
    file
}

/// Images of 2×3 pixels, `10·item + position` modulo 256.
pub(crate) fn pixels(items: usize) -> Vec<u8> {
    (0..items).flat_map(|item| (0..6).map(move |position| (10 * item + position) as u8)).collect()
}

/// The labels that go with [`pixels`].
pub(crate) fn labels(items: usize) -> Vec<u8> {
    (0..items).map(|item| (item % 10) as u8).collect()
}

/// The four files of an IDX data set of 60 training and 12 test images.
pub(crate) fn idx_files() -> [(&'static str, Vec<u8>); 4] {
    [
        ("train-images-idx3-ubyte", idx(&[60, 2, 3], &pixels(60))),
        ("train-labels-idx1-ubyte", idx(&[60], &labels(60))),
        ("t10k-images-idx3-ubyte", idx(&[12, 2, 3], &pixels(12))),
        ("t10k-labels-idx1-ubyte", idx(&[12], &labels(12))),
    ]
}

/// CIFAR-10's six files with `records` records each; record r of batch b has label r, and all its
/// red, green and blue pixels are b, b + 10 and b + 20.
pub(crate) fn cifar_files(records: u8) -> Vec<(String, Vec<u8>)> {
    let batch = |b: u8| {
        let planes = [b, b + 10, b + 20].map(|value| [value; 1024]).concat();
        (0..records).flat_map(|label| [vec![label], planes.clone()].concat()).collect::<Vec<u8>>()
    };
    let name = |b| if b == 6 { "test_batch.bin".into() } else { format!("data_batch_{b}.bin") };
    (1..=6).map(|b| (name(b), batch(b))).collect()
}

/// The four files of one of EMNIST's sets: those of [`idx_files`], with each image transposed.
pub(crate) fn emnist_files(set: &str) -> [(String, Vec<u8>); 4] {
    let transposed = |items: usize| {
        let rows = |image: &[u8]| [0, 3, 1, 4, 2, 5].map(|place: usize| image[place]);
        pixels(items).chunks(6).flat_map(rows).collect::<Vec<u8>>()
    };
    [
        (format!("{set}-train-images-idx3-ubyte"), idx(&[60, 3, 2], &transposed(60))),
        (format!("{set}-train-labels-idx1-ubyte"), idx(&[60], &labels(60))),
        (format!("{set}-test-images-idx3-ubyte"), idx(&[12, 3, 2], &transposed(12))),
        (format!("{set}-test-labels-idx1-ubyte"), idx(&[12], &labels(12))),
    ]
}

/// CIFAR-100's two files with this many records; record r has coarse label 7 and fine label 90 + r.
pub(crate) fn cifar_100_files(records: &[u8; 2]) -> [(String, Vec<u8>); 2] {
    let file = |records: u8| {
        let record = |r| [vec![7, 90 + r % 10], vec![r; 3072]].concat();
        (0..records).flat_map(record).collect::<Vec<u8>>()
    };
    [("train.bin".into(), file(records[0])), ("test.bin".into(), file(records[1]))]
}

/// A .npy file of version 1, padded as `NumPy` pads it.
pub(crate) fn npy(descr: &str, fortran_order: &str, shape: &str, body: &[u8]) -> Vec<u8> {
    npy_of(
        &format!("{{'descr': '{descr}', 'fortran_order': {fortran_order}, 'shape': {shape}, }}"),
        body,
    )
}

/// A .npy file of version 1 with the given header.
pub(crate) fn npy_of(header: &str, body: &[u8]) -> Vec<u8> {
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((length as u16).to_le_bytes());
    file.extend(format!("{header:width$}\n", width = length - 1).bytes());
    file.extend(body);
    file
}

/// A .npy file of bytes in C order.
pub(crate) fn npy_bytes(shape: &str, body: &[u8]) -> Vec<u8> {
    npy("|u1", "False", shape, body)
}

/// A compressed archive of `.npy` files.
pub(crate) fn npz(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        let options =
            SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        writer.start_file(format!("{name}.npy"), options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

pub(crate) fn picture(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, format).unwrap();
    file.into_inner()
}
