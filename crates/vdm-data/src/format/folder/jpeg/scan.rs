//! A walk over the entropy-coded data of a scan, which tells whether they are all there.
//!
//! Nothing is decoded but lengths: where the data end early or go on after the last block, the
//! picture that a decoder makes of them is not the one that was stored.

use std::sync::Arc;

use super::JpegError;
use super::bits::{Bits, Huffman};
use super::frame::Frame;

/// Codes by class and destination, as `DHT` segments set them.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) dc: [Option<Arc<Huffman>>; 4],
    pub(super) ac: [Option<Arc<Huffman>>; 4],
}

/// What was sent of a picture, over all scans.
pub(super) struct Sent {
    /// For each component and coefficient, the lowest bit sent.
    lowest: Vec<[u8; 64]>,
    /// For each component and block of a progressive picture, which coefficients are not zero.
    nonzero: Vec<Vec<u64>>,
}

const NOTHING: u8 = u8::MAX;

/// The header of a scan.
pub(super) struct Scan {
    components: Vec<Selected>,
    first: u8,
    last: u8,
    /// Whether earlier scans sent the higher bits.
    refines: bool,
    low: u8,
}

/// A component of a scan, by its position in the frame, and its codes.
struct Selected {
    index: usize,
    dc: Option<Arc<Huffman>>,
    ac: Option<Arc<Huffman>>,
}

impl Scan {
    /// Parses the body of an `SOS` segment.
    pub(super) fn parse(body: &[u8], frame: &Frame, tables: &Tables) -> Result<Self, JpegError> {
        let (&count, body) = body.split_first().ok_or(JpegError::Header("a scan"))?;
        let count = usize::from(count);
        let Some((selectors, &[first, last, bits])) = body.split_at_checked(2 * count) else {
            return Err(JpegError::Header("a scan"));
        };
        let mut components: Vec<Selected> = Vec::new();
        for &[id, codes] in selectors.as_chunks().0 {
            let known = |component: &super::frame::Component| component.id == id;
            let index = frame.components.iter().position(known);
            let index = index.filter(|index| components.iter().all(|other| other.index != *index));
            let code = |of: &[Option<Arc<Huffman>>; 4], n: u8| of.get(usize::from(n))?.clone();
            let (dc, ac) = (code(&tables.dc, codes >> 4), code(&tables.ac, codes & 15));
            let index = index.ok_or(JpegError::Header("a scan"))?;
            components.push(Selected { index, dc, ac });
        }
        let (high, low) = (bits >> 4, bits & 15);
        let scan = Self { components, first, last, refines: high > 0, low };
        let all_at_once = (first, last) == (0, 63) && bits == 0;
        let one_band = first == 0 && last == 0
            || first > 0 && first <= last && last < 64 && scan.components.len() == 1;
        let sound = match frame.progressive {
            true => one_band && low < 14 && (high == 0 || high == low + 1),
            false => all_at_once,
        };
        if sound && !scan.components.is_empty() {
            Ok(scan)
        } else {
            Err(JpegError::Header("a scan"))
        }
    }
}

impl Sent {
    pub(super) fn nothing(frame: &Frame) -> Self {
        let blocks = |c| if frame.progressive { frame.stored_blocks(c) } else { 0 };
        let components = &frame.components;
        Self {
            lowest: vec![[NOTHING; 64]; components.len()],
            nonzero: components.iter().map(|c| vec![0; blocks(c) as usize]).collect(),
        }
    }

    /// Whether all bits of all coefficients were sent.
    pub(super) fn complete(&self) -> Result<(), JpegError> {
        match self.lowest.iter().flatten().all(|&bit| bit == 0) {
            true => Ok(()),
            false => Err(JpegError::ScansMissing),
        }
    }

    /// Adds what a scan sends, which has to follow on what was sent before.
    fn add(&mut self, scan: &Scan) -> Result<(), JpegError> {
        let band = usize::from(scan.first)..=usize::from(scan.last);
        for Selected { index, .. } in &scan.components {
            for lowest in &mut self.lowest[*index][band.clone()] {
                let follows = match scan.refines {
                    true => *lowest == scan.low + 1,
                    false => *lowest == NOTHING,
                };
                if !follows {
                    return Err(JpegError::Header("a scan"));
                }
                *lowest = scan.low;
            }
        }
        Ok(())
    }

    /// Walks over a scan that starts at byte `at`; the byte at which its last marker stands.
    pub(super) fn walk(
        &mut self,
        bytes: &[u8],
        at: usize,
        frame: &Frame,
        scan: &Scan,
        restart: usize,
    ) -> Result<usize, JpegError> {
        self.add(scan)?;
        let mut bits = Bits::new(bytes, at);
        let mut run = 0;
        let (across, down) = frame.units(scan.components.iter().map(|selected| selected.index));
        for unit in 0..across * down {
            if restart > 0 && unit > 0 && unit % restart == 0 {
                let end = bits.end()?;
                let expected = 0xd0 + (unit / restart - 1) as u8 % 8;
                if bytes.get(end + 1) != Some(&expected) {
                    return Err(JpegError::ScanEndsEarly);
                }
                bits = Bits::new(bytes, end + 2);
                run = 0;
            }
            let (column, row) = (unit % across, unit / across);
            for Selected { index, dc, ac } in &scan.components {
                let component = &frame.components[*index];
                let (wide, high) = match scan.components.len() {
                    1 => (1, 1),
                    _ => (component.horizontal, component.vertical),
                };
                let stride = frame.stride(component);
                for (v, h) in (0..high).flat_map(|v| (0..wide).map(move |h| (v, h))) {
                    let block = (row * high + v) * stride + column * wide + h;
                    let codes = (dc.as_deref(), ac.as_deref());
                    if frame.progressive {
                        let nonzero = &mut self.nonzero[*index][block];
                        scan.progressive_block(&mut bits, codes, nonzero, &mut run)?;
                    } else {
                        sequential_block(&mut bits, codes)?;
                    }
                }
            }
        }
        bits.end()
    }
}

