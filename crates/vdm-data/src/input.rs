//! Reading untrusted files: every read is bounded by what was promised, by [`MAX_BYTES`] and, where data
//! are compressed, by the size of the file.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::DataError;

/// The most bytes one array, file or folder may decode to: 8 GiB.
pub const MAX_BYTES: u64 = 8 << 30;

/// How many bytes a compressed one may stand for. Of real images the sparsest, black shapes on white, come
/// to 114; deflate can do 1,032.
const MAX_RATIO: u64 = 200;
/// What any compressed file may decode to.
const FREE_BYTES: u64 = 64 << 20;

/// A stream of bytes with the name that errors give it.
pub(crate) struct Input<'a> {
    path: PathBuf,
    reader: Box<dyn Read + 'a>,
    /// Bytes not yet read; unknown where the stream is being decompressed.
    remaining: Option<u64>,
    taken: u64,
    /// The most bytes that may be taken.
    limit: u64,
}

impl<'a> Input<'a> {
    /// Opens a file, decompressing it if it begins as gzip does.
    pub(crate) fn open(path: &Path) -> Result<Input<'static>, DataError> {
        let io = |source| DataError::Io { action: "open", path: path.into(), source };
        let mut file = File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        // Opening a pipe or a device as a file could wait for ever.
        if !metadata.is_file() {
            let found = "it is no regular file".into();
            return Err(DataError::Unrecognized { path: path.into(), found });
        }
        if metadata.len() == 0 {
            return Err(DataError::Empty { path: path.into(), what: "bytes" });
        }
        let mut magic = Vec::new();
        (&mut file).take(2).read_to_end(&mut magic).map_err(io)?;
        file.rewind().map_err(io)?;
        let file = BufReader::new(file);
        if magic == [0x1f, 0x8b] {
            return Ok(Input::compressed(path.into(), MultiGzDecoder::new(file), metadata.len()));
        }
        let reader = Box::new(file);
        let remaining = Some(metadata.len());
        Ok(Input { path: path.into(), reader, remaining, taken: 0, limit: MAX_BYTES })
    }

    /// A stream that is being decompressed from `stored` bytes, so that its length is not known.
    pub(crate) fn compressed(path: PathBuf, reader: impl Read + 'a, stored: u64) -> Self {
        let limit = stored.saturating_mul(MAX_RATIO).clamp(FREE_BYTES, MAX_BYTES);
        Self { path, reader: Box::new(reader), remaining: None, taken: 0, limit }
    }

    /// The name for errors.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The first `count` bytes, or fewer if the stream is shorter.
    pub(crate) fn up_to(&mut self, count: u64) -> Result<Vec<u8>, DataError> {
        if self.taken.saturating_add(count) > self.limit {
            let (path, found) = (self.path.clone(), self.taken.saturating_add(count));
            return Err(DataError::Bomb { path, found, limit: self.limit });
        }
        let mut bytes = Vec::new();
        let read = (&mut self.reader).take(count).read_to_end(&mut bytes);
        read.map_err(|source| self.failure(source))?;
        let read = bytes.len() as u64;
        self.taken += read;
        self.remaining = self.remaining.map(|remaining| remaining.saturating_sub(read));
        Ok(bytes)
    }

    /// Exactly `count` bytes of `what`. Memory grows with what is there, not with what is promised.
    pub(crate) fn exactly(&mut self, count: u64, what: &'static str) -> Result<Vec<u8>, DataError> {
        product(&self.path, &[count], what)?;
        let path = self.path.clone();
        let truncated = |found| DataError::Truncated { path, what, found, expected: count };
        if let Some(remaining) = self.remaining.filter(|&remaining| remaining < count) {
            return Err(truncated(remaining));
        }
        let mut bytes = self.up_to(count)?;
        let found = bytes.len() as u64;
        if found < count {
            return Err(truncated(found));
        }
        bytes.shrink_to_fit();
        Ok(bytes)
    }

    /// Everything after the header, which must be an array of these sizes in bytes.
    pub(crate) fn rest(mut self, sizes: &[u64], what: &'static str) -> Result<Vec<u8>, DataError> {
        if sizes.contains(&0) {
            return Err(DataError::Empty { path: self.path, what });
        }
        let bytes = self.exactly(product(&self.path, sizes, what)?, what)?;
        self.finish()?;
        Ok(bytes)
    }

    /// Checks that nothing is left, which also checks the checksum of a compressed stream.
    pub(crate) fn finish(mut self) -> Result<(), DataError> {
        let expected = self.taken;
        self.limit += 1;
        if self.up_to(1)?.is_empty() {
            return Ok(());
        }
        Err(DataError::TrailingBytes { path: self.path, expected })
    }

    fn failure(&self, source: io::Error) -> DataError {
        let path = self.path.clone();
        match self.remaining {
            Some(_) => DataError::Io { action: "read", path, source },
            None => DataError::Damaged { path, source: source.into() },
        }
    }
}

/// The product of sizes that a header promises, if it is at most [`MAX_BYTES`].
pub(crate) fn product(path: &Path, sizes: &[u64], what: &'static str) -> Result<u64, DataError> {
    let product = sizes.iter().try_fold(1u64, |product, &size| product.checked_mul(size));
    let usable = |&bytes: &u64| bytes <= MAX_BYTES && usize::try_from(bytes).is_ok();
    product.filter(usable).ok_or_else(|| {
        let found = sizes.iter().map(u64::to_string).collect::<Vec<_>>().join(" x ");
        DataError::TooLarge {
            path: path.into(),
            what,
            found: format!("{found} bytes"),
            limit: MAX_BYTES,
        }
    })
}

/// Bytes as errors show them: `89 50 4e 47`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reading on would never end.
    #[test]
    fn an_endless_stream_is_read_as_far_as_asked() {
        let mut input = Input::compressed("endless".into(), io::repeat(7), u64::MAX);
        assert_eq!(input.exactly(10, "pixels").unwrap(), [7; 10]);
        let error = input.finish().unwrap_err();
        assert!(matches!(error, DataError::TrailingBytes { expected: 10, .. }), "{error}");
    }

    #[test]
    fn more_than_the_limit_is_refused_before_reading() {
        let mut input = Input::compressed("endless".into(), io::repeat(7), u64::MAX);
        let error = input.exactly(MAX_BYTES + 1, "pixels").unwrap_err();
        assert!(matches!(error, DataError::TooLarge { limit: MAX_BYTES, .. }), "{error}");
        assert_eq!(input.taken, 0);
    }
    #[test]
    fn a_few_compressed_bytes_do_not_stand_for_many() {
        let input = || Input::compressed("bomb".into(), io::repeat(7), 1_000_000);
        assert_eq!(input().exactly(FREE_BYTES, "pixels").unwrap().len() as u64, FREE_BYTES);
        let error = input().exactly(200_000_001, "pixels").unwrap_err();
        assert!(
            matches!(error, DataError::Bomb { found: 200_000_001, limit: 200_000_000, .. }),
            "{error}"
        );
    }
}
