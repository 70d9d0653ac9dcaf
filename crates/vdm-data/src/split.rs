//! The fixed splits of data that come without them.

use std::path::Path;

use crate::random::{generator, permutation};
use crate::{DataError, Items, Shape};

/// The splits that a source has of its own.
pub(crate) struct Splits {
    pub(crate) shape: Shape,
    pub(crate) train: Items,
    pub(crate) validation: Option<Items>,
    pub(crate) test: Option<Items>,
    /// What was done with the data, or left out, that is said nowhere else.
    pub(crate) notes: Vec<String>,
}

/// Carves the splits that are missing out of train.
///
/// Without any, validation gets ⌊N/10⌋ and test ⌊N/5⌋ of the N items; otherwise each missing one
/// gets ⌊N/12⌋ of the N training items, at most 5,000. Which items these are depends on nothing
/// but N: a `ChaCha8` permutation gives its first items to validation, the next ones to test and the
/// others to train.
pub(crate) fn complete(path: &Path, splits: Splits) -> Result<[Items; 3], DataError> {
    let Splits { train, validation, test, .. } = splits;
    let found = train.len();
    let share = (found / 12).min(5_000);
    let (validation_len, test_len, needed) = match (&validation, &test) {
        (None, None) => (found / 10, found / 5, 10),
        (None, Some(_)) => (share, 0, 12),
        (Some(_), None) => (0, share, 12),
        (Some(_), Some(_)) => (0, 0, 1),
    };
    if found < needed {
        return Err(DataError::TooFewItems { path: path.into(), found, needed });
    }
    let order = permutation(&mut generator(b"vdm-data/split-1", 0, found as u64), found);
    let (of_validation, rest) = order.split_at(validation_len);
    let (of_test, of_train) = rest.split_at(test_len);
    Ok([
        train.select(of_train),
        validation.unwrap_or_else(|| train.select(of_validation)),
        test.unwrap_or_else(|| train.select(of_test)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(items: std::ops::Range<u8>) -> Items {
        let labels = items.clone().map(u32::from).collect();
        Items::new("test".as_ref(), 1, items.collect(), Some(labels)).unwrap()
    }

    fn splits(train: u8, validation: Option<Items>, test: Option<Items>) -> Splits {
        let shape = Shape { channels: 1, height: 1, width: 1 };
        Splits { shape, train: counted(0..train), validation, test, notes: Vec::new() }
    }

    #[test]
    fn every_item_lands_in_one_split_with_its_label() {
        let parts = complete("p".as_ref(), splits(107, None, None)).unwrap();
        assert_eq!(parts.each_ref().map(Items::len), [76, 10, 21]);
        let mut all: Vec<u8> = parts.iter().flat_map(|items| items.pixels()).copied().collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..107));
        for items in &parts {
            let pixels = items.pixels().iter().map(|&pixel| u32::from(pixel));
            assert!(pixels.eq(items.labels().unwrap().iter().copied()));
        }
    }

    #[test]
    fn splits_that_exist_are_kept_and_the_others_get_a_twelfth() {
        let own = || Some(counted(200..203));
        for (validation, test, lengths) in
            [(None, own(), [92, 8, 3]), (own(), None, [92, 3, 8]), (own(), own(), [100, 3, 3])]
        {
            let parts = complete("p".as_ref(), splits(100, validation, test)).unwrap();
            assert_eq!(parts.map(|items| items.len()), lengths);
        }
    }

    #[test]
    fn too_few_items_are_refused() {
        let error = complete("few.npy".as_ref(), splits(9, None, None)).err().unwrap();
        assert!(matches!(error, DataError::TooFewItems { found: 9, needed: 10, .. }));
    }
}
