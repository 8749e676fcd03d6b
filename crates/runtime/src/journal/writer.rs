//! The writer: records into segments, with rotation, sealing, retention, and disks that fail.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::frame::{self, MAX_PAYLOAD, Record};
use super::library::{self, Found, Limits, Name};
use super::segment::{OPEN_MARK, OWN, Packer, STREAMS, kind, walk};
use crate::environment::{AppendFile, Files, Room};

/// After an error the disk is tried again after this.
const RETRY_NS: u64 = 1_000_000_000;
/// Payload of a part of a state.
const PART: usize = 1 << 20;

/// What the journal tells everybody else. Counters of their own: relaxed.
#[derive(Debug, Default)]
pub struct Status {
    records: AtomicU64,
    lost: AtomicU64,
    bytes: AtomicU64,
    segments: AtomicU64,
    waiting: AtomicU64,
    syncs: AtomicU64,
    sync_ns: AtomicU64,
    longest_sync_ns: AtomicU64,
    room: (AtomicU64, AtomicU64),
    failing: AtomicBool,
}

impl Status {
    /// Records written.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }
    /// Records lost: a ring was full, or the disk failed.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
    /// Bytes written, before compression.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
    /// Segments begun.
    pub fn segments(&self) -> u64 {
        self.segments.load(Ordering::Relaxed)
    }
    /// Records that waited in the links when they were looked at last.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }
    /// Times that the disk was asked to keep what was written, the time that it took in all, and the longest, ns.
    pub fn syncs(&self) -> (u64, u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.syncs), read(&self.sync_ns), read(&self.longest_sync_ns))
    }
    /// Room on its disk; `None`: not known.
    pub fn room(&self) -> Option<Room> {
        let (free, size) = (self.room.0.load(Ordering::Relaxed), self.room.1.load(Ordering::Relaxed));
        (size > 0).then_some(Room { free, size })
    }
    /// The writer's thread saw so many records wait in its links.
    pub fn waits(&self, records: u64) {
        self.waiting.store(records, Ordering::Relaxed);
    }
    /// The disk has kept what was written, which took so long.
    pub fn synced(&self, took_ns: u64) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.sync_ns.fetch_add(took_ns, Ordering::Relaxed);
        self.longest_sync_ns.fetch_max(took_ns, Ordering::Relaxed);
    }
    /// There is so much room on its disk.
    pub fn has_room(&self, room: Option<Room>) {
        let Room { free, size } = room.unwrap_or(Room { free: 0, size: 0 });
        self.room.0.store(free, Ordering::Relaxed);
        self.room.1.store(size, Ordering::Relaxed);
    }
    /// Can nothing be written at present?
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }
}

struct Open {
    name: Name,
    file: Box<dyn AppendFile>,
    /// Whole records that are not in the file yet.
    pending: Vec<u8>,
    sealed: SealedFile,
    bytes: u64,
    records: u64,
    /// The file has bytes that are not synced, the oldest since this time.
    dirty_since: Option<u64>,
}

/// The sealed form of a segment, which grows beside it under a name of its own: all of it never lies in memory.
struct SealedFile {
    file: Box<dyn AppendFile>,
    packer: Packer,
}

/// What is appended to the name of a sealed segment until it is whole.
const UNFINISHED: &str = ".new";

fn unfinished(dir: &Path, name: Name) -> PathBuf {
    dir.join(format!("{}{UNFINISHED}", Name { sealed: true, ..name }))
}

impl SealedFile {
    fn begin(files: &dyn Files, dir: &Path, name: Name) -> io::Result<Self> {
        Ok(Self { file: files.append(&unfinished(dir, name))?, packer: Packer::default() })
    }

    /// Brings what is packed to the file.
    fn flush(&mut self) -> io::Result<()> {
        let packed = self.packer.take();
        if packed.is_empty() { Ok(()) } else { self.file.write_all(&packed) }
    }

    /// The sealed file stands before the open one is removed.
    fn finish(self, files: &dyn Files, dir: &Path, name: Name) -> io::Result<()> {
        let Self { mut file, packer } = self;
        file.write_all(&packer.finish())?;
        file.sync()?;
        drop(file);
        files.rename(&unfinished(dir, name), &dir.join(Name { sealed: true, ..name }.to_string()))?;
        files.remove(&dir.join(name.to_string()))
    }
}

/// The writer of one run.
pub struct Writer {
    files: Arc<dyn Files>,
    limits: Limits,
    run: u64,
    header: Vec<u8>,
    number: u32,
    open: Option<Open>,
    /// Newest number taken and newest number in a file, by stream.
    taken: [u64; STREAMS],
    written: [u64; STREAMS],
    /// While the disk fails: when it is tried again.
    retry_at: Option<u64>,
    status: Arc<Status>,
}

impl Writer {
    /// For a run; `header` is told at the beginning of each segment. Nothing is written before [`Self::begin`].
    pub fn new(files: Arc<dyn Files>, limits: Limits, run: u64, header: Vec<u8>) -> Self {
        Self {
            files,
            limits,
            run,
            header,
            number: 0,
            open: None,
            taken: [0; STREAMS],
            written: [0; STREAMS],
            retry_at: None,
            status: Arc::default(),
        }
    }

