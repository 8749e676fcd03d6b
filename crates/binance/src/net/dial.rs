//! One attempt to open a WebSocket: resolve, connect, TLS and upgrade, each step nonblocking.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use market::Nanos;
use rustls::ClientConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tungstenite::client::{IntoClientRequest, client_with_config};
use tungstenite::handshake::MidHandshake;
use tungstenite::handshake::client::ClientHandshake;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{HandshakeError, WebSocket};

use super::tls::Stream;
use crate::hosts::{Endpoint, HostError};

/// Why a connection is not there (any more). No variant holds a path: a path may hold a listen key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The name did not resolve, or an unencrypted connection would leave this machine.
    #[error(transparent)]
    Host(#[from] HostError),
    /// No connection.
    #[error("cannot connect to {to}: {why} (is the port open, and the host right?)")]
    Connect {
        /// Host and port.
        to: String,
        /// What the system said.
        why: String,
    },
    /// TLS or the upgrade to WebSocket failed.
    #[error("{to} does not open a WebSocket: {why}")]
    Handshake {
        /// Host and port.
        to: String,
        /// What went wrong.
        why: String,
    },
    /// An attempt took too long.
    #[error("{to} did not answer in time")]
    TimedOut {
        /// Host and port.
        to: String,
    },
    /// The other side closed the connection in order.
    #[error("closed by the venue ({code}: {text})")]
    Closed {
        /// WebSocket close code (1006: none was given).
        code: u16,
        /// Its text.
        text: String,
    },
    /// The socket broke.
    #[error("the socket broke: {0}")]
    Io(io::ErrorKind),
    /// What came is not WebSocket, or a message above the size limit.
    #[error("broken WebSocket stream: {0}")]
    Protocol(String),
    /// Nothing came, not even an answer to our pings.
    #[error("nothing heard for {} ms", .silent.millis())]
    Silent {
        /// How long.
        silent: Nanos,
    },
    /// We wanted it so.
    #[error("closed by us: {0}")]
    Ours(&'static str),
}

impl CloseReason {
    /// In one word, for counting.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Host(_) => "host",
            Self::Connect { .. } => "connect",
            Self::Handshake { .. } => "handshake",
            Self::TimedOut { .. } => "timed_out",
            Self::Closed { .. } => "closed",
            Self::Io(_) => "io",
            Self::Protocol(_) => "protocol",
            Self::Silent { .. } => "silent",
            Self::Ours(_) => "ours",
        }
    }
}

/// The steps of an attempt.
pub(super) enum Step {
    Resolving(Receiver<Result<Vec<SocketAddr>, HostError>>),
    Connecting { socket: Socket, others: Vec<SocketAddr> },
    Upgrading(Box<MidHandshake<ClientHandshake<Stream>>>),
}

/// An attempt under way.
pub(super) struct Dial {
    endpoint: Endpoint,
    tls: Option<Arc<ClientConfig>>,
    config: WebSocketConfig,
    pub(super) step: Option<Step>,
    deadline: Nanos,
}

impl Dial {
    /// Begins an attempt that must be done by `deadline`. Names are resolved by a short-lived thread, because the
    /// system's resolver blocks; addresses need none.
    pub(super) fn start(
        endpoint: &Endpoint,
        tls: &Arc<ClientConfig>,
        config: WebSocketConfig,
        deadline: Nanos,
    ) -> Result<Self, CloseReason> {
        let (sender, receiver) = channel();
        if endpoint.host.parse::<std::net::IpAddr>().is_ok() {
            let _ = sender.send(endpoint.resolve());
        } else {
            let wanted = endpoint.clone();
            std::thread::Builder::new()
                .name("resolver".into())
                .spawn(move || sender.send(wanted.resolve()))
                .map_err(|e| CloseReason::Io(e.kind()))?;
        }
        let tls = endpoint.tls.then(|| Arc::clone(tls));
        Ok(Self { endpoint: endpoint.clone(), tls, config, step: Some(Step::Resolving(receiver)), deadline })
    }

