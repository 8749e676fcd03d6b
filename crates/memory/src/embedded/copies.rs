//! Copies of a store, to go back to: the newest, and the one before it.

use std::path::{Path, PathBuf};

use redb::{ReadTransaction, ReadableTable};

use super::cells::{self, CELLS};
use super::file::{self, Opened, beside};
use super::guard::guarded;
use crate::environment::Disk;
use crate::error::MemoryError;

/// Newest first.
pub(super) fn names(store: &Path) -> [PathBuf; 2] {
    [beside(store, ".copy"), beside(store, ".copy.1")]
}

/// Makes a copy of what a transaction sees, every record of it verified. The one there is becomes the one before it. An
/// error leaves the copies as they are.
pub(super) fn make(
    disk: &dyn Disk,
    store: &Path,
    transaction: ReadTransaction,
    sequence: u64,
) -> Result<(), MemoryError> {
    let new = beside(store, ".copy.new");
    let [newest, before] = names(store);
    let away = |e: std::io::Error| MemoryError::Away(format!("{}: {e}", new.display()));
    disk.remove(&new).map_err(away)?;
    let Some(Opened { database, .. }) = file::open_new(disk, &new)? else {
        return Err(MemoryError::Away(format!("{} is made by another process", new.display())));
    };
    let copy = move || -> Result<(), redb::Error> {
        let table = transaction.open_table(CELLS)?;
        let mut keep = Vec::new();
        for cell in table.iter()? {
            let (key, text) = cell?;
            cells::value_of(key.value(), text.value())?;
            keep.push((key.value().to_owned(), text.value().to_owned()));
        }
        cells::fill(&database, sequence, keep.iter().map(|(key, text)| Ok((key.as_str(), text.as_str()))))?;
        Ok(database.close()?)
    };
    match guarded(copy) {
        Ok(copied) => copied.map_err(|error| file::failure(store, error))?,
        Err(panic) => return Err(file::damaged(store, panic)),
    }
    if disk.exists(&newest).map_err(away)? {
        disk.rename(&newest, &before).map_err(away)?;
    }
    disk.rename(&new, &newest).map_err(away)
}
