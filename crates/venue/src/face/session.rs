//! A connection's log-on to the WebSocket API.

use market::Nanos;

/// Who has logged on, and what replies carry.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// The connection.
    pub id: u64,
    /// When it was opened, ms.
    pub connected: u64,
    /// The key that logged on.
    pub api_key: Option<String>,
    /// When, ms.
    pub since: u64,
    /// Replies carry rate limits unless asked otherwise.
    pub rate_limits: bool,
}

impl Session {
    /// A new connection; `limits`: its replies carry rate limits.
    pub(crate) fn new(limits: bool, now: Nanos) -> Self {
        Self { id: 0, connected: now.millis(), api_key: None, since: 0, rate_limits: limits }
    }
}
