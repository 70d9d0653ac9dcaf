//! One test a kind of bad input: the error's kind, and that its message names what matters.

use std::io::Write;
use std::path::Path;

use flate2::Crc;
use image::{DynamicImage, ImageFormat};
use vdm_data::DataError;

use crate::make::*;

/// Loads `name` from a folder of the given files; `name` may be empty for the folder itself.
fn refused(name: &str, files: &[(&str, &[u8])]) -> DataError {
    let dir = tempfile::tempdir().unwrap();
    for (file, bytes) in files {
        write(dir.path(), file, bytes);
    }
    load_path(&dir.path().join(name)).expect_err("a malformed data set loaded")
}

/// Loads one malformed file.
fn refused_file(name: &str, bytes: &[u8]) -> DataError {
    refused(name, &[(name, bytes)])
}

/// Loads an IDX folder, one of whose files is replaced.
fn refused_idx(name: &str, bytes: &[u8]) -> DataError {
    let mut files = idx_files();
    files.iter_mut().find(|file| file.0 == name).unwrap().1 = bytes.into();
    refused("", &files.each_ref().map(|(name, bytes)| (*name, &**bytes)))
}

/// Loads CIFAR-10 batches after a change.
fn refused_cifar(change: impl FnOnce(&mut Vec<(String, Vec<u8>)>)) -> DataError {
    let mut files = cifar_files(3);
    change(&mut files);
    let files: Vec<_> = files.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
    refused("", &files)
}

/// Asserts the kind of an error and parts of its message.
macro_rules! assert_refused {
    ($error:expr, $kind:pat, $($part:literal),+) => {{
        let error = $error;
        assert!(matches!(error, $kind), "another kind: {error:?}");
        let message = error.to_string();
        $(assert!(message.contains($part), "`{}` is not in: {message}", $part);)+
    }};
}

#[test]
fn a_path_that_does_not_exist() {
    let error = load_path(Path::new("no/such/file")).unwrap_err();
    assert_refused!(error, DataError::Io { .. }, "open", "no/such/file", "check that it exists");
}

#[test]
fn an_empty_file() {
    assert_refused!(refused_file("a.npy", &[]), DataError::Empty { .. }, "a.npy", "no bytes");
}

#[test]
fn a_file_of_no_known_format() {
    let error = refused_file("a.pdf", b"%PDF-1.7");
    assert_refused!(error, DataError::Unrecognized { .. }, "a.pdf", "25 50 44 46", ".npz");
}

#[cfg(unix)]
#[test]
fn a_device() {
    let error = load_path(Path::new("/dev/zero")).unwrap_err();
    assert_refused!(error, DataError::Unrecognized { .. }, "/dev/zero", "no regular file");
}

#[test]
fn an_empty_folder() {
    let dir = tempfile::tempdir().unwrap();
    let error = load_path(dir.path()).unwrap_err();
    assert_refused!(error, DataError::Empty { .. }, "no PNG or JPEG images");
}

/// What it holds is said, and what to make of it.
#[test]
fn a_folder_of_tables() {
    let error = refused("", &[("train.csv", b"label,pixel0\n")]);
    assert_refused!(error, DataError::NoImages { .. }, "train.csv", "numpy.save");
}

#[test]
fn a_page_that_is_named_like_a_picture() {
    let error = refused("", &[("1.jpg", b"<html></html>")]);
    let DataError::Image { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.to_string(), "it is neither a PNG nor a JPEG");
}

#[test]
fn cifar_as_pickles() {
    let error = refused("", &[("data_batch_1", b"\x80\x02")]);
    assert_refused!(error, DataError::ImageFormat { .. }, "pickle", "cifar-10-binary.tar.gz");
}

mod idx_files {
    use super::*;

    #[test]
    fn cut_off() {
        let error = refused_file("a-idx3-ubyte", &idx(&[20, 2, 3], &pixels(19)));
        assert_refused!(
            error,
            DataError::Truncated { found: 114, expected: 120, .. },
            "a-idx3",
            "pixels"
        );
    }

