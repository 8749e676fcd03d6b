//! The owner's side of the socket: other processes ask, the store's thread answers.

#![expect(
    clippy::disallowed_methods,
    reason = "the socket between processes is production only (Disk::socket)"
)]

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::command::{Ask, Command};
use super::wire::{self, Call, Told};
use crate::error::{MemoryError, check_name, check_value};
use crate::request::Request;
use crate::sink::Sink;

/// Most processes at once; further ones are turned away.
const MAX_CLIENTS: usize = 64;
/// Most calls and watches of one process at a time.
const MAX_CALLS: usize = 1024;

/// Binds the socket, for this user alone. Only the holder of the store's lock calls it, so a file that is already
/// there was left by a process that is gone.
pub(super) fn bind(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: UnixListener, store: mpsc::Sender<Command>) {
    let slots = Arc::new(Semaphore::new(MAX_CLIENTS));
    let mut clients = JoinSet::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "the memory socket did not accept");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        while clients.try_join_next().is_some() {}
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            tracing::warn!(
                limit = MAX_CLIENTS,
                "too many processes at the memory socket, one was turned away"
            );
            continue;
        };
        let store = store.clone();
        clients.spawn(async move {
            let _slot = slot;
            if let Err(error) = client(stream, store).await {
                tracing::debug!(%error, "a process left the memory socket");
            }
        });
    }
}

async fn client(stream: UnixStream, store: mpsc::Sender<Command>) -> io::Result<()> {
    let (mut from, mut to) = stream.into_split();
    let (told, mut outbox) = mpsc::channel::<Told>(256);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Some(message) = outbox.recv().await {
            let bytes = wire::encode(&message).or_else(|error| match message {
                Told::Answer { id, .. } => wire::encode(&Told::answer(id, Err(error))),
                _ => Err(error),
            });
            match bytes {
                Ok(bytes) if to.write_all(&bytes).await.is_ok() => {}
                _ => return,
            }
        }
    });
    while let Some(Call { id, request: ask }) = wire::receive::<Call>(&mut from).await? {
        while tasks.try_join_next().is_some() {}
        if tasks.len() > MAX_CALLS {
            let refusal = MemoryError::Invalid(format!("more than {MAX_CALLS} calls and watches at once"));
            told.send(Told::answer(id, Err(refusal))).await.ok();
            continue;
        }
        // Commands enter the store in the order they came in; only the answers are waited for concurrently.
        let sink = matches!(ask, Ask::Watch { .. }).then(Arc::<Sink>::default);
        let (answer, answered) = oneshot::channel();
        if let Err(error) = check(&ask) {
            told.send(Told::answer(id, Err(error))).await.ok();
            continue;
        }
        if store.send(Command { ask, sink: sink.clone(), answer }).await.is_err() {
            return Ok(()); // the store is closing: the end of the connection says so
        }
        let told = told.clone();
        tasks.spawn(async move {
            let Ok(answer) = answered.await else { return };
            let failed = answer.is_err();
            if told.send(Told::answer(id, answer)).await.is_err() || failed {
                return;
            }
            let Some(sink) = sink.map(Closing) else { return };
            loop {
                let change = sink.0.next().await;
                if told.send(Told::Change { id, key: change.key, value: change.value }).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(())
}

/// Closes the sink when its task ends in whatever way, so that the store forgets it.
struct Closing(Arc<Sink>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The limits, once more: the other process may be another version.
fn check(ask: &Ask) -> Result<(), MemoryError> {
    let place = |map: &str, key: &str| check_name("map", map).and_then(|()| check_name("key", key));
    match ask {
        Ask::Watch { watch } => {
            check_name("map", &watch.map)?;
            watch.key.as_ref().map_or(Ok(()), |key| check_name("key", key))
        }
        Ask::Call(Request::Get { map, key } | Request::Remove { map, key }) => place(map, key),
        Ask::Call(Request::Keys { map } | Request::Entries { map }) => check_name("map", map),
        Ask::Call(Request::PutAll { writes, fence }) => {
            fence.as_ref().map_or(Ok(()), |fence| check_name("lease", &fence.lease))?;
            writes.iter().try_for_each(|write| {
                place(&write.map, &write.key)?;
                check_value(&write.map, &write.key, &write.value)
            })
        }
        Ask::Call(Request::Claim { map, key, fence }) => {
            place(map, key)?;
            check_name("lease", &fence.lease)
        }
        Ask::Call(Request::CompareAndSet { map, key, new, .. }) => {
            place(map, key)?;
            check_value(map, key, new)
        }
    }
}
