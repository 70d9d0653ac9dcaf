//! What can be wrong with a data set, each with the file, the finding and the remedy.

use std::io::ErrorKind;
use std::path::PathBuf;

/// Why a data set could not be loaded.
///
/// Members of an archive are named like files inside it: `digits.npz/x.npy`.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file system refused.
    #[error("cannot {action} `{path}`{}", remedy(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Compressed data that stand for far more than such data do.
    #[error(
        "`{path}` decompresses to {found} bytes or more; the limit for a file of its size is {limit}; if it is \
         what it should be, store it without compression"
    )]
    Bomb {
        /// The file or archive member.
        path: PathBuf,
        /// How many bytes are promised or there.
        found: u64,
        /// The most that is accepted.
        limit: u64,
    },
    /// Compressed data of a kind that is not read.
    #[error(
        "`{path}` is encrypted, or compressed in another way than numpy.savez_compressed does; write it with that"
    )]
    Compression {
        /// The archive member.
        path: PathBuf,
    },
    /// Compressed data that do not decompress.
    #[error("`{path}` does not decompress: its data are damaged or cut off; fetch the file again")]
    Damaged {
        /// The file or archive member.
        path: PathBuf,
        /// The decoder's reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A path that is none of the known formats.
    #[error(
        "`{path}` is not a known data set: {found}; expected a folder of PNG or JPEG images, a \
         folder of IDX files or CIFAR's binary batches, or an IDX, .npy or .npz file"
    )]
    Unrecognized {
        /// The path given.
        path: PathBuf,
        /// What it looks like.
        found: String,
    },
    /// A folder with some of a format's files but not all.
    #[error(
        "`{dir}` looks like {format} but has no `{missing}`; fetch the missing file into that folder"
    )]
    MissingFile {
        /// The folder.
        dir: PathBuf,
        /// The format recognized.
        format: &'static str,
        /// The name of the missing file.
        missing: String,
    },
    /// The first bytes are another format's.
    #[error(
        "`{path}` starts with the bytes {found}, where {expected} starts otherwise; give the \
             file of that kind, or fetch it again"
    )]
    Magic {
        /// The file or archive member.
        path: PathBuf,
        /// The bytes found, in hexadecimal.
        found: String,
        /// The format expected.
        expected: &'static str,
    },
    /// A header that does not parse.
    #[error("`{path}` has a malformed header: {reason}; write the file again with numpy.save")]
    Header {
        /// The file or archive member.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Values of another type than bytes (or, for labels, than integers).
    #[error(
        "`{path}` holds values of type {found}; expected {expected}; convert them first, in \
             NumPy with array.astype"
    )]
    Dtype {
        /// The file or archive member.
        path: PathBuf,
        /// The type found.
        found: String,
        /// The type expected.
        expected: &'static str,
    },
    /// An array of a shape that is no list of images, or not of the other arrays' images.
    #[error("`{path}` has shape {found}; expected {expected}")]
    Shape {
        /// The file or archive member.
        path: PathBuf,
        /// The shape found.
        found: String,
        /// The shape expected.
        expected: String,
    },
    /// Fewer bytes than promised.
    #[error(
        "`{path}` ends early: {found} bytes of {what}, expected {expected}; fetch the file \
             again"
    )]
    Truncated {
        /// The file or archive member.
        path: PathBuf,
        /// What was being read.
        what: &'static str,
        /// Bytes there.
        found: u64,
        /// Bytes promised.
        expected: u64,
    },
    /// More bytes than promised.
    #[error(
        "`{path}` goes on after {expected} bytes, where its header says that it ends; fetch \
             the file again"
    )]
    TrailingBytes {
        /// The file or archive member.
        path: PathBuf,
        /// Bytes promised.
        expected: u64,
    },
    /// More data than this crate will hold in memory.
    #[error(
        "`{path}` promises {found} of {what}, more than the limit of {limit}; if the header is \
             right, cut the data into smaller files"
    )]
    TooLarge {
        /// The file or archive member.
        path: PathBuf,
        /// What is too large.
        what: &'static str,
        /// How much is promised.
        found: String,
        /// The most that is accepted.
        limit: u64,
    },
    /// Nothing there.
    #[error("`{path}` holds no {what}; give a path that does")]
    Empty {
        /// The file, archive or folder.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// A folder of files that are none of those read.
    #[error(
        "`{path}` holds no PNG or JPEG images, and of {found} none is read; save the items with numpy.save as one \
         array of bytes, [items, height, width] or with channels last"
    )]
    NoImages {
        /// The folder.
        path: PathBuf,
        /// The first of its files.
        found: String,
    },
    /// Too few items to make the splits from.
    #[error(
        "`{path}` has {found} training items; at least {needed} are needed to split off \
             validation and test items; add images"
    )]
    TooFewItems {
        /// The data set.
        path: PathBuf,
        /// Items found.
        found: usize,
        /// Items needed.
        needed: usize,
    },
    /// Labels that are not one per item.
    #[error("`{path}` holds {labels} labels for {items} items; expected one label an item")]
    LabelCount {
        /// The file, archive member or data set.
        path: PathBuf,
        /// Labels found.
        labels: usize,
        /// Items found.
        items: usize,
    },
    /// A label outside its domain.
    #[error("`{path}` gives item {item} the label {found}; expected {expected}")]
    Label {
        /// The file or archive member.
        path: PathBuf,
        /// Position of the item.
        item: usize,
        /// The label found.
        found: i128,
        /// The domain.
        expected: &'static str,
    },
    /// A pixel outside the gray values announced.
    #[error("`{path}` has a pixel of value {found}, but its values run from 0 to {max}; raise `values` \
             or scale the pixels", max = values - 1)]
    PixelRange {
        /// The data set.
        path: PathBuf,
        /// The value found.
        found: u8,
        /// The number of values announced.
        values: u16,
    },
    /// A picture that does not decode.
    #[error("the image `{path}` does not decode; repair it or take it out of the folder")]
    Image {
        /// The picture.
        path: PathBuf,
        /// The decoder's reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A picture that takes more memory than decoding may.
    #[error(
        "the image `{path}` has {width} x {height} pixels, which take {needed} bytes to decode and resize; \
         the limit is {limit} bytes and {side} pixels a side; reduce it or take it out of the folder"
    )]
    PictureSize {
        /// The picture.
        path: PathBuf,
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// Bytes that decoding and resizing take.
        needed: u64,
        /// The most that all pictures which are decoded at one time may take.
        limit: u64,
        /// The longest side that a picture may have.
        side: usize,
    },
    /// A file beside pictures that holds data of a kind that is not read there.
    #[error(
        "`{path}` is {found}, neither PNG nor JPEG; {remedy}, or take it out of the folder: without it \
         the data set would silently be another one"
    )]
    ImageFormat {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A folder that is reached in two ways.
    #[error(
        "`{path}` leads to a folder that is part of the data set already; take out the link, or its \
         images would count twice"
    )]
    Linked {
        /// The second way.
        path: PathBuf,
    },
    /// Pictures beside the files of another format.
    #[error(
        "`{picture}` is an image and `{set}` holds a data set of another format; give the folder of one of them"
    )]
    Mixed {
        /// A picture.
        picture: PathBuf,
        /// The folder of the other data set.
        set: PathBuf,
    },
    /// A folder with more than one data set.
    #[error("`{path}` holds several data sets; give one of {found}")]
    Several {
        /// The folder.
        path: PathBuf,
        /// The data sets in it.
        found: String,
    },
    /// Sub-folders that are neither splits nor classes.
    #[error(
        "`{path}` does not fit: {found}; give each split one of the folders `train`, `val` and `test`, \
         with no images beside them"
    )]
    Splits {
        /// The folder or picture.
        path: PathBuf,
        /// What is wrong with it.
        found: String,
    },
    /// An archive without arrays of known names.
    #[error(
        "`{path}` has no images under a known name: it holds {found}; expected a single array, or \
         `x` (and `y`), or `x_train`, `x_test` (and `y_train`, `y_test`)"
    )]
    Arrays {
        /// The archive.
        path: PathBuf,
        /// The arrays in it.
        found: String,
    },
    /// An option of the source outside its domain.
    #[error("the data option `{name}` is {value}; expected {expected}")]
    Option {
        /// The option.
        name: &'static str,
        /// Its value.
        value: String,
        /// Its domain.
        expected: &'static str,
    },
}

/// What to do about a refusal of the file system, where that is not for its own message to say.
fn remedy(source: &std::io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::NotADirectory => {
            "; check that it exists and that you may read it"
        }
        _ => "",
    }
}
