//! The other processes' side of the socket.

#![expect(
    clippy::disallowed_methods,
    reason = "the socket between processes is production only (Disk::socket)"
)]

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runtime::environment::Spawner;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use super::command::Command;
use super::wire::{self, Call, Told};
use crate::request::Answer;
use crate::sink::Sink;

/// Commands waiting to be written.
const QUEUE: usize = 256;

/// Connects to the owner. The sender behaves like the one of the store itself: it closes when the owner is gone.
pub(super) async fn connect(spawner: &dyn Spawner, path: &Path) -> io::Result<mpsc::Sender<Command>> {
    let stream = UnixStream::connect(path).await?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    let serve = async move {
        if let Err(error) = run(stream, receiver).await {
            tracing::debug!(%error, "the owner of the memory store is gone");
        }
    };
    drop(spawner.spawn("memory-client", Box::pin(serve)));
    Ok(sender)
}

#[derive(Default)]
struct Calls {
    waiting: BTreeMap<u64, (&'static str, oneshot::Sender<Answer>)>,
    watches: BTreeMap<u64, Arc<Sink>>,
}

async fn run(stream: UnixStream, mut commands: mpsc::Receiver<Command>) -> io::Result<()> {
    let (mut from, mut to) = stream.into_split();
    let calls = Mutex::new(Calls::default());
    // Reading goes on while a write waits, so that two full sockets cannot wait for each other.
    let read = async {
        while let Some(message) = wire::receive::<Told>(&mut from).await? {
            lock(&calls).take(message);
        }
        Ok(())
    };
    let write = async {
        let mut last_id = 0;
        while let Some(command) = commands.recv().await {
            last_id += 1;
            let bytes = lock(&calls).send(last_id, command);
            if let Some(bytes) = bytes {
                to.write_all(&bytes).await?;
            }
        }
        Ok(())
    };
    // Dropping `calls` afterwards tells everybody who waits.
    tokio::select! { biased; end = read => end, end = write => end }
}

fn lock(calls: &Mutex<Calls>) -> MutexGuard<'_, Calls> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Calls {
    /// Registers a command; the bytes to write, unless it cannot be sent at all.
    fn send(&mut self, id: u64, command: Command) -> Option<Vec<u8>> {
        let Command { ask, sink, answer } = command;
        let operation = ask.name();
        match wire::encode(&Call { id, request: ask }) {
            Ok(bytes) => {
                self.waiting.insert(id, (operation, answer));
                if let Some(sink) = sink {
                    self.watches.retain(|_, sink| !sink.is_closed());
                    self.watches.insert(id, sink);
                }
                Some(bytes)
            }
            Err(error) => {
                answer.send(Err(error)).ok();
                None
            }
        }
    }

    fn take(&mut self, message: Told) {
        match message {
            Told::Answer { id, reply } => {
                if let Some((_, answer)) = self.waiting.remove(&id) {
                    answer.send(Ok(reply)).ok();
                }
            }
            Told::Failed { id, why } => {
                self.watches.remove(&id);
                if let Some((operation, answer)) = self.waiting.remove(&id) {
                    answer.send(Err(why.error(operation))).ok();
                }
            }
            Told::Change { id, key, value } => {
                if let Some(sink) = self.watches.get(&id) {
                    sink.event(&key, value);
                }
            }
        }
    }
}
