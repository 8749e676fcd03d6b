//! Sockets: thin drivers around the cores, polled from the thread that owns them. They never block, never sleep and
//! take the time as an argument.

mod conn;
mod dial;
mod outbox;
mod tls;

pub use conn::{Activity, Change, ConnConfig, ConnState, SendError, WsConn};
pub use dial::CloseReason;
pub use tls::tls_config;
