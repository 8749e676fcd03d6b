//! The tables of the store, and what requests do to them, inside a transaction of redb.

use redb::{Database, ReadableTable, TableDefinition};

use super::command::Ask;
use crate::error::MemoryError;
use crate::fence::{Fence, fence_of, stamp};
use crate::request::{Answer, Reply, Request, Write};
use crate::schema::{FromMemory, LEASES, LeaseRecord, is_volatile};

/// `map NUL key` → value. Names hold no NUL, so a map is a range of keys.
pub(super) const CELLS: TableDefinition<&str, &str> = TableDefinition::new("cells");
const FORMAT: TableDefinition<&str, u64> = TableDefinition::new("format");
const FORMAT_VERSION: u64 = 1;

/// What a batch changed: map, key, new value.
pub(super) type Changes = Vec<(String, String, Option<String>)>;

/// Makes the tables of a new store, and refuses a store of another layout.
pub(super) fn prepare(database: &Database) -> Result<(), Box<dyn std::error::Error>> {
    let transaction = database.begin_write()?;
    {
        transaction.open_table(CELLS)?;
        let mut format = transaction.open_table(FORMAT)?;
        let found = format.get("version")?.map(|version| version.value());
        match found {
            None => drop(format.insert("version", FORMAT_VERSION)?),
            Some(FORMAT_VERSION) => {}
            Some(other) => return Err(format!("layout {other}, this program knows {FORMAT_VERSION}").into()),
        }
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

pub(super) fn value(
    table: &impl ReadableTable<&'static str, &'static str>,
    map: &str,
    key: &str,
) -> Result<Option<String>, redb::Error> {
    Ok(table.get(cell(map, key).as_str())?.map(|guard| guard.value().to_owned()))
}

pub(super) fn entries(
    table: &impl ReadableTable<&'static str, &'static str>,
    map: &str,
) -> Result<Vec<(String, String)>, redb::Error> {
    let (low, high) = (format!("{map}\0"), format!("{map}\x01"));
    let mut found = Vec::new();
    for entry in table.range(low.as_str()..high.as_str())? {
        let (key, value) = entry?;
        found.push((key.value()[low.len()..].to_owned(), value.value().to_owned()));
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

type Cells<'a> = redb::Table<'a, &'static str, &'static str>;

/// Carries a request out. An error of redb ends the transaction; a refusal is an answer.
pub(super) fn apply(table: &mut Cells<'_>, ask: &Ask, changes: &mut Changes) -> Result<Answer, redb::Error> {
    match ask {
        Ask::Call(Request::PutAll { writes, fence }) => {
            let places = writes.iter().map(|write| (&*write.map, &*write.key));
            if let Some(refusal) = refusal(table, fence.as_ref(), places)? {
                return Ok(Err(refusal));
            }
            for Write { map, key, value } in writes {
                set(table, map, key, value, changes)?;
            }
            Ok(Ok(Reply::Done))
        }
        Ask::Call(Request::Claim { map, key, fence }) => {
            if let Some(refusal) = refusal(table, Some(fence), [(&**map, &**key)].into_iter())? {
                return Ok(Err(refusal));
            }
            let found = value(table, map, key)?;
            let claimed = found.as_deref().and_then(|text| stamp(text, fence.number));
            if let Some(text) = claimed.as_ref().filter(|text| found.as_ref() != Some(text)) {
                set(table, map, key, text, changes)?;
            }
            Ok(Ok(Reply::Value(claimed.or(found))))
        }
        Ask::Call(Request::Remove { map, key }) => {
            if table.remove(cell(map, key).as_str())?.is_some() {
                changes.push((map.clone(), key.clone(), None));
            }
            Ok(Ok(Reply::Done))
        }
        Ask::Call(Request::CompareAndSet { map, key, expected, new }) => {
            let same = value(table, map, key)? == *expected;
            if same {
                set(table, map, key, new, changes)?;
            }
            Ok(Ok(Reply::Swapped(same)))
        }
        other => read(table, other).map(Ok),
    }
}

fn set(
    table: &mut Cells<'_>,
    map: &str,
    key: &str,
    value: &str,
    changes: &mut Changes,
) -> Result<(), redb::Error> {
    table.insert(cell(map, key).as_str(), value)?;
    changes.push((map.to_owned(), key.to_owned(), Some(value.to_owned())));
    Ok(())
}

/// Why a writer with this fence may not write there: because the record of its lease, or a value that it would
/// replace, has a larger one. It is asked inside the transaction that writes, so nothing comes between.
fn refusal<'a>(
    table: &Cells<'_>,
    fence: Option<&Fence>,
    places: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Option<MemoryError>, redb::Error> {
    let Some(Fence { lease, number }) = fence else { return Ok(None) };
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
