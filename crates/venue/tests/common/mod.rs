//! A small client of the venue: signed REST, WebSocket frames as JSON.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt, StreamExt};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use venue::{Venue, VenueConfig, VenueHandle};

/// How long a test waits for what must come; only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn start(config: VenueConfig) -> VenueHandle {
    rustls::crypto::ring::default_provider().install_default().ok();
    Venue::start(config).unwrap()
}

pub fn small() -> VenueHandle {
    start(VenueConfig { symbols: 3, ..VenueConfig::default() })
}

pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

pub fn hmac(secret: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// A reply: status and JSON.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub json: Value,
    pub headers: reqwest::header::HeaderMap,
}

impl Reply {
    pub fn code(&self) -> i64 {
        self.json["code"].as_i64().unwrap_or_default()
    }
}

pub struct Client {
    http: reqwest::Client,
    base: String,
    pub key: String,
    pub secret: String,
}

impl Client {
    pub fn new(venue: &VenueHandle) -> Self {
        let http = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        Self { http, base: venue.http(), key: "K".into(), secret: "S".into() }
    }

    pub async fn try_call(&self, method: &str, path: &str, query: &str) -> reqwest::Result<Reply> {
        let url = if query.is_empty() {
            format!("{}{path}", self.base)
        } else {
            format!("{}{path}?{query}", self.base)
        };
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let r = self.http.request(method, url).header("X-MBX-APIKEY", &self.key).send().await?;
        let (status, headers) = (r.status().as_u16(), r.headers().clone());
        let text = r.text().await?;
        Ok(Reply { status, headers, json: serde_json::from_str(&text).unwrap_or(Value::Null) })
    }

    pub async fn get(&self, path: &str, query: &str) -> Reply {
        self.try_call("GET", path, query).await.unwrap()
    }

    pub fn signed_query(&self, query: &str) -> String {
        let joint = if query.is_empty() { "" } else { "&" };
        let text = format!("{query}{joint}timestamp={}", now_ms());
        format!("{text}&signature={}", hmac(&self.secret, &text))
    }

    pub async fn signed(&self, method: &str, path: &str, query: &str) -> Reply {
        self.try_call(method, path, &self.signed_query(query)).await.unwrap()
    }

    pub async fn ok(&self, method: &str, path: &str, query: &str) -> Value {
        let r = self.signed(method, path, query).await;
        assert_eq!(r.status, 200, "{method} {path} {query}: {}", r.json);
        r.json
    }

    pub async fn listen_key(&self) -> String {
        let r = self.try_call("POST", "/fapi/v1/listenKey", "").await.unwrap();
        r.json["listenKey"].as_str().unwrap().to_owned()
    }
}

pub struct Socket {
    inner: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Socket {
    pub async fn open(venue: &VenueHandle, path: &str) -> Self {
        Self { inner: connect_async(format!("{}{path}", venue.ws())).await.unwrap().0 }
    }

    /// Opens a WebSocket; the error is its text.
    pub async fn try_open(venue: &VenueHandle, path: &str) -> Result<Self, String> {
        let opened = connect_async(format!("{}{path}", venue.ws())).await;
        opened.map(|(inner, _)| Self { inner }).map_err(|e| e.to_string())
    }

    /// Does the other end answer a ping soon?
    pub async fn pong(&mut self) -> bool {
        if self.inner.send(Message::Ping("x".into())).await.is_err() {
            return false;
        }
        let end = tokio::time::Instant::now() + Duration::from_secs(1);
        while let Ok(Some(Ok(m))) = tokio::time::timeout_at(end, self.inner.next()).await {
            if matches!(m, Message::Pong(_)) {
                return true;
            }
        }
        false
    }

    /// A user stream.
    pub async fn user(venue: &VenueHandle, client: &Client) -> Self {
        let key = client.listen_key().await;
        let events = "ORDER_TRADE_UPDATE/ACCOUNT_UPDATE/TRADE_LITE/MARGIN_CALL/ACCOUNT_CONFIG_UPDATE/ALGO_UPDATE/listenKeyExpired";
        Self::open(venue, &format!("/private/ws?listenKey={key}&events={events}")).await
    }

    pub async fn send(&mut self, v: Value) {
        assert!(self.try_send(v).await, "the connection is over");
    }

    /// Sends; `false`: the connection is over.
    pub async fn try_send(&mut self, v: Value) -> bool {
        self.inner.send(Message::text(v.to_string())).await.is_ok()
    }

    pub async fn subscribe(&mut self, streams: &[&str]) {
        self.send(json!({"method": "SUBSCRIBE", "params": streams, "id": "s-1"})).await;
        assert_eq!(self.until(|v| v.get("id").is_some()).await, json!({"result": null, "id": "s-1"}));
    }

    /// The next text, or `None` when the connection is over.
    pub async fn text(&mut self) -> Option<String> {
        loop {
            match tokio::time::timeout(PATIENCE, self.inner.next())
                .await
                .expect("a frame within the test's patience")
            {
                Some(Ok(Message::Text(t))) => return Some(t.to_string()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    pub async fn json(&mut self) -> Value {
        serde_json::from_str(&self.text().await.expect("the connection lives")).unwrap()
    }

    /// Reads on until a frame is wanted.
    pub async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let v = self.json().await;
            if wanted(&v) {
                return v;
            }
        }
    }

    /// Frames that arrive within `ms`.
    pub async fn within(&mut self, ms: u64) -> Vec<Value> {
        let mut got = Vec::new();
        let end = tokio::time::Instant::now() + Duration::from_millis(ms);
        while let Ok(Some(Ok(m))) = tokio::time::timeout_at(end, self.inner.next()).await {
            if let Message::Text(t) = m {
                got.push(serde_json::from_str(&t).unwrap());
            }
        }
        got
    }

    /// The next user event of a kind (`ORDER_TRADE_UPDATE/TRADE` names the execution type, too).
    pub async fn event(&mut self, kind: &str) -> Value {
        let (e, x) = kind.split_once('/').unwrap_or((kind, ""));
        self.until(|v| v["e"] == e && (x.is_empty() || v["o"]["x"] == x)).await
    }
}
