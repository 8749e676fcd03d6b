//! The order gateway: order requests to frames, replies to execution reports.
//!
//! A pure core: frames and time in; frames, reports and a deadline out. The rules it keeps:
//!
//! 1. Every request that was sent ends in a report: by its reply, by its deadline, or by the loss of its connection.
//! 2. No answer is not an answer: a deadline, a lost connection and the codes of class *unknown* report
//!    [`ExecType::Unknown`]. Whoever owns the order must query; the gateway never sends an order twice by itself,
//!    with one exception:
//! 3. −1021 (our clock) means "not executed, and the reason is ours": the request is held, the caller is asked to
//!    take the venue's time, and it goes out once more with the same client order id, if it is still fresh.
//! 4. A reply after the deadline still counts: its request keeps its place in the table until the place is needed.
//! 5. What breaks a hard limit is refused here once more, on another path than the router's checks.

use arrayvec::{ArrayString, ArrayVec};
use market::{
    Amount, ClientOrderId, ExecType, ExecutionReport, Nanos, NewOrder, OrderRequest, OrderType, PositionSide,
    Px, Qty, Side, SymbolId, TimeInForce,
};

use crate::clock::ServerClock;
use crate::encode::{EncodeError, Encoder, window_left, window_of};
use crate::errors::{Action, Class, ErrorRule, classify};
use crate::limits::{Cost, RateLimits, Ticket, Urgency, Wait};
use crate::reply::{ErrorBody, Reply};
use crate::report::{Fact, FrameError, error_report, reply_type};
use crate::sign::Signer;
use crate::symbols::Symbols;

/// Requests that may wait for an answer at one time.
pub const IN_FLIGHT: usize = 256;
/// Requests held at one time while the clock is taken anew.
const HELD: usize = 16;

/// What a log-on costs (BINANCE.md §3.3).
const LOG_ON: Cost = Cost { weight: 2, orders: 0 };

/// Settings of a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatewayConfig {
    /// The most that the venue may take a request for, ms (1 … 60000); each order has its own window up to this. A lost
    /// request cannot become an order after it.
    pub recv_window_ms: u32,
    /// How long a request may stay unanswered, ns.
    pub reply_timeout: u64,
    /// How old a request may be when it goes out again after the clock was taken, ns.
    pub retry_max_age: u64,
    /// Hard ceiling of one opening order's value, quote asset (0 = none). Market orders have no price: only the
    /// router bounds theirs.
    pub max_order_notional: Amount,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            recv_window_ms: 2_000,
            reply_timeout: 2 * Nanos::SECOND,
            retry_max_age: Nanos::SECOND,
            max_order_notional: Amount::ZERO,
        }
    }
}

/// Why a request did not go out. Nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A rate limit or ban.
    #[error(transparent)]
    Wait(#[from] Wait),
    /// 256 requests are waiting for answers.
    #[error("too many requests wait for an answer")]
    InFlight,
    /// Not in the session's table.
    #[error("no instrument {}", .0.0)]
    Instrument(SymbolId),
    /// A quantity or price that no order can have.
    #[error("quantity or price outside the instrument's limits")]
    Range,
    /// Above the hard ceiling.
    #[error("the order's value is above max_order_notional")]
    Notional,
    /// Nothing is left of the time in which it may be executed.
    #[error("the time in which the request may be executed is over")]
    TooLate,
    /// Trading was stopped by a fatal answer of the venue.
    #[error("the venue refused this key or account (code {0}): trading is halted")]
    Halted(i32),
    /// The connection is down, and this request is not one that goes over REST meanwhile.
    #[error("the order connection is down; nothing is opened over REST")]
    NotConnected,
}

/// A request made ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outgoing<'a> {
    /// Send this text frame on the WebSocket API connection now.
    Frame(&'a [u8]),
    /// The WebSocket API does not have this request: send it over REST (`CancelAll`).
    Rest(OrderRequest),
}

/// What a gateway tells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GatewayEvent {
    /// News of an order.
    Report(ExecutionReport),
    /// The venue refused something: what to do beyond the report that went before.
    Refused {
        /// Venue's code (0 = none).
        code: i32,
        /// Its rule.
        rule: &'static ErrorRule,
        /// The venue's text, cut.
        text: ArrayString<160>,
    },
    /// Take the venue's time now (GET /fapi/v1/time) and call [`Gateway::clock_synced`].
    SyncClock,
    /// The session is logged on: orders go unsigned.
    LoggedOn,
}

/// Where a gateway tells it.
pub type EventSink<'s> = &'s mut dyn FnMut(GatewayEvent);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Order { order: Timed, attempt: u8 },
    LogOn,
}

