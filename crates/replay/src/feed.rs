//! The days, one after the other, decoded by threads of their own while the first one steps: decoding takes ten times as
//! long as stepping.
//!
//! Two days a reader are in memory at most: the one handed over and the next. Their buffers go round. The order, and with
//! it every result, is the same with any number of threads.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::mpsc;

use archive::day::{Day, DayError, DaySource};
use sha2::{Digest, Sha256};

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DataFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its size, bytes.
    pub bytes: u64,
    /// SHA-256 of its content, hex.
    pub sha256: String,
}

/// What is known of a day beside its rows.
pub(crate) struct Origin {
    pub(crate) files: Vec<DataFile>,
    /// Scans that were there twice.
    pub(crate) repeats: usize,
}

/// Hands each day to `step` in order; stops at the first error or break.
pub(crate) fn each_day<E: From<DayError>>(
    sources: &[DaySource],
    threads: usize,
    mut step: impl FnMut(&Day, Origin) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    if threads < 2 || sources.len() < 2 {
        let mut day = Day::default();
        for source in sources {
            let origin = read(source, &mut day)?;
            if step(&day, origin)?.is_break() {
                break;
            }
        }
        return Ok(());
    }
    let readers = threads.min(sources.len());
    std::thread::scope(|scope| {
        // Reader `r` decodes every `readers`-th day from the `r`-th on. A rendezvous each: it holds its next day and waits.
        let ends: Vec<_> = (0..readers)
            .map(|r| {
                let (days_out, days) = mpsc::sync_channel::<Result<(Day, Origin), DayError>>(0);
                let (used_out, used) = mpsc::channel::<Day>();
                scope.spawn(move || {
                    for (n, source) in sources.iter().skip(r).step_by(readers).enumerate() {
                        let spare = if n < 2 { Some(Day::default()) } else { used.recv().ok() };
                        let Some(mut day) = spare else { return };
                        let message = read(source, &mut day).map(|origin| (day, origin));
                        let failed = message.is_err();
                        if days_out.send(message).is_err() || failed {
                            return;
                        }
                    }
                });
                (days, used_out)
            })
            .collect();
        for n in 0..sources.len() {
            let (days, used_out) = &ends[n % readers];
            // A reader ends early only where it has sent an error.
            let Ok(message) = days.recv() else { break };
            let (day, origin) = message?;
            if step(&day, origin)?.is_break() {
                break;
            }
            // The reader may be gone already: then nobody needs the buffers.
            used_out.send(day).ok();
        }
        Ok(())
    })
}

fn read(source: &DaySource, day: &mut Day) -> Result<Origin, DayError> {
    let loaded = source.load()?;
    let repeats = loaded.decode_into(day)?;
    let files = loaded.files.iter().map(|(path, bytes)| DataFile {
        path: path.clone(),
        bytes: bytes.len() as u64,
        sha256: hex::encode(Sha256::digest(bytes)),
    });
    Ok(Origin { files: files.collect(), repeats })
}
