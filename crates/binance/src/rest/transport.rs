//! How a request gets to the venue and its answer back: the part that differs between production and simulation.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use super::error::TransportKind;

/// A request, ready to be sent.
#[derive(Clone)]
pub struct HttpRequest {
    /// `GET`, `POST`, …
    pub method: &'static str,
    /// Scheme, host and port, e.g. `https://fapi.binance.com`.
    pub base: String,
    /// Path, e.g. `/fapi/v1/order`.
    pub path: &'static str,
    /// Query, signed where it must be; empty: none.
    pub query: String,
    /// Value of `X-MBX-APIKEY`.
    pub api_key: Option<String>,
    /// Largest body that is read, bytes.
    pub max_body: usize,
}

impl fmt::Debug for HttpRequest {
    /// Without query and key: they hold the signature, and who we are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpRequest({} {}{})", self.method, self.base, self.path)
    }
}

/// An answer, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// Status.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// The first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpFailure {
    /// The transport failed; the text never holds the URL.
    Transport(TransportKind, String),
    /// The body is larger than wanted.
    TooLarge,
}

/// An answer under way.
pub type Exchange<'a> = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpFailure>> + Send + 'a>>;

/// Carries requests. Redirects are not followed; how long an answer may take is the caller's business.
pub trait Transport: Send + Sync + fmt::Debug {
    /// Sends a request and reads the whole answer. Dropping the future gives the request up.
    fn exchange(&self, request: HttpRequest) -> Exchange<'_>;
}
