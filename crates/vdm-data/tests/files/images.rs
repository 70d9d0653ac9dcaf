//! Folders of images.

use std::path::Path;

use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use vdm_data::{Dataset, Items, Shape, Source, load};

use crate::make::*;

const RED: [u8; 3] = [200, 40, 10];

fn at_size(dir: &Path, size: usize) -> Dataset {
    load(&Source::Path { path: dir.into(), size: Some(size), levels: None }).unwrap()
}

fn plain(width: u32, height: u32, color: [u8; 3]) -> DynamicImage {
    RgbImage::from_pixel(width, height, Rgb(color)).into()
}

/// All items of the three splits, each with its label.
fn items(data: &Dataset) -> impl Iterator<Item = (&[u8], Option<u32>)> {
    [&data.train, &data.validation, &data.test].into_iter().flat_map(|split| {
        let label = |i: usize| split.labels().map(|labels| labels[i]);
        (0..split.len()).map(move |i| (split.item(i), label(i)))
    })
}

#[test]
fn a_tree_of_png_and_jpeg_is_cropped_resized_and_labeled_by_folder() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..6 {
        let png = picture(&plain(20 + i, 10, RED), ImageFormat::Png);
        write(dir.path(), &format!("red/deeper/{i}.PNG"), png);
        let jpeg = picture(&plain(9, 30 + i, [0, 128, 128]), ImageFormat::Jpeg);
        write(dir.path(), &format!("blue/{i}.jpeg"), jpeg);
    }
    write(dir.path(), "blue/readme.txt", "no image");
    write(dir.path(), "blue/._0.jpeg", "a resource fork");
    let data = at_size(dir.path(), 8);
    assert_eq!(data.shape, Shape { channels: 3, height: 8, width: 8 });
    assert_eq!([&data.train, &data.validation, &data.test].map(Items::len), [9, 1, 2]);
    for (item, label) in items(&data) {
        let (channels, tolerance) = match label.unwrap() {
            0 => ([0, 128, 128], 3),
            1 => (RED, 0),
            other => panic!("label {other}"),
        };
        for (channel, expected) in item.chunks_exact(64).zip(channels) {
            assert!(channel.iter().all(|value| value.abs_diff(expected) <= tolerance), "{item:?}");
        }
    }
}

#[test]
fn a_picture_of_the_right_size_is_kept_bit_by_bit_and_gray_stays_gray() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..10 {
        let image = GrayImage::from_fn(32, 32, |x, y| Luma([(7 * x + 5 * y + i) as u8]));
        write(dir.path(), &format!("{i}.png"), picture(&image.into(), ImageFormat::Png));
    }
    let data = load_path(dir.path()).unwrap();
    assert_eq!(data.shape, Shape { channels: 1, height: 32, width: 32 });
    let mut offsets = Vec::new();
    for (item, label) in items(&data) {
        assert_eq!(label, None);
        let expected = |p: usize| (7 * (p % 32) + 5 * (p / 32) + usize::from(item[0])) as u8;
        assert!(item.iter().enumerate().all(|(p, &value)| value == expected(p)));
        offsets.push(item[0]);
    }
    offsets.sort_unstable();
    assert!(offsets.into_iter().eq(0..10));
}

#[test]
fn the_crop_is_the_middle_square_and_reduction_averages() {
    let dir = tempfile::tempdir().unwrap();
    // Black and white columns in the middle square, gray outside of it.
    let stripes = RgbImage::from_fn(24, 16, |x, _| {
        if (4..20).contains(&x) { Rgb([255 * (x % 2) as u8; 3]) } else { Rgb([90, 0, 0]) }
    });
    for i in 0..10 {
        write(dir.path(), &format!("{i}.png"), picture(&stripes.clone().into(), ImageFormat::Png));
    }
    let data = at_size(dir.path(), 16);
    let expected: Vec<u8> = (0..256).map(|p| 255 * (p % 2) as u8).collect();
    assert_eq!(data.train.item(0)[..256], expected);
    let small = at_size(dir.path(), 2);
    assert!(small.train.item(0).iter().all(|value| value.abs_diff(127) < 12), "no averaging");
}

#[test]
fn transparency_lies_over_white() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..10 {
        let image = RgbaImage::from_fn(2, 1, |x, _| Rgba([100, 0, 0, [0, 51][x as usize]]));
        let wide = image::imageops::resize(&image, 2, 2, image::imageops::FilterType::Nearest);
        write(dir.path(), &format!("{i}.png"), picture(&wide.into(), ImageFormat::Png));
    }
    // A fifth of (100, 0, 0) over white is (224, 204, 204).
    let data = at_size(dir.path(), 2);
    assert_eq!(data.train.item(0), [255, 224, 255, 224, 255, 204, 255, 204, 255, 204, 255, 204]);
}

#[test]
fn folders_named_train_and_test_are_the_splits_and_share_classes() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..12 {
        let png = picture(&plain(4, 4, [i, 0, 0]), ImageFormat::Png);
        write(dir.path(), &format!("train/{}/{i}.png", ["ant", "cat"][usize::from(i) % 2]), &png);
        write(dir.path(), &format!("test/{}/{i}.png", ["bee", "cat"][usize::from(i) % 2]), &png);
    }
    let data = at_size(dir.path(), 4);
    assert_eq!([&data.train, &data.validation, &data.test].map(Items::len), [11, 1, 12]);
    assert_eq!(data.test.labels().unwrap(), [[1; 6], [2; 6]].concat());
    assert!(data.train.labels().unwrap().iter().all(|label| [0, 2].contains(label)));
}

#[test]
fn loading_twice_gives_the_same_hash() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..40 {
        let png = picture(&plain(5, 5, [i, i, 9]), ImageFormat::Png);
        write(dir.path(), &format!("{i}.png"), png);
    }
    assert_eq!(at_size(dir.path(), 5).sha256, at_size(dir.path(), 5).sha256);
}
