//! Text for people on stderr, written by a thread of its own: whoever says something never waits for its reader.
//!
//! A pipe that is full blocks its writer, and a terminal that has gone refuses it. Neither may stop a worker that trades or
//! the thread that cancels orders: a line is handed over, or lost and counted; a reader that has gone loses everything.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

/// Lines that may wait for the reader.
const LINES: usize = 4_096;

enum Message {
    Text(Vec<u8>),
    /// Everything before it has been written.
    Done(Sender<()>),
}

/// The handing-over end.
#[derive(Debug)]
struct Console {
    lines: SyncSender<Message>,
    lost: AtomicU64,
}

static STDERR: OnceLock<Console> = OnceLock::new();

impl Console {
    const fn new(lines: SyncSender<Message>) -> Self {
        Self { lines, lost: AtomicU64::new(0) }
    }

    fn put(&self, text: &[u8]) {
        if self.lines.try_send(Message::Text(text.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what is handed over until the last sender is gone. Errors end nothing: the reader may have gone.
    fn write(&self, lines: &Receiver<Message>, mut out: impl Write) {
        for message in lines {
            match message {
                Message::Text(text) => {
                    let lost = self.lost.swap(0, Ordering::Relaxed);
                    if lost > 0 {
                        let _ = writeln!(out, "({lost} lines are missing here: they were not read in time)");
                    }
                    let _ = out.write_all(&text).and_then(|()| out.flush());
                }
                Message::Done(done) => {
                    // Nobody may wait any more.
                    let _ = done.send(());
                }
            }
        }
    }

    fn flush(&self, within: Duration) {
        let (done, written) = channel();
        let until = Instant::now() + within;
        let mut message = Message::Done(done);
        while let Err(error) = self.lines.try_send(message) {
            let (std::sync::mpsc::TrySendError::Full(back)
            | std::sync::mpsc::TrySendError::Disconnected(back)) = error;
            message = back;
            if Instant::now() >= until {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = written.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

/// Begins to write stderr from a thread of its own. Without it, and where there can be no thread, texts are written by
/// whoever says them.
pub fn start() {
    let (sender, lines) = sync_channel(LINES);
    if STDERR.set(Console::new(sender)).is_err() {
        return;
    }
    let run = move || {
        if let Some(console) = STDERR.get() {
            console.write(&lines, io::stderr());
        }
    };
    // Without the thread nothing is read, and what finds no room is lost: as with a reader that has gone.
    drop(std::thread::Builder::new().name("console".to_owned()).spawn(run));
}

/// Says a text.
pub fn text(text: &str) {
    match STDERR.get() {
        Some(console) => console.put(text.as_bytes()),
        None => drop(io::stderr().write_all(text.as_bytes())),
    }
}

/// Says a line.
pub fn line(line: &str) {
    text(&format!("{line}\n"));
}

/// Waits until all that was said has been written, no longer than this.
pub fn flush(within: Duration) {
    if let Some(console) = STDERR.get() {
        console.flush(within);
    }
}

/// Where a logger writes: one record a call. It never fails and never waits.
#[derive(Debug, Clone, Copy, Default)]
pub struct Log;

impl Write for Log {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        match STDERR.get() {
            Some(console) => console.put(record),
            None => drop(io::stderr().write_all(record)),
        }
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A reader that reads nothing until it is let.
    struct Pipe {
        open: Receiver<()>,
        opened: bool,
        read: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if !std::mem::replace(&mut self.opened, true) {
                self.open.recv().unwrap();
            }
            self.read.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_blocked_reader_holds_nobody_up_and_is_told_what_it_missed() {
        let (sender, lines) = sync_channel(2);
        let console = Arc::new(Console::new(sender));
        let (open, opens) = channel();
        let read = Arc::new(Mutex::new(Vec::new()));
        let pipe = Pipe { open: opens, opened: false, read: Arc::clone(&read) };
        let writer = Arc::clone(&console);
        std::thread::spawn(move || writer.write(&lines, pipe));
        let began = Instant::now();
        (0..1_000).for_each(|i| console.put(format!("line {i}\n").as_bytes()));
        console.flush(Duration::from_millis(20));
        assert!(began.elapsed() < Duration::from_secs(5));
        open.send(()).unwrap();
        console.flush(Duration::from_secs(10));
        console.put(b"last\n");
        console.flush(Duration::from_secs(10));
        let text = String::from_utf8(read.lock().unwrap().clone()).unwrap();
        assert!(text.contains("line 0\n") && text.ends_with("last\n"), "{text}");
        assert!(text.contains("lines are missing here"), "{text}");
    }

    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_gone_ends_nothing() {
        let (sender, lines) = sync_channel(2);
        let console = Arc::new(Console::new(sender));
        let writer = Arc::clone(&console);
        std::thread::spawn(move || writer.write(&lines, Gone));
        for _ in 0..100 {
            console.put(b"x\n");
            console.flush(Duration::from_secs(10));
        }
        assert_eq!(console.lost.load(Ordering::Relaxed), 0, "they were taken, and dropped behind");
    }
}