    #[test]
    fn cut_off_in_the_header() {
        let error = refused_file("a-idx3-ubyte", &[0, 0, 8, 3, 0, 0, 0, 9]);
        assert_refused!(error, DataError::Truncated { found: 4, expected: 12, .. }, "header");
    }

    #[test]
    fn too_long() {
        let error = refused_file("a-idx3-ubyte", &idx(&[20, 2, 3], &pixels(21)));
        assert_refused!(error, DataError::TrailingBytes { expected: 136, .. }, "goes on after");
    }

    #[test]
    fn promising_two_to_the_31_items() {
        let error = refused_file("a-idx3-ubyte", &idx(&[1 << 31, 28, 28], &[0; 4]));
        assert_refused!(error, DataError::TooLarge { .. }, "2147483648 x 28 x 28", "8589934592");
    }

    #[test]
    fn promising_more_than_two_to_the_64_bytes() {
        let error = refused_file("a-idx3-ubyte", &idx(&[u32::MAX; 3], &[0; 4]));
        assert_refused!(error, DataError::TooLarge { .. }, "4294967295 x 4294967295");
    }

    #[test]
    fn promising_four_gigabytes_that_are_not_there() {
        let file = idx(&[1 << 20, 64, 64], &[0; 4]);
        let error = refused_file("a-idx3-ubyte", &file);
        assert_refused!(error, DataError::Truncated { found: 4, .. }, "4294967296");
        let error = refused_file("a-idx3-ubyte.gz", &gz(&file));
        assert_refused!(
            error,
            DataError::Bomb { limit: 67_108_864, .. },
            "a-idx3-ubyte.gz",
            "store it"
        );
    }

    #[test]
    fn of_floats() {
        let error = refused_file("a-idx3-ubyte", &[0, 0, 0x0d, 3, 0, 0, 0, 1]);
        assert_refused!(error, DataError::Dtype { .. }, "float (0d)", "unsigned bytes (08)");
    }

    #[test]
    fn of_no_images() {
        let error = refused_file("a-idx3-ubyte", &idx(&[0, 28, 28], &[]));
        assert_refused!(error, DataError::Empty { .. }, "no pixels");
    }

    #[test]
    fn of_labels_where_images_belong() {
        let error = refused_idx("train-images-idx3-ubyte", &idx(&[60], &labels(60)));
        assert_refused!(
            error,
            DataError::Magic { .. },
            "train-images",
            "00 00 08 01",
            "00 00 08 03"
        );
    }

    #[test]
    fn of_fewer_labels_than_images() {
        let error = refused_idx("train-labels-idx1-ubyte", &idx(&[59], &labels(59)));
        assert_refused!(error, DataError::LabelCount { labels: 59, items: 60, .. }, "train-labels");
    }

    #[test]
    fn of_another_shape_for_testing() {
        let error = refused_idx("t10k-images-idx3-ubyte", &idx(&[12, 3, 2], &pixels(12)));
        assert_refused!(error, DataError::Shape { .. }, "t10k-images", "(N, 3, 2)", "(N, 2, 3)");
    }

    #[test]
    fn missing() {
        let files = idx_files();
        let three = files.each_ref().map(|(name, bytes)| (*name, &**bytes));
        let error = refused("", &three[..3]);
        assert_refused!(error, DataError::MissingFile { .. }, "t10k-labels-idx1-ubyte[.gz]", "IDX");
    }

    #[test]
    fn in_cut_off_gzip() {
        let whole = gz(&idx(&[20, 2, 3], &pixels(20)));
        let error = refused_file("a-idx3-ubyte.gz", &whole[..whole.len() / 2]);
        assert_refused!(error, DataError::Damaged { .. }, "a-idx3-ubyte.gz", "cut off");
    }

    #[test]
    fn in_gzip_with_a_wrong_checksum() {
        let mut whole = gz(&idx(&[20, 2, 3], &pixels(20)));
        let checksum = whole.len() - 8;
        whole[checksum] ^= 1;
        let error = refused_file("a-idx3-ubyte.gz", &whole);
        assert_refused!(error, DataError::Damaged { .. }, "fetch the file again");
    }

