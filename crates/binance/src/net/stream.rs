//! The byte streams below a connection, and who opens them: the part that differs between production and simulation.

use std::fmt::Debug;
use std::io::{Read, Write};

use super::close::CloseReason;
use crate::hosts::Endpoint;

/// A byte stream that never blocks: [`std::io::ErrorKind::WouldBlock`] where nothing can be read or written now.
pub trait ByteStream: Read + Write + Send {
    /// Drops the connection at once, in both directions, without a farewell.
    fn abort(&mut self);

    /// Would a read bring anything now, be it an end or an error? A socket knows only by reading; a stream that knows
    /// better saves its reader the attempt.
    fn may_bring(&mut self) -> bool {
        true
    }
}

/// An attempt to open a byte stream.
pub trait Dialing: Send {
    /// Goes on as far as it can without waiting; `Ok(None)`: not done yet.
    fn poll(&mut self) -> Result<Option<Box<dyn ByteStream>>, CloseReason>;
}

/// Opens byte streams.
pub trait Dialer: Send + Sync + Debug {
    /// Begins a connection to the host and port of `endpoint`, encrypted if it says so.
    fn dial(&self, endpoint: &Endpoint) -> Result<Box<dyn Dialing>, CloseReason>;
}
