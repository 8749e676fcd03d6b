//! The store itself: one redb file, one thread that owns it.
//!
//! redb commits are atomic and wait for the disk, so a crash loses nothing that was answered. Waiting takes
//! milliseconds; the thread therefore commits everything that queued up meanwhile in one transaction (group commit),
//! and answers and tells the watchers only afterwards.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{BackendError, Database, DatabaseError, Durability, ReadableDatabase, StorageBackend};
use tokio::sync::mpsc;

use super::cells::{self, CELLS, Changes};
use super::command::{Ask, Command};
use crate::environment::Disk;
use crate::error::MemoryError;
use crate::request::{Answer, Reply};
use crate::sink::{Sink, Target};

/// Commands waiting for the thread; beyond it senders wait.
const QUEUE: usize = 1024;
/// Most commands per commit.
const BATCH: usize = 256;
/// Every so many commits of volatile maps one waits for the disk, so that redb can reuse their pages.
const VOLATILE_RUN: u32 = 256;
/// redb's page cache, bytes.
const CACHE_BYTES: usize = 32 << 20;

/// Opens the store. `None`: another process owns it. It blocks.
pub(super) fn open(disk: &dyn Disk, path: &Path) -> Result<Option<Store>, String> {
    let say = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let file = disk.open(path).map_err(|e| say(&e))?;
    let database = match Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(Boxed(file)) {
        Ok(database) => database,
        Err(DatabaseError::DatabaseAlreadyOpen) => return Ok(None),
        Err(e) => return Err(say(&e)),
    };
    cells::prepare(&database).map_err(|e| say(&e))?;
    Ok(Some(Store { path: path.to_owned(), database, watchers: BTreeMap::new(), volatile_run: 0 }))
}

/// The queue that a store is served by.
pub(super) fn queue() -> (mpsc::Sender<Command>, mpsc::Receiver<Command>) {
    mpsc::channel(QUEUE)
}

/// redb takes a backend by its type, a [`Disk`] gives one of any.
#[derive(Debug)]
struct Boxed(Box<dyn StorageBackend>);

impl StorageBackend for Boxed {
    fn len(&self) -> Result<u64, io::Error> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> Result<(), io::Error> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.0.write(offset, data)
    }
    fn close(&self) -> Result<(), io::Error> {
        self.0.close()
    }
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }
    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_shared_range(start, end)
    }
    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_range(start, end)
    }
    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_shared_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }
    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.query_lock_range(start, end)
    }
}

type Watcher = (Option<String>, Arc<Sink>);

pub(super) struct Store {
    path: PathBuf,
    database: Database,
    watchers: BTreeMap<String, Vec<Watcher>>,
    volatile_run: u32,
}

impl Store {
    /// Serves until the last sender is gone.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(first) = commands.recv().await {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(next) = commands.try_recv()
            {
                batch.push(next);
            }
            if let Err(reason) = self.serve(batch) {
                // redb wants to be opened again after an I/O error; whoever holds our sender does so.
                tracing::warn!(path = %self.path.display(), %reason, "the memory store is closed after an error");
                return;
            }
        }
    }

    fn serve(&mut self, batch: Vec<Command>) -> Result<(), String> {
        let (watches, calls): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|command| matches!(command.ask, Ask::Watch { .. }));
        let outcome = self.commit(&calls).map(|(answers, changes)| {
            self.publish(changes);
            answers
        });
        match outcome {
            Ok(answers) => {
                for (command, answer) in calls.into_iter().zip(answers) {
                    command.answer.send(answer).ok(); // the asker may have given up
                }
            }
            Err(e) => {
                let reason = format!("{}: {e}", self.path.display());
                for command in calls.into_iter().chain(watches) {
                    command.answer.send(Err(MemoryError::Away(reason.clone()))).ok();
                }
                return Err(reason);
            }
        }
        for command in watches {
            let answer = self.watch(&command);
            command.answer.send(answer).ok();
        }
        Ok(())
    }

    fn commit(&mut self, calls: &[Command]) -> Result<(Vec<Answer>, Changes), redb::Error> {
        let mut changes = Changes::new();
        let writes = calls.iter().any(|c| cells::is_write(&c.ask));
        if !writes {
            let transaction = self.database.begin_read()?;
            let table = transaction.open_table(CELLS)?;
            let read = |c: &Command| cells::read(&table, &c.ask).map(Ok);
            let answers = calls.iter().map(read).collect::<Result<_, redb::Error>>()?;
            return Ok((answers, changes));
        }
        let mut transaction = self.database.begin_write()?;
        let lasting =
            calls.iter().any(|c| !cells::is_volatile_write(&c.ask)) || self.volatile_run >= VOLATILE_RUN;
        if lasting {
            self.volatile_run = 0;
        } else {
            self.volatile_run += 1;
            transaction.set_durability(Durability::None)?;
        }
        let mut answers = Vec::with_capacity(calls.len());
        {
            let mut table = transaction.open_table(CELLS)?;
            for command in calls {
                answers.push(cells::apply(&mut table, &command.ask, &mut changes)?);
            }
        }
        transaction.commit()?;
        Ok((answers, changes))
    }

    fn publish(&mut self, changes: Changes) {
        for (map, key, value) in changes {
            let Some(watchers) = self.watchers.get_mut(&map) else { continue };
            watchers.retain(|(only, sink)| {
                if only.as_ref().is_none_or(|only| *only == key) {
                    sink.event(&key, value.clone());
                }
                !sink.is_closed()
            });
        }
        self.watchers.retain(|_, watchers| !watchers.is_empty());
    }

    fn watch(&mut self, command: &Command) -> Answer {
        let (Ask::Watch { watch: Target { map, key } }, Some(sink)) = (&command.ask, &command.sink) else {
            return Err(MemoryError::Invalid("a watch without a sink".to_owned()));
        };
        let watchers = self.watchers.entry(map.clone()).or_default();
        watchers.retain(|(_, sink)| !sink.is_closed());
        watchers.push((key.clone(), Arc::clone(sink)));
        let entries = (|| -> Result<_, redb::Error> {
            let transaction = self.database.begin_read()?;
            let table = transaction.open_table(CELLS)?;
            match key {
                Some(key) => {
                    Ok(cells::value(&table, map, key)?.map(|text| (key.clone(), text)).into_iter().collect())
                }
                None => cells::entries(&table, map),
            }
        })();
        entries.map(Reply::Entries).map_err(|e| MemoryError::Away(format!("{}: {e}", self.path.display())))
    }
}
