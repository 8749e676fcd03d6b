//! What the engine wants: entries and exits taken up, and what is closed without its asking.

use market::{
    AbandonReason, Amount, EnterIntent, ExitFilled, ExitIntent, ExitReason, Intent, Nanos, Outcome,
};
use market::{Qty, Side, SymbolId, TripId};

use crate::check::{Broken, Check, Denial, Latch};
use crate::config::{MAX_ACTIVE, RouterConfig};
use crate::outbox::{Alert, AlertKind, Outbox};
use crate::router::{Refusal, Router};
use crate::trade::{ExitStyle, Phase, Trade};

/// A refusal that repeats is told again after this, then after twice as long,
const TELL_AGAIN: u64 = Nanos::SECOND;
/// and so on up to this. Quiet for as long, it is a new one.
const TELL_AGAIN_MOST: u64 = 60 * Nanos::SECOND;

impl Router {
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

    fn enter(&mut self, now: Nanos, e: &EnterIntent, out: &mut Outbox) {
        let copy = self.last_enter == Some((e.symbol, e.direction, e.ts_event));
        let trade = self.symbols[e.symbol.index()].trade;
        if trade.is_some_and(|t| t.told || t.is_entering()) {
            // A second copy of what is being worked gets a denial but no outcome: that will be the first one's.
            self.deny(now, e.symbol, (Check::DuplicateIntent, 1.0, 0.0), out);
            return;
        }
        if copy || trade.is_some() {
            // The engine waits for an answer: what is being closed here it knows nothing of.
            return self.refuse(now, e, (Check::DuplicateIntent, 1.0, 0.0), out);
        }
        self.risk.capital = Some(e.capital).filter(|c| c.is_finite() && *c > 0.0);
        let checked = {
            let scene = self.scene(now, e.symbol, Side::opening(e.direction));
            self.risk.check_intent(&scene, e).and_then(|()| self.risk.check_open(&scene))
        };
        let sized = checked.and_then(|()| self.size(e));
        let lots = match sized {
            Ok(lots) => lots,
            Err(broken) => return self.refuse(now, e, broken, out),
        };
        if !self.activate(e.symbol) {
            let full = MAX_ACTIVE as f64;
            return self.refuse(now, e, (Check::OpenPositions, full, full), out);
        }
        self.symbols[e.symbol.index()].refusals[usize::from(e.direction > 0)] = None;
        self.last_enter = Some((e.symbol, e.direction, e.ts_event));
        let mut t = Trade::entry(self.next_intent(), e, lots);
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

    /// Lots that the wanted value buys at the touch.
    fn size(&self, e: &EnterIntent) -> Result<Qty, Broken> {
        let s = &self.symbols[e.symbol.index()];
        let touch = if Side::opening(e.direction) == Side::Buy { s.bid.px } else { s.ask.px };
        let i = &self.instruments[e.symbol.index()];
        let lots = i.lot.floor(e.notional / i.px_f64(touch)).unwrap_or(0).min(i.max_qty.0);
        let lots = lots / i.qty_step * i.qty_step;
        if lots > 0 { Ok(Qty(lots)) } else { Err((Check::MinQty, 0.0, i.min_qty.0 as f64)) }
    }

    /// An intent comes to nothing before its first order. The same one refused again for the same reason counts once,
    /// and is told again after one second, two, four … sixty.
    fn refuse(&mut self, now: Nanos, e: &EnterIntent, broken: Broken, out: &mut Outbox) {
        let (check, value, limit) = broken;
        if check == Check::Repeated {
            self.latch(Latch { check, at: now, value, limit }, Some(e.symbol), out);
        }
        let refusal = &mut self.symbols[e.symbol.index()].refusals[usize::from(e.direction > 0)];
        let repeated = refusal.filter(|r| r.check == check && now < r.until.plus(TELL_AGAIN_MOST));
        let step = repeated.map_or(0, |r| r.step);
        if repeated.is_none_or(|r| now >= r.until) {
            let pause = (TELL_AGAIN << step.min(6)).min(TELL_AGAIN_MOST);
            *refusal = Some(Refusal { check, until: now.plus(pause), step: step + 1 });
            if repeated.is_none() {
                self.stats.denials += 1;
                self.stats.abandoned += 1;
            }
            out.deny(Denial { at: now, check, symbol: e.symbol, value, limit });
        }
        let reason = AbandonReason::RiskDenied;
        let pushed = out.outcomes.try_push(Outcome::Abandoned { symbol: e.symbol, reason });
        debug_assert!(pushed.is_ok(), "the caller drains the outbox after each call");
    }

    fn exit(&mut self, now: Nanos, x: &ExitIntent, out: &mut Outbox) {
        let s = &mut self.symbols[x.symbol.index()];
        if s.trade.is_none() {
            if s.position.qty.is_zero() {
                self.nothing_to_close(now, x, out);
                return;
            }
            self.begin_flatten(x.symbol);
        }
        let Some(t) = &mut self.symbols[x.symbol.index()].trade else { return };
        if t.is_entering() {
            t.pending_exit = Some(stricter(t.pending_exit, x.reason));
            if !matches!(t.phase, Phase::EntryEnding(_)) {
                t.go(Phase::EntryEnding(AbandonReason::Halted), None);
            }
            return;
        }
        t.told = true;
        self.start_exit(now, x.symbol, x.reason);
    }

    /// The engine believes in a position that is not there: tell it so.
    fn nothing_to_close(&mut self, now: Nanos, x: &ExitIntent, out: &mut Outbox) {
        out.alert(Alert { symbol: Some(x.symbol), ..Alert::new(now, AlertKind::NothingToClose) });
        let (s, i) = (&self.symbols[x.symbol.index()], &self.instruments[x.symbol.index()]);
        let gone = ExitFilled {
            symbol: x.symbol,
            trip: TripId::NONE,
            provisional: true,
            reason: ExitReason::External,
            avg_px: s.price(i).map_or(f64::NAN, |px| i.px_f64(px)),
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
        let (s, i) = (&mut self.symbols[symbol.index()], &self.instruments[symbol.index()]);
        let px = s.price(i).map_or(f64::NAN, |px| i.px_f64(px));
        let Some(t) = &mut s.trade else { return };
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
        t.exit_px = px;
        t.exit_intent = next;
        t.exit_attempts = 0;
        t.go(Phase::Exiting(reason, style), if style == ExitStyle::Market { None } else { ends });
    }

    /// A trade for a position that no intent explains, to be closed.
    pub(crate) fn begin_flatten(&mut self, symbol: SymbolId) {
        if !self.activate(symbol) {
            return;
        }
        let intent = self.next_intent();
        let s = &mut self.symbols[symbol.index()];
        let trip = s.trip.map_or(TripId::NONE, |t| t.id);
        s.trade = Some(Trade::of_position(intent, s.position.qty, 0.0, trip));
    }

    /// Closes every position at once.
    pub(crate) fn flatten_all(&mut self, now: Nanos) {
        for k in 0..self.active.len() {
            let symbol = self.active[k];
            let s = &self.symbols[symbol.index()];
            if !s.position.qty.is_zero() && s.trade.is_none() {
                self.begin_flatten(symbol);
            }
            self.start_exit(now, symbol, ExitReason::Flatten);
        }
    }
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
