//! Byte streams that stamp what passes: when a read brought bytes and up to which offset, and of each WebSocket frame
//! written when the write began and ended, where it ends, and what it is. Both ends of a connection count the same bytes,
//! so a frame written at one end is found in the reads of the other by its offset.
//!
//! Stamping is done outside of what is measured (after a read, after a write), and what it keeps was allocated before.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runtime::clock::Clock;

/// A read that brought bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadMark {
    /// When it returned.
    pub at: u64,
    /// Bytes read so far, with these.
    pub upto: u64,
}

/// A WebSocket frame that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameMark {
    /// The write began.
    pub began: u64,
    /// It had returned.
    pub ended: u64,
    /// When it should have been written; 0: nobody said.
    pub intended: u64,
    /// Bytes written so far, with it.
    pub upto: u64,
    /// `E` of a market frame, ms.
    pub event_ms: u64,
    /// First letter of its stream's kind: `d`epth, `a`ggTrade, `b`ookTicker, `m`arkPrice; 0 elsewhere.
    pub kind: u8,
    /// Its symbol in lower case, as far as it fits.
    pub symbol: [u8; 15],
    /// Where its text stands among those kept.
    pub text: (u32, u32),
}

/// What passed one end of a connection.
#[derive(Debug, Default)]
pub struct Log {
    /// What the client said first: the upgrade request, which no other connection has.
    pub opening: Vec<u8>,
    /// Reads.
    pub reads: Vec<ReadMark>,
    /// Frames written.
    pub frames: Vec<FrameMark>,
    texts: Vec<u8>,
    /// What found no room.
    pub lost: u64,
}

/// How much is kept of one end.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Reads.
    pub reads: usize,
    /// Frames.
    pub frames: usize,
    /// Bytes of texts; 0: none is kept.
    pub texts: usize,
}

/// Does the upgrade request open a connection of the account?
fn is_of_account(opening: &[u8]) -> bool {
    [&b"GET /private"[..], b"GET /ws-fapi"].iter().any(|path| opening.starts_with(path))
}

impl Log {
    /// With memory for so much, touched.
    fn new(room: Room) -> Self {
        let reads = touched(room.reads, ReadMark { at: 1, upto: 1 });
        let mark = FrameMark {
            began: 1,
            ended: 1,
            intended: 1,
            upto: 1,
            event_ms: 1,
            kind: 1,
            symbol: [1; 15],
            text: (1, 1),
        };
        let frames = touched(room.frames, mark);
        Self { opening: Vec::with_capacity(1024), reads, frames, texts: touched(room.texts, 1), lost: 0 }
    }

    /// The text of a frame.
    pub fn text(&self, frame: &FrameMark) -> &str {
        let (from, to) = frame.text;
        std::str::from_utf8(&self.texts[from as usize..to as usize]).unwrap_or_default()
    }

    /// When the end that this is the log of had read up to `offset`.
    pub fn read_at(&self, offset: u64) -> Option<u64> {
        let place = self.reads.partition_point(|r| r.upto < offset);
        self.reads.get(place).map(|r| r.at)
    }
}

/// An empty vector whose pages are there.
fn touched<T: Clone>(n: usize, value: T) -> Vec<T> {
    let mut all = vec![value; n];
    all.clear();
    all
}

/// The log of an end, shared with whoever reads it when the run is over.
pub type Shared = Arc<Mutex<Log>>;

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stream whose reads and writes are stamped.
#[derive(Debug)]
pub struct Stamped<S> {
    /// The stream itself.
    pub inner: S,
    log: Shared,
    clock: Clock,
    walk: Walk,
    /// The time at which the present writes should have been made.
    intended: Arc<AtomicU64>,
    /// How much is kept, at the venue's end.
    rooms: Option<Rooms>,
    /// Reads and writes, of all that share it.
    calls: Arc<AtomicU64>,
    read: u64,
    written: u64,
}

/// How much is kept of connections by what they are for.
#[derive(Debug, Clone, Copy)]
pub struct Rooms {
    /// Of market data.
    pub market: Room,
    /// Of the account: the user stream and the WebSocket API.
    pub account: Room,
}

impl<S> Stamped<S> {
    /// Around the client's end of a stream; what passes it stands in the log.
    pub fn client(inner: S, room: Room, clock: Clock, calls: Arc<AtomicU64>) -> (Self, Shared) {
        let log = Arc::new(Mutex::new(Log::new(room)));
        let walk = Walk::new(room.texts > 0);
        let (intended, rooms) = (Arc::default(), None);
        let shared = Arc::clone(&log);
        (Self { inner, log, clock, walk, intended, rooms, calls, read: 0, written: 0 }, shared)
    }

    /// Around the venue's end. What it is for, and so how much is kept, shows when the client has spoken; what is written
    /// then should have been written at `intended`.
    pub fn venue(inner: S, rooms: Rooms, clock: Clock, intended: Arc<AtomicU64>) -> (Self, Shared) {
        let log = Shared::default();
        let walk = Walk::new(false);
        let (rooms, shared) = (Some(rooms), Arc::clone(&log));
        let calls = Arc::default();
        (Self { inner, log, clock, walk, intended, rooms, calls, read: 0, written: 0 }, shared)
    }

