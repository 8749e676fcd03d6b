//! Frames and messages of the Open Binary Client Protocol 2.x.
//!
//! ```text
//! frame   = u32 length (with these 6 bytes) | u16 flags | payload          all little endian
//! message = initial frame, further frames; the last one carries IS_FINAL
//! initial payload of a request or event = type i32 | correlation i64 | partition i32 | fixed parameters (at 16)
//!                    of a response      = type i32 | correlation i64 | backup acks u8 | fixed parameters (at 13)
//! ```
//! Whatever a member sends, newer than we know or broken, is either skipped or an error; nothing panics, and nothing
//! is allocated that did not arrive.

use std::collections::HashMap;

/// Bytes before the payload.
pub(crate) const HEADER: usize = 6;
/// Longest message accepted, bytes.
pub(crate) const MAX_MESSAGE_BYTES: usize = 64 << 20;
/// Most frames of a message: a key set of a hundred thousand keys.
pub(crate) const MAX_FRAMES: usize = 200_000;
/// Most fragmented messages under way on a connection.
const MAX_FRAGMENTED: usize = 16;

pub(crate) const UNFRAGMENTED: u16 = BEGIN_FRAGMENT | END_FRAGMENT;
const BEGIN_FRAGMENT: u16 = 0x8000;
const END_FRAGMENT: u16 = 0x4000;
pub(crate) const IS_FINAL: u16 = 0x2000;
pub(crate) const BEGIN: u16 = 0x1000;
pub(crate) const END: u16 = 0x0800;
pub(crate) const IS_NULL: u16 = 0x0400;
const IS_EVENT: u16 = 0x0200;

/// Bytes that are no message of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the Hazelcast client protocol: {0}")]
pub(crate) struct ProtocolError(pub(crate) String);

pub(crate) fn broken<T>(what: impl Into<String>) -> Result<T, ProtocolError> {
    Err(ProtocolError(what.into()))
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) flags: u16,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) const fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// A received message: at least one frame, whose payload holds at least type and correlation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    frames: Vec<Frame>,
}

impl Message {
    fn new(frames: Vec<Frame>) -> Result<Self, ProtocolError> {
        match frames.first() {
            Some(initial) if initial.payload.len() >= 13 => Ok(Self { frames }),
            Some(initial) => broken(format!("an initial frame of {} bytes", initial.payload.len())),
            None => broken("a message without frames"),
        }
    }

    /// The fixed part.
    pub(crate) fn initial(&self) -> &[u8] {
        &self.frames[0].payload
    }

    pub(crate) fn kind(&self) -> i32 {
        i32_at(self.initial(), 0).expect("checked in `new`")
    }

    pub(crate) fn correlation(&self) -> i64 {
        i64_at(self.initial(), 4).expect("checked in `new`")
    }

    pub(crate) fn is_event(&self) -> bool {
        self.frames[0].has(IS_EVENT)
    }

    /// The frames after the initial one.
    pub(crate) fn rest(&self) -> Cursor<'_> {
        Cursor { frames: &self.frames[1..] }
    }
}

/// Cuts a byte stream into messages and joins fragmented ones.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    buffer: Vec<u8>,
    start: usize,
    frames: Vec<Frame>,
    bytes: usize,
    fragments: HashMap<i64, Vec<Frame>>,
    fragment_bytes: usize,
}

impl Assembler {
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete message, if it has arrived.
    pub(crate) fn next(&mut self) -> Result<Option<Message>, ProtocolError> {
        while let Some(frame) = self.frame()? {
            let last = frame.has(IS_FINAL);
            self.frames.push(frame);
            if self.frames.len() > MAX_FRAMES
                || self.fragments.values().map(Vec::len).sum::<usize>() > MAX_FRAMES
            {
                return broken(format!("more than {MAX_FRAMES} frames in a message"));
            }
            if last {
                let bytes = std::mem::take(&mut self.bytes);
                let frames = std::mem::take(&mut self.frames);
                if let Some(message) = self.join(frames, bytes)? {
                    return Ok(Some(message));
                }
            }
        }
        Ok(None)
    }

    fn frame(&mut self) -> Result<Option<Frame>, ProtocolError> {
        let rest = &self.buffer[self.start..];
        let Some(header) = rest.first_chunk::<HEADER>() else { return Ok(None) };
        let [a, b, c, d, e, f] = *header;
        let (length, flags) = (u32::from_le_bytes([a, b, c, d]) as usize, u16::from_le_bytes([e, f]));
        if length < HEADER {
            return broken(format!("a frame of {length} bytes"));
        }
        let total = self.bytes.saturating_add(length);
        if total > MAX_MESSAGE_BYTES {
            return broken(format!("a message of {total} bytes or more, the limit is {MAX_MESSAGE_BYTES}"));
        }
        if rest.len() < length {
            return Ok(None);
        }
        let payload = rest[HEADER..length].to_vec();
        self.start += length;
        self.bytes = total;
        Ok(Some(Frame { flags, payload }))
    }

