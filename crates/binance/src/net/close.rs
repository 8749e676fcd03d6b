//! Why a connection ended.

use std::io;

use market::Nanos;

use crate::hosts::HostError;

/// Why a connection is not there (any more). No variant holds a path: a path may hold a listen key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The name did not resolve, or an unencrypted connection would leave this machine.
    #[error(transparent)]
    Host(#[from] HostError),
    /// No connection.
    #[error("cannot connect to {to}: {why} (is the port open, and the host right?)")]
    Connect {
        /// Host and port.
        to: String,
        /// What the system said.
        why: String,
    },
    /// TLS or the upgrade to WebSocket failed.
    #[error("{to} does not open a WebSocket: {why}")]
    Handshake {
        /// Host and port.
        to: String,
        /// What went wrong.
        why: String,
    },
    /// An attempt took too long.
    #[error("{to} did not answer in time")]
    TimedOut {
        /// Host and port.
        to: String,
    },
    /// The other side closed the connection in order.
    #[error("closed by the venue ({code}: {text})")]
    Closed {
        /// WebSocket close code (1006: none was given).
        code: u16,
        /// Its text.
        text: String,
    },
    /// The socket broke.
    #[error("the socket broke: {0}")]
    Io(io::ErrorKind),
    /// What came is not WebSocket, or a message above the size limit.
    #[error("broken WebSocket stream: {0}")]
    Protocol(String),
    /// Nothing came, not even an answer to our pings.
    #[error("nothing heard for {} ms", .silent.millis())]
    Silent {
        /// How long.
        silent: Nanos,
    },
    /// We wanted it so.
    #[error("closed by us: {0}")]
    Ours(&'static str),
}

impl CloseReason {
    /// In one word, for counting.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Host(_) => "host",
            Self::Connect { .. } => "connect",
            Self::Handshake { .. } => "handshake",
            Self::TimedOut { .. } => "timed_out",
            Self::Closed { .. } => "closed",
            Self::Io(_) => "io",
            Self::Protocol(_) => "protocol",
            Self::Silent { .. } => "silent",
            Self::Ours(_) => "ours",
        }
    }
}
