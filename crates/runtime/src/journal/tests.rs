use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::frame::Record;
use super::library::{Gap, Limits, Name, Numbers, segments};
use super::segment::{Condition, OWN, kind, walk};
use super::tap::tap;
use super::writer::Writer;
use crate::environment::{AppendFile, Files, Room, SystemFiles};

/// Files in memory whose writes can be made to fail.
#[derive(Debug, Clone, Default)]
struct TestFiles(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    files: BTreeMap<PathBuf, Vec<u8>>,
    /// Every write fails, and leaves this much of what it was given.
    torn: Option<usize>,
}

struct TestFile(TestFiles, PathBuf);

impl AppendFile for TestFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.0.0.lock().unwrap();
        let part = inner.torn.unwrap_or(bytes.len()).min(bytes.len());
        inner.files.entry(self.1.clone()).or_default().extend_from_slice(&bytes[..part]);
        if inner.torn.is_some() { Err(io::Error::other("disk full")) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Files for TestFiles {
    fn read(&self, _: &Path) -> io::Result<Option<String>> {
        unreachable!()
    }
    fn write(&self, _: &Path, _: &str) -> io::Result<()> {
        unreachable!()
    }
    fn read_bytes(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().files.get(path).cloned())
    }
    fn write_bytes(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        if inner.torn.is_some() {
            return Err(io::Error::other("disk full"));
        }
        inner.files.insert(path.to_owned(), bytes.to_owned());
        Ok(())
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        let bytes = inner.files.remove(from).unwrap();
        inner.files.insert(to.to_owned(), bytes);
        Ok(())
    }
    fn append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        self.0.lock().unwrap().files.entry(path.to_owned()).or_default();
        Ok(Box::new(TestFile(self.clone(), path.to_owned())))
    }
    fn is_in_use(&self, _: &Path) -> bool {
        false
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        let inner = self.0.lock().unwrap();
        let name = |p: &PathBuf| p.file_name().unwrap().to_str().unwrap().to_owned();
        let inside = inner.files.iter().filter(|(p, _)| p.parent() == Some(dir));
        Ok(inside.map(|(p, bytes)| (name(p), bytes.len() as u64)).collect())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.lock().unwrap().files.remove(path);
        Ok(())
    }
    fn remove_dir(&self, _: &Path) -> io::Result<()> {
        unreachable!()
    }
    fn room(&self, _: &Path) -> Option<Room> {
        None
    }
    fn temp_dir(&self) -> PathBuf {
        unreachable!()
    }
    fn variable(&self, _: &str) -> Option<String> {
        unreachable!()
    }
}

impl TestFiles {
    fn tear(&self, at: Option<usize>) {
        self.0.lock().unwrap().torn = at;
    }
    /// The only segment.
    fn only(&self) -> Vec<u8> {
        let found = segments(self, Path::new("/j")).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        self.read_bytes(&found[0].path).unwrap().unwrap()
    }
}

/// As the journal's thread does it.
fn flush(writer: &mut Writer, at: u64) -> io::Result<()> {
    writer.flush(at)?;
    if writer.needs_segment(at) { writer.next_segment(&[], 1_000_100, at) } else { Ok(()) }
}

fn limits() -> Limits {
    Limits {
        dir: PathBuf::from("/j"),
        segment_bytes: 1 << 20,
        days: 36_500,
        max_bytes: 1 << 30,
        fsync_ns: 1_000_000_000,
    }
}

/// Owned, to be compared.
type Seen = (u8, u8, u64, u64, Vec<u8>);

fn seen(record: &Record<'_>) -> Seen {
    (record.stream, record.kind, record.seq, record.at, record.payload.to_vec())
}

fn all(file: &[u8]) -> (Vec<Seen>, Condition) {
    let mut records = Vec::new();
    let condition = walk(file, |r| {
        records.push(seen(&r));
        ControlFlow::Continue(())
    });
    (records, condition)
}

/// A small segment, open (as a kill leaves it, or closed and not yet sealed) or sealed.
fn small(n: u64) -> (Vec<u8>, Vec<u8>) {
    let files = TestFiles::default();
    let mut writer = Writer::new(Arc::new(files.clone()), limits(), 7, b"{\"h\":1}".to_vec());
    writer.begin(&[("engine", b"state"), ("empty", b"")], 100, 1).unwrap();
    for seq in 1..=n {
        let payload = vec![seq as u8; (seq % 9) as usize];
        writer.record(Record {
            stream: 1 + (seq % 2) as u8,
            kind: 3,
            seq: seq.div_ceil(2),
            at: seq,
            payload: &payload,
        });
    }
    flush(&mut writer, 50).unwrap();
    let open = files.only();
    writer.close(60).unwrap();
    (open, files.only())
}

