//! Opening the file of a store: an absent one is made, a damaged one is refused, never taken for an empty one.

use std::io;
use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError, StorageBackend};

use super::cells;
use super::guard::guarded;
use super::staged::Staged;
use crate::environment::Disk;
use crate::error::MemoryError;

/// redb's page cache, bytes.
const CACHE_BYTES: usize = 32 << 20;

/// An open store, and the last sequence used in it.
pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) sequence: u64,
}

/// The file beside a store that has `ending` appended to its name.
pub(super) fn beside(store: &Path, ending: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Why a store cannot be used: it is damaged, or may be had later.
pub(super) fn failure(path: &Path, error: redb::Error) -> MemoryError {
    use io::ErrorKind::{InvalidData, UnexpectedEof};
    match error {
        redb::Error::Io(e) if !matches!(e.kind(), InvalidData | UnexpectedEof) => {
            MemoryError::Away(format!("{}: {e}", path.display()))
        }
        redb::Error::DatabaseAlreadyOpen | redb::Error::PreviousIo => {
            MemoryError::Away(format!("{}: {error}", path.display()))
        }
        error => damaged(path, error),
    }
}

pub(super) fn damaged(path: &Path, reason: impl std::fmt::Display) -> MemoryError {
    MemoryError::Damaged { path: path.to_owned(), reason: reason.to_string() }
}

/// Opens the store, after looking at every page of it. `None`: another process owns it.
pub(super) fn open(disk: &dyn Disk, path: &Path) -> Result<Option<Opened>, MemoryError> {
    let away = |e: io::Error| MemoryError::Away(format!("{}: {e}", path.display()));
    if !disk.exists(path).map_err(away)? {
        return create(disk, path);
    }
    let file = disk.open(path).map_err(away)?;
    // redb would make a new store of it.
    if file.len().map_err(away)? == 0 {
        return Err(damaged(path, "the file is empty"));
    }
    open_file(path, file)
}

fn open_file(path: &Path, file: Box<dyn StorageBackend>) -> Result<Option<Opened>, MemoryError> {
    let open = || -> Result<Option<Opened>, redb::Error> {
        let staged = Staged::new(file);
        let database = match builder().create_with_backend(staged.clone()) {
            Err(DatabaseError::DatabaseAlreadyOpen) => return Ok(None),
            opened => opened?,
        };
        let sequence = cells::prepare(&database)?;
        staged.release()?;
        Ok(Some(Opened { database, sequence }))
    };
    match guarded(open) {
        Ok(opened) => opened.map_err(|error| failure(path, error)),
        Err(panic) => Err(damaged(path, panic)),
    }
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// Makes a store under another name and gives it its own when it is complete: so a file of that name is a store, or
/// is damaged. Of two processes that make it at once one does: the lock is on the new file, and whoever gets it looks
/// again whether the other has finished.
fn create(disk: &dyn Disk, path: &Path) -> Result<Option<Opened>, MemoryError> {
    let away = |e: io::Error| MemoryError::Away(format!("{}: {e}", path.display()));
    let new = beside(path, ".new");
    let Some(opened) = open_new(disk, &new)? else { return Ok(None) };
    if disk.exists(path).map_err(away)? {
        drop(opened);
        disk.remove(&new).map_err(away)?;
        return Ok(None);
    }
    disk.rename(&new, path).map_err(away)?;
    Ok(Some(opened))
}

/// A new store in a file that is not there or of no worth, but may be another process' who makes the same.
pub(super) fn open_new(disk: &dyn Disk, path: &Path) -> Result<Option<Opened>, MemoryError> {
    let away = |e: io::Error| MemoryError::Away(format!("{}: {e}", path.display()));
    let file = disk.open(path).map_err(away)?;
    let create = || -> Result<Option<Opened>, redb::Error> {
        let staged = Staged::new(file);
        let database =
            match Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(staged.clone()) {
                Err(DatabaseError::DatabaseAlreadyOpen) => return Ok(None),
                opened => opened?,
            };
        staged.release()?;
        cells::create(&database)?;
        Ok(Some(Opened { database, sequence: 0 }))
    };
    match guarded(create) {
        Ok(Ok(opened)) => Ok(opened),
        // Left by a process that died while it made it.
        Ok(Err(error)) => {
            disk.remove(path).map_err(away)?;
            Err(MemoryError::Away(format!("{}: {error}", path.display())))
        }
        Err(panic) => {
            disk.remove(path).map_err(away)?;
            Err(MemoryError::Away(format!("{}: {panic}", path.display())))
        }
    }
}