    /// Goes on as far as it can without waiting. `Ok(None)`: not done yet.
    pub(super) fn poll(&mut self, now: Nanos) -> Result<Option<WebSocket<Stream>>, CloseReason> {
        if now >= self.deadline {
            return Err(CloseReason::TimedOut { to: self.endpoint.authority() });
        }
        // Each turn of the loop makes one step; a step that must wait puts itself back.
        while let Some(step) = self.step.take() {
            match step {
                Step::Resolving(receiver) => match receiver.try_recv() {
                    Ok(addrs) => self.step = Some(self.connect(addrs?)?),
                    Err(TryRecvError::Empty) => {
                        self.step = Some(Step::Resolving(receiver));
                        return Ok(None);
                    }
                    Err(TryRecvError::Disconnected) => return Err(self.failed("the resolver gave no answer")),
                },
                Step::Connecting { socket, others } => match connected(&socket) {
                    Ok(true) => match self.upgrade(socket)? {
                        Upgrade::Done(ws) => return Ok(Some(*ws)),
                        Upgrade::Waiting(step) => {
                            self.step = Some(step);
                            return Ok(None);
                        }
                    },
                    Ok(false) => {
                        self.step = Some(Step::Connecting { socket, others });
                        return Ok(None);
                    }
                    Err(e) if others.is_empty() => return Err(self.failed(&e.to_string())),
                    Err(_) => self.step = Some(self.connect(others)?),
                },
                Step::Upgrading(mid) => match self.upgraded(mid.handshake())? {
                    Upgrade::Done(ws) => return Ok(Some(*ws)),
                    Upgrade::Waiting(step) => {
                        self.step = Some(step);
                        return Ok(None);
                    }
                },
            }
        }
        Ok(None)
    }

    fn failed(&self, why: &str) -> CloseReason {
        CloseReason::Connect { to: self.endpoint.authority(), why: why.to_owned() }
    }

    /// Begins to connect to the first address that takes it.
    fn connect(&self, addrs: Vec<SocketAddr>) -> Result<Step, CloseReason> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        let mut addrs = addrs.into_iter();
        while let Some(addr) = addrs.next() {
            match begin(addr) {
                Ok(socket) => return Ok(Step::Connecting { socket, others: addrs.collect() }),
                Err(e) => last = e,
            }
        }
        Err(self.failed(&last.to_string()))
    }

    fn upgrade(&self, socket: Socket) -> Result<Upgrade, CloseReason> {
        let refuse = |why: String| CloseReason::Handshake { to: self.endpoint.authority(), why };
        let tcp = TcpStream::from(socket);
        let stream = Stream::new(tcp, &self.endpoint.host, self.tls.as_ref()).map_err(refuse)?;
        // The scheme only sets the default port here: encryption was decided above.
        let url = format!("{}{}", self.endpoint, self.endpoint.path);
        let request =
            url.into_client_request().map_err(|_| refuse("its URL is not a WebSocket URL".into()))?;
        self.upgraded(client_with_config(request, stream, Some(self.config)))
    }

    fn upgraded(&self, made: Made) -> Result<Upgrade, CloseReason> {
        match made {
            Ok((ws, _)) => Ok(Upgrade::Done(Box::new(ws))),
            Err(HandshakeError::Interrupted(mid)) => Ok(Upgrade::Waiting(Step::Upgrading(Box::new(mid)))),
            Err(HandshakeError::Failure(e)) => {
                let why = match e {
                    // The body of a refusal may quote the request; its status is what helps.
                    tungstenite::Error::Http(reply) => format!("HTTP status {}", reply.status()),
                    other => other.to_string(),
                };
                Err(CloseReason::Handshake { to: self.endpoint.authority(), why })
            }
        }
    }
}

type Made = Result<
    (WebSocket<Stream>, tungstenite::handshake::client::Response),
    HandshakeError<ClientHandshake<Stream>>,
>;

enum Upgrade {
    Done(Box<WebSocket<Stream>>),
    Waiting(Step),
}

fn begin(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&addr.into()) {
        Ok(()) => Ok(socket),
        Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => Ok(socket),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(socket),
        Err(e) => Err(e),
    }
}

/// Has a nonblocking connect come through?
fn connected(socket: &Socket) -> io::Result<bool> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(e) => Err(e),
    }
}
