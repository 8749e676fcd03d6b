//! An entry that nobody asked for, routed by a router of its own: what the next one will run is in the cache when it comes.
//!
//! The router that trades is not touched, so that nothing can be left behind in it; the code is the same, and its data are
//! in the cache already, because every quote goes through them.

use market::{
    Amount, EnterIntent, Increment, Instrument, Intent, Level, Nanos, OrderRequest, Px, Qty, SymbolId,
    VenueTime,
};

use crate::config::RouterConfig;
use crate::fills::TradeIds;
use crate::gate::Gate;
use crate::gates::Margin;
use crate::ledger::Ledger;
use crate::limits::RiskConfig;
use crate::outbox::Outbox;
use crate::risk::Risk;
use crate::router::{NewRouterError, Router, Stats, SymbolState};
use crate::venue_state::VenueState;

const SYMBOL: SymbolId = SymbolId(0);
/// Capital and wallet, quote asset.
const CAPITAL: i64 = 25_000;
/// The touch: 100.00 and 100.01.
const BID: i64 = 10_000;

/// A router in which nothing but rehearsals happens.
pub struct Rehearsal {
    router: Router,
    out: Outbox,
    /// Before any entry.
    ledger: Ledger,
}

impl Rehearsal {
    /// One whose entries always pass: a flat account, its gate open.
    pub fn new() -> Result<Self, NewRouterError> {
        let decimals = Increment::decimals(2);
        let instrument = Instrument::plain(SYMBOL, "AAAUSDT", decimals, decimals);
        let mut router = Router::new(RouterConfig::default(), vec![instrument], 1)?;
        let mut out = Outbox::new();
        router.trade_ids = TradeIds::none();
        router.gate = Gate::open();
        let flat = VenueState {
            requested_at: Nanos(1),
            orders: &[],
            positions: &[],
            fills: &[],
            wallet: Amount(CAPITAL * Amount::ONE),
            margin: Some(Margin { available: Amount(CAPITAL * Amount::ONE), maintenance: Amount::ZERO }),
            transfers: None,
            unlisted: Some(&[]),
        };
        router.reconcile(Nanos(1), &flat, &mut out);
        let ledger = router.ledger.clone();
        Ok(Self { router, out, ledger })
    }

    /// Routes an entry; what would have been sent.
    pub fn run(&mut self, now: Nanos) -> Option<OrderRequest> {
        self.prepare(now);
        self.enter(now)
    }

    /// What the last entry left is forgotten, and the book is there.
    pub fn prepare(&mut self, now: Nanos) {
        self.begin_anew();
        let level = |px| Level { px: Px(px), qty: Qty(1_000) };
        self.router.on_bbo(now, SYMBOL, level(BID), level(BID + 1), &mut self.out);
    }

    /// The entry alone, once [`Self::prepare`] was called.
    pub fn enter(&mut self, now: Nanos) -> Option<OrderRequest> {
        let Self { router, out, .. } = self;
        let entry = EnterIntent {
            symbol: SYMBOL,
            direction: -1,
            notional: 0.2 * CAPITAL as f64,
            leverage: 1.0,
            capital: CAPITAL as f64,
            decision_px: BID as f64 / 100.0,
            tp_pct: 0.0095,
            fill_probability: 0.9,
            ts_event: VenueTime(now),
        };
        router.on_intent(now, &Intent::Enter(entry), out);
        out.requests.first().copied()
    }

    fn begin_anew(&mut self) {
        let Self { router, out, ledger } = self;
        out.clear();
        router.symbols[SYMBOL.index()] = SymbolState::default();
        router.active.clear();
        router.orders.forget_working();
        router.risk = Risk::new(RiskConfig::default());
        router.ledger.clone_from(ledger);
        router.stats = Stats::default();
        (router.last_intent, router.last_enter, router.stalled) = (0, None, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rehearsal that is refused warms only the way to the refusal.
    #[test]
    fn every_rehearsal_comes_to_the_same_order_however_many_went_before() {
        let mut rehearsal = Rehearsal::new().unwrap();
        let at = |i: u64| Nanos(1_700_000_000 * Nanos::SECOND + i * Nanos::MS);
        let first = rehearsal.run(at(0));
        assert!(
            matches!(first, Some(OrderRequest::New(o)) if o.px == Px(BID + 1)),
            "{:?}",
            rehearsal.out.denials
        );
        for i in 1..100_000 {
            assert_eq!(rehearsal.run(at(i)), first);
        }
    }
}
