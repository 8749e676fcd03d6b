//! The other processes' side of the socket.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use super::wire::{self, Call, Told};
use crate::error::MemoryError;
use crate::request::{Answer, Command};
use crate::watch::Sink;

/// Commands waiting to be written.
const QUEUE: usize = 256;

/// Connects to the owner. The sender behaves like the one of the store itself: it closes when the owner is gone.
pub(super) async fn connect(path: &Path) -> io::Result<mpsc::Sender<Command>> {
    let stream = UnixStream::connect(path).await?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        if let Err(error) = run(stream, receiver).await {
            tracing::debug!(%error, "the owner of the memory store is gone");
        }
    });
    Ok(sender)
}

#[derive(Default)]
struct Calls {
    waiting: HashMap<u64, (&'static str, oneshot::Sender<Answer>)>,
    watches: HashMap<u64, Arc<Sink>>,
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
    tokio::select! { end = read => end, end = write => end }
}

fn lock(calls: &Mutex<Calls>) -> MutexGuard<'_, Calls> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Calls {
    /// Registers a command; the bytes to write, unless it cannot be sent at all.
    fn send(&mut self, id: u64, command: Command) -> Option<Vec<u8>> {
        let Command { request, sink, answer } = command;
        let operation = request.name();
        match wire::encode(&Call { id, request }) {
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
            Told::Failed { id, outage, reason } => {
                self.watches.remove(&id);
                if let Some((operation, answer)) = self.waiting.remove(&id) {
                    let error = if outage {
                        MemoryError::Away(reason)
                    } else {
                        MemoryError::Refused { operation, reason }
                    };
                    answer.send(Err(error)).ok();
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
