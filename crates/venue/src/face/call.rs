//! Requests under the faults in force: carried out late, answered late, answered with something else, lost, or never
//! answered. A driver steps a [`RestCall`] whenever it is due; the WebSocket API's late requests wait in the
//! [`World`] for [`work_off`].

use std::net::IpAddr;

use market::Nanos;
use serde_json::{Value, json};
use tungstenite::http::StatusCode;

use super::request::{ApiCall, Delayed, Frame, HttpRequest, Reply, Trouble};
use super::session::Session;
use super::world::World;
use super::{rest, wsapi};
use crate::faults::Ending;

/// An answer over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpReply {
    /// Status code.
    pub status: u16,
    /// Header names and values.
    pub headers: Vec<(&'static str, String)>,
    /// Body.
    pub body: String,
}

impl HttpReply {
    /// A page of HTML, as maintenance (5xx) and the firewall (403) show it.
    pub(crate) fn page(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let body = format!(
            "<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n<center><h1>{status}</h1></center>\r\n</body>\r\n</html>\r\n"
        );
        Self {
            status: status.as_u16(),
            headers: vec![("content-type", "text/html; charset=utf-8".into())],
            body,
        }
    }

    /// As bytes on a connection that is closed behind it.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut out = format!("HTTP/1.1 {status}\r\n");
        for (name, value) in &self.headers {
            out += &format!("{name}: {value}\r\n");
        }
        out += &format!("content-length: {}\r\nconnection: close\r\n\r\n{}", self.body.len(), self.body);
        out.into_bytes()
    }

    /// No body.
    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: String::new() }
    }

    /// JSON without the headers of a limit.
    pub(crate) fn json(status: u16, body: String) -> Self {
        Self { status, headers: vec![("content-type", "application/json;charset=UTF-8".into())], body }
    }
}

impl From<Reply> for HttpReply {
    fn from(r: Reply) -> Self {
        let mut reply = Self::json(r.status, r.body);
        reply.headers.push(("x-mbx-used-weight-1m", r.used.weight.to_string()));
        if let Some((ten, minute)) = r.used.orders {
            reply.headers.push(("x-mbx-order-count-10s", ten.to_string()));
            reply.headers.push(("x-mbx-order-count-1m", minute.to_string()));
        }
        if let Some(s) = r.retry_after {
            reply.headers.push(("retry-after", s.to_string()));
        }
        reply
    }
}

/// How a request ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// With a reply.
    Reply(HttpReply),
    /// The connection is reset.
    Lost,
}

/// What a [`RestCall`] came to.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Step it again then.
    Wait(Nanos),
    /// It is over.
    Done(Answer),
    /// No answer ever comes.
    Never,
}

/// A REST request on its way.
#[derive(Debug)]
pub(crate) struct RestCall {
    request: HttpRequest,
    trouble: Trouble,
    due: Nanos,
    /// It was carried out (or skipped), and this is what the answer would be.
    reply: Option<Reply>,
}

impl RestCall {
    /// A request that has arrived.
    pub(crate) fn new(w: &mut World, request: HttpRequest, now: Nanos) -> Self {
        let name = format!("{} {}", request.method, request.path);
        let trouble = rest::trouble(w, &name);
        let due = now.plus(trouble.before.saturating_mul(Nanos::MS));
        Self { request, trouble, due, reply: None }
    }

    /// Where it comes from.
    pub(crate) fn ip(&self) -> IpAddr {
        self.request.ip
    }

    /// Carries the request out, or hands the answer over, when it is time.
    pub(crate) fn step(&mut self, w: &mut World, now: Nanos) -> Progress {
        if now < self.due {
            return Progress::Wait(self.due);
        }
        let t = &self.trouble;
        if self.reply.is_none() {
            let reply = if t.skip { Reply::default() } else { rest::handle(w, &self.request, now) };
            self.reply = Some(reply);
            if t.after > 0 {
                self.due = now.plus(t.after.saturating_mul(Nanos::MS));
                return Progress::Wait(self.due);
            }
        }
        if let Some(status) = t.page {
            return Progress::Done(Answer::Reply(HttpReply::page(status)));
        }
        if t.lost {
            return Progress::Done(Answer::Lost);
        }
        if t.never {
            return Progress::Never;
        }
        let reply = self.trouble.instead.take().or(self.reply.take()).unwrap_or_default();
        let mut reply = HttpReply::from(reply);
        if self.request.path.starts_with("/api/") {
            // The spot API tells the weight under its older name, too.
            let weight = reply.headers.iter().find(|(name, _)| *name == "x-mbx-used-weight-1m");
            let weight = weight.map(|(_, weight)| ("x-mbx-used-weight", weight.clone()));
            reply.headers.extend(weight);
        }
        Progress::Done(Answer::Reply(reply))
    }
}

/// Carries out a request of the WebSocket API, now or late.
pub(crate) fn api(w: &mut World, session: Session, ip: IpAddr, frame: Frame, now: Nanos) {
    let trouble = rest::trouble(w, &frame.method);
    let before = trouble.before;
    let call = Box::new(ApiCall { session, ip, frame, trouble });
    if before > 0 {
        // Others overtake it.
        w.delayed.add(now.plus(before.saturating_mul(Nanos::MS)), Delayed::Request(call));
    } else {
        api_now(w, *call, now);
    }
}

fn api_now(w: &mut World, call: ApiCall, now: Nanos) {
    let ApiCall { mut session, ip, frame, trouble } = call;
    let connection = session.id;
    let reply = (!trouble.skip).then(|| wsapi::handle(w, &mut session, &frame, ip, now));
    if trouble.lost {
        w.hub.end(connection, Ending::Reset);
    }
    if trouble.lost || trouble.never {
        return;
    }
    let text = match trouble.instead {
        Some(r) => {
            let error: Value = serde_json::from_str(&r.body).unwrap_or_default();
            Some(json!({"id": frame.id, "status": r.status, "error": error}).to_string())
        }
        None => reply,
    };
    let Some(text) = text else { return };
    if trouble.after > 0 {
        let due = now.plus(trouble.after.saturating_mul(Nanos::MS));
        w.delayed.add(due, Delayed::Reply { connection, text });
    } else {
        w.hub.tell(connection, text);
    }
}

/// Does what is due: held-back requests, then the world's own.
pub(crate) fn pump(w: &mut World, now: Nanos) {
    work_off(w, now);
    w.pump(now);
}

fn work_off(w: &mut World, now: Nanos) {
    while let Some(work) = w.delayed.take(now) {
        match work {
            Delayed::Request(call) => api_now(w, *call, now),
            Delayed::Reply { connection, text } => w.hub.tell(connection, text),
        }
    }
}
