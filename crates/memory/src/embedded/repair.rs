//! What to do about a damaged store: save what can be read of it, or go back to a copy.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use redb::{BackendError, StorageBackend};

use super::file::{self, Opened, beside, damaged};
use super::guard::guarded;
use super::record::{self, Record};
use super::{cells, copies};
use crate::environment::Disk;
use crate::error::MemoryError;

/// Read at once, bytes.
const CHUNK: usize = 4 << 20;

/// What a repair did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repair {
    /// The store is sound, and was left alone.
    Sound,
    /// There is a store again.
    Repaired {
        /// Values that were read from the damaged file.
        saved: usize,
        /// Values that were not readable there, or older, and come from a copy.
        from_copies: usize,
        /// Where the damaged file is now.
        aside: PathBuf,
    },
}

/// Makes a new store of what can be read in a damaged one and in its copies, of each key the newest value, and keeps the
/// damaged file under another name. Nobody may use the store meanwhile. It blocks.
pub fn repair(disk: &dyn Disk, path: &Path) -> Result<Repair, MemoryError> {
    let away = |e: io::Error| MemoryError::Away(format!("{}: {e}", path.display()));
    if !disk.exists(path).map_err(away)? {
        return Err(absent(path));
    }
    match file::open(disk, path) {
        Ok(Some(opened)) => {
            close(path, opened)?;
            return Ok(Repair::Sound);
        }
        Ok(None) => return Err(in_use(path)),
        Err(MemoryError::Damaged { .. }) => {}
        Err(error) => return Err(error),
    }
    let lock = lock(disk, path)?;
    let saved = scan(&*lock).map_err(away)?;
    let mut all = saved.clone();
    for copy in copies::names(path) {
        if disk.exists(&copy).map_err(away)? {
            for (key, found) in scan(&*disk.open(&copy).map_err(away)?).map_err(away)? {
                newest(&mut all, key, found);
            }
        }
    }
    if all.is_empty() {
        return Err(damaged(path, "nothing in it can be read, nor in a copy; it was left as it is"));
    }
    let from_copies = all.iter().filter(|(key, found)| saved.get(*key) != Some(found)).count();
    let new = beside(path, ".repaired");
    write(disk, &new, &all)?;
    let aside = put_aside(disk, path)?;
    disk.rename(&new, path).map_err(away)?;
    drop(lock);
    let values =
        |found: &BTreeMap<String, Found>| found.values().filter(|found| found.value.is_some()).count();
    let saved = values(&all).saturating_sub(from_copies);
    Ok(Repair::Repaired { saved, from_copies, aside })
}

/// What going back to a copy did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restore {
    /// The copy that is the store now.
    pub copy: PathBuf,
    /// Where the file that was there is now; `None`: there was none.
    pub aside: Option<PathBuf>,
}

