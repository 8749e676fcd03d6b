//! WebSocket connections and who gets which frame. A connection's frames wait in a queue of its own until its driver
//! fetches them; what a driver needs to be told at once goes over its [`Wire`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use market::Nanos;
use tungstenite::Utf8Bytes;

use super::damage;
use super::session::Session;
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

/// What a connection's driver is to send.
#[derive(Debug, Clone)]
pub(crate) enum Outgoing {
    /// A text frame.
    Text(Utf8Bytes),
    /// A close frame, then the end.
    Close(u16, &'static str),
}

/// How a driver that does not poll is reached.
pub(crate) trait Wire: Send {
    /// Frames wait, or the connection has ended.
    fn wake(&self);
    /// The connection ends, without waiting for the driver to ask.
    fn end(&self, how: Ending);
}

/// A connection as the hub knows it.
pub(crate) struct Connection {
    pub route: Route,
    /// Wrap frames as `{"stream":…,"data":…}`.
    pub combined: bool,
    pub subscriptions: Vec<String>,
    /// Arrival times of the last messages, for the 10 messages/s rule.
    pub arrivals: VecDeque<Nanos>,
    /// When it was opened.
    opened: Nanos,
    /// Who logged on (WS-API).
    pub session: Option<Session>,
    queue: VecDeque<Outgoing>,
    wire: Option<Box<dyn Wire>>,
    /// It is over (with a close frame at the end of the queue); its driver has yet to see to that.
    ended: Option<Ending>,
}

impl Connection {
    fn wrapped(&self, stream: &str, data: &str) -> String {
        if !self.combined {
            return data.to_owned();
        }
        let parts = ["{\"stream\":\"", stream, "\",\"data\":", data, "}"];
        let mut text = String::with_capacity(parts.iter().map(|p| p.len()).sum());
        parts.into_iter().for_each(|p| text.push_str(p));
        text
    }

    /// Queues a frame; `false` where too many wait already.
    fn push(&mut self, m: Outgoing) -> bool {
        if self.queue.len() >= BACKLOG {
            return false;
        }
        if self.queue.is_empty()
            && let Some(wire) = &self.wire
        {
            wire.wake();
        }
        self.queue.push_back(m);
        true
    }
}

/// What a driver finds when it asks for a connection's frames.
pub(crate) enum Fetched {
    /// The next frame.
    Frame(Outgoing),
    /// None waits.
    Nothing,
    /// The connection is over.
    Ended(Ending),
}

/// A stream's place in the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamId(usize);

/// A stream that somebody listens to, or that is published regularly.
struct Stream {
    name: String,
    listeners: Vec<u64>,
    /// Published regularly: it keeps its place without listeners.
    kept: bool,
}

/// A frame that waits for its time.
struct Waiting {
    stream: String,
    data: Arc<str>,
}

/// All connections.
#[derive(Default)]
pub(crate) struct Hub {
    connections: BTreeMap<u64, Connection>,
    next: u64,
    ids: BTreeMap<String, StreamId>,
    streams: Vec<Stream>,
    free: Vec<StreamId>,
    /// Streams with listeners that are not kept: klines, listen keys, unknown names.
    others: BTreeSet<String>,
    /// Counts the changes of listeners.
    version: u64,
    waiting: BTreeMap<(Nanos, u64), Waiting>,
    next_waiting: u64,
    held: BTreeMap<String, Arc<str>>,
    /// Frames sent.
    pub(crate) frames: u64,
    /// Faults that struck frames.
    pub(crate) struck: u64,
    /// Connections ever opened.
    pub(crate) opened: u64,
    /// Connections dropped because they did not keep up.
    pub(crate) slow: u64,
    /// Older venues: unrouted URLs deliver everything.
    legacy_all: bool,
}

impl Hub {
    pub(crate) fn new(legacy_all: bool) -> Self {
        Self { legacy_all, ..Self::default() }
    }

