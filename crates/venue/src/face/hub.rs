//! WebSocket connections and who gets which frame.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::ws::Utf8Bytes;
use market::Nanos;
use tokio::sync::{Notify, mpsc};

use crate::faults::{Ending, Fault, Faults, matches};

/// Frames a connection may be behind before it is dropped.
pub(crate) const BACKLOG: usize = 4096;

/// The routes of the venue (BINANCE.md §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// Books.
    Public,
    /// Trades, marks, klines.
    Market,
    /// User events.
    Private,
    /// `/ws` and `/stream` without a route.
    Legacy,
    /// `/ws-fapi/v1`.
    Api,
}

impl Route {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Market => "market",
            Self::Private => "private",
            Self::Legacy => "legacy",
            Self::Api => "ws-fapi",
        }
    }

    /// Where a stream is served.
    pub(crate) fn of_stream(stream: &str) -> Self {
        let Some((_, kind)) = stream.rsplit_once('!').or_else(|| stream.split_once('@')) else {
            return Self::Private;
        };
        let kind = if stream.starts_with('!') { kind.split('@').next().unwrap_or(kind) } else { kind };
        let public = kind.starts_with("depth")
            || kind == "bookTicker"
            || kind == "trade"
            || kind.starts_with("rpiDepth");
        if public { Self::Public } else { Self::Market }
    }
}

/// What a connection's task is told to send.
#[derive(Debug, Clone)]
pub(crate) enum Outgoing {
    /// A text frame.
    Text(Utf8Bytes),
    /// A close frame, then the end.
    Close(u16, &'static str),
}

/// A way to cut a TCP connection from outside.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    /// Reset it?
    pub reset: AtomicBool,
    /// Say nothing more?
    pub silent: AtomicBool,
    /// Wakes the connection's task.
    pub wake: Notify,
    /// Wakes the socket (set by the task that polls it).
    pub waker: std::sync::Mutex<Option<std::task::Waker>>,
}

impl Cut {
    pub(crate) fn reset(&self) {
        self.reset.store(true, Ordering::Relaxed);
        self.wake.notify_waiters();
        if let Some(w) = self.waker.lock().expect("no panic holds it").take() {
            w.wake();
        }
    }
}

/// A connection as the hub knows it.
pub(crate) struct Connection {
    pub route: Route,
    /// Wrap frames as `{"stream":…,"data":…}`.
    pub combined: bool,
    pub subscriptions: Vec<String>,
    pub out: mpsc::Sender<Outgoing>,
    pub cut: Arc<Cut>,
    /// Arrival times of the last messages, for the 10 messages/s rule.
    pub arrivals: VecDeque<Nanos>,
}

/// A frame that waits for its time.
struct Waiting {
    stream: String,
    data: Arc<str>,
}

/// All connections.
#[derive(Default)]
pub(crate) struct Hub {
    pub(crate) connections: BTreeMap<u64, Connection>,
    next: u64,
    by_stream: HashMap<String, Vec<u64>>,
    waiting: BTreeMap<(Nanos, u64), Waiting>,
    next_waiting: u64,
    held: HashMap<String, Arc<str>>,
    /// Frames sent.
    pub(crate) frames: u64,
    /// Connections dropped because they did not keep up.
    pub(crate) slow: u64,
    /// Older venues: unrouted URLs deliver everything.
    pub(crate) legacy_all: bool,
}

impl Hub {
    pub(crate) fn new(legacy_all: bool) -> Self {
        Self { legacy_all, ..Self::default() }
    }

    pub(crate) fn open(
        &mut self,
        route: Route,
        combined: bool,
        cut: Arc<Cut>,
    ) -> (u64, mpsc::Receiver<Outgoing>) {
        let (out, rx) = mpsc::channel(BACKLOG);
        self.next += 1;
        let subscriptions = Vec::new();
        let arrivals = VecDeque::new();
        self.connections.insert(self.next, Connection { route, combined, subscriptions, out, cut, arrivals });
        (self.next, rx)
    }

    pub(crate) fn close(&mut self, id: u64) {
        let Some(c) = self.connections.remove(&id) else { return };
        for s in c.subscriptions {
            self.drop_index(&s, id);
        }
    }

    fn drop_index(&mut self, stream: &str, id: u64) {
        if let Some(ids) = self.by_stream.get_mut(stream) {
            ids.retain(|i| *i != id);
            if ids.is_empty() {
                self.by_stream.remove(stream);
            }
        }
    }

    /// Subscribes; a stream of another route is taken and stays silent, as at the venue.
    pub(crate) fn subscribe(&mut self, id: u64, stream: &str, delivered: bool) {
        let Some(c) = self.connections.get_mut(&id) else { return };
        if c.subscriptions.iter().any(|s| s == stream) {
            return;
        }
        c.subscriptions.push(stream.to_owned());
        let of = Route::of_stream(stream);
        let right = c.route == of || (c.route == Route::Legacy && (of == Route::Public || self.legacy_all));
        if right && delivered {
            self.by_stream.entry(stream.to_owned()).or_default().push(id);
        }
    }

    pub(crate) fn unsubscribe(&mut self, id: u64, stream: &str) {
        if let Some(c) = self.connections.get_mut(&id) {
            c.subscriptions.retain(|s| s != stream);
        }
        self.drop_index(stream, id);
    }

    /// Does anybody listen to the stream?
    pub(crate) fn wants(&self, stream: &str) -> bool {
        self.by_stream.contains_key(stream)
    }

    /// Streams somebody listens to.
    pub(crate) fn streams(&self) -> impl Iterator<Item = &str> {
        self.by_stream.keys().map(String::as_str)
    }