/// Puts the newest sound copy in the place of a store that is damaged or not there, and keeps the file under another
/// name. `force`: of a sound one, too. Nobody may use the store meanwhile. It blocks.
pub fn restore(disk: &dyn Disk, path: &Path, force: bool) -> Result<Restore, MemoryError> {
    let away = |e: io::Error| MemoryError::Away(format!("{}: {e}", path.display()));
    let there = disk.exists(path).map_err(away)?;
    let mut held = None;
    if there {
        match file::open(disk, path) {
            Ok(Some(opened)) => {
                close(path, opened)?;
                if !force {
                    return Err(MemoryError::Invalid(format!(
                        "{} is sound: going back to a copy would lose what was written since (--force does it)",
                        path.display()
                    )));
                }
            }
            Ok(None) => return Err(in_use(path)),
            Err(MemoryError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
        held = Some(lock(disk, path)?);
    }
    let new = beside(path, ".restored");
    for copy in copies::names(path) {
        if !disk.exists(&copy).map_err(away)? {
            continue;
        }
        disk.copy(&copy, &new).map_err(away)?;
        match file::open(disk, &new) {
            Ok(Some(opened)) => close(&new, opened)?,
            Ok(None) => return Err(in_use(&new)),
            Err(error) => {
                tracing::warn!(copy = %copy.display(), %error, "a copy is damaged, too");
                continue;
            }
        }
        let aside = if there { Some(put_aside(disk, path)?) } else { None };
        disk.rename(&new, path).map_err(away)?;
        drop(held);
        return Ok(Restore { copy, aside });
    }
    disk.remove(&new).map_err(away)?;
    let [newest, before] = copies::names(path);
    Err(MemoryError::Away(format!("there is no sound copy at {} or {}", newest.display(), before.display())))
}

fn absent(path: &Path) -> MemoryError {
    MemoryError::Away(format!("there is no memory at {}", path.display()))
}

fn in_use(path: &Path) -> MemoryError {
    MemoryError::Away(format!("{} is in use: stop the program that uses it first", path.display()))
}

fn close(path: &Path, opened: Opened) -> Result<(), MemoryError> {
    match guarded(|| opened.database.close()) {
        Ok(closed) => closed.map_err(|error| file::failure(path, error.into())),
        Err(panic) => Err(damaged(path, panic)),
    }
}

/// Opens a file and locks all of it, as redb would.
fn lock(disk: &dyn Disk, path: &Path) -> Result<Box<dyn StorageBackend>, MemoryError> {
    let file = disk.open(path).map_err(|e| MemoryError::Away(format!("{}: {e}", path.display())))?;
    match file.try_lock_range(Bound::Unbounded, Bound::Unbounded) {
        Ok(true) | Err(BackendError::Unsupported) => Ok(file),
        _ => Err(in_use(path)),
    }
}

/// A record as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    sequence: u64,
    value: Option<String>,
}

fn newest(all: &mut BTreeMap<String, Found>, key: String, found: Found) {
    match all.get(&key) {
        Some(known) if known.sequence >= found.sequence => {}
        _ => drop(all.insert(key, found)),
    }
}

/// Every record in the bytes of a file, of each key the newest. It goes by the records alone, and so needs no page, tree or
/// header of the file to be sound.
fn scan(file: &dyn StorageBackend) -> io::Result<BTreeMap<String, Found>> {
    let length = file.len()?;
    let mut all = BTreeMap::new();
    let mut start = 0u64;
    while start < length {
        // A record that begins in this chunk may end beyond it.
        let wanted = (length - start).min((CHUNK + record::MAX_BYTES) as u64);
        let mut bytes = vec![0; usize::try_from(wanted).map_err(io::Error::other)?];
        file.read(start, &mut bytes)?;
        let mut at = 0;
        while let Some(place) = record::find(&bytes, at).filter(|place| *place < CHUNK) {
            match record::read(&bytes[place..]) {
                Some(found) => {
                    let Record { sequence, key, value } = found;
                    newest(&mut all, key.to_owned(), Found { sequence, value: value.map(str::to_owned) });
                    at = place + found.text().len();
                }
                None => at = place + 1,
            }
        }
        start += (CHUNK.max(at) as u64).min(wanted);
    }
    Ok(all)
}

fn write(disk: &dyn Disk, path: &Path, all: &BTreeMap<String, Found>) -> Result<(), MemoryError> {
    let away = |e: io::Error| MemoryError::Away(format!("{}: {e}", path.display()));
    disk.remove(path).map_err(away)?;
    let opened = file::open_new(disk, path)?.ok_or_else(|| in_use(path))?;
    let sequence = all.values().map(|found| found.sequence).max().unwrap_or(0);
    let records: Vec<(&str, String)> = all
        .iter()
        .map(|(key, Found { sequence, value })| {
            let record = Record { sequence: *sequence, key, value: value.as_deref() };
            (key.as_str(), record.text())
        })
        .collect();
    cells::fill(&opened.database, sequence, records.iter().map(|(key, text)| Ok((*key, text.as_str()))))
        .map_err(|error| file::failure(path, error))?;
    close(path, opened)
}

/// Gives a file a name that nobody has.
fn put_aside(disk: &dyn Disk, path: &Path) -> Result<PathBuf, MemoryError> {
    let away = |e: io::Error| MemoryError::Away(format!("{}: {e}", path.display()));
    for number in 1..=9_999u32 {
        let aside = beside(path, &format!(".damaged.{number}"));
        if !disk.exists(&aside).map_err(away)? {
            disk.rename(path, &aside).map_err(away)?;
            return Ok(aside);
        }
    }
    Err(MemoryError::Away(format!("{}: too many damaged files lie beside it", path.display())))
}
