//! Bits of entropy-coded data and the Huffman codes in them.

use super::JpegError;

/// The bits between two markers, without the zero byte that follows each 0xff of the data.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// The first byte that is not in the window.
    at: usize,
    /// Bits not yet consumed, from the top.
    window: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    /// Starts at byte `at`.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, window: 0, count: 0 }
    }

    /// The next 16 bits; zeros where a marker or the end of the file comes first.
    fn peek(&mut self) -> u16 {
        while self.count <= 48 {
            let (byte, length) = match self.bytes.get(self.at..) {
                Some([0xff, 0x00, ..]) => (0xff, 2),
                Some([0xff, ..] | []) | None => break,
                Some([byte, ..]) => (*byte, 1),
            };
            self.at += length;
            self.window |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
        (self.window >> 48) as u16
    }

    /// Takes bits that have been seen by `peek`.
    fn consume(&mut self, bits: u32) -> Result<(), JpegError> {
        let Some(left) = self.count.checked_sub(bits) else {
            return Err(match self.bytes.get(self.at..) {
                Some([_, _, ..]) => JpegError::ScanEndsEarly,
                _ => JpegError::CutOff,
            });
        };
        self.count = left;
        self.window <<= bits;
        Ok(())
    }

    /// The next `bits` ≤ 16 bits as a number.
    pub(super) fn take(&mut self, bits: u32) -> Result<u16, JpegError> {
        if bits == 0 {
            return Ok(0);
        }
        let value = self.peek() >> (16 - bits);
        self.consume(bits)?;
        Ok(value)
    }

    /// The byte at which a marker stands after all data were taken, but for the bits that fill the
    /// last byte.
    pub(super) fn end(mut self) -> Result<usize, JpegError> {
        self.peek();
        // Bytes of 0xff may fill the room before a marker.
        while let Some([0xff, 0xff, ..]) = self.bytes.get(self.at..) {
            self.at += 1;
        }
        match self.bytes.get(self.at..) {
            Some([0xff, ..]) if self.count < 8 => Ok(self.at),
            Some([]) | None => Err(JpegError::CutOff),
            Some(_) => Err(JpegError::ScanGoesOn),
        }
    }
}

/// The code of one table, each symbol of which is found by its first eight bits or by its length.
pub(super) struct Huffman {
    /// Length and symbol by the next eight bits; length 0 for longer codes.
    short: [(u8, u8); 256],
    /// For each length, the first code that is longer, and what turns a code into a position.
    lengths: [(u32, u32); 17],
    symbols: Vec<u8>,
}

impl Huffman {
    /// From the numbers of codes of length 1 to 16 and the symbols in order of their codes.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Self, JpegError> {
        let mut short = [(0, 0); 256];
        let mut lengths = [(0, 0); 17];
        let (mut code, mut position) = (0u32, 0u32);
        for (length, &count) in (1u32..).zip(counts) {
            let offset = position.wrapping_sub(code);
            for _ in 0..count {
                let &symbol = symbols.get(position as usize).ok_or(JpegError::Table)?;
                if length <= 8 {
                    let first = (code << (8 - length)) as usize;
                    let all = short.get_mut(first..first + (1 << (8 - length)));
                    all.ok_or(JpegError::Table)?.fill((length as u8, symbol));
                }
                code += 1;
                position += 1;
            }
            if code > 1 << length {
                return Err(JpegError::Table);
            }
            lengths[length as usize] = (code, offset);
            code <<= 1;
        }
        Ok(Self { short, lengths, symbols: symbols.into() })
    }

    /// The next symbol.
    pub(super) fn symbol(&self, bits: &mut Bits<'_>) -> Result<u8, JpegError> {
        let window = bits.peek();
        let (length, symbol) = self.short[usize::from(window >> 8)];
        if length > 0 {
            bits.consume(length.into())?;
            return Ok(symbol);
        }
        for length in 9..=16 {
            let code = u32::from(window >> (16 - length));
            let (end, offset) = self.lengths[length as usize];
            if code < end {
                bits.consume(length)?;
                return Ok(self.symbols[code.wrapping_add(offset) as usize]);
            }
        }
        // Zeros after the end may be no code either.
        bits.consume(16)?;
        Err(JpegError::Code)
    }
}