    pub(crate) fn open(
        &mut self,
        route: Route,
        combined: bool,
        wire: Option<Box<dyn Wire>>,
        session: Option<Session>,
        now: Nanos,
    ) -> u64 {
        self.next += 1;
        self.opened += 1;
        let connection = Connection {
            route,
            combined,
            subscriptions: Vec::new(),
            arrivals: VecDeque::new(),
            opened: now,
            session: session.map(|s| Session { id: self.next, ..s }),
            queue: VecDeque::new(),
            wire,
            ended: None,
        };
        self.connections.insert(self.next, connection);
        self.next
    }

    /// Forgets a connection: its driver is done with it.
    pub(crate) fn close(&mut self, id: u64) {
        self.drop_subscriptions(id);
        self.connections.remove(&id);
    }

    /// A connection that has not ended.
    pub(crate) fn connection(&self, id: u64) -> Option<&Connection> {
        self.connections.get(&id).filter(|c| c.ended.is_none())
    }

    /// A connection that has not ended.
    pub(crate) fn connection_mut(&mut self, id: u64) -> Option<&mut Connection> {
        self.connections.get_mut(&id).filter(|c| c.ended.is_none())
    }

    /// Connections that have not ended.
    pub(crate) fn open_connections(&self) -> usize {
        self.connections.values().filter(|c| c.ended.is_none()).count()
    }

    /// The next frame of a connection, for its driver.
    pub(crate) fn fetch(&mut self, id: u64) -> Fetched {
        match self.connections.get_mut(&id) {
            None => Fetched::Ended(Ending::Reset),
            Some(Connection { ended: Some(how @ (Ending::Reset | Ending::Silence)), .. }) => {
                Fetched::Ended(*how)
            }
            Some(c) => match (c.queue.pop_front(), c.ended) {
                (Some(m), _) => Fetched::Frame(m),
                (None, Some(how)) => Fetched::Ended(how),
                (None, None) => Fetched::Nothing,
            },
        }
    }

    /// Was the connection reset, or did it fall silent?
    pub(crate) fn cut(&self, id: u64) -> Option<Ending> {
        self.connections.get(&id)?.ended.filter(|how| *how != Ending::Close)
    }

    fn drop_subscriptions(&mut self, id: u64) {
        let Some(c) = self.connections.get_mut(&id) else { return };
        for s in std::mem::take(&mut c.subscriptions) {
            self.drop_listener(&s, id);
        }
    }

    /// The place of a stream that is published regularly.
    pub(crate) fn keep(&mut self, name: &str) -> StreamId {
        let id = self.place(name);
        self.streams[id.0].kept = true;
        self.others.remove(name);
        id
    }

    fn place(&mut self, name: &str) -> StreamId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let stream = Stream { name: name.to_owned(), listeners: Vec::new(), kept: false };
        let id = match self.free.pop() {
            Some(id) => {
                self.streams[id.0] = stream;
                id
            }
            None => {
                self.streams.push(stream);
                StreamId(self.streams.len() - 1)
            }
        };
        self.ids.insert(name.to_owned(), id);
        id
    }

    fn drop_listener(&mut self, stream: &str, id: u64) {
        let Some(&place) = self.ids.get(stream) else { return };
        let s = &mut self.streams[place.0];
        s.listeners.retain(|i| *i != id);
        self.version += 1;
        if s.listeners.is_empty() && !s.kept {
            self.ids.remove(stream);
            self.others.remove(stream);
            self.free.push(place);
        }
    }

    /// Subscribes; a stream of another route is taken and stays silent, as at the venue.
    pub(crate) fn subscribe(&mut self, id: u64, stream: &str, delivered: bool) {
        let legacy_all = self.legacy_all;
        let Some(c) = self.connection_mut(id) else { return };
        if c.subscriptions.iter().any(|s| s == stream) {
            return;
        }
        c.subscriptions.push(stream.to_owned());
        let of = Route::of_stream(stream);
        let right = c.route == of || (c.route == Route::Legacy && (of == Route::Public || legacy_all));
        if right && delivered {
            let place = self.place(stream);
            let s = &mut self.streams[place.0];
            s.listeners.push(id);
            if !s.kept {
                self.others.insert(stream.to_owned());
            }
            self.version += 1;
        }
    }

