//! The tables of the store, and what requests do to them, inside a transaction of redb.

use redb::{Database, Durability, ReadableTable, TableDefinition, WriteTransaction};

use super::command::Ask;
use super::record::{self, Record};
use crate::error::MemoryError;
use crate::fence::{Fence, fence_of, stamp};
use crate::request::{Answer, Reply, Request, Write};
use crate::schema::{FromMemory, LEASES, LeaseRecord, is_volatile};

/// `map NUL key` → [`Record`]. Names hold no NUL, so a map is a range of keys.
pub(super) const CELLS: TableDefinition<&str, &str> = TableDefinition::new("cells");
const FORMAT: TableDefinition<&str, u64> = TableDefinition::new("format");
/// 1: values without a record around them. It is made a 2 when it is opened.
const LAYOUT: u64 = 2;

/// What a batch changed: map, key, new value.
pub(super) type Changes = Vec<(String, String, Option<String>)>;

/// Makes the tables of a new store.
pub(super) fn create(database: &Database) -> Result<(), redb::Error> {
    let transaction = begin(database)?;
    transaction.open_table(CELLS)?;
    transaction.open_table(FORMAT)?.insert("version", LAYOUT)?;
    transaction.commit()?;
    Ok(())
}

/// Looks whether this is a store, and makes one of the first layout one of the present; the last sequence used.
pub(super) fn prepare(database: &Database) -> Result<u64, redb::Error> {
    let transaction = begin(database)?;
    let (mut sequence, layout) = {
        let format = transaction.open_table(FORMAT)?;
        let number = |key: &str| Ok::<_, redb::Error>(format.get(key)?.map(|number| number.value()));
        (number("sequence")?.unwrap_or(0), number("version")?)
    };
    match layout {
        Some(LAYOUT) => {}
        Some(1) => {
            let mut table = transaction.open_table(CELLS)?;
            let bare: Vec<(String, String)> = table
                .iter()?
                .map(|cell| cell.map(|(key, value)| (key.value().to_owned(), value.value().to_owned())))
                .collect::<Result<_, _>>()?;
            for (key, value) in bare {
                sequence += 1;
                let record = Record { sequence, key: &key, value: Some(&value) };
                table.insert(key.as_str(), record.text().as_str())?;
            }
            let mut format = transaction.open_table(FORMAT)?;
            format.insert("version", LAYOUT)?;
            format.insert("sequence", sequence)?;
        }
        Some(other) => {
            let reason = format!("it has layout {other}, this program knows {LAYOUT}: use a newer program");
            return Err(redb::Error::Io(std::io::Error::other(reason)));
        }
        None => return Err(redb::Error::Corrupted("it holds no memory".to_owned())),
    }
    transaction.commit()?;
    Ok(sequence)
}

/// A transaction whose commit is valid from the moment on in which it is on the disk, and not before: a commit that
/// cannot be verified later was damaged, and did not merely come to no end.
fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}

/// Carries out a batch, as one transaction. `lasting`: it waits for the disk.
pub(super) fn commit<'a>(
    database: &Database,
    sequence: &mut u64,
    lasting: bool,
    batch: impl Iterator<Item = &'a Ask>,
) -> Result<(Vec<Answer>, Changes), redb::Error> {
    let mut transaction = begin(database)?;
    if !lasting {
        transaction.set_two_phase_commit(false);
        transaction.set_durability(Durability::None)?;
    }
    let (mut answers, mut changes) = (Vec::new(), Changes::new());
    let mut cells = Cells { table: transaction.open_table(CELLS)?, sequence: *sequence };
    for ask in batch {
        answers.push(cells.apply(ask, &mut changes)?);
    }
    let last = cells.sequence;
    drop(cells);
    transaction.open_table(FORMAT)?.insert("sequence", last)?;
    transaction.commit()?;
    *sequence = last;
    Ok((answers, changes))
}

/// Writes records as they are into a new store, whose last sequence is given.
pub(super) fn fill<'a>(
    database: &Database,
    sequence: u64,
    records: impl Iterator<Item = Result<(&'a str, &'a str), redb::Error>>,
) -> Result<(), redb::Error> {
    let transaction = begin(database)?;
    {
        let mut table = transaction.open_table(CELLS)?;
        for record in records {
            let (key, text) = record?;
            table.insert(key, text)?;
        }
        let mut format = transaction.open_table(FORMAT)?;
        format.insert("version", LAYOUT)?;
        format.insert("sequence", sequence)?;
    }
    transaction.commit()?;
    Ok(())
}

pub(super) const fn is_write(ask: &Ask) -> bool {
    matches!(
        ask,
        Ask::Call(
            Request::PutAll { .. }
                | Request::Claim { .. }
                | Request::Remove { .. }
                | Request::CompareAndSet { .. }
        )
    )
}

pub(super) fn is_volatile_write(ask: &Ask) -> bool {
    match ask {
        Ask::Call(Request::PutAll { writes, .. }) => writes.iter().all(|write| is_volatile(&write.map)),
        other => !is_write(other),
    }
}

fn cell(map: &str, key: &str) -> String {
    format!("{map}\0{key}")
}

