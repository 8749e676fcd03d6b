//! The store itself: one redb file, one thread that owns it.
//!
//! redb commits are atomic and wait for the disk, so a crash loses nothing that was answered. Waiting takes
//! milliseconds; the thread therefore commits everything that queued up meanwhile in one transaction (group commit),
//! and answers and tells the watchers only afterwards. Once a day, and when it closes, it leaves a copy of the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use redb::{Database, ReadTransaction, ReadableDatabase};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::cells::{self, CELLS, Changes};
use super::command::{Ask, Command};
use super::guard::guarded;
use super::{copies, file};
use crate::environment::MemoryEnvironment;
use crate::error::MemoryError;
use crate::request::{Answer, Reply};
use crate::sink::{Sink, Target};

/// Commands waiting for the thread; beyond it senders wait.
const QUEUE: usize = 1024;
/// Most commands per commit.
const BATCH: usize = 256;
/// Every so many commits of volatile maps one waits for the disk, so that redb can reuse their pages.
const VOLATILE_RUN: u32 = 256;
/// Between two copies of a store that is written to; the first of all is made sooner.
const COPY_EVERY: Duration = Duration::from_secs(24 * 3600);
const FIRST_COPY: Duration = Duration::from_secs(60);

/// Opens the store. `None`: another process owns it. It blocks.
pub(super) fn open(environment: &MemoryEnvironment, path: &Path) -> Result<Option<Store>, MemoryError> {
    let Some(file::Opened { database, sequence }) = file::open(&*environment.disk, path)? else {
        return Ok(None);
    };
    let has_copy = environment.disk.exists(&copies::names(path)[0]).unwrap_or(false);
    Ok(Some(Store {
        path: path.to_owned(),
        environment: environment.clone(),
        database,
        sequence,
        watchers: BTreeMap::new(),
        volatile_run: 0,
        changed: false,
        first_copy: if has_copy { COPY_EVERY } else { FIRST_COPY },
        copying: None,
    }))
}

/// The queue that a store is served by.
pub(super) fn queue() -> (mpsc::Sender<Command>, mpsc::Receiver<Command>) {
    mpsc::channel(QUEUE)
}

type Watcher = (Option<String>, Arc<Sink>);

pub(super) struct Store {
    path: PathBuf,
    environment: MemoryEnvironment,
    database: Database,
    /// Last sequence used.
    sequence: u64,
    watchers: BTreeMap<String, Vec<Watcher>>,
    volatile_run: u32,
    /// Since the last copy; volatile maps do not count.
    changed: bool,
    first_copy: Duration,
    /// Resolves when the copy that is being made is done.
    copying: Option<oneshot::Receiver<()>>,
}

impl Store {
    /// Serves until the last sender is gone.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut copy_at = Instant::now() + self.first_copy;
        loop {
            let first = tokio::select! {
                biased;
                first = commands.recv() => first,
                () = sleep_until(copy_at), if self.changed => {
                    copy_at = Instant::now() + COPY_EVERY;
                    self.copy_beside();
                    continue;
                }
            };
            let Some(first) = first else { break };
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(next) = commands.try_recv()
            {
                batch.push(next);
            }
            if let Err(reason) = self.serve(batch) {
                // redb wants to be opened again after an error; whoever holds our sender does so.
                tracing::warn!(%reason, "the memory store is closed after an error");
                return self.close();
            }
        }
        if let Some(copying) = self.copying.take() {
            copying.await.ok(); // an end without a word is an end
        }
        if self.changed
            && let Some(transaction) = self.begin_read()
        {
            let made = copies::make(&*self.environment.disk, &self.path, transaction, self.sequence);
            log_copy(&self.path, made);
        }
        self.close();
    }

    /// A copy, made beside the work that goes on.
    fn copy_beside(&mut self) {
        let Some(transaction) = self.begin_read() else { return };
        self.changed = false;
        let (disk, path, sequence) = (Arc::clone(&self.environment.disk), self.path.clone(), self.sequence);
        let (done, copying) = oneshot::channel();
        self.copying = Some(copying);
        self.environment.spawner.block(Box::new(move || {
            log_copy(&path, copies::make(&*disk, &path, transaction, sequence));
            let _ = done.send(()); // the store may have been closed after an error
        }));
    }

    fn begin_read(&self) -> Option<ReadTransaction> {
        guarded(|| self.database.begin_read()).ok()?.ok()
    }

    fn close(self) {
        let database = self.database;
        match guarded(|| database.close()) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(path = %self.path.display(), %error, "the memory store did not close cleanly");
            }
            Err(panic) => {
                tracing::warn!(path = %self.path.display(), panic, "the memory store did not close cleanly");
            }
        }
    }

    fn serve(&mut self, batch: Vec<Command>) -> Result<(), MemoryError> {
        let (watches, calls): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|command| matches!(command.ask, Ask::Watch { .. }));
        match self.guarded(|store| store.commit(&calls)) {
            Ok((answers, changes)) => {
                self.publish(changes);
                for (command, answer) in calls.into_iter().zip(answers) {
                    command.answer.send(answer).ok(); // the asker may have given up
                }
            }
            Err(error) => {
                for command in calls.into_iter().chain(watches) {
                    command.answer.send(Err(error.clone())).ok();
                }
                return Err(error);
            }
        }
        for command in watches {
            let answer = self.watch(&command);
            let failed = answer.as_ref().err().filter(|error| error.is_outage()).cloned();
            command.answer.send(answer).ok();
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(())
    }

    fn guarded<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, redb::Error>,
    ) -> Result<T, MemoryError> {
        match guarded(|| work(self)) {
            Ok(outcome) => outcome.map_err(|error| file::failure(&self.path, error)),
            Err(panic) => Err(file::damaged(&self.path, panic)),
        }
    }

    fn commit(&mut self, calls: &[Command]) -> Result<(Vec<Answer>, Changes), redb::Error> {
        if !calls.iter().any(|c| cells::is_write(&c.ask)) {
            let transaction = self.database.begin_read()?;
            let table = transaction.open_table(CELLS)?;
            let read = |c: &Command| cells::read(&table, &c.ask).map(Ok);
            let answers = calls.iter().map(read).collect::<Result<_, redb::Error>>()?;
            return Ok((answers, Changes::new()));
        }
        let volatile = calls.iter().all(|c| cells::is_volatile_write(&c.ask));
        self.changed |= !volatile;
        let lasting = !volatile || self.volatile_run >= VOLATILE_RUN;
        self.volatile_run = if lasting { 0 } else { self.volatile_run + 1 };
        cells::commit(&self.database, &mut self.sequence, lasting, calls.iter().map(|c| &c.ask))
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
        self.guarded(|store| {
            let transaction = store.database.begin_read()?;
            let table = transaction.open_table(CELLS)?;
            match key {
                Some(key) => {
                    let value = cells::value(&table, map, key)?;
                    Ok(value.map(|text| (key.clone(), text)).into_iter().collect())
                }
                None => cells::entries(&table, map),
            }
        })
        .map(Reply::Entries)
    }
}

fn log_copy(store: &Path, made: Result<(), MemoryError>) {
    match made {
        Ok(()) => tracing::debug!(store = %store.display(), "a copy of the memory store was made"),
        Err(error) => tracing::warn!(%error, "no copy of the memory store was made"),
    }
}