/// `some` came out of a damaged file: all of it must be of `whole`, in order.
fn is_part_of(some: &[Seen], whole: &[Seen]) -> bool {
    let mut rest = whole.iter();
    some.iter().all(|record| rest.any(|r| r == record))
}

#[test]
fn what_was_written_is_read_and_its_end_is_known() {
    let (open, sealed) = small(9);
    let (from_open, condition) = all(&open);
    assert!(!condition.ended && condition.lost.is_empty() && condition.is_torn(open.len()));
    let (from_sealed, condition) = all(&sealed);
    assert!(condition.is_whole() && condition.sealed && condition.run_ended, "{condition:?}");
    assert_eq!(from_open, from_sealed);
    assert_eq!(from_open.len(), 3 + 9);
    assert_eq!(from_open[0].4, b"{\"h\":1}");
    assert_eq!(super::library::state(&from_open[1].4), Some(("engine", &b"state"[..])));
}

#[test]
fn cut_at_every_byte_the_rest_is_used_and_the_end_is_missing() {
    let (open, sealed) = small(9);
    let whole = all(&sealed).0;
    for file in [&open, &sealed] {
        for length in 0..file.len() {
            let (records, condition) = all(&file[..length]);
            assert!(whole.starts_with(&records), "cut at {length}");
            assert!(!condition.is_whole(), "cut at {length}");
            let used: usize = condition.lost.iter().map(|l| l.to - l.from).sum();
            assert!(used <= length);
        }
    }
    // Of an open one all whole records are there.
    let (records, _) = all(&open[..open.len() - 1]);
    assert_eq!(records.len(), whole.len() - 1);
}

#[test]
fn a_flip_in_any_byte_costs_a_record_or_a_block_and_is_told() {
    let (open, sealed) = small(9);
    let whole = all(&sealed).0;
    for (file, is_open) in [(&open, true), (&sealed, false)] {
        for at in 0..file.len() {
            for flip in [0x01u8, 0x80, 0xff] {
                let mut damaged = file.clone();
                damaged[at] ^= flip;
                let (records, condition) = all(&damaged);
                assert!(is_part_of(&records, &whole), "byte {at}");
                assert!(!condition.lost.is_empty() || condition.records == 0, "byte {at}: {condition:?}");
                assert!(!condition.is_whole(), "byte {at}");
                if is_open {
                    assert!(records.len() + 1 >= whole.len(), "byte {at} cost more than its record");
                }
            }
        }
    }
}

#[test]
fn damage_in_the_middle_of_a_long_one_costs_its_block() {
    let files = TestFiles::default();
    let wide = Limits { segment_bytes: 1 << 30, ..limits() };
    let mut writer = Writer::new(Arc::new(files.clone()), wide, 7, Vec::new());
    writer.begin(&[], 100, 1).unwrap();
    let mut state = 9;
    for seq in 1..=2000u64 {
        // Random bytes: nothing to compress.
        let payload: Vec<u8> = (0..1000).map(|_| crate::environment::splitmix64(&mut state) as u8).collect();
        writer.record(Record { stream: 1, kind: 0, seq, at: seq, payload: &payload });
    }
    writer.close(2).unwrap();
    let mut file = files.only();
    let middle = file.len() / 2;
    file[middle] ^= 1;
    let (records, condition) = all(&file);
    assert!(records.len() > 1700 && records.len() < 2001, "{}", records.len());
    assert!(!condition.is_whole() && condition.lost.len() == 1);
    let mut numbers = Numbers::default();
    walk(&file, |r| {
        assert!(numbers.follow(&r));
        ControlFlow::Continue(())
    });
    let [Gap { stream: 1, first, last, known: false }] = numbers.gaps[..] else {
        panic!("{:?}", numbers.gaps)
    };
    assert_eq!(last - first + 1, 2001 - records.len() as u64);
}

