//! Intents to orders: the execution router between the engine and the gateway.
//!
//! Lossless inputs (intents, reports, commands) are taken one at a time, and each call's outbox is handed on before
//! the next is taken. If a ring behind it is full the outbox waits here and nothing new is taken in: back-pressure,
//! never a lost order.

use execution::{
    Alert, Check, Control, Denial, Gate, KillTrigger, Margin, Outbox, Rearm, RearmError, Rehearsal, Router,
    SymbolDay, Transfer, Unlisted, VenuePosition, VenueState,
};
use market::{
    Amount, Bbo, ExecutionReport, Instrument, Intent, MarkPrice, Nanos, OrderOrigin, OrderRequest, Outcome,
    Qty, SymbolId,
};
use runtime::clock::Clock;
use runtime::journal::tap::{Entry, Tap};
use runtime::latency::Probe;
use runtime::pending::Publisher;
use runtime::ring::{Rx, Tx};
use runtime::stage::{Stage, Work};
use serde::{Deserialize, Serialize};

use super::{Cause, Hop, StampedIntent, StampedRequest, Trace};
use crate::day::SharedDay;
use crate::published::{self, RouterView};

/// What the control thread tells the router.
#[derive(Debug, Serialize, Deserialize)]
pub enum RouterCommand {
    /// What the surroundings allow.
    Gate(Gate),
    /// The venue's account, after a query.
    Account(Box<AccountState>),
    /// New filters of an instrument.
    Instrument(Box<Instrument>),
    /// A new day began.
    BeginDay,
    /// The wallet changed by something else than a fill.
    Income {
        /// By this much.
        change: Amount,
        /// Funding is profit or loss of the day, a transfer is not.
        is_profit: bool,
    },
    /// No entry in this instrument until the next start.
    Halt(SymbolId),
    /// The control thread found something that must stop entries until a human looks.
    Trip(Check),
    /// A person lets trading go on, for this reason; the day's figures begin anew too if `day`.
    Rearm {
        /// With the day.
        day: bool,
        /// Why.
        reason: Box<str>,
    },
    /// What came of a dead-man switch that was set.
    DeadMan(SymbolId, bool),
    /// Stop: no entries, cancel everything, close positions if `flatten`.
    Kill {
        /// Close positions too.
        flatten: bool,
        /// Who wants it.
        trigger: KillTrigger,
    },
}

/// The account as the venue answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountState {
    /// When it was asked for (monotonic).
    pub requested_at: Nanos,
    /// Open orders.
    pub orders: Vec<ExecutionReport>,
    /// Positions that are not zero.
    pub positions: Vec<VenuePosition>,
    /// Fills since the last good comparison, in the instruments where there may be any.
    pub fills: Vec<ExecutionReport>,
    /// Wallet balance in the quote asset.
    pub wallet: Amount,
    /// Margin; `None`: not asked.
    pub margin: Option<Margin>,
    /// Transfers since the last good comparison; `None`: not asked.
    pub transfers: Option<Vec<Transfer>>,
    /// Positions and orders in instruments that are not followed.
    pub unlisted: Vec<UnlistedRow>,
}

/// [`execution::Unlisted`] with a name of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnlistedRow {
    /// Venue name.
    pub name: String,
    /// Signed quantity, units of the asset.
    pub qty: f64,
    /// Value, quote asset.
    pub notional: f64,
    /// `None`: a position. Else whose order.
    pub order: Option<OrderOrigin>,
}

impl UnlistedRow {
    fn lend(&self) -> Unlisted<'_> {
        Unlisted { name: &self.name, qty: self.qty, notional: self.notional, order: self.order }
    }
}

/// What the book stage tells the router.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Quote {
    /// Best bid and offer of a live book.
    Bbo(Bbo),
    /// Mark price.
    Mark(MarkPrice),
    /// The book of this symbol is not to be trusted until its next best bid and offer.
    Lost(SymbolId),
}

