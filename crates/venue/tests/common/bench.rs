//! A venue without threads, sockets or clocks, with a time that a test lets pass.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::net::IpAddr;

use hmac::{Hmac, KeyInit, Mac};
use market::Nanos;
use serde_json::{Value, json};
use sha2::Sha256;
use venue::{Answer, HttpRequest, PolledVenue, RequestId, VenueConfig};

use crate::pipe::{ClientEnd, pipe};

pub const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
pub const START: Nanos = Nanos::from_millis(1_795_392_000_000);

pub fn sign(text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(b"S").unwrap();
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// A venue, the time, and the answers that came.
pub struct Bench {
    pub venue: PolledVenue,
    pub now: Nanos,
    pub answers: Vec<(Nanos, RequestId, Answer)>,
}

impl Bench {
    pub fn new(config: VenueConfig) -> Self {
        Self { venue: PolledVenue::new(config, START).unwrap(), now: START, answers: Vec::new() }
    }

    pub fn small() -> Self {
        Self::new(VenueConfig { symbols: 3, ..VenueConfig::default() })
    }

    pub fn connect(&mut self, path: &str) -> ClientEnd {
        let (ours, theirs) = pipe();
        theirs.open(path);
        self.venue.accept(ours, IP, self.now);
        self.run(0);
        theirs
    }

    /// Lets `ms` pass, from event to event.
    pub fn run(&mut self, ms: u64) {
        let end = self.now.plus(ms * Nanos::MS);
        loop {
            self.venue.poll(self.now);
            for (id, answer) in self.venue.take_answers(self.now) {
                self.answers.push((self.now, id, answer));
            }
            let due = self.venue.next_due(self.now);
            assert!(due >= self.now);
            if due > end {
                break;
            }
            self.now = due;
        }
        self.now = end;
    }

    pub fn request(&mut self, method: &str, path: &str, query: &str) -> RequestId {
        let text = format!("{query}&timestamp={}", self.now.millis());
        let query = format!("{text}&signature={}", sign(&text));
        let (method, path) = (method.to_owned(), path.to_owned());
        let request =
            HttpRequest { method, path, query, body: String::new(), api_key: Some("K".into()), ip: IP };
        self.venue.request(request, self.now)
    }

    pub fn answer(&self, id: RequestId) -> Option<&Answer> {
        self.answers.iter().find(|(_, i, _)| *i == id).map(|(_, _, a)| a)
    }

    /// A request that is answered at once.
    pub fn call(&mut self, method: &str, path: &str, query: &str) -> (u16, Value) {
        let id = self.request(method, path, query);
        self.run(0);
        match self.answer(id) {
            Some(Answer::Reply(r)) => (r.status, serde_json::from_str(&r.body).unwrap()),
            other => panic!("{method} {path}: {other:?}"),
        }
    }

    /// Sends a signed request of the WebSocket API.
    pub fn ask(&self, c: &ClientEnd, id: &str, method: &str, mut params: Value) {
        params["apiKey"] = json!("K");
        params["timestamp"] = json!(self.now.millis());
        let text: Vec<String> = (params.as_object().unwrap().iter())
            .map(|(k, v)| format!("{k}={}", v.as_str().map_or(v.to_string(), str::to_owned)))
            .collect();
        params["signature"] = json!(sign(&text.join("&")));
        c.text(&json!({"id": id, "method": method, "params": params}).to_string());
    }
}

pub fn read(texts: &[String]) -> Vec<Value> {
    texts.iter().map(|t| serde_json::from_str(t).unwrap()).collect()
}