#[test]
fn a_state_of_any_size_is_read_again() {
    let (files, mut seed) = (TestFiles::default(), 3);
    // Random words: nothing to compress.
    let state: Vec<u8> =
        (0..1_500_000).flat_map(|_| crate::environment::splitmix64(&mut seed).to_le_bytes()).collect();
    let mut writer = Writer::new(Arc::new(files.clone()), limits(), 7, b"h".to_vec());
    writer.begin(&[("engine", &state), ("router", b"small")], 100, 1).unwrap();
    writer.flush(2).unwrap();
    let open = files.only();
    writer.close(3).unwrap();
    for file in [open, files.only()] {
        let mut read = BTreeMap::<String, Vec<u8>>::new();
        let condition = walk(&file, |r| {
            if let Some((name, part)) =
                (r.kind == kind::STATE).then(|| super::library::state(r.payload)).flatten()
            {
                read.entry(name.to_owned()).or_default().extend_from_slice(part);
            }
            ControlFlow::Continue(())
        });
        assert!(condition.lost.is_empty());
        assert!(read["engine"] == state && read["router"] == b"small");
    }
}

#[test]
fn a_disk_that_fails_leaves_a_hole_of_the_right_size() {
    for torn in [0, 1, 40, 1000] {
        let files = TestFiles::default();
        let mut writer = Writer::new(Arc::new(files.clone()), limits(), 7, b"h".to_vec());
        let status = writer.status();
        writer.begin(&[], 100, 0).unwrap();
        let put = |writer: &mut Writer, seq| {
            writer.record(Record { stream: 2, kind: 0, seq, at: seq, payload: b"payload" });
        };
        (1..=5).for_each(|seq| put(&mut writer, seq));
        flush(&mut writer, 5).unwrap();
        files.tear(Some(torn));
        (6..=8).for_each(|seq| put(&mut writer, seq));
        assert!(flush(&mut writer, 8).is_err());
        assert!(status.is_failing());
        (9..=10).for_each(|seq| put(&mut writer, seq));
        // Not tried again before its time.
        assert!(flush(&mut writer, 10).is_ok() && status.is_failing());
        assert!(flush(&mut writer, 2_000_000_000).is_err());
        files.tear(None);
        flush(&mut writer, 4_000_000_000).unwrap();
        assert!(!status.is_failing());
        (11..=12).for_each(|seq| put(&mut writer, seq));
        writer.close(5_000_000_000).unwrap();
        assert_eq!(status.lost(), 5);
        // Nothing unfinished is left, neither of the segment that failed nor of the one that was sealed.
        assert!(files.0.lock().unwrap().files.keys().all(|p| p.extension().is_some_and(|e| e != "new")));
        let mut numbers = Numbers::default();
        let mut kept = Vec::new();
        for found in segments(&files, Path::new("/j")).unwrap() {
            walk(&files.read_bytes(&found.path).unwrap().unwrap(), |r| {
                assert!(numbers.follow(&r));
                kept.extend((r.stream == 2).then_some(r.seq));
                ControlFlow::Continue(())
            });
        }
        // What the torn write brought to the disk counts too.
        let torn_whole = torn / (super::frame::HEAD + 7);
        let (first, kept_of_torn) = (6 + torn_whole.min(3) as u64, (6..6 + torn_whole.min(3) as u64));
        assert_eq!(kept, (1..=5).chain(kept_of_torn).chain(11..=12).collect::<Vec<_>>());
        let known = torn_whole == 0;
        assert_eq!(numbers.gaps, [Gap { stream: 2, first, last: 10, known }]);
    }
}

#[test]
fn a_start_on_a_full_disk_removes_what_is_too_old_first() {
    let files = TestFiles::default();
    let limits = Limits { days: 1, ..limits() };
    let mut writer = Writer::new(Arc::new(files.clone()), limits.clone(), 1, b"h".to_vec());
    writer.begin(&[], 100, 0).unwrap();
    writer.close(1).unwrap();
    files.tear(Some(0));
    let mut writer = Writer::new(Arc::new(files.clone()), limits, 2, b"h".to_vec());
    assert!(writer.begin(&[], 100 + 3 * 86_400, 2).is_err());
    assert!(segments(&files, Path::new("/j")).unwrap().iter().all(|found| found.name.run == 2));
}

