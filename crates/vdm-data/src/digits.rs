//! The embedded digits; `data/ATTRIBUTION.md` says where they come from.

use std::io::Cursor;
use std::path::Path;

use crate::format::npz;
use crate::{DataError, Dataset, split};

static ARCHIVE: &[u8] = include_bytes!("../data/digits.npz");

/// The number of black subpixels of sixteen, hence 0 to 16.
const LEVELS: u16 = 17;

pub(crate) fn load() -> Result<Dataset, DataError> {
    let path = Path::new("digits.npz");
    let splits = npz::read(path, Cursor::new(ARCHIVE))?;
    let shape = splits.shape;
    Dataset::new(path, "digits".into(), shape, LEVELS, split::complete(path, splits)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Items, Shape};

    #[test]
    fn the_digits_are_the_ones_published_numbers_are_about() {
        let digits = load().unwrap();
        assert_eq!(digits.shape, Shape { channels: 1, height: 8, width: 8 });
        let splits = [&digits.train, &digits.validation, &digits.test];
        assert_eq!(splits.map(Items::len), [1259, 179, 359]);
        // Also computed by a separate program from the documented rules.
        let expected = "19069d3f63c860548cbfb358b25360e1737df4e5e75e620d4b226aee84778452";
        assert_eq!(digits.sha256, expected);
    }

    #[test]
    fn the_digits_count_as_their_description_says() {
        let digits = load().unwrap();
        let mut counts = [0; 10];
        for items in [&digits.train, &digits.validation, &digits.test] {
            for &label in items.labels().unwrap() {
                counts[label as usize] += 1;
            }
        }
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    }
}
