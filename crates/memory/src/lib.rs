//! System memory (SPEC §9): one interface, an embedded and a Hazelcast backend, the map schema.
//!
//! Everything here is for tokio tasks, off the hot path. No failure of memory is fatal: a call that fails says why,
//! a background task restores the connection, [`WriteBehind`] keeps what could not be written, a [`Watch`] goes on
//! after an outage with what changed meanwhile.

mod backend;
mod discovery;
mod embedded;
mod environment;
mod error;
mod fence;
pub mod hazelcast;
mod kill;
mod latest;
mod lease;
mod memory;
mod request;
mod restore;
pub mod schema;
mod sink;
mod watch;
mod watcher;
mod write_behind;

pub use backend::{Backend, Status};
pub use discovery::{Discovered, discover};
pub use embedded::{EmbeddedConfig, Repair, Restore, repair, restore};
pub use environment::{Disk, LockGuard, MemoryEnvironment, SystemDisk};
pub use error::{MAX_NAME_BYTES, MAX_VALUE_BYTES, MemoryError};
pub use fence::{Fence, fence_of, stamp};
pub use hazelcast::{Credentials, HazelcastConfig, TlsConfig};
pub use kill::{
    KillOrder, KillSeen, KillState, order_kill, read_kill, rearm, restate_kill, wait_for_kill_seen,
};
pub use lease::{Lease, LeaseConfig, LeaseState, MARGIN};
pub use memory::{MemoryConfig, SystemMemory};
pub use request::{Answer, Reply, Request, Write};
pub use restore::{Restored, claim_state, restore_state};
pub use sink::{Change, MAX_WATCHED_KEYS, Sink};
pub use watch::Watch;
pub use watcher::{WatchCounts, Watcher};
pub use write_behind::{WriteBehind, WriteBehindCounts};
