//! TLS with a certificate made at the start: an authority whose key is forgotten at once, and a certificate of it for the
//! loopback and for the exchange's host names, so that a client that has those built in needs a resolver that leads them
//! here and nothing else.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::config::VenueError;

/// A client whose TLS handshake is not done by then is dropped.
pub(super) const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// Handshakes that are done and wait for the server.
const DONE_WAITING: usize = 64;

/// Names and addresses of the certificate; the wildcards are one level deep, as the exchange's hosts are.
const NAMES: [&str; 7] =
    ["localhost", "*.localhost", "127.0.0.1", "::1", "*.binance.com", "*.binancefuture.com", "binance.com"];

/// What the server proves itself with, and what its clients have to trust.
pub(super) struct Identity {
    pub(super) acceptor: TlsAcceptor,
    /// The authority's certificate, PEM.
    pub(super) authority: String,
}

impl Identity {
    /// Makes one.
    pub(super) fn make() -> Result<Self, VenueError> {
        let failed = |e: rcgen::Error| VenueError::Certificate(e.to_string());
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "local venue, made at its start");
        let authority =
            CertifiedIssuer::self_signed(params, KeyPair::generate().map_err(failed)?).map_err(failed)?;

        let key = KeyPair::generate().map_err(failed)?;
        let names = NAMES.map(str::to_owned);
        let mut params = CertificateParams::new(names).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, "local venue");
        params.use_authority_key_identifier_extension = true;
        let own = params.signed_by(&key, &authority).map_err(failed)?;

        let wrong = |e: rustls::Error| VenueError::Certificate(e.to_string());
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(wrong)?
            .with_no_client_auth()
            .with_single_cert(vec![own.der().clone()], key)
            .map_err(wrong)?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(server)), authority: authority.pem() })
    }
}

/// Does the TLS handshake beside the listener, so that a slow client keeps nobody waiting.
pub(super) struct Handshakes<T> {
    acceptor: TlsAcceptor,
    done: mpsc::Sender<T>,
    ready: mpsc::Receiver<T>,
}

impl<T: Send + 'static> Handshakes<T> {
    pub(super) fn new(acceptor: TlsAcceptor) -> Self {
        let (done, ready) = mpsc::channel(DONE_WAITING);
        Self { acceptor, done, ready }
    }

    /// Begins one; `wrap` makes what [`Self::next`] gives of it.
    pub(super) fn begin<S>(
        &self,
        stream: S,
        wrap: impl FnOnce(tokio_rustls::server::TlsStream<S>) -> T + Send + 'static,
    ) where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (accept, done) = (self.acceptor.accept(stream), self.done.clone());
        tokio::spawn(async move {
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_WITHIN, accept).await {
                done.send(wrap(stream)).await.ok();
            }
        });
    }

    /// The next that is done.
    pub(super) async fn next(&mut self) -> T {
        // One sender is kept here: the channel never ends.
        match self.ready.recv().await {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }
}
