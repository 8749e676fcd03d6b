//! The router: state and inputs. What it does with them: [`crate::work`] (orders), [`crate::reports`] (reports),
//! [`crate::reconcile`] (comparison with the venue).

use arrayvec::ArrayVec;
use market::{
    AbandonReason, Amount, ClientOrderId, EnterIntent, ExitFilled, ExitIntent, ExitReason, Instrument,
};
use market::{Intent, Level, MarkPrice, Nanos, OrderRequest, OrderStatus, Outcome, Px, Qty, Side, SymbolId};

use crate::config::{ConfigError, MAX_ACTIVE, RouterConfig};
use crate::fills::{FillSum, TradeIds};
use crate::kill::{KillAction, KillSwitch, KillTrigger, KillView, RearmError};
use crate::orders::WorkingOrders;
use crate::outbox::{Alert, AlertKind, Control, MAX_REQUESTS, Outbox};
use crate::position::{Account, MakerShare, Position};
use crate::risk::{Check, Denial, Gate, Risk, TradingState};
use crate::trade::{ExitStyle, Phase, Trade};

/// What the router knows of one instrument.
#[derive(Debug, Clone, Default)]
pub(crate) struct SymbolState {
    pub bid: Level,
    pub ask: Level,
    pub book_at: Nanos,
    pub mark: f64,
    pub mark_at: Nanos,
    pub position: Position,
    pub trade: Option<Trade>,
    /// No new entries until the filters have been read again.
    pub blocked: bool,
    /// The venue closed a position here (liquidation, ADL, settlement), or the session's units do not fit any more: no
    /// entry until the next start.
    pub halted: bool,
    pub last_fill_at: Nanos,
    pub dead_man_at: Nanos,
    pub active: bool,
}

/// Why there can be no router.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NewRouterError {
    /// A config value.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The table of instruments is not in order.
    #[error(
        "instrument table: `{symbol}` at place {place} carries id {id}; ids must be 0, 1, 2 … in table order"
    )]
    Instruments {
        /// Venue name.
        symbol: String,
        /// Where it stands.
        place: usize,
        /// What it says.
        id: u16,
    },
}

/// Counters since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Orders sent.
    pub orders: u64,
    /// Cancels sent.
    pub cancels: u64,
    /// Queries sent.
    pub queries: u64,
    /// Orders refused by the venue.
    pub rejects: u64,
    /// Orders refused by our own checks.
    pub denials: u64,
    /// Orders that became Unknown.
    pub unknowns: u64,
    /// Fill reports that were told before.
    pub duplicate_reports: u64,
    /// Fills that were not ours.
    pub external_fills: u64,
    /// Fills of orders that were done.
    pub late_fills: u64,
    /// Differences found by reconciliation.
    pub mismatches: u64,
    /// Re-pegs.
    pub repegs: u64,
    /// Entries that got a position.
    pub entries: u64,
    /// Entries that got none.
    pub abandoned: u64,
    /// Positions closed.
    pub exits: u64,
}

/// From intents to orders. See the crate's documentation.
#[derive(Debug)]
pub struct Router {
    pub(crate) cfg: RouterConfig,
    pub(crate) instruments: Vec<Instrument>,
    pub(crate) symbols: Vec<SymbolState>,
    pub(crate) active: ArrayVec<SymbolId, MAX_ACTIVE>,
    pub(crate) orders: WorkingOrders,
    pub(crate) trade_ids: TradeIds,
    pub(crate) risk: Risk,
    pub(crate) gate: Gate,
    pub(crate) kill: KillSwitch,
    pub(crate) account: Account,
    pub(crate) maker: MakerShare,
    pub(crate) stats: Stats,
    pub(crate) run: u64,
    pub(crate) last_intent: u32,
    pub(crate) reconciled: bool,
    pub(crate) reconciled_at: Nanos,
    pub(crate) reconcile_due: Option<Nanos>,
    pub(crate) last_enter: Option<(SymbolId, i8, Nanos)>,
    /// Something found no room in the outbox: take it up again at once.
    pub(crate) stalled: bool,
}

