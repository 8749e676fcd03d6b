//! What the node is given instead of the system's: byte streams that stamp, REST requests that reach the venue in this
//! process, memory of its own. Everything else is the operating system's.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use binance::hosts::{Endpoint, Hosts};
use binance::net::{ByteStream, CloseReason, Dialer, Dialing, SystemDialer};
use binance::rest::{Exchange, HttpFailure, HttpRequest, HttpResponse, RestError, Transport, TransportKind};
use memory::{MemoryConfig, MemoryError, SystemMemory};
use node::environment::{Environment, Surroundings};
use runtime::clock::Clock;
use tokio::sync::oneshot;

use crate::pipe::{End, connection};
use crate::stamped::{Rooms, Shared, Stamped};

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Books, trades and marks.
    Market,
    /// The user stream.
    User,
    /// The WebSocket API.
    Orders,
}

impl Link {
    fn of(path: &str) -> Self {
        match path {
            p if p.starts_with("/private") => Self::User,
            p if p.starts_with("/ws-fapi") => Self::Orders,
            _ => Self::Market,
        }
    }
}

/// What reaches the venue's thread.
pub enum ToVenue {
    /// A connection within the process.
    Connect(End),
    /// A REST request, and where its answer goes.
    Request(HttpRequest, oneshot::Sender<Result<HttpResponse, HttpFailure>>),
}

/// The logs of the node's ends, with what each connection is for.
pub type Logs = Arc<Mutex<Vec<(Link, Shared)>>>;

/// The node's end of a connection.
struct NodeEnd<S>(Stamped<S>);

impl<S: Read> Read for NodeEnd<S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl<S: Write> Write for NodeEnd<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl ByteStream for NodeEnd<End> {
    fn abort(&mut self) {
        self.0.inner.close();
    }
}

impl ByteStream for NodeEnd<Box<dyn ByteStream>> {
    fn abort(&mut self) {
        self.0.inner.abort();
    }
}

/// Opens connections that stamp: pipes within the process, or the system's sockets.
struct BenchDialer {
    /// `None`: within the process.
    wire: Option<SystemDialer>,
    venue: Mutex<Sender<ToVenue>>,
    logs: Logs,
    rooms: Rooms,
    clock: Clock,
    calls: Arc<AtomicU64>,
}

impl std::fmt::Debug for BenchDialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BenchDialer")
    }
}

/// Stamps the streams of one connection.
#[derive(Clone)]
struct Stamper {
    link: Link,
    logs: Logs,
    rooms: Rooms,
    clock: Clock,
    calls: Arc<AtomicU64>,
}

impl Stamper {
    fn around<S>(&self, inner: S) -> NodeEnd<S> {
        let room = if self.link == Link::Market { self.rooms.market } else { self.rooms.account };
        let (stream, log) = Stamped::client(inner, room, self.clock.clone(), Arc::clone(&self.calls));
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).push((self.link, log));
        NodeEnd(stream)
    }
}

struct Within(Option<End>, Stamper);

impl Dialing for Within {
    fn poll(&mut self) -> Result<Option<Box<dyn ByteStream>>, CloseReason> {
        Ok(self.0.take().map(|end| Box::new(self.1.around(end)) as Box<dyn ByteStream>))
    }
}

struct OverWire(Box<dyn Dialing>, Stamper);

impl Dialing for OverWire {
    fn poll(&mut self) -> Result<Option<Box<dyn ByteStream>>, CloseReason> {
        let stream = self.0.poll()?;
        Ok(stream.map(|stream| Box::new(self.1.around(stream)) as Box<dyn ByteStream>))
    }
}

impl Dialer for BenchDialer {
    fn dial(&self, endpoint: &Endpoint) -> Result<Box<dyn Dialing>, CloseReason> {
        let stamper = Stamper {
            link: Link::of(&endpoint.path),
            logs: Arc::clone(&self.logs),
            rooms: self.rooms,
            clock: self.clock.clone(),
            calls: Arc::clone(&self.calls),
        };
        if let Some(system) = &self.wire {
            return Ok(Box::new(OverWire(system.dial(endpoint)?, stamper)));
        }
        let (node, venue) = connection();
        let sent = self.venue.lock().unwrap_or_else(PoisonError::into_inner).send(ToVenue::Connect(venue));
        sent.map_err(|_| CloseReason::Io(io::ErrorKind::ConnectionRefused))?;
        Ok(Box::new(Within(Some(node), stamper)))
    }
}

/// Brings requests to the venue's thread.
#[derive(Debug)]
struct BenchTransport(Mutex<Sender<ToVenue>>);

impl Transport for BenchTransport {
    fn exchange(&self, request: HttpRequest) -> Exchange<'_> {
        let (answer, answered) = oneshot::channel();
        // Where the venue's thread is gone the answer's sender is dropped with the request.
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).send(ToVenue::Request(request, answer));
        let gone = || HttpFailure::Transport(TransportKind::Broken, "the venue is gone".to_owned());
        Box::pin(async move { answered.await.unwrap_or_else(|_| Err(gone())) })
    }
}

#[derive(Debug)]
struct BenchSurroundings {
    system: Arc<dyn Surroundings>,
    venue: Mutex<Sender<ToVenue>>,
}

impl Surroundings for BenchSurroundings {
    fn transport(&self, _hosts: &Hosts) -> Result<Arc<dyn Transport>, RestError> {
        let venue = self.venue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Arc::new(BenchTransport(Mutex::new(venue))))
    }

    fn memory(&self, config: MemoryConfig) -> Result<SystemMemory, MemoryError> {
        self.system.memory(config)
    }

    fn notify(&self, _state: &str) {}

    fn exit(&self, code: u8, why: &str) {
        self.system.exit(code, why);
    }

    fn host_name(&self) -> String {
        self.system.host_name()
    }
}

/// The environment of the measured node; what its connections carried stands in the logs, how often they were read and
/// written in `calls`.
pub fn environment(
    wire: bool,
    (clock, calls): (Clock, &Arc<AtomicU64>),
    rooms: Rooms,
    venue: Sender<ToVenue>,
) -> (Environment, Logs) {
    let system = Environment::system();
    let logs = Logs::default();
    let dialer = BenchDialer {
        wire: wire.then(SystemDialer::new),
        venue: Mutex::new(venue.clone()),
        logs: Arc::clone(&logs),
        rooms,
        clock: clock.clone(),
        calls: Arc::clone(calls),
    };
    let surroundings =
        BenchSurroundings { system: Arc::clone(&system.surroundings), venue: Mutex::new(venue) };
    let environment =
        Environment { clock, dialer: Arc::new(dialer), surroundings: Arc::new(surroundings), ..system };
    (environment, logs)
}

/// Where requests come from.
pub const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
