//! How to reach a cluster.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::error::MemoryError;

/// Most configured addresses.
const MAX_ADDRESSES: usize = 16;

/// A Hazelcast 5.x cluster (protocol 2.x, Hazelcast 4.0 and later).
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HazelcastConfig {
    /// `host:port` of some members; the others are learned from them.
    pub members: Vec<String>,
    /// Name of the cluster; a member of another one refuses.
    pub cluster_name: String,
    /// User and password, from the key file. None for members without security.
    #[serde(skip)]
    pub credentials: Option<Credentials>,
    /// TLS, if the members want it.
    pub tls: Option<TlsConfig>,
    /// Leases, kills and what is written under a lease are refused while the cluster has fewer members: of a cluster that
    /// has split, only one side can have more than half of them (docs/lease.md). 1: no such limit.
    pub minimum_members: usize,
    /// Longest TCP and TLS connect, ms.
    pub connect_timeout_ms: u64,
    /// Longest authentication, ms. A member that is starting up accepts at once and answers many seconds later.
    pub authentication_timeout_ms: u64,
    /// Longest operation with its retries, ms.
    pub invocation_timeout_ms: u64,
    /// A ping after so long without a write, ms.
    pub heartbeat_interval_ms: u64,
    /// A connection on which nothing came for so long is given up, ms.
    pub heartbeat_timeout_ms: u64,
}

impl Default for HazelcastConfig {
    fn default() -> Self {
        Self {
            members: vec!["127.0.0.1:5701".to_owned()],
            cluster_name: "dolphin".to_owned(),
            credentials: None,
            tls: None,
            minimum_members: 1,
            connect_timeout_ms: 5_000,
            authentication_timeout_ms: 20_000,
            invocation_timeout_ms: 5_000,
            heartbeat_interval_ms: 1_000,
            heartbeat_timeout_ms: 10_000,
        }
    }
}

/// User and password. Not shown by `Debug`.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// User.
    pub username: String,
    /// Password.
    pub password: SecretString,
}

impl Credentials {
    pub(super) fn password(&self) -> &str {
        self.password.expose_secret()
    }
}

/// TLS towards the members.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file of the authorities to trust; absent: the public ones.
    pub ca_file: Option<PathBuf>,
    /// Name the members' certificates carry; absent: the host of the address.
    pub server_name: Option<String>,
}

impl HazelcastConfig {
    /// Checks what can be checked without a network.
    pub(super) fn check(&self) -> Result<(), MemoryError> {
        if self.members.is_empty() || self.members.len() > MAX_ADDRESSES {
            return Err(config(format!("`members` must name 1 to {MAX_ADDRESSES} addresses")));
        }
        for address in &self.members {
            let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
            if port.and_then(|port| port.parse::<u16>().ok()).is_none_or(|port| port == 0) {
                return Err(config(format!("`{address}` in `members` is not `host:port`")));
            }
        }
        if self.cluster_name.is_empty() {
            return Err(config("`cluster_name` is empty".to_owned()));
        }
        if self.minimum_members == 0 {
            return Err(config("`minimum_members` must be at least 1".to_owned()));
        }
        let times = [
            self.connect_timeout_ms,
            self.authentication_timeout_ms,
            self.invocation_timeout_ms,
            self.heartbeat_interval_ms,
        ];
        if times.contains(&0) || self.heartbeat_timeout_ms <= self.heartbeat_interval_ms {
            return Err(config(
                "time limits must be above 0 and the heartbeat time-out above its interval".to_owned(),
            ));
        }
        Ok(())
    }

    pub(super) const fn invocation_timeout(&self) -> Duration {
        Duration::from_millis(self.invocation_timeout_ms)
    }
}

fn config(what: String) -> MemoryError {
    MemoryError::Config(what)
}

impl TlsConfig {
    pub(super) fn connector(&self) -> Result<TlsConnector, MemoryError> {
        let mut roots = RootCertStore::empty();
        match &self.ca_file {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(path) => {
                let say = |e: &dyn std::fmt::Display| config(format!("`ca_file` {}: {e}", path.display()));
                for certificate in CertificateDer::pem_file_iter(path).map_err(|e| say(&e))? {
                    roots.add(certificate.map_err(|e| say(&e))?).map_err(|e| say(&e))?;
                }
                if roots.is_empty() {
                    return Err(say(&"no certificate in it"));
                }
            }
        }
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| config(e.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(client)))
    }

    /// The name to expect at an address.
    pub(super) fn name_of(&self, address: &str) -> Result<ServerName<'static>, String> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let name = self.server_name.as_deref().unwrap_or(host).trim_matches(['[', ']']).to_owned();
        ServerName::try_from(name.clone()).map_err(|_| format!("`{name}` is no name for a certificate"))
    }
}
