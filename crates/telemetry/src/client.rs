//! Asks a running node, and posts messages: one HTTP client with the roots of public certificates and those that are named.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::state::State;

/// A node that does not answer within this does not answer.
const WITHIN: Duration = Duration::from_secs(3);

/// A client; `ca`: a file with further roots.
pub(crate) fn http(ca: Option<&Path>) -> Result<reqwest::Client, String> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = ca {
        let bad = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        for root in CertificateDer::pem_file_iter(path).map_err(|e| bad(&e))? {
            roots.add(root.map_err(|e| bad(&e))?).map_err(|e| bad(&e))?;
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .timeout(WITHIN)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("dolphin/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|e| e.to_string())
}

/// Where a running node is asked.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Client {
    /// At `base`, `http://127.0.0.1:9464`.
    pub fn new(base: &str, token: Option<String>, ca: Option<&Path>) -> Result<Self, String> {
        Ok(Self { http: http(ca)?, base: base.trim_end_matches('/').to_owned(), token })
    }

    /// Where it asks.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The newest state. An error is for people.
    pub async fn state(&self) -> Result<State, String> {
        let url = format!("{}/api/state", self.base);
        let mut request = self.http.get(&url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.map_err(|e| {
            let why = if e.is_connect() { "nobody listens there" } else { "it does not answer" };
            format!("no node at {}: {why}", self.base)
        })?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|_| format!("{url}: the answer broke off"))?;
        if !status.is_success() {
            let text = String::from_utf8_lossy(&body);
            return Err(format!("{url}: {} {}", status.as_u16(), text.lines().next().unwrap_or_default()));
        }
        let state: State =
            serde_json::from_slice(&body).map_err(|e| format!("{url}: not the state of a node: {e}"))?;
        match state.schema {
            crate::state::SCHEMA => Ok(state),
            other => Err(format!(
                "{url}: the node tells schema {other}, this program knows {}: use the node's own version",
                crate::state::SCHEMA
            )),
        }
    }
}