    #[test]
    fn in_gzip_that_goes_on() {
        let mut file = idx(&[20, 2, 3], &pixels(20));
        file.resize(64 << 20, 0);
        let error = refused_file("a-idx3-ubyte.gz", &gz(&file));
        assert_refused!(
            error,
            DataError::TrailingBytes { expected: 136, .. },
            "its header says that it ends"
        );
    }

    #[test]
    fn of_too_few_images() {
        let error = refused_file("a-idx3-ubyte", &idx(&[9, 2, 3], &pixels(9)));
        assert_refused!(error, DataError::TooFewItems { found: 9, needed: 10, .. }, "add images");
    }
}

mod cifar {
    use super::*;

    #[test]
    fn with_a_cut_off_batch() {
        let error = refused_cifar(|files| files[1].1.truncate(3073 + 7));
        assert_refused!(error, DataError::Truncated { found: 7, .. }, "data_batch_2.bin", "3073");
    }

    #[test]
    fn with_a_label_of_no_class() {
        let error = refused_cifar(|files| files[5].1[3073] = 10);
        assert_refused!(
            error,
            DataError::Label { item: 1, found: 10, .. },
            "test_batch.bin",
            "0 to 9"
        );
    }

    #[test]
    fn with_an_empty_batch() {
        let error = refused_cifar(|files| files[0].1.clear());
        assert_refused!(error, DataError::Empty { .. }, "data_batch_1.bin");
    }

    #[test]
    fn without_the_test_batch() {
        let error = refused_cifar(|files| drop(files.pop()));
        assert_refused!(error, DataError::MissingFile { .. }, "test_batch.bin", "CIFAR-10");
    }
}

mod numpy {
    use super::*;

    #[test]
    fn of_floats() {
        let error = refused_file("a.npy", &npy("<f4", "False", "(10, 1, 1)", &[0; 40]));
        assert_refused!(error, DataError::Dtype { .. }, "a.npy", "<f4", "uint8", "astype");
    }

    #[test]
    fn of_big_endian_integers() {
        let error = refused_file("a.npy", &npy(">u2", "False", "(10, 1, 1)", &[0; 20]));
        assert_refused!(error, DataError::Dtype { .. }, ">u2", "big-endian");
    }

    #[test]
    fn of_records() {
        let header = "{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (10,), }";
        let error = refused_file("a.npy", &npy_of(header, &[0; 10]));
        assert_refused!(error, DataError::Header { .. }, "a.npy", "structured");
    }

    #[test]
    fn of_two_or_four_channels() {
        for (channels, remedy) in [(2, "array[..., :1]"), (4, "array[..., :3]")] {
            let shape = format!("(10, 1, 2, {channels})");
            let error = refused_file("a.npy", &npy_bytes(&shape, &vec![0; 20 * channels]));
            assert!(error.to_string().contains(remedy), "{error}");
            assert_refused!(error, DataError::Shape { .. }, "1 or 3 channels");
        }
    }

    #[test]
    fn of_the_wrong_number_of_sizes() {
        let error = refused_file("a.npy", &npy_bytes("(10, 6)", &pixels(10)));
        assert_refused!(error, DataError::Shape { .. }, "(10, 6)", "(N, H, W)");
    }

    #[test]
    fn with_channels_first() {
        let error = refused_file("a.npy", &npy_bytes("(10, 3, 8, 8)", &[0; 1920]));
        assert_refused!(error, DataError::Shape { .. }, "(10, 3, 8, 8)", "come last");
    }

    #[test]
    fn with_a_header_of_four_gigabytes() {
        let error = refused_file("a.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{'descr'");
        assert_refused!(error, DataError::TooLarge { .. }, "4294967295 bytes", "header", "65536");
    }

    #[test]
    fn of_an_unknown_version() {
        let error = refused_file("a.npy", b"\x93NUMPY\x09\x00\x10\x00");
        assert_refused!(error, DataError::Header { .. }, "version 9");
    }

    #[test]
    fn promising_more_than_can_be_counted() {
        let shape = "(4294967296, 4294967296, 4294967296)";
        let error = refused_file("a.npy", &npy_bytes(shape, &[0; 10]));
        assert_refused!(error, DataError::TooLarge { .. }, "4294967296 x 4294967296");
    }

