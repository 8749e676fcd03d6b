//! One connection to one member: calls by correlation id, events to their listeners, heartbeats.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::codec::{self, Login, PREAMBLE, Request, Welcome, kind};
use super::endpoint::Endpoint;
use super::frame::{Assembler, Message, Uuid};

/// Requests waiting to be written; beyond it callers wait.
const OUTGOING: usize = 256;
const READ_BYTES: usize = 64 << 10;
/// No further request joins a write of this size.
const WRITE_BYTES: usize = 64 << 10;

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Why a member could not be joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) reason: String,
    /// The member is there and says no: waiting will not change its mind.
    pub(super) refused: bool,
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self { reason, refused: false }
    }
}

/// Connects and authenticates.
pub(super) async fn join(
    endpoint: &Endpoint,
    address: &str,
    correlation: i64,
) -> Result<(Box<dyn Stream>, Welcome), Failure> {
    let config = &endpoint.config;
    let limit = Duration::from_millis(config.connect_timeout_ms);
    let mut stream = match timeout(limit, connect(endpoint, address)).await {
        Ok(stream) => stream?,
        Err(_) => return Err(format!("no connection within {limit:?}").into()),
    };
    let limit = Duration::from_millis(config.authentication_timeout_ms);
    let welcome = match timeout(limit, authenticate(&mut stream, endpoint, correlation)).await {
        Ok(welcome) => welcome?,
        Err(_) => {
            return Err(
                format!("no answer to the authentication within {limit:?}: is it starting up?").into()
            );
        }
    };
    let refused = |reason: String| Failure { reason, refused: true };
    match welcome.status {
        0 => Ok((stream, welcome)),
        1 => Err(refused(format!(
            "refused: the cluster is not `{}`, or the credentials are wrong (a member without security wants none)",
            config.cluster_name
        ))),
        2 => Err(refused("refused: another serialization version".to_owned())),
        3 => Err(refused("refused: this client is not allowed in the cluster".to_owned())),
        other => Err(refused(format!("refused with status {other}"))),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the Hazelcast client is production only: a simulation brings its own backend"
)]
async fn connect(endpoint: &Endpoint, address: &str) -> Result<Box<dyn Stream>, Failure> {
    let say = |e: io::Error| Failure::from(e.to_string());
    let tcp = TcpStream::connect(address).await.map_err(say)?;
    tcp.set_nodelay(true).map_err(say)?;
    match &endpoint.tls {
        None => Ok(Box::new(tcp)),
        Some((connector, tls)) => {
            let name = tls.name_of(address)?;
            let stream = connector.connect(name, tcp).await.map_err(|e| format!("TLS: {e}"))?;
            Ok(Box::new(stream))
        }
    }
}

async fn authenticate(
    stream: &mut dyn Stream,
    endpoint: &Endpoint,
    correlation: i64,
) -> Result<Welcome, Failure> {
    let credentials = endpoint.config.credentials.as_ref();
    let login = Login {
        cluster: &endpoint.config.cluster_name,
        username: credentials.map(|c| c.username.as_str()),
        password: credentials.map(|c| c.password()),
        client: endpoint.client,
        serialization_version: 1,
        client_type: "RST",
        client_version: env!("CARGO_PKG_VERSION"),
        client_name: "dolphin",
        labels: &[],
    };
    let mut bytes = PREAMBLE.to_vec();
    bytes.extend(codec::authentication(&login).with_correlation(correlation));
    stream.write_all(&bytes).await.map_err(|e| e.to_string())?;
    let mut assembler = Assembler::default();
    let mut buffer = vec![0; 4096];
    loop {
        if let Some(message) = assembler.next().map_err(|e| e.to_string())? {
            return match message.kind() {
                kind::AUTHENTICATION => Ok(codec::read_welcome(&message).map_err(|e| e.to_string())?),
                kind::ERROR => {
                    let error = codec::read_error(&message).map_err(|e| e.to_string())?;
                    Err(Failure { reason: error.to_string(), refused: true })
                }
                other => {
                    Err(format!("an unexpected answer of type {other:#08x} to the authentication").into())
                }
            };
        }
        match stream.read(&mut buffer).await.map_err(|e| e.to_string())? {
            0 => return Err("it closed the connection during authentication".to_owned().into()),
            count => assembler.feed(&buffer[..count]),
        }
    }
}

/// Takes the events of a listener. Called on the reading task: it must be quick.
pub(super) type Handler = Arc<dyn Fn(&Message) + Send + Sync>;

#[derive(Default)]
struct Calls {
    waiting: BTreeMap<i64, oneshot::Sender<Message>>,
    listeners: BTreeMap<i64, Handler>,
    closed: bool,
}

/// Why a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// It was certainly not sent.
    NotSent,
    /// The connection broke; nobody knows.
    Lost,
}

pub(super) struct Connection {
    /// Ascending: the smallest is the oldest connection.
    pub(super) id: u64,
    pub(super) member: Uuid,
    pub(super) address: String,
    outgoing: mpsc::Sender<Vec<u8>>,
    calls: Mutex<Calls>,
    closing: watch::Sender<Option<String>>,
    /// How often something was read, and written: the heartbeat watches them.
    reads: AtomicU64,
    writes: AtomicU64,
}

