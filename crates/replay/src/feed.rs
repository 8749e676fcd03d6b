//! The days, one after the other, decoded by threads of their own while the first one steps: decoding takes ten times as
//! long as stepping.
//!
//! One day a reader is in memory at most, and the one that is stepped: new memory costs as much as the decoding that fills it.
//! Their buffers go round. The order, and with it every result, is the same with any number of threads.

use std::collections::BTreeMap;
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
    // One more than there are readers: one is stepped while each reader has its own.
    for _ in 0..=readers {
        used_out.send(Day::default()).ok();
    }
    // A day's number is taken with its buffers: the earliest day that is not there yet is always being decoded.
    let next = Mutex::new((used, 0));
    let take = || {
        let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
        let (used, n) = &mut *next;
        let source = sources.get(*n)?;
        let day = used.recv().ok()?;
        *n += 1;
        Some((*n - 1, source, day))
    };
    std::thread::scope(|scope| {
        // It goes with this closure, whatever ends it: a reader that waits for a buffer ends by that.
        let used_out = used_out;
        let (days_out, days) = mpsc::channel::<(usize, Result<(Day, O), DayError>)>();
        for _ in 0..readers {
            let (days_out, take, read) = (days_out.clone(), &take, &read);
            scope.spawn(move || {
                while let Some((n, source, mut day)) = take() {
                    let message = read(source, &mut day).map(|origin| (day, origin));
                    if days_out.send((n, message)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(days_out);
        let mut begun = begin()?;
        let mut early = BTreeMap::new();
        for n in 0..sources.len() {
            while !early.contains_key(&n)
                && let Ok((n, message)) = days.recv()
            {
                early.insert(n, message);
            }
            let Some(message) = early.remove(&n) else { break };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn days_stepped(threads: usize, bad: Option<usize>, last: usize) -> (Result<(), DayError>, Vec<usize>) {
        let sources: Vec<usize> = (0..40).collect();
        let mut stepped = Vec::new();
        let read = |&n: &usize, _: &mut Day| {
            // Some are slow, so that those after them are there before them.
            std::thread::sleep(std::time::Duration::from_micros([2_000, 0, 0, 300, 0][n % 5]));
            if bad == Some(n) { Err(DayError::Undated { path: PathBuf::new() }) } else { Ok(n) }
        };
        let step = |(): &mut (), _: &Day, n: usize| {
            stepped.push(n);
            Ok(if n == last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        };
        let done = each_decoded(&sources, threads, read, || Ok::<_, DayError>(()), step);
        (done, stepped)
    }

    #[test]
    fn days_come_in_order_up_to_the_first_error_with_any_number_of_readers() {
        for threads in 1..9 {
            let all: Vec<usize> = (0..40).collect();
            assert_eq!(days_stepped(threads, None, 99).1, all, "{threads} threads");
            assert_eq!(days_stepped(threads, None, 17).1, all[..18], "{threads} threads");
            let (done, stepped) = days_stepped(threads, Some(11), 99);
            assert!(done.is_err(), "{threads} threads");
            assert_eq!(stepped, all[..11], "{threads} threads");
        }
    }
}