    pub(crate) fn unsubscribe(&mut self, id: u64, stream: &str) {
        if let Some(c) = self.connections.get_mut(&id) {
            c.subscriptions.retain(|s| s != stream);
        }
        self.drop_listener(stream, id);
    }

    /// Changes whenever somebody begins or ceases to listen to something.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Does anybody listen to the stream?
    pub(crate) fn wants(&self, stream: StreamId) -> bool {
        !self.streams[stream.0].listeners.is_empty()
    }

    /// Streams with listeners that are not [kept](Self::keep), in the order of their names.
    pub(crate) fn other_streams(&self) -> impl Iterator<Item = &str> {
        self.others.iter().map(String::as_str)
    }

    /// [`Self::publish`] for a stream that is known by name only.
    pub(crate) fn publish_named(
        &mut self,
        stream: &str,
        kind: &str,
        data: &str,
        faults: &mut Faults,
        now: Nanos,
    ) {
        if let Some(&id) = self.ids.get(stream) {
            self.publish(id, Some(kind), data, faults, now);
        }
    }

    /// Publishes a frame, the faults willing. `kind` is the name that rules match; without, it is the stream's.
    pub(crate) fn publish(
        &mut self,
        stream: StreamId,
        kind: Option<&str>,
        data: &str,
        faults: &mut Faults,
        now: Nanos,
    ) {
        if !self.wants(stream) {
            return;
        }
        if faults.is_empty() && self.held.is_empty() {
            self.send(stream, data);
            return;
        }
        let name = self.streams[stream.0].name.clone();
        let kind = kind.unwrap_or(&name);
        let struck = faults.strike(|f| frame_fault(f).is_some_and(|p| matches(p, kind)));
        self.struck += u64::from(struck.is_some());
        match struck {
            Some(Fault::Mute { .. } | Fault::Drop { .. }) => return,
            Some(Fault::Late { ms, .. }) => {
                self.wait(&name, data, now.plus(ms.saturating_mul(Nanos::MS)));
                return;
            }
            Some(Fault::Reorder { .. }) => {
                self.held.insert(kind.to_owned(), Arc::from(data));
                return;
            }
            Some(fault) => self.send_damaged(stream, data, fault),
            None => self.send(stream, data),
        }
        if let Some(before) = self.held.remove(kind) {
            self.send(stream, &before);
        }
    }

    fn send_damaged(&mut self, stream: StreamId, data: &str, fault: Fault) {
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

    fn wait(&mut self, stream: &str, data: &str, due: Nanos) {
        self.next_waiting += 1;
        let waiting = Waiting { stream: stream.to_owned(), data: Arc::from(data) };
        self.waiting.insert((due, self.next_waiting), waiting);
    }

    /// Sends what has waited long enough.
    pub(crate) fn release(&mut self, now: Nanos) {
        while let Some(entry) = self.waiting.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let w = entry.remove();
            if let Some(&stream) = self.ids.get(&w.stream) {
                self.send(stream, &w.data);
            }
        }
    }

    /// When the next late frame goes out.
    pub(crate) fn release_due(&self) -> Option<Nanos> {
        self.waiting.keys().next().map(|(due, _)| *due)
    }

    fn send(&mut self, stream: StreamId, data: &str) {
        let s = &self.streams[stream.0];
        let (mut raw, mut wrapped): (Option<Utf8Bytes>, Option<Utf8Bytes>) = (None, None);
        let mut slow = Vec::new();
        for id in &s.listeners {
            let Some(c) = self.connections.get_mut(id) else { continue };
            let text = if c.combined {
                wrapped.get_or_insert_with(|| c.wrapped(&s.name, data).into())
            } else {
                raw.get_or_insert_with(|| data.into())
            };
            if c.push(Outgoing::Text(text.clone())) {
                self.frames += 1;
            } else {
                slow.push(*id);
            }
        }
        for id in slow {
            self.slow += 1;
            self.end(id, Ending::Reset);
        }
    }

