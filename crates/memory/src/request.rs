//! What the embedded store is asked and answers: between tasks, and between processes over its socket.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::error::MemoryError;
use crate::watch::Sink;

/// A value for a key of a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// Map.
    pub map: String,
    /// Key.
    pub key: String,
    /// Text.
    pub value: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum Request {
    Get {
        map: String,
        key: String,
    },
    PutAll {
        writes: Vec<Write>,
    },
    Remove {
        map: String,
        key: String,
    },
    Keys {
        map: String,
    },
    Entries {
        map: String,
    },
    CompareAndSet {
        map: String,
        key: String,
        expected: Option<String>,
        new: String,
    },
    /// Registers the sink of the [`Command`]; answers with the current entries, read in the same instant.
    Watch {
        map: String,
        key: Option<String>,
    },
}

impl Request {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Get { .. } => "get",
            Self::PutAll { .. } => "put",
            Self::Remove { .. } => "remove",
            Self::Keys { .. } => "keys",
            Self::Entries { .. } => "entries",
            Self::CompareAndSet { .. } => "compare and set",
            Self::Watch { .. } => "watch",
        }
    }

    /// May it be sent again when nobody knows whether it was carried out?
    pub(crate) const fn is_idempotent(&self) -> bool {
        !matches!(self, Self::CompareAndSet { .. })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    Value(Option<String>),
    Done,
    Keys(Vec<String>),
    Entries(Vec<(String, String)>),
    Swapped(bool),
}

pub(crate) type Answer = Result<Reply, MemoryError>;

/// A request on its way to whoever owns the store.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) request: Request,
    /// Of a [`Request::Watch`].
    pub(crate) sink: Option<Arc<Sink>>,
    pub(crate) answer: oneshot::Sender<Answer>,
}