impl Router {
    /// A router for one session. `run` is the session's epoch, higher at every start; `instruments` in id order.
    /// Its gate is shut until [`Self::set_gate`], and nothing is opened before the first clean [`Self::reconcile`].
    pub fn new(cfg: RouterConfig, instruments: Vec<Instrument>, run: u64) -> Result<Self, NewRouterError> {
        cfg.validate()?;
        for (place, i) in instruments.iter().enumerate() {
            if i.id.index() != place {
                let symbol = i.symbol.clone();
                return Err(NewRouterError::Instruments { symbol, place, id: i.id.0 });
            }
        }
        Ok(Self {
            risk: Risk::new(cfg.risk.clone()),
            cfg,
            symbols: vec![SymbolState::default(); instruments.len()],
            instruments,
            active: ArrayVec::new(),
            orders: WorkingOrders::new(),
            trade_ids: TradeIds::new(),
            gate: Gate::default(),
            kill: KillSwitch::default(),
            account: Account::default(),
            maker: MakerShare::default(),
            stats: Stats::default(),
            run,
            last_intent: 0,
            reconciled: false,
            reconciled_at: Nanos(0),
            reconcile_due: Some(Nanos(0)),
            last_enter: None,
            stalled: false,
        })
    }

    // ---- inputs -------------------------------------------------------------------------------------------------

    /// The engine decided.
    pub fn on_intent(&mut self, now: Nanos, intent: &Intent, out: &mut Outbox) {
        let symbol = match intent {
            Intent::Enter(e) => e.symbol,
            Intent::EntrySignal { symbol, .. } => *symbol,
            Intent::Exit(x) => x.symbol,
        };
        if symbol.index() >= self.symbols.len() {
            self.deny(now, symbol, (Check::Tradable, f64::from(symbol.0), self.symbols.len() as f64), out);
            return;
        }
        match intent {
            Intent::Enter(e) => self.enter(now, e, out),
            Intent::EntrySignal { symbol, holds } => {
                if let Some(t) = &mut self.symbols[symbol.index()].trade {
                    t.signal_holds = *holds;
                }
            }
            Intent::Exit(x) => self.exit(now, x, out),
        }
        self.drive(now, symbol, out);
    }

    /// Best bid and offer. Call it at every sample even where nothing changed: its age is the age of the book.
    pub fn on_bbo(&mut self, now: Nanos, symbol: SymbolId, bid: Level, ask: Level, out: &mut Outbox) {
        let Some(s) = self.symbols.get_mut(symbol.index()) else { return };
        s.bid = bid;
        s.ask = ask;
        s.book_at = now;
        if s.active {
            self.drive(now, symbol, out);
        }
    }

    /// The book is not to be trusted any more (a gap, silence): nothing is opened on it until the next best bid and
    /// offer. What rests and what closes goes on.
    pub fn on_book_lost(&mut self, symbol: SymbolId) {
        if let Some(s) = self.symbols.get_mut(symbol.index()) {
            s.book_at = Nanos(0);
        }
    }

    /// Mark price.
    pub fn on_mark(&mut self, now: Nanos, mark: &MarkPrice) {
        let Some(s) = self.symbols.get_mut(mark.symbol.index()) else { return };
        s.mark = mark.mark;
        s.mark_at = now;
        if s.active {
            self.observe_equity();
        }
    }

    /// A deadline has passed (or the caller's poll came round).
    pub fn on_timer(&mut self, now: Nanos, out: &mut Outbox) {
        self.stalled = false;
        self.drive_kill(now, out);
        for k in (0..self.active.len()).rev() {
            let symbol = self.active[k];
            self.drive(now, symbol, out);
        }
        self.tend_orders(now, out);
        self.tend_dead_man(now, out);
        if self.gate.order_path && self.reconcile_due.is_some_and(|t| now >= t) {
            self.reconcile_due = Some(now.plus(RouterConfig::ns(self.cfg.reconcile_retry_ms)));
            self.control(Control::Reconcile, out);
        }
    }

