//! The embedded backend: durable, for the processes of one machine.
//!
//! redb lets one process in. So whoever comes first owns the file and serves the others on a socket beside it; when
//! the owner goes, the next one opens the file, and the rest connect to that one. Nobody has to know which role it
//! has: `dolphin memory watch` works beside a live node, and a live node works beside a forgotten watch.
//! (An embedded store with several processes inside was rejected: LMDB is `unsafe` to open, redb's is weeks old, and
//! neither tells anybody about changes.)

mod cells;
mod client;
mod command;
mod copies;
mod file;
mod guard;
mod record;
mod repair;
mod server;
mod staged;
mod store;
mod wire;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use runtime::environment::LocalTask;
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, sleep, timeout, timeout_at};

pub use self::repair::{Repair, Restore, repair, restore};

use self::command::{Ask, Command};
use self::store::Store;
use crate::backend::{Backend, Status};
use crate::environment::{LockGuard, MemoryEnvironment};
use crate::error::MemoryError;
use crate::request::{Answer, Reply, Request};
use crate::sink::{Registry, Sink, Target};

/// First and longest pause between attempts to reach the store.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Where the embedded store lives.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddedConfig {
    /// The file. Its socket stands beside it with `.sock` appended; the whole path must stay below 108 bytes.
    pub path: PathBuf,
    /// Longest wait for an answer, ms.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
}

const fn default_timeout_ms() -> u64 {
    5_000
}

impl EmbeddedConfig {
    /// A store at this path, with the default time limit.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), timeout_ms: default_timeout_ms() }
    }
}

#[derive(Debug, Clone)]
enum Link {
    Away(MemoryError),
    Up { store: mpsc::Sender<Command>, owner: bool },
    Closed,
}

/// Is the store to be closed, and has it been?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    No,
    Asked,
    Done,
}

#[derive(Debug)]
struct Shared {
    config: EmbeddedConfig,
    environment: MemoryEnvironment,
    link: watch::Sender<Link>,
    closing: watch::Sender<Closing>,
    registry: Registry,
}

impl Shared {
    fn away(&self, reason: &str) -> MemoryError {
        MemoryError::Away(format!("{}: {reason}", self.config.path.display()))
    }
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    task: AbortHandle,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A handle on the embedded store; dropping it closes it.
#[derive(Debug)]
pub(crate) struct Embedded(Handle);

impl Embedded {
    /// Starts the task that keeps the store open or connected. Needs a tokio runtime.
    pub(crate) fn start(config: EmbeddedConfig, environment: &MemoryEnvironment) -> Self {
        let away = MemoryError::Away(format!("{} is being opened", config.path.display()));
        let shared = Arc::new(Shared {
            config,
            environment: environment.clone(),
            link: watch::Sender::new(Link::Away(away)),
            closing: watch::Sender::new(Closing::No),
            registry: Registry::default(),
        });
        let keep = Box::pin(keep_attached(Arc::clone(&shared)));
        let task = environment.spawner.spawn("memory-embedded", keep).abort_handle();
        Self(Handle { shared, task })
    }
}

impl Backend for Embedded {
    fn watch(&self, map: &str, key: Option<&str>) -> Arc<Sink> {
        self.0.shared.registry.add(map, key)
    }

    fn status(&self) -> Status {
        let path = self.0.shared.config.path.display();
        match &*self.0.shared.link.borrow() {
            Link::Away(MemoryError::Away(reason)) => Status { connected: false, detail: reason.clone() },
            Link::Away(error) => Status { connected: false, detail: error.to_string() },
            Link::Closed => Status { connected: false, detail: format!("{path} was closed") },
            Link::Up { owner: true, .. } => {
                Status { connected: true, detail: format!("{path}, held by this process") }
            }
            Link::Up { owner: false, .. } => {
                Status { connected: true, detail: format!("{path}, owned by another process") }
            }
        }
    }

    fn call(&self, request: Request) -> BoxFuture<'_, Answer> {
        Box::pin(self.carry_out(request))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let closing = &self.0.shared.closing;
            let mut done = closing.subscribe();
            closing.send_if_modified(|state| {
                let first = *state == Closing::No;
                *state = if first { Closing::Asked } else { *state };
                first
            });
            // An error would mean that the sender is gone, but it lives in `self`.
            done.wait_for(|state| *state == Closing::Done).await.ok();
        })
    }

    fn lock<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<LockGuard>> {
        Box::pin(self.take_lock(name))
    }
}

