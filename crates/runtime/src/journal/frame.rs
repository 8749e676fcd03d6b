//! One record as bytes, and the search for the next whole one.

use super::crc::crc32c;

/// Begins a record.
const MARK: [u8; 2] = [0xd1, 0x4a];
/// Mark, check of the head, length, stream, kind, number, time, checksum.
pub const HEAD: usize = 2 + 2 + 4 + 1 + 1 + 8 + 8 + 4;
/// Longest payload. Larger things are written in parts.
pub const MAX_PAYLOAD: usize = 4 << 20;

/// A record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Who wrote it; 0 is the journal itself.
    pub stream: u8,
    /// What it is, by the stream's own numbers.
    pub kind: u8,
    /// Its number within its stream in its run, from 1; the journal's own have 0.
    pub seq: u64,
    /// When, ns: the time of the poll that took or made it.
    pub at: u64,
    /// What it holds.
    pub payload: &'a [u8],
}

/// Appends a record.
///
/// # Panics
/// If the payload is longer than [`MAX_PAYLOAD`].
pub fn append(out: &mut Vec<u8>, record: Record<'_>) {
    let Record { stream, kind, seq, at, payload } = record;
    assert!(payload.len() <= MAX_PAYLOAD, "a payload of {} bytes", payload.len());
    let mut head = [0; 22];
    head[..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    head[4..6].copy_from_slice(&[stream, kind]);
    head[6..14].copy_from_slice(&seq.to_le_bytes());
    head[14..].copy_from_slice(&at.to_le_bytes());
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&(crc32c(&[&head]) as u16).to_le_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(&crc32c(&[&head, payload]).to_le_bytes());
    out.extend_from_slice(payload);
}

/// The record at the beginning of `bytes` and its length, if a whole one lies there.
pub fn parse(bytes: &[u8]) -> Option<(Record<'_>, usize)> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    if head[..2] != MARK {
        return None;
    }
    let fields = &head[4..26];
    if (crc32c(&[fields]) as u16).to_le_bytes() != head[2..4] {
        return None;
    }
    let u64_at = |at: usize| fields[at..at + 8].try_into().map(u64::from_le_bytes).unwrap_or_default();
    let length = fields[..4].try_into().map(u32::from_le_bytes).unwrap_or_default() as usize;
    if length > MAX_PAYLOAD {
        return None;
    }
    let payload = rest.get(..length)?;
    if crc32c(&[fields, payload]).to_le_bytes() != head[26..30] {
        return None;
    }
    let record = Record { stream: fields[4], kind: fields[5], seq: u64_at(6), at: u64_at(14), payload };
    Some((record, HEAD + length))
}

/// Where the next whole record behind `from` begins.
pub fn search(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += bytes.get(at..)?.windows(2).position(|two| two == MARK)?;
        if parse(&bytes[at..]).is_some() {
            return Some(at);
        }
        at += 1;
    }
}
