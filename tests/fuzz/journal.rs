//! Segments of a journal. Damaged bytes: what is handed on was written, and in this order. Records whose sum is right and
//! whose content is not: the replay says that it cannot go on, and no more.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use node::journal::replay::replay;
use runtime::environment::SystemFiles;
use runtime::journal::frame::{Record, append};
use runtime::journal::segment::{OPEN_MARK, Packer, walk};

use crate::mutate::Random;
use crate::runner::{Answer, answer, message};

type Owned = (u8, u8, u64, u64, Vec<u8>);

fn owned(r: &Record<'_>) -> Owned {
    (r.stream, r.kind, r.seq, r.at, r.payload.to_vec())
}

fn add(out: &mut Vec<u8>, (stream, kind, seq, at, payload): &Owned) {
    append(out, Record { stream: *stream, kind: *kind, seq: *seq, at: *at, payload });
}

/// One segment, open and sealed.
pub struct Segments(Vec<Owned>);

impl Segments {
    pub fn new() -> Self {
        let mut random = Random(7);
        let record = |n: u64| {
            let payload = (0..random.below(60)).map(|_| random.next() as u8).collect();
            ((n % 3) as u8 + 1, (n % 5) as u8, n / 3 + 1, 1_000 * n, payload)
        };
        Self((0..60).map(record).collect())
    }

    pub fn corpus(&self) -> Vec<Vec<u8>> {
        let (mut open, mut packer) = (OPEN_MARK.to_vec(), Packer::default());
        for record in &self.0 {
            add(&mut open, record);
            let mut one = Vec::new();
            add(&mut one, record);
            packer.add(&one);
        }
        vec![open, packer.finish(), OPEN_MARK.to_vec(), b"DOLPHJ\x01\n\xd1\x4a".to_vec()]
    }

    pub fn take(&self, bytes: &[u8]) -> Answer {
        let mut handed = 0_usize;
        let found = walk(bytes, |record| {
            let record = owned(&record);
            assert!(self.0.contains(&record), "a record that nobody wrote: {record:?}");
            handed += 1;
            ControlFlow::Continue(())
        });
        assert_eq!(found.records as usize - usize::from(found.ended), handed);
        assert!(found.lost.iter().all(|l| l.from <= l.to && l.to <= bytes.len()), "{found:?}");
        answer((found.sealed, found.ended, handed / 8, found.lost.iter().map(|l| l.what).collect::<Vec<_>>()))
    }
}

/// The first records of a real run, one of which is exchanged.
pub struct Records {
    records: Vec<Owned>,
    dir: tempfile::TempDir,
}

/// As many are enough for every kind.
const RECORDS: usize = 600;

impl Records {
    pub fn of_a_demo() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "{}\nruntime: {{idle: park, unpinned: true}}\njournal: {{content: frames, path: {}}}\n",
            include_str!("../../configs/demo.yml"),
            dir.path().join("journal").display()
        );
        let file = dir.path().join("demo.yml");
        std::fs::write(&file, config).unwrap();
        let done = Command::new(env!("CARGO_BIN_EXE_dolphin"))
            .args(["demo", "--seconds", "4", "--symbols", "4", "--json", "--listen", "off", "--config"])
            .arg(&file)
            .env("XDG_STATE_HOME", dir.path())
            .stderr(Stdio::null())
            .output()
            .unwrap();
        assert!(done.status.success());
        let segments = std::fs::read_dir(dir.path().join("journal/local")).unwrap();
        let mut paths: Vec<PathBuf> = segments.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let mut records = Vec::new();
        let bytes = std::fs::read(&paths[0]).unwrap();
        let _ = walk(&bytes, |record| {
            records.push(owned(&record));
            if records.len() < RECORDS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        assert!(records.len() > 100, "{} records", records.len());
        let name = paths[0].file_stem().unwrap().to_str().unwrap();
        let fresh = Self { records, dir };
        std::fs::create_dir(fresh.dir.path().join("spoiled")).unwrap();
        std::fs::write(fresh.dir.path().join("name"), name).unwrap();
        fresh
    }

    /// The number of a record in two bytes, then its content.
    pub fn corpus(&self) -> Vec<Vec<u8>> {
        let numbered = self.records.iter().enumerate().filter(|(_, r)| r.4.len() < 20_000);
        numbered.map(|(n, r)| [&(n as u16).to_le_bytes()[..], &r.4].concat()).collect()
    }

    pub fn take(&mut self, bytes: &[u8]) -> Answer {
        let Some((number, payload)) = bytes.split_at_checked(2) else { return 0 };
        let number = usize::from(u16::from_le_bytes(number.try_into().unwrap())) % self.records.len();
        let mut segment = OPEN_MARK.to_vec();
        for (n, record) in self.records.iter().enumerate().take(number + 40) {
            if n == number {
                add(&mut segment, &(record.0, record.1, record.2, record.3, payload.to_vec()));
            } else {
                add(&mut segment, record);
            }
        }
        let name = std::fs::read_to_string(self.dir.path().join("name")).unwrap();
        let path = self.dir.path().join("spoiled").join(format!("{name}.dj"));
        std::fs::write(&path, &segment).unwrap();
        let report = replay(
            &SystemFiles,
            &path,
            node::journal::replay::Within::default(),
            &|_| None,
            &mut |_, _, _| true,
        );
        match report {
            Ok(reports) => answer(
                reports.iter().map(|r| message(&format!("{:?} {:?}", r.alpha, r.router))).collect::<Vec<_>>(),
            ),
            Err(why) => message(&why.message),
        }
    }
}