/// The codes of a component's first and of its other coefficients.
type Codes<'a> = (Option<&'a Huffman>, Option<&'a Huffman>);

/// The difference of a block's mean from the last block's.
fn mean(bits: &mut Bits<'_>, code: Option<&Huffman>) -> Result<(), JpegError> {
    let size = code.ok_or(JpegError::TableMissing)?.symbol(bits)?;
    // Eight-bit samples have differences of at most eleven bits.
    if size > 11 { Err(JpegError::Code) } else { bits.take(size.into()).map(|_| ()) }
}

/// A block whose coefficients are all sent at once.
fn sequential_block(bits: &mut Bits<'_>, (dc, ac): Codes<'_>) -> Result<(), JpegError> {
    mean(bits, dc)?;
    let ac = ac.ok_or(JpegError::TableMissing)?;
    let mut next = 1;
    while next < 64 {
        let (zeros, size) = split(ac.symbol(bits)?);
        match (zeros, size) {
            (15, 0) => next += 16,
            (_, 0) => return Ok(()),
            _ => {
                next += zeros + 1;
                bits.take(size)?;
            }
        }
    }
    if next > 64 { Err(JpegError::Code) } else { Ok(()) }
}

/// Zeros before a coefficient and the bits of its size.
fn split(symbol: u8) -> (u8, u32) {
    (symbol >> 4, u32::from(symbol & 15))
}

impl Scan {
    /// What a progressive scan sends of a block; `run` counts the blocks that get nothing more.
    fn progressive_block(
        &self,
        bits: &mut Bits<'_>,
        (dc, ac): Codes<'_>,
        nonzero: &mut u64,
        run: &mut u32,
    ) -> Result<(), JpegError> {
        if self.first == 0 {
            return if self.refines { bits.take(1).map(|_| ()) } else { mean(bits, dc) };
        }
        let ac = ac.ok_or(JpegError::TableMissing)?;
        if self.refines {
            self.refine(bits, ac, nonzero, run)
        } else {
            self.start(bits, ac, nonzero, run)
        }
    }

    /// The first scan of a band of coefficients.
    fn start(
        &self,
        bits: &mut Bits<'_>,
        ac: &Huffman,
        nonzero: &mut u64,
        run: &mut u32,
    ) -> Result<(), JpegError> {
        if *run > 0 {
            *run -= 1;
            return Ok(());
        }
        let mut next = self.first;
        while next <= self.last {
            match split(ac.symbol(bits)?) {
                (15, 0) => next += 16,
                (length, 0) => {
                    *run = blocks(bits, length)? - 1;
                    return Ok(());
                }
                (zeros, size) => {
                    next += zeros;
                    if next > self.last {
                        return Err(JpegError::Code);
                    }
                    *nonzero |= 1 << next;
                    bits.take(size)?;
                    next += 1;
                }
            }
        }
        if next > self.last + 1 { Err(JpegError::Code) } else { Ok(()) }
    }

    /// A later scan of a band: one bit for each coefficient that is not zero, and new ones.
    fn refine(
        &self,
        bits: &mut Bits<'_>,
        ac: &Huffman,
        nonzero: &mut u64,
        run: &mut u32,
    ) -> Result<(), JpegError> {
        let mut next = self.first;
        while *run == 0 && next <= self.last {
            let (mut zeros, size) = split(ac.symbol(bits)?);
            match (zeros, size) {
                (15, 0) => (),
                (length, 0) => {
                    *run = blocks(bits, length)?;
                    break;
                }
                (_, 1) => bits.take(1).map(|_| ())?,
                _ => return Err(JpegError::Code),
            }
            while next <= self.last {
                if *nonzero & 1 << next != 0 {
                    bits.take(1)?;
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                next += 1;
            }
            if size == 1 {
                if next > self.last {
                    return Err(JpegError::Code);
                }
                *nonzero |= 1 << next;
            }
            next += 1;
        }
        if *run > 0 {
            for coefficient in next..=self.last {
                bits.take(u32::from(*nonzero & 1 << coefficient != 0))?;
            }
            *run -= 1;
        }
        Ok(())
    }
}

/// How many blocks, from this one on, get nothing more.
fn blocks(bits: &mut Bits<'_>, length: u8) -> Result<u32, JpegError> {
    Ok((1 << length) + u32::from(bits.take(length.into())?))
}
