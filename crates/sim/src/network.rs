//! The network between the machines and the venue: byte pipes and HTTP exchanges with latency, and everything that can
//! become of them on the way.
//!
//! A pipe is one direction of a TCP connection. What is written waits in segments until its time of arrival; TCP loses
//! and reorders nothing, so a bad network shows as delay, as a connection that breaks, or as one that goes dead
//! without a word. Bytes are flipped and cut by faults alone.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use binance::hosts::Endpoint;
use binance::net::{ByteStream, CloseReason, Dialer, Dialing};
use binance::rest::{Exchange, HttpFailure, HttpRequest, HttpResponse, Transport, TransportKind};
use tokio::sync::{Notify, oneshot};

use crate::random::Random;
use crate::time::TrueTime;

const MS: u64 = 1_000_000;
/// Bytes that may be on their way in one direction of a connection.
const WINDOW: usize = 256 * 1024;
/// A connection attempt into a dead network fails after this long.
const CONNECT_FAILS_AFTER: u64 = 3_000 * MS;

/// A machine that nodes run on, by its place in the world.
pub type Machine = usize;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// Books.
    Public,
    /// Trades and marks.
    Market,
    /// The user stream.
    User,
    /// The WebSocket API.
    Orders,
}

impl Link {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Public, Self::Market, Self::User, Self::Orders];

    fn of(path: &str) -> Self {
        match path {
            p if p.starts_with("/private") => Self::User,
            p if p.starts_with("/ws-fapi") => Self::Orders,
            p if p.starts_with("/market") => Self::Market,
            _ => Self::Public,
        }
    }
}

/// Which end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The node's.
    Node,
    /// The venue's.
    Venue,
}

/// How a machine's network is now.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conditions {
    /// Added to each way, ns.
    pub latency: u64,
    /// Up to so much more, ns.
    pub jitter: u64,
    /// Nothing arrives at the venue before then.
    pub up_stalled_until: u64,
    /// Nothing arrives at the machine before then.
    pub down_stalled_until: u64,
    /// Reads give one byte at a time until then.
    pub split_until: u64,
    /// The machine's side reads no more than a few bytes a poll until then.
    pub slow_until: u64,
}

struct Segment {
    /// When it was written, and when it arrives.
    written: u64,
    at: u64,
    bytes: Vec<u8>,
    read: usize,
}

#[derive(Default)]
struct Pipe {
    segments: VecDeque<Segment>,
    in_flight: usize,
    last_at: u64,
    /// When the end arrives, and whether it is a reset.
    ended: Option<(u64, bool)>,
    /// Nothing that is written arrives any more.
    dead: bool,
    /// The next segment has a bit flipped.
    flip: Option<u64>,
}