/// What the router tells the control thread.
#[derive(Debug, Clone, Copy)]
pub enum RouterNews {
    /// A request to the control thread, over REST.
    ControlRequest(Control),
    /// For people.
    Alert(Alert),
    /// An order that our own checks refused.
    Denied(Denial),
    /// A position was opened, closed, or an entry came to nothing.
    Outcome(Outcome),
    /// What came of an order to rearm.
    Rearmed(Result<(), RearmError>),
    /// The state, whenever it changed.
    State(RouterState),
    /// A position, whenever it changed.
    Position(SymbolId, Qty),
    /// What the venue said of an order of ours, for people.
    Report(ExecutionReport),
}

/// The router as others see it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct RouterState {
    /// Orders working or unknown.
    pub working: u32,
    /// Orders whose fate is unknown.
    pub unknown: u32,
    /// Instruments with a position.
    pub positions: u32,
    /// Orders sent.
    pub orders: u64,
    /// Orders refused by the venue.
    pub rejects: u64,
    /// Orders refused by our own checks.
    pub denials: u64,
    /// Fills of ours.
    pub fills: u64,
    /// Entries that got a position.
    pub entries: u64,
    /// Entries that got none.
    pub abandoned: u64,
    /// Positions closed.
    pub exits: u64,
    /// Maker share of entries by value; `None` before the first.
    pub maker_entries: Option<f64>,
    /// Maker share of exits by value.
    pub maker_exits: Option<f64>,
    /// Maker share of both.
    pub maker_share: Option<f64>,
    /// Profit and loss since the day began, commissions included, quote asset; `None`: equity is not known.
    pub day_pnl: Option<f64>,
    /// Fall of equity from the day's peak, fraction of it; `None`: equity is not known.
    pub drawdown: Option<f64>,
    /// Orders of which some lots are booked at an estimated price.
    pub unpriced: u32,
    /// Has the last comparison with the venue been clean?
    pub reconciled: bool,
    /// The kill switch is pulled.
    pub killed: bool,
    /// The kill switch has done its work.
    pub kill_done: bool,
}

/// What the stage took, in the order in which it took it, and what it handed on, for the journal.
#[derive(Debug, Serialize, Deserialize)]
pub enum RouterRecord {
    /// A quote.
    Quote(Quote),
    /// A command.
    Command(RouterCommand),
    /// A report.
    Report(ExecutionReport),
    /// An intent.
    Intent(Intent),
    /// A deadline had passed.
    Timer,
    /// From here on something waits for room behind the router, or nothing does any more.
    Waits(bool),
    /// Decided: an order request.
    Request(OrderRequest),
    /// Decided: an outcome.
    Outcome(Outcome),
    /// Decided: something for the control thread.
    ControlRequest(Control),
    /// The state as others see it.
    State(RouterState),
}

/// A record on its way to the journal.
pub type RouterEntry = Entry<RouterRecord>;

/// The ends of the stage's links.
pub struct RouterLinks {
    /// Lossless.
    pub intents: Rx<StampedIntent>,
    /// Lossless.
    pub reports: Rx<ExecutionReport>,
    /// Conflated at its source.
    pub quotes: Rx<Quote>,
    /// Lossless.
    pub commands: Rx<RouterCommand>,
    /// Lossless.
    pub requests: Tx<StampedRequest>,
    /// Lossless.
    pub outcomes: Tx<Outcome>,
    /// News; the newest is given up when full.
    pub news: Tx<RouterNews>,
    /// What is taken and decided. Full: a hole, counted.
    pub journal: Tap<RouterRecord>,
    /// For people.
    pub view: Publisher<RouterView>,
}

/// The stage.
pub struct RouterStage {
    router: Router,
    links: RouterLinks,
    clock: Clock,
    probe: Probe,
    /// The last call's results, until they are handed on.
    outbox: Outbox,
    /// Stamps of the intent being worked on.
    cause_recv_ns: u64,
    trace: Trace,
    /// Something happened since the last housekeeping.
    changed: bool,
    /// State and positions, by symbol, sent last.
    sent: RouterState,
    sent_positions: Vec<Qty>,
    fills: u64,
    /// The outbox found no room.
    waits: bool,
    /// When the view was published last.
    viewed_ns: u64,
    /// Where the day's figures and latches are kept, room to write them, what they were when they were offered last, and when.
    day: SharedDay,
    day_room: Vec<SymbolDay>,
    day_told: u64,
    day_at: u64,
    /// A router of its own: this one is not touched.
    rehearsal: Option<Rehearsal>,
}

