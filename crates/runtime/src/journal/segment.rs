//! The file of a segment: how it is made, and how it is read when it is damaged.

use std::io;
use std::ops::ControlFlow;

use zstd::bulk::Compressor;

use super::crc::crc32c;
use super::frame::{self, Record};

/// Begins an open segment, and one that is sealed. The seventh byte is the version of the format.
pub const OPEN_MARK: [u8; 8] = *b"DOLPHJ\x01\n";
/// See [`OPEN_MARK`].
pub const SEALED_MARK: [u8; 8] = *b"DOLPHZ\x01\n";
/// Begins a block of a sealed segment.
const BLOCK_MARK: [u8; 4] = *b"DJBK";
/// Mark, length of the records, length compressed, checksum.
const BLOCK_HEAD: usize = 16;
/// A block is closed once it holds this much.
pub const BLOCK: usize = 256 << 10;
/// Largest block: one that was almost full, and the largest record.
const MAX_BLOCK: usize = BLOCK + frame::HEAD + frame::MAX_PAYLOAD;

/// The stream of the journal itself.
pub const OWN: u8 = 0;
/// Streams that there may be.
pub const STREAMS: usize = 16;
/// Kinds of the journal's own records.
pub mod kind {
    /// The caller's header, JSON.
    pub const HEADER: u8 = 0;
    /// Part of a state that the segment begins with.
    pub const STATE: u8 = 1;
    /// Records that were lost: stream, first and last number.
    pub const HOLE: u8 = 2;
    /// The segment was closed: how many records lie before this one.
    pub const END: u8 = 3;
    /// The run ended in good order: it has no further segment.
    pub const RUN_END: u8 = 4;
}

/// Bytes of a file that hold nothing that can be used.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Lost {
    /// From this byte of the file on.
    pub from: usize,
    /// Up to this one.
    pub to: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// What a segment's file turned out to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Condition {
    /// Sealed, or as it was written.
    pub sealed: bool,
    /// Whole records.
    pub records: u64,
    /// It was closed in good order, and nothing is behind its end.
    pub ended: bool,
    /// And its run with it: no segment comes behind it.
    pub run_ended: bool,
    /// What is damaged.
    pub lost: Vec<Lost>,
}

impl Condition {
    /// Closed and undamaged.
    pub const fn is_whole(&self) -> bool {
        self.ended && self.lost.is_empty()
    }

    /// Is all that is wrong a cut or torn end, as a kill or a power cut leaves it?
    pub fn is_torn(&self, length: usize) -> bool {
        !self.ended && self.lost.iter().all(|l| l.to == length)
    }
}

/// Hands every whole record of a segment's file but its ends on, in order, until `take` breaks.
pub fn walk(file: &[u8], mut take: impl FnMut(Record<'_>) -> ControlFlow<()>) -> Condition {
    let mut found = Condition::default();
    let (mark, body) = file.split_at(file.len().min(8));
    // The content decides, so that a damaged mark costs the mark alone.
    found.sealed = mark == SEALED_MARK || (mark != OPEN_MARK && body.starts_with(&BLOCK_MARK));
    if mark != OPEN_MARK && mark != SEALED_MARK {
        found.lost.push(Lost {
            from: 0,
            to: mark.len(),
            what: "the mark of a journal segment of this version",
        });
    }
    let mut walker = Walker { found: &mut found, take: &mut take, count: 0 };
    let _ =
        if walker.found.sealed { walker.blocks(file) } else { walker.records(file, 8.min(file.len()), None) };
    // A file that was cut right before its end has lost no more than the word that nothing was behind it.
    found.run_ended &= found.ended;
    found
}

struct Walker<'a, F> {
    found: &'a mut Condition,
    take: &'a mut F,
    /// Records seen.
    count: u64,
}

