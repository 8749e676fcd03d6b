//! Requests and what becomes of them, as the parts of the face hand them on.

use std::collections::BTreeMap;
use std::net::IpAddr;

use market::Nanos;
use serde_json::{Value, json};

use super::limits::Used;
use super::session::Session;

/// A REST request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET`, `POST`, `PUT`, `DELETE`.
    pub method: String,
    /// Path, without the query.
    pub path: String,
    /// Query, without the question mark.
    pub query: String,
    /// Body.
    pub body: String,
    /// Header `X-MBX-APIKEY`.
    pub api_key: Option<String>,
    /// Where it came from.
    pub ip: IpAddr,
}

/// What is answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub status: u16,
    pub body: String,
    pub used: Used,
    pub retry_after: Option<u64>,
}

/// What a fault does to a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trouble {
    /// Wait before executing, ms.
    pub before: u64,
    /// Wait before answering, ms.
    pub after: u64,
    /// Do not execute.
    pub skip: bool,
    /// Answer with an HTML page of this status.
    pub page: Option<u16>,
    /// Answer this instead.
    pub instead: Option<Reply>,
    /// Reset the connection instead of answering.
    pub lost: bool,
    /// Never answer.
    pub never: bool,
}

/// The body of a refusal.
pub(crate) fn error_body(code: i32, msg: &str) -> String {
    json!({"code": code, "msg": msg}).to_string()
}

/// A request frame, parsed far enough to name it.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// Echoed as it came.
    pub id: Value,
    /// `order.place`; a `v3/` in front is left out where the method is one without versions.
    pub method: String,
    /// Parameters.
    pub params: Value,
}

impl Frame {
    /// Parses a frame; the error is the reply.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let bad = |id: &Value, msg: &str| {
            json!({"id": id, "status": 400, "error": {"code": -1000, "msg": msg}}).to_string()
        };
        let v: Value = serde_json::from_str(text).map_err(|_| bad(&Value::Null, "Invalid JSON."))?;
        let id = v.get("id").cloned().unwrap_or(Value::Null);
        if !(id.is_string() || id.is_number() || id.is_null()) {
            return Err(bad(&Value::Null, "Invalid 'id'."));
        }
        let Some(method) = v.get("method").and_then(Value::as_str) else {
            return Err(bad(&id, "Mandatory parameter 'method' was not sent, was empty/null, or malformed."));
        };
        let known = |m: &str| m.starts_with("v2/account.");
        let method = match method.split_once('/') {
            Some((_, rest)) if !known(method) => rest,
            _ => method,
        };
        Ok(Self { id, method: method.to_owned(), params: v.get("params").cloned().unwrap_or(json!({})) })
    }
}

/// A request of the WebSocket API under the faults in force.
#[derive(Debug)]
pub(crate) struct ApiCall {
    /// Who asked, as of then.
    pub session: Session,
    /// From where.
    pub ip: IpAddr,
    /// What.
    pub frame: Frame,
    /// What else happens to it.
    pub trouble: Trouble,
}

/// Work for a connection of the WebSocket API that a fault holds back.
#[derive(Debug)]
pub(crate) enum Delayed {
    /// A request to carry out.
    Request(Box<ApiCall>),
    /// A reply to send.
    Reply {
        /// To this connection.
        connection: u64,
        /// What.
        text: String,
    },
}

/// Held-back work, by time.
#[derive(Debug, Default)]
pub(crate) struct DelayedQueue {
    work: BTreeMap<(Nanos, u64), Delayed>,
    next: u64,
}

impl DelayedQueue {
    pub(crate) fn add(&mut self, due: Nanos, work: Delayed) {
        self.next += 1;
        self.work.insert((due, self.next), work);
    }

    /// The first piece that is due.
    pub(crate) fn take(&mut self, now: Nanos) -> Option<Delayed> {
        let first = self.work.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// When the first piece is due.
    pub(crate) fn due(&self) -> Option<Nanos> {
        self.work.keys().next().map(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_echo_any_id_and_drop_a_version() {
        let f = Frame::parse(r#"{"id":"a-1","method":"v3/order.place","params":{}}"#).ok().unwrap();
        assert_eq!((f.id, f.method.as_str()), (json!("a-1"), "order.place"));
        let f = Frame::parse(r#"{"id":7,"method":"v2/account.balance"}"#).ok().unwrap();
        assert_eq!(f.method, "v2/account.balance");
        assert!(Frame::parse("{").err().unwrap().contains(r#""id":null"#));
    }
}