/// The day is offered to memory at most this often, ns.
const DAY_EVERY: u64 = 20 * Nanos::MS;
/// Room that reports for people leave in the ring of news.
const ROOM_FOR_NEWS: usize = 256;

/// Inputs of one kind taken in one duty cycle.
const BATCH: usize = 64;

impl RouterStage {
    /// Around a router whose first gate is shut; what must outlive the process goes to `day`.
    pub fn new(router: Router, links: RouterLinks, day: SharedDay, clock: Clock, probe: Probe) -> Self {
        let (day_told, day_room) = (router.day_changes(), router.day_room());
        let sent_positions = vec![Qty::ZERO; router.instruments().len()];
        Self {
            router,
            links,
            clock,
            probe,
            outbox: Outbox::new(),
            cause_recv_ns: 0,
            trace: Trace::default(),
            changed: false,
            sent: RouterState::default(),
            sent_positions,
            fills: 0,
            waits: false,
            viewed_ns: 0,
            day,
            day_room,
            day_told,
            day_at: 0,
            rehearsal: None,
        }
    }

    /// With rehearsals; nobody takes a decision again who replays.
    #[must_use]
    pub fn rehearsing(mut self) -> Self {
        self.rehearsal = Rehearsal::new().ok();
        self
    }

    /// Hands the outbox on; `false` while something of it found no room.
    fn flush(&mut self, now_ns: u64) -> bool {
        let done = self.hand_on(now_ns);
        if self.waits == done {
            self.waits = !done;
            self.links.journal.push(now_ns, RouterRecord::Waits(self.waits));
        }
        done
    }

    fn hand_on(&mut self, now_ns: u64) -> bool {
        let out = &mut self.outbox;
        while let Some(request) = out.requests.first().copied() {
            let (recv_ns, trace) = (self.cause_recv_ns, self.trace);
            let stamped = StampedRequest { request, recv_ns, routed_ns: now_ns, trace };
            if self.links.requests.push(stamped).is_err() {
                return false;
            }
            self.links.journal.push(now_ns, RouterRecord::Request(request));
            out.requests.remove(0);
        }
        while let Some(outcome) = out.outcomes.first().copied() {
            if self.links.outcomes.push(outcome).is_err() {
                return false;
            }
            // The control thread's copy is news: it may be given up.
            let _ = self.links.news.push(RouterNews::Outcome(outcome));
            self.links.journal.push(now_ns, RouterRecord::Outcome(outcome));
            out.outcomes.remove(0);
        }
        while let Some(request) = out.controls.first().copied() {
            if self.links.news.push(RouterNews::ControlRequest(request)).is_err() {
                return false;
            }
            self.links.journal.push(now_ns, RouterRecord::ControlRequest(request));
            out.controls.remove(0);
        }
        for alert in out.alerts.drain(..) {
            let _ = self.links.news.push(RouterNews::Alert(alert));
        }
        for denial in out.denials.drain(..) {
            let _ = self.links.news.push(RouterNews::Denied(denial));
        }
        self.cause_recv_ns = 0;
        true
    }

    /// Takes one thing in: what the journal can take in again.
    pub fn apply(&mut self, now: Nanos, input: RouterRecord) {
        let out = &mut self.outbox;
        match &input {
            RouterRecord::Quote(quote) => match quote {
                Quote::Bbo(b) => self.router.on_bbo(now, b.symbol, b.bid, b.ask, out),
                Quote::Mark(m) => self.router.on_mark(now, m),
                Quote::Lost(symbol) => self.router.on_book_lost(*symbol),
            },
            RouterRecord::Command(command) => self.command(now, command),
            RouterRecord::Report(report) => {
                self.fills += u64::from(report.trade_id != 0 && report.origin.ours().is_some());
                self.router.on_report(now, report, out);
            }
            RouterRecord::Intent(intent) => self.router.on_intent(now, intent, out),
            RouterRecord::Timer => self.router.on_timer(now, out),
            decided => unreachable!("{decided:?} is nothing that is taken in"),
        }
        self.links.journal.push(now.0, input);
    }