/// A request, and the time in which it may be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Timed {
    request: OrderRequest,
    recv_window_ms: u32,
    since: Nanos,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    id: u64,
    sent: Sent,
    /// Counted so: what its reply tells of the limits is of then.
    ticket: Ticket,
    deadline: Nanos,
    /// Reported unknown already; a late reply is still matched to it.
    overdue: bool,
}

/// The gateway core; see the module's text.
pub struct Gateway {
    encoder: Encoder,
    config: GatewayConfig,
    clock: ServerClock,
    limits: RateLimits,
    slots: Box<[Option<Slot>; IN_FLIGHT]>,
    waiting: usize,
    next_id: u64,
    next_deadline: Nanos,
    held: ArrayVec<Timed, HELD>,
    clock_ready: bool,
    session: bool,
    log_on_due: bool,
    halted: Option<i32>,
    locked_until: Nanos,
}

/// After the venue refused the key nothing goes out for this long; then one request tries whether it is good again.
const LOCKED: u64 = 60 * Nanos::SECOND;
const NEVER: Nanos = Nanos(u64::MAX);

impl Gateway {
    /// A gateway for one key and one table of instruments.
    pub fn new(signer: Signer, symbols: Symbols, config: GatewayConfig) -> Result<Self, EncodeError> {
        Ok(Self {
            encoder: Encoder::new(signer, symbols, config.recv_window_ms)?,
            config,
            clock: ServerClock::new(),
            limits: RateLimits::new(),
            slots: Box::new([None; IN_FLIGHT]),
            waiting: 0,
            next_id: 1,
            next_deadline: NEVER,
            held: ArrayVec::new(),
            clock_ready: false,
            session: false,
            log_on_due: false,
            halted: None,
            locked_until: Nanos(0),
        })
    }

    /// Makes an order ready that nobody asked for, as [`Self::request`] does, and takes that back: what the next order will run
    /// and read is in the cache when it comes. The length of its frame, of which nothing may be sent; 0: it was refused.
    pub fn rehearse(&mut self, now: Nanos) -> usize {
        let Some(instrument) = self.encoder.symbols().get(SymbolId(0)) else { return 0 };
        let order = NewOrder {
            symbol: instrument.id,
            client_order_id: ClientOrderId { run: 1, intent: 1, attempt: 1 },
            side: Side::Buy,
            order_type: OrderType::Limit,
            tif: TimeInForce::Gtx,
            px: instrument.min_px.max(Px(1)),
            qty: instrument.min_qty.max(Qty(1)),
            reduce_only: false,
            position_side: PositionSide::Both,
            recv_window_ms: self.config.recv_window_ms,
        };
        let place = self.next_id as usize % IN_FLIGHT;
        let kept = (self.next_id, self.waiting, self.next_deadline, self.slots[place]);
        let limits = self.limits.clone();
        let request = OrderRequest::New(order);
        let made = match self.request(&request, self.config.recv_window_ms, now) {
            Ok(Outgoing::Frame(frame)) => frame.len(),
            Ok(Outgoing::Rest(_)) | Err(_) => 0,
        };
        (self.next_id, self.waiting, self.next_deadline, self.slots[place]) = kept;
        self.limits = limits;
        made
    }

