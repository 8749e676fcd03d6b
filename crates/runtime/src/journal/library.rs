//! The segments of a directory: their names, what is missing between them, and which are too old.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::frame::Record;
use super::segment::{Condition, OWN, kind, walk};
use crate::environment::Files;

/// Where segments go, how large they become, and how long they stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Directory.
    pub dir: PathBuf,
    /// A segment is closed once it holds this much, bytes before compression.
    pub segment_bytes: u64,
    /// Segments begun before this many days are removed.
    pub days: u64,
    /// Together they take no more than this, bytes.
    pub max_bytes: u64,
    /// What was written is synced after this at the latest, ns.
    pub fsync_ns: u64,
}

/// The name of a segment's file; where the clock is not set back, the order of names is that of the segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// When it was begun, seconds since 1970 by the wall clock.
    pub start_s: u64,
    /// The run.
    pub run: u64,
    /// Its number in the run.
    pub number: u32,
    /// Sealed.
    pub sealed: bool,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.sealed { "djz" } else { "dj" };
        write!(f, "{:010}-{:013x}-{:06}.{end}", self.start_s, self.run, self.number)
    }
}

impl Name {
    /// Of a file's name; `None`: it is another file.
    pub fn parse(text: &str) -> Option<Self> {
        let (stem, end) = text.split_once('.')?;
        let sealed = match end {
            "dj" => false,
            "djz" => true,
            _ => return None,
        };
        let mut parts = stem.split('-');
        let start_s = parts.next()?.parse().ok()?;
        let run = u64::from_str_radix(parts.next()?, 16).ok()?;
        let number = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Self { start_s, run, number, sealed })
    }
}

/// A segment that lies there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub path: PathBuf,
    /// Its name.
    pub name: Name,
    /// Size of the file.
    pub bytes: u64,
}

/// All segments of a directory, in order; of one that lies there open and sealed, as a kill between the two leaves it,
/// the sealed one.
pub fn segments(files: &dyn Files, dir: &Path) -> io::Result<Vec<Found>> {
    let mut found: BTreeMap<(u64, u32), Found> = BTreeMap::new();
    for (file, bytes) in files.list(dir)? {
        if let Some(name) = Name::parse(&file) {
            let one = Found { path: dir.join(&file), name, bytes };
            let slot = found.entry((name.run, name.number)).or_insert_with(|| one.clone());
            if name.sealed {
                *slot = one;
            }
        }
    }
    // Within a run by number: a clock that was set back gives a later segment an earlier time.
    let mut begun: BTreeMap<u64, u64> = BTreeMap::new();
    for ((run, _), one) in &found {
        begun.entry(*run).or_insert(one.name.start_s);
    }
    let mut found: Vec<Found> = found.into_values().collect();
    found.sort_by_key(|f| (begun.get(&f.name.run).copied(), f.name.run, f.name.number));
    Ok(found)
}

/// Removes the oldest segments until the rest is within the limits; never `open`. Says which.
pub fn trim(files: &dyn Files, limits: &Limits, wall_s: u64, open: Option<Name>) -> io::Result<Vec<Found>> {
    let all = segments(files, &limits.dir)?;
    let mut total: u64 = all.iter().map(|f| f.bytes).sum();
    let oldest = wall_s.saturating_sub(limits.days.saturating_mul(86_400));
    let mut removed = Vec::new();
    for found in all {
        let too_old = found.name.start_s < oldest;
        if Some(found.name) == open {
            continue;
        }
        // From the front: nothing is taken out of the middle of a run.
        if !(too_old || total > limits.max_bytes) {
            break;
        }
        files.remove(&found.path)?;
        total -= found.bytes;
        removed.push(found);
    }
    Ok(removed)
}

/// Records that are missing in a stream.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Gap {
    /// The stream.
    pub stream: u8,
    /// First number that is missing.
    pub first: u64,
    /// Last number that is missing.
    pub last: u64,
    /// The journal knew of it: a full ring or a failing disk. Else it is damage or a missing segment.
    pub known: bool,
}

/// Follows the numbers of the streams of a run through its segments.
#[derive(Debug, Default)]
pub struct Numbers {
    newest: BTreeMap<u8, u64>,
    holes: Vec<(u8, u64, u64)>,
    /// What was before the first segment is not kept: each stream begins with the first number of it that comes.
    trimmed: bool,
    /// What was found missing.
    pub gaps: Vec<Gap>,
}

impl Numbers {
    /// Of a run whose segments begin with this number: those before it were trimmed.
    pub fn from_segment(number: u32) -> Self {
        Self { trimmed: number > 0, ..Self::default() }
    }

    /// Newest number of a stream.
    pub fn newest(&self, stream: u8) -> u64 {
        self.newest.get(&stream).copied().unwrap_or(0)
    }

    /// A state holds everything up to `seq`: what is missing before it is told, and the stream goes on behind it.
    pub fn skip_to(&mut self, stream: u8, seq: u64) {
        let newest = self.newest(stream);
        if seq > newest {
            let (first, last) = (newest + 1, seq);
            if newest > 0 {
                let known = self.holes.iter().any(|h| h.0 == stream && h.1 == first);
                self.gaps.push(Gap { stream, first, last, known });
            }
            self.newest.insert(stream, seq);
        }
    }

    /// Looks at a record; `false`: its number is not above those before it, and it must not be used.
    pub fn follow(&mut self, record: &Record<'_>) -> bool {
        if record.stream == OWN {
            if record.kind == kind::HOLE
                && let Some((stream, first, last)) = hole(record.payload)
            {
                self.holes.push((stream, first, last));
            }
            return true;
        }
        let newest = self.newest.entry(record.stream).or_default();
        if record.seq <= *newest {
            return false;
        }
        let (stream, last) = (record.stream, record.seq - 1);
        let mut first = *newest + 1;
        if *newest == 0 && self.trimmed {
            // Missing is only what the journal itself says so.
            let told = self.holes.iter().find(|h| h.0 == stream && h.2 == last);
            first = told.map_or(record.seq, |h| h.1);
        }
        *newest = record.seq;
        if first <= last {
            let known = self.holes.contains(&(stream, first, last));
            self.gaps.push(Gap { stream, first, last, known });
        }
        true
    }
}

/// Stream, first and last number of a hole record.
pub fn hole(payload: &[u8]) -> Option<(u8, u64, u64)> {
    let (stream, rest) = payload.split_first()?;
    let (first, last) = rest.split_at_checked(8)?;
    Some((*stream, u64::from_le_bytes(first.try_into().ok()?), u64::from_le_bytes(last.try_into().ok()?)))
}

/// Name and bytes of a state record.
pub fn state(payload: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = payload.split_first()?;
    let (name, part) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(name).ok()?, part))
}

/// Why a segment cannot be read at all.
#[derive(Debug)]
pub enum ReadError {
    /// The file.
    Io(io::Error),
    /// It is gone.
    Gone,
}

/// Hands the records of a segment on.
pub fn read(
    files: &dyn Files,
    path: &Path,
    take: impl FnMut(Record<'_>) -> ControlFlow<()>,
) -> Result<Condition, ReadError> {
    let bytes = files.read_bytes(path).map_err(ReadError::Io)?.ok_or(ReadError::Gone)?;
    Ok(walk(&bytes, take))
}