    /// The client said what it wants.
    fn opened(&mut self, bytes: &[u8], rooms: Rooms) {
        let is_of_account = is_of_account(bytes);
        let log = Log::new(if is_of_account { rooms.account } else { rooms.market });
        self.walk.keeps_texts = is_of_account;
        *lock(&self.log) = log;
    }
}

/// The client's upgrade request is kept up to here.
const OPENING: usize = 1024;

impl<S: Read> Read for Stamped<S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let n = self.inner.read(out)?;
        if n > 0 {
            let at = self.clock.now_ns();
            if let (0, Some(rooms)) = (self.read, self.rooms) {
                self.opened(&out[..n], rooms);
            }
            let mut log = lock(&self.log);
            if self.rooms.is_some() && self.read < OPENING as u64 {
                let room = OPENING - log.opening.len();
                log.opening.extend_from_slice(&out[..n.min(room)]);
            }
            self.read += n as u64;
            if log.reads.len() < log.reads.capacity() {
                log.reads.push(ReadMark { at, upto: self.read });
            } else {
                log.lost += 1;
            }
        }
        Ok(n)
    }
}

impl<S: Write> Write for Stamped<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let began = self.clock.now_ns();
        let n = self.inner.write(bytes)?;
        let ended = self.clock.now_ns();
        let mut log = lock(&self.log);
        if self.rooms.is_none() && self.written < OPENING as u64 {
            let room = OPENING - log.opening.len();
            log.opening.extend_from_slice(&bytes[..n.min(room)]);
        }
        let times = (began, ended, self.intended.load(Ordering::Relaxed));
        self.walk.over(&bytes[..n], self.written, times, &mut log);
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Finds the frames in what is written.
#[derive(Debug)]
struct Walk {
    at: At,
    keeps_texts: bool,
    /// The beginning of the present payload.
    head: Vec<u8>,
    /// The text of the present frame began here.
    text_from: usize,
}

/// Where the walk stands.
#[derive(Debug, Clone, Copy)]
enum At {
    /// In the head of the upgrade; so many bytes of the blank line have been seen.
    Http(usize),
    /// In a frame's header: its bytes, and how many.
    Header([u8; 14], usize),
    /// In a payload: bytes left, of how many, mask, final text frame?
    Payload { left: u64, all: u64, mask: Option<[u8; 4]>, data: bool },
}

/// Bytes of a payload that are looked at: the event time of a bookTicker frame stands at its end.
const HEAD: usize = 320;
/// The blank line behind a head.
const BLANK: [u8; 4] = *b"\r\n\r\n";

/// Length of a header by its first bytes; `None`: more are needed.
fn header(bytes: &[u8]) -> Option<(usize, u64, bool)> {
    let second = *bytes.get(1)?;
    let masked = second & 0x80 != 0;
    let (size, length) = match second & 0x7f {
        126 => (4, u64::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        n => (2, u64::from(n)),
    };
    let size = size + if masked { 4 } else { 0 };
    (bytes.len() >= size).then_some((size, length, masked))
}

impl Walk {
    fn new(keeps_texts: bool) -> Self {
        Self { at: At::Http(0), keeps_texts, head: Vec::with_capacity(HEAD), text_from: 0 }
    }

    fn over(&mut self, bytes: &[u8], before: u64, times: (u64, u64, u64), log: &mut Log) {
        let mut i = 0;
        while i < bytes.len() {
            match self.at {
                At::Http(seen) => {
                    let seen =
                        if bytes[i] == BLANK[seen] { seen + 1 } else { usize::from(bytes[i] == b'\r') };
                    self.at = if seen == BLANK.len() { At::Header([0; 14], 0) } else { At::Http(seen) };
                    i += 1;
                }
                At::Header(mut held, n) => {
                    held[n] = bytes[i];
                    i += 1;
                    let n = n + 1;
                    self.at = At::Header(held, n);
                    if let Some((size, length, masked)) = header(&held[..n]) {
                        let mask =
                            masked.then(|| [held[size - 4], held[size - 3], held[size - 2], held[size - 1]]);
                        let data = held[0] & 0x0f == 1;
                        self.at = At::Payload { left: length, all: length, mask, data };
                        self.head.clear();
                        self.text_from = log.texts.len();
                        if length == 0 {
                            self.at = At::Header([0; 14], 0);
                        }
                    }
                }
                At::Payload { left, all, mask, data } => {
                    let n = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - i);
                    self.take(&bytes[i..i + n], (all - left) as usize, mask, data, log);
                    i += n;
                    let left = left - n as u64;
                    self.at = At::Payload { left, all, mask, data };
                    if left == 0 {
                        self.at = At::Header([0; 14], 0);
                        if data {
                            self.frame(before + i as u64, times, log);
                        }
                    }
                }
            }
        }
    }

    /// Takes a piece of a payload that begins at `offset` of it.
    fn take(&mut self, piece: &[u8], offset: usize, mask: Option<[u8; 4]>, data: bool, log: &mut Log) {
        if !data {
            return;
        }
        let plain = |(i, byte): (usize, &u8)| mask.map_or(*byte, |m| byte ^ m[(offset + i) % 4]);
        if self.keeps_texts {
            if log.texts.len() + piece.len() <= log.texts.capacity() {
                log.texts.extend(piece.iter().enumerate().map(plain));
            } else {
                log.lost += 1;
            }
        }
        let room = HEAD - self.head.len();
        self.head.extend(piece.iter().take(room).enumerate().map(plain));
    }

    fn frame(&self, upto: u64, (began, ended, intended): (u64, u64, u64), log: &mut Log) {
        if log.frames.len() == log.frames.capacity() {
            log.lost += 1;
            return;
        }
        let (kind, symbol) = stream(&self.head);
        let event_ms = after(&self.head, b"\"E\":").map_or(0, number);
        let text = (self.text_from as u32, log.texts.len() as u32);
        log.frames.push(FrameMark { began, ended, intended, upto, event_ms, kind, symbol, text });
    }
}

