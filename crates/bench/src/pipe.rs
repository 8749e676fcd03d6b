//! A connection within the process: two byte pipes. Reading an empty one costs an atomic load.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that a pipe holds: a socket's buffers on loopback hold about as much.
const ROOM: usize = 4 << 20;

/// One direction.
#[derive(Debug)]
struct Pipe {
    bytes: Mutex<VecDeque<u8>>,
    held: AtomicUsize,
    over: AtomicBool,
}

impl Pipe {
    fn new() -> Arc<Self> {
        let bytes = Mutex::new(VecDeque::with_capacity(ROOM));
        Arc::new(Self { bytes, held: AtomicUsize::new(0), over: AtomicBool::new(false) })
    }

    fn bytes(&self) -> MutexGuard<'_, VecDeque<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, out: &mut [u8]) -> io::Result<usize> {
        if self.held.load(Ordering::Acquire) == 0 {
            return if self.over.load(Ordering::Acquire) { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let mut bytes = self.bytes();
        let n = out.len().min(bytes.len());
        let (first, second) = bytes.as_slices();
        let front = n.min(first.len());
        out[..front].copy_from_slice(&first[..front]);
        out[front..n].copy_from_slice(&second[..n - front]);
        bytes.drain(..n);
        self.held.store(bytes.len(), Ordering::Release);
        Ok(n)
    }

    fn write(&self, from: &[u8]) -> io::Result<usize> {
        if self.over.load(Ordering::Acquire) {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let mut bytes = self.bytes();
        let n = from.len().min(ROOM - bytes.len());
        if n == 0 && !from.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        bytes.extend(&from[..n]);
        self.held.store(bytes.len(), Ordering::Release);
        Ok(n)
    }
}

/// One end of a connection.
#[derive(Debug)]
pub struct End {
    incoming: Arc<Pipe>,
    outgoing: Arc<Pipe>,
}

/// Both ends of a new connection.
pub fn connection() -> (End, End) {
    let (up, down) = (Pipe::new(), Pipe::new());
    let here = End { incoming: Arc::clone(&down), outgoing: Arc::clone(&up) };
    (here, End { incoming: up, outgoing: down })
}

impl End {
    /// Ends both directions.
    pub fn close(&self) {
        self.outgoing.over.store(true, Ordering::Release);
        self.incoming.over.store(true, Ordering::Release);
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.close();
    }
}

impl Read for End {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.incoming.read(out)
    }
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_in_order_and_an_end_is_seen_after_them() {
        let (mut a, mut b) = connection();
        let mut buf = [0; 4];
        assert_eq!(b.read(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(a.write(b"abcdef").unwrap(), 6);
        assert_eq!(b.read(&mut buf).unwrap(), 4);
        assert_eq!(&buf, b"abcd");
        drop(a);
        assert_eq!(b.read(&mut buf).unwrap(), 2);
        assert_eq!(b.read(&mut buf).unwrap(), 0);
        assert_eq!(b.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_full_pipe_takes_what_fits() {
        let (mut a, mut b) = connection();
        assert_eq!(a.write(&vec![1; ROOM + 1]).unwrap(), ROOM);
        assert_eq!(a.write(b"x").unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(b.read(&mut [0; 10]).unwrap(), 10);
        assert_eq!(a.write(b"x").unwrap(), 1);
    }
}
