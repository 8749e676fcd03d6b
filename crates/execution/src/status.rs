//! What others may ask of the router. Nothing here changes what it does.

use market::{Amount, Instrument, Nanos, Px, SymbolId, VenueTime};

use crate::check::{Check, ClosedGate};
use crate::config::RouterConfig;
use crate::fills::TradeIds;
use crate::gate::TradingState;
use crate::gates::{AccountView, Margin, SymbolView, closed_account, closed_symbol, latched};
use crate::kill::{KillReport, KillSwitch};
use crate::ledger::Ledger;
use crate::orders::WorkingOrders;
use crate::position::{MakerShare, Position};
use crate::router::{Router, Stats};
use crate::trips::RoundTrip;
use crate::venue_state::UnlistedHoldings;

impl Router {
    /// The session's epoch, as in its client order ids.
    pub const fn run(&self) -> u64 {
        self.run
    }

    /// Positions, by instrument.
    pub fn position(&self, symbol: SymbolId) -> Position {
        self.symbols.get(symbol.index()).map_or_else(Position::default, |s| s.position)
    }

    /// The open round trip of an instrument.
    pub fn open_trip(&self, symbol: SymbolId) -> Option<&RoundTrip> {
        self.symbols.get(symbol.index())?.trip.as_ref()
    }

    /// The closed round trips of this run, oldest first, the newest 256 of them.
    pub fn closed_trips(&self) -> impl DoubleEndedIterator<Item = &RoundTrip> {
        self.closed.iter()
    }

    /// Orders, working and remembered.
    pub fn orders(&self) -> &WorkingOrders {
        &self.orders
    }

    /// Orders of which some lots are counted at an estimated price.
    pub const fn unpriced_orders(&self) -> u32 {
        self.unpriced
    }

    /// Wallet, equity, day.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Margin as the venue told it at the last comparison; `None`: not asked.
    pub const fn margin(&self) -> Option<Margin> {
        self.margin
    }

    /// Positions and orders in instruments that are not followed, as of the last comparison.
    pub fn unlisted(&self) -> &UnlistedHoldings {
        &self.unlisted
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

    /// How the kill ladder stands, and what the venue said is left: unknown until it was asked after the pull.
    pub fn kill_report(&self) -> KillReport {
        self.kill.report(self.compared)
    }

    /// When the venue was last asked for the account and told of everything (our clock); `None`: never yet, so that
    /// neither positions nor orders at the venue are known.
    pub fn compared_at(&self) -> Option<Nanos> {
        self.compared.map(|(at, _)| at)
    }

    /// The limit that latched first, if one has.
    pub fn tripped(&self) -> Option<Check> {
        self.risk.latches().first().map(|l| l.check)
    }

    /// Has the last comparison with the venue been clean, and is the connection unbroken since?
    pub fn is_reconciled(&self) -> bool {
        self.reconciled
    }

    /// Refusals by the venue within the last minute: feeds the circuit breaker.
    pub fn rejects_last_minute(&self, now: Nanos) -> u32 {
        self.risk.rejects_last_minute(now)
    }

    /// Fills seen, oldest first: to be kept over a restart and given to [`Self::remember_trades`].
    pub fn trades_seen(&self) -> impl Iterator<Item = (SymbolId, u64)> + '_ {
        TradeIds::iter(&self.trade_ids)
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

    /// The configuration in force.
    pub fn config(&self) -> &RouterConfig {
        &self.cfg
    }

    /// The effective trading state, all latches considered.
    pub fn trading_state(&self) -> TradingState {
        match self.gate.state {
            TradingState::Active if self.kill.is_latched() || self.tripped().is_some() => {
                TradingState::Reducing
            }
            s => s,
        }
    }

    /// Every gate of the account that is closed now: which, since when, and what reopens it. None: armed.
    pub fn closed_gates(&mut self, now: Nanos) -> impl Iterator<Item = ClosedGate> + use<'_> {
        let closed = self.observe_gates(now);
        self.risk.latches().iter().map(latched).chain(closed)
    }