/// The value of a record, which has to be that of this key.
pub(super) fn value_of<'a>(key: &str, text: &'a str) -> Result<Option<&'a str>, redb::Error> {
    match record::read(text.as_bytes()) {
        Some(record) if record.key == key => Ok(record.value),
        _ => Err(redb::Error::Corrupted(format!("what stands under `{}` is damaged", key.escape_debug()))),
    }
}

pub(super) fn value(
    table: &impl ReadableTable<&'static str, &'static str>,
    map: &str,
    key: &str,
) -> Result<Option<String>, redb::Error> {
    let key = cell(map, key);
    match table.get(key.as_str())? {
        Some(text) => Ok(value_of(&key, text.value())?.map(str::to_owned)),
        None => Ok(None),
    }
}

pub(super) fn entries(
    table: &impl ReadableTable<&'static str, &'static str>,
    map: &str,
) -> Result<Vec<(String, String)>, redb::Error> {
    let (low, high) = (format!("{map}\0"), format!("{map}\x01"));
    let mut found = Vec::new();
    for entry in table.range(low.as_str()..high.as_str())? {
        let (key, text) = entry?;
        if let Some(value) = value_of(key.value(), text.value())? {
            found.push((key.value()[low.len()..].to_owned(), value.to_owned()));
        }
    }
    Ok(found)
}

pub(super) fn read(
    table: &impl ReadableTable<&'static str, &'static str>,
    ask: &Ask,
) -> Result<Reply, redb::Error> {
    Ok(match ask {
        Ask::Call(Request::Get { map, key }) => Reply::Value(value(table, map, key)?),
        Ask::Call(Request::Keys { map }) => {
            Reply::Keys(entries(table, map)?.into_iter().map(|(key, _)| key).collect())
        }
        Ask::Call(Request::Entries { map }) => Reply::Entries(entries(table, map)?),
        _ => Reply::Done,
    })
}

/// The cells while they are written.
struct Cells<'a> {
    table: redb::Table<'a, &'static str, &'static str>,
    sequence: u64,
}

impl Cells<'_> {
    /// Carries a request out. An error of redb ends the transaction; a refusal is an answer.
    fn apply(&mut self, ask: &Ask, changes: &mut Changes) -> Result<Answer, redb::Error> {
        match ask {
            Ask::Call(Request::PutAll { writes, fence }) => {
                let places = writes.iter().map(|write| (&*write.map, &*write.key));
                if let Some(refusal) = self.refusal(fence.as_ref(), places)? {
                    return Ok(Err(refusal));
                }
                for Write { map, key, value } in writes {
                    self.set(map, key, Some(value), changes)?;
                }
                Ok(Ok(Reply::Done))
            }
            Ask::Call(Request::Claim { map, key, fence }) => {
                if let Some(refusal) = self.refusal(Some(fence), [(&**map, &**key)].into_iter())? {
                    return Ok(Err(refusal));
                }
                let found = value(&self.table, map, key)?;
                let claimed = found.as_deref().and_then(|text| stamp(text, fence.number));
                if let Some(text) = claimed.as_ref().filter(|text| found.as_ref() != Some(text)) {
                    self.set(map, key, Some(text), changes)?;
                }
                Ok(Ok(Reply::Value(claimed.or(found))))
            }
            Ask::Call(Request::Remove { map, key }) => {
                if value(&self.table, map, key)?.is_some() {
                    self.set(map, key, None, changes)?;
                }
                Ok(Ok(Reply::Done))
            }
            Ask::Call(Request::CompareAndSet { map, key, expected, new }) => {
                let same = value(&self.table, map, key)? == *expected;
                if same {
                    self.set(map, key, Some(new), changes)?;
                }
                Ok(Ok(Reply::Swapped(same)))
            }
            other => read(&self.table, other).map(Ok),
        }
    }

    /// `None`: removed. That is a record too: else an older one could come back from a damaged file.
    fn set(
        &mut self,
        map: &str,
        key: &str,
        value: Option<&str>,
        changes: &mut Changes,
    ) -> Result<(), redb::Error> {
        self.sequence += 1;
        let cell = cell(map, key);
        let record = Record { sequence: self.sequence, key: &cell, value };
        self.table.insert(cell.as_str(), record.text().as_str())?;
        changes.push((map.to_owned(), key.to_owned(), value.map(str::to_owned)));
        Ok(())
    }

    /// Why a writer with this fence may not write there: because the record of its lease, or a value that it would
    /// replace, has a larger one. It is asked inside the transaction that writes, so nothing comes between.
    fn refusal<'a>(
        &self,
        fence: Option<&Fence>,
        places: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Option<MemoryError>, redb::Error> {
        let Some(Fence { lease, number }) = fence else { return Ok(None) };
        let table = &self.table;
        let record = value(table, LEASES, lease)?.and_then(|text| LeaseRecord::from_memory(&text).ok());
        let holder = record.map(|record| record.fence).filter(|holder| holder > number);
        for (map, key) in places {
            let newer = match holder {
                Some(holder) => Some(holder),
                None => value(table, map, key)?.as_deref().and_then(fence_of).filter(|found| found > number),
            };
            if let Some(newer) = newer {
                return Ok(Some(MemoryError::fenced(map, key, lease, *number, newer)));
            }
        }
        Ok(None)
    }
}
