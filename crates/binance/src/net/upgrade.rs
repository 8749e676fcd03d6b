//! One attempt to open a WebSocket: a byte stream, then the upgrade, each step without waiting.

use std::io;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use market::Nanos;
use tungstenite::client::{IntoClientRequest, client_with_config};
use tungstenite::handshake::MidHandshake;
use tungstenite::handshake::client::ClientHandshake;
use tungstenite::http::HeaderValue;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{HandshakeError, WebSocket};

use super::close::CloseReason;
use super::stream::{ByteStream, Dialer, Dialing};
use crate::hosts::Endpoint;

/// What a connection runs over: a byte stream that is read as often as it is allowed to. tungstenite reads until a read
/// brings nothing, and so costs a system call too many after every frame; whoever polls the connection comes back anyhow.
/// Once the upgrade is done tungstenite only reads: what it would write by itself (pongs, a farewell) comes from the outbox.
pub(super) struct Stream {
    inner: Box<dyn ByteStream>,
    reads_left: u32,
    upgraded: bool,
}

impl Stream {
    /// Read freely, until [`Self::allow`] says otherwise.
    pub(super) fn new(inner: Box<dyn ByteStream>) -> Self {
        Self { inner, reads_left: u32::MAX, upgraded: false }
    }

    /// The upgrade is done: from now on nothing is written but to [`Self::inner`].
    pub(super) const fn upgraded(&mut self) {
        self.upgraded = true;
    }

    /// The byte stream itself.
    #[inline]
    pub(super) fn inner(&mut self) -> &mut dyn ByteStream {
        &mut *self.inner
    }

    /// So many reads that bring something, from now on.
    pub(super) const fn allow(&mut self, reads: u32) {
        self.reads_left = reads;
    }

    /// What is left of them.
    pub(super) const fn reads_left(&self) -> u32 {
        self.reads_left
    }

    /// Would a read bring anything now?
    #[inline]
    pub(super) fn may_bring(&mut self) -> bool {
        self.inner.may_bring()
    }

    /// Drops the connection at once.
    pub(super) fn abort(&mut self) {
        self.inner.abort();
    }
}

impl io::Read for Stream {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.reads_left == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let n = self.inner.read(buf)?;
        self.reads_left -= 1;
        Ok(n)
    }
}

impl io::Write for Stream {
    #[inline]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.upgraded { Ok(buf.len()) } else { self.inner.write(buf) }
    }
    fn flush(&mut self) -> io::Result<()> {
        if self.upgraded { Ok(()) } else { self.inner.flush() }
    }
}

/// An attempt under way.
pub(super) struct Attempt {
    endpoint: Endpoint,
    config: WebSocketConfig,
    /// Of the upgrade: `Sec-WebSocket-Key`.
    key: [u8; 16],
    step: Option<Step>,
    deadline: Nanos,
}

enum Step {
    Dialing(Box<dyn Dialing>),
    Upgrading(Box<MidHandshake<ClientHandshake<Stream>>>),
}

impl Attempt {
    /// Begins an attempt that must be done by `deadline`.
    pub(super) fn start(
        endpoint: &Endpoint,
        dialer: &dyn Dialer,
        config: WebSocketConfig,
        key: [u8; 16],
        deadline: Nanos,
    ) -> Result<Self, CloseReason> {
        let step = Some(Step::Dialing(dialer.dial(endpoint)?));
        Ok(Self { endpoint: endpoint.clone(), config, key, step, deadline })
    }

    /// Is the byte stream there, and only the upgrade missing?
    pub(super) const fn is_upgrading(&self) -> bool {
        matches!(self.step, Some(Step::Upgrading(_)))
    }

    /// Goes on as far as it can without waiting. `Ok(None)`: not done yet.
    pub(super) fn poll(&mut self, now: Nanos) -> Result<Option<WebSocket<Stream>>, CloseReason> {
        if now >= self.deadline {
            return Err(CloseReason::TimedOut { to: self.endpoint.authority() });
        }
        let made = match self.step.take() {
            Some(Step::Dialing(mut dialing)) => match dialing.poll()? {
                Some(stream) => self.upgrade(Stream::new(stream))?,
                None => {
                    self.step = Some(Step::Dialing(dialing));
                    return Ok(None);
                }
            },
            Some(Step::Upgrading(half)) => half.handshake(),
            None => return Ok(None),
        };
        match made {
            Ok((ws, _)) => Ok(Some(ws)),
            Err(HandshakeError::Interrupted(half)) => {
                self.step = Some(Step::Upgrading(Box::new(half)));
                Ok(None)
            }
            Err(HandshakeError::Failure(e)) => Err(self.refused(match e {
                // The body of a refusal may quote the request; its status is what helps.
                tungstenite::Error::Http(reply) => format!("HTTP status {}", reply.status()),
                other => other.to_string(),
            })),
        }
    }

    fn refused(&self, why: String) -> CloseReason {
        CloseReason::Handshake { to: self.endpoint.authority(), why }
    }

    fn upgrade(&self, stream: Stream) -> Result<Made, CloseReason> {
        // The scheme only sets the default port here: encryption was decided by the dialer.
        let url = format!("{}{}", self.endpoint, self.endpoint.path);
        let request =
            url.into_client_request().ok().zip(HeaderValue::from_str(&BASE64_STANDARD.encode(self.key)).ok());
        let (mut request, key) =
            request.ok_or_else(|| self.refused("its URL is not a WebSocket URL".to_owned()))?;
        request.headers_mut().insert("Sec-WebSocket-Key", key);
        Ok(client_with_config(request, stream, Some(self.config)))
    }
}

type Made = Result<
    (WebSocket<Stream>, tungstenite::handshake::client::Response),
    HandshakeError<ClientHandshake<Stream>>,
>;