    /// The gates of one instrument that are closed now.
    pub fn closed_symbol_gates(
        &mut self,
        now: Nanos,
        symbol: SymbolId,
    ) -> impl Iterator<Item = ClosedGate> + use<> {
        let mut since = self.symbols.get(symbol.index()).map(|s| s.gates_since);
        let closed = since.as_mut().map(|since| closed_symbol(since, &self.symbol_view(now, symbol)));
        if let (Some(s), Some(since)) = (self.symbols.get_mut(symbol.index()), since) {
            s.gates_since = since;
        }
        closed.into_iter().flatten()
    }

    /// Notes since when each gate is closed.
    pub(crate) fn observe_gates(
        &mut self,
        now: Nanos,
    ) -> arrayvec::ArrayVec<ClosedGate, { crate::gates::ACCOUNT.len() }> {
        let mut since = self.gates_since;
        let mut closed = closed_account(&mut since, &self.account_view(now));
        self.gates_since = since;
        if let Some((_, at)) = self.kill.trigger() {
            closed.iter_mut().filter(|g| g.which == Check::Kill).for_each(|g| g.since = at);
        }
        closed
    }

    pub(crate) fn account_view(&self, now: Nanos) -> AccountView<'_> {
        let mut dead_man_age_ms = 0;
        let mut liquidation: Option<f64> = None;
        for symbol in &self.active {
            let (s, i) = (&self.symbols[symbol.index()], &self.instruments[symbol.index()]);
            let rests = s.dead_man_at.0 > 0 && self.orders.live_in(*symbol).any(|o| o.rests());
            if rests {
                dead_man_age_ms = dead_man_age_ms.max(now.since(s.dead_man_ok_at).millis());
            }
            let threatened = !s.position.qty.is_zero() && s.liquidation_px > 0.0;
            if let Some(px) = s.price(i).filter(|_| threatened) {
                let distance = (s.liquidation_px / i.px_f64(px) - 1.0).abs();
                liquidation = Some(liquidation.map_or(distance, |d| d.min(distance)));
            }
        }
        AccountView {
            now,
            limits: self.risk.limits(),
            gate: &self.gate,
            killed: self.kill.is_latched(),
            reconciled: self.reconciled,
            alone: self.alone_from == Nanos(0),
            ledger: &self.ledger,
            min_recv_window_ms: self.cfg.min_recv_window_ms,
            capital: self.risk.capital,
            unknown: self.orders.unknown().0,
            unlisted: self.unlisted.count(),
            margin: self.margin,
            liquidation,
            dead_man_age_ms,
            margin_short_at: self.risk.margin_short_at,
            backoff_until: self.risk.backoff_until,
            orders_left: self.risk.orders_left(now),
        }
    }

    pub(crate) fn symbol_view(&self, now: Nanos, symbol: SymbolId) -> SymbolView<'_> {
        let (s, i) = (&self.symbols[symbol.index()], &self.instruments[symbol.index()]);
        let unrealised = if s.position.qty.is_zero() {
            Some(Amount::ZERO)
        } else {
            s.price(i).map(|px| s.position.unrealised(i, px))
        };
        SymbolView {
            account: self.account_view(now),
            instrument: i,
            blocked: s.blocked || s.halted,
            bid: s.bid,
            ask: s.ask,
            book_at: s.book_at,
            mark: s.mark,
            mark_at: s.mark_at,
            next_funding: s.next_funding,
            day_pnl: unrealised.map(|u| u + s.day_realised),
        }
    }

    /// Age of the oldest dead-man switch that protects resting orders, ms; 0: none rest.
    pub fn dead_man_age_ms(&self, now: Nanos) -> u64 {
        self.account_view(now).dead_man_age_ms
    }

    /// Share used of our own budget of orders, what is kept for exits not counted; 1: nothing is opened.
    pub fn orders_used(&self, now: Nanos) -> f64 {
        self.risk.orders_used(now)
    }

    /// Price of an instrument in ticks: its mark, else the middle of its book.
    pub fn price(&self, symbol: SymbolId) -> Option<Px> {
        self.symbols.get(symbol.index())?.price(self.instruments.get(symbol.index())?)
    }

    /// Earliest venue time that the list of fills of the next comparison must reach back to, because fills of then are
    /// known by their quantity alone; `None`: nothing is estimated.
    pub fn fills_needed_since(&self) -> Option<VenueTime> {
        if self.unpriced == 0 {
            return None;
        }
        let since = self.orders.iter().filter(|o| o.parts.lots() > 0).map(|o| o.sent_at).min()?;
        Some(self.to_venue(since))
    }
}
