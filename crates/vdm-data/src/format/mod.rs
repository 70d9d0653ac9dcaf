//! One module a file format.

pub(crate) mod cifar;
pub(crate) mod folder;
pub(crate) mod idx;
pub(crate) mod npy;
pub(crate) mod npz;

use std::path::Path;

use crate::split::Splits;
use crate::{DataError, Items, Shape};

/// Images as a file holds them, before it is known which split they are.
pub(crate) struct Images {
    shape: Shape,
    pixels: Vec<u8>,
}

impl Images {
    /// Rows for columns, of images that have one channel.
    fn transposed(self) -> Self {
        let Shape { channels, height, width } = self.shape;
        let (width, height) = (height, width);
        let shape = Shape { channels, height, width };
        let mut pixels = Vec::with_capacity(self.pixels.len());
        for image in self.pixels.chunks_exact(shape.dims()) {
            for row in 0..height {
                pixels.extend(image[row..].iter().step_by(height));
            }
        }
        Self { shape, pixels }
    }

    /// Joins images and labels.
    pub(crate) fn into_items(
        self,
        path: &Path,
        labels: Option<Vec<u32>>,
    ) -> Result<(Shape, Items), DataError> {
        Ok((self.shape, Items::new(path, self.shape.dims(), self.pixels, labels)?))
    }
}

/// The data set whose files, in another format than pictures, a folder holds itself.
fn another(dir: &Path) -> Result<Option<Splits>, DataError> {
    if let Some(set) = idx::only_set(dir)? {
        return set.read().map(Some);
    }
    cifar::read_folder(dir)
}

/// Checks that the images of another split have the shape of the training images.
fn same_shape(path: &Path, shape: Shape, train: Shape) -> Result<(), DataError> {
    if shape == train {
        return Ok(());
    }
    let text = |Shape { channels, height, width }| {
        format!("(N, {height}, {width}) with {channels} channels")
    };
    let expected = format!("that of the training images, {}", text(train));
    Err(DataError::Shape { path: path.into(), found: text(shape), expected })
}