    /// Makes `request` ready to be sent now. The venue executes it from now within `recv_window_ms`, the order's own window
    /// and the configured one, whichever is shortest, or never; 0: it is too late. Whoever may be replaced gives what is
    /// left of its lease, less the error of the clock.
    // Not inlined: a rehearsal warms the one copy that there is.
    #[inline(never)]
    pub fn request(
        &mut self,
        request: &OrderRequest,
        recv_window_ms: u32,
        now: Nanos,
    ) -> Result<Outgoing<'_>, Refusal> {
        self.check(request, now)?;
        let recv_window_ms = window_of(request, recv_window_ms.min(self.config.recv_window_ms));
        if recv_window_ms == 0 {
            return Err(Refusal::TooLate);
        }
        // REST counts its own.
        if let OrderRequest::CancelAll(_) = request {
            return Ok(Outgoing::Rest(*request));
        }
        let server = self.clock.server_time(now);
        let (cost, urgency) = cost(request);
        self.free_slot()?;
        let ticket = self.limits.take(cost, urgency, server)?;
        let order = Timed { request: *request, recv_window_ms, since: now };
        Ok(Outgoing::Frame(self.dispatch(order, 1, ticket, now)))
    }

    /// Makes `request` ready while the connection is down: what ends risk (cancels, queries, reduce-only orders) goes
    /// over REST under the same client order id; nothing is opened that way.
    pub fn request_over_rest(
        &mut self,
        request: &OrderRequest,
        now: Nanos,
    ) -> Result<Outgoing<'static>, Refusal> {
        self.check(request, now)?;
        match request {
            OrderRequest::New(o) if !o.reduce_only => Err(Refusal::NotConnected),
            OrderRequest::Replace(_) => Err(Refusal::NotConnected),
            _ => Ok(Outgoing::Rest(*request)),
        }
    }

    /// Books the request in the table and writes its frame. The caller has checked request and slot.
    fn dispatch(&mut self, order: Timed, attempt: u8, ticket: Ticket, now: Nanos) -> &[u8] {
        let id = self.book(Sent::Order { order, attempt }, ticket, now);
        let timestamp = self.clock.server_time(now).millis();
        let window = window_left(order.recv_window_ms, order.since, now);
        let frame = self.encoder.order(id, &order.request, (window, timestamp), self.session);
        frame.expect("instrument and kind were checked")
    }

    fn book(&mut self, sent: Sent, ticket: Ticket, now: Nanos) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let deadline = now.plus(self.config.reply_timeout);
        self.slots[id as usize % IN_FLIGHT] = Some(Slot { id, sent, ticket, deadline, overdue: false });
        self.waiting += 1;
        self.next_deadline = self.next_deadline.min(deadline);
        id
    }

    /// The next id's place must be free or overdue. Ids go round the table, so a place is taken only while the
    /// request that came 256 before is unanswered.
    fn free_slot(&self) -> Result<(), Refusal> {
        match self.slots[self.next_id as usize % IN_FLIGHT] {
            Some(slot) if !slot.overdue => Err(Refusal::InFlight),
            _ => Ok(()),
        }
    }

    fn check(&self, request: &OrderRequest, now: Nanos) -> Result<(), Refusal> {
        let symbol = symbol_of(request);
        let instrument = self.encoder.symbols().get(symbol).ok_or(Refusal::Instrument(symbol))?;
        let opens = matches!(request, OrderRequest::New(o) if !o.reduce_only);
        if let Some(code) = self.halted.filter(|_| opens || now < self.locked_until) {
            return Err(Refusal::Halted(code));
        }
        let (px, qty, limit) = match request {
            OrderRequest::New(o) => (o.px, o.qty, o.order_type == OrderType::Limit),
            OrderRequest::Replace(o) => (o.px, o.qty, true),
            _ => return Ok(()),
        };
        let max = if limit { instrument.max_qty } else { instrument.max_market_qty };
        let below = |px: Px| limit && (px < instrument.min_px || px <= Px::ZERO);
        let above = |px: Px| limit && instrument.max_px > Px::ZERO && px > instrument.max_px;
        if qty <= Qty::ZERO || qty < instrument.min_qty || qty > max || below(px) || above(px) {
            return Err(Refusal::Range);
        }
        let bounded =
            self.config.max_order_notional > Amount::ZERO && limit && (opens || is_replace(request));
        let value = instrument.notional(px, qty).ok_or(Refusal::Range)?;
        if bounded && value > self.config.max_order_notional {
            return Err(Refusal::Notional);
        }
        Ok(())
    }

    /// The connection is open (also a fresh one that takes over): logs on where the key can.
    pub fn on_open(&mut self) {
        self.session = false;
        self.log_on_due = self.encoder.can_log_on();
    }

    /// The connection is gone: whatever waits for an answer may or may not have been executed.
    pub fn on_close(&mut self, events: EventSink<'_>) {
        self.session = false;
        self.log_on_due = false;
        for i in 0..IN_FLIGHT {
            self.overdue(i, events);
        }
        self.next_deadline = NEVER;
        for held in std::mem::take(&mut self.held) {
            events(GatewayEvent::Report(error_report(&held.request, Class::Failed, -1021)));
        }
    }

    /// Frames that the gateway itself wants sent: log-on, and requests that go out again after the clock was taken.
    /// Call until it gives none, on every turn while the connection is open.
    pub fn next_frame(&mut self, now: Nanos, events: EventSink<'_>) -> Option<&[u8]> {
        if self.log_on_due && self.free_slot().is_ok() {
            self.log_on_due = false;
            let server = self.clock.server_time(now);
            let ticket = self.limits.count(LOG_ON, Urgency::Exit, server);
            let id = self.book(Sent::LogOn, ticket, now);
            return Some(self.encoder.log_on(id, server.millis()));
        }
        if !self.clock_ready {
            return None;
        }
        while let Some(held) = self.held.pop_at(0) {
            let (cost, urgency) = cost(&held.request);
            let fresh = now.since(held.since).0 <= self.config.retry_max_age
                && window_left(held.recv_window_ms, held.since, now) > 0;
            let server = self.clock.server_time(now);
            if fresh
                && self.free_slot().is_ok()
                && let Ok(ticket) = self.limits.take(cost, urgency, server)
            {
                return Some(self.dispatch(held, 2, ticket, now));
            }
            events(GatewayEvent::Report(error_report(&held.request, Class::Failed, -1021)));
        }
        self.clock_ready = false;
        None
    }

    /// The venue's time has been taken.
    pub fn clock_synced(&mut self, clock: &ServerClock) {
        self.clock = clock.clone();
        self.clock_ready = true;
    }

    /// A frame came in.
    pub fn on_frame(&mut self, frame: &[u8], now: Nanos, events: EventSink<'_>) -> Result<(), FrameError> {
        let reply = Reply::parse(frame)?;
        let server = self.clock.server_time(now);
        let status = reply.status.u64().and_then(|s| u16::try_from(s).ok()).unwrap_or(0);
        let known = reply.id.u64().and_then(|id| self.settle(id));
        for count in &reply.limits {
            self.limits.set(count.kind, count.length, count.limit.unwrap_or(0));
            if let (Some(used), Some(slot)) = (count.used, &known) {
                self.limits.observe(count.kind, count.length, used, slot.ticket, server);
            }
        }
        match (known, &reply.error) {
            (Some(slot), Some(error)) => self.refused(slot, status, error, now, events),
            (None, Some(error)) => {
                // A session-level error (null id), or an answer whose place is taken by now.
                self.tell_refusal(status, error, now, events);
            }
            (Some(Slot { sent: Sent::LogOn, .. }), None) => {
                self.session = true;
                events(GatewayEvent::LoggedOn);
            }
            (known, None) => {
                let request = known.and_then(|slot| match slot.sent {
                    Sent::Order { order, .. } => Some(order.request),
                    Sent::LogOn => None,
                });
                self.answered(request.as_ref(), &reply, events)?;
            }
        }
        Ok(())
    }

    /// Takes the request of a reply out of the table.
    fn settle(&mut self, id: u64) -> Option<Slot> {
        let place = &mut self.slots[id as usize % IN_FLIGHT];
        let slot = place.take_if(|slot| slot.id == id)?;
        if !slot.overdue {
            self.waiting -= 1;
        }
        Some(slot)
    }

    fn answered(
        &self,
        request: Option<&OrderRequest>,
        reply: &Reply<'_>,
        events: EventSink<'_>,
    ) -> Result<(), FrameError> {
        let report = match &reply.order {
            Some(row) => {
                row.report_of("order", self.encoder.symbols(), Fact::State(ExecType::Status)).map(Some)
            }
            None => Ok(None),
        };
        match (report, request) {
            (Ok(Some(mut report)), request) => {
                report.exec_type = reply_type(request, report.status);
                events(GatewayEvent::Report(report));
                Ok(())
            }
            (Ok(None), None) => Ok(()),
            // Executed, but told in a way that we cannot read: its state is to be asked for.
            (Ok(None), Some(request)) => {
                events(GatewayEvent::Report(error_report(request, Class::Unknown, 0)));
                Ok(())
            }
            (Err(error), request) => {
                if let Some(request) = request {
                    events(GatewayEvent::Report(error_report(request, Class::Unknown, 0)));
                }
                Err(error)
            }
        }
    }

    fn refused(&mut self, slot: Slot, status: u16, error: &ErrorBody<'_>, now: Nanos, events: EventSink<'_>) {
        let rule = classify(status, error.code(), error.msg.text().unwrap_or(""));
        if let Sent::Order { order, attempt } = slot.sent {
            let again = rule.action == Action::SyncClockAndRetryOnce && attempt == 1 && !slot.overdue;
            if again && self.held.try_push(order).is_ok() {
                self.clock_ready = false;
                events(GatewayEvent::SyncClock);
                return;
            }
            events(GatewayEvent::Report(error_report(&order.request, rule.class, error.code())));
        } else if rule.action == Action::SyncClockAndRetryOnce {
            // Orders are signed one by one until a log-on with the right time succeeds.
            self.log_on_due = true;
            events(GatewayEvent::SyncClock);
        }
        self.tell_refusal(status, error, now, events);
    }

    /// Books what an error says about limits and about the key, and passes it on.
    fn tell_refusal(&mut self, status: u16, error: &ErrorBody<'_>, now: Nanos, events: EventSink<'_>) {
        let server = self.clock.server_time(now);
        let msg = error.msg.text().unwrap_or("");
        let code = error.code();
        let rule = classify(status, code, msg);
        // `retryAfter` is a point in venue time.
        let wait = error.retry_after.u64().map(|ms| Nanos::from_millis(ms).since(server).0);
        self.limits.refused(rule, msg, wait, server);
        // A refusal by the firewall has no code: it bans for a while, and says nothing of key or account.
        if rule.action == Action::HaltTrading && code != 0 {
            self.halted = Some(code);
            if is_about_the_key(code) {
                self.locked_until = now.plus(LOCKED);
            }
        }
        let mut text = ArrayString::new();
        for c in msg.chars() {
            if text.try_push(c).is_err() {
                break;
            }
        }
        events(GatewayEvent::Refused { code, rule, text });
    }

    /// Reports requests whose deadline has passed.
    #[inline]
    pub fn poll(&mut self, now: Nanos, events: EventSink<'_>) {
        if now >= self.next_deadline {
            self.expire(now, events);
        }
    }

    fn expire(&mut self, now: Nanos, events: EventSink<'_>) {
        self.next_deadline = NEVER;
        for i in 0..IN_FLIGHT {
            match self.slots[i] {
                Some(slot) if !slot.overdue && slot.deadline <= now => self.overdue(i, events),
                Some(slot) if !slot.overdue => self.next_deadline = self.next_deadline.min(slot.deadline),
                _ => {}
            }
        }
    }

    fn overdue(&mut self, place: usize, events: EventSink<'_>) {
        let Some(slot) = self.slots[place].as_mut().filter(|slot| !slot.overdue) else { return };
        slot.overdue = true;
        self.waiting -= 1;
        match slot.sent {
            Sent::Order { order, .. } => {
                events(GatewayEvent::Report(error_report(&order.request, Class::Unknown, 0)));
            }
            Sent::LogOn => self.log_on_due = false,
        }
    }

    /// When [`Self::poll`] has something to do next.
    pub fn deadline(&self) -> Option<Nanos> {
        (self.next_deadline != NEVER).then_some(self.next_deadline)
    }

    /// Settings.
    pub const fn config(&self) -> &GatewayConfig {
        &self.config
    }

    /// Requests that wait for an answer.
    pub fn in_flight(&self) -> usize {
        self.waiting
    }

    /// The rate limits, to share what REST learned.
    pub fn limits(&mut self) -> &mut RateLimits {
        &mut self.limits
    }

    /// The venue's clock as it is used for timestamps.
    pub fn clock(&self) -> &ServerClock {
        &self.clock
    }

    /// Another table of the same instruments: their filters have changed.
    pub fn set_symbols(&mut self, symbols: Symbols) {
        self.encoder.set_symbols(symbols);
    }

    /// The venue's code that halted trading, if one did.
    pub fn halted(&self) -> Option<i32> {
        self.halted
    }
}