impl Embedded {
    /// A file beside the store.
    async fn take_lock(&self, name: &str) -> Option<LockGuard> {
        let Shared { config, environment, .. } = &*self.0.shared;
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let file = file::beside(&config.path, &format!(".{name}.lock"));
        let disk = Arc::clone(&environment.disk);
        let (taken, answer) = oneshot::channel();
        environment.spawner.block(Box::new(move || {
            let lock = disk.lock(&file).unwrap_or_else(|error| {
                tracing::debug!(file = %file.display(), %error, "no lock");
                None
            });
            let _ = taken.send(lock); // nobody may wait for it any more: then it is free again
        }));
        answer.await.ok().flatten()
    }

    async fn carry_out(&self, request: Request) -> Answer {
        let limit = Duration::from_millis(self.0.shared.config.timeout_ms);
        let deadline = Instant::now() + limit;
        loop {
            let store = self.store(deadline).await?;
            let (answer, answered) = oneshot::channel();
            let command = Command { ask: Ask::Call(request.clone()), sink: None, answer };
            match timeout_at(deadline, store.send(command)).await {
                Err(_) => return Err(MemoryError::Timeout { operation: request.name(), limit }),
                Ok(Err(_)) => continue, // closed before it was sent
                Ok(Ok(())) => {}
            }
            match timeout_at(deadline, answered).await {
                Err(_) => return Err(MemoryError::Timeout { operation: request.name(), limit }),
                Ok(Ok(Err(MemoryError::Away(_))) | Err(_)) if request.is_idempotent() => {
                    sleep(BACKOFF.0).await;
                }
                Ok(Ok(answer)) => return answer,
                Ok(Err(_)) => return Err(MemoryError::Ambiguous(request.name())),
            }
        }
    }

    /// The way to the store, waiting for it until the deadline; not at all for one that only a person can bring back.
    async fn store(&self, deadline: Instant) -> Result<mpsc::Sender<Command>, MemoryError> {
        let mut link = self.0.shared.link.subscribe();
        let decided = link.wait_for(|link| match link {
            Link::Up { store, .. } => !store.is_closed(),
            Link::Away(MemoryError::Damaged { .. }) | Link::Closed => true,
            Link::Away(_) => false,
        });
        match timeout_at(deadline, decided).await {
            Ok(Ok(link)) => match &*link {
                Link::Up { store, .. } => Ok(store.clone()),
                Link::Away(error) => Err(error.clone()),
                Link::Closed => Err(self.0.shared.away("it was closed")),
            },
            _ => match &*self.0.shared.link.borrow() {
                Link::Away(error) => Err(error.clone()),
                _ => Err(self.0.shared.away("it is being opened again")),
            },
        }
    }
}

struct Attached {
    store: mpsc::Sender<Command>,
    owner: bool,
    /// Serves other processes until it is dropped.
    server: Option<Server>,
    /// Resolves when the store's thread has ended; of an owner.
    ended: Option<oneshot::Receiver<Result<(), String>>>,
}

