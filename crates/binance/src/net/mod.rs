//! Connections: thin drivers around the cores, polled from the thread that owns them. They never block, never sleep,
//! take the time as an argument, and get their byte streams from a [`Dialer`]: sockets ([`SystemDialer`]) or a
//! simulation's.

mod close;
mod conn;
mod outbox;
mod random;
mod stream;
mod system;
mod upgrade;

pub use close::CloseReason;
pub use conn::{Activity, Change, ConnConfig, ConnState, SendError, WsConn};
pub use stream::{ByteStream, Dialer, Dialing};
pub use system::{SystemDialer, tls_config};
