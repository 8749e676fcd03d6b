//! What the venue does with a connection, whatever carries its bytes: lets it in, opens what its URL asks for, answers
//! its frames, pings it.

use std::net::IpAddr;

use market::Nanos;

use super::call;
use super::hub::{Route, Wire};
use super::request::Frame;
use super::rest;
use super::session::Session;
use super::streams::{self, Target};
use super::world::World;
use crate::config::Rules;
use crate::faults::Fault;

/// Largest WebSocket message taken.
pub(crate) const MAX_MESSAGE: usize = 1 << 20;

/// What becomes of a new TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is served.
    Serve,
    /// It is reset.
    Refuse,
    /// Nothing is ever answered on it.
    Ignore,
}

/// Lets a TCP connection in, the faults willing.
pub(crate) fn admit(w: &mut World) -> Admission {
    let on_connect = |f: &Fault| matches!(f, Fault::RefuseConnections | Fault::IgnoreConnections);
    let struck = w.faults.strike(on_connect);
    w.counters.faults += u64::from(struck.is_some());
    match struck {
        None => Admission::Serve,
        Some(Fault::RefuseConnections) => Admission::Refuse,
        Some(_) => Admission::Ignore,
    }
}

/// What a WebSocket is opened for.
#[derive(Debug, Clone)]
pub(crate) enum Purpose {
    /// Streams.
    Streams(Target),
    /// The WebSocket API; do its replies carry rate limits?
    Api(bool),
}

/// Why a WebSocket is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// With an empty reply of this status.
    Status(u16),
    /// With a page of HTML of this status.
    Page(u16),
}

/// Judges the request to open a WebSocket, the faults and limits willing.
pub(crate) fn upgrade(
    w: &mut World,
    path: &str,
    query: &str,
    ip: IpAddr,
    now: Nanos,
) -> Result<Purpose, Refusal> {
    let purpose = if path.trim_end_matches('/') == "/ws-fapi/v1" {
        Purpose::Api(!query.contains("returnRateLimits=false"))
    } else {
        Purpose::Streams(streams::target(path, query).ok_or(Refusal::Status(404))?)
    };
    if let Some(status) = rest::trouble(w, &format!("WS {path}")).page {
        return Err(Refusal::Page(status));
    }
    w.limits.connect(ip, now).map_err(|()| Refusal::Status(429))?;
    Ok(purpose)
}

/// What is due on a connection because time passed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// Nothing yet.
    None,
    /// A ping with this payload.
    Ping(String),
    /// The end: no ping was answered for too long.
    Over,
}

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct Live {
    /// Its place in the hub.
    pub id: u64,
    ip: IpAddr,
    api: bool,
    ping_due: Nanos,
    last_pong: Nanos,
    ping_every: u64,
    pong_within: u64,
}

impl Live {
    /// Opens a WebSocket.
    pub(crate) fn open(
        w: &mut World,
        purpose: Purpose,
        ip: IpAddr,
        wire: Option<Box<dyn Wire>>,
        now: Nanos,
    ) -> Self {
        let api = matches!(purpose, Purpose::Api(_));
        let id = match purpose {
            Purpose::Api(limits) => {
                // The handshake costs five.
                w.limits.request(ip, 5, now).ok();
                w.hub.open(Route::Api, false, wire, Some(Session::new(limits, now)), now)
            }
            Purpose::Streams(target) => {
                let id = w.hub.open(target.route, target.combined, wire, None, now);
                streams::subscribe_url(w, id, &target.streams);
                id
            }
        };
        let Rules { ping_every, pong_within, .. } = &w.rules;
        let nanos = |d: &std::time::Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        let (ping_every, pong_within) = (nanos(ping_every).max(1), nanos(pong_within));
        Self { id, ip, api, ping_due: now.plus(ping_every), last_pong: now, ping_every, pong_within }
    }

    /// A text frame came in; replies wait in the hub.
    pub(crate) fn text(&self, w: &mut World, text: &str, now: Nanos) {
        if !self.api {
            if streams::too_chatty(&mut w.hub, self.id, w.rules.messages_per_second, now) {
                w.hub.end_with(self.id, 1008, "Too many requests");
            } else {
                streams::control(w, self.id, text);
            }
            return;
        }
        let Some(session) = w.hub.connection(self.id).and_then(|c| c.session.clone()) else { return };
        match Frame::parse(text) {
            Ok(frame) => call::api(w, session, self.ip, frame, now),
            Err(reply) => w.hub.tell(self.id, reply),
        }
    }

    /// A pong came in.
    pub(crate) fn pong(&mut self, now: Nanos) {
        self.last_pong = now;
    }

    /// What is due by `now`.
    pub(crate) fn beat(&mut self, now: Nanos) -> Beat {
        if now < self.ping_due {
            return Beat::None;
        }
        if now.since(self.last_pong).0 > self.pong_within {
            return Beat::Over;
        }
        self.ping_due = now.plus(self.ping_every);
        Beat::Ping(now.millis().to_string())
    }

    /// When [`Self::beat`] has something next.
    pub(crate) fn due(&self) -> Nanos {
        self.ping_due
    }
}
