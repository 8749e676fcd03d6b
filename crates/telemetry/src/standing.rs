//! The pages that stand, in a file of the process that said them. A process that ends in good order takes its pages back
//! itself; those of one that was killed, or went down with its machine, are taken back by the next one of its role that runs
//! on that machine and writes to the same channels.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What ends the name of a file of standing pages.
const SUFFIX: &str = ".pages";

/// The pages of one process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The channels that they were said to: files and names, no secrets.
    pub channels: Vec<String>,
    pub role: String,
    /// The process, in the words of its pages.
    pub who: String,
    /// What each is about, and its text.
    pub pages: Vec<(String, String)>,
}

/// The file of this process, there while a page stands. It is locked while the process lives: by that the others know.
#[derive(Debug)]
pub(crate) struct StandingPages {
    folder: PathBuf,
    file: Option<(PathBuf, File)>,
    kept: Record,
}

impl StandingPages {
    /// In a folder, which is made.
    pub(crate) fn in_folder(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned(), file: None, kept: Record::default() })
    }

    /// Writes what stands now, if that is something else than before.
    pub(crate) fn keep(&mut self, record: Record) -> io::Result<()> {
        if record == self.kept {
            return Ok(());
        }
        if record.pages.is_empty() {
            if let Some((path, _)) = self.file.take() {
                fs::remove_file(path)?;
            }
        } else {
            let mut line = serde_json::to_vec(&record)?;
            line.push(b'\n');
            match &self.file {
                Some((_, file)) => write_line(file, &line)?,
                None => self.file = Some(create(&self.folder, &line)?),
            }
        }
        self.kept = record;
        Ok(())
    }

    /// What processes that are gone have left standing at these channels, in this role. Their files go: they are told once.
    pub(crate) fn left_by_others(&self, channels: &[String], role: &str) -> io::Result<Vec<Record>> {
        let mut left = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if !path.to_string_lossy().ends_with(SUFFIX) {
                continue;
            }
            match orphan(&path, channels, role) {
                Ok(Some(record)) => left.push(record),
                Ok(None) => {}
                // Another one was faster.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(left)
    }
}

/// A new file that is locked and has its first line before it has the name that the others look for.
fn create(folder: &Path, line: &[u8]) -> io::Result<(PathBuf, File)> {
    let unnamed = folder.join(format!("{}.new", std::process::id()));
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unnamed)?;
    file.lock()?;
    write_line(&file, line)?;
    // The number of a process comes again: in a container, after a boot. The pages of the one that had it stay.
    for n in 0..=u16::MAX {
        let path = folder.join(format!("{}-{n}{SUFFIX}", std::process::id()));
        match fs::hard_link(&unnamed, &path) {
            Ok(()) => {
                fs::remove_file(&unnamed)?;
                return Ok((path, file));
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// One write, then what was longer is cut off: whoever reads after a kill between the two finds a whole first line.
fn write_line(file: &File, line: &[u8]) -> io::Result<()> {
    file.write_all_at(line, 0)?;
    file.set_len(line.len() as u64)
}

/// The record of a process that is gone, if it is ours to take back.
fn orphan(path: &Path, channels: &[String], role: &str) -> io::Result<Option<Record>> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(e)) => return Err(e),
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    // Empty: another one has it already. Not a record: written by something else, and of no use.
    let record = text.lines().next().and_then(|line| serde_json::from_str::<Record>(line).ok());
    if record.as_ref().is_some_and(|r| r.channels != channels || r.role != role) {
        return Ok(None);
    }
    file.set_len(0)?;
    fs::remove_file(path)?;
    Ok(record.filter(|r| !r.pages.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(role: &str, page: &str) -> Record {
        Record {
            channels: vec!["/etc/slack".to_owned()],
            role: role.to_owned(),
            who: "alpha on a, process 1".to_owned(),
            pages: vec![(page.to_owned(), "it is shut".to_owned())],
        }
    }

    fn channels() -> Vec<String> {
        record("", "").channels
    }

    #[test]
    fn what_a_killed_process_left_is_found_once_by_its_role_and_channels() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("pages");
        let mut killed = StandingPages::in_folder(&folder).unwrap();
        killed.keep(record("alpha", "backoff")).unwrap();
        let next = StandingPages::in_folder(&folder).unwrap();
        assert_eq!(next.left_by_others(&channels(), "alpha").unwrap(), [], "it lives");
        // Shorter than what was written before it.
        killed.keep(record("alpha", "kill")).unwrap();
        // As a kill leaves it: the file stays, its lock is gone.
        drop(killed);
        assert_eq!(next.left_by_others(&channels(), "ingest").unwrap(), []);
        assert_eq!(next.left_by_others(&["/etc/other".to_owned()], "alpha").unwrap(), []);
        assert_eq!(next.left_by_others(&channels(), "alpha").unwrap(), [record("alpha", "kill")]);
        assert_eq!(next.left_by_others(&channels(), "alpha").unwrap(), []);
    }

    #[test]
    fn damage_and_an_orderly_end_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let next = StandingPages::in_folder(dir.path()).unwrap();
        let mut ended = StandingPages::in_folder(dir.path()).unwrap();
        ended.keep(record("alpha", "kill")).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        ended.keep(Record { pages: Vec::new(), ..record("alpha", "") }).unwrap();
        for (n, text) in ["", "\n", "{", "[]", "{\"channels\":1}\n", "\u{0}\u{0}"].iter().enumerate() {
            fs::write(dir.path().join(format!("9{n}-0.pages")), text).unwrap();
        }
        fs::write(dir.path().join("readme"), "not ours").unwrap();
        assert_eq!(next.left_by_others(&channels(), "alpha").unwrap(), []);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the one that is not ours");
    }
}
