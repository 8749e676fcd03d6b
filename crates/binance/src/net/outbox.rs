//! Text frames on their way out. tungstenite would take a copy of each payload and ask for random bytes; an order
//! needs neither: it is framed into a buffer that is kept, and written to the stream at once.

use std::io::{self, Write};

use tungstenite::{Error, WebSocket};

/// Most bytes that may wait for a socket that takes nothing.
const LIMIT: usize = 256 * 1024;

/// Frames not yet taken by the socket.
pub(super) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

/// The outbox is full.
#[derive(Debug)]
pub(super) struct Full;

impl Outbox {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::with_capacity(4096), sent: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Frames a text message (RFC 6455 §5.2: final, masked).
    #[inline]
    pub(super) fn push(&mut self, payload: &[u8], mask: [u8; 4]) -> Result<(), Full> {
        if self.bytes.len() + payload.len() + 14 > LIMIT {
            return Err(Full);
        }
        const FINAL_TEXT: u8 = 0x81;
        const MASKED: u8 = 0x80;
        self.bytes.push(FINAL_TEXT);
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

    /// Writes what the socket takes. `true`: nothing is left. tungstenite's own frames (pongs, pings) go first and
    /// whole, so that frames never interleave.
    pub(super) fn flush<S: io::Read + Write>(&mut self, ws: &mut WebSocket<S>) -> Result<bool, Error> {
        if self.is_empty() {
            return Ok(true);
        }
        // Once a frame has begun nothing of tungstenite's can be waiting: it is not read from meanwhile.
        if self.sent == 0 {
            match ws.flush() {
                Ok(()) => {}
                Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        while self.sent < self.bytes.len() {
            match ws.get_mut().write(&self.bytes[self.sent..]) {
                Ok(0) => return Err(Error::ConnectionClosed),
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::Io(e)),
            }
        }
        self.bytes.clear();
        self.sent = 0;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tungstenite::protocol::Role;

    /// A socket that takes `take` bytes a call and refuses every other call.
    struct Slow {
        taken: Vec<u8>,
        take: usize,
        refuse: bool,
    }

    impl io::Read for Slow {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
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
        fn frames_arrive_whole(texts in prop::collection::vec("[ -~]{0,300}", 1..6), take in 1usize..400, mask: [u8; 4]) {
            let mut ws = WebSocket::from_raw_socket(Slow { taken: vec![], take, refuse: false }, Role::Client, None);
            let mut outbox = Outbox::new();
            for text in &texts {
                outbox.push(text.as_bytes(), mask).unwrap();
            }
            while !outbox.flush(&mut ws).unwrap() {}
            let wire = std::mem::take(&mut ws.get_mut().taken);
            let mut server = WebSocket::from_raw_socket(io::Cursor::new(wire), Role::Server, None);
            for text in &texts {
                let got = server.read().unwrap().into_text().unwrap();
                prop_assert_eq!(got.as_str(), text.as_str());
            }
        }
    }

    #[test]
    fn long_frames_and_a_full_outbox() {
        let mut outbox = Outbox::new();
        outbox.push(&[b'x'; 70_000], [1, 2, 3, 4]).unwrap();
        let wire = std::mem::take(&mut outbox.bytes);
        let mut server = WebSocket::from_raw_socket(io::Cursor::new(wire), Role::Server, None);
        let got = server.read().unwrap().into_text().unwrap();
        assert_eq!(got.as_str(), "x".repeat(70_000));
        outbox.push(&[b'x'; LIMIT - 1000], [0; 4]).unwrap();
        assert!(outbox.push(&[b'x'; 1000], [0; 4]).is_err());
    }
}