#[test]
fn a_full_ring_is_a_hole_too() {
    let files = TestFiles::default();
    let mut writer = Writer::new(Arc::new(files.clone()), limits(), 7, b"h".to_vec());
    writer.begin(&[], 100, 0).unwrap();
    let (mut hot, mut drain) = tap::<u8>("test", 4);
    let mut take = |writer: &mut Writer| {
        while let Some(e) = drain.pop() {
            writer.record(Record { stream: 1, kind: 0, seq: e.seq, at: e.at, payload: &[e.item] });
        }
    };
    (1..=6).for_each(|i| hot.push(i, i as u8));
    take(&mut writer);
    hot.push(7, 7);
    take(&mut writer);
    writer.close(9).unwrap();
    let (records, condition) = all(&files.only());
    assert!(condition.is_whole());
    let kinds: Vec<(u8, u64)> = records.iter().map(|r| (r.0, r.2)).collect();
    assert_eq!(kinds, [(OWN, 0), (1, 1), (1, 2), (1, 3), (1, 4), (OWN, 0), (1, 7)]);
    assert_eq!(super::library::hole(&records[5].4), Some((1, 5, 6)));
    assert_eq!(hot.stats().unwrap().full(), 2);
}

#[test]
fn segments_rotate_are_sealed_and_the_oldest_go() {
    let dir = tempfile::tempdir().unwrap();
    let files: Arc<dyn Files> = Arc::new(SystemFiles);
    let limits =
        Limits { dir: dir.path().to_owned(), segment_bytes: 2000, max_bytes: 3000, days: 7, ..limits() };
    // A run that was killed in the middle of a record.
    let mut writer = Writer::new(Arc::clone(&files), limits.clone(), 1, b"one".to_vec());
    writer.begin(&[], 1_000_000, 1).unwrap();
    writer.record(Record { stream: 1, kind: 0, seq: 1, at: 1, payload: b"a" });
    writer.record(Record { stream: 1, kind: 0, seq: 2, at: 1, payload: b"b" });
    flush(&mut writer, 2).unwrap();
    // Another process leaves it alone while it is written.
    let mut beside = Writer::new(Arc::clone(&files), limits.clone(), 9, Vec::new());
    beside.left().seal();
    beside.begin(&[], 1_000_000, 1).unwrap();
    beside.close(1).unwrap();
    let killed = segments(&*files, dir.path()).unwrap()[0].path.clone();
    assert!(killed.extension().is_some_and(|e| e == "dj"));
    drop(writer);
    let bytes = std::fs::read(&killed).unwrap();
    std::fs::write(&killed, &bytes[..bytes.len() - 1]).unwrap();
    // The next one seals what it left, and rotates.
    let mut state = 1;
    let mut writer = Writer::new(Arc::clone(&files), limits.clone(), 2, b"two".to_vec());
    writer.left().seal();
    writer.begin(&[], 1_000_100, 1).unwrap();
    let unfinished = std::fs::read_dir(dir.path())
        .unwrap()
        .flatten()
        .filter(|f| f.path().extension() == Some("new".as_ref()));
    assert_eq!(unfinished.count(), 1, "only this run's own");
    let left = segments(&*files, dir.path()).unwrap();
    assert!(left[0].name.sealed && left[0].name.run == 1 && !left[2].name.sealed);
    let (records, condition) = all(&std::fs::read(&left[0].path).unwrap());
    assert!(!condition.run_ended && all(&std::fs::read(&left[1].path).unwrap()).1.run_ended);
    assert_eq!((records.len(), condition.ended, condition.lost.len()), (2, false, 0));
    for seq in 1..=100 {
        let payload: Vec<u8> = (0..100).map(|_| crate::environment::splitmix64(&mut state) as u8).collect();
        writer.record(Record { stream: 1, kind: 0, seq, at: seq, payload: &payload });
        flush(&mut writer, seq).unwrap();
    }
    writer.close(200).unwrap();
    let kept = segments(&*files, dir.path()).unwrap();
    assert!(kept.iter().all(|f| f.name.run == 2 && f.name.sealed));
    assert!(kept.iter().map(|f| f.bytes).sum::<u64>() < 3000 + 2500, "{kept:?}");
    // What was trimmed is not missing: the journal begins later. What it says itself is missing even there.
    let mut numbers = Numbers::from_segment(kept[0].name.number);
    let mut holed = Numbers::from_segment(kept[0].name.number);
    for found in &kept {
        let told = [&[1][..], &3u64.to_le_bytes(), &9u64.to_le_bytes()].concat();
        holed.follow(&Record { stream: OWN, kind: kind::HOLE, seq: 0, at: 0, payload: &told });
        holed.follow(&Record { stream: 1, kind: 0, seq: 10, at: 0, payload: b"" });
        walk(&std::fs::read(&found.path).unwrap(), |r| {
            assert!(numbers.follow(&r));
            ControlFlow::Continue(())
        });
    }
    assert!(kept[0].name.number > 0 && numbers.gaps.is_empty() && numbers.newest(1) == 100);
    assert_eq!(holed.gaps, [Gap { stream: 1, first: 3, last: 9, known: true }]);
    for found in &kept {
        let (records, condition) = all(&std::fs::read(&found.path).unwrap());
        assert!(condition.is_whole() && records[0].4 == b"two" && records[0].1 == kind::HEADER);
        assert_eq!(condition.run_ended, found.name == kept[kept.len() - 1].name);
    }
    // Days: a run of a month later leaves none of them.
    let mut writer = Writer::new(Arc::clone(&files), limits, 3, Vec::new());
    writer.begin(&[], 1_000_100 + 30 * 86_400, 1).unwrap();
    assert_eq!(segments(&*files, dir.path()).unwrap().len(), 1);
}

