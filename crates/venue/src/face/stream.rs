//! The venue's end of a TCP connection, whoever carries the bytes.

use std::io::{Read, Write};

/// The venue's end of a TCP connection. Reading and writing never wait: [`std::io::ErrorKind::WouldBlock`] where
/// nothing is there, or nothing more fits.
pub trait ByteStream: Read + Write {
    /// Resets the connection: the other end meets an error, what is on its way is lost. The venue then drops it.
    fn reset(&mut self);
    /// The network goes dead in both directions without a word: nothing that is written arrives, nothing is read, and
    /// dropping the stream closes nothing.
    fn silence(&mut self);
}