    /// The router.
    pub const fn router(&self) -> &Router {
        &self.router
    }

    /// Fills of ours, so far.
    pub const fn fills(&self) -> u64 {
        self.fills
    }

    /// Goes on counting fills from here.
    pub const fn set_fills(&mut self, fills: u64) {
        self.fills = fills;
    }

    /// Has a deadline passed?
    pub fn is_due(&self, now: Nanos) -> bool {
        self.router.next_deadline().is_some_and(|due| due <= now)
    }

    /// What came of the last inputs, for whoever takes them in again instead of the links.
    pub const fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    fn command(&mut self, now: Nanos, command: &RouterCommand) {
        let out = &mut self.outbox;
        match *command {
            RouterCommand::Gate(gate) => self.router.set_gate(now, gate, out),
            RouterCommand::Account(ref state) => {
                let unlisted: Vec<Unlisted<'_>> = state.unlisted.iter().map(UnlistedRow::lend).collect();
                let venue = VenueState {
                    requested_at: state.requested_at,
                    orders: &state.orders,
                    positions: &state.positions,
                    fills: &state.fills,
                    wallet: state.wallet,
                    margin: state.margin,
                    transfers: state.transfers.as_deref(),
                    unlisted: Some(&unlisted),
                };
                self.router.reconcile(now, &venue, out);
            }
            RouterCommand::Instrument(ref instrument) => {
                self.router.set_instrument(Instrument::clone(instrument));
            }
            RouterCommand::BeginDay => self.router.begin_day(),
            RouterCommand::Rearm { day, ref reason } => {
                let what = if day { Rearm::LatchesAndDay } else { Rearm::Latches };
                let done = self.router.rearm(now, what, reason, out);
                // Telemetry's ring: full only if the control thread is dead.
                let _ = self.links.news.push(RouterNews::Rearmed(done));
            }
            RouterCommand::Income { change, is_profit } => self.router.on_income(now, change, is_profit),
            RouterCommand::DeadMan(symbol, taken) => self.router.on_dead_man(symbol, taken),
            RouterCommand::Halt(symbol) => self.router.halt(now, symbol, out),
            RouterCommand::Trip(check) => self.router.trip(now, check, out),
            RouterCommand::Kill { flatten, trigger } => self.router.kill(now, trigger, flatten, out),
        }
    }

    fn quotes(&mut self, now: Nanos, now_ns: u64) -> bool {
        let mut did = false;
        for _ in 0..BATCH {
            let Some(quote) = self.links.quotes.pop() else { break };
            did = true;
            self.trace = Trace::of(Cause::Quote, now_ns);
            self.apply(now, RouterRecord::Quote(quote));
            if !self.flush(now_ns) {
                break;
            }
        }
        did
    }

    /// The state as others see it.
    pub fn state(&self) -> RouterState {
        let r = &self.router;
        let known = |x: f64| x.is_finite().then_some(x);
        let s = r.stats();
        let step = r.kill_switch().step();
        let m = r.maker_share();
        let (made, all) = ((m.entry_maker + m.exit_maker).to_f64(), (m.entry + m.exit).to_f64());
        RouterState {
            working: r.orders().live().count() as u32,
            unknown: r.orders().unknown().0,
            positions: (0..r.instruments().len())
                .filter(|&i| !r.position(SymbolId(i as u16)).qty.is_zero())
                .count() as u32,
            orders: s.orders,
            rejects: s.rejects,
            denials: s.denials,
            fills: self.fills,
            entries: s.entries,
            abandoned: s.abandoned,
            exits: s.exits,
            maker_entries: known(r.maker_share().entries()),
            maker_exits: known(r.maker_share().exits()),
            maker_share: known(made / all),
            day_pnl: r.ledger().day_pnl().map(Amount::to_f64),
            drawdown: r.ledger().drawdown(),
            unpriced: r.unpriced_orders(),
            reconciled: r.is_reconciled(),
            killed: r.kill_switch().is_latched(),
            kill_done: step == execution::KillStep::Done,
        }
    }

