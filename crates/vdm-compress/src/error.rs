//! What can go wrong between pixels and coded words.

use std::error::Error as StdError;

use thiserror::Error as ThisError;
use vdm_core::count::TooMany;
use vdm_core::setting::InvalidSetting;

/// Why something cannot be coded, or a file cannot be read. Messages say what to do about it.
#[derive(Debug, Clone, PartialEq, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// The schedule has no hierarchy of this many steps.
    #[error(transparent)]
    Grid(#[from] vdm_sample::grid::GridError),
    /// A cleanest level at which the likelihood of a pixel is not defined.
    #[error(
        "the levels end at log-SNR {log_snr}, where z_0 is the data themselves: take a grid that ends where \
         the schedule does, and a schedule with finite ends"
    )]
    CleanEnd {
        /// `λ` of the cleanest level.
        log_snr: f64,
    },
    /// A setting out of its bounds.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// A count beyond what it may cost.
    #[error(transparent)]
    Count(#[from] TooMany),
    /// Cells so narrow that f32 cannot tell one from the next.
    #[error(
        "latent {latent} would need {cells} cells, more than the {limit} that f32 tells apart; use fewer \
         cells per standard deviation, or fewer steps of a diffusion model"
    )]
    Cells {
        /// Its index, least next to the data.
        latent: usize,
        /// How many cells it would have.
        cells: f64,
        /// How many it may have.
        limit: i32,
    },
    /// Pixels that are no whole number of items.
    #[error("{found} pixels are no whole number of items of {dims} pixels, at least one")]
    PixelCount {
        /// How many were given.
        found: usize,
        /// Pixels of one item.
        dims: usize,
    },
    /// A pixel outside the model's levels.
    #[error(
        "pixel {index} has value {value}, but the model's data have levels 0 to {}; compress the \
         kind of data it was trained on",
        .levels - 1
    )]
    PixelRange {
        /// Its index among all pixels.
        index: usize,
        /// Its value.
        value: u8,
        /// Levels of the model.
        levels: u16,
    },
    /// A prediction that is not a number.
    #[error(
        "the model predicts {value} for latent {latent}: some of its weights are not finite, or the code is not of \
         this model; use another checkpoint"
    )]
    NonFinite {
        /// The latent it was to predict.
        latent: usize,
        /// The number it gave.
        value: f64,
    },
    /// More was taken from the code than it holds.
    #[error(
        "the code runs out before all items are read: the model answers differently here than where \
         it was written; use the same build, type of machine, device and number of threads"
    )]
    Exhausted,
    /// Reading put more back than it took.
    #[error(
        "the code grows while it is read: it holds fewer items than it says, or the model answers \
         differently here than where it was written; use the same file, build, type of machine, \
         device and number of threads"
    )]
    Growing,
    /// Decoded pixels that are not the ones that were coded.
    #[error(
        "the pixels read have SHA-256 {found}, those written had {wanted}: the model answers \
         differently here than where the file was written; use the same build, type of machine, \
         device and number of threads"
    )]
    Diverged {
        /// Of what was read.
        found: String,
        /// Of what was written.
        wanted: String,
    },
    /// Bytes of something else.
    #[error(
        "it is no compressed file: it starts with the bytes {found:02x?}; name a file that `vdm \
         compress` wrote"
    )]
    Magic {
        /// The first bytes, at most 4.
        found: Vec<u8>,
    },
    /// A layout this program does not know.
    #[error(
        "its format is version {found}, this program reads {known}; use the version that wrote it"
    )]
    Version {
        /// Of the file.
        found: u32,
        /// Of this program.
        known: u32,
    },
    /// Fewer or more bytes than the header promises.
    #[error("it has {found} bytes where {wanted} are promised; bring a complete copy")]
    Length {
        /// How many there are.
        found: usize,
        /// How many there should be.
        wanted: u64,
    },
    /// Bytes changed since they were written.
    #[error("its checksum is wrong: some bytes are damaged; bring another copy")]
    Damaged,
    /// A header that asks for more work than its file can be worth.
    #[error(
        "{field} = {value}: {cost} {what}, more than the limit of {limit}; if the file comes from \
         someone you trust, read it with `vdm decompress --unlimited`"
    )]
    Budget {
        /// The field of the header.
        field: &'static str,
        /// Its value.
        value: u64,
        /// What there is too much of.
        what: &'static str,
        /// How much of it reading would take.
        cost: u64,
        /// How much it may take.
        limit: u64,
    },
    /// A header that is not one.
    #[error("its header is not understood ({0}); use the version of the program that wrote it")]
    Header(String),
    /// Words made with another model.
    #[error(
        "it was written with the model of SHA-256 {found} (checkpoint of step {checkpoint}), this \
         one has {wanted}; use that checkpoint of that run"
    )]
    Model {
        /// Of the file.
        found: String,
        /// Training step of the weights that wrote it.
        checkpoint: u64,
        /// Of the model at hand.
        wanted: String,
    },
}

/// What ends coding early: the model's own fault, or one of ours.
#[derive(Debug, ThisError)]
pub enum CodecError<E: StdError + 'static> {
    /// The model reports a fault.
    #[error(transparent)]
    Model(E),
    /// Everything else.
    #[error(transparent)]
    Codec(#[from] Error),
}

/// That pixels are whole items of `dims` components, each below `levels`.
pub(crate) fn check_pixels(pixels: &[u8], dims: usize, levels: u16) -> Result<(), Error> {
    if pixels.is_empty() || !pixels.len().is_multiple_of(dims) {
        return Err(Error::PixelCount { found: pixels.len(), dims });
    }
    match pixels.iter().position(|pixel| u16::from(*pixel) >= levels) {
        Some(index) => Err(Error::PixelRange { index, value: pixels[index], levels }),
        None => Ok(()),
    }
}