impl Connection {
    pub(super) fn new(id: u64, member: Uuid, address: &str) -> (Arc<Self>, mpsc::Receiver<Vec<u8>>) {
        let (outgoing, queue) = mpsc::channel(OUTGOING);
        let connection = Self {
            id,
            member,
            address: address.to_owned(),
            outgoing,
            calls: Mutex::default(),
            closing: watch::Sender::new(None),
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
        };
        (Arc::new(connection), queue)
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end of the connection.
    pub(super) async fn closed(&self) {
        // An error would mean the sender is gone, but it lives in `self`.
        self.closing.subscribe().wait_for(Option::is_some).await.ok();
    }

    /// Ends the connection: everybody who waits for an answer on it is told.
    pub(super) fn close(&self, reason: &str) {
        let mut calls = self.calls();
        if !calls.closed {
            calls.closed = true;
            calls.waiting.clear();
            calls.listeners.clear();
            drop(calls);
            self.closing.send_replace(Some(reason.to_owned()));
        }
    }

    /// Events with this correlation id go to the handler, from before the request is sent.
    pub(super) fn listen(&self, correlation: i64, handler: Handler) {
        self.calls().listeners.insert(correlation, handler);
    }

    pub(super) fn unlisten(&self, correlation: i64) {
        self.calls().listeners.remove(&correlation);
    }

    /// Sends a request and waits for its response, an error response included.
    pub(super) async fn call(&self, request: &Request, correlation: i64) -> Result<Message, NoAnswer> {
        let (answer, answered) = oneshot::channel();
        {
            let mut calls = self.calls();
            if calls.closed {
                return Err(NoAnswer::NotSent);
            }
            calls.waiting.insert(correlation, answer);
        }
        let _forget = Forget { connection: self, correlation };
        if self.outgoing.send(request.with_correlation(correlation)).await.is_err() {
            return Err(NoAnswer::NotSent);
        }
        answered.await.map_err(|_| NoAnswer::Lost)
    }

    fn dispatch(&self, message: Message) {
        let correlation = message.correlation();
        if message.is_event() {
            let handler = self.calls().listeners.get(&correlation).cloned();
            // Members send events of other kinds, and some with correlation 0: not ours, ignored.
            if let Some(handler) = handler {
                handler(&message);
            }
        } else if let Some(waiting) = self.calls().waiting.remove(&correlation) {
            waiting.send(message).ok(); // the caller may have given up
        }
    }

    /// Serves the connection until it ends; says why it did.
    pub(super) async fn run(
        &self,
        stream: Box<dyn Stream>,
        mut queue: mpsc::Receiver<Vec<u8>>,
        endpoint: &Endpoint,
        correlations: &AtomicI64,
    ) -> String {
        let (mut from, mut to) = tokio::io::split(stream);
        let read = async {
            let mut assembler = Assembler::default();
            let mut buffer = vec![0; READ_BYTES];
            loop {
                let count = from.read(&mut buffer).await.map_err(|e| e.to_string())?;
                if count == 0 {
                    return Err::<(), String>("the member closed the connection".to_owned());
                }
                self.reads.fetch_add(1, Ordering::Relaxed);
                assembler.feed(&buffer[..count]);
                while let Some(message) = assembler.next().map_err(|e| e.to_string())? {
                    self.dispatch(message);
                }
            }
        };
        let write = async {
            while let Some(mut bytes) = queue.recv().await {
                // What waits by now goes with it: one system call for a burst of small requests.
                while bytes.len() < WRITE_BYTES
                    && let Ok(more) = queue.try_recv()
                {
                    bytes.extend_from_slice(&more);
                }
                to.write_all(&bytes).await.map_err(|e| e.to_string())?;
                to.flush().await.map_err(|e| e.to_string())?;
                self.writes.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<(), String>(())
        };
        let mut closing = self.closing.subscribe();
        let reason = tokio::select! {
            biased;
            end = read => end.err(),
            end = write => end.err(),
            reason = self.heartbeat(endpoint, correlations) => Some(reason),
            _ = closing.wait_for(Option::is_some) => None,
        };
        let reason = reason.or_else(|| self.closing.borrow().clone()).unwrap_or_else(|| "closed".to_owned());
        self.close(&reason);
        reason
    }

    /// Pings when nothing else is written; returns when nothing came for too long. It counts its own ticks instead of
    /// reading a clock, so that a process that was itself stopped does not take that for silence of the member.
    async fn heartbeat(&self, endpoint: &Endpoint, correlations: &AtomicI64) -> String {
        let (interval, limit) = (endpoint.config.heartbeat_interval_ms, endpoint.config.heartbeat_timeout_ms);
        let (mut reads, mut writes, mut silent_ms) = (0, 0, 0u64);
        loop {
            sleep(Duration::from_millis(interval)).await;
            let (read, written) = (self.reads.load(Ordering::Relaxed), self.writes.load(Ordering::Relaxed));
            silent_ms = if read == reads { silent_ms.saturating_add(interval) } else { 0 };
            if silent_ms > limit {
                return format!("no sign of life for {limit} ms");
            }
            if written == writes {
                // Nobody waits for the answer: that something comes is enough. A full queue is written to anyway.
                let correlation = correlations.fetch_add(1, Ordering::Relaxed);
                self.outgoing.try_send(codec::ping().with_correlation(correlation)).ok();
            }
            (reads, writes) = (read, written);
        }
    }
}

/// Takes a call out of the table however it ends.
struct Forget<'a> {
    connection: &'a Connection,
    correlation: i64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.connection.calls().waiting.remove(&self.correlation);
    }
}
