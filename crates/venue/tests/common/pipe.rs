//! A connection in memory: the venue's end is a [`ByteStream`], the client's end writes handshakes and frames by hand, so
//! that every byte is the test's own.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;

use venue::ByteStream;

/// What both ends share.
#[derive(Default)]
pub struct Line {
    to_venue: VecDeque<u8>,
    to_client: VecDeque<u8>,
    /// Bytes the client's end takes in before it is read; 0: as many as come.
    pub capacity: usize,
    pub reset: bool,
    pub silent: bool,
    pub closed: bool,
    /// The venue reads at most so many bytes at a time; 0: as many as it asks for.
    pub crumbs: usize,
}

struct VenueEnd(Rc<RefCell<Line>>);

impl Read for VenueEnd {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut line = self.0.borrow_mut();
        if line.to_venue.is_empty() || line.silent {
            return Err(ErrorKind::WouldBlock.into());
        }
        let most = if line.crumbs > 0 { line.crumbs } else { buf.len() };
        let n = buf.len().min(most).min(line.to_venue.len());
        for (to, from) in buf.iter_mut().zip(line.to_venue.drain(..n)) {
            *to = from;
        }
        Ok(n)
    }
}

impl Write for VenueEnd {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut line = self.0.borrow_mut();
        if line.silent {
            return Ok(buf.len());
        }
        let room = match line.capacity {
            0 => buf.len(),
            most => most.saturating_sub(line.to_client.len()).min(buf.len()),
        };
        if room == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        line.to_client.extend(&buf[..room]);
        Ok(room)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ByteStream for VenueEnd {
    fn reset(&mut self) {
        self.0.borrow_mut().reset = true;
    }

    fn silence(&mut self) {
        self.0.borrow_mut().silent = true;
    }
}

impl Drop for VenueEnd {
    fn drop(&mut self) {
        self.0.borrow_mut().closed = true;
    }
}

/// A frame as it came: opcode and payload.
pub type Frame = (u8, Vec<u8>);

/// The client's end.
pub struct ClientEnd {
    pub line: Rc<RefCell<Line>>,
    read: Vec<u8>,
    opened: bool,
}

/// A new connection: the venue's end and the client's.
pub fn pipe() -> (Box<dyn ByteStream>, ClientEnd) {
    let line = Rc::<RefCell<Line>>::default();
    (Box::new(VenueEnd(line.clone())), ClientEnd { line, read: Vec::new(), opened: false })
}

impl ClientEnd {
    pub fn send(&self, bytes: &[u8]) {
        self.line.borrow_mut().to_venue.extend(bytes);
    }

    /// Asks for a WebSocket.
    pub fn open(&self, path: &str) {
        self.send(
            format!(
                "GET {path} HTTP/1.1\r\nHost: venue\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            .as_bytes(),
        );
    }

    pub fn text(&self, text: &str) {
        self.frame(1, text.as_bytes());
    }

    pub fn frame(&self, opcode: u8, payload: &[u8]) {
        let mut out = vec![0x80 | opcode];
        match payload.len() {
            n @ 0..=125 => out.push(0x80 | n as u8),
            n => {
                out.push(0x80 | 126);
                out.extend(u16::try_from(n).unwrap().to_be_bytes());
            }
        }
        let mask = [7, 77, 177, 217];
        out.extend(mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
        self.send(&out);
    }

    /// The bytes that came.
    pub fn bytes(&mut self) -> Vec<u8> {
        self.line.borrow_mut().to_client.drain(..).collect()
    }

    /// Reads like a socket that never waits.
    pub fn take(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut line = self.line.borrow_mut();
        if line.to_client.is_empty() {
            return if line.closed { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let n = buf.len().min(line.to_client.len());
        for (to, from) in buf.iter_mut().zip(line.to_client.drain(..n)) {
            *to = from;
        }
        Ok(n)
    }

    /// How many bytes came; they are thrown away.
    pub fn discard(&mut self) -> usize {
        let mut line = self.line.borrow_mut();
        let n = line.to_client.len();
        line.to_client.clear();
        n
    }

    /// The reply to the upgrade request, once it is there as a whole; the rest are frames.
    pub fn head(&mut self) -> Option<String> {
        let more = self.bytes();
        self.read.extend(more);
        let end = self.read.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        self.opened = head.starts_with("HTTP/1.1 101");
        Some(head)
    }

    /// The frames that came.
    pub fn frames(&mut self) -> Vec<Frame> {
        let more = self.bytes();
        self.read.extend(more);
        if !self.opened && self.head().is_none() {
            return Vec::new();
        }
        let mut out = Vec::new();
        while let Some((frame, size)) = parse(&self.read) {
            self.read.drain(..size);
            out.push(frame);
        }
        out
    }

    /// The texts that came; pings are answered.
    pub fn texts(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        for (opcode, payload) in self.frames() {
            match opcode {
                1 => out.push(String::from_utf8(payload).unwrap()),
                9 => self.frame(10, &payload),
                _ => {}
            }
        }
        out
    }
}

fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (len, at) = match second {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize, 10),
        n => (usize::from(n), 2),
    };
    let payload = bytes.get(at..at + len)?.to_vec();
    Some(((first & 0x0f, payload), at + len))
}
