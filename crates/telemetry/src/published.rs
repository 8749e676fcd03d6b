//! Where a node publishes, and where everybody who looks takes the newest state from.

use std::sync::Arc;

use tokio::sync::watch;

use crate::state::State;

/// The newest state of a process. The node replaces a pointer; a reader copies it.
#[derive(Debug)]
pub struct Published(watch::Sender<Arc<State>>);

impl Default for Published {
    fn default() -> Self {
        Self(watch::Sender::new(Arc::default()))
    }
}

impl Published {
    /// Makes `state` the newest one.
    pub fn publish(&self, state: State) {
        self.0.send_replace(Arc::new(state));
    }

    /// The newest one; before the first an empty one, which is not armed.
    pub fn newest(&self) -> Arc<State> {
        Arc::clone(&self.0.borrow())
    }

    /// Tells of each new one; what is not looked at in time is skipped.
    pub fn subscribe(&self) -> watch::Receiver<Arc<State>> {
        self.0.subscribe()
    }
}
