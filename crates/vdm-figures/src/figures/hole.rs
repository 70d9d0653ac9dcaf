//! The hole of a trained autoencoder, and what closes it.

use std::path::Path;

use anyhow::Result;
use vdm_report::figure::{Figure, Panel, Place};
use vdm_report::files;
use vdm_report::result::Latents;

use super::{Entry, Picture};

pub(super) const ENTRY: Entry = Entry {
    file: "hole.svg",
    heading: "The hole of an autoencoder",
    text: "The preset `clusters-vae` after its training, above with its divergence at no more than a third of its weight, \
        below at the whole. On the left its two latents: those of test items, each drawn from its posterior, and draws \
        from the prior, over circles that hold 39, 86 and 99 percent of it. Above, posteriors are narrow and leave gaps: \
        in a sixth of the prior it is more than ten times as dense as the posteriors of all items together. On the \
        right the items, and what the model makes of the draws. No item taught the decoder what to make of a latent in \
        the hole: mostly it answers with a cluster near by, now and then with a point of none. The whole weight widens \
        the posteriors until they fill the prior, and pays with what the latents tell. `cargo xtask figures` trains both.",
    section: "1.4 and 3 (M8)",
    code: "vdm-torch: `HierarchyEvaluation::plane`, `HierarchyEvaluation::aggregate`",
    draw,
};

/// What trainings left, and the weight that the divergence reached in them.
const RECORDED: [(&str, &str); 2] =
    [("latents-at-a-third.json", "a third of the divergence"), ("latents.json", "all of it")];

fn draw() -> Result<Picture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let row = |(name, weight)| -> Result<Vec<Panel>> {
        let latents: Latents = files::read_sealed(&folder.join(name))?;
        let mut plots = latents.plots();
        plots[0].title = format!(
            "{weight}: KL(q ‖ p) = {:.3} ± {:.3} nats",
            latents.hole, latents.standard_error
        );
        if let Some(data) = plots.last_mut() {
            data.legend = Some(Place::TopLeft);
        }
        Ok(plots.into_iter().map(Into::into).collect())
    };
    Ok(Picture::Drawing(Figure {
        title: "An autoencoder's latents and its prior".to_owned(),
        note: "five clusters in the plane".to_owned(),
        rows: RECORDED.into_iter().map(row).collect::<Result<_>>()?,
    }))
}
