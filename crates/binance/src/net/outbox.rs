//! Frames on their way out: texts, and the pings, pongs and farewells that tungstenite would else write by itself. It would
//! take a copy of each payload and mask it with random bytes of its own; an order needs neither, and what a connection sends
//! is to be decided by its seed. So a frame is put into a buffer that is kept, and written to the stream at once.

use std::io::{self, Write};

use tungstenite::Error;

use super::random::Random;

/// Most bytes that may wait for a socket that takes nothing.
const LIMIT: usize = 256 * 1024;

/// Frames not yet taken by the socket.
pub(super) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    masks: Random,
}

/// The first byte of a frame (RFC 6455 §5.2): final, and what it is.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(super) enum Kind {
    Text = 0x81,
    Close = 0x88,
    Ping = 0x89,
    Pong = 0x8a,
}

/// The outbox is full.
#[derive(Debug)]
pub(super) struct Full;

impl Outbox {
    /// Empty; `seed` decides the masks.
    pub(super) fn new(seed: u64) -> Self {
        Self { bytes: Vec::with_capacity(4096), sent: 0, masks: Random::new(seed) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Frames a message, masked as a client must.
    #[inline]
    pub(super) fn push(&mut self, kind: Kind, payload: &[u8]) -> Result<(), Full> {
        if self.bytes.len() + payload.len() + 14 > LIMIT {
            return Err(Full);
        }
        const MASKED: u8 = 0x80;
        self.bytes.push(kind as u8);
        match payload.len() {
            n @ 0..=125 => self.bytes.push(MASKED | n as u8),
            n @ 126..=0xffff => {
                self.bytes.push(MASKED | 126);
                self.bytes.extend_from_slice(&(n as u16).to_be_bytes());
            }
            n => {
                self.bytes.push(MASKED | 127);
                self.bytes.extend_from_slice(&(n as u64).to_be_bytes());
            }
        }
        let mask = (self.masks.next() as u32).to_ne_bytes();
        self.bytes.extend_from_slice(&mask);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(payload);
        for four in self.bytes[start..].chunks_mut(4) {
            for (byte, key) in four.iter_mut().zip(mask) {
                *byte ^= key;
            }
        }
        Ok(())
    }

    /// Writes what the socket takes; the rest goes with the next call.
    pub(super) fn flush(&mut self, socket: &mut (impl Write + ?Sized)) -> Result<(), Error> {
        while self.sent < self.bytes.len() {
            match socket.write(&self.bytes[self.sent..]) {
                Ok(0) => return Err(Error::ConnectionClosed),
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::Io(e)),
            }
        }
        self.bytes.clear();
        self.sent = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tungstenite::protocol::Role;
    use tungstenite::{Message, WebSocket};

    /// A socket that takes `take` bytes a call and refuses every other call.
    struct Slow {
        taken: Vec<u8>,
        take: usize,
        refuse: bool,
    }

    impl Write for Slow {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.refuse = !self.refuse;
            if self.refuse {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let n = buf.len().min(self.take);
            self.taken.extend_from_slice(&buf[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    proptest! {
        /// What goes out in pieces is what a WebSocket server reads, frame by frame.
        #[test]
        fn frames_arrive_whole(texts in prop::collection::vec("[ -~]{0,300}", 1..6), take in 1usize..400, seed: u64) {
            let mut socket = Slow { taken: vec![], take, refuse: false };
            let mut outbox = Outbox::new(seed);
            for text in &texts {
                outbox.push(Kind::Text, text.as_bytes()).unwrap();
                outbox.push(Kind::Pong, b"heard").unwrap();
            }
            outbox.push(Kind::Ping, b"there?").unwrap();
            outbox.push(Kind::Close, &1000u16.to_be_bytes()).unwrap();
            while !outbox.is_empty() {
                outbox.flush(&mut socket).unwrap();
            }
            let wire = io::Cursor::new(socket.taken);
            let mut server = WebSocket::from_raw_socket(wire, Role::Server, None);
            for text in &texts {
                prop_assert_eq!(server.read().unwrap(), Message::text(text));
                prop_assert_eq!(server.read().unwrap(), Message::Pong("heard".into()));
            }
            prop_assert_eq!(server.read().unwrap(), Message::Ping("there?".into()));
            let Message::Close(Some(close)) = server.read().unwrap() else { panic!("no farewell") };
            prop_assert_eq!(u16::from(close.code), 1000);
        }
    }

    #[test]
    fn long_frames_and_a_full_outbox() {
        let mut outbox = Outbox::new(1);
        outbox.push(Kind::Text, &[b'x'; 70_000]).unwrap();
        let wire = std::mem::take(&mut outbox.bytes);
        let mut server = WebSocket::from_raw_socket(io::Cursor::new(wire), Role::Server, None);
        let got = server.read().unwrap().into_text().unwrap();
        assert_eq!(got.as_str(), "x".repeat(70_000));
        outbox.push(Kind::Text, &[b'x'; LIMIT - 1000]).unwrap();
        assert!(outbox.push(Kind::Text, &[b'x'; 1000]).is_err());
    }
}