impl Pipe {
    /// Takes bytes on their way. They travel with what was written at the same time, as one packet would carry them; else
    /// this is when they arrive.
    fn take(&mut self, written: &[u8], now: u64, way: u64) -> Option<u64> {
        let flip = self.flip.take();
        let packet = self.segments.back_mut().filter(|s| s.written == now && s.at > now);
        let (from, bytes, arrives) = if let Some(packet) = packet {
            let from = packet.bytes.len();
            packet.bytes.extend_from_slice(written);
            (from, &mut packet.bytes, None)
        } else {
            let at = self.last_at.max(now + way);
            self.last_at = at;
            self.segments.push_back(Segment { written: now, at, bytes: written.to_vec(), read: 0 });
            (0, &mut self.segments.back_mut()?.bytes, Some(at))
        };
        if let Some(bit) = flip {
            let bit = (bit % (written.len().max(1) as u64 * 8)) as usize;
            if let Some(byte) = bytes.get_mut(from + bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
        arrives
    }

    /// When something is to be read at this end next: bytes, an end, a reset.
    fn next_at(&self) -> Option<u64> {
        self.segments.front().map(|first| first.at).or_else(|| self.ended.map(|(at, _)| at))
    }
}

struct Connection {
    machine: Machine,
    link: Link,
    up: Pipe,
    down: Pipe,
    node_open: bool,
    venue_open: bool,
}

impl Connection {
    fn pipes(&mut self, end: End) -> (&mut Pipe, &mut Pipe) {
        match end {
            End::Node => (&mut self.down, &mut self.up),
            End::Venue => (&mut self.up, &mut self.down),
        }
    }
}

/// A request on its way.
struct Call {
    machine: Machine,
    request: Option<HttpRequest>,
    answer: oneshot::Sender<Result<HttpResponse, HttpFailure>>,
    response: Option<Result<HttpResponse, HttpFailure>>,
}

/// What happens at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// Bytes, or the end, arrive at one end.
    Arrival(u64, End),
    /// A connection reaches the venue.
    Accept(u64),
    /// A request reaches the venue.
    Request(u64),
    /// An answer reaches the machine.
    Response(u64),
    /// A stall is over.
    Wake(Machine),
}

/// What the world must do about what arrived.
#[derive(Debug, Default)]
pub struct Arrived {
    /// Machines to be polled.
    pub machines: Vec<Machine>,
    /// New connections at the venue.
    pub accepts: Vec<u64>,
    /// Something came in on a connection of the venue.
    pub venue: bool,
    /// Requests that reach the venue: number, machine, request.
    pub requests: Vec<(u64, Machine, HttpRequest)>,
}

struct State {
    random: Random,
    conditions: Vec<Conditions>,
    connections: BTreeMap<u64, Connection>,
    calls: BTreeMap<u64, Call>,
    events: BTreeMap<(u64, u64), Event>,
    next: u64,
    /// When the world is going to look next.
    watched_until: u64,
    /// Bytes that left a machine for the venue, and frames: for the digest.
    sent: u64,
    requests: u64,
}

/// The network of a world.
pub struct Network {
    time: TrueTime,
    state: Mutex<State>,
    /// Something happens sooner than the world looks.
    pub sooner: Notify,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Network")
    }
}

impl State {
    fn at(&mut self, at: u64, event: Event) {
        self.next += 1;
        self.events.insert((at, self.next), event);
    }

    /// One way between a machine and the venue.
    fn way(&mut self, machine: Machine) -> u64 {
        let c = self.conditions[machine];
        c.latency + self.random.below(c.jitter + 1)
    }
}

