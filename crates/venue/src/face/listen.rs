//! TCP connections that can be cut from outside, and the listener that makes them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::server::lock;
use super::world::Shared;
use crate::faults::{Ending, Fault};

/// What a connection is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Use {
    /// REST.
    Rest = 0,
    /// A WebSocket.
    Socket = 1,
    /// The operator's: no fault touches it.
    Operator = 2,
}

/// A way to cut a TCP connection from outside.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    reset: AtomicBool,
    silent: AtomicBool,
    used_for: AtomicU8,
    /// The task that polls the connection.
    waker: Mutex<Option<Waker>>,
}

impl Cut {
    /// Resets the connection.
    pub(crate) fn reset(&self) {
        self.reset.store(true, Ordering::Relaxed);
        if let Some(w) = self.waker.lock().expect("no panic holds it").take() {
            w.wake();
        }
    }

    /// From now on nothing is read or sent; the connection stays open.
    pub(crate) fn silence(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_reset(&self) -> bool {
        self.reset.load(Ordering::Relaxed)
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    pub(crate) fn use_for(&self, what: Use) {
        self.used_for.store(what as u8, Ordering::Relaxed);
    }

    fn is_rest(&self) -> bool {
        self.used_for.load(Ordering::Relaxed) == Use::Rest as u8
    }
}

/// All TCP connections, to be cut.
#[derive(Debug, Default)]
pub(crate) struct Cuts(Vec<Weak<Cut>>);

impl Cuts {
    fn add(&mut self) -> Arc<Cut> {
        let cut = Arc::<Cut>::default();
        if self.0.len() == self.0.capacity() {
            self.0.retain(|c| c.strong_count() > 0);
        }
        self.0.push(Arc::downgrade(&cut));
        cut
    }

    /// Ends the REST connections.
    pub(crate) fn end_rest(&self, how: Ending) {
        for cut in self.0.iter().filter_map(Weak::upgrade).filter(|c| c.is_rest()) {
            match how {
                Ending::Close | Ending::Reset => cut.reset(),
                Ending::Silence => cut.silence(),
            }
        }
    }
}

/// A TCP connection that can be cut.
pub(super) struct CutStream {
    inner: TcpStream,
    cut: Arc<Cut>,
}

impl CutStream {
    /// Remembers who polls; `Some` where the connection is cut already.
    fn gone<T>(&self, cx: &Context<'_>) -> Option<io::Result<T>> {
        *self.cut.waker.lock().expect("no panic holds it") = Some(cx.waker().clone());
        self.cut.is_reset().then(|| Err(io::ErrorKind::ConnectionReset.into()))
    }
}

impl Drop for CutStream {
    fn drop(&mut self) {
        if self.cut.is_reset() {
            // Linger zero: closing sends RST.
            self.inner.set_zero_linger().ok();
        }
    }
}

impl AsyncRead for CutStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.gone(cx) {
            Some(e) => Poll::Ready(e),
            None if self.cut.is_silent() => Poll::Pending,
            None => Pin::new(&mut self.inner).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for CutStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.gone(cx) {
            Some(e) => Poll::Ready(e),
            // What is sent into a dead network is lost without a word.
            None if self.cut.is_silent() => Poll::Ready(Ok(buf.len())),
            None => Pin::new(&mut self.inner).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.cut.is_silent() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.cut.is_reset() || self.cut.is_silent() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// The listener.
pub(super) struct CutListener {
    pub(super) inner: TcpListener,
    pub(super) shared: Shared,
}

impl CutListener {
    /// A connection as the faults in force leave it.
    fn admit(&self, inner: TcpStream) -> Option<CutStream> {
        inner.set_nodelay(true).ok();
        let mut w = lock(&self.shared);
        let on_connect = |f: &Fault| matches!(f, Fault::RefuseConnections | Fault::IgnoreConnections);
        match w.faults.strike(on_connect) {
            Some(Fault::RefuseConnections) => {
                w.counters.faults += 1;
                inner.set_zero_linger().ok();
                None
            }
            Some(_) => {
                w.counters.faults += 1;
                tokio::spawn(ignore(inner));
                None
            }
            None => Some(CutStream { inner, cut: w.cuts.add() }),
        }
    }
}

/// Reads and says nothing until the other end goes.
async fn ignore(mut stream: TcpStream) {
    let mut buf = [0; 1024];
    while stream.read(&mut buf).await.is_ok_and(|n| n > 0) {}
}

impl Listener for CutListener {
    type Io = CutStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (CutStream, SocketAddr) {
        loop {
            match self.inner.accept().await {
                Ok((inner, addr)) => {
                    if let Some(stream) = self.admit(inner) {
                        return (stream, addr);
                    }
                }
                // Out of file descriptors: wait for some to be closed.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// The other end of a connection.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) ip: IpAddr,
    pub(super) cut: Arc<Cut>,
}

impl Connected<IncomingStream<'_, CutListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, CutListener>) -> Self {
        Self { ip: stream.remote_addr().ip(), cut: stream.io().cut.clone() }
    }
}