    /// When [`Self::on_timer`] is next needed; `None` while nothing is pending. While the order path is down nothing is.
    pub fn next_deadline(&self) -> Option<Nanos> {
        if self.stalled {
            return Some(Nanos(0));
        }
        if !self.gate.order_path {
            return None;
        }
        let orders = self.orders.live().filter_map(|o| o.deadline(&self.cfg));
        let trades = self.active.iter().filter_map(|s| self.symbols[s.index()].trade.as_ref()?.deadline());
        let dead_man = self.active.iter().filter_map(|s| self.dead_man_due(*s));
        let mut next = orders.chain(trades).chain(dead_man).min();
        for t in [self.reconcile_due, self.kill.deadline()].into_iter().flatten() {
            next = Some(next.map_or(t, |n| n.min(t)));
        }
        next
    }

    /// The surroundings changed: connection, clock, posture, circuit breaker, operator.
    pub fn set_gate(&mut self, now: Nanos, gate: Gate, out: &mut Outbox) {
        let (path_lost, path_back) =
            (self.gate.order_path && !gate.order_path, !self.gate.order_path && gate.order_path);
        let stream_lost = self.gate.user_stream && !gate.user_stream;
        let path_changed = self.gate.fallback != gate.fallback;
        self.gate = gate;
        if path_lost {
            // What was on its way may or may not have arrived.
            for slot in 0..self.orders.len() {
                let o = self.orders.get_mut(slot);
                if matches!(o.status, OrderStatus::PendingNew | OrderStatus::PendingCancel) {
                    o.set_unknown(now);
                    self.stats.unknowns += 1;
                }
            }
        }
        if path_lost || stream_lost || path_changed {
            self.reconciled = false;
        }
        if path_lost || stream_lost || path_back || path_changed {
            self.reconcile_due = Some(now);
        }
        for k in (0..self.active.len()).rev() {
            let symbol = self.active[k];
            self.drive(now, symbol, out);
        }
    }

    /// New filters or a new status of an instrument (slow path), in the session's units
    /// ([`Instrument::in_units_of`]). Lifts the block that stale filters caused.
    pub fn set_instrument(&mut self, instrument: Instrument) -> bool {
        let Some(i) = self.instruments.get_mut(instrument.id.index()) else { return false };
        // Ticks and lots are what orders and positions are counted in.
        let s = &mut self.symbols[instrument.id.index()];
        if i.tick != instrument.tick || i.lot != instrument.lot {
            return false;
        }
        *i = instrument;
        s.blocked = false;
        true
    }

    /// No entry in this instrument until the next start: its filters are not in the session's units any more. Its
    /// position is closed as before.
    pub fn halt(&mut self, now: Nanos, symbol: SymbolId, out: &mut Outbox) {
        let Some(s) = self.symbols.get_mut(symbol.index()) else { return };
        if !std::mem::replace(&mut s.halted, true) {
            out.alert(Alert { symbol: Some(symbol), ..self.alert(now, AlertKind::SymbolBlocked) });
        }
    }

    /// The wallet changed by something else than a fill: funding counts as profit of the day, a transfer does not.
    pub fn on_income(&mut self, change: Amount, is_profit: bool) {
        self.account.income(change, is_profit);
        self.observe_equity();
    }

    /// A new day (event time decides when): profit and drawdown of the day begin anew.
    pub fn begin_day(&mut self) {
        self.observe_equity();
        self.account.begin_day();
    }

