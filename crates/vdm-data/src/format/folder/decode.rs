//! Decoding, cropping and resizing on a few threads.

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use super::budget::Budget;
use super::layout::Folder;
use super::picture;
use super::scan::Entry;
use crate::prefetch::panic_message;
use crate::{DataError, Items, Shape};

/// Beyond eight, reading the files is what takes the time.
const MAX_THREADS: usize = 8;

/// The images of a folder as `[N, 3, size, size]`.
pub(super) struct Decoded {
    folder: Folder,
    pixels: Vec<u8>,
    pub(super) seen: Seen,
}

/// How many images are what.
#[derive(Default)]
pub(super) struct Seen {
    /// If none is, the three channels are the same.
    pub(super) color: usize,
    pub(super) transparent: usize,
    /// Pictures of more than 8 bits a value.
    pub(super) deep: usize,
    /// Pictures of another size.
    pub(super) resized: usize,
}

/// Decodes all images of a folder; the error is the first image's that has one.
pub(super) fn decode(folder: Folder, size: usize, budget: &Budget) -> Result<Decoded, DataError> {
    let dims = 3 * size * size;
    let mut pixels = vec![0; folder.entries.len() * dims];
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS);
    let share = folder.entries.len().div_ceil(threads);
    let seen = thread::scope(|scope| {
        let shares = folder.entries.chunks(share).zip(pixels.chunks_mut(share * dims));
        let workers: Vec<_> = shares
            .map(|(entries, pixels)| {
                scope.spawn(move || decode_share(entries, pixels, size, budget))
            })
            .collect();
        let mut seen = Seen::default();
        for worker in workers {
            let Seen { color, transparent, deep, resized } =
                worker.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            seen.color += color;
            seen.transparent += transparent;
            seen.deep += deep;
            seen.resized += resized;
        }
        Ok(seen)
    })?;
    Ok(Decoded { folder, pixels, seen })
}

/// Decodes images into their places.
fn decode_share(
    entries: &[Entry],
    pixels: &mut [u8],
    size: usize,
    budget: &Budget,
) -> Result<Seen, DataError> {
    let mut seen = Seen::default();
    for (entry, pixels) in entries.iter().zip(pixels.chunks_mut(3 * size * size)) {
        // A decoder's panic would be a bug of the decoder; the user still learns which file it was.
        let read = AssertUnwindSafe(|| picture::read(&entry.path, size, budget));
        let picture = catch_unwind(read).unwrap_or_else(|panic| {
            let source = panic_message(&*panic).into();
            Err(DataError::Image { path: entry.path.clone(), source })
        })?;
        seen.color += usize::from(picture.color);
        seen.transparent += usize::from(picture.transparent);
        seen.deep += usize::from(picture.deep);
        seen.resized += usize::from(picture.resized);
        let planes =
            (0..3).flat_map(|channel| picture.pixels.as_raw()[channel..].iter().step_by(3));
        for (pixel, value) in pixels.iter_mut().zip(planes) {
            *pixel = *value;
        }
    }
    Ok(seen)
}

impl Decoded {
    /// The items in `shape`, which has one channel or three, labeled if there are classes.
    pub(super) fn into_items(
        self,
        shape: Shape,
        classes: Option<&[std::ffi::OsString]>,
    ) -> Result<Items, DataError> {
        let Self { folder, mut pixels, .. } = self;
        if shape.channels == 1 {
            let images = pixels.chunks_exact(3 * shape.dims());
            pixels = images.flat_map(|image| &image[..shape.dims()]).copied().collect();
        }
        let label = |entry: &Entry| -> Option<u32> {
            let position = classes?.binary_search(entry.class.as_ref()?).ok()?;
            u32::try_from(position).ok()
        };
        let labels = folder.entries.iter().map(label).collect();
        Items::new(&folder.path, shape.dims(), pixels, labels)
    }
}