    /// Positions and state, where they are others than those sent last.
    fn send_state(&mut self, now_ns: u64) {
        for (i, sent) in self.sent_positions.iter_mut().enumerate() {
            let symbol = SymbolId(i as u16);
            let qty = self.router.position(symbol).qty;
            if qty != *sent && self.links.news.push(RouterNews::Position(symbol, qty)).is_ok() {
                *sent = qty;
            }
        }
        let state = self.state();
        if state != self.sent && self.links.news.push(RouterNews::State(state)).is_ok() {
            self.sent = state;
            self.links.journal.push(now_ns, RouterRecord::State(state));
        }
    }

    /// What must outlive the process, when it has changed.
    fn offer_day(&mut self, now: Nanos) {
        let changes = self.router.day_changes();
        if changes == self.day_told {
            return;
        }
        // The ladder that ends every run ends with it; a kill by a person has its own record.
        let kept = self.router.kill_switch().trigger().filter(|(by, _)| *by == KillTrigger::Automatic);
        let (router, room) = (&self.router, &mut self.day_room);
        let told = self.day.offer(|state| {
            router.day_state_into(now, state, room);
            state.kill = state.kill.filter(|_| kept.is_some());
        });
        if told {
            self.day_told = changes;
        }
    }

    fn inputs(&mut self, now_ns: u64) -> Work {
        let now = Nanos(now_ns);
        if !self.flush(now_ns) {
            return Work::Idle;
        }
        let mut did = self.quotes(now, now_ns);
        for _ in 0..BATCH {
            let Some(command) = self.links.commands.pop() else { break };
            did = true;
            self.trace = Trace::of(Cause::Command, now_ns);
            self.apply(now, RouterRecord::Command(command));
            if !self.flush(now_ns) {
                return Work::Done;
            }
        }
        for _ in 0..BATCH {
            let Some(report) = self.links.reports.pop() else { break };
            did = true;
            self.trace = Trace::of(Cause::Report, now_ns);
            self.apply(now, RouterRecord::Report(report));
            if report.origin.ours().is_some() && self.links.news.free() > ROOM_FOR_NEWS {
                let _ = self.links.news.push(RouterNews::Report(report));
            }
            if !self.flush(now_ns) {
                return Work::Done;
            }
        }
        while let Some(stamped) = self.links.intents.pop() {
            did = true;
            self.cause_recv_ns = stamped.recv_ns;
            self.trace = stamped.trace;
            self.trace.stamps.route_began_ns = self.clock.now_ns();
            self.apply(now, RouterRecord::Intent(stamped.intent));
            let routed = self.clock.now_ns();
            self.probe.record(Hop::Router as u8, routed - stamped.decided_ns);
            if !self.flush(routed) {
                return Work::Done;
            }
        }
        if self.is_due(now) {
            did = true;
            self.trace = Trace::of(Cause::Timer, now_ns);
            self.apply(now, RouterRecord::Timer);
            self.flush(now_ns);
        }
        Work::from(did)
    }
}

impl Stage for RouterStage {
    fn name(&self) -> &'static str {
        "router"
    }

    fn poll(&mut self, now_ns: u64) -> Work {
        let work = self.inputs(now_ns);
        self.changed |= work == Work::Done;
        work
    }

    fn rehearse(&mut self, now_ns: u64) {
        if let Some(rehearsal) = &mut self.rehearsal {
            std::hint::black_box(rehearsal.run(Nanos(now_ns)));
        }
    }

    fn housekeep(&mut self, now_ns: u64) {
        if std::mem::take(&mut self.changed) {
            self.send_state(now_ns);
        }
        if now_ns >= self.viewed_ns + published::EVERY_NS {
            self.viewed_ns = now_ns;
            self.links.view.publish(RouterView::of(&mut self.router, Nanos(now_ns)));
        }
        if now_ns >= self.day_at.saturating_add(DAY_EVERY) {
            self.day_at = now_ns;
            self.offer_day(Nanos(now_ns));
        }
    }
}
