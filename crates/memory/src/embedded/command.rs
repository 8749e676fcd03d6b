//! What travels to whoever owns the store: from tasks, and from other processes over the socket.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::request::{Answer, Request};
use crate::sink::{Sink, Target};

/// A request, or the wish to follow something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Ask {
    /// Registers the sink of the [`Command`]; answers with the current entries, read in the same instant.
    Watch {
        watch: Target,
    },
    Call(Request),
}

impl Ask {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Watch { .. } => "watch",
            Self::Call(request) => request.name(),
        }
    }
}

/// On its way to whoever owns the store.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) ask: Ask,
    /// Of an [`Ask::Watch`].
    pub(super) sink: Option<Arc<Sink>>,
    pub(super) answer: oneshot::Sender<Answer>,
}
