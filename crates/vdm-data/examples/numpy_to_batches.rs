//! Images of one's own as an array of NumPy, and the batches that a training takes from them.
//!
//! ```text
//! cargo run -p vdm-data --example numpy_to_batches
//! ```

use std::error::Error;
use std::sync::Arc;

use vdm_data::{Batches, Prefetch, Source, load};

const ITEMS: usize = 60;
const SIDE: usize = 4;

/// What `numpy.save` writes of an array of uint8 of shape (60, 4, 4).
fn npy(pixels: &[u8]) -> Vec<u8> {
    let header =
        format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({ITEMS}, {SIDE}, {SIDE}), }}");
    // Ten bytes come before it, and the array begins at a multiple of 64.
    let header = format!("{header:<117}\n");
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), pixels]
        .concat()
}

fn main() -> Result<(), Box<dyn Error>> {
    // Item i is of one gray level, i.
    let pixels: Vec<u8> = (0..ITEMS as u8).flat_map(|gray| [gray; SIDE * SIDE]).collect();
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("images.npy");
    std::fs::write(&path, npy(&pixels))?;

    let data = load(&Source::Path { path, size: None, values: None })?;
    println!("{ITEMS} images, SHA-256 {}", data.sha256);
    for (name, split) in [("train", &data.train), ("test", &data.test)] {
        println!("{name}: {} items of {} pixels", split.len(), data.shape.dims());
    }
    assert_eq!((data.train.len(), data.validation.len(), data.test.len()), (42, 6, 12));

    // Two steps of 21 are one pass: every item once, in the order of the seed.
    let mut batches = Batches::new(Arc::new(data.train), 7, 21);
    let pass = Prefetch::spawn(0, 2, move |step| batches.at(step))?.take(2);
    let mut seen: Vec<usize> =
        pass.collect::<Result<Vec<_>, _>>()?.into_iter().flat_map(|b| b.indices).collect();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..42));
    Ok(())
}
