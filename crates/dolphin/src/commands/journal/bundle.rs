//! A run in a directory of its own.

use std::path::{Path, PathBuf};

use node::error::Failure;
use node::journal::bundle::copy;
use runtime::environment::SystemFiles;

/// Copies the newest run, its header as JSON, and the files that are to go with it.
pub fn bundle(journal: &Path, out: &Path, with: &[PathBuf]) -> Result<(), Failure> {
    if out.exists() {
        return Err(Failure::usage(format!("{} is there already", out.display())));
    }
    let copied = copy(&SystemFiles, journal, (None, None), out)?;
    for file in with {
        let name = file.file_name().unwrap_or(file.as_os_str());
        let copy = out.join(name);
        std::fs::copy(file, &copy).map_err(|e| Failure::usage(format!("{}: {e}", file.display())))?;
    }
    println!(
        "{}: run {:013x}, {} segments, header.json and {} other files; dolphin replay --journal {} decides it again",
        out.display(),
        copied.run,
        copied.segments,
        with.len(),
        out.display()
    );
    Ok(())
}