    /// A position known from before the restart: its exits go on. Call it before the first [`Self::reconcile`], which
    /// then compares it with the venue's. `tp_pct` 0 = no take-profit order. `false` if the instrument is unknown, busy,
    /// or the position is zero.
    pub fn adopt_position(
        &mut self,
        now: Nanos,
        symbol: SymbolId,
        qty: Qty,
        avg_px: f64,
        tp_pct: f64,
    ) -> bool {
        let Some(px) = self.instruments.get(symbol.index()).and_then(|i| i.tick.nearest(avg_px)) else {
            return false;
        };
        if qty.is_zero() || self.symbols[symbol.index()].trade.is_some() || !self.activate(symbol) {
            return false;
        }
        let intent = self.next_intent();
        let s = &mut self.symbols[symbol.index()];
        s.position = Position { qty, cost: i128::from(px) * i128::from(qty.0), ..s.position };
        s.trade = Some(held(intent, qty, Px(px), avg_px, tp_pct, now));
        true
    }

    /// What an earlier run has closed already of an adopted position: its prices and commissions count in the outcome.
    pub fn adopt_exits(&mut self, symbol: SymbolId, closed: FillSum) {
        if let Some(t) = self.symbols.get_mut(symbol.index()).and_then(|s| s.trade.as_mut()) {
            t.exit = closed;
        }
    }

    /// Pulls the kill switch: entries stop, everything is cancelled, positions are closed if `kill_flattens` or `flatten`.
    pub fn kill(&mut self, now: Nanos, trigger: KillTrigger, flatten: bool, out: &mut Outbox) {
        let flatten = flatten || self.cfg.kill_flattens;
        if self.kill.trip(now, trigger, flatten) {
            out.alert(self.alert(now, AlertKind::KillTripped));
        }
        self.on_timer(now, out);
    }

    /// Lets trading begin again after the kill switch has reported.
    pub fn rearm_kill(&mut self, reason: &str) -> Result<(), RearmError> {
        self.kill.rearm(reason)
    }

    /// Lifts a latched trip (repeated execution, refusals, foreign orders, unexpected position); `false` without a
    /// reason of at least eight characters, or with nothing tripped.
    pub fn reset_trips(&mut self, reason: &str) -> bool {
        let good = reason.trim().chars().count() >= 8 && self.risk.tripped().is_some();
        if good {
            self.risk.reset();
        }
        good
    }

    /// The caller's own monitors found something that must stop new entries until a human looks.
    pub fn trip(&mut self, now: Nanos, check: Check, out: &mut Outbox) {
        if self.risk.trip(check) {
            out.alert(self.alert(now, AlertKind::Tripped));
        }
    }

    // ---- looks --------------------------------------------------------------------------------------------------

    /// Positions, by instrument.
    pub fn position(&self, symbol: SymbolId) -> Position {
        self.symbols.get(symbol.index()).map_or_else(Position::default, |s| s.position)
    }

    /// Orders, working and remembered.
    pub fn orders(&self) -> &WorkingOrders {
        &self.orders
    }

    /// Wallet, equity, day.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Realised maker shares.
    pub fn maker_share(&self) -> &MakerShare {
        &self.maker
    }

    /// Counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The kill switch.
    pub fn kill_switch(&self) -> &KillSwitch {
        &self.kill
    }

    /// Which limit has tripped, if one has.
    pub fn tripped(&self) -> Option<Check> {
        self.risk.tripped()
    }

    /// Has the last comparison with the venue been clean, and is the connection unbroken since?
    pub fn is_reconciled(&self) -> bool {
        self.reconciled
    }

    /// Refusals by the venue within the last minute: feeds the circuit breaker.
    pub fn rejects_last_minute(&mut self, now: Nanos) -> u32 {
        self.risk.rejects_last_minute(now)
    }

