//! One module a file format.

pub(crate) mod cifar;
pub(crate) mod folder;
pub(crate) mod idx;
pub(crate) mod npy;
pub(crate) mod npz;

use std::path::Path;

use crate::{DataError, Items, Shape};

/// Images as a file holds them, before it is known which split they are.
pub(crate) struct Images {
    shape: Shape,
    pixels: Vec<u8>,
}

impl Images {
    /// Joins images and labels.
    pub(crate) fn into_items(
        self,
        path: &Path,
        labels: Option<Vec<u32>>,
    ) -> Result<(Shape, Items), DataError> {
        Ok((self.shape, Items::new(path, self.shape.dims(), self.pixels, labels)?))
    }
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