    /// Publishes a frame, the faults willing. `kind` is the name that rules match (the stream, or `user@…`).
    pub(crate) fn publish(&mut self, stream: &str, kind: &str, data: &str, faults: &mut Faults, now: Nanos) {
        if faults.is_empty() && self.held.is_empty() {
            self.send(stream, data);
            return;
        }
        let data: Arc<str> = Arc::from(data);
        let struck = faults.strike(|f| frame_fault(f).is_some_and(|p| matches(p, kind)));
        match struck {
            Some(Fault::Mute { .. } | Fault::Drop { .. }) => return,
            Some(Fault::Late { ms, .. }) => {
                self.wait(stream, data, now.plus(ms * Nanos::MS));
                return;
            }
            Some(Fault::Reorder { .. }) => {
                self.held.insert(kind.to_owned(), data);
                return;
            }
            Some(Fault::Duplicate { .. }) => {
                self.send(stream, &data);
                self.send(stream, &data);
            }
            Some(Fault::Replace { text, .. }) => self.send_raw(stream, &text),
            Some(Fault::Truncate { .. }) => {
                let mut half = data.len() / 2;
                while !data.is_char_boundary(half) {
                    half -= 1;
                }
                self.send_raw(stream, &data[..half]);
            }
            Some(Fault::Oversize { bytes, .. }) => {
                self.send_raw(stream, &format!("{{\"junk\":\"{}\"}}", "x".repeat(bytes)));
                self.send(stream, &data);
            }
            Some(Fault::StrangeFields { .. }) => self.send(stream, &strange(&data)),
            _ => self.send(stream, &data),
        }
        if let Some(before) = self.held.remove(kind) {
            self.send(stream, &before);
        }
    }

    fn wait(&mut self, stream: &str, data: Arc<str>, due: Nanos) {
        self.next_waiting += 1;
        self.waiting.insert((due, self.next_waiting), Waiting { stream: stream.to_owned(), data });
    }

    /// Sends what has waited long enough.
    pub(crate) fn release(&mut self, now: Nanos) {
        while let Some(entry) = self.waiting.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let w = entry.remove();
            self.send(&w.stream, &w.data);
        }
    }

    fn send(&mut self, stream: &str, data: &str) {
        let Some(ids) = self.by_stream.get(stream) else { return };
        let (mut raw, mut wrapped): (Option<Utf8Bytes>, Option<Utf8Bytes>) = (None, None);
        let mut gone = Vec::new();
        for id in ids {
            let Some(c) = self.connections.get(id) else { continue };
            let text = if c.combined {
                wrapped.get_or_insert_with(|| format!("{{\"stream\":\"{stream}\",\"data\":{data}}}").into())
            } else {
                raw.get_or_insert_with(|| data.into())
            };
            if c.out.try_send(Outgoing::Text(text.clone())).is_err() {
                gone.push(*id);
            } else {
                self.frames += 1;
            }
        }
        self.drop_slow(gone);
    }

    /// Sends a text as it is to everybody on a stream.
    fn send_raw(&mut self, stream: &str, text: &str) {
        let text: Utf8Bytes = text.into();
        for id in self.by_stream.get(stream).into_iter().flatten() {
            if let Some(c) = self.connections.get(id) {
                // A connection that is full is dropped by the next proper frame.
                c.out.try_send(Outgoing::Text(text.clone())).ok();
            }
        }
    }

    fn drop_slow(&mut self, ids: Vec<u64>) {
        for id in ids {
            if let Some(c) = self.connections.get(&id) {
                c.cut.reset();
                self.slow += 1;
            }
            self.close(id);
        }
    }

    /// Ends the connections of a route.
    pub(crate) fn disconnect(&mut self, route: &str, how: Ending) {
        let ids: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, c)| matches(route, c.route.name()))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            let Some(c) = self.connections.get(&id) else { continue };
            match how {
                Ending::Close => {
                    c.out.try_send(Outgoing::Close(1006, "")).ok();
                }
                Ending::Reset => c.cut.reset(),
                Ending::Silence => c.cut.silent.store(true, Ordering::Relaxed),
            }
            self.close(id);
        }
    }
}

/// The stream pattern of a fault that strikes frames.
fn frame_fault(fault: &Fault) -> Option<&str> {
    match fault {
        Fault::Mute { stream }
        | Fault::Late { stream, .. }
        | Fault::Drop { stream }
        | Fault::Duplicate { stream }
        | Fault::Reorder { stream }
        | Fault::Replace { stream, .. }
        | Fault::Truncate { stream }
        | Fault::Oversize { stream, .. }
        | Fault::StrangeFields { stream } => Some(stream),
        _ => None,
    }
}

/// The frame with an unknown field and `E` as a text.
fn strange(data: &str) -> String {
    let Ok(serde_json::Value::Object(mut map)) = serde_json::from_str(data) else { return data.to_owned() };
    if let Some(e) = map.get_mut("E") {
        *e = serde_json::Value::String(e.to_string());
    }
    map.insert("zz".to_owned(), serde_json::json!({"new": [1, null, "x"]}));
    serde_json::Value::Object(map).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_have_their_routes() {
        for (s, r) in [
            ("btcusdt@depth@100ms", Route::Public),
            ("btcusdt@depth5", Route::Public),
            ("btcusdt@bookTicker", Route::Public),
            ("!bookTicker", Route::Public),
            ("btcusdt@trade", Route::Public),
            ("btcusdt@aggTrade", Route::Market),
            ("btcusdt@markPrice@1s", Route::Market),
            ("!markPrice@arr@1s", Route::Market),
            ("btcusdt@kline_1m", Route::Market),
            ("pqia91ma19a5s61cv6a81va65sdf19v8a65a1", Route::Private),
        ] {
            assert_eq!(Route::of_stream(s), r, "{s}");
        }
    }
}