    #[test]
    fn cut_off() {
        let error = refused_file("a.npy", &npy_bytes("(10, 2, 3)", &pixels(9)));
        assert_refused!(error, DataError::Truncated { found: 54, expected: 60, .. }, "a.npy");
    }

    #[test]
    fn with_a_header_that_is_no_text() {
        let mut file = npy_bytes("(10, 2, 3)", &pixels(10));
        file[12] = 0xff;
        assert_refused!(refused_file("a.npy", &file), DataError::Header { .. }, "UTF-8");
    }
}

mod archives {
    use super::*;

    #[test]
    fn without_images() {
        let array = npy_bytes("(3,)", &[1, 2, 3]);
        let error = refused_file("a.npz", &npz(&[("weights", &array), ("bias", &array)]));
        assert_refused!(error, DataError::Arrays { .. }, "a.npz", "weights", "bias", "x_train");
    }

    /// A part of a data set is not split into parts of its own.
    #[test]
    fn of_one_split_alone() {
        let images = npy_bytes("(20, 2, 2)", &[7; 80]);
        for name in ["x_test", "x_val"] {
            let error = refused_file("a.npz", &npz(&[(name, &images)]));
            assert!(error.to_string().contains(&format!("it holds {name}")), "{error}");
        }
    }

    /// LZMA, method 14, which `numpy.load` does not make but other programs do.
    #[test]
    fn compressed_in_another_way() {
        let mut file = npz(&[("x", &npy_bytes("(20, 2, 2)", &[7; 80]))]);
        let central = file.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
        (file[8], file[central + 10]) = (14, 14);
        let error = refused_file("a.npz", &file);
        assert_refused!(error, DataError::Compression { .. }, "a.npz/x.npy", "savez_compressed");
    }

    #[test]
    fn with_a_member_that_is_no_array() {
        let error = refused_file("a.npz", &npz(&[("x", b"not an array")]));
        assert_refused!(error, DataError::Magic { .. }, "a.npz/x.npy", "6e 6f 74", "93 4e");
    }

    #[test]
    fn cut_off() {
        let whole = npz(&[("x", &npy_bytes("(10, 2, 3)", &pixels(10)))]);
        let error = refused_file("a.npz", &whole[..whole.len() - 30]);
        assert_refused!(error, DataError::Damaged { .. }, "a.npz", "cut off");
    }

    #[test]
    fn that_are_bombs() {
        let mut array = npy_bytes("(10, 2, 3)", &pixels(10));
        array.resize(64 << 20, 0);
        let error = refused_file("a.npz", &npz(&[("x", &array)]));
        assert_refused!(error, DataError::TrailingBytes { .. }, "a.npz/x.npy");
    }

    #[test]
    fn with_labels_below_zero() {
        let images = npy_bytes("(10, 2, 3)", &pixels(10));
        let mut bytes = [0; 20];
        bytes[4..6].copy_from_slice(&(-7i16).to_le_bytes());
        let members = [("x", &*images), ("y", &*npy("<i2", "False", "(10,)", &bytes))];
        let error = refused_file("a.npz", &npz(&members));
        assert_refused!(error, DataError::Label { item: 2, found: -7, .. }, "a.npz/y.npy");
    }

    #[test]
    fn with_labels_that_are_floats() {
        let images = npy_bytes("(10, 2, 3)", &pixels(10));
        let members = [("x", &*images), ("y", &*npy("<f8", "False", "(10,)", &[0; 80]))];
        let error = refused_file("a.npz", &npz(&members));
        assert_refused!(error, DataError::Dtype { .. }, "a.npz/y.npy", "<f8", "integers");
    }

    #[test]
    fn with_fewer_labels_than_images() {
        let images = npy_bytes("(10, 2, 3)", &pixels(10));
        let members = [("x", &*images), ("y", &*npy_bytes("(9,)", &labels(9)))];
        let error = refused_file("a.npz", &npz(&members));
        assert_refused!(error, DataError::LabelCount { labels: 9, items: 10, .. }, "a.npz");
    }

