//! The venue without threads, sockets or clocks: bytes and time in, bytes out. The same configuration and the same
//! calls give the same bytes, every time and on every machine: a simulation can hold it (SPEC 13).

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use market::{Nanos, SymbolId};

use super::admin;
use super::call::{self, Answer, Progress, RestCall};
use super::connection::{self, Admission};
use super::mirror::Mirrored;
use super::request::HttpRequest;
use super::rest_connections::RestConnections;
use super::socket::{Socket, State};
use super::stream::ByteStream;
use super::world::{Counters, World};
use crate::config::{VenueConfig, VenueError};
use crate::core::{AccountId, Exchange};
use crate::faults::{Ending, Rule};

/// A connection that [`PolledVenue::accept`] took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// A request that [`PolledVenue::request`] took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// The venue without threads, sockets or clocks.
///
/// Time never runs backward between calls. Call [`Self::poll`] when bytes came in, after every other call, and at
/// [`Self::next_due`].
pub struct PolledVenue {
    world: World,
    sockets: BTreeMap<ConnectionId, Socket>,
    next_connection: u64,
    /// Requests by the time of their next step.
    calls: BTreeMap<(Nanos, RequestId), RestCall>,
    /// Requests that never get an answer, until their connection is reset.
    unanswered: Vec<RequestId>,
    rest: RestConnections,
    answers: Vec<(RequestId, Answer)>,
    next_request: u64,
    /// When the world has something to do.
    due: Nanos,
    /// Something happened since the world was last pumped.
    touched: bool,
}

impl fmt::Debug for PolledVenue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolledVenue").field("connections", &self.sockets.len()).finish_non_exhaustive()
    }
}

impl PolledVenue {
    /// A venue that opens at `now` (since the Unix epoch; the configuration's listening address means nothing here).
    pub fn new(config: VenueConfig, now: Nanos) -> Result<Self, VenueError> {
        Ok(Self {
            world: World::new(&config, now)?,
            sockets: BTreeMap::new(),
            next_connection: 0,
            calls: BTreeMap::new(),
            unanswered: Vec::new(),
            rest: RestConnections::default(),
            answers: Vec::new(),
            next_request: 0,
            due: now,
            touched: true,
        })
    }

    /// Takes a TCP connection for a WebSocket; the upgrade request that comes over it decides what it is for.
    pub fn accept(&mut self, stream: Box<dyn ByteStream>, ip: IpAddr, now: Nanos) -> ConnectionId {
        self.next_connection += 1;
        let id = ConnectionId(self.next_connection);
        let admission = connection::admit(&mut self.world);
        let mut socket = Socket::new(stream, ip, admission == Admission::Ignore);
        if admission == Admission::Refuse {
            socket.reset();
        } else {
            socket.read(&mut self.world, now);
            self.sockets.insert(id, socket);
        }
        self.touched = true;
        id
    }

    /// Does what is due at `now`: reads and answers what came in, moves the market and the timers, sends what waits.
    pub fn poll(&mut self, now: Nanos) {
        for socket in self.sockets.values_mut() {
            self.touched |= socket.read(&mut self.world, now);
        }
        self.step_calls(now);
        if self.touched || now >= self.due {
            call::pump(&mut self.world, now);
            self.end_rest();
            self.due = self.world.next_due(now).max(now.plus(1));
            self.touched = false;
        }
        let world = &mut self.world;
        self.sockets.retain(|_, socket| socket.write(world, now) == State::Open);
    }

    /// When [`Self::poll`] has something to do next, if no bytes come in until then; never before `now`.
    pub fn next_due(&self, now: Nanos) -> Nanos {
        if self.touched {
            return now;
        }
        let mut due = self.due;
        if let Some(((step, _), _)) = self.calls.first_key_value() {
            due = due.min(*step);
        }
        for socket in self.sockets.values() {
            due = due.min(socket.due());
        }
        due.max(now)
    }

    /// Takes a REST request (or one to `/dolphin/…`). Its answer comes by [`Self::take_answers`] when it is time, or
    /// never where a fault wants that. It comes over a connection that its client kept open, or else over a new one,
    /// which faults may refuse.
    pub fn request(&mut self, request: HttpRequest, now: Nanos) -> RequestId {
        self.next_request += 1;
        let id = RequestId(self.next_request);
        self.touched = true;
        if let Some(reply) = admin::handle(&mut self.world, &request, now) {
            self.answers.push((id, Answer::Reply(reply)));
            self.end_rest();
            return id;
        }
        match self.rest.carry(&mut self.world, request.ip) {
            Admission::Serve => {
                let call = RestCall::new(&mut self.world, request, now);
                self.calls.insert((now, id), call);
                self.step_calls(now);
            }
            Admission::Refuse => self.answers.push((id, Answer::Lost)),
            Admission::Ignore => self.unanswered.push(id),
        }
        id
    }