    /// Counters for others.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// The segments that earlier runs have left.
    pub fn left(&self) -> Left {
        Left { files: Arc::clone(&self.files), limits: self.limits.clone(), run: self.run }
    }

    /// Removes what is too old, which may be what fills the disk, and opens the first segment with the states that it begins with.
    pub fn begin(&mut self, states: &[(&str, &[u8])], wall_s: u64, at: u64) -> io::Result<()> {
        self.trim(wall_s);
        self.begin_segment(states, wall_s, at)
    }

    fn begin_segment(&mut self, states: &[(&str, &[u8])], wall_s: u64, at: u64) -> io::Result<()> {
        match self.open_segment(states, wall_s, at) {
            Ok(()) => {
                self.retry_at = None;
                self.status.failing.store(false, Ordering::Relaxed);
                Ok(())
            }
            Err(e) => {
                self.fail(at);
                Err(e)
            }
        }
    }

    fn open_segment(&mut self, states: &[(&str, &[u8])], wall_s: u64, at: u64) -> io::Result<()> {
        let name = Name { start_s: wall_s, run: self.run, number: self.number, sealed: false };
        let mut file = self.files.append(&self.limits.dir.join(name.to_string()))?;
        file.write_all(&OPEN_MARK)?;
        let mut sealed = SealedFile::begin(&*self.files, &self.limits.dir, name)?;
        let (mut pending, mut records) = (Vec::new(), 0);
        let mut own = |kind, payload: &[u8]| {
            let from = pending.len();
            frame::append(&mut pending, Record { stream: OWN, kind, seq: 0, at, payload });
            // One by one: a block holds a few.
            sealed.packer.add(&pending[from..]);
            records += 1;
        };
        own(kind::HEADER, &self.header);
        for (name, state) in states {
            let parts = state.chunks(PART).chain(state.is_empty().then_some(&[][..]));
            for part in parts {
                let name = name.as_bytes();
                own(kind::STATE, &[&[name.len() as u8], name, part].concat());
            }
        }
        let bytes = pending.len() as u64;
        self.status.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.status.segments.fetch_add(1, Ordering::Relaxed);
        self.number += 1;
        self.open = Some(Open { name, file, pending, sealed, bytes, records, dirty_since: None });
        Ok(())
    }

    /// Takes a record in. What is missing before it in its stream becomes a record of its own.
    pub fn record(&mut self, record: Record<'_>) {
        let stream = usize::from(record.stream) % STREAMS;
        let Some(open) = &mut self.open else { return };
        let missing = self.taken[stream] + 1..record.seq;
        if !missing.is_empty() {
            let (first, last) = (missing.start.to_le_bytes(), (missing.end - 1).to_le_bytes());
            let payload = [&[record.stream][..], &first, &last].concat();
            let hole = Record { stream: OWN, kind: kind::HOLE, seq: 0, at: record.at, payload: &payload };
            open.add(hole);
            self.status.lost.fetch_add(missing.end - missing.start, Ordering::Relaxed);
        }
        if record.payload.len() > MAX_PAYLOAD {
            // Not taken: it is a hole when the next one comes.
            return;
        }
        open.add(record);
        self.taken[stream] = record.seq;
        self.status.records.fetch_add(1, Ordering::Relaxed);
    }

    /// Brings what was taken to the file, and on to the disk where it is due. After an error everything since the last
    /// call is lost, and so is what comes until the disk can be written again. Was the disk asked to keep it?
    pub fn flush(&mut self, at: u64) -> io::Result<bool> {
        let Some(open) = &mut self.open else { return Ok(false) };
        let (before, limit) = (open.pending.len() as u64, self.limits.fsync_ns);
        match open.flush(limit, at) {
            Ok(synced) => {
                self.status.bytes.fetch_add(before, Ordering::Relaxed);
                self.written = self.taken;
                Ok(synced)
            }
            Err(e) => {
                self.fail(at);
                Err(e)
            }
        }
    }

    /// Room on the journal's disk.
    pub fn room(&self) -> Option<Room> {
        self.files.room(&self.limits.dir)
    }

    /// Is it time for the next segment: the open one is full, or the disk is to be tried again?
    pub fn needs_segment(&self, at: u64) -> bool {
        match &self.open {
            Some(open) => open.bytes >= self.limits.segment_bytes,
            None => self.retry_at.is_some_and(|due| due <= at),
        }
    }