impl<F: FnMut(Record<'_>) -> ControlFlow<()>> Walker<'_, F> {
    /// Records from `at` on; `block`: where the block that they were in lies in the file.
    fn records(&mut self, bytes: &[u8], mut at: usize, block: Option<(usize, usize)>) -> ControlFlow<()> {
        while at < bytes.len() {
            if let Some((record, length)) = frame::parse(&bytes[at..]) {
                self.one(record)?;
                at += length;
                continue;
            }
            let next = frame::search(bytes, at + 1).unwrap_or(bytes.len());
            let (from, to) = block.unwrap_or((at, next));
            self.lose(from, to, "a damaged record");
            at = next;
        }
        ControlFlow::Continue(())
    }

    fn one(&mut self, record: Record<'_>) -> ControlFlow<()> {
        self.found.ended = false;
        if (record.stream, record.kind) == (OWN, kind::END) {
            // Damage may have taken records before it without a trace in the numbers.
            let counted = record.payload.try_into().map(u64::from_le_bytes).ok();
            self.found.ended = counted == Some(self.count);
            self.found.records += 1;
            return ControlFlow::Continue(());
        }
        self.found.run_ended = (record.stream, record.kind) == (OWN, kind::RUN_END);
        self.count += 1;
        self.found.records += 1;
        if self.found.run_ended { ControlFlow::Continue(()) } else { (self.take)(record) }
    }

    fn lose(&mut self, from: usize, to: usize, what: &'static str) {
        (self.found.ended, self.found.run_ended) = (false, false);
        match self.found.lost.last_mut() {
            Some(last) if last.to == from && last.what == what => last.to = to,
            _ => self.found.lost.push(Lost { from, to, what }),
        }
    }

    fn blocks(&mut self, file: &[u8]) -> ControlFlow<()> {
        let mut at = 8.min(file.len());
        while at < file.len() {
            if let Some((raw, length)) = block(&file[at..]) {
                self.records(&raw, 0, Some((at, at + length)))?;
                at += length;
                continue;
            }
            let mut next = at + 1;
            let next = loop {
                let Some(rest) = file.get(next..) else { break file.len() };
                let Some(step) = rest.windows(4).position(|four| four == BLOCK_MARK) else {
                    break file.len();
                };
                next += step;
                if block(&file[next..]).is_some() {
                    break next;
                }
                next += 1;
            };
            self.lose(at, next, "a damaged block");
            at = next;
        }
        ControlFlow::Continue(())
    }
}

/// The records of the block at the beginning of `bytes` and its length, if a whole one lies there.
fn block(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (head, rest) = bytes.split_at_checked(BLOCK_HEAD)?;
    let u32_at = |at: usize| head[at..at + 4].try_into().map(u32::from_le_bytes).unwrap_or_default();
    let (raw, packed, sum) = (u32_at(4) as usize, u32_at(8) as usize, u32_at(12));
    if head[..4] != BLOCK_MARK || raw > MAX_BLOCK {
        return None;
    }
    let data = rest.get(..packed)?;
    if crc32c(&[&head[4..12], data]) != sum {
        return None;
    }
    let records = zstd::bulk::decompress(data, raw).ok()?;
    (records.len() == raw).then_some((records, BLOCK_HEAD + packed))
}

/// Packs whole records into blocks as they come.
#[derive(Default)]
pub struct Packer {
    block: Vec<u8>,
    packed: Vec<u8>,
    /// The mark of the file is made.
    begun: bool,
    /// Kept from block to block: its tables are as large as a block. `None`: before the first.
    compressor: Option<Compressor<'static>>,
}

impl Packer {
    /// Takes whole records.
    pub fn add(&mut self, records: &[u8]) {
        self.block.extend_from_slice(records);
        if self.block.len() >= BLOCK {
            self.close();
        }
    }

    fn close(&mut self) {
        if self.block.is_empty() {
            return;
        }
        let data = self.compressed().unwrap_or_default();
        let sizes = [self.block.len() as u32, data.len() as u32].map(u32::to_le_bytes).concat();
        if !self.begun {
            self.packed.extend_from_slice(&SEALED_MARK);
            self.begun = true;
        }
        self.packed.extend_from_slice(&BLOCK_MARK);
        self.packed.extend_from_slice(&sizes);
        self.packed.extend_from_slice(&crc32c(&[&sizes, &data]).to_le_bytes());
        self.packed.extend_from_slice(&data);
        self.block.clear();
    }

    fn compressed(&mut self) -> io::Result<Vec<u8>> {
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            // Level 1: three times as fast as 3 and within a tenth of its size here.
            none => none.insert(Compressor::new(1)?),
        };
        compressor.compress(&self.block)
    }

    /// What is packed since it was taken last: the next part of the sealed file.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.packed)
    }

    /// The rest of the sealed file; all of it, where nothing was taken before.
    pub fn finish(mut self) -> Vec<u8> {
        self.close();
        self.packed
    }
}
