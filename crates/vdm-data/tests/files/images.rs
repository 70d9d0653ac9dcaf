//! Folders of images.

use std::path::Path;

use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use vdm_data::{DataError, Dataset, Items, Shape, Source, load};

use crate::make::*;

const RED: [u8; 3] = [200, 40, 10];

fn at_size(dir: &Path, size: usize) -> Dataset {
    load(&Source::Path { path: dir.into(), size: Some(size), values: None }).unwrap()
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

#[test]
fn a_jpeg_is_read_under_all_its_names() {
    let dir = tempfile::tempdir().unwrap();
    let jpeg = picture(&plain(8, 8, RED), ImageFormat::Jpeg);
    for name in
        ["a.jpg", "b.jpeg", "c.jpe", "d.jfif", "e.JIF", "f.jfi", "g.png", "h.bmp", "i", "j.tmp"]
    {
        write(dir.path(), name, &jpeg);
    }
    assert_eq!(items(&load_path(dir.path()).unwrap()).count(), 10);
}

/// Four pixels of indices into a palette of two colors.
fn indexed(indices: u8) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 4, 1);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Two);
    encoder.set_palette(vec![0, 0, 0, 200, 0, 0]);
    encoder.write_header().unwrap().write_image_data(&[indices]).unwrap();
    file
}

/// A decoder makes black of an index without a color.
#[test]
fn an_index_beyond_its_palette_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..10 {
        write(dir.path(), &format!("{i}.png"), indexed(0b_00_01_00_01));
    }
    load_path(dir.path()).unwrap();
    write(dir.path(), "5.png", indexed(0b_00_01_11_01));
    let error = load_path(dir.path()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.to_string().contains("5.png"), "{error}");
    assert_eq!(source, "it has color 3 of a palette of 2");
}

#[test]
fn what_is_changed_in_pictures_is_said() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..10 {
        let deep = DynamicImage::ImageLuma16(image::ImageBuffer::from_pixel(4, 4, Luma([999])));
        let image = if i < 3 { deep } else { deep.into_luma8().into() };
        write(dir.path(), &format!("{i}.png"), picture(&image, ImageFormat::Png));
    }
    write(dir.path(), "10.png", picture(&plain(32, 32, RED), ImageFormat::Png));
    let notes = load_path(dir.path()).unwrap().notes;
    let wanted = [
        "3 of 11 images have 16 bits a value: they were reduced to 8",
        "1 of 11 images are in color: the gray ones have three equal channels beside them",
        "10 of 11 images were cropped to a square and resized to 32×32, as their size was another",
    ];
    assert_eq!(notes, wanted);
}

#[test]
fn what_is_left_out_is_said() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..10 {
        let image = RgbaImage::from_pixel(4, 4, Rgba([9, 9, 9, if i < 3 { 7 } else { 255 }]));
        let image = if i < 4 { image.into() } else { plain(4, 4, RED) };
        write(dir.path(), &format!("{i}.png"), picture(&image, ImageFormat::Png));
    }
    write(dir.path(), "labels.csv", "0,1");
    write(dir.path(), ".hidden.png", "");
    write(dir.path(), ".DS_Store", b"\0");
    let notes = load_path(dir.path()).unwrap().notes;
    assert!(notes[0].starts_with("2 files that are no images were left out: "), "{notes:?}");
    assert!(notes[0].contains("labels.csv") && notes[0].contains(".hidden.png"), "{notes:?}");
    assert!(notes[1].starts_with("4 of 10 images have an alpha channel"), "{notes:?}");
}

#[test]
fn images_outside_of_classes_leave_no_labels_and_that_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let png = picture(&plain(4, 4, RED), ImageFormat::Png);
    for name in ["a/0.png", "a/1.png", "b/2.png", "b/3.png", "4.png"] {
        write(dir.path(), name, &png);
        write(dir.path(), &format!("{}-2.png", name.replace(".png", "")), &png);
    }
    let data = load_path(dir.path()).unwrap();
    assert_eq!(data.train.labels(), None);
    assert!(data.notes[0].starts_with("there are no labels"), "{:?}", data.notes);
}

