//! WebSocket connections and who gets which frame.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use market::Nanos;
use tokio::sync::mpsc;

use super::damage;
use super::listen::Cut;
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
    /// When it was opened.
    pub opened: Nanos,
    /// The key that logged on (WS-API).
    pub api_key: Option<String>,
}

impl Connection {
    fn wrapped(&self, stream: &str, data: &str) -> String {
        if self.combined { format!("{{\"stream\":\"{stream}\",\"data\":{data}}}") } else { data.to_owned() }
    }
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
    /// Faults that struck frames.
    pub(crate) struck: u64,
    /// Connections ever opened.
    pub(crate) opened: u64,
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
        now: Nanos,
    ) -> (u64, mpsc::Receiver<Outgoing>) {
        let (out, rx) = mpsc::channel(BACKLOG);
        self.next += 1;
        self.opened += 1;
        let connection = Connection {
            route,
            combined,
            subscriptions: Vec::new(),
            out,
            cut,
            arrivals: VecDeque::new(),
            opened: now,
            api_key: None,
        };
        self.connections.insert(self.next, connection);
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
        if !self.wants(stream) {
            return;
        }
        let data: Arc<str> = Arc::from(data);
        let struck = faults.strike(|f| frame_fault(f).is_some_and(|p| matches(p, kind)));
        self.struck += u64::from(struck.is_some());
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
            Some(fault) => self.send_damaged(stream, &data, fault),
            None => self.send(stream, &data),
        }
        if let Some(before) = self.held.remove(kind) {
            self.send(stream, &before);
        }
    }

    fn send_damaged(&mut self, stream: &str, data: &str, fault: Fault) {
        match fault {
            Fault::Duplicate { .. } => {
                self.send(stream, data);
                self.send(stream, data);
            }
            Fault::StrangeFields { .. } => self.send(stream, &damage::strange(data)),
            Fault::Alter { at, value, .. } => self.send(stream, &damage::altered(data, &at, value.as_ref())),
            Fault::Replace { text, .. } => self.send_raw(stream, &text),
            Fault::Truncate { .. } => self.send_broken(stream, data, |t| damage::truncated(t).to_owned()),
            Fault::Garble { .. } => self.send_broken(stream, data, damage::garbled),
            Fault::Append { text, .. } => self.send_broken(stream, data, |t| format!("{t}{text}")),
            other => {
                match other {
                    Fault::Nest { depth, .. } => self.send_raw(stream, &damage::nested(depth)),
                    Fault::Oversize { bytes, .. } => self.send_raw(stream, &damage::oversize(bytes)),
                    _ => {}
                }
                self.send(stream, data);
            }
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
                wrapped.get_or_insert_with(|| c.wrapped(stream, data).into())
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

    /// Sends a frame of a stream to one connection.
    pub(crate) fn send_to(&mut self, id: u64, stream: &str, data: &str) {
        let Some(c) = self.connections.get(&id) else { return };
        if c.out.try_send(Outgoing::Text(c.wrapped(stream, data).into())).is_ok() {
            self.frames += 1;
        }
    }

    /// Sends a text to one connection.
    pub(crate) fn tell(&self, id: u64, text: String) {
        if let Some(c) = self.connections.get(&id) {
            c.out.try_send(Outgoing::Text(text.into())).ok();
        }
    }

    /// Sends a frame to everybody on a stream after `break_it` had the text as it would go out.
    fn send_broken(&self, stream: &str, data: &str, break_it: impl Fn(&str) -> String) {
        for c in self.by_stream.get(stream).into_iter().flatten().filter_map(|id| self.connections.get(id)) {
            // A connection that is full is dropped by the next proper frame.
            c.out.try_send(Outgoing::Text(break_it(&c.wrapped(stream, data)).into())).ok();
        }
    }

    /// A connection to the WS-API logs on, or out.
    pub(crate) fn log_on(&mut self, id: u64, api_key: Option<String>) {
        if let Some(c) = self.connections.get_mut(&id) {
            c.api_key = api_key;
        }
    }

    /// Logs a key out of the WS-API: its connections are told.
    pub(crate) fn log_out(&mut self, api_key: &str, text: &str) {
        for c in self.connections.values_mut().filter(|c| c.api_key.as_deref() == Some(api_key)) {
            c.api_key = None;
            c.out.try_send(Outgoing::Text(text.into())).ok();
        }
    }

    /// Ends connections that are older than `life`, as the venue does after a day.
    pub(crate) fn end_old(&mut self, life: u64, now: Nanos) {
        let old: Vec<u64> = (self.connections.iter())
            .filter(|(_, c)| now.since(c.opened).0 >= life)
            .map(|(id, _)| *id)
            .collect();
        old.into_iter().for_each(|id| self.end(id, Ending::Close));
    }

    /// Sends a text as it is to everybody on a stream.
    fn send_raw(&self, stream: &str, text: &str) {
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
        ids.into_iter().for_each(|id| self.end(id, how));
    }

    fn end(&mut self, id: u64, how: Ending) {
        if let Some(c) = self.connections.get(&id) {
            match how {
                Ending::Close => drop(c.out.try_send(Outgoing::Close(1001, "Going away"))),
                Ending::Reset => c.cut.reset(),
                Ending::Silence => c.cut.silence(),
            }
        }
        self.close(id);
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
        | Fault::Garble { stream }
        | Fault::Append { stream, .. }
        | Fault::Alter { stream, .. }
        | Fault::Nest { stream, .. }
        | Fault::Oversize { stream, .. }
        | Fault::StrangeFields { stream } => Some(stream),
        _ => None,
    }
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