fn after<'a>(bytes: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let place = bytes.windows(word.len()).position(|w| w == word)?;
    bytes.get(place + word.len()..)
}

fn number(bytes: &[u8]) -> u64 {
    let digits = bytes.iter().take_while(|b| b.is_ascii_digit());
    digits.fold(0, |n, b| n.wrapping_mul(10).wrapping_add(u64::from(b - b'0')))
}

/// Kind and symbol of a combined stream's frame.
fn stream(head: &[u8]) -> (u8, [u8; 15]) {
    let mut symbol = [0; 15];
    let Some(name) = head.strip_prefix(b"{\"stream\":\"") else { return (0, symbol) };
    let Some(at) = name.iter().position(|b| *b == b'@') else { return (0, symbol) };
    for (to, from) in symbol.iter_mut().zip(&name[..at]) {
        *to = *from;
    }
    (name.get(at + 1).copied().unwrap_or(0), symbol)
}

/// A symbol as [`FrameMark::symbol`] has it.
pub fn symbol(name: &str) -> [u8; 15] {
    let mut out = [0; 15];
    for (to, from) in out.iter_mut().zip(name.bytes()) {
        *to = from.to_ascii_lowercase();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { reads: 8, frames: 8, texts: 4096 };

    fn masked(text: &str) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut out = vec![0x81, 0x80 | 126];
        out.extend_from_slice(&(text.len() as u16).to_be_bytes());
        out.extend_from_slice(&mask);
        out.extend(text.bytes().enumerate().map(|(i, b)| b ^ mask[i % 4]));
        out
    }

    /// Whatever the pieces, each frame is found with its end, its text and its time.
    #[test]
    fn frames_are_found_in_pieces_of_any_size() {
        let one =
            r#"{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1700000000123,"s":"BTCUSDT"}}"#;
        let two = format!(r#"{{"method":"order.place","pad":"{}"}}"#, "x".repeat(300));
        let mut wire = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
        let head = wire.len() as u64;
        wire.extend(masked(one));
        let first = wire.len() as u64;
        // A ping between them is no frame of data.
        wire.extend([0x89, 0x80, 0, 0, 0, 0]);
        wire.extend(masked(&two));
        for size in [1, 3, 7, 64, 10_000] {
            let mut log = Log::new(ROOM);
            let mut walk = Walk::new(true);
            let mut before = 0;
            for piece in wire.chunks(size) {
                walk.over(piece, before, (5, 6, 4), &mut log);
                before += piece.len() as u64;
            }
            let [a, b] = log.frames[..] else { panic!("{:?}", log.frames) };
            assert!(a.upto == first && a.upto > head && b.upto == wire.len() as u64, "{size}");
            assert_eq!((a.event_ms, a.kind, a.symbol), (1_700_000_000_123, b'd', symbol("BTCUSDT")));
            assert_eq!((log.text(&a), log.text(&b)), (one, two.as_str()));
            assert_eq!((b.began, b.ended, b.intended, log.lost), (5, 6, 4, 0));
        }
    }

    #[test]
    fn reads_are_found_by_offset_and_what_has_no_room_is_counted() {
        let room = Room { reads: 2, frames: 0, texts: 0 };
        let data = [7u8; 30];
        let (mut stream, log) = Stamped::client(&data[..], room, Clock::new(), Arc::default());
        for _ in 0..3 {
            assert_eq!(stream.read(&mut [0; 10]).unwrap(), 10);
        }
        let log = lock(&log);
        assert_eq!(log.read_at(10), Some(log.reads[0].at));
        assert_eq!(log.read_at(11), Some(log.reads[1].at));
        assert_eq!((log.read_at(21), log.lost), (None, 1));
    }
}