/// A task that ends with its handle.
struct Server(JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps the store open or connected until it is to be closed.
async fn keep_attached(shared: Arc<Shared>) {
    let mut pause = BACKOFF.0;
    let mut generation = 0;
    let mut outage_logged = false;
    let mut closing = shared.closing.subscribe();
    while *closing.borrow() == Closing::No {
        match attach(&shared).await {
            Ok(Attached { store, owner, server, ended }) => {
                if outage_logged {
                    tracing::info!(path = %shared.config.path.display(), owner, "the memory store is back");
                }
                (pause, outage_logged) = (BACKOFF.0, false);
                generation += 1;
                shared.link.send_replace(Link::Up { store: store.clone(), owner });
                tokio::select! {
                    biased;
                    _ = closing.wait_for(|state| *state != Closing::No) => {}
                    () = stay_registered(&shared, &store, generation) => {}
                }
                let gone = shared.away("the process that owned the memory store is gone");
                shared.link.send_replace(Link::Away(gone));
                drop((store, server));
                if let Some(ended) = ended {
                    // It was closed by us, or it is closing after an error; either way its file is free then.
                    ended.await.ok();
                }
            }
            Err(error) => {
                // A change of owner takes a few attempts; only what lasts is an outage.
                let lasts =
                    pause > Duration::from_millis(500) || matches!(error, MemoryError::Damaged { .. });
                if lasts && !outage_logged {
                    outage_logged = true;
                    tracing::warn!(%error, "the memory store is away; trying on in the background");
                }
                shared.link.send_replace(Link::Away(error));
                tokio::select! {
                    biased;
                    _ = closing.wait_for(|state| *state != Closing::No) => {}
                    () = sleep(pause) => {}
                }
                pause = (pause * 2).min(BACKOFF.1);
            }
        }
    }
    shared.link.send_replace(Link::Closed);
    shared.closing.send_replace(Closing::Done);
}

async fn attach(shared: &Shared) -> Result<Attached, MemoryError> {
    let (path, environment) = (&shared.config.path, &shared.environment);
    let (file, surroundings) = (path.clone(), environment.clone());
    let (opened, answer) = oneshot::channel();
    environment.spawner.block(Box::new(move || {
        // Nobody waits any more if memory was dropped meanwhile.
        let _ = opened.send(store::open(&surroundings, &file));
    }));
    let socket = environment.disk.socket(path);
    match answer.await.map_err(|_| shared.away("it was not opened"))?? {
        Some(store) => own(shared, store, socket.as_deref()),
        None => {
            let taken = "it belongs to another process";
            let socket = socket.ok_or_else(|| shared.away(taken))?;
            let store = client::connect(&*environment.spawner, &socket)
                .await
                .map_err(|e| shared.away(&format!("{taken}, and {}: {e}", socket.display())))?;
            Ok(Attached { store, owner: false, server: None, ended: None })
        }
    }
}

/// Gives the store its thread, and serves it to the other processes.
fn own(shared: &Shared, store: Store, socket: Option<&Path>) -> Result<Attached, MemoryError> {
    let spawner = &shared.environment.spawner;
    let (sender, commands) = store::queue();
    let run = Box::new(move || -> LocalTask { Box::pin(store.run(commands)) });
    let ended = spawner
        .spawn_thread("memory-store", run)
        .map_err(|e| shared.away(&format!("no thread for the store: {e}")))?;
    let listener = socket.map(|socket| (socket, server::bind(socket)));
    let server = match listener {
        None => None,
        Some((_, Ok(listener))) => {
            let serve = Box::pin(server::serve(listener, sender.clone()));
            Some(Server(spawner.spawn("memory-server", serve)))
        }
        Some((socket, Err(error))) => {
            tracing::warn!(socket = %socket.display(), %error, "other processes cannot reach this memory store");
            None
        }
    };
    Ok(Attached { store: sender, owner: true, server, ended: Some(ended) })
}

/// Registers every watch, now and as they come, until the way to the store is gone.
async fn stay_registered(shared: &Shared, store: &mpsc::Sender<Command>, generation: u64) {
    loop {
        let mut failed = false;
        for (target, sink) in shared.registry.missing(generation) {
            match register(store, target.clone(), &sink).await {
                Ok(()) => shared.registry.registered(&sink, generation),
                Err(error) => {
                    failed = true;
                    tracing::debug!(map = target.map, %error, "a watch is not registered yet");
                }
            }
        }
        tokio::select! {
            biased;
            () = store.closed() => return,
            () = shared.registry.wake.notified() => {}
            () = sleep(Duration::from_millis(500)), if failed => {}
        }
    }
}

async fn register(
    store: &mpsc::Sender<Command>,
    target: Target,
    sink: &Arc<Sink>,
) -> Result<(), MemoryError> {
    let limit = Duration::from_secs(5);
    let (answer, answered) = oneshot::channel();
    let ask = Ask::Watch { watch: target };
    let away = |_| MemoryError::Away("the store closed".to_owned());
    sink.begin();
    let asked = async {
        let command = Command { ask, sink: Some(Arc::clone(sink)), answer };
        store.send(command).await.map_err(|_| MemoryError::Away("the store closed".to_owned()))?;
        answered.await.map_err(away)?
    };
    match timeout(limit, asked).await.map_err(|_| MemoryError::Timeout { operation: "watch", limit })?? {
        Reply::Entries(entries) => {
            sink.resync(entries);
            Ok(())
        }
        other => Err(MemoryError::Invalid(format!("an unexpected answer: {other:?}"))),
    }
}
