//! WebSocket connections: bytes and time to the face, frames from it.

use std::sync::Arc;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::Notify;

use super::cut::Cut;
use super::listen::Peer;
use super::shared::{Shared, sleep_until, wall};
use crate::face::connection::{Beat, Live, Purpose};
use crate::face::hub::{Fetched, Outgoing, Wire};
use crate::faults::Ending;

/// How the hub reaches a socket's task.
struct TaskWire {
    cut: Arc<Cut>,
    notify: Arc<Notify>,
}

impl Wire for TaskWire {
    fn wake(&self) {
        self.notify.notify_one();
    }

    fn end(&self, how: Ending) {
        match how {
            Ending::Close => {}
            Ending::Reset => self.cut.reset(),
            Ending::Silence => self.cut.silence(),
        }
        self.notify.notify_one();
    }
}

/// Serves a WebSocket until its end.
pub(super) async fn serve(mut socket: WebSocket, shared: Shared, peer: Peer, purpose: Purpose) {
    let notify = Arc::<Notify>::default();
    let wire = TaskWire { cut: peer.cut.clone(), notify: notify.clone() };
    let mut live = shared.with(|w| Live::open(w, purpose, peer.ip, Some(Box::new(wire)), wall()));
    while let Some(()) = turn(&mut socket, &shared, &mut live, &notify).await {}
    shared.with(|w| w.hub.close(live.id));
    if peer.cut.is_silent() {
        // Half open for good.
        std::future::pending::<()>().await;
    }
}

/// Sends what waits, then waits for what comes next; `None` when the connection is over.
async fn turn(socket: &mut WebSocket, shared: &Shared, live: &mut Live, notify: &Notify) -> Option<()> {
    send(socket, shared, live).await?;
    tokio::select! {
        () = notify.notified() => {}
        m = socket.next() => match m?.ok()? {
            Message::Text(text) => shared.with(|w| live.text(w, &text, wall())),
            Message::Pong(_) => live.pong(wall()),
            Message::Close(_) => return None,
            _ => {}
        },
        () = sleep_until(live.due()) => {}
    }
    match live.beat(wall()) {
        Beat::None => {}
        Beat::Ping(payload) => socket.send(Message::Ping(payload.into())).await.ok()?,
        Beat::Over => return None,
    }
    Some(())
}

/// Sends the frames that wait; `None` when the connection is over.
async fn send(socket: &mut WebSocket, shared: &Shared, live: &Live) -> Option<()> {
    let mut fed = false;
    loop {
        match shared.with(|w| w.hub.fetch(live.id)) {
            Fetched::Frame(Outgoing::Text(text)) => {
                let text = Utf8Bytes::try_from(tungstenite::Bytes::from(text)).ok()?;
                socket.feed(Message::Text(text)).await.ok()?;
                fed = true;
            }
            Fetched::Frame(Outgoing::Close(code, reason)) => {
                let frame = CloseFrame { code, reason: reason.into() };
                socket.send(Message::Close(Some(frame))).await.ok();
                return None;
            }
            Fetched::Nothing if fed => return socket.flush().await.ok(),
            Fetched::Nothing => return Some(()),
            Fetched::Ended(_) => return None,
        }
    }
}