/// Does this refusal mean that no signed request of ours will be taken?
const fn is_about_the_key(code: i32) -> bool {
    matches!(code, -1002 | -1004 | -1011 | -1022 | -2014 | -2015 | -2017)
}

const fn symbol_of(request: &OrderRequest) -> SymbolId {
    match request {
        OrderRequest::New(o) => o.symbol,
        OrderRequest::Replace(o) => o.symbol,
        OrderRequest::Cancel(o) | OrderRequest::Query(o) => o.symbol,
        OrderRequest::CancelAll(symbol) => *symbol,
    }
}

const fn is_replace(request: &OrderRequest) -> bool {
    matches!(request, OrderRequest::Replace(_))
}

/// What a request costs and how urgent it is (BINANCE.md §3.1).
const fn cost(request: &OrderRequest) -> (Cost, Urgency) {
    let order = Cost { weight: 0, orders: 1 };
    let weight = Cost { weight: 1, orders: 0 };
    match request {
        OrderRequest::New(o) if o.reduce_only => (order, Urgency::Exit),
        OrderRequest::New(_) => (order, Urgency::Entry),
        OrderRequest::Replace(_) => (order, Urgency::Exit),
        OrderRequest::Query(_) => (weight, Urgency::Exit),
        OrderRequest::Cancel(_) | OrderRequest::CancelAll(_) => (weight, Urgency::Cancel),
    }
}

impl Refusal {
    /// The report of a request that was not sent: rejected, with the venue's own code where it is a matter of time
    /// (rate limits), else with none.
    pub fn report(&self, request: &OrderRequest) -> ExecutionReport {
        let code = if let Self::Wait(_) = self { -1003 } else { 0 };
        error_report(request, Class::Failed, code)
    }
}
