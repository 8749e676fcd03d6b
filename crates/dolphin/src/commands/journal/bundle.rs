//! A run in a directory of its own.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use node::error::Failure;
use node::journal::replay::runs;
use runtime::environment::{Files, SystemFiles};
use runtime::journal::library::read;
use runtime::journal::segment::{OWN, kind};

/// Copies the newest run, its header as JSON, and the files that are to go with it.
pub fn bundle(journal: &Path, out: &Path, with: &[PathBuf]) -> Result<(), Failure> {
    let all = runs(&SystemFiles, journal)?;
    let Some((run, segments)) = all.last() else {
        return Err(Failure::input(format!("{}: no run", journal.display())));
    };
    let bad = |path: &Path, e: &std::io::Error| Failure::usage(format!("{}: {e}", path.display()));
    if let Some(parent) = out.parent() {
        std::fs::create_dir_all(parent).map_err(|e| bad(parent, &e))?;
    }
    std::fs::create_dir(out).map_err(|e| bad(out, &e))?;
    let mut header = None;
    for segment in segments {
        let copy = out.join(segment.name.to_string());
        std::fs::copy(&segment.path, &copy).map_err(|e| bad(&copy, &e))?;
        let walked = read(&SystemFiles, &segment.path, |record| {
            if header.is_none() && record.stream == OWN && record.kind == kind::HEADER {
                header = serde_json::from_slice::<serde_json::Value>(record.payload).ok();
            }
            ControlFlow::Break(())
        });
        walked.map_err(|e| Failure::input(format!("{}: {e:?}", segment.path.display())))?;
    }
    for file in with {
        let name = file.file_name().unwrap_or(file.as_os_str());
        let copy = out.join(name);
        std::fs::copy(file, &copy).map_err(|e| bad(file, &e))?;
    }
    let text = serde_json::to_string_pretty(&header).unwrap_or_default();
    let path = out.join("header.json");
    SystemFiles.write(&path, &format!("{text}\n")).map_err(|e| bad(&path, &e))?;
    println!(
        "{}: run {run:013x}, {} segments, header.json and {} other files; dolphin replay --journal {} decides it again",
        out.display(),
        segments.len(),
        with.len(),
        out.display()
    );
    Ok(())
}
