//! The frame header of a JPEG file: its size and its components.

use std::io::{Read, Seek, SeekFrom};

use super::JpegError;

/// What a frame header says.
pub(in super::super) struct Frame {
    pub(in super::super) width: usize,
    pub(in super::super) height: usize,
    pub(super) progressive: bool,
    pub(super) components: Vec<Component>,
}

/// One plane of samples.
pub(super) struct Component {
    pub(super) id: u8,
    /// Samples for as many of the plane that has most.
    pub(super) horizontal: usize,
    pub(super) vertical: usize,
}

impl Frame {
    /// Finds the header, and whether the first scan has all components, without reading what lies
    /// before them.
    pub(super) fn find(mut file: impl Read + Seek) -> Result<(Self, bool), JpegError> {
        let mut frame = None;
        file.seek(SeekFrom::Start(2))?;
        loop {
            let [marker, body @ ..] = segment_start(&mut file)?;
            let length = u16::from_be_bytes(body).checked_sub(2);
            let length = length.ok_or(JpegError::Header("a segment"))?;
            match (marker, frame) {
                (0xda, Some(frame)) => {
                    let Self { components, .. } = &frame;
                    let mut count = [0];
                    file.read_exact(&mut count)?;
                    let together = usize::from(count[0]) == components.len();
                    return Ok((frame, together));
                }
                (0xda | 0xd9, None) => return Err(JpegError::Header("a frame")),
                (0xc0..=0xcf, None) if is_frame(marker) => {
                    let mut body = vec![0; length.into()];
                    file.read_exact(&mut body)?;
                    frame = Some(Self::parse(marker, &body)?);
                }
                (_, found) => {
                    frame = found;
                    file.seek(SeekFrom::Current(length.into()))?;
                }
            }
        }
    }

    /// Parses the body of a frame's segment.
    pub(super) fn parse(marker: u8, body: &[u8]) -> Result<Self, JpegError> {
        let progressive = match marker {
            0xc0 | 0xc1 => false,
            0xc2 => true,
            0xc3 | 0xc5..=0xc7 => {
                return Err(JpegError::Unsupported("lossless or hierarchical coding"));
            }
            _ => return Err(JpegError::Unsupported("arithmetic coding")),
        };
        let [precision, h1, h0, w1, w0, count, components @ ..] = body else {
            return Err(JpegError::Header("a frame"));
        };
        if *precision != 8 {
            return Err(JpegError::Unsupported("samples of another size than 8 bits"));
        }
        let (height, width) = (u16::from_be_bytes([*h1, *h0]), u16::from_be_bytes([*w1, *w0]));
        let (components, rest) = components.as_chunks();
        if width == 0 || height == 0 || components.len() != usize::from(*count) || !rest.is_empty()
        {
            return Err(JpegError::Header("a frame"));
        }
        let components: Vec<_> = components.iter().map(Component::new).collect();
        if ![1, 3, 4].contains(&components.len()) {
            return Err(JpegError::Components(components.len()));
        }
        let factors = components.iter().flat_map(|c| [c.horizontal, c.vertical]);
        if factors.into_iter().any(|factor| !(1..=4).contains(&factor)) {
            return Err(JpegError::Header("a frame"));
        }
        Ok(Self { width: width.into(), height: height.into(), progressive, components })
    }

    /// The most samples that a plane has for one of another.
    fn most(&self) -> (usize, usize) {
        let of = |factor: fn(&Component) -> usize| self.components.iter().map(factor).max();
        (of(|c| c.horizontal).unwrap_or(1), of(|c| c.vertical).unwrap_or(1))
    }

    /// The units, across and down, that a scan of these components sends one after the other: single
    /// blocks of one component, or groups of blocks of several.
    pub(super) fn units(&self, mut scan: impl ExactSizeIterator<Item = usize>) -> (usize, usize) {
        let (h, v) = self.most();
        if scan.len() > 1 {
            return (self.width.div_ceil(8 * h), self.height.div_ceil(8 * v));
        }
        let Component { horizontal, vertical, .. } = self.components[scan.next().unwrap_or(0)];
        let blocks = |side: usize, factor: usize, most| (side * factor).div_ceil(most).div_ceil(8);
        (blocks(self.width, horizontal, h), blocks(self.height, vertical, v))
    }

    /// Blocks in a row of a component as it is stored: whole groups.
    pub(super) fn stride(&self, component: &Component) -> usize {
        self.width.div_ceil(8 * self.most().0) * component.horizontal
    }

    /// Blocks of a component as it is stored.
    pub(super) fn stored_blocks(&self, component: &Component) -> u64 {
        let rows = self.height.div_ceil(8 * self.most().1) * component.vertical;
        (self.stride(component) * rows) as u64
    }

    /// All blocks as they are stored.
    pub(super) fn blocks(&self) -> u64 {
        self.components.iter().map(|component| self.stored_blocks(component)).sum()
    }
}

impl Component {
    fn new(&[id, factors, _]: &[u8; 3]) -> Self {
        Self { id, horizontal: (factors >> 4).into(), vertical: (factors & 15).into() }
    }
}

/// Whether a marker from 0xc0 to 0xcf starts a frame.
pub(super) fn is_frame(marker: u8) -> bool {
    !matches!(marker, 0xc4 | 0xc8 | 0xcc)
}

/// A marker and the two bytes of its segment's length. Bytes of 0xff may fill the room before it.
fn segment_start(file: &mut impl Read) -> Result<[u8; 3], JpegError> {
    let mut start = [0; 2];
    file.read_exact(&mut start)?;
    while start == [0xff, 0xff] {
        file.read_exact(&mut start[1..])?;
    }
    let [0xff, marker] = start else { return Err(JpegError::Header("a segment")) };
    let mut length = [0; 2];
    file.read_exact(&mut length)?;
    Ok([marker, length[0], length[1]])
}