impl Network {
    /// Between the venue and this many machines.
    pub fn new(time: TrueTime, seed: u64, machines: usize) -> Arc<Self> {
        let usual = Conditions { latency: MS, jitter: 2 * MS, ..Conditions::default() };
        let state = State {
            random: Random::new(seed, 0x6e65),
            conditions: vec![usual; machines],
            connections: BTreeMap::new(),
            calls: BTreeMap::new(),
            events: BTreeMap::new(),
            next: 0,
            watched_until: 0,
            sent: 0,
            requests: 0,
        };
        Arc::new(Self { time, state: Mutex::new(state), sooner: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self, state: &State, at: u64) {
        if at < state.watched_until {
            self.sooner.notify_one();
        }
    }

    /// When the next thing happens.
    pub fn next_due(&self) -> Option<u64> {
        self.state().events.keys().next().map(|(at, _)| *at)
    }

    /// The world looks again then, unless told by [`Self::sooner`].
    pub fn watch_until(&self, at: u64) {
        self.state().watched_until = at;
    }

    /// Bytes and requests that left the machines so far.
    pub fn sent(&self) -> (u64, u64) {
        let state = self.state();
        (state.sent, state.requests)
    }

    /// Changes the conditions of a machine.
    pub fn change(&self, machine: Machine, change: impl FnOnce(&mut Conditions)) {
        let now = self.time.now_ns();
        let mut state = self.state();
        change(&mut state.conditions[machine]);
        let c = state.conditions[machine];
        for until in [c.up_stalled_until, c.down_stalled_until] {
            if until > now {
                state.at(until, Event::Wake(machine));
            }
        }
    }

    /// The usual conditions again, everywhere.
    pub fn heal(&self) {
        let mut state = self.state();
        let machines = state.conditions.len();
        let now = self.time.now_ns();
        for machine in 0..machines {
            state.conditions[machine] = Conditions { latency: MS, jitter: 2 * MS, ..Conditions::default() };
            state.at(now, Event::Wake(machine));
        }
    }

    // ---- faults of single connections ------------------------------------------------------------------------------

    /// Breaks the newest open connection of a machine for `link`: both ends meet a reset. Was there one?
    pub fn reset(&self, machine: Machine, link: Link) -> bool {
        self.with(machine, link, |c, now| {
            for pipe in [&mut c.up, &mut c.down] {
                pipe.segments.clear();
                pipe.in_flight = 0;
                pipe.ended = Some((now, true));
            }
        })
    }

    /// Kills a connection without a word: in one direction or in both.
    pub fn deaden(&self, machine: Machine, link: Link, up: bool, down: bool) -> bool {
        self.with(machine, link, |c, _| {
            c.up.dead |= up;
            c.down.dead |= down;
        })
    }

    /// Flips a bit of the next bytes in one direction; `bit` chooses which.
    pub fn flip(&self, machine: Machine, link: Link, up: bool, bit: u64) -> bool {
        self.with(machine, link, |c, _| {
            if up {
                c.up.flip = Some(bit);
            } else {
                c.down.flip = Some(bit);
            }
        })
    }

    /// Cuts what is on its way in the middle, and resets.
    pub fn truncate(&self, machine: Machine, link: Link) -> bool {
        self.with(machine, link, |c, now| {
            for pipe in [&mut c.up, &mut c.down] {
                if let Some(last) = pipe.segments.back_mut() {
                    let keep = last.read.max(last.bytes.len() / 2);
                    last.bytes.truncate(keep);
                }
                pipe.ended = Some((pipe.last_at.max(now), true));
            }
        })
    }

    fn with(&self, machine: Machine, link: Link, f: impl FnOnce(&mut Connection, u64)) -> bool {
        let now = self.time.now_ns();
        let mut state = self.state();
        let newest = |(_, c): &(&u64, &mut Connection)| {
            c.machine == machine && c.link == link && c.node_open && c.venue_open
        };
        let Some((&id, connection)) = state.connections.iter_mut().rev().find(newest) else { return false };
        f(connection, now);
        state.at(now, Event::Arrival(id, End::Node));
        state.at(now, Event::Arrival(id, End::Venue));
        self.changed(&state, now);
        true
    }

    /// A machine lost its power: its connections are gone, and the venue hears nothing of it.
    pub fn unplug(&self, machine: Machine) {
        let mut state = self.state();
        for c in state.connections.values_mut().filter(|c| c.machine == machine) {
            c.up.dead = true;
            c.down.dead = true;
        }
        state.calls.retain(|_, call| call.machine != machine);
    }

    // ---- what arrives ----------------------------------------------------------------------------------------------

    /// Everything that has arrived by now.
    pub fn arrive(&self) -> Arrived {
        let now = self.time.now_ns();
        let mut arrived = Arrived::default();
        let mut state = self.state();
        while let Some(entry) = state.events.first_entry()
            && entry.key().0 <= now
        {
            let event = entry.remove();
            match event {
                Event::Arrival(_, End::Venue) => arrived.venue = true,
                Event::Arrival(id, End::Node) => {
                    arrived.machines.extend(state.connections.get(&id).map(|c| c.machine));
                }
                Event::Accept(id) => arrived.accepts.push(id),
                Event::Wake(machine) => {
                    arrived.machines.push(machine);
                    arrived.venue = true;
                }
                Event::Request(id) => {
                    let Some(machine) = state.calls.get(&id).map(|c| c.machine) else { continue };
                    let until = state.conditions[machine].up_stalled_until;
                    if until > now {
                        state.at(until, event);
                        continue;
                    }
                    let request = state.calls.get_mut(&id).and_then(|c| c.request.take());
                    arrived.requests.extend(request.map(|r| (id, machine, r)));
                }
                Event::Response(id) => {
                    let Some(machine) = state.calls.get(&id).map(|c| c.machine) else { continue };
                    let until = state.conditions[machine].down_stalled_until;
                    if until > now {
                        state.at(until, event);
                        continue;
                    }
                    if let Some(call) = state.calls.remove(&id) {
                        let nothing = || Err(broken("the answer was lost"));
                        // Whoever asked may have given up.
                        let _ = call.answer.send(call.response.unwrap_or_else(nothing));
                    }
                }
            }
        }
        state.connections.retain(|_, c| c.node_open || c.venue_open);
        arrived.machines.sort_unstable();
        arrived.machines.dedup();
        arrived
    }

    /// The venue answers a request.
    pub fn answer(&self, id: u64, response: Result<HttpResponse, HttpFailure>) {
        let now = self.time.now_ns();
        let mut state = self.state();
        let Some(machine) = state.calls.get(&id).map(|c| c.machine) else { return };
        let at = now + state.way(machine);
        if let Some(call) = state.calls.get_mut(&id) {
            call.response = Some(response);
        }
        state.at(at, Event::Response(id));
    }

    /// Breaks the requests of a machine that are on their way: half of them after they have reached the venue.
    pub fn break_requests(&self, machine: Machine) -> usize {
        let mut state = self.state();
        let ids: Vec<u64> =
            state.calls.iter().filter(|(_, c)| c.machine == machine).map(|(id, _)| *id).collect();
        let n = ids.len();
        for id in ids {
            if let Some(call) = state.calls.remove(&id) {
                let _ = call.answer.send(Err(broken("connection reset")));
            }
        }
        n
    }

    /// The venue's end of a connection that it accepts, and where it comes from.
    pub fn accepted(self: &Arc<Self>, id: u64) -> Option<(Stream, IpAddr)> {
        let mut state = self.state();
        let c = state.connections.get_mut(&id)?;
        c.venue_open = true;
        let ip = address(c.machine);
        drop(state);
        Some((Stream { network: Arc::clone(self), id, end: End::Venue }, ip))
    }
}

/// The address of a machine.
pub fn address(machine: Machine) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, u8::try_from(machine + 1).unwrap_or(u8::MAX)))
}

