//! The days, one after the other, decoded by threads of their own while the first one steps: decoding takes ten times as
//! long as stepping.
//!
//! One day a reader is in memory at most, and the one that is stepped: new memory costs as much as the decoding that fills it.
//! Their buffers go round. The order, and with it every result, is the same with any number of threads.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError, mpsc};

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
    /// Empty where no digests were asked for.
    pub(crate) files: Vec<DataFile>,
    /// Scans that were there twice.
    pub(crate) repeats: usize,
}

/// As [`each_decoded`], of files. `digest`: with the digests of its files.
pub(crate) fn each_day<T, E: From<DayError>>(
    sources: &[DaySource],
    (threads, digest): (usize, bool),
    begin: impl FnOnce() -> Result<T, E>,
    step: impl FnMut(&mut T, &Day, Origin) -> Result<ControlFlow<()>, E>,
) -> Result<T, E> {
    each_decoded(sources, threads, |source, day| read(source, day, digest), begin, step)
}

/// Calls `step` with each day in order, as `read` makes it of its source, and with what `begin` has made while the first days
/// are decoded; stops at the first error or break. An error of `begin` comes before all others.
pub(crate) fn each_decoded<S: Sync, O: Send, T, E: From<DayError>>(
    sources: &[S],
    threads: usize,
    read: impl Fn(&S, &mut Day) -> Result<O, DayError> + Sync,
    begin: impl FnOnce() -> Result<T, E>,
    mut step: impl FnMut(&mut T, &Day, O) -> Result<ControlFlow<()>, E>,
) -> Result<T, E> {
    if threads < 2 || sources.len() < 2 {
        let (mut begun, mut day) = (begin()?, Day::default());
        for source in sources {
            let origin = read(source, &mut day)?;
            if step(&mut begun, &day, origin)?.is_break() {
                break;
            }
        }
        return Ok(begun);
    }
    let readers = threads.min(sources.len());
    let (used_out, used) = mpsc::channel::<Day>();
    let used = Mutex::new(used);
    std::thread::scope(|scope| {
        // It goes with this closure, whatever ends it: a reader that waits for a buffer ends by that.
        let used_out = used_out;
        // Reader `r` decodes every `readers`-th day from the `r`-th on, and hands it over before it waits for the next buffer.
        let ends: Vec<_> = (0..readers)
            .map(|r| {
                let (days_out, days) = mpsc::sync_channel::<Result<(Day, O), DayError>>(1);
                let (used, read) = (&used, &read);
                scope.spawn(move || {
                    let mut first = Some(Day::default());
                    for source in sources.iter().skip(r).step_by(readers) {
                        let spare = || used.lock().unwrap_or_else(PoisonError::into_inner).recv().ok();
                        let Some(mut day) = first.take().or_else(spare) else { return };
                        let message = read(source, &mut day).map(|origin| (day, origin));
                        let failed = message.is_err();
                        if days_out.send(message).is_err() || failed {
                            return;
                        }
                    }
                });
                days
            })
            .collect();
        // One more than there are readers: one is stepped while each reader has its own.
        used_out.send(Day::default()).ok();
        let mut begun = begin()?;
        for n in 0..sources.len() {
            // A reader ends early only where it has sent an error.
            let Ok(message) = ends[n % readers].recv() else { break };
            let (day, origin) = message?;
            if step(&mut begun, &day, origin)?.is_break() {
                break;
            }
            // All readers may be done already: then nobody needs the buffers.
            used_out.send(day).ok();
        }
        Ok(begun)
    })
}

fn read(source: &DaySource, day: &mut Day, digest: bool) -> Result<Origin, DayError> {
    let loaded = source.load()?;
    let repeats = loaded.decode_into(day)?;
    let files = loaded.files.iter().filter(|_| digest).map(|(path, bytes)| DataFile {
        path: path.clone(),
        bytes: bytes.len() as u64,
        sha256: hex::encode(Sha256::digest(bytes)),
    });
    Ok(Origin { files: files.collect(), repeats })
}