    /// Fills seen, oldest first: to be kept over a restart and given to [`Self::remember_trades`].
    pub fn trades_seen(&self) -> impl Iterator<Item = (SymbolId, u64)> + '_ {
        self.trade_ids.iter()
    }

    /// Fills that an earlier run has counted.
    pub fn remember_trades(&mut self, seen: impl IntoIterator<Item = (SymbolId, u64)>) {
        for (symbol, id) in seen {
            self.trade_ids.insert(symbol, id);
        }
    }

    /// The instrument table.
    pub fn instruments(&self) -> &[Instrument] {
        &self.instruments
    }

    /// The effective trading state, all latches considered.
    pub fn trading_state(&self) -> TradingState {
        match self.gate.state {
            TradingState::Active if self.kill.is_latched() || self.risk.tripped().is_some() => {
                TradingState::Reducing
            }
            s => s,
        }
    }

    // ---- intents ------------------------------------------------------------------------------------------------

    fn enter(&mut self, now: Nanos, e: &EnterIntent, out: &mut Outbox) {
        // A second copy of what is being worked gets a denial but no outcome: that will be the first one's.
        let copy = self.last_enter == Some((e.symbol, e.direction, e.ts_event));
        if copy || self.symbols[e.symbol.index()].trade.is_some() {
            self.deny(now, e.symbol, (Check::DuplicateIntent, 1.0, 0.0), out);
            return;
        }
        let checked = {
            let (scene, risk) = self.scene(now, e.symbol, Side::opening(e.direction));
            risk.check_intent(&scene, e).and_then(|()| risk.check_open(&scene))
        };
        if let Err(broken) = checked {
            if broken.0 == Check::Repeated {
                out.alert(self.alert(now, AlertKind::Tripped));
            }
            self.deny(now, e.symbol, broken, out);
            self.abandon_unstarted(e.symbol, AbandonReason::RiskDenied, out);
            return;
        }
        let side = Side::opening(e.direction);
        let s = &self.symbols[e.symbol.index()];
        let touch = if side == Side::Buy { s.bid.px } else { s.ask.px };
        let i = &self.instruments[e.symbol.index()];
        let lots = i.lot.floor(e.notional / i.px_f64(touch)).unwrap_or(0).min(i.max_qty.0);
        let lots = lots / i.qty_step * i.qty_step;
        if lots <= 0 {
            let least = i.min_qty.0 as f64;
            self.deny(now, e.symbol, (Check::MinQty, 0.0, least), out);
            self.abandon_unstarted(e.symbol, AbandonReason::RiskDenied, out);
            return;
        }
        if !self.activate(e.symbol) {
            self.deny(now, e.symbol, (Check::OpenPositions, MAX_ACTIVE as f64, MAX_ACTIVE as f64), out);
            self.abandon_unstarted(e.symbol, AbandonReason::RiskDenied, out);
            return;
        }
        self.last_enter = Some((e.symbol, e.direction, e.ts_event));
        self.risk.entered(now);
        let intent = self.next_intent();
        let mut t = Trade::entry(intent, e.direction, Qty(lots), e.decision_px, e.tp_pct, touch);
        // No features (NaN): nothing speaks against resting, and resting costs least. SPEC §3.7 lets the tests on
        // features pass where there are none; this is one of them.
        let rest = self.cfg.smart_placer
            && (e.fill_probability.is_nan() || e.fill_probability >= self.cfg.min_fill_probability);
        if rest {
            t.go(Phase::EntryMaker, Some(now.plus(RouterConfig::ns(self.cfg.maker_timeout_ms))));
        } else {
            t.go(Phase::EntryCross, None);
        }
        self.symbols[e.symbol.index()].trade = Some(t);
    }

    fn abandon_unstarted(&mut self, symbol: SymbolId, reason: AbandonReason, out: &mut Outbox) {
        self.stats.abandoned += 1;
        let pushed = out.outcomes.try_push(Outcome::Abandoned { symbol, reason });
        debug_assert!(pushed.is_ok(), "the caller drains the outbox after each call");
    }

    fn exit(&mut self, now: Nanos, x: &ExitIntent, out: &mut Outbox) {
        let s = &mut self.symbols[x.symbol.index()];
        if s.trade.is_none() {
            if s.position.qty.is_zero() {
                self.nothing_to_close(now, x, out);
                return;
            }
            self.begin_flatten(now, x.symbol, false);
        }
        let Some(t) = &mut self.symbols[x.symbol.index()].trade else { return };
        if t.is_entering() {
            t.pending_exit = Some(stricter(t.pending_exit, x.reason));
            if !matches!(t.phase, Phase::EntryEnding(_)) {
                t.go(Phase::EntryEnding(AbandonReason::Halted), None);
            }
            return;
        }
        t.silent = false;
        self.start_exit(now, x.symbol, x.reason);
    }

    /// The engine believes in a position that is not there: tell it so.
    fn nothing_to_close(&mut self, now: Nanos, x: &ExitIntent, out: &mut Outbox) {
        out.alert(Alert { symbol: Some(x.symbol), ..self.alert(now, AlertKind::NothingToClose) });
        let (s, i) = (&self.symbols[x.symbol.index()], &self.instruments[x.symbol.index()]);
        let gone = ExitFilled {
            symbol: x.symbol,
            reason: ExitReason::External,
            avg_px: (i.px_f64(s.bid.px) + i.px_f64(s.ask.px)) * 0.5,
            notional: 0.0,
            commission: Amount::ZERO,
            maker_share: 0.0,
            ts_event: x.ts_event,
        };
        let _ = out.outcomes.try_push(Outcome::Exited(gone));
    }

    /// Begins to close, or closes more urgently than before.
    pub(crate) fn start_exit(&mut self, now: Nanos, symbol: SymbolId, reason: ExitReason) {
        let smart = self.cfg.smart_placer;
        let ends = Some(now.plus(RouterConfig::ns(self.cfg.exit_maker_timeout_ms)));
        let next = self.last_intent + 1;
        let Some(t) = &mut self.symbols[symbol.index()].trade else { return };
        let style = match reason {
            ExitReason::Tp if smart && t.tp_pct > 0.0 => ExitStyle::RestTp,
            ExitReason::MaxHold if smart => ExitStyle::Maker,
            _ => ExitStyle::Market,
        };
        if let Phase::Exiting(old, old_style) = t.phase
            && (urgency(old) >= urgency(reason) || old_style == ExitStyle::Market)
        {
            return;
        }
        self.last_intent = next;
        t.exit_intent = next;
        t.exit_attempts = 0;
        t.go(Phase::Exiting(reason, style), if style == ExitStyle::Market { None } else { ends });
    }

    /// A trade for a position that no intent explains, closed at once.
    pub(crate) fn begin_flatten(&mut self, now: Nanos, symbol: SymbolId, silent: bool) {
        let qty = self.symbols[symbol.index()].position.qty;
        if !self.activate(symbol) {
            return;
        }
        let intent = self.next_intent();
        let s = &mut self.symbols[symbol.index()];
        let px = s.position.avg_ticks();
        let px = if px.is_finite() { Px(px as i64) } else { s.bid.px };
        let avg = self.instruments[symbol.index()].px_f64(px);
        let mut t = held(intent, qty, px, avg, 0.0, now);
        t.silent = silent;
        s.trade = Some(t);
    }

    // ---- small things -------------------------------------------------------------------------------------------

    pub(crate) fn next_intent(&mut self) -> u32 {
        self.last_intent += 1;
        self.last_intent
    }

    pub(crate) fn client_order_id(&self, intent: u32, attempt: u16) -> ClientOrderId {
        ClientOrderId { run: self.run, intent, attempt }
    }

    /// Puts an instrument on the list of those that need looking after; `false` when the list is full.
    pub(crate) fn activate(&mut self, symbol: SymbolId) -> bool {
        let s = &mut self.symbols[symbol.index()];
        if !s.active {
            s.active = self.active.try_push(symbol).is_ok();
        }
        s.active
    }

    pub(crate) fn alert(&self, at: Nanos, kind: AlertKind) -> Alert {
        Alert { at, kind, symbol: None, id: None, code: 0, qty: Qty::ZERO }
    }

    pub(crate) fn deny(&mut self, at: Nanos, symbol: SymbolId, broken: (Check, f64, f64), out: &mut Outbox) {
        self.stats.denials += 1;
        let (check, value, limit) = broken;
        out.deny(Denial { at, check, symbol, value, limit });
    }

    pub(crate) fn control(&mut self, control: Control, out: &mut Outbox) {
        if out.controls.contains(&control) {
            return;
        }
        if out.controls.try_push(control).is_err() {
            self.stalled = true;
        }
    }

    /// Hands a request out; `false` (and nothing done) when the outbox is full.
    pub(crate) fn send(&mut self, request: OrderRequest, out: &mut Outbox) -> bool {
        // The last places are kept for cancels and for orders that reduce.
        let keep = match request {
            OrderRequest::New(o) if !o.reduce_only => 16,
            OrderRequest::Query(_) => 8,
            _ => 0,
        };
        if out.requests.len() + keep >= MAX_REQUESTS {
            self.stalled = true;
            return false;
        }
        out.requests.push(request);
        true
    }

    pub(crate) fn observe_equity(&mut self) {
        let mut unrealised = Amount::ZERO;
        for s in &self.active {
            let (s, i) = (&self.symbols[s.index()], &self.instruments[s.index()]);
            if !s.position.qty.is_zero() {
                unrealised += s.position.unrealised(i, s.mark_px(i));
            }
        }
        self.account.observe(unrealised);
    }

    pub(crate) fn drive_kill(&mut self, now: Nanos, out: &mut Outbox) {
        if !self.kill.is_latched() || !self.gate.order_path {
            return;
        }
        let positions =
            self.active.iter().filter(|s| !self.symbols[s.index()].position.qty.is_zero()).count();
        let exits = self.orders.live().filter(|o| o.purpose == crate::Purpose::Exit).count();
        let view = KillView {
            live_orders: (self.orders.live().count() - exits) as u32,
            positions: positions as u32,
            reconciled_at: self.reconciled_at,
        };
        match self.kill.advance(now, view) {
            None => {}
            Some(KillAction::CancelAll) => {
                for k in 0..self.active.len() {
                    let symbol = self.active[k];
                    if self.send(OrderRequest::CancelAll(symbol), out) {
                        self.risk.sent_weight(now, 1);
                    }
                }
            }
            Some(KillAction::Flatten) => {
                for k in 0..self.active.len() {
                    let symbol = self.active[k];
                    let s = &self.symbols[symbol.index()];
                    if !s.position.qty.is_zero() && s.trade.is_none() {
                        self.begin_flatten(now, symbol, true);
                    }
                    self.start_exit(now, symbol, ExitReason::Flatten);
                }
            }
            Some(KillAction::Verify) => self.control(Control::Reconcile, out),
            Some(KillAction::Report) => {
                let left: i64 = self.symbols.iter().map(|s| s.position.qty.0.abs()).sum();
                out.alert(Alert { qty: Qty(left), ..self.alert(now, AlertKind::KillDone) });
            }
        }
    }
}

