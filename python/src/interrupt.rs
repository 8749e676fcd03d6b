//! Long work on a thread of its own, so that Python goes on meanwhile and Ctrl-C is heard at once: the caller looks for
//! signals twenty times a second, whatever the work is doing; the work looks at the flag when it can, and ends by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use pyo3::prelude::*;

use crate::error::DolphinError;

const LOOK: Duration = Duration::from_millis(50);

/// Set when the caller has gone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs `work` with Python released.
pub(crate) fn run<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce(&Cancel) -> T + Send + 'static,
) -> PyResult<T> {
    let cancel = Cancel::default();
    let (tell, told) = channel();
    let ours = cancel.clone();
    let thread = std::thread::Builder::new().name("dolphin_engine".to_owned()).spawn(move || {
        // Nobody listens any more after Ctrl-C.
        tell.send(work(&ours)).ok();
    });
    thread.map_err(|e| DolphinError::new_err(format!("cannot start a thread: {e}")))?;
    py.detach(move || {
        loop {
            match told.recv_timeout(LOOK) {
                Ok(result) => return Ok(result),
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(signal) = Python::attach(|py| py.check_signals()) {
                        cancel.0.store(true, Ordering::Relaxed);
                        return Err(signal);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(DolphinError::new_err("an internal error ended the work; see stderr"));
                }
            }
        }
    })
}
