//! The section `telemetry` of the configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a node shows of itself, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySection {
    /// Where `/metrics`, `/healthz`, `/readyz`, `/api/state` and the dashboard are served; `off`: nowhere. Beyond this machine
    /// only with a token and TLS.
    pub listen: String,
    /// Serve the dashboard at `/`.
    pub dashboard: bool,
    /// File with the token that every request must show, readable by its owner alone.
    pub token_file: Option<PathBuf>,
    /// Certificate chain, PEM.
    pub tls_cert: Option<PathBuf>,
    /// Its key, PEM, readable by its owner alone.
    pub tls_key: Option<PathBuf>,
    /// Names by which this address may be called, beside its own (`Host`).
    pub hosts: Vec<String>,
    /// Where pages go.
    pub notify: NotifySection,
}

impl Default for TelemetrySection {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:9464".to_owned(),
            dashboard: true,
            token_file: None,
            tls_cert: None,
            tls_key: None,
            hosts: Vec::new(),
            notify: NotifySection::default(),
        }
    }
}

/// Where pages go: what a person must be woken for, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NotifySection {
    /// File with a URL that takes JSON by POST.
    pub webhook_file: Option<PathBuf>,
    /// File with the URL of a Slack webhook.
    pub slack_file: Option<PathBuf>,
    /// File with the token of a Telegram bot.
    pub telegram_file: Option<PathBuf>,
    /// Chat that the bot writes to.
    pub telegram_chat: Option<String>,
    /// Base URL of the Telegram API.
    pub telegram_url: String,
    /// A gate must have been closed for so long before somebody is woken.
    #[schemars(range(min = 0, max = 3600000))]
    pub after_ms: u64,
    /// What still stands is said again after so long.
    #[schemars(range(min = 60000, max = 86400000))]
    pub repeat_ms: u64,
    /// Most messages within a minute; what is beyond is summed up in the next.
    #[schemars(range(min = 1, max = 60))]
    pub max_per_minute: u32,
}

impl Default for NotifySection {
    fn default() -> Self {
        Self {
            webhook_file: None,
            slack_file: None,
            telegram_file: None,
            telegram_chat: None,
            telegram_url: "https://api.telegram.org".to_owned(),
            after_ms: 15_000,
            repeat_ms: 3_600_000,
            max_per_minute: 6,
        }
    }
}

impl TelemetrySection {
    /// The address; `None`: nothing is served. An error is for people.
    pub fn address(&self) -> Result<Option<SocketAddr>, String> {
        if self.listen == "off" {
            return Ok(None);
        }
        let address: SocketAddr = self
            .listen
            .parse()
            .map_err(|_| format!("`telemetry.listen` is `{}`, it is ADDRESS:PORT or off", self.listen))?;
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err("`telemetry.tls_cert` and `telemetry.tls_key` belong together".to_owned());
        }
        if !address.ip().is_loopback() && (self.token_file.is_none() || self.tls_cert.is_none()) {
            return Err(format!(
                "`telemetry.listen` is {address}, which others can reach: that needs `token_file`, `tls_cert` and \
                 `tls_key`; 127.0.0.1 needs none"
            ));
        }
        Ok(Some(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_this_machine_only_with_token_and_tls() {
        let mut section = TelemetrySection::default();
        assert_eq!(section.address().unwrap().unwrap().port(), 9464);
        section.listen = "0.0.0.0:9464".to_owned();
        assert!(section.address().unwrap_err().contains("token_file"));
        section.token_file = Some("token".into());
        assert!(section.address().is_err());
        section.tls_cert = Some("cert".into());
        assert!(section.address().unwrap_err().contains("belong together"));
        section.tls_key = Some("key".into());
        assert!(section.address().is_ok());
        section.listen = "off".to_owned();
        assert_eq!(section.address(), Ok(None));
        section.listen = "nowhere".to_owned();
        assert!(section.address().unwrap_err().contains("`nowhere`"));
    }
}
