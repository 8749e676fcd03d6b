//! What the commands print. A reader of stdout that goes away (`dolphin topology | head`) ends nothing and is no error;
//! stderr is written by `runtime::console`, which nobody waits for.
//!
//! The macros stand in the place of std's, which panic where they cannot write.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Something could not be written for another reason than a reader that has gone.
static FAILED: AtomicBool = AtomicBool::new(false);

/// To stdout.
pub fn text(text: fmt::Arguments<'_>) {
    let written = io::stdout().lock().write_fmt(text);
    note(written);
}

/// What is still buffered, at the end; `false`: not everything that was printed has been written.
pub fn finish() -> bool {
    note(io::stdout().lock().flush());
    !FAILED.load(Ordering::Relaxed)
}

fn note(written: io::Result<()>) {
    match written {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe && !FAILED.swap(true, Ordering::Relaxed) => {
            runtime::console::line(&format!("dolphin: cannot write to stdout: {e}"));
        }
        _ => {}
    }
}

macro_rules! print {
    ($($text:tt)*) => { $crate::out::text(format_args!($($text)*)) };
}

macro_rules! println {
    () => { $crate::out::text(format_args!("\n")) };
    ($($text:tt)*) => { $crate::out::text(format_args!("{}\n", format_args!($($text)*))) };
}

macro_rules! eprint {
    ($($text:tt)*) => { ::runtime::console::text(&format!($($text)*)) };
}

macro_rules! eprintln {
    ($($text:tt)*) => { ::runtime::console::line(&format!($($text)*)) };
}
