//! The newest lines of the log, kept for dashboard and terminal view.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// Takes one line, `LEVEL text`.
#[derive(Debug, Default)]
pub struct Tail(Vec<u8>);

impl Write for Tail {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.0);
        let Some((level, text)) = text.trim().split_once(' ') else { return };
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        telemetry::log::keep(at_ms, level, text.trim());
    }
}
