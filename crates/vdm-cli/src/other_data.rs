//! `--data` of commands that use a trained model: data which need not be those of its run.

use anyhow::{Result, ensure};
use vdm_data::{DataError, Dataset, Source};
use vdm_torch::ModelSpec;

use crate::{configuration, terminal};

/// Data by name or path, of the model's shape and number of values; pictures are cropped and resized to its
/// size. Says what there is to know of them.
pub(crate) fn load(data: &str, model: &ModelSpec) -> Result<Dataset> {
    let mut source = configuration::source(data, None)?;
    if let Source::Path { path, size, values } = &mut source {
        *values = Some(model.values);
        *size = path.is_dir().then_some(model.shape.height);
    }
    let found = match vdm_data::load(&source) {
        // No pictures, and of another size: which, says the shape below.
        Err(DataError::Option { name: "size", .. }) => {
            if let Source::Path { size, .. } = &mut source {
                *size = None;
            }
            vdm_data::load(&source)?
        }
        found => found?,
    };
    let shape = |of: vdm_data::Shape| format!("{}×{}×{}", of.channels, of.height, of.width);
    ensure!(
        found.shape == model.shape,
        "--data {data} holds items of {} (channels × height × width), but the model is one of {}; give data of \
         the kind that it was trained on",
        shape(found.shape),
        shape(model.shape)
    );
    ensure!(
        found.values == model.values,
        "--data {data} has {} values, but the model is one of {}; give data of the kind that it was trained on",
        found.values,
        model.values
    );
    found.notes.iter().for_each(|note| terminal::note(format_args!("note: {note}")));
    Ok(found)
}