/// Seen: a run killed between the making of a segment and its first record; sealed, it had not even the mark of one.
#[test]
fn a_segment_without_a_whole_record_is_removed_and_not_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let files: Arc<dyn Files> = Arc::new(SystemFiles);
    let limits = Limits { dir: dir.path().to_owned(), ..limits() };
    for (run, length) in [(1, 0), (2, 3), (3, 8), (4, 20)] {
        let mut writer = Writer::new(Arc::clone(&files), limits.clone(), run, b"header".to_vec());
        writer.begin(&[], 1_000_000, 1).unwrap();
        flush(&mut writer, 2).unwrap();
        drop(writer);
        let found = segments(&*files, dir.path()).unwrap();
        let path = &found.iter().find(|f| f.name.run == run).unwrap().path;
        let bytes = std::fs::read(path).unwrap();
        assert!(bytes.len() > length, "{}", bytes.len());
        std::fs::write(path, &bytes[..length]).unwrap();
    }
    Writer::new(Arc::clone(&files), limits, 9, Vec::new()).left().seal();
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().map(|f| f.path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn names_sort_by_time_and_come_back() {
    let name = Name { start_s: 1_700_000_000, run: 0xabc, number: 12, sealed: true };
    assert_eq!(name.to_string(), "1700000000-0000000000abc-000012.djz");
    assert_eq!(Name::parse(&name.to_string()), Some(name));
    for other in ["", "a.dj", "1-2.dj", "1-2-3-4.dj", "1-2-3.txt", "x-2-3.dj"] {
        assert_eq!(Name::parse(other), None, "{other}");
    }
}

proptest! {
    #[test]
    fn nothing_that_lies_there_makes_it_panic_or_lie(
        noise in proptest::collection::vec(any::<u8>(), 0..200),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..6),
        sealed: bool,
    ) {
        let _ = all(&noise);
        let (open, packed) = small(9);
        let whole = all(&packed).0;
        let mut file = if sealed { packed } else { open };
        for (at, flip) in &flips {
            let at = at.index(file.len());
            file[at] ^= flip;
        }
        file.extend_from_slice(&noise);
        let (records, condition) = all(&file);
        prop_assert!(is_part_of(&records, &whole));
        prop_assert!(!condition.is_whole() || records == whole);
    }
}

/// A wall clock that is set back gives a later segment an earlier time; it stays behind those before it.
#[test]
fn segments_of_a_run_stand_by_their_numbers_whatever_the_clock_said() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = [(95, 4, 0), (100, 5, 0), (90, 5, 1), (101, 5, 2), (99, 6, 0)];
    let name = |(start_s, run, number)| Name { start_s, run, number, sealed: true };
    for one in wanted {
        std::fs::write(dir.path().join(name(one).to_string()), b"").unwrap();
    }
    let found = segments(&SystemFiles, dir.path()).unwrap();
    let order: Vec<Name> = found.iter().map(|f| f.name).collect();
    let of_run = |run: u64| order.iter().filter(|n| n.run == run).map(|n| n.number).collect::<Vec<_>>();
    assert_eq!(of_run(5), [0, 1, 2]);
    assert_eq!(order.first(), Some(&name(wanted[0])));
}
