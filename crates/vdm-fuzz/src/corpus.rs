//! Valid files of every format, small, as other writers would write them.

use std::io::{Cursor, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use image::{DynamicImage, ImageFormat, Luma, Rgb, Rgba};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// `10·item + position` modulo 256, of items with 6 pixels.
fn pixels(items: usize) -> Vec<u8> {
    (0..6 * items).map(|i| (10 * (i / 6) + i % 6) as u8).collect()
}

fn idx_of(sizes: &[u32], body: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, sizes.len() as u8];
    file.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    file.extend(body);
    file
}

pub(crate) fn idx() -> Vec<Vec<u8>> {
    vec![idx_of(&[12, 2, 3], &pixels(12)), idx_of(&[20, 6, 1], &pixels(20))]
}

pub(crate) fn idx_gz() -> Vec<Vec<u8>> {
    let gz = |bytes: Vec<u8>| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&bytes).expect("memory can be written");
        encoder.finish().expect("memory can be written")
    };
    idx().into_iter().map(gz).collect()
}

fn npy_of(descr: &str, order: &str, shape: &str, body: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((length as u16).to_le_bytes());
    file.extend(format!("{header:width$}\n", width = length - 1).bytes());
    file.extend(body);
    file
}

pub(crate) fn npy() -> Vec<Vec<u8>> {
    vec![
        npy_of("|u1", "False", "(12, 2, 3)", &pixels(12)),
        npy_of("|u1", "False", "(12, 2, 1, 3)", &pixels(12)),
        npy_of("|u1", "True", "(12, 2, 3)", &pixels(12)),
    ]
}

fn archive(members: &[(&str, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, bytes) in members {
        writer.start_file(format!("{name}.npy"), options).expect("memory can be written");
        writer.write_all(bytes).expect("memory can be written");
    }
    writer.finish().expect("memory can be written").into_inner()
}

pub(crate) fn npz() -> Vec<Vec<u8>> {
    let images = npy_of("|u1", "False", "(12, 2, 3)", &pixels(12));
    let labels: Vec<u8> = (0..12).map(|item| item % 10).collect();
    let labels = npy_of("|u1", "False", "(12,)", &labels);
    let long: Vec<u8> = (0..12_i64).flat_map(|item| (item % 3).to_le_bytes()).collect();
    let long = npy_of("<i8", "False", "(12,)", &long);
    let split = [("x_train", images.clone()), ("y_train", labels), ("x_test", images.clone())];
    let pair = [("x", images.clone()), ("y", long)];
    vec![
        archive(&split, CompressionMethod::Deflated),
        archive(&pair, CompressionMethod::Stored),
        archive(&[("images", images)], CompressionMethod::Deflated),
    ]
}

/// Records of a label and 32×32 pixels of three planes.
pub(crate) fn cifar() -> Vec<Vec<u8>> {
    let planes = [1, 11, 21].map(|value| [value; 1024]).concat();
    vec![(0..3).flat_map(|label| [vec![label], planes.clone()].concat()).collect()]
}

fn pictures() -> [DynamicImage; 4] {
    let wave = |x: u32, y: u32| (20 * x + 13 * y) as u8;
    [
        image::ImageBuffer::from_fn(9, 8, |x, y| Luma([wave(x, y)])).into(),
        image::ImageBuffer::from_fn(9, 8, |x, y| Rgb([wave(x, y), wave(y, x), 90])).into(),
        image::ImageBuffer::from_fn(8, 8, |x, y| Rgba([wave(x, y), 5, wave(y, x), 255])).into(),
        image::ImageBuffer::from_fn(8, 9, |x, y| Luma([u16::from(wave(x, y)) * 257])).into(),
    ]
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, format).expect("memory can be written");
    file.into_inner()
}

pub(crate) fn png() -> Vec<Vec<u8>> {
    pictures().iter().map(|image| encoded(image, ImageFormat::Png)).collect()
}

pub(crate) fn jpeg() -> Vec<Vec<u8>> {
    pictures()[..2].iter().map(|image| encoded(image, ImageFormat::Jpeg)).collect()
}