    /// Is the open segment twice as large as it should be?
    pub fn is_overfull(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.bytes >= 2 * self.limits.segment_bytes)
    }

    /// Closes the open segment and begins the next, with the states that it begins with.
    pub fn next_segment(&mut self, states: &[(&str, &[u8])], wall_s: u64, at: u64) -> io::Result<()> {
        self.close_segment(at)?;
        self.begin_segment(states, wall_s, at)?;
        self.trim(wall_s);
        Ok(())
    }

    fn fail(&mut self, at: u64) {
        if let Some(open) = self.open.take() {
            self.drop_sealed(open.name);
        }
        // What was not written is found missing when the next record comes.
        self.taken = self.written;
        self.retry_at = Some(at + RETRY_NS);
        self.status.failing.store(true, Ordering::Relaxed);
    }

    /// The run ends: closes its last segment, which says so, and seals it.
    pub fn close(&mut self, at: u64) -> io::Result<()> {
        if let Some(open) = &mut self.open {
            open.add(Record { stream: OWN, kind: kind::RUN_END, seq: 0, at, payload: &[] });
        }
        self.close_segment(at)
    }

    fn close_segment(&mut self, at: u64) -> io::Result<()> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let count = open.records.to_le_bytes();
        open.add(Record { stream: OWN, kind: kind::END, seq: 0, at, payload: &count });
        let name = open.name;
        let done = open.flush(0, at).and_then(|_| {
            let Open { sealed, file, .. } = open;
            drop(file);
            sealed.finish(&*self.files, &self.limits.dir, name)
        });
        match done {
            Ok(()) => self.written = self.taken,
            Err(_) => {
                self.drop_sealed(name);
                self.fail(at);
            }
        }
        done
    }

    /// The sealed form of a segment cannot be made: it would only take room from a disk that may be full.
    fn drop_sealed(&self, name: Name) {
        // What cannot be removed now is removed by the next run.
        let _ = self.files.remove(&unfinished(&self.limits.dir, name));
    }

    /// Removes the oldest segments beyond the limits.
    fn trim(&self, wall_s: u64) {
        let open = self.open.as_ref().map(|o| o.name);
        // What cannot be listed or removed now is so at the next rotation.
        let _ = library::trim(&*self.files, &self.limits, wall_s, open);
    }
}

/// What killed runs have left in the directory. It takes as long as a segment is large: not for the writer's thread, whose
/// links would run over.
pub struct Left {
    files: Arc<dyn Files>,
    limits: Limits,
    run: u64,
}

impl Left {
    /// Seals the segments that are open; a torn end is cut off, anything else that is damaged stays as it is.
    pub fn seal(&self) {
        let (files, dir) = (&*self.files, &self.limits.dir);
        for (file, _) in files.list(dir).unwrap_or_default() {
            let of = file.strip_suffix(UNFINISHED).and_then(Name::parse);
            if of.is_some_and(|name| name.run != self.run) && !files.is_in_use(&dir.join(&file)) {
                // One that stays takes room and nothing else.
                let _ = files.remove(&dir.join(&file));
            }
        }
        for found in library::segments(files, dir).unwrap_or_default() {
            let foreign = !found.name.sealed && found.name.run != self.run;
            if foreign && !files.is_in_use(&found.path) {
                // A disk that refuses keeps the open file, which can be read as well.
                let _ = self.seal_one(&found);
            }
        }
    }

    fn seal_one(&self, found: &Found) -> io::Result<()> {
        let Some(bytes) = self.files.read_bytes(&found.path)? else { return Ok(()) };
        let mut packer = Packer::default();
        let (mut one, mut count) = (Vec::new(), 0u64);
        let condition = walk(&bytes, |record| {
            one.clear();
            frame::append(&mut one, record);
            packer.add(&one);
            count += 1;
            std::ops::ControlFlow::Continue(())
        });
        if !(condition.is_whole() || condition.is_torn(bytes.len())) {
            return Ok(());
        }
        if count == 0 && !condition.ended {
            // Killed before its first record was whole: there is nothing in it that could be sealed.
            return self.files.remove(&found.path);
        }
        let mut end = |kind, payload: &[u8]| {
            one.clear();
            frame::append(&mut one, Record { stream: OWN, kind, seq: 0, at: 0, payload });
            packer.add(&one);
        };
        if condition.run_ended {
            end(kind::RUN_END, &[]);
            count += 1;
        }
        if condition.ended {
            end(kind::END, &count.to_le_bytes());
        }
        let sealed = Name { sealed: true, ..found.name };
        self.files.write_bytes(&self.limits.dir.join(sealed.to_string()), &packer.finish())?;
        self.files.remove(&found.path)
    }
}

impl Open {
    fn add(&mut self, record: Record<'_>) {
        let from = self.pending.len();
        frame::append(&mut self.pending, record);
        self.sealed.packer.add(&self.pending[from..]);
        self.bytes += (self.pending.len() - from) as u64;
        self.records += 1;
    }

    fn flush(&mut self, fsync_ns: u64, at: u64) -> io::Result<bool> {
        if !self.pending.is_empty() {
            self.file.write_all(&self.pending)?;
            self.sealed.flush()?;
            self.pending.clear();
            self.dirty_since.get_or_insert(at);
        }
        let due = self.dirty_since.is_some_and(|since| at.saturating_sub(since) >= fsync_ns);
        if due {
            self.file.sync()?;
            self.dirty_since = None;
        }
        Ok(due)
    }
}
