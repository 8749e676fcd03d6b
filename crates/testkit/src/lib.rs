//! What tests share: the place of the test data, real Hazelcast members, and a plain word when they are not there.

pub mod hazelcast;

use std::io::Write;
use std::path::{Path, PathBuf};

/// The folder of third-party test data: `$DOLPHIN_SHARED`, else `shared` beside the repository.
pub fn shared_root() -> PathBuf {
    match std::env::var_os("DOLPHIN_SHARED") {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
    }
}

/// A file or folder below `shared/data`, or `None` with a line `skipped: …` on the real stderr (the test
/// harness swallows only the print macros), so that a test without its data is seen as skipped, not passed.
pub fn shared_data(relative: &str) -> Option<PathBuf> {
    let path = shared_root().join("data").join(relative);
    if path.exists() {
        return Some(path);
    }
    skipped(&format!("{} is not there", path.display()));
    None
}

/// Says on the real stderr, past the test harness, why the present test proves nothing.
pub fn skipped(reason: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("skipped: {test}: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).ok();
}
