//! Byte streams of the operating system: TCP sockets, and TLS by rustls with ring, the Mozilla roots, host names
//! checked, no way to switch any of that off. Names are resolved by a short-lived thread, because the system's
//! resolver blocks; addresses need none.
#![allow(clippy::disallowed_methods, reason = "this is the production environment")]

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, Protocol, Socket, Type};

use super::close::CloseReason;
use super::stream::{ByteStream, Dialer, Dialing};
use crate::hosts::{Endpoint, HostError};

/// The client configuration of every encrypted connection (REST and WebSocket). Made once, then shared.
pub fn tls_config() -> Arc<ClientConfig> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring offers TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// Opens sockets. An unencrypted connection stays on this machine.
#[derive(Clone)]
pub struct SystemDialer {
    tls: Arc<ClientConfig>,
}

impl Default for SystemDialer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SystemDialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemDialer")
    }
}

impl SystemDialer {
    /// With [`tls_config`].
    pub fn new() -> Self {
        Self { tls: tls_config() }
    }
}

impl Dialer for SystemDialer {
    fn dial(&self, endpoint: &Endpoint) -> Result<Box<dyn Dialing>, CloseReason> {
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
        let tls = endpoint.tls.then(|| Arc::clone(&self.tls));
        Ok(Box::new(Attempt { endpoint: endpoint.clone(), tls, step: Step::Resolving(receiver) }))
    }
}

/// A read that finds nothing asks the network card itself, for so long at most, µs (`SO_BUSY_POLL`): a packet is then read
/// before its interrupt has been served.
const ASK_THE_CARD_US: u32 = 50;

struct Attempt {
    endpoint: Endpoint,
    tls: Option<Arc<ClientConfig>>,
    step: Step,
}

enum Step {
    Resolving(Receiver<Result<Vec<SocketAddr>, HostError>>),
    Connecting { socket: Socket, others: Vec<SocketAddr> },
    Over,
}

impl Attempt {
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

    fn open(&self, socket: Socket) -> Result<Box<dyn ByteStream>, CloseReason> {
        let tcp = TcpStream::from(socket);
        let Some(config) = &self.tls else { return Ok(Box::new(Plain(tcp))) };
        let refused = |why: String| CloseReason::Handshake { to: self.endpoint.authority(), why };
        let host = &self.endpoint.host;
        let name = ServerName::try_from(host.clone()).map_err(|e| refused(format!("`{host}`: {e}")))?;
        let connection =
            ClientConnection::new(Arc::clone(config), name).map_err(|e| refused(e.to_string()))?;
        Ok(Box::new(Tls(StreamOwned::new(connection, tcp))))
    }
}

impl Dialing for Attempt {
    fn poll(&mut self) -> Result<Option<Box<dyn ByteStream>>, CloseReason> {
        // Each turn of the loop makes one step; a step that must wait puts itself back.
        loop {
            match std::mem::replace(&mut self.step, Step::Over) {
                Step::Resolving(receiver) => match receiver.try_recv() {
                    Ok(addrs) => self.step = self.connect(addrs?)?,
                    Err(TryRecvError::Empty) => {
                        self.step = Step::Resolving(receiver);
                        return Ok(None);
                    }
                    Err(TryRecvError::Disconnected) => return Err(self.failed("the resolver gave no answer")),
                },
                Step::Connecting { socket, others } => match connected(&socket) {
                    Ok(true) => return self.open(socket).map(Some),
                    Ok(false) => {
                        self.step = Step::Connecting { socket, others };
                        return Ok(None);
                    }
                    Err(e) if others.is_empty() => return Err(self.failed(&e.to_string())),
                    Err(_) => self.step = self.connect(others)?,
                },
                Step::Over => return Err(self.failed("the attempt is over")),
            }
        }
    }
}

fn begin(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    // Who may not has what `net.core.busy_read` says (ops/tune-host); loopback has no card to ask.
    let _ = socket.set_busy_poll(ASK_THE_CARD_US);
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

struct Plain(TcpStream);
struct Tls(StreamOwned<ClientConnection, TcpStream>);

impl ByteStream for Plain {
    fn abort(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

impl ByteStream for Tls {
    fn abort(&mut self) {
        let _ = self.0.sock.shutdown(Shutdown::Both);
    }
}

impl Read for Plain {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Plain {
    #[inline]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Read for Tls {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Tls {
    #[inline]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