impl SymbolState {
    /// Mark price in ticks; the mid where there is no mark.
    pub fn mark_px(&self, i: &Instrument) -> Px {
        match i.tick.nearest(self.mark) {
            Some(n) if n > 0 => Px(n),
            _ => Px((self.bid.px.0 + self.ask.px.0) / 2),
        }
    }
}

/// A trade that begins with a position.
fn held(intent: u32, qty: Qty, px: Px, avg_px: f64, tp_pct: f64, now: Nanos) -> Trade {
    let direction = if qty.0 < 0 { -1 } else { 1 };
    let mut t = Trade::entry(intent, direction, qty.abs(), avg_px, tp_pct, px);
    let lots = qty.abs();
    let value = i128::from(px.0) * i128::from(lots.0);
    t.entry = FillSum { qty: lots, priced: lots, value, ts_event: now, ..FillSum::default() };
    t.go(Phase::Holding, None);
    t
}

fn urgency(reason: ExitReason) -> u8 {
    match reason {
        ExitReason::Tp => 0,
        ExitReason::MaxHold => 1,
        ExitReason::Stop | ExitReason::Flatten | ExitReason::External => 2,
    }
}

fn stricter(a: Option<ExitReason>, b: ExitReason) -> ExitReason {
    a.filter(|a| urgency(*a) >= urgency(b)).unwrap_or(b)
}