fn broken(why: &str) -> HttpFailure {
    HttpFailure::Transport(TransportKind::Broken, why.to_owned())
}

/// One end of a connection.
#[derive(Debug)]
pub struct Stream {
    network: Arc<Network>,
    id: u64,
    end: End,
}

impl Stream {
    /// Ends the connection from this side: orderly, or by a reset.
    fn close(&self, reset: bool) {
        let now = self.network.time.now_ns();
        let mut state = self.network.state();
        let Some(machine) = state.connections.get(&self.id).map(|c| c.machine) else { return };
        let way = state.way(machine);
        let Some(c) = state.connections.get_mut(&self.id) else { return };
        match self.end {
            End::Node => c.node_open = false,
            End::Venue => c.venue_open = false,
        }
        let (_, outgoing) = c.pipes(self.end);
        if outgoing.dead || outgoing.ended.is_some() {
            return;
        }
        let at = outgoing.last_at.max(now + way);
        outgoing.ended = Some((at, reset));
        let other = if self.end == End::Node { End::Venue } else { End::Node };
        let id = self.id;
        state.at(at, Event::Arrival(id, other));
        self.network.changed(&state, at);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.close(false);
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut state = self.network.state();
        let State { connections, conditions, .. } = &mut *state;
        let Some(connection) = connections.get_mut(&self.id) else {
            return Err(io::ErrorKind::ConnectionReset.into());
        };
        let c = conditions[connection.machine];
        let (incoming, _) = connection.pipes(self.end);
        if incoming.next_at().is_none() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let now = self.network.time.now_ns();
        let stalled = if self.end == End::Node { c.down_stalled_until } else { c.up_stalled_until };
        let most = match self.end {
            End::Node if c.slow_until > now => 64,
            _ if c.split_until > now => 1,
            _ => buf.len(),
        };
        if incoming.dead || now < stalled {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut got = 0;
        let most = most.min(buf.len());
        while got < most
            && let Some(segment) = incoming.segments.front_mut()
            && segment.at <= now
        {
            let n = (most - got).min(segment.bytes.len() - segment.read);
            buf[got..got + n].copy_from_slice(&segment.bytes[segment.read..segment.read + n]);
            got += n;
            segment.read += n;
            incoming.in_flight = incoming.in_flight.saturating_sub(n);
            if segment.read == segment.bytes.len() {
                incoming.segments.pop_front();
            }
        }
        if got > 0 || buf.is_empty() {
            return Ok(got);
        }
        match incoming.ended {
            Some((at, reset)) if at <= now && incoming.segments.is_empty() => {
                if reset {
                    Err(io::ErrorKind::ConnectionReset.into())
                } else {
                    Ok(0)
                }
            }
            _ => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let now = self.network.time.now_ns();
        let mut state = self.network.state();
        let Some(machine) = state.connections.get(&self.id).map(|c| c.machine) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let way = state.way(machine);
        let Some(connection) = state.connections.get_mut(&self.id) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let (incoming, outgoing) = connection.pipes(self.end);
        if incoming.ended.is_some_and(|(at, reset)| reset && at <= now) || outgoing.ended.is_some() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let n = buf.len().min(WINDOW.saturating_sub(outgoing.in_flight));
        if n == 0 && !buf.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        outgoing.in_flight += n;
        if outgoing.dead {
            return Ok(n);
        }
        let arrives = outgoing.take(&buf[..n], now, way);
        let other = if self.end == End::Node { End::Venue } else { End::Node };
        let id = self.id;
        if self.end == End::Node {
            state.sent += n as u64;
        }
        if let Some(at) = arrives {
            state.at(at, Event::Arrival(id, other));
            self.network.changed(&state, at);
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ByteStream for Stream {
    fn abort(&mut self) {
        self.close(true);
    }

    fn may_bring(&mut self) -> bool {
        let mut state = self.network.state();
        let Some(connection) = state.connections.get_mut(&self.id) else { return true };
        // It is asked in every round, and mostly for nothing: the time is looked up only where it matters.
        let arrives = connection.pipes(self.end).0.next_at();
        arrives.is_some_and(|at| at <= self.network.time.now_ns())
    }
}

impl venue::ByteStream for Stream {
    fn reset(&mut self) {
        self.close(true);
    }

    fn silence(&mut self) {
        let mut state = self.network.state();
        if let Some(c) = state.connections.get_mut(&self.id) {
            c.up.dead = true;
            c.down.dead = true;
            c.venue_open = false;
        }
    }
}

/// What a machine reaches the venue by.
#[derive(Debug, Clone)]
pub struct Uplink {
    /// The network.
    pub network: Arc<Network>,
    /// Of which machine.
    pub machine: Machine,
}

struct Attempt {
    network: Arc<Network>,
    machine: Machine,
    link: Link,
    to: String,
    opens_at: u64,
    fails_at: u64,
    over: bool,
}

impl Dialer for Uplink {
    fn dial(&self, endpoint: &Endpoint) -> Result<Box<dyn Dialing>, CloseReason> {
        let now = self.network.time.now_ns();
        let mut state = self.network.state();
        let trip = state.way(self.machine) + state.way(self.machine);
        Ok(Box::new(Attempt {
            network: Arc::clone(&self.network),
            machine: self.machine,
            link: Link::of(&endpoint.path),
            to: endpoint.authority(),
            opens_at: now + trip,
            fails_at: now + CONNECT_FAILS_AFTER,
            over: false,
        }))
    }
}

impl Dialing for Attempt {
    fn poll(&mut self) -> Result<Option<Box<dyn ByteStream>>, CloseReason> {
        let now = self.network.time.now_ns();
        let mut state = self.network.state();
        let c = state.conditions[self.machine];
        if now < self.opens_at || self.over {
            return Ok(None);
        }
        if now < c.up_stalled_until.max(c.down_stalled_until) {
            if now < self.fails_at {
                return Ok(None);
            }
            return Err(CloseReason::Connect { to: self.to.clone(), why: "no route to host".to_owned() });
        }
        self.over = true;
        state.next += 1;
        let id = state.next;
        let (machine, link) = (self.machine, self.link);
        let connection = Connection {
            machine,
            link,
            up: Pipe::default(),
            down: Pipe::default(),
            node_open: true,
            venue_open: true,
        };
        state.connections.insert(id, connection);
        state.at(now, Event::Accept(id));
        self.network.changed(&state, now);
        Ok(Some(Box::new(Stream { network: Arc::clone(&self.network), id, end: End::Node })))
    }
}

impl Transport for Uplink {
    fn exchange(&self, request: HttpRequest) -> Exchange<'_> {
        let (answer, answered) = oneshot::channel();
        let now = self.network.time.now_ns();
        let mut state = self.network.state();
        let at = now + state.way(self.machine);
        state.next += 1;
        state.requests += 1;
        let id = state.next;
        let call = Call { machine: self.machine, request: Some(request), answer, response: None };
        state.calls.insert(id, call);
        state.at(at, Event::Request(id));
        self.network.changed(&state, at);
        drop(state);
        Box::pin(async move { answered.await.unwrap_or_else(|_| Err(broken("the connection is gone"))) })
    }
}
