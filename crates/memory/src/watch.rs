//! Watching: every change of a key, or of a whole map, as it comes.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::backend::Backend;
use crate::sink::{Change, Sink};

/// The changes of a key or a map, from [`crate::SystemMemory::watch`]. It starts with the current values.
#[must_use = "a watch that is dropped ends"]
pub struct Watch {
    sink: Arc<Sink>,
    /// Keeps the backend running as long as somebody listens.
    _backend: Arc<dyn Backend>,
}

impl Watch {
    pub(crate) const fn new(sink: Arc<Sink>, backend: Arc<dyn Backend>) -> Self {
        Self { sink, _backend: backend }
    }

    /// The next change; waits for it, through outages too. Cancel-safe.
    pub async fn next(&mut self) -> Change {
        self.sink.next().await
    }

    /// Lets `bell` be told of every change from now on: for a reader of several watches.
    pub fn ring(&self, bell: &Arc<Notify>) {
        self.sink.set_bell(Arc::clone(bell));
    }

    /// The next change if there is one by now.
    pub fn try_next(&mut self) -> Option<Change> {
        self.sink.pop()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.sink.close();
    }
}