    /// The client at this address is gone, and the connections that it kept open for requests with it.
    pub fn client_gone(&mut self, ip: IpAddr) {
        self.rest.client_gone(ip);
    }

    /// The answers that have come to be by `now`, in the order they did.
    pub fn take_answers(&mut self, now: Nanos) -> Vec<(RequestId, Answer)> {
        self.step_calls(now);
        std::mem::take(&mut self.answers)
    }

    fn step_calls(&mut self, now: Nanos) {
        while let Some(entry) = self.calls.first_entry() {
            let (due, id) = *entry.key();
            if due > now {
                return;
            }
            self.touched = true;
            let mut call = entry.remove();
            match call.step(&mut self.world, now) {
                Progress::Wait(due) => drop(self.calls.insert((due, id), call)),
                Progress::Done(answer) => {
                    if matches!(answer, Answer::Reply(_)) {
                        self.rest.keep(call.ip());
                    }
                    self.answers.push((id, answer));
                }
                Progress::Never => self.unanswered.push(id),
            }
        }
    }

    /// Ends the REST connections that a fault wants ended, with the requests on them.
    fn end_rest(&mut self) {
        for how in std::mem::take(&mut self.world.rest_endings) {
            self.rest.end(how);
            let calls = std::mem::take(&mut self.calls);
            let waiting = calls.into_keys().map(|(_, id)| id).chain(std::mem::take(&mut self.unanswered));
            if how != Ending::Silence {
                self.answers.extend(waiting.map(|id| (id, Answer::Lost)));
            }
        }
    }

    /// Puts a fault in force (for `for_ms`, where given), or lets it happen at once (id 0); the error says what is
    /// wrong with it.
    pub fn inject(&mut self, rule: impl Into<Rule>, for_ms: Option<u64>, now: Nanos) -> Result<u64, String> {
        self.touched = true;
        let id = admin::inject(&mut self.world, rule.into(), for_ms, now);
        self.end_rest();
        id
    }

    /// Ends a rule; was it there?
    pub fn remove_fault(&mut self, id: u64) -> bool {
        self.touched = true;
        self.world.faults.remove(id)
    }

    /// Removes all faults.
    pub fn clear_faults(&mut self) {
        self.touched = true;
        self.world.faults.clear();
    }

    /// How often a rule struck.
    pub fn hits(&self, id: u64) -> u64 {
        self.world.faults.hits(id)
    }

    /// What the venue counted.
    pub fn counters(&mut self) -> Counters {
        self.world.counted()
    }

    /// Looks at the exchange: accounts, orders, fills, books.
    pub fn inspect<T>(&self, look: impl FnOnce(&Exchange) -> T) -> T {
        look(&self.world.exchange)
    }

    /// Acts on the exchange as somebody who needs no request for it (an operator at the venue's own screen, another
    /// trader): places, cancels, transfers, changes leverage. `act` is given the venue's time; the account's streams
    /// tell of it as of anything else.
    pub fn act<T>(&mut self, now: Nanos, act: impl FnOnce(&mut Exchange, Nanos) -> T) -> T {
        self.touched = true;
        let at = self.world.clock(now);
        let out = act(&mut self.world.exchange, at);
        self.world.settle(at);
        out
    }

    /// The account of a place in [`VenueConfig::accounts`].
    pub fn account(&self, n: u16) -> AccountId {
        AccountId(n)
    }

    /// The symbol of this name.
    pub fn symbol(&self, name: &str) -> Option<SymbolId> {
        self.world.symbol(name).ok()
    }

    /// The venue's own clock, which a fault may have put off.
    pub fn clock(&self, now: Nanos) -> Nanos {
        self.world.clock(now)
    }

    /// Feeds a venue that was started with [`VenueConfig::mirrored`].
    pub fn mirror(&mut self, symbol: SymbolId, what: Mirrored<'_>, now: Nanos) {
        self.touched = true;
        self.world.mirror(symbol, what, now);
    }
}
