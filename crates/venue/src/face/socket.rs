//! WebSocket connections: market and user streams, the WebSocket API.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;

use super::hub::{Outgoing, Route};
use super::listen::{Cut, Peer};
use super::rest::{self, Trouble};
use super::server::{lock, sleep_ms, wall};
use super::streams;
use super::world::Shared;
use super::wsapi::{self, Frame, Session};

/// What a socket's task does next.
enum Next {
    In(Option<Result<Message, axum::Error>>),
    Out(Option<Outgoing>),
    Ping,
}

/// A socket with the venue's habits: pings, silence, resets.
struct Wire {
    socket: WebSocket,
    rx: mpsc::Receiver<Outgoing>,
    cut: Arc<Cut>,
    ping: tokio::time::Interval,
    last_pong: tokio::time::Instant,
    pong_within: Duration,
}

impl Wire {
    fn new(socket: WebSocket, rx: mpsc::Receiver<Outgoing>, cut: Arc<Cut>, shared: &Shared) -> Self {
        let (every, pong_within) = {
            let w = lock(shared);
            (w.rules.ping_every, w.rules.pong_within)
        };
        let start = tokio::time::Instant::now();
        let ping = tokio::time::interval_at(start + every, every);
        Self { socket, rx, cut, ping, last_pong: start, pong_within }
    }

    async fn next(&mut self) -> Next {
        tokio::select! {
            m = self.rx.recv() => Next::Out(m),
            m = self.socket.next() => Next::In(m),
            _ = self.ping.tick() => Next::Ping,
        }
    }

    /// Runs until the next text that came in; `None` at the end. Everything else is handled here.
    async fn incoming(&mut self) -> Option<String> {
        loop {
            let next = self.next().await;
            if self.cut.is_reset() {
                return None;
            }
            if self.cut.is_silent() {
                // Half open for good: the hub has forgotten this connection.
                std::future::pending::<()>().await;
            }
            match next {
                Next::Out(None) => return None,
                Next::Out(Some(m)) => self.send(m).await?,
                Next::In(None | Some(Err(_) | Ok(Message::Close(_)))) => return None,
                Next::In(Some(Ok(Message::Text(t)))) => return Some(t.to_string()),
                Next::In(Some(Ok(Message::Pong(_)))) => self.last_pong = tokio::time::Instant::now(),
                Next::In(Some(Ok(_))) => {}
                Next::Ping => {
                    if self.last_pong.elapsed() > self.pong_within {
                        return None;
                    }
                    let ping = Message::Ping(wall().millis().to_string().into());
                    self.socket.send(ping).await.ok()?;
                }
            }
        }
    }

    /// Sends a frame and those that already wait behind it; `None` when the connection is over.
    async fn send(&mut self, first: Outgoing) -> Option<()> {
        let mut next = Some(first);
        while let Some(m) = next {
            match m {
                Outgoing::Text(t) => self.socket.feed(Message::Text(t)).await.ok()?,
                Outgoing::Close(code, reason) => {
                    let frame = CloseFrame { code, reason: reason.into() };
                    self.socket.send(Message::Close(Some(frame))).await.ok();
                    return None;
                }
            }
            next = self.rx.try_recv().ok();
        }
        self.socket.flush().await.ok()
    }

    async fn reply(&mut self, text: String) -> Option<()> {
        self.send(Outgoing::Text(text.into())).await
    }
}

/// Serves a connection to `target`.
pub(super) async fn streams(socket: WebSocket, shared: Shared, peer: Peer, target: streams::Target) {
    let (id, rx) = {
        let mut w = lock(&shared);
        let (id, rx) = w.hub.open(target.route, target.combined, peer.cut.clone(), wall());
        streams::subscribe_url(&mut w, id, &target.streams);
        (id, rx)
    };
    let mut wire = Wire::new(socket, rx, peer.cut, &shared);
    while let Some(text) = wire.incoming().await {
        let reply = {
            let mut w = lock(&shared);
            let limit = w.rules.messages_per_second;
            if streams::too_chatty(&mut w.hub, id, limit, wall()) {
                None
            } else {
                Some(streams::control(&mut w, id, &text))
            }
        };
        let Some(reply) = reply else {
            wire.send(Outgoing::Close(1008, "Too many requests")).await;
            break;
        };
        if wire.reply(reply).await.is_none() {
            break;
        }
    }
    lock(&shared).hub.close(id);
}

/// Serves a connection to the WebSocket API; `limits`: its replies carry rate limits.
pub(super) async fn api(socket: WebSocket, shared: Shared, peer: Peer, limits: bool) {
    let (id, rx) = {
        let mut w = lock(&shared);
        // The handshake costs five.
        w.limits.request(peer.ip, 5, wall()).ok();
        w.hub.open(Route::Api, false, peer.cut.clone(), wall())
    };
    let mut wire = Wire::new(socket, rx, peer.cut.clone(), &shared);
    let mut session = Session::new(id, limits, wall());
    while let Some(text) = wire.incoming().await {
        let reply = match Frame::parse(&text) {
            Ok(frame) => api_reply(&shared, &peer, &mut session, frame),
            Err(reply) => Some(reply),
        };
        if let Some(reply) = reply
            && wire.reply(reply).await.is_none()
        {
            break;
        }
    }
    lock(&shared).hub.close(id);
}

/// Executes a WS-API request under the faults in force; `None`: there is no reply, or it comes later.
fn api_reply(shared: &Shared, peer: &Peer, session: &mut Session, frame: Frame) -> Option<String> {
    let trouble = rest::trouble(&mut lock(shared), &frame.method);
    if trouble.before + trouble.after > 0 {
        // Others overtake it.
        tokio::spawn(late_reply(shared.clone(), peer.clone(), session.clone(), frame, trouble));
        return None;
    }
    let reply = (!trouble.skip).then(|| wsapi::handle(&mut lock(shared), session, &frame, peer.ip, wall()));
    if trouble.lost {
        peer.cut.reset();
    }
    if trouble.lost || trouble.never {
        return None;
    }
    match trouble.instead {
        Some(r) => {
            let error: serde_json::Value = serde_json::from_str(&r.body).unwrap_or_default();
            Some(serde_json::json!({"id": frame.id, "status": r.status, "error": error}).to_string())
        }
        None => reply,
    }
}

async fn late_reply(shared: Shared, peer: Peer, mut session: Session, frame: Frame, trouble: Trouble) {
    sleep_ms(trouble.before).await;
    let reply = wsapi::handle(&mut lock(&shared), &mut session, &frame, peer.ip, wall());
    sleep_ms(trouble.after).await;
    lock(&shared).hub.tell(session.id, reply);
}
