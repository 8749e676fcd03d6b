//! Frames between processes: a little-endian `u32` length and as many bytes of JSON. No JSON from a stranger: the
//! socket is reachable for the owner of the files only.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::command::Ask;
use crate::error::MemoryError;
use crate::request::{Answer, Reply};

/// Longest frame, bytes: a batch of large values, escaped as JSON.
pub(super) const MAX_FRAME_BYTES: usize = 64 << 20;

/// From the process that asks.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Call {
    pub(super) id: u64,
    pub(super) request: Ask,
}

/// From the process that owns the store.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Told {
    Answer {
        id: u64,
        reply: Reply,
    },
    Failed {
        id: u64,
        why: Failed,
    },
    /// A change of what call `id` watches.
    Change {
        id: u64,
        key: String,
        value: Option<String>,
    },
}

/// An error, as far as the asker has to tell one from another.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Failed {
    Away { reason: String },
    Refused { reason: String },
    Fenced { map: String, key: String, lease: String, ours: u64, newer: u64 },
}

impl Failed {
    fn of(error: MemoryError) -> Self {
        match error {
            MemoryError::Away(reason) => Self::Away { reason },
            MemoryError::Fenced { map, key, lease, ours, newer } => {
                Self::Fenced { map, key, lease, ours, newer }
            }
            other if other.is_outage() => Self::Away { reason: other.to_string() },
            other => Self::Refused { reason: other.to_string() },
        }
    }

    pub(super) fn error(self, operation: &'static str) -> MemoryError {
        match self {
            Self::Away { reason } => MemoryError::Away(reason),
            Self::Refused { reason } => MemoryError::Refused { operation, reason },
            Self::Fenced { map, key, lease, ours, newer } => {
                MemoryError::Fenced { map, key, lease, ours, newer }
            }
        }
    }
}

impl Told {
    pub(super) fn answer(id: u64, answer: Answer) -> Self {
        match answer {
            Ok(reply) => Self::Answer { id, reply },
            Err(error) => Self::Failed { id, why: Failed::of(error) },
        }
    }
}

/// The bytes of a message, or why it cannot be sent.
pub(super) fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, MemoryError> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message).map_err(|e| MemoryError::Invalid(e.to_string()))?;
    let length = bytes.len() - 4;
    if length > MAX_FRAME_BYTES {
        return Err(MemoryError::Invalid(format!(
            "a message of {length} bytes between processes, the limit is {MAX_FRAME_BYTES}: write less at once"
        )));
    }
    bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(bytes)
}

/// The next message; `None` at the end of the stream.
pub(super) async fn receive<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    if let Err(e) = stream.read_exact(&mut length).await {
        return if e.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(e) };
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_FRAME_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
    }
    // Grows with what arrives, not with what was announced.
    let mut bytes = Vec::new();
    stream.take(length as u64).read_to_end(&mut bytes).await?;
    if bytes.len() < length {
        return Ok(None);
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}
