//! A way to cut a TCP connection from outside.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::Waker;

/// What a connection is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Use {
    /// REST.
    Rest = 0,
    /// A WebSocket.
    Socket = 1,
    /// The operator's: no fault touches it.
    Operator = 2,
}

/// A way to cut a TCP connection from outside.
#[derive(Debug, Default)]
pub(super) struct Cut {
    reset: AtomicBool,
    silent: AtomicBool,
    used_for: AtomicU8,
    /// The task that polls the connection.
    waker: Mutex<Option<Waker>>,
}

impl Cut {
    /// Remembers who polls the connection.
    pub(super) fn polled_by(&self, waker: &Waker) {
        *self.waker.lock().expect("no panic holds it") = Some(waker.clone());
    }

    /// Resets the connection.
    pub(super) fn reset(&self) {
        self.reset.store(true, Ordering::Relaxed);
        if let Some(w) = self.waker.lock().expect("no panic holds it").take() {
            w.wake();
        }
    }

    /// From now on nothing is read or sent; the connection stays open.
    pub(super) fn silence(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_reset(&self) -> bool {
        self.reset.load(Ordering::Relaxed)
    }

    pub(super) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    pub(super) fn use_for(&self, what: Use) {
        self.used_for.store(what as u8, Ordering::Relaxed);
    }

    pub(super) fn is_rest(&self) -> bool {
        self.used_for.load(Ordering::Relaxed) == Use::Rest as u8
    }
}
