//! What every connection needs to know.

use tokio_rustls::TlsConnector;

use super::config::{HazelcastConfig, TlsConfig};
use super::frame::Uuid;

pub(super) struct Endpoint {
    pub(super) config: HazelcastConfig,
    pub(super) tls: Option<(TlsConnector, TlsConfig)>,
    pub(super) client: Uuid,
}