    /// Fragments carry an extra first frame with the id of the message they are of.
    fn join(&mut self, mut frames: Vec<Frame>, bytes: usize) -> Result<Option<Message>, ProtocolError> {
        let flags = frames[0].flags;
        if flags & UNFRAGMENTED == UNFRAGMENTED {
            return Message::new(frames).map(Some);
        }
        let id = i64_at(&frames.remove(0).payload, 0)?;
        if flags & BEGIN_FRAGMENT != 0 {
            if self.fragments.len() >= MAX_FRAGMENTED {
                return broken(format!("more than {MAX_FRAGMENTED} fragmented messages at once"));
            }
            self.fragment_bytes += bytes;
            self.fragments.insert(id, frames);
            return Ok(None);
        }
        let Some(parts) = self.fragments.get_mut(&id) else {
            return broken(format!("a fragment of message {id}, which never began"));
        };
        self.fragment_bytes += bytes;
        if self.fragment_bytes > MAX_MESSAGE_BYTES {
            return broken(format!("fragments of more than {MAX_MESSAGE_BYTES} bytes"));
        }
        parts.append(&mut frames);
        if flags & END_FRAGMENT == 0 {
            return Ok(None);
        }
        let whole = self.fragments.remove(&id).unwrap_or_default();
        if self.fragments.is_empty() {
            self.fragment_bytes = 0;
        }
        Message::new(whole).map(Some)
    }
}

/// Reads frame after frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    frames: &'a [Frame],
}

impl<'a> Cursor<'a> {
    pub(crate) fn next(&mut self) -> Result<&'a Frame, ProtocolError> {
        let Some((first, rest)) = self.frames.split_first() else {
            return broken("a message that ends too early");
        };
        self.frames = rest;
        Ok(first)
    }

    fn peek(&self) -> Result<&'a Frame, ProtocolError> {
        self.frames.first().ok_or_else(|| ProtocolError("a message that ends too early".to_owned()))
    }

    /// The payload of the next frame; `None` for a null frame.
    pub(crate) fn nullable(&mut self) -> Result<Option<&'a [u8]>, ProtocolError> {
        let frame = self.next()?;
        Ok((!frame.has(IS_NULL)).then_some(frame.payload.as_slice()))
    }

    pub(crate) fn data(&mut self) -> Result<&'a [u8], ProtocolError> {
        self.nullable()?.ok_or_else(|| ProtocolError("a null where there must be a value".to_owned()))
    }

    pub(crate) fn text(&mut self) -> Result<String, ProtocolError> {
        Ok(String::from_utf8_lossy(self.data()?).into_owned())
    }

    pub(crate) fn begin(&mut self) -> Result<(), ProtocolError> {
        if self.next()?.has(BEGIN) { Ok(()) } else { broken("a structure that does not begin") }
    }

    /// Is the next frame the end of the structure? Then it is taken.
    pub(crate) fn at_end(&mut self) -> Result<bool, ProtocolError> {
        let end = self.peek()?.has(END);
        if end {
            self.next()?;
        }
        Ok(end)
    }

    /// Skips to behind the end of the structure we are in: newer members append fields.
    pub(crate) fn skip_to_end(&mut self) -> Result<(), ProtocolError> {
        let mut depth = 0usize;
        loop {
            let frame = self.next()?;
            if frame.has(END) {
                if depth == 0 {
                    return Ok(());
                }
                depth -= 1;
            } else if frame.has(BEGIN) {
                depth += 1;
            }
        }
    }

    /// The items of a list structure.
    pub(crate) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, ProtocolError>,
    ) -> Result<Vec<T>, ProtocolError> {
        self.begin()?;
        let mut items = Vec::new();
        while !self.at_end()? {
            items.push(item(self)?);
        }
        Ok(items)
    }
}

fn bytes_at<const N: usize>(payload: &[u8], at: usize) -> Result<[u8; N], ProtocolError> {
    match payload.get(at..).and_then(|tail| tail.first_chunk::<N>()) {
        Some(bytes) => Ok(*bytes),
        None => broken(format!("a frame of {} bytes that needs {}", payload.len(), at + N)),
    }
}

pub(crate) fn u8_at(payload: &[u8], at: usize) -> Result<u8, ProtocolError> {
    bytes_at::<1>(payload, at).map(|[byte]| byte)
}

pub(crate) fn i32_at(payload: &[u8], at: usize) -> Result<i32, ProtocolError> {
    bytes_at(payload, at).map(i32::from_le_bytes)
}

pub(crate) fn i64_at(payload: &[u8], at: usize) -> Result<i64, ProtocolError> {
    bytes_at(payload, at).map(i64::from_le_bytes)
}

/// A UUID as the protocol has it: two little-endian halves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Uuid {
    pub(crate) high: i64,
    pub(crate) low: i64,
}

/// Bytes of a UUID with its null mark.
pub(crate) const UUID_BYTES: usize = 17;

pub(crate) fn uuid_at(payload: &[u8], at: usize) -> Result<Option<Uuid>, ProtocolError> {
    if u8_at(payload, at)? != 0 {
        return Ok(None);
    }
    Ok(Some(Uuid { high: i64_at(payload, at + 1)?, low: i64_at(payload, at + 9)? }))
}

impl std::fmt::Display for Uuid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = format!("{:016x}{:016x}", self.high, self.low);
        write!(
            f,
            "{}-{}-{}-{}-{}",
            &digits[..8],
            &digits[8..12],
            &digits[12..16],
            &digits[16..20],
            &digits[20..]
        )
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