    #[test]
    fn with_test_images_of_another_shape() {
        let (train, test) =
            (npy_bytes("(12, 2, 3)", &pixels(12)), npy_bytes("(12, 6, 1)", &pixels(12)));
        let error = refused_file("a.npz", &npz(&[("x_train", &train), ("x_test", &test)]));
        assert_refused!(error, DataError::Shape { .. }, "x_test", "(N, 6, 1)", "(N, 2, 3)");
    }
}

mod pictures {
    use super::*;

    #[test]
    fn that_are_none() {
        let good = picture(&DynamicImage::new_luma8(4, 4), ImageFormat::Png);
        let error = refused("", &[("a.png", &good), ("b.jpg", b"<html>")]);
        assert_refused!(error, DataError::Image { .. }, "b.jpg", "does not decode");
    }

    #[test]
    fn that_are_cut_off() {
        let good = picture(&DynamicImage::new_rgb8(40, 40), ImageFormat::Png);
        let error = refused("", &[("a.png", &good[..good.len() / 2])]);
        assert_refused!(error, DataError::Image { .. }, "a.png", "take it out");
    }

    #[test]
    fn of_a_kind_that_is_not_read() {
        let error = refused("", &[("a.webp", b"RIFF")]);
        assert_refused!(error, DataError::ImageFormat { .. }, "a.webp", "PNG nor JPEG", "convert");
    }

    #[test]
    fn of_many_other_kinds() {
        let png = picture(&DynamicImage::new_luma8(4, 4), ImageFormat::Png);
        for (name, bytes) in [
            ("a.ppm", &b"P6 1 1 255\n\0\0\0"[..]),
            ("a.PGM", b"P5 1 1 255\n\0"),
            ("a.jp2", b"\0\0\0\x0cjP  "),
            ("a.tga", b"\0\0\x02"),
            ("a.svg", b"<svg/>"),
            ("a.gif", b"GIF89a"),
            ("a.unknown", b"\x01\x02"),
            ("none", b"\x01\x02"),
            ("a.zip", b"PK\x03\x04"),
            ("a.npy", b"\x93NUMPY"),
        ] {
            let error = refused("", &[("a.png", &png), (name, bytes)]);
            assert!(error.to_string().contains(name), "{error}");
            assert_refused!(error, DataError::ImageFormat { .. }, "neither PNG nor JPEG");
        }
    }

    #[test]
    fn that_claim_to_be_huge() {
        for (width, height) in [(32_000u32, 32_000u32), (2_000_000, 1), (9_000, 9_000)] {
            let error = refused("", &[("bomb.png", &png_header(width, height))]);
            assert!(error.to_string().contains(&format!("{width} x {height} pixels")), "{error}");
            assert_refused!(error, DataError::PictureSize { .. }, "bomb.png", "201326592");
        }
        let mut jpeg = picture(&DynamicImage::new_rgb8(8, 8), ImageFormat::Jpeg);
        let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        jpeg[frame + 5..frame + 9].fill(0x7f);
        let error = refused("", &[("bomb.jpg", &jpeg)]);
        assert_refused!(error, DataError::PictureSize { .. }, "bomb.jpg", "32639 x 32639");
    }

    /// A few bytes do not make a large picture, whatever their header says.
    #[test]
    fn that_claim_to_be_large() {
        let mut jpeg = picture(&DynamicImage::new_rgb8(8, 8), ImageFormat::Jpeg);
        let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        jpeg[frame + 5..frame + 9].copy_from_slice(&[0x1f, 0, 0x1f, 0]);
        let error = refused("", &[("large.jpg", &jpeg)]);
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("before its last block"), "{source}");
        assert_refused!(error, DataError::Image { .. }, "large.jpg");
    }

    /// The start of a gray PNG of the given size.
    fn png_header(width: u32, height: u32) -> Vec<u8> {
        let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
        for (kind, data) in [
            (b"IHDR", [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 0, 0, 0, 0]].concat()),
            (b"IDAT", vec![0x78, 0x9c]),
        ] {
            file.write_all(&(data.len() as u32).to_be_bytes()).unwrap();
            let chunk = [&kind[..], &data].concat();
            let mut crc = Crc::new();
            crc.update(&chunk);
            file.write_all(&chunk).unwrap();
            file.write_all(&crc.sum().to_be_bytes()).unwrap();
        }
        file
    }
}
