//! Files written by libjpeg (through Pillow 13), whole and damaged.

use super::*;

macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pictures/", $name))
    };
}

const WHOLE: [(&str, &[u8]); 5] = [
    ("baseline, 4:2:0", file!("baseline.jpg")),
    ("restart markers, 4:2:2", file!("restarts.jpg")),
    ("progressive, 4:2:0", file!("progressive.jpg")),
    ("gray", file!("gray.jpg")),
    ("four inks", file!("cmyk.jpg")),
];

fn pixels(bytes: &[u8]) -> Result<Vec<u8>, JpegError> {
    decode(bytes).map(|(image, _)| image.into_rgb8().into_raw())
}

/// About where the data of the first scan begin.
fn data(bytes: &[u8]) -> usize {
    bytes.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap() + 14
}

/// Whether a damaged file is refused, or no pixel of it is another.
fn is_seen(damaged: &[u8], whole: &[u8]) -> bool {
    pixels(damaged).map_or(true, |pixels| pixels == whole)
}

fn assert_seen(name: &str, damage: &str, at: usize, damaged: &[u8], whole: &[u8]) {
    assert!(is_seen(damaged, whole), "{name}, {damage} at {at}: other pixels without an error");
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    for (name, bytes) in WHOLE {
        let whole = pixels(bytes).unwrap();
        let (length, end) = (bytes.len(), [0xff, 0xd9]);
        for at in 0..length - 2 {
            let start = &bytes[..at];
            let zeros = vec![0; length - at];
            let cut = pixels(start);
            assert!(cut.is_err(), "{name} cut off at {at}");
            assert!(pixels(&[start, &zeros].concat()).is_err(), "{name}: zeros from {at}");
            assert_seen(name, "an end", at, &[start, &end].concat(), &whole);
            // One byte that is another, the last one, may be a legal picture.
            if at < length - 3 {
                assert_seen(name, "zeros and an end", at, &[start, &zeros, &end].concat(), &whole);
            }
        }
        let error = pixels(&bytes[..length * 4 / 5]).unwrap_err().to_string();
        assert!(error.contains("cut off"), "{name}: {error}");
    }
}

/// Not all of them: the rest may happen to have as many blocks.
#[test]
fn bytes_that_are_missing_in_the_middle_are_seen_in_most_places() {
    for (name, bytes) in WHOLE {
        let whole = pixels(bytes).unwrap();
        let places = data(bytes)..bytes.len() - 40;
        let gap = |at: &usize| !is_seen(&[&bytes[..*at], &bytes[at + 32..]].concat(), &whole);
        let unseen = places.clone().filter(gap).count();
        assert!(unseen * 20 < places.len(), "{name}: {unseen} of {} not seen", places.len());
    }
}

#[test]
fn bytes_behind_the_end_are_left_alone() {
    for (name, bytes) in WHOLE {
        let longer = [bytes, b"\0\xff\xd8\xff a video of a phone"].concat();
        assert_eq!(pixels(&longer).unwrap(), pixels(bytes).unwrap(), "{name}");
    }
}

#[test]
fn scans_that_are_missing_are_seen() {
    let bytes = WHOLE[2].1;
    let scans = bytes.windows(2).enumerate().filter(|(_, pair)| pair == &[0xff, 0xda]);
    let scans: Vec<usize> = scans.map(|(at, _)| at).collect();
    assert!(scans.len() > 5);
    for &scan in &scans[1..] {
        let error = pixels(&[&bytes[..scan], &[0xff, 0xd9]].concat()).unwrap_err();
        assert!(matches!(error, JpegError::ScansMissing), "{error}");
    }
    let error = pixels(&[&bytes[..scans[0]], &[0xff, 0xd9]].concat()).unwrap_err();
    assert!(matches!(error, JpegError::ScansMissing), "{error}");
}

#[test]
fn two_components_are_refused() {
    let mut bytes = file!("jfif-ids-rgb.jpg").to_vec();
    let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    bytes[frame + 9] = 2;
    bytes[frame + 3] -= 3;
    bytes.drain(frame + 16..frame + 19);
    let error = pixels(&bytes).unwrap_err();
    assert!(matches!(error, JpegError::Components(2)), "{error}");
}

#[test]
fn color_spaces_are_those_of_libjpeg() {
    let png = |bytes: &[u8]| image::load_from_memory(bytes).unwrap().into_rgb8().into_raw();
    for (name, bytes, expected) in [
        ("JFIF before Adobe", &file!("jfif-adobe0.jpg")[..], &file!("ycbcr.png")[..]),
        ("JFIF before names", file!("jfif-ids-rgb.jpg"), file!("ycbcr.png")),
        ("Adobe before names", file!("adobe1-ids-rgb.jpg"), file!("ycbcr.png")),
        ("four inks", file!("cmyk.jpg"), file!("cmyk.png")),
        ("four inks without Adobe's marker", file!("cmyk-plain.jpg"), file!("cmyk.png")),
        ("luminance, differences and black", file!("ycck.jpg"), file!("ycck.png")),
    ] {
        let (found, expected) = (pixels(bytes).unwrap(), png(expected));
        assert_eq!(found.len(), expected.len());
        let off = found.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max();
        // Transforms of integers differ by a level or two between decoders.
        assert!(off <= Some(3), "{name}: {off:?} gray values off");
    }
}

#[test]
fn the_size_is_known_before_decoding() {
    for (name, bytes) in WHOLE {
        let size = size(std::io::Cursor::new(bytes)).unwrap();
        assert_eq!((size.width, size.height), (40, 24), "{name}");
        assert!(size.bytes >= 40 * 24 * 3, "{name}");
    }
}
