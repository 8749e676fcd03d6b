//! A run in a directory of its own, for whoever is to look at it: on request, and by itself where a run ends badly.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use market::Nanos;
use runtime::clock::Clock;
use runtime::environment::Files;
use runtime::journal::library::Found;
use runtime::journal::segment::{OWN, kind};
use serde::Serialize;
use serde_json::Value;

use super::replay::runs;
use crate::error::Failure;

/// Bundles that are kept beside a journal; the oldest one makes room.
const KEPT: u32 = 5;
/// Directory of the bundles, in that of the journal.
const POST_MORTEM: &str = "post-mortem";
/// A bundle reaches back at least so far, s, where the journal does.
const BACK_S: u64 = 600;
/// Lines of the log.
const LINES: usize = 1_000;

/// A run that was copied.
#[derive(Debug, Clone, Copy)]
pub struct Copied {
    /// The run.
    pub run: u64,
    /// Segments of it.
    pub segments: usize,
}

/// Copies a run (`None`: the newest one) to `out`: its segments, and `header.json` with its configuration. `back_s`: only
/// those that are needed to reach so far back from its end; each begins with a state.
pub fn copy(
    files: &dyn Files,
    journal: &Path,
    (run, back_s): (Option<u64>, Option<u64>),
    out: &Path,
) -> Result<Copied, Failure> {
    let all = runs(files, journal)?;
    let wanted = all.iter().rev().find(|(found, _)| run.is_none_or(|run| run == *found));
    let Some((run, segments)) = wanted else {
        return Err(Failure::input(format!("{}: the run has no segment there", journal.display())));
    };
    let bad = |path: &Path, e: &std::io::Error| Failure::usage(format!("{}: {e}", path.display()));
    let mut header = Value::Null;
    let segments = newest(segments, back_s);
    for (n, segment) in segments.iter().enumerate() {
        let bytes = files.read_bytes(&segment.path).map_err(|e| bad(&segment.path, &e))?;
        let bytes = bytes.unwrap_or_default();
        if n == 0 {
            runtime::journal::segment::walk(&bytes, |record| {
                if record.stream == OWN && record.kind == kind::HEADER {
                    header = serde_json::from_slice(record.payload).unwrap_or_default();
                }
                ControlFlow::Break(())
            });
            // Makes the directory.
            let path = out.join("header.json");
            files.write(&path, &pretty(&header)).map_err(|e| bad(&path, &e))?;
        }
        let copy = out.join(segment.name.to_string());
        files.write_bytes(&copy, &bytes).map_err(|e| bad(&copy, &e))?;
    }
    Ok(Copied { run: *run, segments: segments.len() })
}

/// Those from the last one on that was begun so long before the newest.
fn newest(segments: &[Found], back_s: Option<u64>) -> &[Found] {
    let Some((back_s, last)) = back_s.zip(segments.last()) else { return segments };
    let from = last.name.start_s.saturating_sub(back_s);
    let first = segments.iter().rposition(|s| s.name.start_s <= from).unwrap_or(0);
    &segments[first..]
}

fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// Leaves what a run that ended badly is looked into with.
#[derive(Debug, Clone)]
pub struct PostMortem {
    /// Where files are.
    pub files: Arc<dyn Files>,
    /// The run's clock.
    pub clock: Clock,
    /// Directory of the journal.
    pub journal: PathBuf,
    /// The run.
    pub run: u64,
    /// The file of the local state, where there is one.
    pub state: Option<PathBuf>,
}

impl PostMortem {
    /// The last minutes of the journal with the configuration that ran, the log, the state and what the run came to. It fails
    /// nothing: what cannot be written is said.
    pub fn leave(&self, why: &str, summary: &impl Serialize) {
        match self.write(why, summary) {
            Ok(out) => tracing::error!(
                "for the post mortem: {0}; `dolphin replay --journal {0}` decides it again",
                out.display()
            ),
            Err(e) => tracing::error!("nothing could be left for the post mortem: {}", e.message),
        }
    }

    fn write(&self, why: &str, summary: &impl Serialize) -> Result<PathBuf, Failure> {
        let files = &*self.files;
        let out = self.place();
        let bad = |e: std::io::Error| Failure::unavailable(format!("{}: {e}", out.display()));
        files.remove_dir(&out).map_err(bad)?;
        copy(files, &self.journal, (Some(self.run), Some(BACK_S)), &out)?;
        let log = telemetry::log::tail(LINES);
        let lines = log.iter().map(|l| format!("{} {} {}\n", l.at_ms, l.level, l.text));
        let state = self.state.as_ref().and_then(|path| files.read(path).ok().flatten());
        let about = serde_json::json!({
            "why": why,
            "at_ms": self.clock.wall_ns() / Nanos::MS,
            "run": format!("{:013x}", self.run),
            "version": env!("CARGO_PKG_VERSION"),
        });
        let texts = [
            (WHY, Some(pretty(&about))),
            ("log.txt", Some(lines.collect())),
            ("summary.json", Some(pretty(summary))),
            ("state.json", state),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                files.write(&out.join(name), &text).map_err(bad)?;
            }
        }
        Ok(out)
    }

    /// The first place that is free, else that of the oldest bundle.
    fn place(&self) -> PathBuf {
        let at = |n: u32| self.journal.join(POST_MORTEM).join(n.to_string());
        let age = |n: &u32| -> u64 {
            let about = self.files.read(&at(*n).join(WHY)).ok().flatten();
            let about = about.and_then(|text| serde_json::from_str::<Value>(&text).ok());
            about.and_then(|about| about["at_ms"].as_u64()).unwrap_or(0)
        };
        at((1..=KEPT).min_by_key(age).unwrap_or(1))
    }
}

/// Why, and when.
const WHY: &str = "why.json";

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::journal::library::Name;

    #[test]
    fn as_many_segments_as_reach_back_and_no_more() {
        let found = |number, start_s| {
            let name = Name { start_s, run: 1, number, sealed: true };
            Found { path: PathBuf::from(name.to_string()), name, bytes: 0 }
        };
        let all = [found(0, 100), found(1, 400), found(2, 900), found(3, 1000)];
        let first = |back_s| newest(&all, back_s).first().map(|f| f.name.number);
        assert_eq!((first(None), first(Some(0)), first(Some(100))), (Some(0), Some(3), Some(2)));
        assert_eq!((first(Some(101)), first(Some(600)), first(Some(5_000))), (Some(1), Some(1), Some(0)));
        assert!(newest(&[], Some(1)).is_empty());
    }
}
