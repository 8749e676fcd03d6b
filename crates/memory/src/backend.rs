//! What a memory has to be able to do. The embedded store and the Hazelcast client are backends; a simulation brings
//! another one.

use std::fmt::Debug;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::environment::LockGuard;
use crate::error::MemoryError;
use crate::request::{Answer, Request};
use crate::sink::Sink;

/// How memory is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Does somebody answer?
    pub connected: bool,
    /// Who, or why not.
    pub detail: String,
}

/// A memory. Every call ends by itself within the backend's time limit; [`MemoryError::is_outage`] tells a memory that
/// is away from a request that is refused.
pub trait Backend: Send + Sync + Debug {
    /// How memory is doing.
    fn status(&self) -> Status;

    /// Carries a request out. When an answer without an error is there, memory has what was written.
    fn call(&self, request: Request) -> BoxFuture<'_, Answer>;

    /// Follows a map, or one key of it: the changes go to the sink (its documentation says how), through outages, until
    /// it is closed.
    fn watch(&self, map: &str, key: Option<&str>) -> Arc<Sink>;

    /// Lets go of what it holds: files are complete and free, and a copy is made, when this returns. It answers nothing
    /// afterwards.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// The lock of this name, for processes that cannot but be on one machine: whoever has it knows that no living process
    /// had it before and still does. `None`: somebody has it, or the backend has no such thing.
    fn lock<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<LockGuard>> {
        let _ = name;
        Box::pin(std::future::ready(None))
    }

    /// The value of a CP atomic reference; `None` where there is no such thing, or nothing in it: the map counts then.
    fn reference<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<String>, MemoryError>> {
        let _ = name;
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Sets a CP atomic reference, where there is such a thing.
    fn set_reference<'a>(&'a self, name: &'a str, value: &'a str) -> BoxFuture<'a, Result<(), MemoryError>> {
        let _ = (name, value);
        Box::pin(std::future::ready(Ok(())))
    }
}