#[test]
fn sub_folders_of_splits_are_found_by_all_their_names() {
    let png = |value| picture(&plain(4, 4, [value, 0, 0]), ImageFormat::Png);
    let load_with = |folders: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        for folder in folders {
            (0..12).for_each(|i| write(dir.path(), &format!("{folder}/{i}.png"), png(i)));
        }
        load_path(dir.path())
            .map(|data| [&data.train, &data.validation, &data.test].map(Items::len))
    };
    for (folders, lengths) in [
        (&["train", "test"][..], [11, 1, 12]),
        (&["Training", "Testing"], [11, 1, 12]),
        (&["train", "val", "test"], [12, 12, 12]),
        (&["train", "dev"], [11, 12, 1]),
        (&["train/a", "train/b"], [18, 2, 4]),
        (&["archive/train", "archive/test"], [11, 1, 12]),
        // Classes, one of which happens to be a train.
        (&["train", "plane", "car"], [26, 3, 7]),
    ] {
        assert_eq!(load_with(folders).unwrap(), lengths, "{folders:?}");
    }
    for folders in [&["train", "test", "extra"][..], &["train", "val", "valid"], &["val", "test"]] {
        let error = load_with(folders).unwrap_err();
        assert!(matches!(error, DataError::Splits { .. }), "{folders:?}: {error}");
    }
}

#[cfg(unix)]
#[test]
fn linked_files_and_folders_count_and_none_counts_twice() {
    use std::os::unix::fs::symlink;
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for i in 0..10 {
        let png = picture(&plain(4, 4, [i, 0, 0]), ImageFormat::Png);
        write(dir.path(), &format!("a/{i}.png"), &png);
        write(elsewhere.path(), &format!("{i}.png"), &png);
    }
    symlink(elsewhere.path(), dir.path().join("b")).unwrap();
    write(dir.path(), "blobs/0", picture(&plain(4, 4, RED), ImageFormat::Png));
    symlink("../blobs/0", dir.path().join("a/link.png")).unwrap();
    let data = load_path(dir.path()).unwrap();
    assert_eq!(items(&data).count(), 22);
    assert_eq!(items(&data).filter(|item| item.1 == Some(1)).count(), 10);

    // The link is named, be it met before its target or after.
    for (target, name) in
        [("..", "a/again"), ("../a", "a/again"), (".", "a/again"), ("a", "0"), ("a", "c")]
    {
        let link = dir.path().join(name);
        symlink(target, &link).unwrap();
        let error = load_path(dir.path()).unwrap_err();
        assert!(matches!(&error, DataError::Linked { path } if *path == link), "{target}: {error}");
        std::fs::remove_file(link).unwrap();
    }
    symlink("nowhere.png", dir.path().join("a/broken.png")).unwrap();
    let error = load_path(dir.path()).unwrap_err();
    assert!(error.to_string().contains("broken.png"), "{error}");
}

/// Opening a pipe would wait for ever.
#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/zero", dir.path().join("0.png")).unwrap();
    let error = load_path(dir.path()).unwrap_err();
    assert!(error.to_string().contains("0.png` is no regular file"), "{error}");
}

#[test]
fn a_picture_is_turned_as_its_exif_data_say() {
    let dir = tempfile::tempdir().unwrap();
    // White at the left, black at the right.
    let image = GrayImage::from_fn(32, 32, |x, _| Luma([255 * u8::from(x < 16)]));
    let jpeg = picture(&image.into(), ImageFormat::Jpeg);
    // One entry: tag 0x0112 (orientation), type 3 (short), one value: 6, a quarter to the right.
    let exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let length = (exif.len() as u16 + 2).to_be_bytes();
    let turned = [&jpeg[..2], &[0xff, 0xe1], &length, exif, &jpeg[2..]].concat();
    (0..10).for_each(|i| write(dir.path(), &format!("{i}.jpg"), &turned));
    let data = load_path(dir.path()).unwrap();
    let item = data.train.item(0);
    assert!(item[..32].iter().all(|&value| value > 250), "the left comes up");
    assert!(item[31 * 32..].iter().all(|&value| value < 5), "the right comes down");
}
