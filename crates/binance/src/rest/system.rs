//! Requests over the operating system's sockets, by reqwest.

use std::fmt;

use reqwest::Method;
use reqwest::header::HeaderValue;

use super::error::{RestError, TransportKind};
use super::transport::{Exchange, HttpFailure, HttpRequest, HttpResponse, Transport};
use crate::hosts::{Endpoint, Hosts};
use crate::net::tls_config;

/// The HTTP client of production.
#[derive(Clone)]
pub struct SystemTransport(reqwest::Client);

impl fmt::Debug for SystemTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemTransport")
    }
}

impl SystemTransport {
    /// For the REST host of `hosts`. Resolves it once (blocking: call it while starting) to make sure that an
    /// unencrypted connection stays on this machine, and keeps to those addresses then.
    pub fn new(hosts: &Hosts) -> Result<Self, RestError> {
        let endpoint = Endpoint::parse(&hosts.rest)?;
        let addrs = endpoint.resolve()?;
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured((*tls_config()).clone())
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tcp_nodelay(true);
        if !endpoint.tls {
            builder = builder.resolve_to_addrs(&endpoint.host, &addrs);
        }
        builder.build().map(Self).map_err(|e| RestError::answer("REST client", e.to_string()))
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let refused = |why: &str| HttpFailure::Transport(TransportKind::Connect, why.to_owned());
        let method = Method::from_bytes(request.method.as_bytes()).map_err(|_| refused("no such method"))?;
        let mut url = format!("{}{}", request.base, request.path);
        if !request.query.is_empty() {
            url.push('?');
            url.push_str(&request.query);
        }
        let mut building = self.0.request(method.clone(), url);
        if let Some(key) = &request.api_key {
            let mut key = HeaderValue::from_str(key).map_err(|_| refused("the key is no header"))?;
            key.set_sensitive(true);
            building = building.header("X-MBX-APIKEY", key);
        }
        if method != Method::GET {
            building = building.header("Content-Length", "0");
        }
        let mut response = building.send().await.map_err(|e| failure(&e))?;
        let header = |(name, value): (&reqwest::header::HeaderName, &HeaderValue)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        };
        let headers = response.headers().iter().filter_map(header).collect();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| failure(&e))? {
            if body.len() + chunk.len() > request.max_body {
                return Err(HttpFailure::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(HttpResponse { status: response.status().as_u16(), headers, body })
    }
}

impl Transport for SystemTransport {
    fn exchange(&self, request: HttpRequest) -> Exchange<'_> {
        Box::pin(self.send(request))
    }
}

/// The innermost cause, never the URL: it holds the signature.
fn failure(error: &reqwest::Error) -> HttpFailure {
    let mut why: &dyn std::error::Error = error;
    while let Some(source) = why.source() {
        why = source;
    }
    let inner = if std::error::Error::source(error).is_some() { why.to_string() } else { String::new() };
    let kind = match error {
        e if e.is_connect() => TransportKind::Connect,
        e if e.is_timeout() => TransportKind::TimedOut,
        _ => TransportKind::Broken,
    };
    HttpFailure::Transport(kind, inner)
}
