//! The listener, and the TCP connections it makes: they can be cut from outside.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::cut::Cut;
use super::shared::Shared;
use crate::face::connection::{self, Admission};

/// A TCP connection that can be cut.
pub(super) struct CutStream {
    inner: TcpStream,
    cut: Arc<Cut>,
}

impl CutStream {
    /// Remembers who polls; `Some` where the connection is cut already.
    fn gone<T>(&self, cx: &Context<'_>) -> Option<io::Result<T>> {
        self.cut.polled_by(cx.waker());
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
        match self.shared.with(connection::admit) {
            Admission::Serve => Some(CutStream { inner, cut: self.shared.cut() }),
            Admission::Refuse => {
                inner.set_zero_linger().ok();
                None
            }
            Admission::Ignore => {
                tokio::spawn(ignore(inner));
                None
            }
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