    /// Sends a frame of a stream to one connection.
    pub(crate) fn send_to(&mut self, id: u64, stream: &str, data: &str) {
        let Some(c) = self.connection_mut(id) else { return };
        let text = c.wrapped(stream, data);
        if c.push(Outgoing::Text(text.into())) {
            self.frames += 1;
        }
    }

    /// Sends a text to one connection.
    pub(crate) fn tell(&mut self, id: u64, text: String) {
        if let Some(c) = self.connection_mut(id) {
            // A connection that is full is dropped by the next proper frame.
            c.push(Outgoing::Text(text.into()));
        }
    }

    /// Sends a frame to everybody on a stream after `break_it` had the text as it would go out.
    fn send_broken(&mut self, stream: StreamId, data: &str, break_it: impl Fn(&str) -> String) {
        let s = &self.streams[stream.0];
        for id in &s.listeners {
            if let Some(c) = self.connections.get_mut(id) {
                let text = break_it(&c.wrapped(&s.name, data));
                c.push(Outgoing::Text(text.into()));
            }
        }
    }

    /// Sends a text as it is to everybody on a stream.
    fn send_raw(&mut self, stream: StreamId, text: &str) {
        let text: Utf8Bytes = text.into();
        for id in &self.streams[stream.0].listeners {
            if let Some(c) = self.connections.get_mut(id) {
                c.push(Outgoing::Text(text.clone()));
            }
        }
    }

    /// Remembers who is logged on to a connection of the WS-API.
    pub(crate) fn log_on(&mut self, session: &Session) {
        if let Some(c) = self.connection_mut(session.id) {
            c.session = Some(session.clone());
        }
    }

    /// Logs a key out of the WS-API: its connections are told.
    pub(crate) fn log_out(&mut self, api_key: &str, text: &str) {
        for c in self.connections.values_mut() {
            if let Some(session) = c.session.as_mut().filter(|s| s.api_key.as_deref() == Some(api_key)) {
                session.api_key = None;
                c.push(Outgoing::Text(text.into()));
            }
        }
    }

    /// Ends connections that are older than `life`, as the venue does after a day.
    pub(crate) fn end_old(&mut self, life: u64, now: Nanos) {
        let old: Vec<u64> = (self.connections.iter())
            .take_while(|(_, c)| now.since(c.opened).0 >= life)
            .filter(|(_, c)| c.ended.is_none())
            .map(|(id, _)| *id)
            .collect();
        old.into_iter().for_each(|id| self.end(id, Ending::Close));
    }

    /// When the oldest connection that has not ended was opened.
    pub(crate) fn oldest(&self) -> Option<Nanos> {
        self.connections.values().find(|c| c.ended.is_none()).map(|c| c.opened)
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

    /// Ends a connection; it hears nothing any more, and is forgotten when its driver closes it.
    pub(crate) fn end(&mut self, id: u64, how: Ending) {
        match how {
            Ending::Close => self.end_with(id, 1001, "Going away"),
            Ending::Reset | Ending::Silence => {
                if let Some(c) = self.connection_mut(id) {
                    c.ended = Some(how);
                    c.queue.clear();
                    if let Some(wire) = &c.wire {
                        wire.end(how);
                    }
                }
                self.drop_subscriptions(id);
            }
        }
    }

    /// Ends a connection with a close frame behind what waits already.
    pub(crate) fn end_with(&mut self, id: u64, code: u16, reason: &'static str) {
        let Some(c) = self.connection_mut(id) else { return };
        if !c.push(Outgoing::Close(code, reason)) {
            self.end(id, Ending::Reset);
            return;
        }
        c.ended = Some(Ending::Close);
        self.drop_subscriptions(id);
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
